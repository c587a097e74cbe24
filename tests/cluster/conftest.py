# SPDX-License-Identifier: Apache-2.0
"""One cluster and one fairlead for the whole session; a namespace of its own for each test; what is needed to see why, on failure."""
import hashlib
import os
import re
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import SOURCE, Cluster, eventually, say  # noqa: E402
from install import Fairlead  # noqa: E402
from workload import Namespace, ran_without  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--kubernetes", help="the version to build and run, such as 1.34.4")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    it = item.funcargs.get("cluster") if hasattr(item, "funcargs") else None
    if report.failed and it is not None:  # now, before the fixtures clear up
        keep_logs(it, item.name, getattr(item, "log_sizes", {}))
        item.failed = True


def make_nics(cluster):
    """Two links that count as NICs of the node (the flag --host-devices nic*), each with its other end beside it."""
    for number in (0, 1):
        cluster.run("ip", "link", "add", f"nic{number}", "type", "veth", "peer", "name", f"peer{number}")
        cluster.run("ip", "link", "set", f"peer{number}", "up")
        cluster.run("ip", "address", "add", f"198.51.100.{number + 1}/24", "dev", f"nic{number}")
        cluster.run("ip", "link", "set", f"nic{number}", "up", "mtu", "1400")


@pytest.fixture(scope="session")
def cluster(request):
    with Cluster(kubernetes=request.config.getoption("--kubernetes")) as it:
        try:
            it.start()
            make_nics(it)
        except BaseException:
            keep_logs(it, "start", {})
            raise
        yield it


@pytest.fixture(scope="session")
def fairlead(cluster):
    driver = Fairlead(cluster)
    try:
        driver.install()
    except BaseException:
        keep_logs(cluster, "install", {})
        raise
    return driver


def log_sizes(cluster):
    return {c.name: os.path.getsize(c.log) for c in cluster.components() if c and os.path.exists(c.log)}


def keep_logs(cluster, test, since):
    """Everything that helps to see why, from the test's beginning on: build/logs/cluster/<test>/"""
    folder = f"{SOURCE}/build/logs/cluster/{re.sub('[^A-Za-z0-9_.-]', '-', test)}"
    if not os.path.exists(f"/proc/{cluster.init_pid}"):
        return  # a fixture failed when the cluster had ended
    os.makedirs(folder, exist_ok=True)
    for component in cluster.components():
        if component and os.path.exists(component.log):
            with open(component.log, "rb") as log, open(f"{folder}/{component.name}.log", "wb") as copy:
                log.seek(since.get(component.name, 0))
                copy.write(log.read())
    looks = {
        "get": "get all,resourceslices,resourceclaims,resourceclaimtemplates -A -o wide",
        "describe": "describe pods,resourceclaims -A",
        "events": "get events -A --sort-by=.lastTimestamp",
        "slices": "get resourceslices -o yaml",
        "fairlead": "-n fairlead logs -l app.kubernetes.io/name=fairlead --tail=-1 --prefix",
        "fairlead-before": "-n fairlead logs -l app.kubernetes.io/name=fairlead --tail=-1 --prefix --previous",
    }
    for name, arguments in looks.items():
        try:
            text = cluster.kubectl(*arguments.split(), check=False, timeout=20)
        except Exception as error:  # pylint: disable=broad-except; what cannot be had must not end the session
            text = str(error)
        with open(f"{folder}/{name}.txt", "w", encoding="utf-8") as file:
            file.write(text)
    for name, argv in {"links": ["ip", "-details", "address"], "files": ["find", "/run/cdi", "/run/dra.example.com", "/var/lib/kubelet/plugins",
                                                                         "/var/lib/kubelet/plugins_registry"], "processes": ["ps", "-ef"]}.items():
        try:
            text = cluster.run(*argv, check=False, timeout=20)
        except Exception as error:  # pylint: disable=broad-except
            text = str(error)
        with open(f"{folder}/{name}.txt", "w", encoding="utf-8") as file:
            file.write(text)
    say(f"logs of {test}: {folder}")


@pytest.fixture(autouse=True)
def next_test_begins_with_everything_running(request, cluster):
    request.node.log_sizes = log_sizes(cluster)
    request.node.failed = False
    yield
    if request.node.failed:
        restore(cluster)


def restore(cluster):
    for component in cluster.components():
        if not component.running():
            component.start()
        component.thaw()
    eventually(cluster.node_ready, 60, "the node is Ready again")


@pytest.fixture
def ns(request, cluster, fairlead):
    """A namespace; when the test is over its pods are deleted, and the node must be as it was before."""
    stem = re.sub("[^a-z0-9]+", "-", request.node.name.lower().removeprefix("test_"))[:40].strip("-")
    name = f"{stem}-{hashlib.sha256(request.node.name.encode()).hexdigest()[:6]}"
    links = set(cluster.links())
    cluster.api.create({"kind": "Namespace", "metadata": {"name": name}})
    eventually(lambda: cluster.api.get("ServiceAccount", "default", name), 30, "the namespace's service account")
    space = Namespace(cluster, name)
    yield space
    space.remove()
    fairlead.wait_clean()
    assert not ran_without(cluster), "a container ran without its interface"

    def links_are_back():
        now = {link for link in cluster.links() if not link.startswith("veth")}  # CNI's own come and go
        before = {link for link in links if not link.startswith("veth")} | {"cni0"}
        assert now | {"cni0"} == before, f"links of the node: {sorted(now ^ before)} differ"
        return True
    eventually(links_are_back, 20, "the node's links are as before")


@pytest.fixture
def late_link(cluster):
    """A parent that is not there yet: late_link() makes it."""
    yield lambda: cluster.run("ip", "link", "add", "late0", "type", "veth", "peer", "name", "late1")
    cluster.run("ip", "link", "del", "late0", check=False)
