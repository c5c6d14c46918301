#!/usr/bin/env python3
"""CPU per proxied HTTP/1.1 request, plain and over TLS: cirque beside nginx and HAProxy, in alternating rounds of one run.

Each proxy runs on the first core, its load (wrk) and its three backends (nginx, a fixed answer) on the second.
What counts is the processor time that the kernel charges to the proxy's processes, divided by the requests
answered; so the other core's load does not matter, and neither does the clock. Medians over rounds.

    bench/http1.py target/dist/cirque [--rounds 5] [--seconds 4]

Needs nginx, haproxy, wrk and openssl (Debian packages). TLS is 1.3 with one ECDSA P-256 certificate for all; new TLS
connections are made by `openssl s_time` on the second core, without resumption, one request each. Everything listens on loopback and is stopped by pid.
"""
import argparse, os, re, shutil, signal, statistics, subprocess, sys, tempfile, time, socket, pathlib, urllib.request

BACKENDS = [18101, 18102, 18103]
PROXY = {"cirque": 18080, "cirque-pingora": 18081, "nginx": 18082, "haproxy": 18083}
TLS = {"cirque": 18480, "cirque-pingora": 18481, "nginx": 18482, "haproxy": 18483}
ADMIN = {"cirque": 18090, "cirque-pingora": 18091}
TICK = os.sysconf("SC_CLK_TCK")


def write(path, text):
    path.write_text(text)
    return str(path)


def backend_conf(root):
    servers = "".join(
        f"""server {{ listen 127.0.0.1:{port} backlog=4096; access_log off; keepalive_requests 1000000;
        location / {{ return 200 "hello from a backend of the bench\\n"; }}
        location /16k {{ root {root}; }} location /1m {{ root {root}; }} }}\n"""
        for port in BACKENDS
    )
    (root / "16k").write_bytes(b"x" * 16384)
    (root / "1m").write_bytes(b"x" * 1048576)
    return f"""worker_processes 1; daemon off; pid {root}/backend.pid; error_log {root}/backend.err;
events {{ worker_connections 8192; }}
http {{ sendfile on; tcp_nopush on; client_body_temp_path {root}/b1; proxy_temp_path {root}/b2; fastcgi_temp_path {root}/b3;
uwsgi_temp_path {root}/b4; scgi_temp_path {root}/b5; {servers} }}"""


def certificate(root):
    """A self-signed one: chain and key, and both in one file as HAProxy wants it."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(root / "tls.key"), "-out", str(root / "tls.pem")],
        check=True, capture_output=True,
    )
    (root / "both.pem").write_text((root / "tls.pem").read_text() + (root / "tls.key").read_text())


def nginx_conf(root, log):
    servers = "".join(f"server 127.0.0.1:{port} max_fails=3 fail_timeout=30s;" for port in BACKENDS)
    access = f"access_log {root}/nginx.access combined buffer=64k flush=1s;" if log else "access_log off;"
    return f"""worker_processes 1; daemon off; pid {root}/nginx.pid; error_log {root}/nginx.err;
events {{ worker_connections 8192; }}
http {{ {access} client_body_temp_path {root}/n1; proxy_temp_path {root}/n2; fastcgi_temp_path {root}/n3;
uwsgi_temp_path {root}/n4; scgi_temp_path {root}/n5; keepalive_requests 1000000;
upstream app {{ least_conn; {servers} keepalive 512; keepalive_requests 1000000; }}
server {{ listen 127.0.0.1:{PROXY['nginx']} backlog=4096; listen 127.0.0.1:{TLS['nginx']} ssl backlog=4096;
ssl_certificate {root}/tls.pem; ssl_certificate_key {root}/tls.key; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:s:10m;
location / {{ proxy_pass http://app; proxy_http_version 1.1;
proxy_set_header Connection ""; proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
proxy_set_header X-Request-ID $request_id; proxy_next_upstream error timeout http_502 http_503; }} }} }}"""


def haproxy_conf(root, log):
    servers = "\n".join(f"  server s{port} 127.0.0.1:{port} check inter 5s" for port in BACKENDS)
    logging = "  option httplog\n  log stderr format raw local0\n" if log else ""
    return f"""global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout client 75s
  timeout server 60s
  timeout connect 2s
  timeout http-request 15s
{logging}frontend f
  bind 127.0.0.1:{PROXY['haproxy']}
  bind 127.0.0.1:{TLS['haproxy']} ssl crt {root}/both.pem alpn http/1.1
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Real-IP %[src]
  unique-id-format %[uuid()]
  unique-id-header X-Request-ID
  default_backend b
backend b
  balance leastconn
  http-reuse always
{servers}
"""


def cirque_conf(root, name, log):
    backends = "".join(
        f'[[upstreams.app.backends]]\nid = "b{port}"\naddress = "127.0.0.1:{port}"\n' for port in BACKENDS
    )
    output = f"{root}/{name}.access" if log else "off"
    path = "pingora" if name.endswith("pingora") else "own"
    return f"""[server]
threads = 1
admin = "127.0.0.1:{ADMIN[name]}"
http1 = "{path}"
[log]
level = "warn"
[access_log]
output = "{output}"
[client]
keepalive_requests = 1000000
[[listeners]]
name = "l"
address = "127.0.0.1:{PROXY[name]}"
[[listeners]]
name = "tls"
address = "127.0.0.1:{TLS[name]}"
tls = {{ certificates = [{{ cert = "{root}/tls.pem", key = "{root}/tls.key" }}] }}
[[routes]]
name = "r"
upstream = "app"
[upstreams.app]
{backends}"""


def children(pid):
    out = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    return [pid] + [c for child in out for c in children(int(child))]


def cpu_seconds(pid):
    total = 0
    for each in children(pid):
        try:
            fields = pathlib.Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        except FileNotFoundError:
            pass
    return total / TICK


def cpu_nanos(pid):
    """Run time of every thread of the tree, in nanoseconds: finer than ticks."""
    total = 0
    for each in children(pid):
        for task in pathlib.Path(f"/proc/{each}/task").glob("*/schedstat"):
            total += int(task.read_text().split()[0])
    return total


def resident(pid):
    total = 0
    for each in children(pid):
        match = re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{each}/status").read_text())
        total += int(match.group(1)) if match else 0
    return total


def wait_for(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on {port}")


def start(command, core, port):
    process = subprocess.Popen(["taskset", "-c", core, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(port)
    return process


def handshakes(port, seconds, path):
    """New TLS connections, one request each: how many."""
    command = ["taskset", "-c", "1", "openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-time", str(seconds), "-www", path]
    out = subprocess.run(command, capture_output=True, text=True).stdout
    return int(re.search(r"(\d+) connections in \d+ real", out).group(1)), ""


def load(port, connections, seconds, path, extra, scheme="http"):
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *extra, f"{scheme}://127.0.0.1:{port}{path}"]
    out = subprocess.run(command, capture_output=True, text=True).stdout
    bad = re.search(r"Non-2xx.*: (\d+)", out) or re.search(r"Socket errors: (.*)", out)
    return int(re.search(r"(\d+) requests in", out).group(1)), bad.group(0) if bad else ""


SCENARIOS = {
    "small body, 64 connections": (64, "/", [], False),
    "small body, 512 connections": (512, "/", [], False),
    "small body, 64, access log": (64, "/", [], True),
    "16 KiB, 64 connections": (64, "/16k", [], False),
    "1 MiB, 16 connections": (16, "/1m", [], False),
    "new connection each, 64": (64, "/", ["-H", "Connection: close"], False),
    "TLS, small body, 64": (64, "/", ["tls"], False),
    "TLS, 16 KiB, 64": (64, "/16k", ["tls"], False),
    "TLS, 1 MiB, 16": (16, "/1m", ["tls"], False),
    "TLS, new connection each": (1, "/", ["handshakes"], False),
}


def once(name, scenario, seconds):
    """One round of a scenario at one proxy."""
    connections, path, extra, _ = scenario
    if extra == ["handshakes"]:
        return handshakes(TLS[name], seconds, path)
    if extra == ["tls"]:
        return load(TLS[name], connections, seconds, path, [], "https")
    return load(PROXY[name], connections, seconds, path, extra)


def idle_memory(pid, port, count):
    before = resident(pid)
    held = []
    for _ in range(count):
        s = socket.create_connection(("127.0.0.1", port))
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        s.recv(4096)
        held.append(s)
    time.sleep(1)
    after = resident(pid)
    for s in held:
        s.close()
    return (after - before) * 1024 / count


def reused(name):
    """The share of attempts that took an idle connection to a backend, of all since the start."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{ADMIN[name]}/metrics").read().decode()
    total = lambda series: sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(series + "{"))
    reuses, connects = total("proxy_upstream_connection_reuses_total"), total("proxy_upstream_connect_seconds_count")
    return reuses / (reuses + connects)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cirque")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--only", default="")
    parser.add_argument("--proxies", default="cirque,nginx,haproxy")
    parser.add_argument("--idle", type=int, default=0)
    options = parser.parse_args()
    names = options.proxies.split(",")
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        root.chmod(0o755)
        certificate(root)
        held = [start(["nginx", "-c", write(root / "backend.conf", backend_conf(root))], "1", BACKENDS[0])]
        try:
            print(f"{'scenario':<30}" + "".join(f"{name:>24}" for name in names) + "   ratio to nginx")
            for scenario, (_, _, _, log) in SCENARIOS.items():
                if options.only and options.only not in scenario:
                    continue
                running = {}
                for name in names:
                    if name == "nginx":
                        command = ["nginx", "-c", write(root / "nginx.conf", nginx_conf(root, log))]
                    elif name == "haproxy":
                        command = ["haproxy", "-db", "-f", write(root / "haproxy.cfg", haproxy_conf(root, log))]
                    else:
                        command = [options.cirque, "proxy", "run", "-c", write(root / f"{name}.toml", cirque_conf(root, name, log))]
                    running[name] = start(command, "0", PROXY[name])
                samples = {name: [] for name in names}
                troubles = set()
                for name in names:
                    once(name, SCENARIOS[scenario], 1)
                for _ in range(options.rounds):
                    for name in names:
                        before = cpu_nanos(running[name].pid)
                        requests, bad = once(name, SCENARIOS[scenario], options.seconds)
                        spent = cpu_nanos(running[name].pid) - before
                        samples[name].append(spent / 1000 / requests)
                        if bad:
                            troubles.add(f"{name}: {bad}")
                medians = {name: statistics.median(values) for name, values in samples.items()}
                cells = "".join(
                    f"{medians[n]:>10.2f} ({min(samples[n]):.1f}-{max(samples[n]):.1f})".rjust(24) for n in names
                )
                ratios = " ".join(f"{n} {medians[n] / medians['nginx']:.2f}" for n in names if n != "nginx" and "nginx" in medians)
                print(f"{scenario:<30}{cells}   {ratios} {' '.join(troubles)}", flush=True)
                for name in names:
                    if name in ADMIN:
                        print(f"  connections to backends reused, {name}: {reused(name):.4%}")
                if options.idle and scenario.startswith("small body, 64 conn"):
                    for name in names:
                        print(f"  idle connection, {name}: {idle_memory(running[name].pid, PROXY[name], options.idle):.0f} bytes")
                for process in running.values():
                    process.send_signal(signal.SIGTERM)
                    process.wait()
        finally:
            for process in held:
                process.terminate()
                process.wait()


if __name__ == "__main__":
    for tool in ("nginx", "haproxy", "wrk", "openssl"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: apt-get install nginx haproxy wrk")
    main()
