#!/usr/bin/env python3
"""Writes what of the chart is made of other files, and what is made of the chart.

    generate.py              writes it
    generate.py --check      fails, and names what differs, if it would change something

In deploy/chart, files/ are the rules and the dashboard, because a chart cannot reach beyond its directory.
`config` and `$defs` in values.schema.json are the schema of the configuration; the rest is written by hand.
deploy/kubernetes/base is what the chart renders, without what only Helm needs.
"""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy/chart"
BASE = "deploy/kubernetes/base"
COPIES = {
    "deploy/chart/files/fanbridge.rules.yaml": "deploy/prometheus/fanbridge.rules.yaml",
    "deploy/chart/files/fanbridge.json": "deploy/grafana/fanbridge.json",
}


def values_schema():
    schema = json.loads((CHART / "values.schema.json").read_text())
    configuration = json.loads((ROOT / "deploy/fanbridge.schema.json").read_text())
    schema["$defs"] = configuration.pop("$defs")
    configuration.pop("$schema")
    schema["properties"]["config"] = configuration
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def render():
    """The chart's documents by kind and name, for deploy/kubernetes."""
    tools = subprocess.check_output([ROOT / "tests/servers/kubernetes.sh", "tools"], text=True).strip()
    command = [f"{tools}/helm", "template", "fanbridge", CHART, "--namespace", "fanbridge", "--no-hooks"]
    command += ["--skip-tests", "--values", ROOT / "deploy/kubernetes/values.yaml"]
    text = subprocess.check_output(command, text=True)
    # Helm's own book-keeping. The digest of the configuration is in the name of its ConfigMap instead.
    text = re.sub(r"^ +annotations:\n +fanbridge/config: .*\n", "", text, flags=re.M)
    text = re.sub(r"^ +(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n", "", text, flags=re.M)
    text = re.sub(r"^# Source: .*\n", "", text, flags=re.M)
    return [document.strip("\n") for document in re.split(r"^---\n", text, flags=re.M) if document.strip()]


def manifests():
    head = "# Made by tests/deploy/chart/generate.py of deploy/chart: change that.\n"
    documents = render()
    (configuration,) = (document for document in documents if "\nkind: ConfigMap\n" in document)
    documents.remove(configuration)
    _, configuration = configuration.split("  fanbridge.yaml: |\n")
    return {
        f"{BASE}/resources.yaml": head + "".join(f"---\n{document}\n" for document in documents),
        f"{BASE}/fanbridge.yaml": head + textwrap.dedent(configuration) + "\n",
    }


def made():
    files = {name: (ROOT / source).read_text() for name, source in COPIES.items()}
    files["deploy/chart/values.schema.json"] = values_schema()
    return files


def write(files):
    changed = [name for name, text in files.items() if not is_on_disk(name, text)]
    for name in changed:
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_text(files[name])
        print("written:", name)


def is_on_disk(name, text):
    return (ROOT / name).exists() and (ROOT / name).read_text() == text


def check(files):
    differing = [name for name, text in files.items() if not is_on_disk(name, text)]
    for name in differing:
        print(f"{name} differs from what it is made of: run tests/deploy/chart/generate.py")
    return 1 if differing else 0


def main():
    if sys.argv[1:] == ["--check"]:
        return check(made() | manifests())
    # The manifests are rendered with the files that are written before them.
    write(made())
    write(manifests())
    return 0


if __name__ == "__main__":
    sys.exit(main())
