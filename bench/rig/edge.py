"""Runs the edge's scenarios: all proxies of one scenario side by side, in rounds that alternate between them."""
import dataclasses
import statistics
import tempfile
import pathlib

from . import proxies
from .machine import Process, idle_bytes
from .scenarios import SCENARIOS
from .setup import FIRST_BACKEND, PORTS, Setup, backends_conf, prepare

PROXY_CORE, LOAD_CORE = 0, 1


@dataclasses.dataclass
class Round:
    """What one round of one scenario cost at one proxy."""

    scenario: str
    proxy: str
    number: int
    cpu_us: float
    per_second: float
    p50: float | None
    p99: float | None
    p999: float | None
    trouble: str


def backend(root, count):
    """The backends, on the core of the load: what they cost is not what is measured."""
    file = root / "backend.conf"
    file.write_text(backends_conf(root, count))
    return Process("backends", ["nginx", "-c", file], FIRST_BACKEND, root / "backend.said", LOAD_CORE)


def measure(scenario, names, binaries, rounds, seconds, say):
    """All rounds of a scenario. A proxy that cannot do it is left out."""
    found = []
    with tempfile.TemporaryDirectory(prefix="cirque-bench-") as folder:
        root = pathlib.Path(folder)
        # Workers of nginx run as another user.
        root.chmod(0o755)
        prepare(root)
        setup = Setup(root, **scenario.setup)
        # All run at once, so that rounds can alternate; those whose round it is not have nothing to do.
        with backend(root, setup.backends):
            running = {}
            try:
                for name in names:
                    if proxies.can(name, setup):
                        running[name] = proxies.start(name, setup, binaries, PROXY_CORE)
                for name in running:
                    scenario.once(name, 1, root, LOAD_CORE)
                for number in range(rounds):
                    for name, process in running.items():
                        before = process.cpu_nanoseconds()
                        seen = scenario.once(name, seconds, root, LOAD_CORE)
                        cost = (process.cpu_nanoseconds() - before) / 1000 / max(seen.requests, 1)
                        found.append(Round(
                            scenario.name, name, number, cost, seen.requests / seen.seconds,
                            seen.p50, seen.p99, seen.p999, seen.trouble))
                say(scenario.name, found)
            finally:
                for process in running.values():
                    process.stop()
    return found


def memory(names, binaries, counts):
    """Resident bytes with nothing to do, and per idle connection, by proxy."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="cirque-bench-") as folder:
        root = pathlib.Path(folder)
        root.chmod(0o755)
        prepare(root)
        with backend(root, 3):
            for name in names:
                for count in counts:
                    with proxies.start(name, Setup(root), binaries, PROXY_CORE) as process:
                        resident = process.resident()
                        each = idle_bytes(process, PORTS[name][0], count) if count else 0
                        rows.append((name, count, resident, each))
    return rows


def chosen(is_quick, only):
    return [each for each in SCENARIOS if (each.is_quick or not is_quick) and only in each.name]


def median(found, scenario, proxy, field="cpu_us"):
    values = [getattr(each, field) for each in found if each.scenario == scenario and each.proxy == proxy]
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None
