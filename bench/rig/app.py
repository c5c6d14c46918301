"""The app beside what its users would otherwise run: PHP-FPM behind nginx, and Fastify, over the same databases."""
import contextlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import time
import urllib.request

from . import load
from .machine import Process
from .setup import nginx_head
from .tools import say, target

EDGE, ADMIN, NODE, PHP, NODEJS, POSTGRES = 18300, 18301, 18310, 18320, 18330, 18340
LIST = "/api/v1/posts"
RIVALS = pathlib.Path(__file__).parent / "rivals"


class Databases:
    """One SQLite file and one PostgreSQL server with the same posts."""

    def __init__(self, root, cirque, posts):
        self.root, self.cirque, self.posts = root, cirque, posts
        self.sqlite = f"sqlite:{root}/posts.db"
        self.file = root / "posts.db"
        self.postgres = f"postgres://bench@127.0.0.1:{POSTGRES}/bench"
        self.server = None

    def __enter__(self):
        # The server refuses to run as root, so it and its folder belong to Debian's own user of it.
        binaries = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        place = self.root / "postgres"
        place.mkdir()
        user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"] if os.geteuid() == 0 else []
        if user:
            shutil.chown(place, "postgres", "postgres")
        subprocess.run([*user, binaries / "initdb", "-D", place / "data", "-U", "bench", "--auth=trust"], check=True, capture_output=True, cwd="/")
        self.server = Process(
            "postgres",
            [*user, binaries / "postgres", "-D", place / "data", "-k", place, "-p", POSTGRES, "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=256MB"],
            POSTGRES, self.root / "postgres.said",
        )
        # It listens before it is ready.
        for _ in range(100):
            if subprocess.run([binaries / "pg_isready", "-qh", "127.0.0.1", "-p", str(POSTGRES)]).returncode == 0:
                break
            time.sleep(0.1)
        subprocess.run([binaries / "createdb", "-h", "127.0.0.1", "-p", str(POSTGRES), "-U", "bench", "bench"], check=True)
        for url in (self.sqlite, self.postgres):
            self.tell("migrate", "--database", url)
            self.tell("seed", "--database", url, "--posts", str(self.posts))
        # What the database would do by itself after a while.
        subprocess.run([binaries / "psql", "-qh", "127.0.0.1", "-p", str(POSTGRES), "-U", "bench", "-c", "VACUUM ANALYZE"], check=True)
        with sqlite3.connect(self.file) as db:
            db.execute("ANALYZE")
        return self

    def tell(self, *words):
        return subprocess.run([self.cirque, "app", *words], check=True, capture_output=True, text=True, cwd=self.root).stdout

    def token(self, url):
        return self.tell("token", "create", "ada", "--database", url, "--ability", "posts:write", "--expires", "1d").strip().splitlines()[-1]

    def __exit__(self, *_):
        if self.server:
            self.server.stop()


@contextlib.contextmanager
def node(root, cirque, url, is_cached=True, port=NODE):
    """One node, with as many threads as the machine has cores."""
    file = root / f"node-{port}.toml"
    file.write_text(f"""[server]
port = {port}
[database]
url = "{url}"
[cache]
max_size = "{'64MiB' if is_cached else '0'}"
[log]
level = "warn"
""")
    with Process("node", [cirque, "app", "serve", "-c", file], port, root / "node.said") as process:
        yield process


@contextlib.contextmanager
def edge(root, cirque, port=NODE):
    file = root / "edge.toml"
    file.write_text(f"""[server]
admin = "127.0.0.1:{ADMIN}"
state_dir = "{root}/edge-state"
[log]
level = "warn"
[access_log]
output = "off"
[client]
keepalive_requests = 100000000
[[listeners]]
name = "plain"
address = "127.0.0.1:{EDGE}"
[[routes]]
name = "all"
upstream = "app"
[upstreams.app.probe]
path = "/livez"
[[upstreams.app.backends]]
id = "node"
address = "127.0.0.1:{port}"
""")
    with Process("edge", [cirque, "proxy", "run", "-c", file], EDGE, root / "edge.said") as process:
        yield process


@contextlib.contextmanager
def php(root, url):
    """PHP-FPM with opcache and persistent connections, behind nginx on a unix socket, as Debian packages them."""
    kind, user = ("pgsql", "bench") if url.startswith("postgres") else ("sqlite", "")
    dsn = f"pgsql:host=127.0.0.1;port={POSTGRES};dbname=bench" if kind == "pgsql" else f"sqlite:{root}/posts.db"
    shutil.copy(RIVALS / "posts.php", root / "posts.php")
    pool = root / "fpm.conf"
    pool.write_text(f"""[global]
daemonize = no
error_log = {root}/fpm.err
[www]
listen = {root}/fpm.sock
listen.mode = 0666
{"user = root" if os.geteuid() == 0 else ""}
{"group = root" if os.geteuid() == 0 else ""}
pm = static
pm.max_children = 8
pm.max_requests = 0
env[BENCH_DSN] = "{dsn}"
{f'env[BENCH_USER] = "{user}"' if user else ""}
php_admin_value[opcache.enable] = 1
php_admin_value[opcache.validate_timestamps] = 0
""")
    front = root / "php.conf"
    params = f"include /etc/nginx/fastcgi_params; fastcgi_param SCRIPT_FILENAME {root}/posts.php;"
    front.write_text(nginx_head(root, "php") + f"""access_log off;
server {{ listen 127.0.0.1:{PHP} backlog=4096; location / {{ {params} fastcgi_pass unix:{root}/fpm.sock; }} }} }}""")
    with Process("nginx", ["nginx", "-c", front], PHP, root / "php.said"):
        binary = sorted(pathlib.Path("/usr/sbin").glob("php-fpm*"))[-1]
        says = root / "fpm.said"
        with open(says, "ab") as out:
            child = subprocess.Popen([binary, "-y", pool, *(["-R"] if os.geteuid() == 0 else [])], stdout=out, stderr=out)
        try:
            wait_until_answered(f"http://127.0.0.1:{PHP}{LIST}")
            yield child
        finally:
            child.terminate()
            child.wait(10)


@contextlib.contextmanager
def fastify(root, url):
    """One process of node.js, as Fastify's own documentation starts it; over PostgreSQL alone."""
    place = target() / "rivals"
    wanted = (RIVALS / "package.json").read_text()
    told = place / "installed.json"
    if not told.exists() or told.read_text() != wanted:
        say("installing Fastify with npm")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / "package.json").write_text(wanted)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], cwd=place, check=True)
        told.write_text(wanted)
    shutil.copy(RIVALS / "posts.js", place / "posts.js")
    with Process("fastify", ["node", place / "posts.js", NODEJS, url], NODEJS, root / "fastify.said", env={"NODE_ENV": "production"}) as process:
        wait_until_answered(f"http://127.0.0.1:{NODEJS}{LIST}")
        yield process


def wait_until_answered(url):
    """What is measured must answer with posts, or nothing is measured."""
    last = None
    for _ in range(100):
        try:
            answer = json.load(urllib.request.urlopen(url, timeout=5))
            if len(answer["data"]) == 15 and answer["data"][0]["author"]["name"]:
                return
            last = str(answer)[:300]
        except (OSError, ValueError) as error:
            last = error
        time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer with posts: {last}")


def deep_cursor(base, posts):
    """The cursor of a page near the end of all posts."""
    cursor = None
    for _ in range(posts // 100 * 9 // 10):
        answer = json.load(urllib.request.urlopen(f"{base}/api/v2/posts?limit=100&fields=id" + (f"&cursor={cursor}" if cursor else "")))
        cursor = answer["meta"]["next_cursor"]
    return cursor


def drop_indexes(file):
    """What lists are ordered and filtered by; what a row is found by stays."""
    with sqlite3.connect(file) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'posts_by_%'")]
        made = [sql for (sql,) in db.execute("SELECT sql FROM sqlite_master WHERE type = 'index' AND name LIKE 'posts_by_%'")]
        for name in names:
            db.execute(f"DROP INDEX {name}")
    return made


def make_indexes(file, made):
    with sqlite3.connect(file) as db:
        for sql in made:
            db.execute(sql)
        db.execute("ANALYZE")


WRITE = json.dumps({"title": "Bench #", "content": "<p>Words of the bench, number #.</p>", "category_id": 1, "status": "draft"})


class Rows:
    """What was measured: one row for each thing asked, at so many connections, of one server over one database."""

    def __init__(self, options, show):
        self.options, self.show, self.rows = options, show, []

    def ask(self, what, server, database, url, headers=(), template=None):
        """The median of the rounds, by requests a second."""
        for connections in (10, 64):
            rounds = [
                load.wrk(url, connections, self.options.seconds, None, headers, "POST" if template else "GET", 0, template)
                for _ in range(self.options.rounds)
            ]
            self.add(what, server, database, f"wrk {connections}", rounds)

    def ab(self, what, server, database, url):
        """As the guide does it: a thousand requests over ten connections. Ten times, as one lasts a blink."""
        rounds = [load.ab(url, 1000, 10) for _ in range(max(3, self.options.rounds))]
        self.add(what, server, database, "ab 10", rounds)

    def add(self, what, server, database, how, rounds):
        rounds.sort(key=lambda seen: seen.requests / seen.seconds)
        middle, rate = rounds[len(rounds) // 2], [seen.requests / seen.seconds for seen in rounds]
        row = {
            "what": what, "server": server, "database": database, "load": how,
            "per_second": middle.requests / middle.seconds, "lowest": min(rate), "highest": max(rate),
            "p50_ms": middle.p50, "p99_ms": middle.p99, "trouble": " ".join(sorted({seen.trouble for seen in rounds} - {""})),
        }
        self.rows.append(row)
        self.show(row)


def measure(root, cirque, options, show):
    """Everything about the app, in one run."""
    rows = Rows(options, show)
    with Databases(root, cirque, options.posts) as databases:
        for database, url in (("SQLite", databases.sqlite), ("PostgreSQL", databases.postgres)):
            base = f"http://127.0.0.1:{NODE}"
            with node(root, cirque, url), edge(root, cirque):
                front = f"http://127.0.0.1:{EDGE}"
                rows.ab("list, cached", "cirque", database, base + LIST)
                rows.ab("list, cached", "edge and cirque", database, front + LIST)
                rows.ask("list, cached", "cirque", database, base + LIST)
                rows.ask("list, cached", "edge and cirque", database, front + LIST)
            with node(root, cirque, url, is_cached=False):
                slug = json.load(urllib.request.urlopen(f"{base}{LIST}?per_page=1"))["data"][0]["slug"]
                deep = deep_cursor(base, options.posts)
                rows.ab("list, uncached", "cirque", database, base + LIST)
                rows.ask("list, uncached", "cirque", database, base + LIST)
                rows.ask("list of two fields, uncached", "cirque", database, base + "/api/v2/posts?fields=id,title")
                rows.ask("first page by cursor, uncached", "cirque", database, base + "/api/v2/posts")
                rows.ask("page deep down by cursor, uncached", "cirque", database, f"{base}/api/v2/posts?cursor={deep}")
                rows.ask("single post, uncached", "cirque", database, f"{base}{LIST}/{slug}")
            for name, port, start in (("nginx and PHP-FPM", PHP, php), ("Fastify", NODEJS, fastify)):
                if name == "Fastify" and database == "SQLite":
                    continue
                with start(root, url):
                    rows.ab("list, uncached", name, database, f"http://127.0.0.1:{port}{LIST}")
                    rows.ask("list, uncached", name, database, f"http://127.0.0.1:{port}{LIST}")
        ablation(root, cirque, databases, rows)
        # Last, because they make the table longer.
        for database, url in (("SQLite", databases.sqlite), ("PostgreSQL", databases.postgres)):
            with node(root, cirque, url):
                token = f"Authorization: Bearer {databases.token(url)}"
                rows.ask("write", "cirque", database, f"http://127.0.0.1:{NODE}{LIST}", (token,), WRITE)
    return rows.rows


def ablation(root, cirque, databases, rows):
    """The guide's own table, row by row: what cache and indexes are worth, each alone and together."""
    made = drop_indexes(databases.file)
    for has_indexes in (False, True):
        if has_indexes:
            make_indexes(databases.file, made)
        for is_cached in (False, True):
            what = {(False, False): "neither cache nor indexes", (True, False): "cache", (False, True): "indexes", (True, True): "both"}
            with node(root, cirque, databases.sqlite, is_cached):
                rows.ab(f"list with {what[is_cached, has_indexes]}", "cirque", "SQLite", f"http://127.0.0.1:{NODE}{LIST}")
