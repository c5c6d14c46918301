"""Reads each dashboard with the types that Grafana publishes (grafana-foundation-sdk) and says what they do not know.

A key that the published schema does not have is gone when what was read is written again; a value of a wrong type changes or
cannot be read. One line for each finding; none when all is well.
"""

import json
import pathlib
import sys

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

# The Prometheus data source's own keys of an annotation, which the schema leaves to it.
OF_PROMETHEUS = {"titleFormat", "step"}


def lost(given, read, at):
    """Where what was read says less than, or something else than, what was given."""
    if isinstance(given, dict) and isinstance(read, dict):
        for key, value in given.items():
            if key in OF_PROMETHEUS and ".annotations." in at or value is None:
                continue
            if key not in read:
                yield f"{at}.{key}: the schema has no such key"
            else:
                yield from lost(value, read[key], f"{at}.{key}")
    elif isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        for number, pair in enumerate(zip(given, read)):
            yield from lost(*pair, f"{at}[{number}]")
    elif given != read:
        yield f"{at}: {given!r} was read as {read!r}"


def main():
    plugins.register_default_plugins()
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json")):
        given = json.loads(path.read_text())
        try:
            read = json.loads(JSONEncoder().encode(Dashboard.from_json(given)))
        except Exception as wrong:  # The types say in many ways that they cannot read something.
            print(f"{path.name}: cannot be read: {wrong!r}")
            continue
        for finding in lost(given, read, path.stem):
            print(finding)


main()
