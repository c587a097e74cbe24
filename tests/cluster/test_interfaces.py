# SPDX-License-Identifier: Apache-2.0
"""Pods get the interfaces that their claims ask for, seen from inside the pod."""
import pytest

from cluster import SOURCE, eventually
from workload import NIC, addresses, claim, netdev, pod, template


def test_pod_has_a_macvlan_with_its_address(ns):
    ns.create(template("data", parameters=netdev("macvlan", "data0", master="eth0", mode="bridge", addresses=["192.0.2.10/24", "2001:db8::10/64"])),
              pod("it", templates=["data"]))
    ns.wait_running("it")
    link = ns.links("it")["data0"]
    assert link["linkinfo"]["info_kind"] == "macvlan"
    assert "UP" in link["flags"]
    assert addresses(link) == ["192.0.2.10/24", "2001:db8::10/64"]


def test_pod_has_a_veth(ns):
    ns.create(template("data", parameters=netdev("veth", "data0", addresses=["192.0.2.11/24"])), pod("it", templates=["data"]))
    ns.wait_running("it")
    link = ns.links("it")["data0"]
    assert link["linkinfo"]["info_kind"] == "veth"
    assert addresses(link) == ["192.0.2.11/24"]


# Sent by a pod with NET_RAW, from the interface that is named: "I am your router, and this is your network."
ADVERTISE = """
import socket, struct, sys
index = socket.if_nametoindex(sys.argv[1])
raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
raw.bind(("fe80::99", 0, 0, index))
network = struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 3600, 3600, 0, socket.inet_pton(socket.AF_INET6, "2001:db8:bad::"))
raw.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + network, ("ff02::1", 0, 0, index))
"""


def test_router_advertisement_of_a_pod_gives_the_node_nothing(cluster, ns):
    """The agent has its DaemonSet's rights: it writes below /proc/sys, which is read-only in its container."""
    def in_pod(*argv):
        return cluster.run("ip", "netns", "exec", sandbox, *argv)

    def advertised():  # the first ones may be lost while the kernel takes the pair into use
        for interface in ("ctrl0", "liar0"):
            in_pod("/usr/bin/python3", "-c", ADVERTISE, interface)
        assert "default via fe80::99 dev believes0" in cluster.run("ip", "-6", "route"), "nobody believed it"
        return True

    ns.create(template("ctrl", parameters=netdev("veth", "ctrl0")), pod("it", templates=["ctrl"]))
    ns.wait_running("it")
    sandbox = next(name for name in cluster.network_namespaces() if "ctrl0" in cluster.run("ip", "-n", name, "link"))
    host = next(name for name in cluster.links() if name.startswith("flh"))
    conf = f"/proc/sys/net/ipv6/conf/{host}"
    assert [cluster.run("cat", f"{conf}/{name}").strip() for name in ("disable_ipv6", "accept_ra", "autoconf", "addr_gen_mode")] == ["1", "0", "0", "1"]
    # A pair without fairlead: once the node believed the pod there, it would have believed it at the host end.
    cluster.run("ip", "link", "add", "believes0", "type", "veth", "peer", "name", "liar0", "netns", sandbox)
    try:
        cluster.run("sh", "-c", "echo 2 >/proc/sys/net/ipv6/conf/believes0/accept_ra")
        cluster.run("ip", "link", "set", "believes0", "up")
        in_pod("ip", "link", "set", "liar0", "up")
        for interface in ("ctrl0", "liar0"):
            in_pod("ip", "address", "add", "fe80::99/64", "dev", interface, "nodad")
        eventually(advertised, 30, "the node believes an advertisement of a pair without fairlead")
        assert host not in cluster.run("ip", "-6", "route")
        assert not cluster.run("ip", "address", "show", "dev", host).count("inet")
    finally:
        cluster.run("ip", "link", "delete", "believes0")


def test_pod_has_a_dummy(cluster, ns):
    try:
        cluster.run("unshare", "-n", "ip", "link", "add", "probe", "type", "dummy")
    except AssertionError:
        pytest.skip("this kernel has no dummy links")
    ns.create(template("data", parameters=netdev("dummy", "net1")), pod("it", templates=["data"]))
    ns.wait_running("it")
    assert ns.links("it")["net1"]["linkinfo"]["info_kind"] == "dummy"


def test_the_example_manifests_run_unchanged_but_for_the_image_policy(cluster, ns):
    with open(f"{SOURCE}/examples/manifests/multi-nic.yaml", encoding="utf-8") as file:
        text = file.read()
    text = text.replace("image: iproute2", "image: iproute2\n    imagePullPolicy: IfNotPresent")
    try:
        cluster.run("unshare", "-n", "ip", "link", "add", "probe", "type", "dummy")
    except AssertionError:
        text = text.replace("kind: dummy", "kind: veth")
    ns.apply_file(text)
    eventually(lambda: ns.phase("multi-nic-test") == "Succeeded", 60, "the example pod succeeds")
    printed = cluster.kubectl("-n", ns.name, "logs", "multi-nic-test")
    assert "data0" in printed and "ctrl0" in printed and "192.0.2.10/24" in printed


def test_pod_has_two_interfaces_from_two_claims(ns):
    ns.create(template("data-net", parameters=netdev("macvlan", "data0", master="eth0")), template("control-net", parameters=netdev("veth", "ctrl0")),
              pod("it", templates=["data-net", "control-net"]))
    ns.wait_running("it")
    assert {"lo", "eth0", "data0", "ctrl0"} == set(ns.links("it"))


def test_host_device_moves_into_the_pod_and_comes_back_as_it_was(cluster, fairlead, ns):
    before = cluster.links()["nic0"]
    ns.create(template("nic", parameters=netdev("host-device", "data0"), device_class=NIC,
                       selector='device.attributes["dra.example.com"].ifName == "nic0"'),
              pod("it", templates=["nic"]))
    ns.wait_running("it")
    assert "nic0" not in cluster.links()
    assert ns.links("it")["data0"]["address"] == before["address"]
    assert "nic0" in {d["attributes"].get("ifName", {}).get("string") for d in fairlead.devices().values()}, "it stays published while it is away"
    ns.delete_pod("it")
    after = eventually(lambda: cluster.links().get("nic0"), 20, "nic0 is back")
    for key in ("address", "mtu", "ifname"):
        assert after[key] == before[key]
    assert "198.51.100.1" in cluster.run("ip", "address", "show", "dev", "nic0")


def test_all_containers_of_a_pod_see_the_interface_and_a_restarted_one_too(ns):
    ns.create(template("data", parameters=netdev("macvlan", "data0", master="eth0", addresses=["192.0.2.12/24"])),
              pod("it", templates=["data"], containers=2))
    ns.wait_running("it")
    first = ns.links("it", container="c0")["data0"]
    assert ns.links("it", container="c1")["data0"]["address"] == first["address"]
    ns.exec("it", "kill", "1", container="c0")
    eventually(lambda: ns.pod("it")["status"]["containerStatuses"][0]["restartCount"] == 1 and ns.running("it"), 60, "the container runs again")
    assert ns.links("it", container="c0")["data0"]["address"] == first["address"]


def test_slots_run_out_exactly_at_the_limit(fairlead, ns):
    fairlead.set_environment(SLOTS="3")
    try:
        ns.create(template("data", parameters=netdev("veth", "data0")))
        for number in range(3):
            ns.create(pod(f"p{number}", templates=["data"]))
        for number in range(3):
            ns.wait_running(f"p{number}")
        ns.create(pod("one-too-many", templates=["data"]))
        assert "cannot allocate all claims" in ns.wait_message("one-too-many", "FailedScheduling")
        assert ns.phase("one-too-many") == "Pending"
        ns.delete_pod("p0")
        ns.wait_running("one-too-many")
    finally:
        fairlead.set_environment(SLOTS="128")


def test_a_wrong_parameter_is_told_in_the_pods_event(ns):
    ns.create(template("data", parameters=netdev("macvlan", "data0", master="eth0", mode="brigde")), pod("it", templates=["data"]))
    message = ns.wait_message("it", "FailedPrepareDynamicResources")
    assert "netdev.mode" in message and "brigde" in message


def test_a_parent_that_is_not_there_is_told_in_the_pods_event(ns):
    ns.create(template("data", parameters=netdev("macvlan", "data0", master="nowhere0")), pod("it", templates=["data"]))
    assert "nowhere0" in ns.wait_message("it", "FailedPrepareDynamicResources")


def test_a_claim_shared_by_two_pods_is_refused_for_the_second_with_the_reason(ns):
    ns.create(claim("shared", parameters=netdev("macvlan", "data0", master="eth0")), pod("first", claims=["shared"]))
    ns.wait_running("first")
    ns.create(pod("second", claims=["shared"]))
    ns.wait_message("second", "cannot be shared by two pods")
    assert ns.phase("second") == "Pending"
    assert "data0" in ns.links("first")
    assert not [m for m in ns.messages("first") if "cannot be shared" in m]
