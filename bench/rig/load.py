"""Load: bounded in time, from wrk, h2load and openssl, and what each of them saw."""
import dataclasses
import json
import pathlib
import re
import statistics
import subprocess

HERE = pathlib.Path(__file__).parent


@dataclasses.dataclass
class Seen:
    """One round as the client saw it: how many answers came in how long, and the percentiles in milliseconds."""

    requests: int
    seconds: float
    p50: float | None = None
    p99: float | None = None
    p999: float | None = None
    trouble: str = ""


def run(command, core=None):
    pinned = ["taskset", "-c", str(core)] if core is not None else []
    done = subprocess.run([*pinned, *map(str, command)], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def wrk(url, connections, seconds, core=None, headers=(), method="GET", body=0, template=None):
    """HTTP/1.1 in a closed loop. In a template # is another number each time."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", HERE / "wrk.lua"]
    for header in headers:
        command += ["-H", header]
    out = run([*command, url, "--", method, body, *([template] if template else [])], core)
    said = json.loads(out[out.index("{"):])
    errors = {kind: count for kind, count in said["errors"].items() if count}
    return Seen(
        said["requests"], said["microseconds"] / 1e6, said["p50"] / 1e3, said["p99"] / 1e3, said["p999"] / 1e3,
        " ".join(f"{count} {kind}" for kind, count in errors.items()),
    )


def h2load(url, connections, streams, seconds, scratch, core=None):
    """HTTP/2, so many requests at once on each connection."""
    log = scratch / "h2load.log"
    log.unlink(missing_ok=True)
    out = run(["h2load", "-D", seconds, "-c", connections, "-m", streams, f"--log-file={log}", url], core)
    answered = int(re.search(r"(\d+) succeeded", out).group(1))
    # Those under way when time is up count as failed, and are none.
    refused = sum(int(count) for count in re.findall(r"(\d+) [345]xx", out))
    took = sorted(int(line.split()[2]) for line in log.read_text().splitlines() if line.split()[1] == "200")
    cut = statistics.quantiles(took, n=1000) if len(took) > 1000 else None
    # What is not an answer of 200 costs as much, and is named.
    seen = Seen(answered, float(seconds), trouble=f"{refused} not 2xx" if refused else "")
    if cut:
        seen.p50, seen.p99, seen.p999 = cut[499] / 1e3, cut[989] / 1e3, cut[998] / 1e3
    return seen


def handshakes(port, seconds, is_resumed, core=None):
    """New TLS 1.3 connections one after the other, one request each, without or with the ticket of the first."""
    kind = "-reuse" if is_resumed else "-new"
    out = run(["openssl", "s_time", "-connect", f"127.0.0.1:{port}", kind, "-tls1_3", "-time", seconds, "-www", "/"], core)
    count, real = re.findall(r"(\d+) connections in (\d+) real", out)[-1]
    return Seen(int(count), float(real))


def ab(url, requests, connections, core=None):
    """ApacheBench as the guide runs it: a new connection for each request."""
    out = run(["ab", "-q", "-n", requests, "-c", connections, url], core)
    share = {int(part): float(ms) for part, ms in re.findall(r"^\s+(\d+)%\s+(\d+)", out, re.M)}
    failed = int(re.search(r"Failed requests:\s+(\d+)", out).group(1))
    other = re.search(r"Non-2xx responses:\s+(\d+)", out)
    trouble = " ".join(filter(None, [f"{failed} failed" if failed else "", f"{other.group(1)} not 2xx" if other else ""]))
    return Seen(
        int(re.search(r"Complete requests:\s+(\d+)", out).group(1)),
        float(re.search(r"Time taken for tests:\s+([\d.]+)", out).group(1)),
        share.get(50), share.get(99), None, trouble,
    )
