#!/usr/bin/env python3
"""Says what rendered manifests lack that every installation needs; nothing, if they are as they should be.

    properties.py FILE…
"""

import sys
from pathlib import Path

import yaml

WORKLOADS = ("StatefulSet", "Deployment")
SECRETS = "/run/secrets/fanbridge"
# The bridge ends within its grace and a second more; the rest is for a busy node.
SPARE_SECONDS = 10


def pods(documents):
    """Name, labels and specification of every pod that the manifests make."""
    for document in documents:
        where = f"{document['kind']} {document['metadata']['name']}"
        if document["kind"] == "Pod":
            yield where, document["metadata"]["labels"], document["spec"]
        elif document["kind"] in (*WORKLOADS, "Job"):
            template = document["spec"]["template"]
            yield where, template["metadata"]["labels"], template["spec"]


def of_kind(documents, *kinds):
    return [document for document in documents if document["kind"] in kinds]


def selects(selector, labels):
    return bool(selector) and selector.items() <= labels.items()


def rights(where, spec):
    pod = spec["securityContext"]
    if not pod.get("runAsNonRoot") or pod.get("runAsUser") != 10001 or pod.get("fsGroup") != 10001:
        yield f"{where}: it does not run as 10001"
    if pod.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield f"{where}: no seccomp profile"
    if spec.get("automountServiceAccountToken") is not False:
        yield f"{where}: a token of Kubernetes is mounted"
    for container in spec["containers"]:
        own = container["securityContext"]
        if "resources" not in container:
            yield f"{where}: container {container['name']} does not say what it takes"
        if not own.get("readOnlyRootFilesystem") or own.get("allowPrivilegeEscalation") is not False:
            yield f"{where}: container {container['name']} can write its image or gain rights"
        if own.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{where}: container {container['name']} keeps capabilities"
        if container["image"].endswith(":latest") or not set(container["image"]) & set(":@"):
            yield f"{where}: the image {container['image']} names no version"


def mounts(where, spec, claims):
    volumes = {volume["name"] for volume in spec["volumes"]} | claims
    for container in spec["containers"]:
        for mount in container["volumeMounts"]:
            if mount["name"] not in volumes:
                yield f"{where}: no volume {mount['name']}"
            if mount.get("subPath"):
                yield f"{where}: {mount['mountPath']} is a subPath, which is never renewed"


def stop(where, spec, configuration):
    bridge = spec["containers"][0]
    pause = bridge.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    needed = pause + configuration["shutdown_grace_seconds"] + SPARE_SECONDS
    if spec["terminationGracePeriodSeconds"] < needed:
        yield f"{where}: killed after {spec['terminationGracePeriodSeconds']} s, and may need {needed} s"


def configuration_of(documents, spec):
    """What the bridge of this pod reads."""
    (name,) = (volume["configMap"]["name"] for volume in spec["volumes"] if volume["name"] == "config")
    (configmap,) = (one for one in of_kind(documents, "ConfigMap") if one["metadata"]["name"] == name)
    return yaml.safe_load(configmap["data"]["fanbridge.yaml"])


def tokens(documents, spec, admin):
    """Prometheus holds the token that reads the metrics, and none that does more."""
    (secret,) = (volume["secret"]["secretName"] for volume in spec["volumes"] if volume["name"] == "secrets")
    for monitor in of_kind(documents, "ServiceMonitor"):
        where = f"ServiceMonitor {monitor['metadata']['name']}"
        for endpoint in monitor["spec"]["endpoints"]:
            shown = endpoint["authorization"]["credentials"]
            file = f"file:{SECRETS}/{shown['key']}"
            if shown["name"] != secret or file != admin.get("metrics_token"):
                yield f"{where}: it shows another token than admin.metrics_token"
            if file == admin["token"]:
                yield f"{where}: it holds the admin token"


def workload(documents):
    (bridge,) = of_kind(documents, *WORKLOADS)
    spec = bridge["spec"]["template"]["spec"]
    where = f"{bridge['kind']} {bridge['metadata']['name']}"
    configuration = configuration_of(documents, spec)
    yield from stop(where, spec, configuration)
    yield from tokens(documents, spec, configuration["admin"])
    if bridge["kind"] == "StatefulSet":
        services = [one["metadata"]["name"] for one in of_kind(documents, "Service") if headless(one)]
        if services != [bridge["spec"]["serviceName"]]:
            yield f"{where}: its service {bridge['spec']['serviceName']} is not among {services}"
    fixed = [bridge["spec"]["selector"]["matchLabels"]]
    fixed += [claim["metadata"]["labels"] for claim in bridge["spec"].get("volumeClaimTemplates", [])]
    if any("version" in key or "chart" in key for labels in fixed for key in labels):
        yield f"{where}: what cannot be changed names a version"


def headless(service):
    return service["spec"].get("clusterIP") == "None"


def selections(documents):
    bridges = {f"{one['kind']} {one['metadata']['name']}" for one in of_kind(documents, *WORKLOADS)}
    for chosen in of_kind(documents, "Service", "PodDisruptionBudget", "NetworkPolicy"):
        spec = chosen["spec"]
        selector = spec.get("podSelector") or spec["selector"]
        selector = selector.get("matchLabels", selector)
        found = {where for where, labels, _ in pods(documents) if selects(selector, labels)}
        if found != bridges:
            yield f"{chosen['kind']} {chosen['metadata']['name']} selects {sorted(found)}"
    for monitor in of_kind(documents, "ServiceMonitor"):
        selector = monitor["spec"]["selector"]["matchLabels"]
        services = of_kind(documents, "Service")
        found = [one for one in services if selects(selector, one["metadata"]["labels"])]
        ports = [port["name"] for one in found for port in one["spec"]["ports"]]
        if [endpoint["port"] for endpoint in monitor["spec"]["endpoints"]] != ports:
            yield f"ServiceMonitor {monitor['metadata']['name']} selects ports {ports}"


def wants(documents):
    for document in documents:
        if document["kind"] != "Namespace" and "namespace" not in document["metadata"]:
            yield f"{document['kind']} {document['metadata']['name']}: no namespace"
        if document["kind"] == "Secret":
            yield f"Secret {document['metadata']['name']}: a secret would be in the release"
    claims = {
        claim["metadata"]["name"]
        for one in of_kind(documents, "StatefulSet")
        for claim in one["spec"]["volumeClaimTemplates"]
    }
    for where, _, spec in pods(documents):
        yield from rights(where, spec)
        yield from mounts(where, spec, claims)
    yield from workload(documents)
    yield from selections(documents)


def main():
    found = 0
    for file in sys.argv[1:]:
        documents = [document for document in yaml.safe_load_all(Path(file).read_text()) if document]
        for want in wants(documents):
            print(f"{file}: {want}")
            found += 1
    return 1 if found or not sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
