"""What was measured, as a table, as CSV, as a picture and as a dated page."""
import csv
import html

from .edge import median
from .scenarios import SCENARIOS

COLOURS = {
    "cirque": "#1f6f8b", "cirque-pingora": "#86b8c9", "nginx": "#2a9d4a", "haproxy": "#c8553d",
    "envoy": "#8c5fb3", "caddy": "#d9a441", "traefik": "#4f9ed1", "bare": "#777777",
}


def names_in(found):
    return list(dict.fromkeys(each.proxy for each in found))


def scenarios_in(found):
    return list(dict.fromkeys(each.scenario for each in found))


def line(name, found, names):
    """One scenario for the terminal: median microseconds, and cirque's share of each peer's."""
    cells = []
    for proxy in names:
        value = median(found, name, proxy)
        cells.append(f"{value:>11.1f}" if value is not None else f"{'—':>11}")
    return f"{name:<30}" + "".join(cells)


def head(names):
    return f"{'CPU µs per request':<30}" + "".join(f"{name[:10]:>11}" for name in names)


def troubles(found):
    return sorted({f"{each.scenario}, {each.proxy}: {each.trouble}" for each in found if each.trouble})


def write_csv(path, found):
    with open(path, "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["scenario", "proxy", "round", "cpu_us_per_request", "requests_per_second", "p50_ms", "p99_ms", "p999_ms", "trouble"])
        for each in found:
            shown = lambda value: "" if value is None else f"{value:.3f}"
            out.writerow([each.scenario, each.proxy, each.number, f"{each.cpu_us:.3f}", f"{each.per_second:.1f}",
                          shown(each.p50), shown(each.p99), shown(each.p999), each.trouble])


def write_svg(path, found):
    """Bars of what each peer's request costs in units of cirque's; the line is cirque."""
    names = [name for name in names_in(found) if name != "cirque"]
    rows = scenarios_in(found)
    bar, gap, left, width, most = 9, 12, 230, 560, 6.0
    height = 60 + sum(len(names) * bar + gap for _ in rows)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 90}" height="{height}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="16" font-size="13">Processor time per request, in units of cirque’s (the line); longer is dearer</text>',
    ]
    x = left
    for name in names:
        out.append(f'<rect x="{x}" y="24" width="10" height="10" fill="{COLOURS[name]}"/><text x="{x + 14}" y="33">{name}</text>')
        x += 28 + 7 * len(name)
    y = 50
    for row in rows:
        own = median(found, row, "cirque")
        out.append(f'<text x="{left - 8}" y="{y + len(names) * bar / 2 + 4}" text-anchor="end">{html.escape(row)}</text>')
        for name in names:
            value = median(found, row, name)
            if value is not None and own:
                ratio = value / own
                end = min(ratio, most) / most * width
                out.append(f'<rect x="{left}" y="{y}" width="{end:.1f}" height="{bar - 1}" fill="{COLOURS[name]}"/>')
                out.append(f'<text x="{left + end + 4:.1f}" y="{y + 8}" font-size="9">{ratio:.2f}</text>')
            y += bar
        y += gap
    at = left + width / most
    out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="44" y2="{y}" stroke="{COLOURS["cirque"]}" stroke-dasharray="3 2"/></svg>')
    path.write_text("\n".join(out) + "\n")


def spread(found, row, name):
    values = [each.cpu_us for each in found if each.scenario == row and each.proxy == name]
    if not values:
        return "—"
    return f"{median(found, row, name):.1f} ({min(values):.1f}–{max(values):.1f})"


def table(header, rows):
    return "\n".join(["| " + " | ".join(header) + " |", "|" + " --- |" * len(header), *("| " + " | ".join(row) + " |" for row in rows)])


def ratios(found):
    """Cirque's processor time over each peer's, and the target where there is one."""
    names = [name for name in names_in(found) if name != "cirque"]
    targets = {each.name: each.target for each in SCENARIOS}
    rows = []
    for row in scenarios_in(found):
        own = median(found, row, "cirque")
        cells = [row]
        for name in names:
            value = median(found, row, name)
            cells.append("—" if value is None else (f"**{own / value:.2f}**" if own > value else f"{own / value:.2f}"))
        goal = targets.get(row)
        if goal and median(found, row, goal[0]):
            is_met = own / median(found, row, goal[0]) <= goal[1]
            cells.append(f"{goal[1]:g} × {goal[0]}: {'met' if is_met else '**missed**'}")
        else:
            cells.append("")
        rows.append(cells)
    return table(["cirque over …", *names, "target"], rows)


def ahead(found):
    """Where a peer is cheaper, the dearest first, in words."""
    behind = []
    for row in scenarios_in(found):
        own = median(found, row, "cirque")
        for name in names_in(found):
            value = median(found, row, name)
            if name not in ("cirque", "cirque-pingora") and value is not None and value < own:
                behind.append((own / value, f"- {row}: {name} costs {value:.1f} µs, cirque {own:.1f} µs ({own / value:.2f} times)."))
    return "\n".join(text for _, text in sorted(behind, reverse=True)) or "- Nowhere in this run."


def page(found, memory, versions, date, command, figure, raw):
    names = names_in(found)
    rows = scenarios_in(found)
    costs = table(["µs of processor time per request", *names], [[row, *(spread(found, row, name) for name in names)] for row in rows])

    def seen(row, name):
        rate = median(found, row, name, "per_second")
        if rate is None:
            return "—"
        parts = [median(found, row, name, field) for field in ("p50", "p99", "p999")]
        late = " / ".join("–" if part is None else f"{part:.1f}" for part in parts)
        return f"{rate:,.0f} · {late}"

    clients = table(["requests/s · p50 / p99 / p99.9 in ms", *names], [[row, *(seen(row, name) for name in names)] for row in rows])
    held = table(
        ["memory", *names],
        [[f"{count:,} idle connections, MiB" if count else "at rest, MiB",
          *(next((f"{size / 2**20:.1f}" + (f" ({each:,.0f} B each)" if count else "") for name, at, size, each in memory if name == want and at == count), "—") for want in names)]
         for count in sorted({at for _, at, _, _ in memory})],
    )
    told = "\n".join(f"- {name}: {text}" for name, text in versions.items())
    trouble = "\n".join(f"- {each}" for each in troubles(found)) or "- None: every answer was what was asked for."
    return f"""# The edge beside its peers, {date}

`{command}` on a shared machine with two cores: the proxy alone on one, wrk, h2load or openssl and the backends (nginx, fixed
answers) on the other. The figures are microseconds of processor time that the kernel charges to the proxy's threads, per
answered request: the median of alternating rounds, the spread in brackets. Absolute values mean little on such a machine;
the ratios are of one run. All proxies have one thread, least-conn where they know it, kept connections to backends, and the
same forwarded headers; `bare` is pingora-proxy with nothing added, and `cirque-pingora` is cirque with `http1 = "pingora"`.
"logged" has an access log to a file, and metrics where the proxy has any; cirque and Envoy count in every scenario.

{told}

![Cost of a request at each peer, in units of cirque's]({figure})

Every round is in [{raw}]({raw}).

## Ratios

Below 1, cirque is cheaper; what is bold is dearer.

{ratios(found)}

## Where a peer is ahead

{ahead(found)}

## Processor time

{costs}

## What clients saw

In a closed loop on a busy machine; latency says more about the load's own core than about the proxy.

{clients}

## Memory

{held}

## What went wrong

{trouble}
"""


def app_line(row):
    late = " / ".join("–" if row[field] is None else f"{row[field]:.1f}" for field in ("p50_ms", "p99_ms"))
    return (f"{row['what']:<36}{row['server']:<20}{row['database']:<12}{row['load']:<8}"
            f"{row['per_second']:>9,.0f}/s   {late} ms {row['trouble']}")


def write_app_csv(path, rows):
    with open(path, "w", newline="") as file:
        out = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        out.writeheader()
        out.writerows({key: f"{value:.3f}" if isinstance(value, float) else value for key, value in row.items()} for row in rows)


def rate(rows, what, server, database, how):
    return next((row["per_second"] for row in rows if (row["what"], row["server"], row["database"], row["load"]) == (what, server, database, how)), None)


def app_targets(rows):
    """What was promised, and what came of it."""
    said = []
    for database in ("SQLite", "PostgreSQL"):
        through = rate(rows, "list, cached", "edge and cirque", database, "ab 10")
        if through:
            said.append((f"cached list through the edge, ab over 10 connections, {database}", f"{through:,.0f}/s", "8,500/s", through >= 8500))
        own, php = (rate(rows, "list, uncached", server, database, "wrk 10") for server in ("cirque", "nginx and PHP-FPM"))
        if own and php:
            said.append((f"uncached list over PHP-FPM's, {database}", f"{own / php:.2f} times", "3 times", own >= 3 * php))
        first, deep = (rate(rows, what, "cirque", database, "wrk 10") for what in ("first page by cursor, uncached", "page deep down by cursor, uncached"))
        if first and deep:
            said.append((f"a page deep down over the first, {database}", f"{deep / first:.2f} times", "no less than 0.9", deep >= 0.9 * first))
    return said


def app_page(rows, versions, date, command, posts, raw):
    told = "\n".join(f"- {name}: {text}" for name, text in versions.items())
    goals = table(["target", "seen", "wanted", ""], [[what, seen, want, "met" if is_met else "**missed**"] for what, seen, want, is_met in app_targets(rows)])
    shown = table(
        ["what", "server", "database", "load", "requests/s (lowest–highest)", "p50 / p99, ms"],
        [[row["what"], row["server"], row["database"], row["load"],
          f"{row['per_second']:,.0f} ({row['lowest']:,.0f}–{row['highest']:,.0f})",
          " / ".join("–" if row[field] is None else f"{row[field]:.1f}" for field in ("p50_ms", "p99_ms"))] for row in rows if not row["what"].startswith("list with")])
    parts = [row for row in rows if row["what"].startswith("list with")]
    base = next((row["per_second"] for row in parts if "neither" in row["what"]), None)
    guide = {"list with neither cache nor indexes": "150", "list with both": "850"}
    ablation = table(
        ["the first page of posts", "requests/s", "over the first row", "the guide's figure"],
        [[row["what"], f"{row['per_second']:,.0f}", f"{row['per_second'] / base:.1f}", guide.get(row["what"], "")] for row in parts]) if base else ""
    trouble = "\n".join(f"- {row['what']}, {row['server']}, {row['database']}: {row['trouble']}" for row in rows if row["trouble"]) or "- None."
    return f"""# The app beside PHP-FPM and Fastify, {date}

`{command}` on a shared machine with two cores, on which the servers, the database and the load run together; {posts:,} posts of
about 3.5 KB each, 15 in a page. Closed loops of wrk, and ab as in the guide, a thousand requests with a connection each. The middle
one of the rounds, the lowest and highest in brackets. The rivals answer the first page of posts with the same columns of the
same database, without framework or cache: PHP 8.2 with opcache and persistent connections behind nginx, Fastify with node-postgres.

{told}

Raw numbers: [{raw}]({raw}).

## Targets

{goals}

## Everything

{shown}

## What cache and indexes are worth

The guide's table (150 requests/s before, 850 after), with ab over ten connections, SQLite, without the edge.

{ablation}

## What went wrong

{trouble}
"""
