"""Reads the examples of log shipping as the programs that they are for do, and says what is wrong with them.

Arguments: the folder of the examples, that of the systemd units, and the page of the log's fields.
"""

import re
import sys
import tomllib
from pathlib import Path

import yaml

# Labels of few values; a line's fields are searched for, not labelled.
LABELS = {"unit", "level"}


def vector(text, units, fault):
    read = tomllib.loads(text)
    named = {name for kind in ("sources", "transforms", "sinks") for name in read[kind]}
    for kind in ("transforms", "sinks"):
        for name, part in read[kind].items():
            for source in part["inputs"]:
                if source not in named:
                    fault(f"{kind}.{name} reads {source}, which there is not")
    for unit in read["sources"]["processes"]["include_units"]:
        if unit not in units:
            fault(f"there is no unit {unit}")
    return set(read["sinks"]["loki"]["labels"])


def promtail(text, units, fault):
    read = yaml.safe_load(text)
    labels = set()
    for config in read["scrape_configs"]:
        for rule in config.get("relabel_configs", []):
            labels |= {rule["target_label"]} if "target_label" in rule else set()
            if rule.get("action") == "keep":
                kept = {unit for unit in units if re.fullmatch(rule["regex"], unit)}
                if kept != units:
                    fault(f"the units {units - kept} are left out")
        for group in config.get("static_configs", []):
            labels |= {name for name in group["labels"] if not name.startswith("__")}
        stages = {name: stage for part in config["pipeline_stages"] for name, stage in part.items()}
        if not set(stages["labels"]) | {stages["timestamp"]["source"]} <= set(stages["json"]["expressions"]):
            fault(f"{config['job_name']} uses what it does not read")
        labels |= set(stages["labels"])
    return labels


def main(examples, packaging, fields):
    units = {path.name for path in Path(packaging).glob("*.service")}
    known = set(re.findall(r"`([^`]+)`", Path(fields).read_text()))
    faults = []
    for name, read in (("vector.toml", vector), ("promtail.yml", promtail)):
        labels = read((Path(examples) / name).read_text(), units, lambda what: faults.append(f"{name}: {what}"))
        if labels != LABELS:
            faults.append(f"{name}: makes labels of {labels}")
    if not {"level", "timestamp"} <= known:
        faults.append("the fields that are read are not on the page")
    print("\n".join(faults))


main(*sys.argv[1:])
