# SPDX-License-Identifier: Apache-2.0
"""The agent killed and frozen at every moment of a pod's life, in every attach mode: a pod never runs without its interfaces, it runs
in the end, and nothing is left when it is gone. The fixture `ns` looks for what is left, and at what the pods' containers wrote down."""
import json

import pytest

from cluster import eventually
from install import Faults
from workload import netdev, pod, ran_without, template, watched


@pytest.fixture(scope="module", params=["auto", "guard", "netdevices"])
def mode(request):
    return request.param


@pytest.fixture(scope="module")
def faults(fairlead, mode):
    with fairlead.with_faults(ATTACH=mode) as it:
        yield it


def test_a_container_that_runs_without_an_interface_would_be_seen(cluster, ns):
    ns.create(watched(pod("it"), "data0"))
    ns.wait_running("it")
    eventually(lambda: ran_without(cluster) == ["it"], 20, "the container has written it down")


def make_pod(ns, name):
    """Each has an address of its own: two claims on one master cannot share one."""
    number = make_pod.number = make_pod.number % 200 + 1
    ns.create(template(f"data-{number}", parameters=netdev("macvlan", "data0", master="eth0", addresses=[f"192.0.2.{number}/24"])),
              watched(pod(name, templates=[f"data-{number}", "ctrl"]), "data0", "ctrl0"))


make_pod.number = 0


def make_templates(ns):
    ns.create(template("ctrl", parameters=netdev("veth", "ctrl0")))


def wait_complete(ns, name):
    ns.wait_running(name, 90)
    assert {"lo", "eth0", "data0", "ctrl0"} == set(ns.links(name))


def test_agent_killed_at_every_moment_of_a_pods_start(mode, faults, ns):
    make_templates(ns)
    for point in Faults.START[mode]:
        faults.arm(point, "kill")
        make_pod(ns, point)
        faults.wait_fired(point, "kill")
    for point in Faults.START[mode]:
        wait_complete(ns, point)


def test_agent_killed_at_every_moment_of_a_pods_end(mode, faults, ns):
    if mode == "guard":
        pytest.skip("as in mode auto")
    make_templates(ns)
    for point in Faults.UNPREPARE:
        make_pod(ns, point)
    for point in Faults.UNPREPARE:
        wait_complete(ns, point)
    for point in Faults.UNPREPARE:
        faults.arm(point, "kill")
        ns.delete_pod(point, wait=False)
        faults.wait_fired(point, "kill")
    for point in Faults.UNPREPARE:
        ns.wait_gone(point, 90)


def test_agent_killed_when_it_writes_the_status(mode, faults, ns):
    if mode != "auto":
        pytest.skip("as in mode auto")
    make_templates(ns)
    for point in Faults.STATUS:
        faults.arm(point, "kill")
        make_pod(ns, point)
        faults.wait_fired(point, "kill")
    for point in Faults.STATUS:
        wait_complete(ns, point)


def somebody_waits(cluster, ns, name, point):
    """What must be so while the agent is silent at this point: then there is nothing more to come."""
    if point in Faults.PREPARE:
        return True  # the kubelet waits for the answer
    return cluster.processes("fairlead-guard")  # NRI has let the sandbox pass, and the guard stops the container


@pytest.mark.parametrize("kind", ["PREPARE", "NRI", "GUARD"])
def test_agent_frozen_at_every_moment_of_a_pods_start(cluster, fairlead, mode, faults, ns, kind):
    points = [point for point in getattr(Faults, kind) if point in Faults.START[mode]]
    if not points:
        pytest.skip(f"attach mode {mode} has no such moment")
    make_templates(ns)
    for point in points:
        faults.arm(point, "freeze")
        make_pod(ns, point)
        faults.wait_fired(point, "freeze")
        eventually(lambda: somebody_waits(cluster, ns, point, point), 30, f"the pod's start stops at the agent that is frozen at {point}")
        assert ns.phase(point) == "Pending"
        fairlead.thaw()
        wait_complete(ns, point)


def is_prepared(cluster, ns, name):
    """Whether the kubelet has the drivers' answers for all claims of this pod."""
    with open(cluster.path("/var/lib/kubelet/dra_manager_state"), encoding="utf-8") as file:
        infos = json.loads(json.loads(file.read())["Data"])["ClaimInfoStateList"]
    answered = [info["ClaimName"] for info in infos if info["Namespace"] == ns.name and info["ClaimName"].startswith(f"{name}-") and
                any(d.get("Devices") for d in info["DriverState"].values())]
    return len(answered) == 2


def test_pod_waits_for_its_interfaces_when_the_agent_froze_after_prepare(cluster, fairlead, mode, faults, ns):
    """NRI lets a sandbox pass when its plugin is silent for 2 s, and a runtime that moves links adds no addresses: the guard stops the container."""
    make_templates(ns)
    for name in (f"try{number}" for number in range(10)):
        make_pod(ns, name)
        eventually(lambda name=name: is_prepared(cluster, ns, name), 60, "the claims are prepared", interval=0.002)
        with fairlead.frozen():
            eventually(lambda name=name: cluster.processes("fairlead-guard") or ns.phase(name) == "Running", 30,
                       "the guard stops the container, or it ran before the agent froze")
            stopped = bool(cluster.processes("fairlead-guard"))
            if stopped:
                assert ns.phase(name) == "Pending"
        wait_complete(ns, name)
        if stopped:
            return
    raise AssertionError("the agent never froze between Prepare and the container's start")  # some 200 ms, ten times
