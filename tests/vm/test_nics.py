# SPDX-License-Identifier: Apache-2.0
"""NICs with a bus address and a permanent MAC in pods, the agent confined as its DaemonSet is.

drydock compares each lent link in the node's namespace with what it was, when the pods are gone and before it takes it home: a run that
succeeds is the proof that fairlead gave it back with its name, MAC, MTU, state, alias, altnames and addresses."""
import json
import re

import pytest

from guest import PFS, eventually
from lab import DRIVER, LOOK, Drydock, Shared, addresses_of, netdev, nic, run, select, state_of, template, virtual, watching_pod, whole

FAST = {"addresses": ["192.0.2.7/24", "2001:db8::7/64"], "mtu": 1400}


@pytest.fixture
def dressed(guest, request):
    """dressed(address) gives a function's link an MTU, addresses, an alias, altnames, a PF also a MAC that is not its permanent one, and
    takes all back."""
    undo = []

    def dress(address):
        name = guest.netdev(address)
        guest.sh(f"""
ip link set {name} mtu 1450
ip link set {name} alias 'rack 7 port 2'
ip link property add dev {name} altname enp-of-{name} altname a-name-longer-than-fifteen-bytes-{name}
ip link set {name} up
ip address add 198.51.100.9/24 dev {name}
ip address add 2001:db8:9::9/64 dev {name} nodad""")
        if address in PFS:  # a VF may not change a MAC that its PF has set
            guest.run("ip", "link", "set", name, "address", "02:00:00:00:00:f1")
        undo.append(name)
        return name
    yield dress
    for name in undo:
        link = guest.links()[name]
        guest.sh(f"""
ip link set {name} address {link.get('permaddr', link['address'])}
ip address flush dev {name}
ip link set {name} down
ip link set {name} mtu 1500
ip link set {name} alias ''
ip link property del dev {name} altname enp-of-{name} altname a-name-longer-than-fifteen-bytes-{name}""")


@pytest.mark.parametrize("way", ["auto", "guard"])
@pytest.mark.parametrize("which", ["vf", "pf"])
def test_a_nic_is_in_the_pod_and_comes_home_as_it_was(guest, vfs, pf, dressed, which, way):
    address = vfs[0] if which == "vf" else pf
    name = dressed(address)
    mac = guest.links()[name]["address"]
    shared = Shared(guest, "it")
    manifest = whole(nic("fast", address, netdev("host-device", "fast0", **FAST)), watching_pod(shared, ["fast"]))
    text = run(guest, manifest, lend=[address], driver_flags=f"--attach {way}")
    link = shared.links()["fast0"]
    assert link["address"] == mac
    assert link["parentdev"] == address
    assert link["mtu"] == 1400
    assert "UP" in link["flags"]
    assert addresses_of(link) == ["192.0.2.7/24", "2001:db8::7/64"]
    assert re.search(r"claim attached via=(\w+)", text).group(1) == ("guard" if way == "guard" else "nri")


@pytest.mark.parametrize("which", ["vf", "pf"])
def test_a_nic_is_offered_with_what_it_is(guest, vfs, pf, which):
    address = vfs[1] if which == "vf" else pf
    root, node, product = ("pci0000:20", 0, "0x10ca") if which == "vf" else ("pci0000:40", 1, "0x10c9")
    expression = " && ".join([
        select("resource.kubernetes.io/pciBusID", address),
        f'device.attributes["resource.kubernetes.io"].pcieRoot == "{root}"',
        f'device.attributes["resource.kubernetes.io"].numaNode == {node}',
        f'device.attributes["{DRIVER}"].pciVendor == "0x8086"',
        f'device.attributes["{DRIVER}"].pciDevice == "{product}"',
        f'device.attributes["{DRIVER}"].driver == "{"igbvf" if which == "vf" else "igb"}"'])
    shared = Shared(guest, "it")
    run(guest, whole(template("fast", parameters=netdev("host-device", "fast0"), device_class="network-devices", selector=expression),
                     watching_pod(shared, ["fast"])), lend=[address])
    assert shared.links()["fast0"]["parentdev"] == address


@pytest.mark.parametrize("which", ["vf", "pf"])
def test_a_device_is_called_by_its_address_and_the_claim_says_which_nic_it_has(guest, vfs, pf, which):
    address = vfs[1] if which == "vf" else pf
    name = guest.netdev(address)
    permanent = guest.links()[name].get("permaddr", guest.links()[name]["address"])
    guest.run("ip", "link", "set", name, "down", "name", "odd0")
    try:
        text = run(guest, whole(nic("fast", address, netdev("host-device", "fast0")), watching_pod(Shared(guest, "it"), ["fast"])),
                   lend=[address], flags=["--json"])
    finally:
        guest.run("ip", "link", "set", "odd0", "name", name)
    (device,) = json.loads(text[text.index("{"):])["claims"][0]["devices"]
    assert device["device"] == "pci-" + re.sub("[:.]", "-", address)
    wanted = {"name": device["device"], "pciBusID": address}
    # A VF's own address is its PF's to draw; the PF is not lent here.
    assert device["data"]["identity"] == (wanted if which == "vf" else wanted | {"permanentMAC": permanent})


@pytest.mark.parametrize("which", ["vf", "pf"])
def test_the_pod_may_rename_its_nic_and_change_all_it_can(guest, vfs, pf, dressed, which):
    address = vfs[0] if which == "vf" else pf
    name = dressed(address)
    new_mac = [] if which == "vf" else ["ip link set mine0 address 02:00:00:00:00:f2"]
    shared = Shared(guest, "it")
    script = "; ".join([LOOK, "ip link set fast0 down", "ip link set fast0 name mine0", "ip link set mine0 mtu 1300", "ip link set mine0 alias pods-own", *new_mac,
                        "ip address add 203.0.113.5/24 dev mine0", "ip link set mine0 up", LOOK.replace("links", "after")])
    run(guest, whole(nic("fast", address, netdev("host-device", "fast0", **FAST)), watching_pod(shared, ["fast"], script)), lend=[address])
    assert "fast0" in shared.links() and "mine0" in shared.links("after")
    assert which == "vf" or shared.links("after")["mine0"]["address"] == "02:00:00:00:00:f2"
    assert guest.netdev(address) == name


def test_altnames_that_the_pod_changed_come_home_as_they_were(guest, vfs, dressed):
    name = dressed(vfs[0])
    shared = Shared(guest, "it")
    script = f"{LOOK}; ip link property del dev fast0 altname enp-of-{name}; ip link property add dev fast0 altname cni0 altname pods0"
    run(guest, whole(nic("fast", vfs[0], netdev("host-device", "fast0")), watching_pod(shared, ["fast"], script)), lend=[vfs[0]])
    assert "fast0" in shared.links()


@pytest.mark.parametrize("which", ["vf", "pf"])
def test_a_link_of_the_pod_with_the_nics_alias_stays_in_the_pod(guest, vfs, pf, dressed, which):
    """The agent's mark is the link's alias, which the pod may move to a link of its own: the NIC returns all the same."""
    address = vfs[0] if which == "vf" else pf
    dressed(address)
    shared = Shared(guest, "it")
    script = "; ".join([LOOK, "mark=$(cat /sys/class/net/fast0/ifalias 2>/dev/null || ip -o link show dev fast0 | sed 's/.*alias //')",
                        "ip link add mine0 type dummy", 'ip link set dev mine0 alias "$mark"', "ip link set dev fast0 alias ''",
                        "ip link set dev fast0 down", "ip link set dev fast0 name mine1", LOOK.replace("links", "after")])
    run(guest, whole(nic("fast", address, netdev("host-device", "fast0", **FAST)), watching_pod(shared, ["fast"], script)), lend=[address])
    assert shared.links("after")["mine0"]["ifalias"].startswith("fairlead:")
    assert "ifalias" not in shared.links("after")["mine1"]


def test_a_namespace_that_somebody_keeps_keeps_no_nic(guest, vfs, dressed):
    """A descriptor outside of the pod keeps the pod's network namespace when the pod has ended, and no Stop was told: the kernel gives nothing
    back then, and nobody can find the namespace. The agent has kept it too."""
    dressed(vfs[0])
    shared = Shared(guest, "it")
    manifest = whole(nic("fast", vfs[0], netdev("host-device", "fast0", **FAST)), watching_pod(shared, ["fast"], wait=True))
    keeper = None
    try:
        with Drydock(guest, manifest, lend=[vfs[0]], driver_flags="--attach guard", flags=["--no-nri"]) as drydock:
            drydock.until(lambda: shared.has("links"), "the pod runs")
            container = guest.run("pgrep", "-n", "-f", "/shared/go").strip()
            keeper = guest.sh(f"exec 9</proc/{container}/ns/net; setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $!").strip()
            shared.go()
            drydock.wait()
    finally:
        if keeper:
            guest.status("kill", keeper)


def complaints(text):
    """What drydock names as wrong."""
    return [line.partition("✗ ")[2] for line in text.splitlines() if "✗ " in line and "✗ failed: " not in line]


@pytest.mark.parametrize("way", ["auto", "guard"])
def test_the_namespace_dies_under_a_nic_without_a_stop(guest, vfs, dressed, way):
    """The kernel gives the NIC back by itself, under the pod's name, down and without addresses; the pod gets it again, and in the end it is
    home as it was. In guard mode nothing tells fairlead of the end; in auto the runtime tells of it after it."""
    dressed(vfs[0])
    shared = Shared(guest, "it")
    script = f"n=$(ls /shared | grep -c ^began || true); touch /shared/began$n; {LOOK}"
    manifest = whole(nic("fast", vfs[0], netdev("host-device", "fast0", **FAST)),
                     watching_pod(shared, ["fast"], script, wait=True, restart="Always"))
    flags = ["--lose-sandbox", "1s"] + (["--no-nri"] if way == "guard" else [])
    with Drydock(guest, manifest, lend=[vfs[0]], driver_flags=f"--attach {way}", flags=flags) as drydock:
        drydock.until(lambda: shared.has("began1"), "the pod is started again")
        drydock.until(lambda: shared.has("links"), "the pod has looked at its links")
        shared.go()
        drydock.wait()
    assert addresses_of(shared.links()["fast0"]) == ["192.0.2.7/24", "2001:db8::7/64"]


def test_a_vf_that_disappears_while_it_is_lent_stops_nothing(guest, gone_vfs):
    """sriov_numvfs 0 under a running pod: Unprepare ends, the pod is gone within its time, and the agent has lived on."""
    address = gone_vfs[0]
    shared = Shared(guest, "it")
    manifest = whole(nic("fast", address, netdev("host-device", "fast0")), watching_pod(shared, ["fast"], wait=True))
    with Drydock(guest, manifest, lend=[address]) as drydock:
        drydock.until(lambda: shared.has("links"), "the pod runs")
        guest.write(f"/sys/bus/pci/devices/{PFS[0]}/sriov_numvfs", "0")
        shared.go()
        text = drydock.wait(status=1)
    # All that drydock has to say is that the VFs are gone: the pod was taken down in time and left nothing.
    gone = [r"on the node: link vf0 is gone", r"on the node: vf0 was not given back: it is not among the node's links",
            rf"lent link vf0: the PCI function {address} is gone from this machine", r"on this machine: link vf\d( \(index \d+\))? is gone"]
    seen = complaints(text)
    assert seen and not [line for line in seen if not any(re.fullmatch(expected, line) for expected in gone)], text


def test_a_vf_comes_home_when_drydock_is_killed_while_a_pod_has_it(guest, vfs, dressed):
    """Nothing of the node is left to give it back: the kernel does, and drydock's keeper makes it what it was."""
    name = dressed(vfs[0])
    before = state_of(guest, vfs[0])
    shared = Shared(guest, "it")
    manifest = whole(nic("fast", vfs[0], netdev("host-device", "fast0", **FAST)), watching_pod(shared, ["fast"], wait=True))
    with Drydock(guest, manifest, lend=[vfs[0]]) as drydock:
        drydock.until(lambda: shared.has("links"), "the pod runs")
        assert guest.netdev(vfs[0]) is None
        for pid in guest.run("pgrep", "-x", "drydock").split():
            guest.status("kill", "-9", pid)
        assert drydock.process.wait() == 137
        eventually(lambda: guest.netdev(vfs[0]) == name and state_of(guest, vfs[0]) == before, 60, "the VF is back on the node as it was")


@pytest.mark.parametrize("way", ["auto", "guard"])
def test_a_driver_that_is_unbound_while_its_nic_is_lent_stops_nothing(guest, pf, way):
    """igb leaves the PF and comes back: the link is another one, with the same address on the bus and the same permanent MAC."""
    name = guest.netdev(pf)
    shared = Shared(guest, "it")
    manifest = whole(nic("fast", pf, netdev("host-device", "fast0")), watching_pod(shared, ["fast"], wait=True))
    with Drydock(guest, manifest, lend=[pf], driver_flags=f"--attach {way}") as drydock:
        drydock.until(lambda: shared.has("links"), "the pod runs")
        guest.write("/sys/bus/pci/drivers/igb/unbind", pf)
        guest.write("/sys/bus/pci/drivers/igb/bind", pf)
        shared.go()
        drydock.wait()
    eventually(lambda: guest.netdev(pf) == name, 60, "the PF's link has its name again")


def test_a_dummy_is_lent_like_a_nic_when_the_operator_says_so(guest):
    guest.sh("ip link add dum0 type dummy; ip link set dum0 address 02:00:00:00:00:d0; ip link set dum0 up")
    try:
        shared = Shared(guest, "it")
        manifest = whole(template("fast", parameters=netdev("host-device", "fast0", **FAST), device_class="network-devices", selector=select("ifName", "dum0")),
                         watching_pod(shared, ["fast"]))
        run(guest, manifest, lend=["dum0"], driver_flags="--host-devices dum*")
        assert shared.links()["fast0"]["linkinfo"]["info_kind"] == "dummy"
    finally:
        guest.run("ip", "link", "del", "dum0")


def test_a_dummy_is_made_for_a_pod(guest):
    shared = Shared(guest, "it")
    run(guest, whole(virtual("data", netdev("dummy", "data0", addresses=["192.0.2.8/24"])), watching_pod(shared, ["data"])))
    link = shared.links()["data0"]
    assert link["linkinfo"]["info_kind"] == "dummy" and addresses_of(link) == ["192.0.2.8/24"]


def test_macvlans_of_all_modes_on_a_real_nic(guest, vfs):
    """Four modes beside each other on one VF; passthru alone on another, of which it has the MAC."""
    shared = Shared(guest, "it")
    modes = ["bridge", "private", "vepa", "source"]
    claims = [virtual(mode, netdev("macvlan", f"{mode}0", master="vf0", mode=mode)) for mode in modes]
    claims.append(nic("passthru", vfs[1], netdev("macvlan", "passthru0", mode="passthru")))
    run(guest, whole(*claims, watching_pod(shared, [*modes, "passthru"])), lend=[vfs[0], vfs[1]])
    links = shared.links()
    assert {mode: links[f"{mode}0"]["linkinfo"]["info_data"]["mode"] for mode in [*modes, "passthru"]} == {mode: mode for mode in [*modes, "passthru"]}
    assert links["passthru0"]["address"] == "02:00:00:00:00:11"


def test_ipvlans_on_a_real_nic(guest, vfs):
    """Two of one mode share the NIC's MAC address; a macvlan beside them is refused, as the kernel would."""
    shared = Shared(guest, "it")
    both = {"master": "vf0", "mode": "l3s", "flag": "private"}
    claims = [virtual(name, netdev("ipvlan", f"{name}0", addresses=[address], **both)) for name, address in [("one", "192.0.2.8/24"), ("two", "192.0.2.9/24")]]
    run(guest, whole(*claims, watching_pod(shared, ["one", "two"])), lend=[vfs[0]])
    links = shared.links()
    for name, address in [("one0", "192.0.2.8/24"), ("two0", "192.0.2.9/24")]:
        assert links[name]["linkinfo"]["info_kind"] == "ipvlan"
        assert links[name]["linkinfo"]["info_data"]["mode"] == "l3s" and "private" in json.dumps(links[name]["linkinfo"]["info_data"])
        assert links[name]["address"] == "02:00:00:00:00:10"
        assert addresses_of(links[name]) == [address]


@pytest.mark.parametrize("other", [netdev("ipvlan", "two0", master="vf0", mode="l3"), netdev("macvlan", "two0", master="vf0")], ids=["ipvlan-l3", "macvlan"])
def test_what_an_ipvlan_on_the_nic_excludes_is_refused_before_anything_happens(guest, vfs, other):
    """Whichever of the two claims comes first has the NIC."""
    shared = Shared(guest, "it")
    manifest = whole(virtual("one", netdev("ipvlan", "one0", master="vf0")), virtual("two", other), watching_pod(shared, ["one", "two"]))
    with Drydock(guest, manifest, lend=[vfs[0]]) as drydock:
        text = drydock.wait(status=1)
    there, asked = re.search(r"vf0 has an? ([a-z0-9 ]+) on it, of .*, which excludes an? ([a-z0-9 ]+);", text).groups()
    assert {there, asked} == {"ipvlan l2 bridge", "macvlan" if other["netdev"]["kind"] == "macvlan" else "ipvlan l3 bridge"}
    assert not shared.has("links"), "the pod ran"


def test_vlans_on_the_nodes_uplink(guest):
    """One id with two protocols are two VLANs; priorities are mapped both ways."""
    shared = Shared(guest, "it")
    plain = netdev("vlan", "plain0", master="eth0", vlanId=7, ingressQosMap=["5:1"], egressQosMap=["1:5"], addresses=["192.0.2.8/24"])
    service = netdev("vlan", "service0", master="eth0", vlanId=7, vlanProto="802.1ad", mac="02:00:00:00:77:01", mtu=1400)
    run(guest, whole(virtual("plain", plain), virtual("service", service), watching_pod(shared, ["plain", "service"])))
    links = shared.links()
    data = links["plain0"]["linkinfo"]["info_data"]
    assert links["plain0"]["linkinfo"]["info_kind"] == "vlan"
    assert (data["id"], data["protocol"]) == (7, "802.1Q")
    assert data["ingress_qos"] == [{"from": 5, "to": 1}] and data["egress_qos"] == [{"from": 1, "to": 5}]
    assert addresses_of(links["plain0"]) == ["192.0.2.8/24"]
    data = links["service0"]["linkinfo"]["info_data"]
    assert (data["id"], data["protocol"]) == (7, "802.1ad")
    assert (links["service0"]["address"], links["service0"]["mtu"]) == ("02:00:00:00:77:01", 1400)


def test_one_vlan_of_a_master_goes_to_one_claim(guest):
    shared = Shared(guest, "it")
    claims = [virtual(name, netdev("vlan", f"{name}0", master="eth0", vlanId=7)) for name in ("one", "two")]
    with Drydock(guest, whole(*claims, watching_pod(shared, ["one", "two"]))) as drydock:
        text = drydock.wait(status=1)
    assert "the VLAN 7 (802.1q) is taken on eth0, by" in text
    assert not shared.has("links"), "the pod ran"


def test_passthru_on_a_link_that_others_use_is_refused_before_anything_happens(guest, vfs):
    shared = Shared(guest, "it")
    manifest = whole(virtual("data", netdev("macvlan", "data0", master="vf0", mode="passthru")), watching_pod(shared, ["data"]))
    with Drydock(guest, manifest, lend=[vfs[0]]) as drydock:
        text = drydock.wait(status=1)
    assert 'netdev.mode: "passthru" takes all that vf0 receives' in text
    assert not shared.has("links"), "the pod ran"


def test_seven_vfs_in_seven_pods_at_once(guest, vfs):
    shares = [Shared(guest, f"it{number}") for number in range(7)]
    objects = []
    for number, (address, shared) in enumerate(zip(vfs, shares)):
        objects += [nic(f"fast{number}", address, netdev("host-device", "fast0", addresses=[f"192.0.2.{number + 1}/24"])),
                    watching_pod(shared, [f"fast{number}"], wait=True)]
    with Drydock(guest, whole(*objects), lend=vfs) as drydock:
        for shared in shares:
            drydock.until(lambda shared=shared: shared.has("links"), f"{shared.name} runs")
        for shared in shares:
            shared.go()
        drydock.wait(180)
    assert [shared.links()["fast0"]["parentdev"] for shared in shares] == list(vfs)


def test_the_agent_is_confined_as_its_daemonset_says(guest, vfs):
    """What the other tests take for granted: no more capabilities than the manifest's, a read-only root and /sys, a seccomp filter."""
    shared = Shared(guest, "it")
    manifest = whole(nic("fast", vfs[0], netdev("host-device", "fast0")), watching_pod(shared, ["fast"], wait=True))
    with Drydock(guest, manifest, lend=[vfs[0]]) as drydock:
        drydock.until(lambda: shared.has("links"), "the pod runs")
        pid = guest.run("pgrep", "-x", "fairlead").split()
        assert len(pid) == 1
        status = dict(line.split(":\t", 1) for line in guest.read(f"/proc/{pid[0]}/status").splitlines() if ":\t" in line)
        net_admin, sys_admin = 1 << 12, 1 << 21
        assert int(status["CapEff"], 16) == net_admin | sys_admin
        assert int(status["CapBnd"], 16) == net_admin | sys_admin
        assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1"
        options = {line.split()[4]: line.split()[5].split(",") for line in guest.read(f"/proc/{pid[0]}/mountinfo").splitlines()}
        for path in ("/", "/sys", "/proc/sys"):
            assert "ro" in options[path], f"{path}: {options[path]}"
        shared.go()
        drydock.wait()
