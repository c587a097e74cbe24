# SPDX-License-Identifier: Apache-2.0
"""The test cluster is a guest on this machine: whatever happens to its process, nothing of it stays."""
import os
import subprocess
import sys

import cluster as harness
from cluster import Cgroups, cgroup_name, eventually

HALF_A_CLUSTER = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from cluster import Cluster
it = Cluster()
it._make_namespaces()
it._write_settings()
it._define_components()
it.containerd.start()
print(it.folder, it.init_pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_leaves_no_process_and_the_next_removes_its_files():
    run = subprocess.run([sys.executable, "-c", HALF_A_CLUSTER, harness.HERE], stdout=subprocess.PIPE, text=True)
    folder, init_pid = run.stdout.split()
    cgroups = Cgroups(cgroup_name(folder))
    eventually(lambda: not os.path.exists(f"/proc/{init_pid}") and not cgroups.processes(), 20, "the kernel ended all of it")
    assert os.path.exists(folder)
    harness.sweep()
    assert not os.path.exists(folder)
    assert not any(os.path.exists(cgroup) for cgroup in cgroups.folders)


def test_the_machines_own_links_and_mounts_are_not_the_nodes(cluster):
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        assert cluster.folder not in mounts.read()
    own = os.listdir("/sys/class/net")
    assert "cni0" not in own and "nic0" not in own
