# SPDX-License-Identifier: Apache-2.0
"""What the agent's own token may do, and above all what the API server refuses it: whoever takes one node's token has no more than that node."""
import pytest

from cluster import NODE
from kube_api import path_of
from workload import DRIVER


@pytest.fixture
def agent(cluster, fairlead):
    """The API as fairlead's pod speaks to it: a token of its service account that is bound to the pod, so to the node."""
    return cluster.api.with_token(cluster.api.token_for("fairlead", "fairlead", pod=fairlead.pod()))


def slice_of(name, driver=DRIVER, **where):
    return {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": name},
            "spec": {"driver": driver, "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}, "devices": [], **where}}


def dry_create(api, body):
    return api.call("POST", path_of("ResourceSlice") + "?dryRun=All", body)


def refused(answer, *words):
    status, body = answer
    assert status in (403, 422), (status, body)
    for word in words:
        assert word in body["message"], body["message"]


def test_it_writes_its_own_nodes_slices(agent):
    status, body = dry_create(agent, slice_of("mine", nodeName=NODE))
    assert status == 201, body


def test_it_may_not_write_another_nodes_slices(agent):
    refused(dry_create(agent, slice_of("theirs", nodeName="node2")), "fairlead on node node1 may not write a ResourceSlice of node node2")


def test_it_may_not_write_slices_of_no_node(agent):
    refused(dry_create(agent, slice_of("everywhere", allNodes=True)), "may not write a ResourceSlice of no node")


def test_it_may_not_write_slices_of_another_driver(agent):
    refused(dry_create(agent, slice_of("other", driver="gpu.example.com", nodeName=NODE)), "of the driver gpu.example.com")


def test_it_may_neither_delete_nor_change_another_nodes_slice(cluster, agent):
    made = cluster.api.create(slice_of("of-node2", nodeName="node2"))
    try:
        refused(agent.call("DELETE", path_of("ResourceSlice", "of-node2")), "may not write a ResourceSlice of node node2")
        made["spec"]["pool"]["generation"] = 2
        refused(agent.call("PUT", path_of("ResourceSlice", "of-node2"), made), "may not write a ResourceSlice of node node2")
    finally:
        cluster.api.delete("ResourceSlice", "of-node2")


def test_a_token_that_is_bound_to_no_node_writes_no_slices(cluster, fairlead):
    free = cluster.api.with_token(cluster.api.token_for("fairlead", "fairlead"))
    refused(dry_create(free, slice_of("mine", nodeName=NODE)), "only with a token that is bound to a node")


def test_the_policy_is_about_fairlead_only(cluster):
    status, body = dry_create(cluster.api, slice_of("an-admins", driver="gpu.example.com", nodeName="node2"))
    assert status == 201, body


@pytest.mark.parametrize("method,path", [
    ("GET", path_of("Secret")),
    ("GET", path_of("Secret", namespace="fairlead")),
    ("GET", path_of("ConfigMap", namespace="kube-system")),
    ("GET", path_of("Pod")),
    ("GET", path_of("Pod", namespace="fairlead")),
    ("GET", path_of("Node")),
    ("GET", path_of("ResourceClaim")),
    ("GET", path_of("DaemonSet")),
    ("GET", path_of("DaemonSet", "another", "fairlead")),
    ("DELETE", path_of("DaemonSet", "fairlead", "fairlead")),
    ("DELETE", path_of("ResourceSlice")),
    ("PATCH", path_of("ResourceSlice", "some")),
    ("DELETE", path_of("ResourceClaim", "some", "default")),
    ("PATCH", path_of("ResourceClaim", "some", "default")),
    ("GET", path_of("ResourceClaim", "some", "default", "status")),
    ("GET", path_of("Event")),
    ("GET", path_of("Event", namespace="default")),
    ("DELETE", path_of("Pod", "some", "default")),
    ("DELETE", path_of("Node", NODE)),
], ids=lambda value: value.replace("/", "-").strip("-") if isinstance(value, str) else None)
def test_it_may_not(agent, method, path):
    refused(agent.call(method, path))


def test_it_may_ask_for_its_own_daemonset(agent):
    assert agent.get("DaemonSet", "fairlead", "fairlead")


def allocated_claim(ns, name, node, driver=DRIVER):
    """A claim with an allocation on that node, as the scheduler would leave it."""
    ns.create({"kind": "ResourceClaim", "metadata": {"name": name}, "spec": {"devices": {"requests": [
        {"name": "nic", "exactly": {"deviceClassName": "virtual." + DRIVER}}]}}})
    allocation = {"devices": {"results": [{"request": "nic", "driver": driver, "pool": node, "device": "thing"}]}, "nodeSelector": {"nodeSelectorTerms": [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]}}
    ns.cluster.api.must("PATCH", path_of("ResourceClaim", name, ns.name, "status"), {"status": {"allocation": allocation}},
                        content_type="application/merge-patch+json")


def write_device_status(api, ns, name, node, driver=DRIVER, manager=DRIVER):
    body = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": name, "namespace": ns.name}, "status": {"devices": [
        {"driver": driver, "pool": node, "device": "thing", "networkData": {"interfaceName": "data0"}}]}}
    return api.call("PATCH", path_of("ResourceClaim", name, ns.name, "status") + f"?fieldManager={manager}&force=true", body,
                    content_type="application/apply-patch+yaml")


def only_from_1_36(cluster):
    if cluster.kubernetes < "1.36":
        pytest.skip("the API server checks who writes a claim's status from Kubernetes 1.36")


def test_it_writes_the_status_of_its_devices_on_its_node(cluster, agent, ns):
    allocated_claim(ns, "mine", NODE)
    status, body = write_device_status(agent, ns, "mine", NODE)
    assert status == 200, body


def test_it_may_not_write_the_status_of_a_claim_on_another_node(cluster, agent, ns):
    only_from_1_36(cluster)
    allocated_claim(ns, "theirs", "node2")
    refused(write_device_status(agent, ns, "theirs", "node2"))


def test_it_may_not_write_the_status_of_another_drivers_device(cluster, agent, ns):
    only_from_1_36(cluster)
    allocated_claim(ns, "gpu", NODE, driver="gpu.example.com")
    refused(write_device_status(agent, ns, "gpu", NODE, driver="gpu.example.com"))


def test_it_may_not_change_an_allocation(cluster, agent, ns):
    only_from_1_36(cluster)
    allocated_claim(ns, "mine", NODE)
    refused(agent.call("PATCH", path_of("ResourceClaim", "mine", ns.name, "status"), {"status": {"reservedFor": [
        {"resource": "pods", "name": "intruder", "uid": "11111111-1111-1111-1111-111111111111"}]}}, content_type="application/merge-patch+json"))
