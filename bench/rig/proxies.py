"""The peers: how each is told to do the same thing, on one thread, as its own manual says."""
import json

from .machine import Process
from .setup import PORTS, nginx_head

# What a proxy cannot do as it is packaged, by the field of the setup; such a scenario has no figure for it.
UNABLE = {
    "caddy": {"is_limited"},
    "bare": {"is_limited", "is_compressed", "is_logged", "routes"},
}
FORWARDED = ("X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto", "X-Request-ID")


def can(name, setup):
    return not any(getattr(setup, field) for field in UNABLE.get(name, ()))


def start(name, setup, binaries, core):
    """Starts a proxy before the backends of the setup."""
    command, env = {
        "cirque": lambda: cirque(setup, binaries, "cirque", "own"),
        "cirque-pingora": lambda: cirque(setup, binaries, "cirque-pingora", "pingora"),
        "nginx": lambda: nginx(setup),
        "haproxy": lambda: haproxy(setup),
        "envoy": lambda: envoy(setup, binaries),
        "caddy": lambda: caddy(setup, binaries),
        "traefik": lambda: traefik(setup, binaries),
        "bare": lambda: bare(setup, binaries),
    }[name]()
    return Process(name, command, PORTS[name][0], setup.root / f"{name}.said", core, env)


def cirque(setup, binaries, name, path):
    plain, tls, admin = PORTS[name]
    backends = "".join(f'[[upstreams.app.backends]]\nid = "b{port}"\naddress = "127.0.0.1:{port}"\n' for port in setup.ports())
    extra = 'rate_limits = ["all"]\n' if setup.is_limited else ""
    extra += 'compress = { encodings = ["gzip"] }\n' if setup.is_compressed else ""
    routes = "".join(
        f'[[routes]]\nname = "r{number}"\nhosts = ["{host}"]\nupstream = "app"\n' for number, host in enumerate(setup.hosts())
    )
    limits = '[rate_limits.all]\nrate = "1000000/s"\nburst = 1000000\n' if setup.is_limited else ""
    file = setup.write(f"{name}.toml", f"""[server]
threads = 1
admin = "127.0.0.1:{admin}"
state_dir = "{setup.root}/{name}-state"
http1 = "{path}"
[log]
level = "warn"
[access_log]
output = "{f'{setup.root}/{name}.access' if setup.is_logged else 'off'}"
[client]
keepalive_requests = 100000000
[[listeners]]
name = "plain"
address = "127.0.0.1:{plain}"
[[listeners]]
name = "tls"
address = "127.0.0.1:{tls}"
tls = {{ certificates = [{{ cert = "{setup.root}/tls.pem", key = "{setup.root}/tls.key" }}] }}
{limits}{routes}[[routes]]
name = "all"
upstream = "app"
{extra}[upstreams.app]
{backends}""")
    return [binaries["cirque"], "proxy", "run", "-c", file], None


def nginx(setup):
    plain, tls, _ = PORTS["nginx"]
    servers = "".join(f"server 127.0.0.1:{port} max_fails=3 fail_timeout=30s;" for port in setup.ports())
    log = f"access_log {setup.root}/nginx.access combined buffer=64k flush=1s;" if setup.is_logged else "access_log off;"
    limit = "limit_req_zone $binary_remote_addr zone=all:10m rate=1000000r/s;" if setup.is_limited else ""
    # Names of a thousand hosts want a larger table than nginx's default.
    table = "server_names_hash_max_size 4096; server_names_hash_bucket_size 128;"
    inside = "limit_req zone=all burst=1000000 nodelay;" if setup.is_limited else ""
    inside += "gzip on; gzip_proxied any; gzip_comp_level 5; gzip_types text/plain;" if setup.is_compressed else ""
    location = f"""location / {{ {inside} proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
proxy_set_header X-Request-ID $request_id; proxy_next_upstream error timeout http_502 http_503; }}"""
    secured = f"""ssl_certificate {setup.root}/tls.pem; ssl_certificate_key {setup.root}/tls.key;
ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:s:10m;"""
    ports = f"listen 127.0.0.1:{plain} backlog=4096; listen 127.0.0.1:{tls} ssl http2 backlog=4096;"
    others = f"listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl http2;"
    sites = "".join(f"server {{ {others} server_name {host}; {secured} {location} }}\n" for host in setup.hosts())
    file = setup.write("nginx.conf", nginx_head(setup.root, "nginx") + f"""{log} {limit} {table}
client_body_buffer_size 16k;
upstream app {{ least_conn; {servers} keepalive 512; keepalive_requests 100000000; }}
server {{ {ports.replace("backlog=4096", "default_server backlog=4096")} {secured} {location} }}
{sites} }}""")
    return ["nginx", "-c", file], None


def haproxy(setup):
    plain, tls, metrics = PORTS["haproxy"]
    servers = "\n".join(f"  server s{port} 127.0.0.1:{port} check inter 5s" for port in setup.ports())
    log = "  option httplog\n  log stderr format raw local0\n" if setup.is_logged else ""
    extra = ""
    if setup.routes:
        table = setup.write("haproxy.map", "".join(f"{host} b\n" for host in setup.hosts()))
        extra += f"  use_backend %[req.hdr(host),lower,map_str({table},b)]\n"
    if setup.is_limited:
        extra += ("  stick-table type ip size 64k expire 30s store http_req_rate(1s)\n  http-request track-sc0 src\n"
                  "  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 1000000 }\n")
    gzip = "  compression algo gzip\n  compression type text/plain\n" if setup.is_compressed else ""
    stats = ""
    if setup.is_logged:
        stats = f"frontend metrics\n  bind 127.0.0.1:{metrics}\n  http-request use-service prometheus-exporter\n"
    file = setup.write("haproxy.cfg", f"""global
  nbthread 1
  maxconn 8192
  tune.comp.maxlevel 5
defaults
  mode http
  timeout client 75s
  timeout server 60s
  timeout connect 2s
  timeout http-request 15s
{log}{stats}frontend f
  bind 127.0.0.1:{plain}
  bind 127.0.0.1:{tls} ssl crt {setup.root}/both.pem alpn h2,http/1.1
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Real-IP %[src]
  unique-id-format %[uuid()]
  unique-id-header X-Request-ID
{extra}  default_backend b
backend b
  balance leastconn
  http-reuse always
{gzip}{servers}
""")
    return ["haproxy", "-db", "-f", file], None


def envoy(setup, binaries):
    plain, tls, admin = PORTS["envoy"]

    def address(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    def typed(name, **fields):
        return {"@type": f"type.googleapis.com/envoy.{name}", **fields}

    def host(name, domains):
        return {"name": name, "domains": domains, "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}]}

    filters = []
    if setup.is_limited:
        filters.append({"name": "envoy.filters.http.local_ratelimit", "typed_config": typed(
            "extensions.filters.http.local_ratelimit.v3.LocalRateLimit", stat_prefix="limit",
            token_bucket={"max_tokens": 1000000, "tokens_per_fill": 1000000, "fill_interval": "1s"},
            filter_enabled={"default_value": {"numerator": 100}}, filter_enforced={"default_value": {"numerator": 100}})})
    if setup.is_compressed:
        filters.append({"name": "envoy.filters.http.compressor", "typed_config": typed(
            "extensions.filters.http.compressor.v3.Compressor",
            response_direction_config={"common_config": {"content_type": ["text/plain"]}},
            compressor_library={"name": "gzip", "typed_config": typed(
                "extensions.compression.gzip.compressor.v3.Gzip", compression_level="COMPRESSION_LEVEL_5")})})
    filters.append({"name": "envoy.filters.http.router", "typed_config": typed("extensions.filters.http.router.v3.Router")})
    manager = typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", stat_prefix="in",
        use_remote_address=True, generate_request_id=True, http_filters=filters,
        # openssl s_time speaks HTTP/1.0.
        http_protocol_options={"accept_http_10": True, "default_host_for_http_10": "localhost"},
        route_config={"virtual_hosts": [
            *(host(f"r{number}", [name]) for number, name in enumerate(setup.hosts())), host("all", ["*"])]},
    )
    if setup.is_logged:
        manager["access_log"] = [{"name": "file", "typed_config": typed(
            "extensions.access_loggers.file.v3.FileAccessLog", path=f"{setup.root}/envoy.access")}]
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    secured = {**chain, "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": typed(
        "extensions.transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context={
            "alpn_protocols": ["h2", "http/1.1"], "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [{"certificate_chain": {"filename": f"{setup.root}/tls.pem"},
                                  "private_key": {"filename": f"{setup.root}/tls.key"}}]})}}
    endpoints = [{"endpoint": {"address": address(port)}} for port in setup.ports()]
    # The guards against too much at once are lifted, as their default of 1,024 is not what is measured.
    open_wide = {"thresholds": [{"max_connections": 100000, "max_pending_requests": 100000, "max_requests": 100000}]}
    file = setup.write("envoy.json", json.dumps({
        "admin": {"address": address(admin)},
        "static_resources": {
            "listeners": [
                {"name": "plain", "address": address(plain), "filter_chains": [chain]},
                {"name": "tls", "address": address(tls), "filter_chains": [secured]},
            ],
            "clusters": [{
                "name": "app", "type": "STATIC", "lb_policy": "LEAST_REQUEST", "connect_timeout": "2s",
                "circuit_breakers": open_wide, "load_assignment": {
                    "cluster_name": "app", "endpoints": [{"lb_endpoints": endpoints}]}}],
        },
    }))
    return [binaries["envoy"], "-c", file, "--concurrency", 1, "--log-level", "warning", "--use-dynamic-base-id"], None


def caddy(setup, binaries):
    plain, tls, admin = PORTS["caddy"]
    servers = " ".join(f"127.0.0.1:{port}" for port in setup.ports())
    log = f"log {{\n output file {setup.root}/caddy.access\n }}" if setup.is_logged else ""
    gzip = "encode {\n gzip 5\n match header Content-Type text/plain*\n }" if setup.is_compressed else ""
    inside = f"""{log}
 {gzip}
 reverse_proxy {servers} {{
  lb_policy least_conn
  header_up X-Real-IP {{remote_host}}
  header_up X-Request-ID {{http.request.uuid}}
  transport http {{
   keepalive_idle_conns 512
   keepalive_idle_conns_per_host 512
  }}
 }}"""
    site = "(site) {\n " + inside + "\n}\n"
    named = "".join(f"http://{host}:{plain} {{\n import site\n}}\n" for host in setup.hosts())
    metrics = " metrics\n" if setup.is_logged else ""
    file = setup.write("Caddyfile", f"""{{
 admin {f"127.0.0.1:{admin}" if setup.is_logged else "off"}
 auto_https off
 persist_config off
{metrics} default_bind 127.0.0.1
 servers {{
  protocols h1 h2
 }}
}}
{site}{named}http://:{plain} {{
 import site
}}
https://:{tls} {{
 tls {setup.root}/tls.pem {setup.root}/tls.key
 import site
}}
""")
    env = {"GOMAXPROCS": "1", "HOME": str(setup.root / "home"), "XDG_DATA_HOME": str(setup.root / "home")}
    return [binaries["caddy"], "run", "--config", file, "--adapter", "caddyfile"], env


def traefik(setup, binaries):
    plain, tls, metrics = PORTS["traefik"]
    between = {}
    if setup.is_limited:
        between["limit"] = {"rateLimit": {"average": 1000000, "burst": 1000000}}
    if setup.is_compressed:
        between["gzip"] = {"compress": {"encodings": ["gzip"], "includedContentTypes": ["text/plain"]}}
    routers = {}
    for entry in ("plain", "tls"):
        for name, rule in [*((host.split(".")[0], f"Host(`{host}`)") for host in setup.hosts()), ("all", "PathPrefix(`/`)")]:
            router = {"entryPoints": [entry], "rule": rule, "service": "app"}
            if between:
                router["middlewares"] = list(between)
            routers[f"{entry}-{name}"] = router | ({"tls": {}} if entry == "tls" else {})
    http = {
        "routers": routers,
        "services": {"app": {"loadBalancer": {
            "strategy": "p2c", "servers": [{"url": f"http://127.0.0.1:{port}"} for port in setup.ports()],
            "serversTransport": "many"}}},
        "serversTransports": {"many": {"maxIdleConnsPerHost": 512}},
    }
    if between:
        http["middlewares"] = between
    pair = {"certFile": f"{setup.root}/tls.pem", "keyFile": f"{setup.root}/tls.key"}
    # JSON is YAML.
    dynamic = setup.write("traefik.yml", json.dumps(
        {"http": http, "tls": {"certificates": [pair], "stores": {"default": {"defaultCertificate": pair}}}}))
    command = [
        binaries["traefik"], "--global.checknewversion=false", "--global.sendanonymoususage=false", "--log.level=ERROR",
        f"--providers.file.filename={dynamic}",
        f"--entrypoints.plain.address=127.0.0.1:{plain}", f"--entrypoints.tls.address=127.0.0.1:{tls}",
    ]
    if setup.is_logged:
        command += [f"--accesslog.filepath={setup.root}/traefik.access", f"--entrypoints.metrics.address=127.0.0.1:{metrics}",
                    "--metrics.prometheus.entrypoint=metrics"]
    return command, {"GOMAXPROCS": "1", "HOME": str(setup.root / "home")}


def bare(setup, binaries):
    plain, tls, _ = PORTS["bare"]
    pair = [setup.root / "tls.pem", setup.root / "tls.key"]
    return [binaries["bare"], f"127.0.0.1:{plain}", f"127.0.0.1:{tls}", *pair, *(f"127.0.0.1:{port}" for port in setup.ports())], None
