# SPDX-License-Identifier: Apache-2.0
"""The node loses what a reboot takes: processes, network namespaces, links that were made, /run. The kubelet's state stays."""
import contextlib
import os
import signal

from cluster import eventually
from workload import identity, netdev, pod, template, watched


def reboot(cluster):
    cluster.kubelet.kill()
    cluster.containerd.kill()

    def all_dead():
        """Shims, sandboxes, containers, the agent. The control plane stands for another node's."""
        left = cluster.pod_processes()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left
    eventually(all_dead, 20, "all processes of the node are dead")
    cluster.run("sh", "-c", """
        awk '$5 ~ "^/run/|^/var/lib/kubelet/pods/|^/var/lib/containerd/" && $5 != "/run/netns" { print $5 }' /proc/self/mountinfo | sort -r |
          while read -r point; do umount -l "$point"; done
        find /run -mindepth 1 -maxdepth 1 ! -name netns -exec rm -rf {} +
        find /run/netns -mindepth 1 -delete
        mkdir -p /run/cdi /run/lock
        rm -rf /var/lib/cni
        ip link del cni0""")
    eventually(lambda: not [link for link in cluster.links() if link.startswith("veth")], 20, "the pods' network namespaces are gone")
    cluster.containerd.start()
    cluster.kubelet.start()


def test_pod_has_its_interfaces_again_after_a_reboot_of_the_node(cluster, fairlead, ns):
    ns.create(template("data", parameters=netdev("macvlan", "data0", master="eth0", addresses=["192.0.2.50/24"])),
              template("ctrl", parameters=netdev("veth", "ctrl0")), watched(pod("it", templates=["data", "ctrl"]), "data0", "ctrl0"))
    ns.wait_running("it")
    before = ns.links("it")["data0"]
    records = fairlead.records()
    assert len(records) == 2

    reboot(cluster)

    def runs_again():
        status = ns.running("it")["status"]["containerStatuses"][0]
        assert status["restartCount"] >= 1, "the kubelet has not seen yet that it ended"
        return True
    eventually(runs_again, 120, "the pod runs again")
    links = ns.links("it")
    assert {"lo", "eth0", "data0", "ctrl0"} == set(links)
    assert identity(links["data0"])["addresses"] == identity(before)["addresses"]
    fairlead.wait_ready()
    assert fairlead.records() == records, "the same claims, prepared anew"
