# SPDX-License-Identifier: Apache-2.0
"""The modules that tests/vm/modules.sh builds do what later tests need: netdevsim, and a soft-RoCE below its PCI function."""
import json

import pytest

from guest import PFS, eventually

EXTERNAL_MODULES = 12288  # TAINT_OOT_MODULE | TAINT_UNSIGNED_MODULE: any other bit is a warning of the kernel


@pytest.fixture
def vf(guest, vfs, request):
    if request.config.getoption("--kernel") != "6.12":
        pytest.skip("tests/vm/modules.sh builds for 6.12 only")
    name = guest.netdev(vfs[0])
    guest.sh(f"modprobe -a ib_umad rdma_ucm rdma_rxe netdevsim; ip link set {name} up")
    yield vfs[0]
    guest.sh(f"""
for netns in $(ls /run/netns); do ip netns del $netns; done
echo 0 >/sys/module/rdma_rxe/parameters/ib""")
    eventually(lambda: guest.netdev(vfs[0]), 20, "the VF's link is back on the node")
    for device in rdma_devices(guest):
        guest.run("rdma", "link", "del", device)
    guest.sh(f"rdma system set netns shared; n=$(ls /sys/bus/pci/devices/{vfs[0]}/net); ip link set $n down; [ $n = {name} ] || ip link set $n name {name}")
    assert int(guest.read("/proc/sys/kernel/tainted")) == EXTERNAL_MODULES, "the kernel warned of something: see dmesg"


def rdma_devices(guest, netns=None):
    within = ["ip", "netns", "exec", netns] if netns else []
    return [device["ifname"] for device in guest.json(*within, "rdma", "-j", "dev")]


def test_rxe_is_below_its_pci_function(guest, vf):
    guest.run("rdma", "link", "add", "rxe0", "type", "rxe", "netdev", guest.netdev(vf))
    base = f"/sys/bus/pci/devices/{vf}"
    assert guest.run("ls", f"{base}/infiniband", f"{base}/infiniband_verbs").split() == [f"{base}/infiniband:", "rxe0", f"{base}/infiniband_verbs:", "uverbs0"]
    assert guest.run("readlink", "-f", "/sys/class/infiniband/rxe0/device") == guest.run("readlink", "-f", base)
    assert guest.read("/sys/class/infiniband/rxe0/ports/1/link_layer").strip() == "Ethernet"
    guest.run("test", "-c", "/dev/infiniband/uverbs0")


def test_rxe_and_its_link_move_apart_and_come_back(guest, vf):
    name = guest.netdev(vf)
    guest.sh(f"""
rdma system set netns exclusive
rdma link add rxe0 type rxe netdev {name}
ip netns add c1
rdma dev set rxe0 netns c1
ip link set {name} netns c1 name net1""")
    assert rdma_devices(guest) == [] and rdma_devices(guest, "c1") == ["rxe0"]
    link = guest.json("ip", "netns", "exec", "c1", "rdma", "-j", "link")[0]
    assert (link["ifname"], link["netdev"]) == ("rxe0", "net1")
    guest.run("ip", "netns", "del", "c1")
    eventually(lambda: rdma_devices(guest) == ["rxe0"], 20, "the RDMA device is back")
    eventually(lambda: guest.netdev(vf) == "net1", 20, "the VF's link is back under the name it had there")


def test_an_infiniband_device_gets_an_ipoib_link_with_children(guest, vf):
    guest.sh(f"""
modprobe ib_ipoib
echo 1 >/sys/module/rdma_rxe/parameters/ib
rdma link add ibs0 type rxe netdev {guest.netdev(vf)}""")
    assert guest.read("/sys/class/infiniband/ibs0/ports/1/link_layer").strip() == "InfiniBand"
    assert guest.read("/sys/class/net/ib0/type").strip() == "32"
    assert guest.run("readlink", "-f", "/sys/class/net/ib0/device") == guest.run("readlink", "-f", f"/sys/bus/pci/devices/{vf}")
    guest.sh("ip link add link ib0 name ib0.8001 type ipoib pkey 0x8001 mode datagram; ip netns add c1; ip link set ib0.8001 netns c1 name net1")
    child = guest.links("c1")["net1"]["linkinfo"]
    assert child["info_kind"] == "ipoib" and child["info_data"]["key"] == "0x8001"


def test_netdevsim_has_what_igb_lacks(guest, vf):
    base = "/sys/bus/netdevsim/devices/netdevsim1"
    guest.write("/sys/bus/netdevsim/new_device", "1 1")
    try:
        name = guest.run("ls", f"{base}/net").strip()
        guest.write(f"{base}/sriov_numvfs", "3")
        guest.sh(f"ip link set {name} vf 0 vlan 5 qos 2 proto 802.1ad; ip link set {name} vf 0 max_tx_rate 200 min_tx_rate 100; ip link set {name} vf 0 state enable")
        vf0 = json.loads(guest.run("ip", "-json", "link", "show", name))[0]["vfinfo_list"][0]
        assert vf0["vlan_list"][0] == {"vlan": 5, "qos": 2, "protocol": "802.1ad"}
        assert vf0["rate"] == {"max_tx": 200, "min_tx": 100} and vf0["link_state"] == "enable"
        guest.run("devlink", "dev", "eswitch", "set", "netdevsim/netdevsim1", "mode", "switchdev")
        ports = guest.json("devlink", "-j", "port")["port"].values()
        assert [port["vfnum"] for port in ports if port["flavour"] == "pcivf"] == [0, 1, 2]
    finally:
        guest.write("/sys/bus/netdevsim/del_device", "1")


def test_igb_refuses_what_the_real_card_refuses(guest, vfs):
    name = guest.netdev(PFS[0])
    for words in ("vlan 5 proto 802.1ad", "min_tx_rate 10", "state enable"):
        assert guest.status("ip", "link", "set", name, "vf", "0", *words.split()) != 0, words
