# SPDX-License-Identifier: Apache-2.0
"""Upgrade from version 0.1 and roll-back to it, by the two versions' own images and manifests, with pods that run throughout."""
import json
import subprocess

import pytest

from cluster import SOURCE, eventually
from workload import NIC, addresses, identity, netdev, pod, template, watched


@pytest.fixture(scope="module")
def previous():
    """The folder with version 0.1."""
    built = subprocess.run([f"{SOURCE}/tests/cluster/previous.sh"], capture_output=True, text=True, check=False)
    if built.returncode == 3:
        pytest.skip(built.stderr.strip())
    assert built.returncode == 0, built.stderr[-2000:]
    return built.stdout.strip().splitlines()[-1]


@pytest.fixture
def on_previous(fairlead, previous):
    """The node's agent is version 0.1; afterwards it is the tested one again."""
    fairlead.use_previous(previous)
    try:
        yield fairlead
    finally:
        fairlead.use_current()


INTERFACES = ("data0", "ctrl0", "nic")


def make_pod(ns, name, number):
    """With a macvlan, a veth pair and the NIC nic<number>, which leaves the node."""
    ns.create(template(f"data-{name}", parameters=netdev("macvlan", "data0", master="eth0", addresses=[f"192.0.2.{60 + number}/24"])),
              template(f"ctrl-{name}", parameters=netdev("veth", "ctrl0")),
              template(f"nic-{name}", parameters=netdev("host-device", "nic"), device_class=NIC,
                       selector=f'device.attributes["dra.example.com"].ifName == "nic{number}"'),
              watched(pod(name, templates=[f"{part}-{name}" for part in ("data", "ctrl", "nic")]), *INTERFACES))
    ns.wait_running(name)
    return interfaces(ns, name)


def interfaces(ns, name):
    links = ns.links(name)
    return {interface: identity(links[interface]) for interface in INTERFACES}


def restart_container(ns, name):
    """The runtime calls the guard again, with the record as it is now."""
    before = ns.pod(name)["status"]["containerStatuses"][0]["restartCount"]
    ns.exec(name, "kill", "1")
    eventually(lambda: ns.pod(name)["status"]["containerStatuses"][0]["restartCount"] == before + 1 and ns.running(name), 60, "the container runs again")


def nic_on_node(cluster, number):
    link = cluster.links().get(f"nic{number}")
    assert link, f"nic{number} is not on the node"
    shown = json.loads(cluster.run("ip", "-json", "address", "show", "dev", f"nic{number}"))[0]
    assert not shown.get("ifalias", "").startswith("fairlead"), shown
    return {"mac": link["address"], "mtu": link["mtu"], "addresses": addresses(shown)}


def complaints(fairlead):
    """What an agent says of a record that it cannot work with."""
    return [line for line in fairlead.log().splitlines() if "quarantine" in line or "cannot restore" in line or "unreadable" in line]


def test_pods_of_version_0_1_live_through_an_upgrade(cluster, on_previous, ns):
    home = nic_on_node(cluster, 0)
    before = make_pod(ns, "of-0-1", 0)
    on_previous.use_current()
    assert complaints(on_previous) == []
    assert interfaces(ns, "of-0-1") == before
    restart_container(ns, "of-0-1")
    assert interfaces(ns, "of-0-1") == before
    make_pod(ns, "of-today", 1)  # beside it, and not with what it has
    ns.delete_pod("of-today")
    on_previous.kill()
    eventually(on_previous.processes, 60, "the agent runs again")
    # while there is no agent, a pod's end would take its NIC with it here: these are veths, which the kernel deletes
    eventually(lambda: "registered with the kubelet" in on_previous.log(), 60, "the agent is back")
    assert interfaces(ns, "of-0-1") == before
    ns.delete_pod("of-0-1")
    eventually(lambda: nic_on_node(cluster, 0) == home, 20, "nic0 is on the node as it was")
    on_previous.wait_clean()


def test_pods_live_through_a_roll_back(cluster, fairlead, previous, ns):
    home = [nic_on_node(cluster, number) for number in (0, 1)]
    before = make_pod(ns, "of-today", 0)
    fairlead.use_previous(previous)
    try:
        assert complaints(fairlead) == []
        assert interfaces(ns, "of-today") == before
        restart_container(ns, "of-today")
        assert interfaces(ns, "of-today") == before
        make_pod(ns, "of-0-1", 1)
        ns.delete_pod("of-today")
        eventually(lambda: nic_on_node(cluster, 0) == home[0], 20, "nic0 is on the node as it was")
        ns.delete_pod("of-0-1")
        eventually(lambda: nic_on_node(cluster, 1) == home[1], 20, "nic1 is on the node as it was")
        fairlead.wait_clean()
    finally:
        fairlead.use_current()


def test_a_record_goes_there_and_back(cluster, on_previous, previous, ns):
    """0.1, today's, 0.1, today's: what one version does not know of the other's record is not lost, nor in the way."""
    home = nic_on_node(cluster, 0)
    before = make_pod(ns, "it", 0)
    for use in (on_previous.use_current, lambda: on_previous.use_previous(previous), on_previous.use_current):
        use()
        assert complaints(on_previous) == []
        assert interfaces(ns, "it") == before
        restart_container(ns, "it")
        assert interfaces(ns, "it") == before
    for record in on_previous.records():
        with open(cluster.path(f"/run/{on_previous.driver}/claims/{record}"), encoding="utf-8") as file:
            assert json.load(file)["record"], record
    ns.delete_pod("it")
    eventually(lambda: nic_on_node(cluster, 0) == home, 20, "nic0 is on the node as it was")
    on_previous.wait_clean()
