# SPDX-License-Identifier: Apache-2.0
"""Kubernetes objects for the tests on a real cluster and in the virtual machine: claims, templates, pods."""

DRIVER = "dra.example.com"
VIRTUAL, NIC = f"virtual.{DRIVER}", f"nic.{DRIVER}"  # the classes of deploy/kubernetes/fairlead.yaml


def netdev(kind, interface_name=None, **fields):
    """Parameters of a claim: netdev("macvlan", "data0", master="eth0", addresses=["192.0.2.10/24"])"""
    parameters = {"kind": kind, **fields}
    if interface_name:
        parameters["interfaceName"] = interface_name
    return {"type": "netdev", "netdev": parameters}


def claim_spec(parameters=None, device_class=VIRTUAL, driver=DRIVER, selector=None, request="nic"):
    exactly = {"deviceClassName": device_class}
    if selector:
        exactly["selectors"] = [{"cel": {"expression": selector}}]
    devices = {"requests": [{"name": request, "exactly": exactly}]}
    if parameters is not None:
        devices["config"] = [{"requests": [request], "opaque": {"driver": driver, "parameters": parameters}}]
    return {"devices": devices}


def template(name, **more):
    return {"kind": "ResourceClaimTemplate", "metadata": {"name": name}, "spec": {"spec": claim_spec(**more)}}


def claim(name, **more):
    return {"kind": "ResourceClaim", "metadata": {"name": name}, "spec": claim_spec(**more)}


def pod(name, templates=(), claims=(), image="iproute2", command=("pause",), containers=1, **spec):
    """Each container uses each claim. `templates`, `claims`: names; the pod's own name for a claim is the same."""
    refs = [{"name": t, "resourceClaimTemplateName": t} for t in templates] + [{"name": c, "resourceClaimName": c} for c in claims]
    return {"kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": {
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 2, "resourceClaims": refs,
        "containers": [{"name": f"c{i}", "image": image, "imagePullPolicy": "IfNotPresent", "command": list(command),
                        "resources": {"claims": [{"name": r["name"]} for r in refs]}} for i in range(containers)], **spec}}
