#!/usr/bin/env python3
"""Writes JSON Schemas for kubeconform, as its -schema-location finds them.

    schemas.py DIRECTORY VERSION… -- CRD-FILE…

The schemas of Kubernetes come from the package kubernetes-validate, those of custom resources from their
definitions. Both are strict: a key that nobody knows is an error.
"""

import json
import sys
from importlib.resources import files
from pathlib import Path

import yaml


def kubernetes(directory, version):
    name = f"v{version}.0-local-strict"
    source = files("kubernetes_validate") / "kubernetes-json-schema" / name
    target = directory / f"v{version}.0"
    target.mkdir(parents=True)
    for file in source.iterdir():
        text = file.read_text().replace('"/api/_definitions.json#', f'"file://{target}/_definitions.json#')
        (target / file.name.lower()).write_text(text)


def strict(schema):
    """An object with known members takes no others, unless its definition says so."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
    keeps = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not keeps:
        schema["additionalProperties"] = False
    return schema


def custom(directory, file):
    for definition in yaml.safe_load_all(file.read_text()):
        group, kind = definition["spec"]["group"], definition["spec"]["names"]["kind"]
        for version in definition["spec"]["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            target = directory / f"{group}_{kind}_{version['name']}.json".lower()
            target.write_text(json.dumps(schema))


def main():
    split = sys.argv.index("--")
    directory = Path(sys.argv[1]).resolve()
    directory.mkdir(parents=True)
    for version in sys.argv[2:split]:
        kubernetes(directory, version)
    for file in sys.argv[split + 1 :]:
        custom(directory, Path(file))


if __name__ == "__main__":
    main()
