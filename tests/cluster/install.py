# SPDX-License-Identifier: Apache-2.0
"""fairlead on the test cluster, as its manifests in deploy/kubernetes say, and what a test asks of it."""
import contextlib
import glob
import os
import re
import shutil
import signal

import yaml

from cluster import NODE, NODE_ADDRESS, SOURCE, eventually
from kube_api import socket_in

BIN = os.environ.get("FAIRLEAD_BIN", f"{SOURCE}/build/release/bin")
IMAGE, FAULTS_IMAGE, PREVIOUS_IMAGE = "localhost/fairlead:test", "localhost/fairlead:faults", "localhost/fairlead:previous"
MANIFEST = f"{SOURCE}/deploy/kubernetes/fairlead.yaml"
NAMESPACE = "fairlead"


def container_env(daemonset):
    return daemonset["spec"]["template"]["spec"]["containers"][0]["env"]


class Fairlead:
    """The driver's name is dra.example.com: manifests that were written for system A work unchanged."""

    def __init__(self, cluster, driver="dra.example.com", slots=None, host_devices="nic*"):
        self.cluster, self.driver = cluster, driver
        self._probes = True
        # Most claims of these tests name a master, a bridge or an address themselves; test_policy.py runs the shipped level.
        self._environment = {"HOST_DEVICES": host_devices, "POLICY": "privileged"}
        self._image, self._pod = IMAGE, {}  # what with_faults() changes
        self._manifest = MANIFEST  # what use_previous() changes
        if slots:
            self._environment["SLOTS"] = str(slots)

    # --- installing ---------------------------------------------------------------------------------------------------------

    def manifests(self):
        """deploy/kubernetes/fairlead.yaml with this driver's name, the image made here, and the test's flags; nothing else differs."""
        with open(self._manifest, encoding="utf-8") as file:
            text = file.read().replace("net.fairlead.dev", self.driver)
        objects = [o for o in yaml.safe_load_all(text) if o]
        for daemonset in (o for o in objects if o["kind"] == "DaemonSet"):
            daemonset["spec"]["template"]["spec"]["containers"][0]["image"] = self._image
            daemonset["spec"]["template"]["spec"].update(self._pod)
            if not self._probes:
                del daemonset["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
            kept = [entry for entry in container_env(daemonset) if entry["name"] not in self._environment]
            container_env(daemonset)[:] = kept + [{"name": k, "value": v} for k, v in self._environment.items()]
        return objects

    def make_image(self):
        self.cluster.make_image(IMAGE, "--program", f"{BIN}/fairlead", "--program", f"{BIN}/fairlead-guard", "--max-mb", "40",
                                "--entrypoint", "/usr/bin/fairlead")

    def install(self):
        self.make_image()
        self.apply()
        self.wait_ready()

    def apply(self):
        self.cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(self.manifests()))

    def wait_ready(self):
        eventually(lambda: len(self.pods()) == 1 and self.pod_ready(), 60, "fairlead's pod is ready")
        eventually(self.slices, 30, "fairlead's slices are published")
        eventually(self.registration_sockets, 30, "fairlead's registration socket is there")

    def change_environment(self, **values):
        """Changes flags; the rolling update begins."""
        self._environment.update(values)
        self.apply()

    def set_environment(self, **values):
        """Changes flags by a rolling update and waits for its end."""
        self.change_environment(**values)
        self.wait_rollout()

    def wait_rollout(self, timeout=90):
        def done():
            ds = self.daemonset()
            status = ds["status"]
            return (status.get("observedGeneration") == ds["metadata"]["generation"] and status.get("updatedNumberScheduled") == 1
                    and status.get("numberAvailable") == 1 and len(self.pods()) == 1)
        eventually(done, timeout, "the rolling update ends")

    def use_previous(self, folder):
        """A rolling update to the version that tests/cluster/previous.sh built into `folder`, by its own manifest."""
        self.cluster.make_image(PREVIOUS_IMAGE, "--program", f"{folder}/fairlead", "--program", f"{folder}/fairlead-guard", "--entrypoint", "/usr/bin/fairlead")
        self._image, self._manifest = PREVIOUS_IMAGE, f"{folder}/fairlead.yaml"
        self.apply()
        self.wait_rollout()

    def use_current(self):
        """A rolling update to what is tested."""
        self._image, self._manifest = IMAGE, MANIFEST
        self.apply()
        self.wait_rollout()

    def uninstall(self):
        self.cluster.kubectl("delete", "--wait=true", "--timeout=60s", "--ignore-not-found", "-f", "-", stdin=yaml.safe_dump_all(self.manifests()), timeout=90)

    # --- looking ------------------------------------------------------------------------------------------------------------

    def daemonset(self):
        return self.cluster.api.get("DaemonSet", "fairlead", NAMESPACE)

    def pods(self):
        return self.cluster.api.list("Pod", NAMESPACE, labelSelector="app.kubernetes.io/name=fairlead")

    def pod(self):
        pods = self.pods()
        assert len(pods) == 1, f"there are {len(pods)} fairlead pods"
        return pods[0]

    def pod_ready(self):
        return all(any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", [])) for pod in self.pods())

    def slices(self):
        return self.cluster.api.list("ResourceSlice", fieldSelector=f"spec.driver={self.driver},spec.nodeName={NODE}")

    def devices(self):
        return {device["name"]: device for s in self.slices() for device in s["spec"].get("devices", [])}

    def _files(self, pattern):
        return sorted(os.path.basename(path) for path in glob.glob(self.cluster.path(pattern)))

    def records(self):
        return self._files(f"/run/{self.driver}/claims/*.json")

    def cdi_files(self):
        return self._files(f"/run/cdi/{self.driver}*.json")

    def registration_sockets(self):
        return self._files(f"/var/lib/kubelet/plugins_registry/{self.driver}*.sock")

    def log(self):
        text = self.cluster.kubectl("-n", NAMESPACE, "logs", "--tail=-1", "-l", "app.kubernetes.io/name=fairlead", "--prefix", check=False)
        strange = [line for line in text.splitlines() if "\\x" in line]  # the agent escapes what is not text, and nothing here gives it such
        assert not strange, f"the agent logged what is not text: {strange[:3]}"
        return text

    def resident_mib(self):
        """What `ps` calls RSS, of the only agent."""
        (pid,) = self.processes()
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024

    def metrics(self):
        """The agent's own numbers: (name, labels) -> value, labels as sorted pairs."""
        with contextlib.closing(socket_in(self.cluster.network_namespace, (NODE_ADDRESS, 9095), 10)) as connection:
            connection.sendall(f"GET /metrics HTTP/1.0\r\nHost: {NODE_ADDRESS}\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        found = {}
        for name, labels, value in re.findall(r"^(\w+)(?:{(.*)})? (\S+)$", answer, re.MULTILINE):
            found[name, tuple(sorted(re.findall(r'(\w+)="([^"]*)"', labels)))] = float(value)
        return found

    # --- hurting ------------------------------------------------------------------------------------------------------------

    def processes(self):
        """Of the agents; a probe that the kubelet runs in one's container is the same program."""
        return [pid for pid in self.cluster.processes("fairlead") if not self._is_probe(pid)]

    @staticmethod
    def _is_probe(pid):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as words:
                return words.read().split(b"\0")[1:2] in ([b"probe"], [b"--probe"])
        except OSError:
            return True  # it has ended

    def _signal(self, number):
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self):
        """kill -9; the kubelet starts it again."""
        before = self.processes()
        self._signal(signal.SIGKILL)
        eventually(lambda: not set(before) & set(self.processes()), 10, "the killed agent is gone")

    def freeze(self):
        self._signal(signal.SIGSTOP)

    def thaw(self):
        self._signal(signal.SIGCONT)

    @contextlib.contextmanager
    def frozen(self):
        """Present and silent. Only for some seconds: then the liveness probe has the kubelet start it again; see unresponsive()."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    @contextlib.contextmanager
    def unresponsive(self):
        """Frozen for as long as one likes: it has no liveness probe meanwhile."""
        self._probes = False
        self.apply()
        self.wait_rollout()
        try:
            with self.frozen():
                yield
        finally:
            self._probes = True
            self.apply()
            self.wait_rollout()

    @contextlib.contextmanager
    def stopped(self):
        """No agent on the node, as after `kubectl drain` of its pod: the DaemonSet asks for a node label that is not there."""
        selector = {"spec": {"template": {"spec": {"nodeSelector": {"fairlead.test/nowhere": "true"}}}}}
        self.cluster.api.patch("DaemonSet", "fairlead", NAMESPACE, selector)
        try:
            eventually(lambda: not self.pods() and not self.processes(), 60, "fairlead's pod is gone")
            yield
        finally:
            selector["spec"]["template"]["spec"]["nodeSelector"]["fairlead.test/nowhere"] = None
            self.cluster.api.patch("DaemonSet", "fairlead", NAMESPACE, selector)
            self.wait_ready()

    @contextlib.contextmanager
    def with_faults(self, **environment):
        """Runs the program that honours FAIRLEAD_FAULT (core/fault.h), its every point unarmed, and these flags; see Faults."""
        faults = Faults(self)
        program = f"{BIN}/fairlead-faults" if os.path.exists(f"{BIN}/fairlead-faults") else f"{BIN}/fairlead"
        self.cluster.make_image(FAULTS_IMAGE, "--file", f"{program}=/usr/bin/fairlead", "--program", f"{BIN}/fairlead-guard", "--entrypoint", "/usr/bin/fairlead")
        before = dict(self._environment)
        # process 1 of a pid namespace does not get the SIGKILL and SIGSTOP that it sends itself: the agent must not be that
        self._image, self._pod = FAULTS_IMAGE, {"shareProcessNamespace": True}
        try:
            self.set_environment(FAIRLEAD_FAULT=faults.environment(), **environment)
            yield faults
        finally:
            self.thaw()
            self._image, self._pod, self._environment = IMAGE, {"shareProcessNamespace": False}, before
            faults.remove()
            self.apply()
            self.wait_rollout()

    def wait_clean(self, timeout=30):
        """Nothing of any claim is left on the node."""
        def clean():
            left = self.records() + self.cdi_files()
            assert not left, f"left on the node: {left}"
            return True
        eventually(clean, timeout, "records and CDI files are gone")


class Faults:
    """The points at which fairlead can be killed or frozen. One that is armed acts once, for whichever claim comes there first."""

    PREPARE = ["after-intent", "after-prepare", "after-cdi", "after-record"]
    NRI = ["nri-before-attach", "nri-after-attach", "nri-after-record"]
    GUARD = ["guard-before-attach", "guard-after-attach", "guard-after-record"]
    UNPREPARE = ["before-unprepare-effect", "after-unprepare-effect", "after-cdi-removed", "after-record-removed"]
    STATUS = ["before-status-write", "after-status-write"]
    START = {"auto": PREPARE + NRI + GUARD, "guard": ["after-record"] + GUARD, "netdevices": PREPARE + GUARD}  # of a pod, by attach mode

    def __init__(self, fairlead):
        self._folder = f"/run/{fairlead.driver}/faults"
        self._host = fairlead.cluster.path(self._folder)
        os.makedirs(self._host, exist_ok=True)
        for point, what in self._all():
            with open(self._file(point, what), "w", encoding="ascii"):
                pass

    def _all(self):
        return [(point, what) for point in self.PREPARE + self.NRI + self.GUARD + self.UNPREPARE + self.STATUS for what in ("kill", "freeze")]

    def _file(self, point, what):
        return f"{self._host}/{point}.{what}"

    def remove(self):
        shutil.rmtree(self._host)

    def environment(self):
        return ",".join(f"{point}:{what}:once={self._folder}/{point}.{what}" for point, what in self._all())

    def arm(self, point, what):
        os.unlink(self._file(point, what))

    def wait_fired(self, point, what, timeout=60):
        eventually(lambda: os.path.exists(self._file(point, what)), timeout, f"the agent gets to {point}", interval=0.02)
