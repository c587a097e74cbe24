# SPDX-License-Identifier: Apache-2.0
"""The kubelet's own acceptance list for DRA drivers (its test/e2e_node/dra_test.go), as far as a real driver can be asked: restarts, calls that
fail and are made again, pods that come and go while somebody is away, updates of the driver."""
import re

from cluster import eventually
from workload import NIC, claim, netdev, pod, template


def macvlan(name="data0"):
    return netdev("macvlan", name, master="eth0")


def start_pod(ns, name="it"):
    ns.create(template("data", parameters=macvlan()), pod(name, templates=["data"]))
    ns.wait_running(name)
    return ns.links(name)["data0"]


def same_link(ns, before, name="it"):
    now = ns.links(name)["data0"]
    return (now["ifindex"], now["address"]) == (before["ifindex"], before["address"])


def another_pod_runs(ns, name="another"):
    ns.create(pod(name, templates=["data"]))
    ns.wait_running(name)
    assert "data0" in ns.links(name)


# --- registration -----------------------------------------------------------------------------------------------------------------

def test_kubelet_restart_registers_the_driver_again(cluster, ns):
    before = start_pod(ns)
    cluster.kubelet.restart()
    another_pod_runs(ns)
    assert same_link(ns, before)


def test_killed_driver_is_back_and_running_pods_keep_their_interface(fairlead, ns):
    before = start_pod(ns)
    fairlead.kill()
    another_pod_runs(ns)
    assert same_link(ns, before)


def test_driver_that_does_not_answer_the_registration_is_asked_again(cluster, fairlead, ns):
    before = start_pod(ns)
    with fairlead.frozen():
        cluster.kubelet.stop()
        mark = cluster.mark(cluster.kubelet)
        cluster.kubelet.start()
        eventually(lambda: re.search(r"Operation for .*-reg\.sock.* failed", cluster.since(cluster.kubelet, mark)), 60, "the kubelet tries in vain")
    another_pod_runs(ns)
    assert same_link(ns, before)


# --- somebody is away ------------------------------------------------------------------------------------------------------------

def test_pod_made_while_the_kubelet_is_down_runs_when_it_is_back(cluster, ns):
    cluster.kubelet.stop()
    ns.create(template("data", parameters=macvlan()), pod("it", templates=["data"]))
    eventually(lambda: ns.pod("it")["spec"].get("nodeName"), 30, "the pod is scheduled")
    cluster.kubelet.start()
    ns.wait_running("it")


def test_pod_made_while_the_driver_is_away_waits_for_it(fairlead, ns):
    ns.create(template("data", parameters=macvlan()))
    with fairlead.stopped():
        ns.create(pod("it", templates=["data"]))
        ns.wait_message("it", "is not registered")
        assert ns.phase("it") == "Pending"
    ns.wait_running("it")


def test_pod_deleted_while_the_driver_is_away_ends_when_it_is_back(fairlead, ns):
    start_pod(ns)
    with fairlead.stopped():
        ns.delete_pod("it", wait=False)
        ns.wait_message("it", "Killing")
        assert fairlead.records(), "it cannot be unprepared now"
    ns.wait_gone("it")
    fairlead.wait_clean()


def test_pod_deleted_while_the_kubelet_is_down_is_unprepared_when_it_is_back(cluster, fairlead, ns):
    start_pod(ns)
    cluster.kubelet.stop()
    ns.delete_pod("it", grace=0)
    assert fairlead.records()
    cluster.kubelet.start()
    fairlead.wait_clean(120)


def test_pod_that_is_gone_before_the_kubelet_sees_it_is_not_prepared(cluster, fairlead, ns):
    cluster.kubelet.stop()
    ns.create(template("data", parameters=macvlan()), pod("it", templates=["data"]))
    eventually(lambda: ns.pod("it")["spec"].get("nodeName"), 30, "the pod is scheduled")
    claim_uid = ns.claims()[0]["metadata"]["uid"]
    ns.delete_pod("it", grace=0)
    cluster.kubelet.start()
    another_pod_runs(ns)
    assert claim_uid not in fairlead.log()


# --- calls that fail -------------------------------------------------------------------------------------------------------------

def test_prepare_that_failed_is_tried_again_until_it_succeeds(ns, late_link):
    ns.create(template("data", parameters=netdev("macvlan", "data0", master="late0")), pod("it", templates=["data"]))
    ns.wait_message("it", "late0")
    late_link()
    ns.wait_running("it")
    assert "data0" in ns.links("it")
    ns.delete_pod("it")


def test_prepare_that_failed_is_tried_again_after_a_kubelet_restart(cluster, ns, late_link):
    ns.create(template("data", parameters=netdev("macvlan", "data0", master="late0")), pod("it", templates=["data"]))
    ns.wait_message("it", "late0")
    cluster.kubelet.restart()
    late_link()
    ns.wait_running("it")
    ns.delete_pod("it")


def test_prepare_that_takes_longer_than_the_kubelet_waits_recovers(fairlead, ns):
    ns.create(template("data", parameters=macvlan()))
    with fairlead.unresponsive():
        ns.create(pod("it", templates=["data"]))
        ns.wait_message("it", "DeadlineExceeded", 90)
        assert ns.phase("it") == "Pending"
    ns.wait_running("it", 120)
    assert "data0" in ns.links("it")


# --- slices ----------------------------------------------------------------------------------------------------------------------

def test_slices_that_the_kubelet_removes_when_it_starts_are_put_back(cluster, fairlead):
    before = {s["metadata"]["uid"] for s in fairlead.slices()}
    cluster.kubelet.restart()
    eventually(lambda: not before & {s["metadata"]["uid"] for s in fairlead.slices()}, 60, "the kubelet removes the slices")
    eventually(fairlead.slices, 10, "the slices are back")


def test_slices_that_somebody_deletes_are_put_back(cluster, fairlead):
    for piece in fairlead.slices():
        cluster.api.delete("ResourceSlice", piece["metadata"]["name"])
    eventually(fairlead.slices, 10, "the slices are back")


def test_slices_of_a_driver_that_is_away_go_and_come_back_with_it(fairlead):
    with fairlead.stopped():
        eventually(lambda: not fairlead.slices(), 90, "the kubelet removes the slices of a driver that is gone for 30 s")
    eventually(fairlead.slices, 10, "the slices are back")


# --- updates of the driver -------------------------------------------------------------------------------------------------------

def test_rolling_update_keeps_slices_and_interfaces(fairlead, ns):
    before = start_pod(ns)
    slices = {s["metadata"]["uid"] for s in fairlead.slices()}
    old = fairlead.pod()["metadata"]["uid"]
    fairlead.set_environment(LOG_LEVEL="debug")
    try:
        assert fairlead.pod()["metadata"]["uid"] != old
        assert {s["metadata"]["uid"] for s in fairlead.slices()} == slices
        assert len(fairlead.registration_sockets()) == 1
        assert same_link(ns, before)
        another_pod_runs(ns)
    finally:
        fairlead.set_environment(LOG_LEVEL="info")


def test_failed_rolling_update_leaves_the_old_version_in_service(fairlead, ns):
    before = start_pod(ns)
    old = fairlead.pod()["metadata"]["uid"]
    slices = {s["metadata"]["uid"] for s in fairlead.slices()}
    fairlead.change_environment(KUBE_QPS="-1")
    try:
        def new_one_fails():
            new = [p for p in fairlead.pods() if p["metadata"]["uid"] != old]
            return new and any(s.get("restartCount", 0) > 0 for s in new[0]["status"].get("containerStatuses", []))
        eventually(new_one_fails, 60, "the new version ends again and again")
        another_pod_runs(ns)
        assert same_link(ns, before)
        assert {s["metadata"]["uid"] for s in fairlead.slices()} == slices
    finally:
        fairlead.change_environment(KUBE_QPS="20")
        fairlead.wait_rollout()


def test_sequential_update_keeps_slices_and_interfaces(cluster, fairlead, ns):
    """The old one ends before the new one begins: within 30 s the kubelet leaves the slices alone."""
    before = start_pod(ns)
    slices = {s["metadata"]["uid"] for s in fairlead.slices()}
    old = fairlead.pod()["metadata"]
    cluster.api.delete("Pod", old["name"], "fairlead")
    eventually(lambda: old["uid"] not in {p["metadata"]["uid"] for p in fairlead.pods()}, 60, "the old one is gone")
    fairlead.wait_ready()
    assert {s["metadata"]["uid"] for s in fairlead.slices()} == slices
    assert same_link(ns, before)
    another_pod_runs(ns)


# --- deletion ---------------------------------------------------------------------------------------------------------------------

def test_force_deleted_pods_nic_is_not_given_to_another_before_it_is_back(cluster, fairlead, ns):
    nic = dict(parameters=netdev("host-device", "data0"), device_class=NIC, selector='device.attributes["dra.example.com"].ifName == "nic1"')
    ns.create(template("nic", **nic), pod("first", templates=["nic"]))
    ns.wait_running("first")
    with fairlead.unresponsive():  # so that the first one's claim stays prepared
        ns.delete_pod("first", grace=0)
        ns.create(pod("second", templates=["nic"]))
        eventually(lambda: ns.pod("second")["spec"].get("nodeName"), 60, "the NIC is free for the scheduler")
    ns.wait_running("second", 120)
    assert "data0" in ns.links("second")
    assert "nic1" not in cluster.links()
    ns.delete_pod("second")
    eventually(lambda: "nic1" in cluster.links(), 30, "the NIC is back")


def test_claim_made_again_under_the_same_name_is_another_claim(fairlead, ns):
    ns.create(claim("data", parameters=macvlan("old0")), pod("old", claims=["data"]))
    ns.wait_running("old")
    ns.delete_pod("old")
    fairlead.cluster.api.delete("ResourceClaim", "data", ns.name)
    eventually(lambda: not ns.claims(), 30, "the old claim is gone")
    ns.create(claim("data", parameters=macvlan("new0")), pod("new", claims=["data"]))
    ns.wait_running("new")
    assert "new0" in ns.links("new") and "old0" not in ns.links("new")


def test_namespace_deletion_leaves_nothing(cluster, fairlead, ns):
    start_pod(ns)
    cluster.api.delete("Namespace", ns.name)
    eventually(lambda: cluster.api.get("Namespace", ns.name) is None, 90, "the namespace is gone")
    fairlead.wait_clean()
