# SPDX-License-Identifier: Apache-2.0
"""Pods with random mixes of devices, ways and faults; whatever comes, the pods run with their interfaces and all NICs are home as they were.
A few rounds, and with --long (nightly) 200. A round is repeated by its seed: --long -k 'seed-17]'."""
import random

import pytest

from lab import Drydock, Shared, addresses_of, netdev, nic, virtual, watching_pod, whole

EVENTS = ["RunPodSandbox", "StopPodSandbox", "RemovePodSandbox", "CreateContainer", "StartContainer", "StopContainer"]


def pytest_generate_tests(metafunc):
    seeds = range(1, 201) if metafunc.config.getoption("--long") else range(1, 4)
    metafunc.parametrize("seed", seeds, ids=[f"seed-{seed}" for seed in seeds])


def test_random_run(guest, vfs, seed):
    dice = random.Random(seed)
    free = list(enumerate(vfs))
    dice.shuffle(free)
    parent_number, parent = free.pop()  # macvlans sit on this one
    objects, shares, lend = [], {}, [parent]
    for number in range(dice.randint(1, 4)):
        shared = Shared(guest, f"it{number}")
        wanted = {}
        for device in range(dice.randint(1, 2)):
            name, interface = f"c{number}-{device}", f"dev{device}"
            where = None
            kind = dice.choice(["host-device", "macvlan", "dummy", "veth"])
            more = {"mtu": dice.choice([1280, 1400])} if dice.random() < 0.5 else {}
            more |= {"addresses": [f"192.0.2.{number * 8 + device + 1}/24"]} if dice.random() < 0.7 else {}
            if kind == "host-device" and free:
                _, address = free.pop()
                lend.append(address)
                where = address
                objects.append(nic(name, address, netdev(kind, interface, **more)))
            else:
                kind = "veth" if kind == "host-device" else kind
                more |= {"master": f"vf{parent_number}", "mode": dice.choice(["bridge", "private", "vepa"])} if kind == "macvlan" else {}
                objects.append(virtual(name, netdev(kind, interface, **more)))
            wanted[interface] = (kind, where, more)
        shares[shared] = wanted
        objects.append(watching_pod(shared, [f"c{number}-{device}" for device in range(len(wanted))], wait=dice.random() < 0.5))
    way = dice.choice(["auto", "guard"])
    flags = ["--nri-dialect", dice.choice(["0.11", "0.12"])]
    if way == "auto" and dice.random() < 0.5:
        flags += ["--nri-cut", dice.choice(EVENTS)]
    if way == "guard" and dice.random() < 0.5:
        flags += ["--no-nri"]
    with Drydock(guest, whole(*objects), lend=lend, flags=flags, driver_flags=f"--attach {way}") as drydock:
        for shared in shares:
            shared.go()
        drydock.wait(240)
    for shared, wanted in shares.items():
        links = shared.links()
        for interface, (kind, where, more) in wanted.items():
            link = links[interface]
            assert link["mtu"] == more.get("mtu", 1500) and addresses_of(link) == more.get("addresses", []), f"{shared.name} {interface}: {link}"
            if kind == "host-device":
                assert link["parentdev"] == where
            else:
                assert link["linkinfo"]["info_kind"] == kind
