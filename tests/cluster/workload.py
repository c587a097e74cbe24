# SPDX-License-Identifier: Apache-2.0
"""Pods and claims for tests, and what they look like from inside."""
import json
import os

from cluster import eventually
from manifests import DRIVER, NIC, VIRTUAL, claim, claim_spec, netdev, pod, template  # noqa: F401 (for the tests)

WITNESS = "/var/tmp/witness"  # a folder of the node


def watched(body, *interfaces):
    """The pod, each of its containers writing down if it ever begins to run without one of these interfaces; see ran_without()."""
    look = " && ".join(f"ip link show dev {name}" for name in interfaces)
    body["spec"]["volumes"] = [{"name": "witness", "hostPath": {"path": WITNESS, "type": "DirectoryOrCreate"}}]
    for container in body["spec"]["containers"]:
        container["command"] = ["sh", "-c", f"({look}) >/dev/null || echo $HOSTNAME >>/witness/ran-without; exec pause"]
        container["volumeMounts"] = [{"name": "witness", "mountPath": "/witness"}]
    return body


def ran_without(cluster):
    """The watched pods of which a container ran without its interfaces; each is told once."""
    path = cluster.path(f"{WITNESS}/ran-without")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        names = file.read().split()
    os.unlink(path)
    return names


class Namespace:
    """A test's own namespace."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name

    def create(self, *bodies):
        return [self.cluster.api.create({**body, "metadata": {**body["metadata"], "namespace": self.name}}) for body in bodies]

    def apply_file(self, text):
        self.cluster.kubectl("-n", self.name, "apply", "-f", "-", stdin=text)

    def pod(self, name):
        return self.cluster.api.get("Pod", name, self.name)

    def pods(self):
        return self.cluster.api.list("Pod", self.name)

    def claims(self):
        return self.cluster.api.list("ResourceClaim", self.name)

    def phase(self, name):
        found = self.pod(name)
        return found["status"].get("phase") if found else None

    def running(self, name):
        """The pod when all of its containers run."""
        found = self.pod(name)
        assert found, f"there is no pod {name}"
        states = found["status"].get("containerStatuses", [])
        assert states and all(s["state"].get("running") for s in states), f"{name}: {found['status'].get('phase')} {states_of(found)} {self.messages(name)[-2:]}"
        return found

    def never_ran(self, name):
        """No container of the pod was ever started. The phase cannot tell: a pod whose container is to be started again counts as Running."""
        found = self.pod(name)
        for status in found["status"].get("containerStatuses", []):
            for state in (status["state"], status.get("lastState", {})):
                assert "running" not in state, f"{name} runs: {status}"
                assert state.get("terminated", {}).get("reason", "StartError") == "StartError", f"{name} ran: {status}"
        return True

    def wait_running(self, name, timeout=60):
        return eventually(lambda: self.running(name), timeout, f"the pod {name} runs")

    def wait_gone(self, name, timeout=60):
        eventually(lambda: self.pod(name) is None, timeout, f"the pod {name} is gone")

    def delete_pod(self, name, grace=None, wait=True):
        self.cluster.api.delete("Pod", name, self.name, grace)
        if wait:
            self.wait_gone(name)

    def messages(self, name):
        """The events of an object, oldest first, as "Reason: message"."""
        events = self.cluster.api.list("Event", self.name, fieldSelector=f"involvedObject.name={name}")
        events.sort(key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "")
        return [f"{e.get('reason')}: {e.get('message')}" for e in events]

    def wait_message(self, name, text, timeout=60):
        """An event of the object that says `text`."""
        def said():
            messages = self.messages(name)
            found = next((m for m in messages if text in m), None)
            assert found, f"it has {messages}"
            return found
        return eventually(said, timeout, f"an event of {name} says {text!r}")

    def exec(self, pod_name, *argv, container=None):
        more = ["-c", container] if container else []
        return self.cluster.kubectl("-n", self.name, "exec", pod_name, *more, "--", *argv)

    def links(self, pod_name, container=None):
        """The pod's interfaces by name, as `ip -json -details address` tells them in the pod."""
        return {link["ifname"]: link for link in json.loads(self.exec(pod_name, "ip", "-json", "-details", "address", container=container)) if link}

    def remove(self, timeout=60):
        """Its pods end in order (so that their devices come back), then it goes."""
        def no_pods():
            pods = self.pods()
            for p in pods:
                if "deletionTimestamp" not in p["metadata"]:
                    self.cluster.api.delete("Pod", p["metadata"]["name"], self.name)
            assert not pods, f"still there: {[(p['metadata']['name'], p['status'].get('phase')) for p in pods]}"
            return True
        for kind in ("Deployment", "DaemonSet", "Job"):
            for owner in self.cluster.api.list(kind, self.name):
                self.cluster.api.delete(kind, owner["metadata"]["name"], self.name)
        try:
            eventually(no_pods, timeout, f"the pods of {self.name} are gone")
        finally:
            self.cluster.api.delete("Namespace", self.name)


def states_of(found):
    return [s["state"] for s in found["status"].get("containerStatuses", [])]


def addresses(link):
    return [f"{a['local']}/{a['prefixlen']}" for a in link.get("addr_info", []) if a.get("scope") != "link"]


def identity(link):
    """What makes it the same link with the same settings; IPv6 addresses change their flags by themselves at first."""
    return {"ifindex": link["ifindex"], "mac": link["address"], "mtu": link["mtu"], "up": "UP" in link["flags"], "addresses": addresses(link)}
