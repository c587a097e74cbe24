# SPDX-License-Identifier: Apache-2.0
"""fairlead as people install it: what is there when `kubectl apply` is done."""


def test_node_is_ready_and_fairlead_is_registered_and_its_slices_are_published(cluster, fairlead):
    assert cluster.node_ready()
    assert len(fairlead.registration_sockets()) == 1
    devices = fairlead.devices()
    assert "netdev-virtual" in devices
    assert devices["netdev-virtual"]["allowMultipleAllocations"] is True
    assert devices["netdev-virtual"]["capacity"]["slots"]["value"] == "128"


def test_the_slice_belongs_to_its_node(cluster, fairlead):
    node = cluster.api.get("Node", "node1")
    for piece in fairlead.slices():
        assert piece["spec"]["nodeName"] == "node1"
        assert [owner["uid"] for owner in piece["metadata"]["ownerReferences"]] == [node["metadata"]["uid"]]


def test_the_uplink_is_not_offered_and_the_nics_are(fairlead):
    names = {d["attributes"]["ifName"]["string"] for d in fairlead.devices().values() if "ifName" in d["attributes"]}
    assert names == {"nic0", "nic1"}


def test_the_agent_runs_without_privileges(fairlead):
    container = fairlead.pod()["spec"]["containers"][0]["securityContext"]
    assert not container.get("privileged")
    assert container["readOnlyRootFilesystem"] is True
    assert container["capabilities"]["drop"] == ["ALL"]
