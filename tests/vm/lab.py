# SPDX-License-Identifier: Apache-2.0
"""What the tests in the guest work with: drydock runs with fairlead as a driver, confined as its DaemonSet is, and NICs of the guest."""
import json
import os
import shutil

import yaml

from guest import SOURCE, eventually
from manifests import DRIVER, claim_spec, netdev, pod, template  # noqa: F401 (for the tests)

BIN = os.environ.get("FAIRLEAD_BIN", f"{SOURCE}/build/release/bin")
CLASS = "network-devices"
# What the runtime waits for an NRI plugin. A guest without hardware acceleration needs seconds to move a NIC when its host is busy.
PATIENCE = "20s"
KIND = f'device.attributes["{DRIVER}"].kind'


def device_class():
    return {"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": CLASS},
            "spec": {"selectors": [{"cel": {"expression": f'device.driver == "{DRIVER}"'}}]}}


def select(attribute, value, kind="host-device"):
    """A selector of one device by an attribute of ours, or by a qualified one such as resource.kubernetes.io/pciBusID."""
    domain, _, name = attribute.rpartition("/")
    value = json.dumps(value)
    return f'{KIND} == "{kind}" && device.attributes["{domain or DRIVER}"].{name} == {value}'


def by_address(address):
    return select("resource.kubernetes.io/pciBusID", address)


def whole(*objects):
    """As YAML, with the API versions that the helpers leave out."""
    versions = {"ResourceClaimTemplate": "resource.k8s.io/v1", "ResourceClaim": "resource.k8s.io/v1", "Pod": "v1"}
    return yaml.safe_dump_all([{"apiVersion": versions.get(o["kind"], "v1"), **o} for o in (device_class(), *objects)], sort_keys=False)


def virtual(name, parameters):
    return template(name, parameters=parameters, device_class=CLASS, selector=f'{KIND} == "virtual"')


def nic(name, address, parameters=None):
    return template(name, parameters=parameters, device_class=CLASS, selector=by_address(address))


class Shared:
    """A folder of the guest that a pod has as /shared: its container writes what it sees there, and waits there for the test."""

    def __init__(self, guest, name):
        self._guest, self.name = guest, name
        self.here = f"{guest.share}/{name}"
        self.in_guest = f"/out/{name}"
        shutil.rmtree(self.here, ignore_errors=True)
        os.makedirs(self.here)
        os.chmod(self.here, 0o777)

    def has(self, file):
        return os.path.exists(f"{self.here}/{file}")

    def links(self, file="links"):
        """{name: link} as the container saw them, from `ip -details -json address`."""
        with open(f"{self.here}/{file}", encoding="utf-8") as text:
            return {link["ifname"]: link for link in json.load(text)}

    def go(self, word="go"):
        with open(f"{self.here}/{word}", "w", encoding="ascii"):
            pass


LOOK = "ip -details -json address >/shared/links.partial; mv /shared/links.partial /shared/links"


def watching_pod(shared, templates, script=LOOK, wait=False, restart="Never", **spec):
    """Its container runs `script`; with `wait` it goes on until the test says go()."""
    if wait:
        script += "; while [ ! -e /shared/go ]; do sleep 0.3; done"
    body = pod(shared.name, templates=templates, command=("sh", "-ec", script), **spec)
    body["spec"]["restartPolicy"] = restart
    body["spec"]["volumes"] = [{"name": "shared", "hostPath": {"path": shared.in_guest}}]
    for container in body["spec"]["containers"]:
        container["volumeMounts"] = [{"name": "shared", "mountPath": "/shared"}]
        container["securityContext"] = {"capabilities": {"add": ["NET_ADMIN"]}}
    return body


class Drydock:
    """One run of drydock in the guest."""

    def __init__(self, guest, manifest, lend=(), flags=(), driver_flags="", confine=True, environment=None):
        self.guest = guest
        self._folder = f"{guest.share}/run"
        os.makedirs(self._folder, exist_ok=True)
        with open(f"{self._folder}/manifest.yaml", "w", encoding="utf-8") as file:
            file.write(manifest)
        argv = [f"{BIN}/drydock", "run", "-f", "/out/run/manifest.yaml", "--driver", self._driver(driver_flags, confine, environment or {}),
                "--show-log", "claim attached", "--grace", "1s", "--timeout", "150s", "--nri-request-timeout", PATIENCE,
                *flags]
        for name in lend:
            argv += ["--lend", name]
        if confine:
            argv += ["--confine", "/out/run/daemonset.yaml"]
        self.process = guest.popen(*argv)
        self.process.close_input()

    def _driver(self, flags, confine, environment):
        install = ""
        if confine:
            with open(f"{SOURCE}/deploy/kubernetes/fairlead.yaml", encoding="utf-8") as file:
                text = file.read().replace("net.fairlead.dev", DRIVER)
            with open(f"{self._folder}/daemonset.yaml", "w", encoding="utf-8") as file:
                file.write(text)
            install = "--install-guard"
        words = "".join(f"{name}={value} " for name, value in environment.items())
        return (f"{words}exec {BIN}/fairlead --policy privileged --driver-name {DRIVER} --kubeconfig {{kubeconfig}} --node-name {{node}} --registry-dir {{registry}} "
                f"--plugin-dir {{plugins}}/{DRIVER} --cdi-dir {{cdi}} --nri-socket {{nri}} --state-dir {{state}} {install} {flags}")

    def end(self, timeout=180):
        """Waits for its end: its whole output."""
        self.process.wait(timeout)
        with open(f"{self._folder}/output.txt", "w", encoding="utf-8") as file:
            file.write(self.process.text())
        return self.process.text()

    def wait(self, timeout=180, status=0):
        """The same; an AssertionError with the output unless drydock exits with the status."""
        text = self.end(timeout)
        assert self.process.status == status, f"drydock: exit status {self.process.status}, not {status}\n{text}"
        return text

    def until(self, condition, what, timeout=90):
        """Waits for something of the pod; drydock must not end before."""
        def met():
            if condition():
                return True
            if self.process.poll() is not None and not condition():
                raise Ended(f"drydock ended before {what}: status {self.process.status}\n{self.process.text()}")
            return False
        try:
            eventually(met, timeout, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.process.text()}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()


class Ended(Exception):
    """Not an AssertionError: waiting longer does not help."""


def run(guest, manifest, **how):
    with Drydock(guest, manifest, **how) as drydock:
        return drydock.wait()


def state_of(guest, address):
    """The link of a PCI function in the machine's namespace, as far as it must be restored: name, MAC, MTU, up or down, alias, altnames,
    permanent addresses."""
    name = guest.netdev(address)
    assert name, f"the link of {address} is not in the machine's namespace"
    return home(guest.links()[name])


def home(link):
    return {"name": link["ifname"], "mac": link["address"], "permanent mac": link.get("permaddr", link["address"]), "mtu": link["mtu"],
            "up": "UP" in link["flags"], "alias": link.get("ifalias"), "altnames": sorted(link.get("altnames", [])), "promiscuity": link["promiscuity"],
            "addresses": addresses_of(link)}


def addresses_of(link):
    """Without link-local ones."""
    return sorted(f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global")
