#!/usr/bin/env python3
"""Plays a node of the cluster: runs the pods of the bridge for real, as far as that goes without containers.

    node.py KUBECONFIG DIRECTORY

Each container is a process of pod.sh with the mounts, the arguments and the environment of its pod. Volumes
are directories under DIRECTORY; a claim keeps its own. A pod is ready if its readiness probe is answered so.
What happens is a line of DIRECTORY/events: `started POD`, `ready POD`, `exited POD CODE`, `gone POD`.
"""

import base64
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone
from pathlib import Path

import yaml

POD = Path(__file__).with_name("pod.sh")
USER = 10001
RESTART_SECONDS = 3


class Api:
    def __init__(self, kubeconfig):
        config = yaml.safe_load(Path(kubeconfig).read_text())
        cluster = config["clusters"][0]["cluster"]
        self.server = cluster["server"]
        self.context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self.token = config["users"][0]["user"]["token"]

    def ask(self, method, path, body=None):
        """The answer, or None if there is no such object or it has changed meanwhile."""
        request = urllib.request.Request(self.server + path, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        request.add_header("Content-Type", kind)
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, timeout=10, context=self.context) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code in (404, 409):
                return None
            raise RuntimeError(f"{method} {path}: {error.read().decode()}") from error


class Volumes:
    """The directories of a pod's volumes, made of the objects that they show."""

    def __init__(self, api, directory, pod):
        self.api, self.pod = api, pod
        self.claims = directory / "claims"
        self.own = directory / pod["metadata"]["uid"]
        self.versions = {}

    def source(self, volume):
        if "configMap" in volume:
            return "configmaps", volume["configMap"]["name"]
        if "secret" in volume:
            return "secrets", volume["secret"]["secretName"]
        return None, None

    def refresh(self):
        """Writes what has changed; says whether everything is there."""
        for volume in self.pod["spec"]["volumes"]:
            kind, name = self.source(volume)
            if kind is None:
                directory = self.path(volume["name"])
                directory.mkdir(parents=True, exist_ok=True)
                os.chown(directory, USER, USER)
                continue
            namespace = self.pod["metadata"]["namespace"]
            found = self.api.ask("GET", f"/api/v1/namespaces/{namespace}/{kind}/{name}")
            if found is None:
                return False
            if self.versions.get(volume["name"]) != found["metadata"]["resourceVersion"]:
                self.versions[volume["name"]] = found["metadata"]["resourceVersion"]
                self.swap(self.path(volume["name"]), found)
        return True

    def path(self, name):
        (volume,) = (one for one in self.pod["spec"]["volumes"] if one["name"] == name)
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        return self.claims / claim if claim else self.own / name

    def swap(self, directory, found):
        """As a kubelet does it: the files are links through one link, which is replaced."""
        directory.mkdir(parents=True, exist_ok=True)
        version = directory / f"..{found['metadata']['resourceVersion']}"
        version.mkdir()
        for key, value in (found.get("data") or {}).items():
            text = base64.b64decode(value) if found["kind"] == "Secret" else value.encode()
            (version / key).write_bytes(text)
            os.chown(version / key, 0, USER)
            (version / key).chmod(0o440)
            if not (directory / key).is_symlink():
                (directory / key).symlink_to(f"..data/{key}")
        (directory / "..new").symlink_to(version.name)
        (directory / "..new").rename(directory / "..data")

    def mounts(self, container):
        lines = [
            f"{self.path(mount['name'])} {mount['mountPath']} {'ro' if mount.get('readOnly') else 'rw'}\n"
            for mount in container["volumeMounts"]
        ]
        file = self.own / f"mounts-{container['name']}"
        file.write_text("".join(lines))
        return file


class Container:
    def __init__(self, node, pod, spec):
        self.node, self.pod, self.spec = node, pod, spec
        self.process, self.code, self.restarts, self.ended = None, None, 0, 0.0

    def start(self):
        environment = dict(os.environ) | self.variables()
        if self.spec["args"][0] == "health":
            host = self.spec["args"][-1].split("/")[2].split(":")[0]
            environment["NAMES"] = host
            environment["NETWORK_OF"] = str(self.node.ready_bridge(self.pod) or "")
        mounts = self.pod.volumes.mounts(self.spec)
        command = [POD, mounts, *self.spec["args"]]
        with (self.pod.volumes.own / f"log-{self.spec['name']}").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.code = None
        (self.pod.volumes.own / f"pid-{self.spec['name']}").write_text(f"{self.process.pid}\n")
        self.node.note("started", self.pod)

    def variables(self):
        found = {}
        for source in self.spec.get("envFrom", []):
            name = source["secretRef"]["name"]
            secret = self.node.api.ask("GET", f"/api/v1/namespaces/{self.pod.namespace}/secrets/{name}") or {}
            found |= {key: base64.b64decode(value).decode() for key, value in secret.get("data", {}).items()}
        return found | {variable["name"]: variable["value"] for variable in self.spec.get("env", [])}

    def poll(self):
        if self.process is None or self.code is not None:
            return
        self.code = self.process.poll()
        if self.code is not None:
            self.ended = time.monotonic()
            self.node.note("exited", self.pod, self.code)

    def last_words(self):
        log = self.pod.volumes.own / f"log-{self.spec['name']}"
        return log.read_text(errors="replace")[-1500:] if log.exists() else ""

    def status(self, ready):
        if self.code is None:
            state = {"running": {"startedAt": self.pod.since}}
        else:
            reason = "Completed" if self.code == 0 else "Error"
            message = self.last_words() if self.code else ""
            state = {"terminated": {"exitCode": self.code, "reason": reason, "message": message}}
        return {
            "name": self.spec["name"],
            "image": self.spec["image"],
            "imageID": "",
            "ready": ready,
            "restartCount": self.restarts,
            "state": state,
        }


def now():
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Pod:
    def __init__(self, node, pod):
        self.node = node
        self.volumes = Volumes(node.api, node.directory, pod)
        self.name, self.namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        self.uid, self.spec = pod["metadata"]["uid"], pod["spec"]
        self.lasts = self.spec["restartPolicy"] == "Always"
        self.containers = [Container(node, self, spec) for spec in self.spec["containers"]]
        self.is_started, self.is_ready, self.since, self.shown = False, False, now(), None
        self.stop_at = None

    def path(self, rest=""):
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}{rest}"

    def turn(self, seen):
        if seen["metadata"].get("deletionTimestamp"):
            return self.end()
        if not seen["spec"].get("nodeName"):
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": self.name}}
            binding["target"] = {"apiVersion": "v1", "kind": "Node", "name": "tests"}
            self.node.api.ask("POST", self.path("/binding"), binding)
        if not self.volumes.refresh():
            return None
        for container in self.containers:
            container.poll()
            waited = time.monotonic() - container.ended > RESTART_SECONDS
            if container.process is None or (self.lasts and container.code is not None and waited):
                container.restarts += container.process is not None
                container.start()
        return self.show()

    def probe(self):
        """The readiness probe's answer, asked within the pod's network."""
        path = self.spec["containers"][0]["readinessProbe"]["httpGet"]["path"]
        command = ["nsenter", "--target", str(self.containers[0].process.pid), "--net"]
        command += ["curl", "-sf", "-m", "2", "-o", "/dev/null", f"http://127.0.0.1:9090{path}"]
        # A process that has just ended has no network to be asked in, which nsenter would complain of.
        return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0

    def show(self):
        codes = [container.code for container in self.containers]
        ready = self.lasts and None in codes and self.probe()
        if ready != self.is_ready:
            self.is_ready, self.since = ready, now()
            self.node.note("ready" if ready else "unready", self)
        phase = "Running"
        if not self.lasts and None not in codes:
            phase = "Failed" if any(codes) else "Succeeded"
        condition = {"status": "True" if ready else "False", "lastTransitionTime": self.since}
        status = {
            "phase": phase,
            "conditions": [{"type": kind, **condition} for kind in ("Ready", "ContainersReady")],
            "containerStatuses": [container.status(ready) for container in self.containers],
        }
        if status != self.shown:
            self.shown = status
            body = {"metadata": {"uid": self.uid}, "status": status}
            self.node.api.ask("PATCH", self.path("/status"), body)

    def end(self):
        """The preStop hook, SIGTERM, and SIGKILL once the grace is over; then the pod is gone."""
        bridge = self.spec["containers"][0]
        pause = bridge.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if self.stop_at is None:
            self.stop_at = time.monotonic() + pause
            self.is_stopping = False
        running = [one for one in self.containers if one.process and one.process.poll() is None]
        if running and time.monotonic() >= self.stop_at:
            late = time.monotonic() - self.stop_at > self.spec["terminationGracePeriodSeconds"] - pause
            if late or not self.is_stopping:
                self.is_stopping = True
                for container in running:
                    container.process.send_signal(signal.SIGKILL if late else signal.SIGTERM)
        if not running:
            for container in self.containers:
                container.poll()
            body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
            self.node.api.ask("DELETE", self.path(), body)

    def forget(self):
        for container in self.containers:
            if container.process and container.process.poll() is None:
                container.process.kill()
                container.process.wait()
        shutil.rmtree(self.volumes.own, ignore_errors=True)
        self.node.note("gone", self)


class Node:
    def __init__(self, kubeconfig, directory):
        self.api, self.directory, self.pods = Api(kubeconfig), Path(directory), {}

    def note(self, what, pod, *more):
        with (self.directory / "events").open("a") as file:
            print(what, pod.name, *more, file=file)

    def ready_bridge(self, asking):
        """The process of a ready bridge beside a pod that looks for one by the service's name."""
        for pod in self.pods.values():
            if pod.is_ready and pod.namespace == asking.namespace:
                return pod.containers[0].process.pid
        return None

    def turn(self):
        seen = {pod["metadata"]["uid"]: pod for pod in self.api.ask("GET", "/api/v1/pods")["items"]}
        for uid in [uid for uid in self.pods if uid not in seen]:
            self.pods.pop(uid).forget()
        for uid, pod in seen.items():
            if uid not in self.pods:
                self.pods[uid] = Pod(self, pod)
            is_over = pod["status"].get("phase") in ("Succeeded", "Failed")
            if not is_over or pod["metadata"].get("deletionTimestamp"):
                self.pods[uid].turn(pod)

    def run(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            while True:
                self.turn()
                time.sleep(0.3)
        finally:
            for pod in self.pods.values():
                pod.forget()


if __name__ == "__main__":
    Node(sys.argv[1], sys.argv[2]).run()
