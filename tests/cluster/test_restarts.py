# SPDX-License-Identifier: Apache-2.0
"""Everything that a driver depends on restarted while pods come and go: those that run keep their interfaces, new ones get theirs."""
import threading
import time

import pytest

from cluster import eventually, say
from kube_api import ApiError
from workload import identity, netdev, pod, template, watched


PATIENCE = 240  # after an outage of the API server the kubelet and the scheduler take up to a minute before they ask it again


class Load:
    """Pods that come and go, `at_once` at a time, until the block ends; each must get to run with its interfaces."""

    def __init__(self, ns, at_once=2):
        self._ns, self._stop, self.served, self._failures = ns, threading.Event(), 0, []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(at_once)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert not self._failures, self._failures

    def _run(self, number):
        turn = 0
        while not self._stop.is_set():
            turn += 1
            try:
                self._one_pod(f"load-{number}-{turn}")
                self.served += 1
            except AssertionError as error:
                self._failures.append(str(error))
                return

    def _one_pod(self, name):
        body = watched(pod(name, templates=["data", "ctrl"]), "data0", "ctrl0")
        eventually(lambda: self._made(body), 60, f"{name} is made")
        self._ns.wait_running(name, PATIENCE)
        eventually(lambda: self._ns.cluster.api.delete("Pod", name, self._ns.name) or True, 60, f"{name} is deleted")
        self._ns.wait_gone(name, PATIENCE)

    def _made(self, body):
        try:
            self._ns.create(body)
        except ApiError as error:
            if error.status != 409:  # a try before had more success than its answer
                raise
        return True

    def wait_more(self, count=2):
        """Pods that began and ended after this moment and one that was on its way."""
        goal = self.served + count + len(self._threads)

        def done():
            assert not self._failures, self._failures
            return self.served >= goal
        eventually(done, PATIENCE, "new pods get their interfaces")


@pytest.fixture
def load(ns):
    """A pod that stays, and others that come and go around it."""
    ns.create(template("data", parameters=netdev("macvlan", "data0", master="eth0")),  # for many pods: no address, it would be taken
              template("ctrl", parameters=netdev("veth", "ctrl0")), watched(pod("stays", templates=["data", "ctrl"]), "data0", "ctrl0"))
    ns.wait_running("stays")
    before = {name: identity(ns.links("stays")[name]) for name in ("data0", "ctrl0")}
    with Load(ns) as it:
        eventually(lambda: it.served >= 1, 60, "the first pod of the load ran")
        yield it
        it.wait_more()
    after = ns.running("stays")
    assert {name: identity(ns.links("stays")[name]) for name in before} == before
    assert [s["restartCount"] for s in after["status"]["containerStatuses"]] == [0]


def test_kubelet_is_killed_under_load(cluster, load):
    cluster.kubelet.kill()
    cluster.kubelet.start()


def test_containerd_restarts_under_load(cluster, fairlead, load):
    cluster.containerd.restart()
    eventually(lambda: fairlead.log().count("NRI connected") >= 2, 60, "the agent is connected to NRI again")


def test_driver_is_killed_under_load(fairlead, load):
    fairlead.kill()
    load.wait_more()
    fairlead.kill()


def test_driver_is_updated_under_load(fairlead, load):
    before = fairlead.pod()["metadata"]["uid"]
    fairlead.set_environment(SLOTS="127")
    load.wait_more()
    fairlead.set_environment(SLOTS="128")
    assert fairlead.pod()["metadata"]["uid"] != before


def test_api_server_is_away_for_20_seconds_under_load(cluster, fairlead, load):
    """A NIC that comes meanwhile is published when it is back; the pod that stays needs no API server."""
    def remove_nic():
        cluster.run("ip", "link", "del", "nic7", check=False)

    def published():
        return "nic7" in {d["attributes"].get("ifName", {}).get("string") for d in fairlead.devices().values()}
    cluster.apiserver.stop()
    try:
        time.sleep(20)  # the outage
        cluster.run("ip", "link", "add", "nic7", "type", "veth", "peer", "name", "peer7")
        cluster.apiserver.start(wait=False)
        eventually(lambda: cluster.api.call("GET", "/readyz", timeout=5)[0] == 200, 60, "the API server is ready", interval=0.01)
        ready = time.monotonic()
        eventually(published, 20, "the new NIC is published", interval=0.01)
        say(f"slices are right again {time.monotonic() - ready:.2f} s after /readyz")
    finally:
        remove_nic()
        if not cluster.apiserver.running():
            cluster.apiserver.start()
    eventually(lambda: not published(), 20, "the NIC that went is not published")
