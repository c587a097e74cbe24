# SPDX-License-Identifier: Apache-2.0
"""Another driver of the same framework, examples/file-driver, beside fairlead on one node."""
import os

import pytest
import yaml

from cluster import NODE, SOURCE, eventually
from workload import netdev, pod, template

DRIVER = "file.dra.example.com"
BIN = os.environ.get("FAIRLEAD_FILE_DRIVER", f"{SOURCE}/build/file-driver/file-driver")


@pytest.fixture(scope="module")
def file_driver(cluster):
    """Installed by the example's own manifests."""
    if not os.access(BIN, os.X_OK):
        pytest.skip(f"{BIN} is not built; ./check --cluster does it")
    cluster.make_image("localhost/file-driver:test", "--program", BIN, "--entrypoint", "/usr/bin/file-driver")
    with open(f"{SOURCE}/examples/file-driver/kubernetes.yaml", encoding="utf-8") as file:
        text = file.read().replace("localhost/file-driver:0.1.0", "localhost/file-driver:test")
    cluster.kubectl("apply", "-f", "-", stdin=text)
    cluster.api.apply({"kind": "DeviceClass", "metadata": {"name": "file-resource"}, "spec": {"selectors": [{"cel": {"expression": f'device.driver == "{DRIVER}"'}}]}})

    def slices():
        return cluster.api.list("ResourceSlice", fieldSelector=f"spec.driver={DRIVER},spec.nodeName={NODE}")
    eventually(slices, 60, "the file driver's slices are published")
    yield
    cluster.kubectl("delete", "--wait=true", "--ignore-not-found", "-f", "-", stdin=text, timeout=90)
    eventually(lambda: not slices(), 60, "the kubelet removes the slices of a driver that is gone")


def lines(cluster):
    with open(cluster.path("/etc/dra/file1"), encoding="utf-8") as file:
        return file.read().splitlines()


def test_the_examples_manifests_run(cluster, ns, file_driver):
    """Three pods share one file; each finds its own name in it."""
    with open(f"{SOURCE}/examples/manifests/file-driver.yaml", encoding="utf-8") as file:
        objects = list(yaml.safe_load_all(file))
    for deployment in (o for o in objects if o["kind"] == "Deployment"):
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        container["imagePullPolicy"] = "IfNotPresent"
        container["command"][-1] += "; exec pause"  # in a Deployment a pod that ends is started again
    ns.apply_file(yaml.safe_dump_all(objects))

    def three_found():
        pods = ns.pods()
        return len(pods) == 3 and all(f"found {p['metadata']['name']}" in cluster.kubectl("-n", ns.name, "logs", p["metadata"]["name"]) for p in pods)
    eventually(three_found, 60, "three pods found their names", interval=0.5)
    names = {p["metadata"]["name"] for p in ns.pods()}
    assert {line.split()[0] for line in lines(cluster)} == names
    ns.remove()
    assert lines(cluster) == []


def test_one_pod_claims_from_both_drivers(cluster, ns, file_driver):
    ns.create(template("net", parameters=netdev("macvlan", "data0", master="eth0", addresses=["192.0.2.20/24"])),
              {"kind": "ResourceClaimTemplate", "metadata": {"name": "file"}, "spec": {"spec": {"devices": {"requests": [
                  {"name": "file", "exactly": {"deviceClassName": "file-resource"}}]}}}},
              pod("both", templates=["net", "file"]))
    ns.wait_running("both")
    assert "data0" in ns.links("both")
    assert ns.exec("both", "cat", "/etc/dra/file1").startswith("both ")
    ns.delete_pod("both")
    assert lines(cluster) == []


def test_one_claim_asks_both_drivers(cluster, ns, file_driver):
    """Each driver prepares its own devices of the claim and ignores the other's."""
    spec = {"devices": {"requests": [{"name": "nic", "exactly": {"deviceClassName": "virtual.dra.example.com"}},
                                     {"name": "file", "exactly": {"deviceClassName": "file-resource"}}],
                        "config": [{"requests": ["nic"], "opaque": {"driver": "dra.example.com", "parameters": netdev("veth", "data0")}}]}}
    ns.create({"kind": "ResourceClaimTemplate", "metadata": {"name": "mixed"}, "spec": {"spec": spec}}, pod("mixed", templates=["mixed"]))
    ns.wait_running("mixed")
    assert "data0" in ns.links("mixed")
    assert ns.exec("mixed", "cat", "/etc/dra/file1").startswith("mixed ")


def test_one_driver_fails_while_the_other_succeeds_and_the_pod_runs_when_both_can(cluster, ns, file_driver, late_link):
    ns.create(template("net", parameters=netdev("macvlan", "data0", master="late0")),
              {"kind": "ResourceClaimTemplate", "metadata": {"name": "file"}, "spec": {"spec": {"devices": {"requests": [
                  {"name": "file", "exactly": {"deviceClassName": "file-resource"}}]}}}},
              pod("both", templates=["net", "file"]))
    ns.wait_message("both", "late0")
    late_link()
    ns.wait_running("both")
    assert "data0" in ns.links("both")
    assert [line.split()[0] for line in lines(cluster)] == ["both"], "prepared again, and still one line"
    ns.delete_pod("both")
    assert lines(cluster) == []
