"""The edge's scenarios: one row of the table each."""
import dataclasses

from . import load
from .setup import PORTS


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    connections: int = 64
    path: str = "/"
    method: str = "GET"
    body: int = 0
    headers: tuple = ()
    # "plain", "tls", "h2" (over TLS), "full" or "resumed" (handshakes).
    kind: str = "plain"
    setup: dict = dataclasses.field(default_factory=dict)
    # Whether `--quick` runs it.
    is_quick: bool = False
    # Nothing below nginx's or the bare proxy's ratio of processor time is promised where this is None.
    target: tuple | None = None

    def once(self, proxy, seconds, scratch, core):
        plain, tls, _ = PORTS[proxy]
        if self.kind in ("full", "resumed"):
            return load.handshakes(tls, seconds, self.kind == "resumed", core)
        if self.kind == "h2":
            return load.h2load(f"https://localhost:{tls}{self.path}", self.connections, 8, seconds, scratch, core)
        scheme, port = ("https", tls) if self.kind == "tls" else ("http", plain)
        return load.wrk(
            f"{scheme}://127.0.0.1:{port}{self.path}", self.connections, seconds, core, self.headers, self.method, self.body
        )


CLOSE = ("Connection: close",)
SCENARIOS = [
    Scenario("small body, 8 connections", 8),
    Scenario("small body, 64 connections", is_quick=True, target=("nginx", 0.85)),
    Scenario("small body, 512 connections", 512, is_quick=True, target=("nginx", 0.75)),
    Scenario("16 KiB", path="/16k", target=("nginx", 1.0)),
    Scenario("1 MiB, 16 connections", 16, "/1m", target=("nginx", 1.0)),
    Scenario("POST 4 KiB", method="POST", body=4096, is_quick=True),
    Scenario("new connection each", headers=CLOSE, is_quick=True, target=("nginx", 1.1)),
    Scenario("TLS, kept", kind="tls", is_quick=True, target=("nginx", 1.0)),
    Scenario("TLS, full handshake each", 1, kind="full", target=("nginx", 1.1)),
    Scenario("TLS, resumed handshake each", 1, kind="resumed"),
    Scenario("HTTP/2 to HTTP/1, 16 × 8", 16, kind="h2", is_quick=True, target=("bare", 1.2)),
    Scenario("200 backends", setup={"backends": 200}),
    Scenario("1,000 routes", headers=("Host: r777.example.com",), setup={"routes": 1000}, is_quick=True),
    Scenario("gzip, 16 KiB of text", path="/text", headers=("Accept-Encoding: gzip",), setup={"is_compressed": True}),
    Scenario("rate limit on", setup={"is_limited": True}),
    Scenario("small body, logged", setup={"is_logged": True}, is_quick=True, target=("nginx", 0.95)),
    Scenario("small body, 512, logged", 512, setup={"is_logged": True}),
    Scenario("16 KiB, logged", path="/16k", setup={"is_logged": True}),
    Scenario("TLS, kept, logged", kind="tls", setup={"is_logged": True}),
    Scenario("HTTP/2 to HTTP/1, logged", 16, kind="h2", setup={"is_logged": True}, target=("bare", 1.3)),
]
