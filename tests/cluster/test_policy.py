# SPDX-License-Identifier: Apache-2.0
"""The manifest as it ships: claims are at level baseline. The other tests run at privileged (install.py)."""
import pytest
import yaml
from install import MANIFEST, container_env
from workload import netdev, pod, template


def shipped_level():
    with open(MANIFEST, encoding="utf-8") as file:
        daemonset = next(o for o in yaml.safe_load_all(file) if o and o["kind"] == "DaemonSet")
    return next(entry["value"] for entry in container_env(daemonset) if entry["name"] == "POLICY")


@pytest.fixture(scope="module", autouse=True)
def shipped(fairlead):
    fairlead.set_environment(POLICY=shipped_level())
    yield
    fairlead.set_environment(POLICY="privileged")


def test_a_parent_of_the_claim_is_refused_with_what_would_allow_it(ns):
    ns.create(template("data", parameters=netdev("macvlan", "data0", master="eth0")), pod("it", templates=["data"]))
    message = ns.wait_message("it", "FailedPrepareDynamicResources")
    assert "opaque.parameters.netdev.master: a claim of namespace" in message
    assert "may not write it at level baseline (risk: node); leave it out, or ask your admin for a DeviceClass" in message


def test_what_concerns_the_pod_alone_is_accepted(cluster, ns):
    try:
        cluster.run("unshare", "-n", "ip", "link", "add", "probe", "type", "dummy")
    except AssertionError:
        pytest.skip("this kernel has no dummy links")
    ns.create(template("data", parameters=netdev("dummy", "data0", mtu=1400)), pod("it", templates=["data"]))
    ns.wait_running("it")
