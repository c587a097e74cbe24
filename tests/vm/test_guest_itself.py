# SPDX-License-Identifier: Apache-2.0
"""The guest is what the other tests think it is; and its tools tell the truth."""
import os
import signal
import socket

import pytest

import conftest
from guest import PFS, SOURCE, Guest, GuestDied, eventually


def test_commands_keep_their_output_and_status(guest):
    assert guest.run("sh", "-c", "echo out; echo err >&2") == "out\n"
    assert guest.status("sh", "-c", "exit 7") == 7
    assert guest.status("sh", "-c", "kill -9 $$") == 137
    assert guest.status("/no/such/program") == 127
    assert guest.run("cat", stdin="x" * 300_000) == "x" * 300_000
    with pytest.raises(AssertionError, match="status 3"):
        guest.run("sh", "-c", "exit 3")


def test_a_command_ends_with_its_connection(guest):
    with guest.popen("sh", "-c", "echo $$; exec sleep 1000") as process:
        eventually(lambda: process.poll() is None and b"\n" in process.stdout, 20, "it says its pid")
        pid = process.stdout.decode().strip()
    eventually(lambda: guest.status("kill", "-0", pid) != 0, 20, "it is gone")


def test_a_command_gets_signals(guest):
    with guest.popen("sleep", "1000") as process:
        process.signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM


def test_the_machines_root_is_never_written(guest):
    guest.sh("echo x >/etc/fairlead-guest-was-here; test -e /etc/fairlead-guest-was-here")
    assert not os.path.exists("/etc/fairlead-guest-was-here")


def test_the_project_is_there_wherever_it_is(guest):
    """Its own share: a clone below /tmp would not be in the guest otherwise."""
    guest.run("cmp", f"{SOURCE}/check", "-", stdin=open(f"{SOURCE}/check", encoding="utf-8").read())
    assert guest.run("findmnt", "-n", "-o", "FSTYPE,OPTIONS", SOURCE).split()[0] == "9p"


def test_it_cannot_reach_this_machine(guest):
    with socket.create_server(("127.0.0.1", 0)) as listener:  # 10.0.2.2 would be this machine's loopback for a guest with a way out
        assert guest.status("timeout", "5", "bash", "-c", f"exec 3<>/dev/tcp/10.0.2.2/{listener.getsockname()[1]}") != 0
        listener.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_each_pf_is_on_a_numa_node_and_root_of_its_own(guest, pf):
    assert [guest.pci(address, "numa_node") for address in PFS] == ["0", "1"]
    roots = [guest.run("readlink", "-f", f"/sys/bus/pci/devices/{address}").split("/")[3] for address in PFS]
    assert roots == ["pci0000:20", "pci0000:40"]
    assert guest.netdev(pf)


def test_each_vf_has_a_link_and_an_iommu_group_of_its_own(guest, vfs):
    for address in vfs:
        assert guest.run("readlink", f"/sys/bus/pci/devices/{address}/driver").strip().endswith("/igbvf")
        assert guest.run("ls", f"/sys/bus/pci/devices/{address}/iommu_group/devices").split() == [address]
        assert guest.netdev(address)
    assert guest.pci(PFS[0], "sriov_totalvfs") == "7"


def test_a_vf_falls_home_when_its_namespace_ends_under_the_name_it_had_there(guest, vfs):
    """What the kernel does by itself; other tests build on it."""
    name = guest.netdev(vfs[0])
    guest.sh(f"ip netns add x; ip link set {name} netns x name pod0; ip netns del x")
    eventually(lambda: guest.netdev(vfs[0]) == "pod0", 20, "the VF is back as pod0")
    guest.sh(f"ip link set pod0 name {name}")


@pytest.mark.parametrize("kind", ["dummy", "veth", "bridge", "macvlan", "ipvlan", "vlan", "vrf", "vxlan", "netkit", "bond", "ifb"])
def test_this_kernel_makes_links_of_the_kind(guest, pf, kind, request):
    if kind == "netkit" and request.config.getoption("--kernel") == "6.1":
        pytest.skip("netkit is there since Linux 6.7")
    parent = guest.netdev(pf)
    more = {"macvlan": f"link {parent} type macvlan", "ipvlan": f"link {parent} type ipvlan", "vlan": f"link {parent} type vlan id 7", "vrf": "type vrf table 7",
            "vxlan": "type vxlan id 7 dstport 4789", "netkit": "type netkit"}.get(kind, f"type {kind}")
    guest.sh(f"ip link add name probe0 {more}; ip link del probe0")


def test_a_vf_goes_to_vfio_and_back(guest, vfs):
    address, name = vfs[6], guest.netdev(vfs[6])
    group = guest.run("readlink", f"/sys/bus/pci/devices/{address}/iommu_group").strip().rpartition("/")[2]
    guest.sh(f"""
modprobe -a vfio-pci vfio_iommu_type1
cd /sys/bus/pci/devices/{address}
echo vfio-pci >driver_override
echo {address} >driver/unbind
echo {address} >/sys/bus/pci/drivers_probe
test "$(basename $(readlink driver))" = vfio-pci
test -c /dev/vfio/{group}
echo >driver_override
echo {address} >driver/unbind
echo {address} >/sys/bus/pci/drivers_probe
test "$(basename $(readlink driver))" = igbvf""")
    eventually(lambda: guest.netdev(address), 20, "its link is back")
    guest.sh(f"test ! -e /dev/vfio/{group}; ip link set {guest.netdev(address)} name {name}")


def test_a_guest_that_hangs_fails_the_test_and_is_ended_with_its_console_kept(request, tmp_path, monkeypatch):
    """As it happens to a test: this guest is one of its own, stopped by SIGSTOP."""
    monkeypatch.setattr(conftest, "LOGS", str(tmp_path))
    monkeypatch.setattr(conftest, "HANG", 3)
    with Guest(kernel=request.config.getoption("--kernel")) as other:
        other.start()
        os.kill(other.pid, signal.SIGSTOP)
        with pytest.raises(AssertionError, match="not over within"):
            other.run("true", timeout=3)
        conftest.keep_logs(other, "hung")
        assert not other.running()
        assert (tmp_path / "hung" / "console.txt").exists()
        with pytest.raises(GuestDied, match="its console ends"):
            other.run("true", timeout=3)
        folder = other.folder
    assert not os.path.exists(folder)


def test_a_guest_that_cannot_start_says_what_its_console_said(request, monkeypatch):
    def without_init(self, *arguments, whole=Guest.command):
        command = whole(self, *arguments)
        at = command.index("-append") + 1
        return command[:at] + [command[at] + " rdinit=/none root=/none"] + command[at + 1:]
    monkeypatch.setattr(Guest, "command", without_init)
    with Guest(kernel=request.config.getoption("--kernel")) as other, pytest.raises(GuestDied, match="Kernel panic"):
        other.start()
