#!/usr/bin/env python3
"""Writes what of the chart is made of other files.

    generate.py              writes it
    generate.py --check      fails, and names what differs, if it would change something

files/ are the rules and the dashboard, because a chart cannot reach beyond its directory. In values.schema.json
`config` and `$defs` are the schema of the configuration; the rest of it is written by hand.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy/chart"
COPIES = {
    "files/fanbridge.rules.yaml": "deploy/prometheus/fanbridge.rules.yaml",
    "files/fanbridge.json": "deploy/grafana/fanbridge.json",
}


def values_schema():
    schema = json.loads((CHART / "values.schema.json").read_text())
    configuration = json.loads((ROOT / "deploy/fanbridge.schema.json").read_text())
    schema["$defs"] = configuration.pop("$defs")
    configuration.pop("$schema")
    schema["properties"]["config"] = configuration
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def made():
    files = {name: (ROOT / source).read_text() for name, source in COPIES.items()}
    files["values.schema.json"] = values_schema()
    return files


def main():
    differing = [
        name
        for name, text in made().items()
        if not (CHART / name).exists() or (CHART / name).read_text() != text
    ]
    if sys.argv[1:] == ["--check"]:
        for name in differing:
            print(f"deploy/chart/{name} differs from what it is made of: run {Path(__file__).name}")
        return 1 if differing else 0
    for name, text in made().items():
        (CHART / name).parent.mkdir(exist_ok=True)
        (CHART / name).write_text(text)
    print("written:", ", ".join(differing) or "nothing new")
    return 0


if __name__ == "__main__":
    sys.exit(main())
