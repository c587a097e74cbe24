# SPDX-License-Identifier: Apache-2.0
"""What people see in the API server: the status of claims, events at pods, metrics."""
import json
import re

import pytest

from cluster import eventually
from workload import DRIVER, addresses, netdev, pod, template

MACVLAN = netdev("macvlan", "data0", master="eth0", mode="bridge", addresses=["192.0.2.30/24", "2001:db8::30/64"])


def metrics(cluster):
    """Name with labels -> value, of the one agent."""
    text = cluster.run("curl", "-sf", "http://127.0.0.1:9095/metrics")
    return {k: float(v) for k, v in re.findall(r"^(fairlead_\S+) (\S+)$", text, re.MULTILINE)}


def count(cluster, name, *labels):
    return sum(v for k, v in metrics(cluster).items() if k.startswith(name + "{") and all(label in k for label in labels))


def own_entries(ns):
    """The claim that is there, and our entries in its status."""
    found = ns.claims()
    assert len(found) == 1, f"{len(found)} claims"
    return found[0], [d for d in found[0]["status"].get("devices", []) if d["driver"] == DRIVER]


def ready_entry(ns):
    claim, entries = own_entries(ns)
    assert entries and entries[0]["conditions"][0]["status"] == "True", f"the status has {entries}"
    return claim, entries[0]


@pytest.mark.parametrize("writer", ["kubectl", "another-client"])
def test_the_claims_status_says_what_the_pod_has(ns, writer):
    """Opaque parameters keep the form in which they were written, and the API server refuses any write of a status that changes it: kubectl's
    survives a server-side apply, that of other clients (spaces, keys in their own order) does not."""
    if writer == "kubectl":
        ns.apply_file(json.dumps({"apiVersion": "resource.k8s.io/v1", **template("data", parameters=MACVLAN)}))
    else:
        ns.create(template("data", parameters=MACVLAN))
    ns.create(pod("it", templates=["data"]))
    ns.wait_running("it")
    claim, entry = eventually(lambda: ready_entry(ns), 10, "the claim's status says Ready")
    link = ns.links("it")["data0"]
    assert entry["conditions"][0]["type"] == "Ready"
    assert entry["networkData"] == {"interfaceName": "data0", "ips": addresses(link), "hardwareAddress": link["address"]}
    owner = [f for f in claim["metadata"]["managedFields"] if f.get("manager") == DRIVER]
    assert [(f["operation"], f.get("subresource")) for f in owner] == [("Apply" if writer == "kubectl" else "Update", "status")]


def test_an_agent_that_starts_again_writes_no_status_that_stands_already(cluster, fairlead, ns):
    ns.create(template("data", parameters=MACVLAN), pod("it", templates=["data"]))
    ns.wait_running("it")
    before, _ = eventually(lambda: ready_entry(ns), 10, "the claim's status says Ready")
    fairlead.kill()
    fairlead.wait_ready()
    eventually(lambda: count(cluster, "fairlead_dra_kube_requests_total", 'verb="get"', 'resource="resourceclaims"') >= 1, 30, "it has compared the status")
    assert count(cluster, "fairlead_dra_status_writes_total") == 0
    after, _ = ready_entry(ns)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_what_the_pods_author_can_mend_is_told_in_an_event_of_the_driver(cluster, ns):
    ns.create(template("data", parameters=netdev("macvlan", "data0", master="nowhere0")), pod("it", templates=["data"]))

    def told():
        events = [e for e in cluster.api.list("Event", ns.name, fieldSelector="involvedObject.name=it") if e["source"].get("component") == DRIVER]
        assert len(events) == 1, f"it has {[(e['message'], e['count']) for e in events]}"
        return events[0]
    event = eventually(told, 60, "there is one event of the driver")
    assert event["reason"] == "FailedPrepareClaim" and "nowhere0" in event["message"] and event["type"] == "Warning"
    assert event["involvedObject"]["uid"] == ns.pod("it")["metadata"]["uid"]


def test_metrics_tell_of_attach_and_of_requests(cluster, ns):
    before = count(cluster, "fairlead_dra_operation_duration_seconds_count", 'operation="attach"')
    ns.create(template("data", parameters=MACVLAN), pod("it", templates=["data"]))
    ns.wait_running("it")
    assert count(cluster, "fairlead_dra_operation_duration_seconds_count", 'operation="attach"') > before
    eventually(lambda: count(cluster, "fairlead_dra_status_writes_total", 'result="ok"') >= 1, 10, "a status was written")
    assert count(cluster, "fairlead_dra_kube_request_duration_seconds_count", 'verb="patch"', 'resource="resourceclaims"') >= 1
