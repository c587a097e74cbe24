# SPDX-License-Identifier: Apache-2.0
"""fairlead as people install it: what is there when `kubectl apply` is done."""
import contextlib
from pathlib import Path

CAP_NET_ADMIN, CAP_SYS_ADMIN = 12, 21 # linux/capability.h


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


def agents_pid(fairlead):
    """Not that of a probe, which is the same program."""
    for pid in fairlead.processes():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_text().split("\0")[1:2] not in (["probe"], ["--probe"]):
                return pid
    raise AssertionError("no agent runs")


def test_the_agent_runs_without_privileges(fairlead):
    pid = agents_pid(fairlead)
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    for kind in ("CapEff", "CapPrm", "CapBnd"):
        assert int(status[kind], 16) == 1 << CAP_NET_ADMIN | 1 << CAP_SYS_ADMIN, kind
    assert int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2" # a filter
    root = next(line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines() if line.split()[4] == "/")
    assert "ro" in root[5].split(",")
