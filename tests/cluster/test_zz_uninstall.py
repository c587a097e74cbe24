# SPDX-License-Identifier: Apache-2.0
"""The last of all tests: fairlead is taken away again."""
from cluster import eventually


def test_uninstall_leaves_nothing(cluster, fairlead):
    fairlead.uninstall()
    try:
        eventually(lambda: not fairlead.processes(), 60, "no agent runs")
        eventually(lambda: not fairlead.slices(), 90, "the slices are gone")
        assert fairlead.registration_sockets() == []
        assert fairlead.records() == [] and fairlead.cdi_files() == []
        assert cluster.run("find", f"/var/lib/kubelet/plugins/{fairlead.driver}", check=False) == ""
        assert cluster.run("find", f"/run/{fairlead.driver}", "-mindepth", "1") == ""
        for kind in ("ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "DeviceClass"):
            names = [o["metadata"]["name"] for o in cluster.api.list(kind) if "fairlead" in o["metadata"]["name"] or fairlead.driver in o["metadata"]["name"]]
            assert names in ([], ["file.dra.example.com"]), kind
        assert cluster.api.get("Namespace", "fairlead") is None
    finally:
        fairlead.install()
