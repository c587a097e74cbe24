# SPDX-License-Identifier: Apache-2.0
"""One guest for the whole session; VFs on its first PF; what is needed to see why, on failure."""
import os
import re
import shutil
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import PFS, SOURCE, Guest, GuestDied, eventually, say  # noqa: E402
from lab import state_of  # noqa: E402

LOGS = f"{SOURCE}/build/logs/vm"
HANG = 30  # s; a guest that does not even say what its state is hangs


def pytest_addoption(parser):
    parser.addoption("--kernel", default="6.12", choices=["6.1", "6.12", "7.2"], help="the guest's Linux")
    parser.addoption("--gtest_filter", default="*", help="which cases of the kernel tests to run in the guest")
    parser.addoption("--long", action="store_true", help="long random runs, too (nightly)")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    guest = item.funcargs.get("booted") if hasattr(item, "funcargs") else None
    if report.failed and guest is not None:
        keep_logs(guest, item.name)


@pytest.fixture(scope="session")
def booted(request):
    with Guest(kernel=request.config.getoption("--kernel")) as it:
        try:
            it.start()
        except GuestDied:
            keep_console(it, "start")
            raise
        yield it


@pytest.fixture
def guest(booted):
    """The guest, if it still lives: one that hangs or died fails each later test at once."""
    if not booted.running():
        pytest.fail(f"the guest is dead; its console: {LOGS}", pytrace=False)
    return booted


def keep_console(guest, test):
    folder = f"{LOGS}/{re.sub('[^A-Za-z0-9_.-]', '-', test)}"
    os.makedirs(folder, exist_ok=True)
    if os.path.exists(guest.console):
        shutil.copyfile(guest.console, f"{folder}/console.txt")
    return folder


def keep_logs(guest, test):
    """Everything that helps to see why: build/logs/vm/<test>/"""
    folder = keep_console(guest, test)
    for name, argv in {"links": ["ip", "-details", "-statistics", "address"], "namespaces": ["lsns"], "processes": ["ps", "-ef"], "kernel": ["dmesg"],
                       "pci": ["sh", "-c", "lspci -nnk; ls -l /sys/bus/pci/devices/*/net"]}.items():
        try:
            text = guest.run(*argv, check=False, timeout=HANG)
        except (GuestDied, AssertionError) as error:
            text = str(error)
            if isinstance(error, AssertionError) and guest.running():
                say("the guest answers no more: ending it")
                guest.kill()
        with open(f"{folder}/{name}.txt", "w", encoding="utf-8") as file:
            file.write(text)
    run = f"{guest.share}/run"
    if os.path.isdir(run):
        shutil.copytree(run, f"{folder}/run", dirs_exist_ok=True)
    say(f"logs of {test}: {folder}")


VFS = 7


def make_vfs(guest):
    """Seven VFs of the first PF, with names and MACs that stay when a VF's driver is bound again: their addresses."""
    pf = PFS[0]
    guest.sh(f"""
modprobe -a igb igbvf
cd /sys/bus/pci/devices/{pf}
pf=$(ls net)
ip link set $pf up
echo 0 >sriov_numvfs
echo 0 >sriov_drivers_autoprobe
echo {VFS} >sriov_numvfs
echo 1 >sriov_drivers_autoprobe
for vf in {" ".join(str(number) for number in range(VFS))}; do # a VF learns its MAC when its driver is bound
  ip link set $pf vf $vf mac 02:00:00:00:00:1$vf
  address=$(basename $(readlink virtfn$vf))
  echo $address >/sys/bus/pci/drivers_probe
  ip link set $(ls virtfn$vf/net) name vf$vf
done""", timeout=240)
    return [os.path.basename(path) for path in guest.run("sh", "-c", f"for vf in $(seq 0 {VFS - 1}); do readlink /sys/bus/pci/devices/{pf}/virtfn$vf; done").split()]


@pytest.fixture(scope="session")
def all_vfs(booted):
    return make_vfs(booted)


@pytest.fixture
def vfs(guest, all_vfs):
    """The VFs of the first PF. Each must be in the machine's namespace afterwards, as it was before."""
    before = {address: state_of(guest, address) for address in all_vfs}
    yield all_vfs
    def back():
        assert {address: state_of(guest, address) for address in all_vfs} == before
        return True
    eventually(back, 10, "the VFs are as they were")


@pytest.fixture
def gone_vfs(guest, all_vfs):
    """The VFs for a test that removes them; they are made again afterwards."""
    yield all_vfs
    assert make_vfs(guest) == all_vfs


@pytest.fixture
def pf(guest):
    """The second PF, which has no VFs. It must be in the machine's namespace afterwards, as it was before."""
    address = PFS[1]
    guest.run("modprobe", "igb")
    name = eventually(lambda: guest.netdev(address), 30, "the PF has a link")
    if name != "pf1":
        guest.sh(f"ip link set {name} down; ip link set {name} name pf1")
    before = state_of(guest, address)
    yield address
    assert state_of(guest, address) == before
