# SPDX-License-Identifier: Apache-2.0
"""Every way of attaching, and what each promises: interfaces of several kinds, restarts, containers that share them, and what is refused."""
import pytest

from cluster import eventually
from workload import addresses, claim, identity, netdev, pod, template, watched

MACVLAN = netdev("macvlan", "data0", master="eth0", addresses=["192.0.2.20/24"])
VETH = netdev("veth", "ctrl0", addresses=["192.0.2.21/24"])


@pytest.fixture(scope="module", params=["auto", "guard", "netdevices"])
def mode(request, fairlead):
    fairlead.set_environment(ATTACH=request.param)
    yield request.param
    fairlead.set_environment(ATTACH="auto")


def restart_container(ns, name, number=0):
    """What a crash of the application does."""
    def again():
        status = ns.pod(name)["status"]["containerStatuses"][number]
        assert status["restartCount"] > before and status["state"].get("running"), f"{status['state']}, restarts {status['restartCount']}"
        return True
    before = ns.pod(name)["status"]["containerStatuses"][number]["restartCount"]
    ns.exec(name, "kill", "1", container=f"c{number}")
    eventually(again, 60, f"the container c{number} of {name} runs again")


def test_pod_has_a_macvlan_and_a_veth(mode, ns):
    ns.create(template("data", parameters=MACVLAN), template("ctrl", parameters=VETH), watched(pod("it", templates=["data", "ctrl"]), "data0", "ctrl0"))
    ns.wait_running("it")
    links = ns.links("it")
    assert {"lo", "eth0", "data0", "ctrl0"} == set(links)
    assert links["data0"]["linkinfo"]["info_kind"] == "macvlan" and addresses(links["data0"]) == ["192.0.2.20/24"]
    assert links["ctrl0"]["linkinfo"]["info_kind"] == "veth" and addresses(links["ctrl0"]) == ["192.0.2.21/24"]


def test_container_restart_keeps_the_interface(mode, ns):
    """With netdevices it cannot: the runtime looks for the link where it took it from the first time. The pod must be made anew."""
    ns.create(template("data", parameters=MACVLAN), watched(pod("it", templates=["data"]), "data0"))
    ns.wait_running("it")
    before = identity(ns.links("it")["data0"])
    if mode == "netdevices":
        ns.exec("it", "kill", "1")
        ns.wait_message("it", "Link not found")
        ns.delete_pod("it")
        ns.create(watched(pod("it", templates=["data"]), "data0"))
        ns.wait_running("it")
    else:
        restart_container(ns, "it")
        assert identity(ns.links("it")["data0"]) == before


def test_several_containers_share_the_interface(mode, ns):
    """With netdevices the first container takes the link for the whole pod, and those after it are not started."""
    ns.create(template("data", parameters=MACVLAN), watched(pod("it", templates=["data"], containers=3), "data0"))
    if mode == "netdevices":
        ns.wait_message("it", "Link not found")
        eventually(lambda: [s["name"] for s in ns.pod("it")["status"]["containerStatuses"] if "running" in s["state"]] == ["c0"], 30, "only c0 runs")
    else:
        ns.wait_running("it")
        seen = [identity(ns.links("it", container=f"c{number}")["data0"]) for number in range(3)]
        assert seen[0] == seen[1] == seen[2]


def test_second_pod_of_a_claim_is_refused_with_the_reason(mode, ns):
    """The kubelet prepares a shared claim once, for the first pod: only the container's start can refuse the second."""
    ns.create(claim("shared", parameters=MACVLAN), watched(pod("first", claims=["shared"]), "data0"))
    ns.wait_running("first")
    ns.create(watched(pod("second", claims=["shared"]), "data0"))
    ns.wait_message("second", "cannot be shared by two pods" if mode != "netdevices" else "move netDevice")
    assert ns.never_ran("second")
    assert "data0" in ns.links("first")


def test_pod_with_the_nodes_network_is_refused_with_the_reason(mode, ns):
    """And no link of it stays in the node's namespace: the fixture looks."""
    ns.create(template("data", parameters=MACVLAN), watched(pod("it", templates=["data"], hostNetwork=True), "data0"))
    ns.wait_message("it", "hostNetwork")
    assert ns.never_ran("it")


def test_address_of_a_claim_is_never_the_nodes_own(mode, cluster, ns):
    """The image is never there, so the claim stays prepared: its address may be the API server's, and the node must go on reaching that."""
    address = "203.0.113.77"
    ns.create(template("data", parameters=netdev("macvlan", "data0", master="eth0", addresses=[f"{address}/32"])))
    ns.create(pod("it", templates=["data"], image="example.com/nowhere:1"))
    ns.wait_message("it", "example.com/nowhere:1")
    assert address not in cluster.run("ip", "route", "show", "table", "local")
    assert address not in cluster.run("ip", "address", "show")
