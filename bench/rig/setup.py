"""What one scenario asks of every proxy, in the proxies' own words nowhere: see proxies.py for those."""
import dataclasses
import pathlib
import random
import subprocess

# Each proxy has a plain port, one with TLS, and one for its metrics.
PORTS = {
    name: (18000 + 10 * place, 18001 + 10 * place, 18002 + 10 * place)
    for place, name in enumerate(["cirque", "cirque-pingora", "nginx", "haproxy", "envoy", "caddy", "traefik", "bare"])
}
FIRST_BACKEND = 18200


@dataclasses.dataclass(frozen=True)
class Setup:
    """The site that a proxy stands before."""

    root: pathlib.Path
    backends: int = 3
    # Each route is a host of its own, r0.example.com and so on, to the same backends; 0 is one route for all.
    routes: int = 0
    # An access log into a file, and metrics where the proxy has any.
    is_logged: bool = False
    is_compressed: bool = False
    # A limit by address that is counted and never reached.
    is_limited: bool = False

    def ports(self):
        return range(FIRST_BACKEND, FIRST_BACKEND + self.backends)

    def hosts(self):
        return [f"r{number}.example.com" for number in range(self.routes)]

    def write(self, name, text):
        path = self.root / name
        path.write_text(text)
        return path


def prepare(root):
    """The certificate of all, and what the backends serve."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(root / "tls.key"), "-out", str(root / "tls.pem")],
        check=True, capture_output=True,
    )
    (root / "both.pem").write_text((root / "tls.pem").read_text() + (root / "tls.key").read_text())
    (root / "16k").write_bytes(b"x" * 16384)
    (root / "1m").write_bytes(b"x" * 1048576)
    # Text that shrinks as text does: words of a small vocabulary, the same in every run.
    draw = random.Random(1)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(2, 9))) for _ in range(800)]
    (root / "text").write_text(" ".join(draw.choices(words, k=4000))[:16384])
    for folder in ("temp", "home"):
        (root / folder).mkdir()


def nginx_head(root, name, workers=1):
    """What every nginx of the rig begins with: one worker in front, its temporary files in our folder."""
    temp = " ".join(
        f"{kind}_temp_path {root}/temp/{name}-{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"worker_processes {workers}; daemon off; pid {root}/{name}.pid; error_log {root}/{name}.err;\n"
        f"worker_rlimit_nofile 20000; events {{ worker_connections 16384; }}\nhttp {{ {temp} keepalive_requests 100000000;\n"
    )


def backends_conf(root, count):
    """The cheapest backend there is: nginx with answers that are fixed."""
    listens = "\n".join(f"listen 127.0.0.1:{port} backlog=4096;" for port in range(FIRST_BACKEND, FIRST_BACKEND + count))
    return nginx_head(root, "backend") + f"""sendfile on; tcp_nopush on; access_log off; client_body_in_single_buffer on;
keepalive_timeout 600s;
server {{ {listens}
location / {{ return 200 "hello from a backend of the bench\\n"; }}
location /16k {{ root {root}; }} location /1m {{ root {root}; }}
location /text {{ root {root}; default_type text/plain; }} }} }}"""
