# SPDX-License-Identifier: Apache-2.0
"""RDMA devices in pods, by soft-RoCE: on dummies that the test makes, and on a VF, below whose function it then is. The agent is confined as its
DaemonSet is, and sees no /dev/infiniband of its own."""
import json
import re

import pytest

from guest import eventually
from lab import DRIVER, Drydock, Shared, run, select, template, watching_pod, whole
from test_kernel_tests import BUILD

UVERBS = {"type": "rdma", "rdma": {"kind": "uverbs"}}
VIEW = "--rdma-view rdma"
# The image has iproute2 and busybox; what lists and uses RDMA devices is the machine's.
VERBS = [("usr", "/usr"), ("conf", "/etc/libibverbs.d")]
LOOK = "ibv_devices >/shared/devices; ls -ln /dev/infiniband >/shared/nodes; touch /shared/looked"


@pytest.fixture
def soft_roce(guest):
    """rxe0 and rxe1, each on a dummy with an address."""
    guest.sh("""
modprobe -a dummy ib_uverbs rdma_ucm rdma_rxe
for i in 0 1; do
  ip link add rd$i type dummy
  ip link set rd$i address 02:00:00:00:00:e$i up
  ip address add 198.51.100.1$i/24 dev rd$i
  rdma link add rxe$i type rxe netdev rd$i
done""")
    yield ["rxe0", "rxe1"]
    guest.sh("""
for device in $(ls /sys/class/infiniband); do rdma link del $device; done
for i in 0 1; do ip link del rd$i; done""")


def hca(name, device, parameters=None):
    return template(name, parameters=parameters or UVERBS, device_class="network-devices", selector=select("rdmaDevice", device, kind="uverbs"), request="hca")


def verbs_pod(shared, templates, script=LOOK, **spec):
    body = watching_pod(shared, templates, script, **spec)
    body["spec"]["volumes"] += [{"name": name, "hostPath": {"path": path}} for name, path in VERBS]
    for container in body["spec"]["containers"]:
        container["volumeMounts"] += [{"name": name, "mountPath": path, "readOnly": True} for name, path in VERBS]
        container["securityContext"] = {}
    return body


def read(shared, file):
    with open(f"{shared.here}/{file}", encoding="utf-8") as text:
        return text.read()


def devices_of(shared):
    """{name: node GUID} that ibv_devices printed."""
    return dict(line.split() for line in read(shared, "devices").splitlines()[2:])


def numbers_of(shared):
    """{file: "major:minor"} of /dev/infiniband in the pod."""
    return {name: f"{major}:{minor}" for major, minor, name in re.findall(r"^c\S+ +\d+ +\S+ +\S+ +(\d+), *(\d+) .* (\S+)$", read(shared, "nodes"), re.M)}


def number_in_guest(guest, file):
    return ":".join(str(int(part, 16)) for part in guest.run("stat", "-c", "%t:%T", f"/dev/infiniband/{file}").strip().split(":"))


def test_the_kernel_says_of_its_devices_what_sysfs_and_dev_have(guest, soft_roce):
    text = guest.run(f"{BUILD}/bin/netlink_rdma_kernel_test")
    assert "[  PASSED  ] 4 tests." in text, text


@pytest.mark.parametrize("network", ["pod", "host"])
def test_a_pod_sees_exactly_its_hca(guest, soft_roce, network):
    shared = Shared(guest, "it")
    spec = {"hostNetwork": True} if network == "host" else {}
    text = run(guest, whole(hca("hca", "rxe1"), verbs_pod(shared, ["hca"], **spec)), driver_flags=VIEW, flags=["--json"])
    assert list(devices_of(shared)) == ["rxe1"]
    uverbs = guest.sh("grep -l rxe1 /sys/class/infiniband_verbs/*/ibdev").strip().split("/")[-2]
    assert numbers_of(shared) == {file: number_in_guest(guest, file) for file in (uverbs, "rdma_cm")}
    (device,) = json.loads(text[text.index("{"):])["claims"][0]["devices"]
    guid = guest.read("/sys/class/infiniband/rxe1/node_guid").strip()
    assert device["device"] == "rdma-guid-" + guid.replace(":", "")
    assert device["data"]["rdma"] == {"device": "rxe1", "nodeGUID": guid, "nodes": [f"/dev/infiniband/{uverbs}", "/dev/infiniband/rdma_cm"]}


def test_a_pod_and_the_node_talk_over_soft_roce(guest, soft_roce):
    """The server is a process in the node's network, as the pod is; both use rxe0."""
    shared = Shared(guest, "it")
    script = LOOK + "; until [ -e /shared/go ]; do sleep 0.3; done; ibv_rc_pingpong -d rxe0 -g 1 -n 50 -p 18515 127.0.0.1 >/shared/pingpong 2>&1"
    with Drydock(guest, whole(hca("hca", "rxe0"), verbs_pod(shared, ["hca"], script, hostNetwork=True)), driver_flags=VIEW) as drydock:
        drydock.until(lambda: shared.has("looked"), "the pod runs")
        container = guest.run("pgrep", "-n", "-f", "/shared/go").strip()
        with guest.popen("nsenter", "-t", container, "-n", "ibv_rc_pingpong", "-d", "rxe0", "-g", "1", "-n", "50", "-p", "18515") as server:
            server.close_input()
            eventually(lambda: "18515" in guest.run("nsenter", "-t", container, "-n", "ss", "-Hltn"), 30, "the server listens")
            shared.go()
            text = drydock.wait()
            assert server.wait(60) == 0, server.text()
    assert "50 iters" in read(shared, "pingpong"), read(shared, "pingpong") + text
    assert "50 iters" in server.text()


def test_an_hca_of_a_function_is_offered_instead_of_its_nic(guest, vfs, request):
    if request.config.getoption("--kernel") != "6.12":
        pytest.skip("tests/vm/modules.sh builds for 6.12 only")
    name = guest.netdev(vfs[0])
    guest.sh(f"modprobe -a ib_uverbs rdma_ucm rdma_rxe; ip link set {name} up; rdma link add rxe0 type rxe netdev {name}")
    try:
        shared = Shared(guest, "it")
        by_address = f'{select("resource.kubernetes.io/pciBusID", vfs[0], kind="uverbs")} && device.attributes["{DRIVER}"].linkLayer == "ethernet"'
        claim = template("hca", device_class="network-devices", selector=by_address, request="hca")
        text = run(guest, whole(claim, verbs_pod(shared, ["hca"])), driver_flags=VIEW, flags=["--json"])
        assert list(devices_of(shared)) == ["rxe0"]
        (device,) = json.loads(text[text.index("{"):])["claims"][0]["devices"]
        assert device["device"] == "rdma-" + re.sub("[:.]", "-", vfs[0])
        assert device["data"]["identity"]["pciBusID"] == vfs[0]
    finally:
        guest.sh(f"rdma link del rxe0; ip link set {name} down")
