# SPDX-License-Identifier: Apache-2.0
"""Many pods: what they leave is nothing."""
from cluster import eventually, say
from workload import netdev, pod, template

PODS, AT_ONCE = 100, 10


def test_100_pods_with_two_interfaces_come_and_go(cluster, fairlead, ns):
    """Each ends well only if it saw both of its interfaces; one that did not fails the job."""
    ns.create(template("data", parameters=netdev("macvlan", "data0", master="eth0")),
              template("ctrl", parameters=netdev("veth", "ctrl0", addresses=["192.0.2.60/24"])))
    devices, netns = fairlead.devices(), cluster.network_namespaces()
    body = pod("it", templates=["data", "ctrl"], command=["sh", "-c", "ip link show dev data0 && ip link show dev ctrl0"])
    body["spec"]["restartPolicy"] = "Never"
    ns.create({"kind": "Job", "metadata": {"name": "many"}, "spec": {
        "completions": PODS, "parallelism": AT_ONCE, "backoffLimit": 0, "template": {"spec": body["spec"]}}})

    def finished():
        status = cluster.api.get("Job", "many", ns.name)["status"]
        assert not status.get("failed"), status
        assert status.get("succeeded") == PODS, status
        return True
    eventually(finished, 300, f"{PODS} pods ran", interval=0.5)
    cluster.api.delete("Job", "many", ns.name)
    eventually(lambda: not ns.pods(), 60, "the pods are gone")
    fairlead.wait_clean()
    assert fairlead.devices() == devices
    eventually(lambda: cluster.network_namespaces() == netns, 30, "the pods' network namespaces are gone")
    say(f"the agent's memory after {PODS} pods: {fairlead.resident_mib():.1f} MiB")
