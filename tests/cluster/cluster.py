# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes of one node, as plain processes: etcd, API server, controller-manager, scheduler, containerd, kubelet.

Everything lives in one folder and in namespaces of its own (mount, network, pid, cgroup ...): the node's root folder is
<folder>/root, and when its first process ends the kernel ends all others. Nothing of the machine is written.

  with Cluster() as cluster:
      cluster.start()
      cluster.api.list("Node")
"""
import contextlib
import ctypes
import fcntl
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import kube_api

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.dirname(HERE))  # what all tiers share
import waiting  # noqa: E402

SOURCE = os.path.dirname(os.path.dirname(HERE))
NODE = "node1"
NODE_ADDRESS = "10.99.0.2"
API_ADDRESS = "10.0.0.1"  # of the Service `kubernetes`
POD_RANGE = "10.88.0.0/16"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def eventually(condition, timeout=30.0, what=None, interval=0.1):
    """waiting.eventually, for a cluster whose API server may be restarting."""
    return waiting.eventually(condition, timeout, what, interval, also=(OSError, kube_api.ApiError))


class Component:
    """One process of the cluster. Its output goes to <folder>/logs/<name>.log, over all its lives."""

    def __init__(self, cluster, name, argv, ready=None, environment=None):
        self._cluster, self.name, self._argv, self._ready = cluster, name, argv, ready
        self._environment = environment or {}
        self._outer = None  # nsenter; the program itself is its child
        self.pid = None
        self.log = f"{cluster.folder}/logs/{name}.log"

    def start(self, wait=True):
        assert not self.running(), f"{self.name} runs already"
        with open(self.log, "ab") as log:
            self._outer = self._cluster.popen(self._argv, stdout=log, stderr=log, environment=self._environment)
        self.pid = eventually(lambda: _only_child(self._outer), 10, f"{self.name} starts")
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout=90):
        if self._ready:
            def ready():
                assert self.running(), f"{self.name} ended; its last words: {tail(self.log, 5)}"
                return self._ready()
            eventually(ready, timeout, f"{self.name} is ready ({self.log})")

    def running(self):
        return self._outer is not None and self._outer.poll() is None

    def pids(self):
        return {self._outer.pid, self.pid} if self.running() else set()

    def stop(self, timeout=20):
        """As systemd does: SIGTERM, and SIGKILL when that takes too long."""
        if not self.running():
            return
        self._signal(signal.SIGTERM)
        try:
            self._outer.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self):
        if self.running():
            self._signal(signal.SIGKILL)
            self._outer.wait(10)

    def restart(self, wait=True):
        self.stop()
        self.start(wait)

    def freeze(self):
        """It exists and answers nothing, until thaw()."""
        self._signal(signal.SIGSTOP)

    def thaw(self):
        self._signal(signal.SIGCONT)

    def _signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def tail(path, lines):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-lines:])
    except OSError as error:
        return str(error)


def _only_child(process):
    """The pid of nsenter's child; None before it is there."""
    assert process.poll() is None, f"ended at once with status {process.returncode}"
    try:
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as children:
            pids = children.read().split()
    except FileNotFoundError:
        return None
    return int(pids[0]) if pids else None


class Cgroups:
    """One cgroup in each hierarchy of this machine, below the one we are in, where the whole cluster lives."""

    def __init__(self, name):
        self.folders = []
        points = {}
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            for line in mounts:
                left, right = line.split(" - ")
                kind, _, options = right.split()[:3]
                root, point = left.split()[3:5]
                if kind == "cgroup2":
                    points[""] = (point, root)
                elif kind == "cgroup":
                    for option in options.split(","):
                        points[option] = (point, root)
        with open("/proc/self/cgroup", encoding="utf-8") as mine:
            for line in mine:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                point, root = points.get(controllers.split(",")[0], (None, None))
                if point is None:
                    continue
                below = os.path.relpath(path, root) if root != "/" else path.lstrip("/")
                self.folders.append(os.path.normpath(os.path.join(point, below, name)))

    def make(self):
        for folder in self.folders:
            os.makedirs(folder, exist_ok=True)
            for file in ("cpuset.cpus", "cpuset.mems"):  # a new cpuset of cgroup v1 is empty and takes nobody
                path = f"{folder}/{file}"
                if os.path.exists(path) and os.path.exists(f"{folder}/tasks"):
                    with open(f"{os.path.dirname(folder)}/{file}", encoding="ascii") as source, open(path, "w", encoding="ascii") as target:
                        target.write(source.read())

    def enter(self):
        """Puts the calling process there; for the time between fork and exec."""
        for folder in self.folders:
            if os.path.exists(f"{folder}/node/cgroup.procs"):
                folder += "/node"  # cgroup v2: no process beside children with controllers
            with open(f"{folder}/cgroup.procs", "w", encoding="ascii") as procs:
                procs.write("0")

    def processes(self):
        found = set()
        for folder in self.folders:
            for where, _, files in os.walk(folder):
                if "cgroup.procs" in files:
                    with contextlib.suppress(OSError), open(f"{where}/cgroup.procs", encoding="ascii") as procs:
                        found.update(int(pid) for pid in procs.read().split())
        return found

    def remove(self):
        """What is left in them is ended; the kernel takes a moment to let go of the dead."""
        def gone():
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for folder in self.folders:
                for where, _, _ in os.walk(folder, topdown=False):
                    with contextlib.suppress(FileNotFoundError):
                        os.rmdir(where)
            return True
        eventually(gone, 20, "the cluster's cgroups are removed")


def programs_folder(kubernetes=None):
    """Builds Kubernetes unless it is there."""
    command = [f"{HERE}/kubernetes.sh"] + (["--kubernetes", kubernetes] if kubernetes else [])
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split("\n")[-2]


def sweep():
    """Removes what clusters left whose process was killed: folders (with the cgroups) whose lock nobody holds."""
    for lock in glob.glob("/var/tmp/fairlead-cluster-*/lock"):
        with contextlib.suppress(OSError), open(lock, "w", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder = os.path.dirname(lock)
            say(f"removing {folder}, left by a killed run")
            Cgroups(cgroup_name(folder)).remove()
            shutil.rmtree(folder)


def cgroup_name(folder):
    return "fairlead-cluster-" + os.path.basename(folder).removeprefix("fairlead-cluster-")


class Cluster:
    def __init__(self, folder=None, kubernetes=None, keep=False):
        """`keep`: the cluster outlives this process (tests/cluster/up); else it ends with it, even with kill -9."""
        self.programs = programs_folder(kubernetes)
        self.kubernetes = re.search(r"/k([0-9.]+)-", self.programs).group(1)
        self.folder = os.path.abspath(folder) if folder else tempfile.mkdtemp(prefix="fairlead-cluster-", dir="/var/tmp")
        self.root = f"{self.folder}/root"
        self._keep = keep
        os.makedirs(self.folder, exist_ok=True)
        if not keep:
            self._lock = open(f"{self.folder}/lock.new", "w", encoding="ascii")  # held for as long as we live; see sweep()
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            os.rename(f"{self.folder}/lock.new", f"{self.folder}/lock")  # never there without being held
        os.makedirs(f"{self.folder}/logs", exist_ok=True)
        os.makedirs(f"{self.folder}/pki", exist_ok=True)
        os.makedirs(self.root, exist_ok=True)
        self._cgroups = Cgroups(cgroup_name(self.folder))
        self._holder = None
        self.init_pid = None  # the node's first process, as this machine numbers it
        self.api = None
        self.etcd = self.apiserver = self.controller_manager = self.scheduler = self.containerd = self.kubelet = None

    @staticmethod
    def attach(folder):
        """To a cluster that another process keeps (tests/cluster/up): its API and its node, not its components."""
        cluster = Cluster(folder, keep=True)
        with open(f"{cluster.folder}/init.pid", encoding="ascii") as file:
            cluster.init_pid = int(file.read())
        cluster._connect()
        return cluster

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.destroy()

    # --- life ---------------------------------------------------------------------------------------------------------------

    def start(self):
        """To a node that is Ready."""
        began = time.monotonic()
        sweep()
        self._make_namespaces()
        self._make_certificates()
        self._connect()
        self._write_settings()
        self._define_components()
        self.etcd.start(wait=False)
        self.apiserver.start(wait=False)
        self.containerd.start(wait=False)
        self.containerd.wait_ready()
        images = threading.Thread(target=self._import_own_images)
        images.start()
        self.apiserver.wait_ready()
        say(f"API server ready after {time.monotonic() - began:.1f} s")
        self.controller_manager.start()
        self.scheduler.start()
        images.join()
        self.kubelet.start()
        eventually(self.node_ready, 60, "the node is Ready")
        eventually(lambda: self.api.get("ServiceAccount", "default", "default"), 30, "the service account default/default")
        say(f"Kubernetes {self.kubernetes}: node Ready after {time.monotonic() - began:.1f} s ({self.folder})")

    def destroy(self):
        """Ends every process, whatever state it is in, and removes all that was made."""
        if self._holder is not None or self.init_pid is not None:
            with contextlib.suppress(ProcessLookupError, TypeError):
                os.kill(self.init_pid, signal.SIGKILL)  # and the kernel kills all of its pid namespace
            if self._holder is not None:
                self._holder.wait(20)
        self._cgroups.remove()
        self._holder = self.init_pid = None
        # the mounts went with the namespace; what is left are plain files
        for _ in range(20):
            shutil.rmtree(self.folder, ignore_errors=True)
            if not os.path.exists(self.folder):
                return
            time.sleep(0.1)
        shutil.rmtree(self.folder)

    def _connect(self):
        self.api = kube_api.Api(self.network_namespace, API_ADDRESS, 443, self._pki("ca.crt"), self._pki("admin.crt"), self._pki("admin.key"))

    def _make_namespaces(self):
        self._cgroups.make()
        init = f"{self.folder}/init"
        subprocess.run(["cc", "-Os", "-static", "-s", "-o", init, f"{HERE}/pause.c"], check=True)
        log_path = f"{self.folder}/logs/node.log"
        with open(log_path, "ab") as log:
            self._holder = subprocess.Popen(
                ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--propagation", "private"]
                + ([] if self._keep else ["--kill-child"])
                + ["bash", f"{HERE}/node.sh", self.root, self.programs, init, NODE_ADDRESS, API_ADDRESS],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", preexec_fn=self._before_exec, start_new_session=True)
        def ready():
            assert self._holder.poll() is None, f"the node's first process ended: {tail(log_path, 5)}"
            self.init_pid = _only_child(self._holder)
            if not self.init_pid:
                return False
            with open(f"/proc/{self.init_pid}/comm", encoding="ascii") as comm:
                return comm.read() == "init\n"
        eventually(ready, 20, "the node's namespaces")
        with open(f"{self.folder}/init.pid", "w", encoding="ascii") as file:
            file.write(str(self.init_pid))

    def _before_exec(self):
        if not self._keep:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: when we are killed the cluster goes too
        self._cgroups.enter()

    # --- running programs in it ---------------------------------------------------------------------------------------------

    @property
    def network_namespace(self):
        return f"/proc/{self.init_pid}/ns/net"

    def inside(self, argv, pod_pid=None):
        """The command line that runs `argv` on the node."""
        return ["nsenter", "-t", str(pod_pid or self.init_pid), "-m", "-n", "-p", "-u", "-i", "-C", "--"] + list(argv)

    def popen(self, argv, environment=None, **more):
        env = {"PATH": "/opt/kubernetes:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **(environment or {})}
        return subprocess.Popen(self.inside(argv), stdin=subprocess.DEVNULL, env=env, cwd="/", preexec_fn=self._before_exec, **more)

    def run(self, *argv, check=True, timeout=60, stdin=None):
        """Runs a program on the node; its output as text, with what is not UTF-8 as \\xNN."""
        env = {"PATH": "/opt/kubernetes:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        done = subprocess.run(self.inside(argv), input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL, env=env, cwd="/",
                              capture_output=True, text=True, encoding="utf-8", errors="backslashreplace", timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
        return done.stdout

    def kubectl(self, *argv, **more):
        return self.run("/opt/kubernetes/kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", *argv, **more)

    def ctr(self, *argv, **more):
        return self.run("/opt/kubernetes/ctr", "-a", CONTAINERD_SOCKET, "-n", "k8s.io", *argv, **more)

    def path(self, path):
        """A path of the node, as this machine sees it (/run too, which is a tmpfs in there)."""
        return f"/proc/{self.init_pid}/root{path}"

    def links(self):
        """The node's network interfaces by name, as `ip -json -details link` tells them."""
        return {link["ifname"]: link for link in json.loads(self.run("ip", "-json", "-details", "link"))}

    def network_namespaces(self):
        """Those with a name: pods have one each."""
        return set(os.listdir(self.path("/run/netns")))

    def pod_processes(self):
        """Pids (of this machine) of all that containerd and the kubelet started."""
        ours = {self.init_pid, self._holder.pid if self._holder else None} | {pid for c in self.components() for pid in c.pids()}
        return self._cgroups.processes() - ours

    def processes(self, name):
        """Pids (of this machine) of the cluster's processes whose program has this name."""
        found = []
        for pid in self._cgroups.processes():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8") as comm:
                if comm.read().rstrip("\n") == name[:15]:
                    found.append(pid)
        return found

    # --- images -------------------------------------------------------------------------------------------------------------

    def make_image(self, name, *arguments):
        """tools/make_image.py and import; see there for the arguments."""
        archive = f"{self.root}/var/tmp/{re.sub('[^a-z0-9]', '-', name)}.tar"
        said = subprocess.run(["/usr/bin/python3", f"{SOURCE}/tools/make_image.py", name, archive, *arguments], check=True, stdout=subprocess.PIPE,
                              text=True).stdout
        say(said.rpartition(" as ")[0])
        self.import_image(archive[len(self.root):])
        os.unlink(archive)

    def import_image(self, archive):
        """`archive`: a path of the node."""
        self.ctr("images", "import", "--all-platforms", archive)

    def _import_own_images(self):
        """pause (the sandboxes), busybox, and iproute2: a shell that takes the real `ip` and not busybox's own."""
        init = f"{self.folder}/init"
        self.make_image("localhost/pause:1", "--file", f"{init}=/pause", "--entrypoint", "/pause")
        applets = subprocess.run(["/bin/busybox", "--list"], check=True, capture_output=True, text=True).stdout.split()

        def links(without):
            return [word for applet in applets if applet not in without for word in ("--link", f"/usr/bin/{applet}=busybox")]

        busybox = ["--program", "/bin/busybox", "--file", f"{init}=/usr/bin/pause", "--entrypoint", "/bin/sh"]
        self.make_image("docker.io/library/busybox:latest", *busybox, *links({"busybox"}))
        ip = shutil.which("ip", path="/usr/sbin:/usr/bin:/sbin:/bin")
        self.make_image("docker.io/library/iproute2:latest", *busybox, *links({"busybox", "ip", "sh", "ash"}), "--file", f"{ip}=/usr/bin/ip",
                        "--file", "/bin/dash=/usr/bin/sh")

    # --- settings -----------------------------------------------------------------------------------------------------------

    def _pki(self, name):
        return f"{self.folder}/pki/{name}"

    def _make_certificates(self):
        def openssl(*argv):
            subprocess.run(["openssl", *argv], check=True, cwd=f"{self.folder}/pki", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

        def certificate(name, subject, san=""):
            with open(self._pki(name + ".ext"), "w", encoding="ascii") as extensions:
                extensions.write("extendedKeyUsage=serverAuth,clientAuth\n" + (f"subjectAltName={san}\n" if san else ""))
            openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject, "-keyout", name + ".key",
                    "-out", name + ".csr")
            openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
                    "-out", name + ".crt", "-extfile", name + ".ext")

        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=cluster-ca",
                "-keyout", "ca.key", "-out", "ca.crt")
        openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", "sa.key")
        openssl("ec", "-in", "sa.key", "-pubout", "-out", "sa.pub")
        certificate("apiserver", "/CN=kube-apiserver", f"IP:127.0.0.1,IP:{API_ADDRESS},IP:{NODE_ADDRESS},DNS:localhost,DNS:kubernetes,"
                    "DNS:kubernetes.default,DNS:kubernetes.default.svc")
        certificate("apiserver-kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")
        certificate("admin", "/O=system:masters/CN=admin")
        certificate("controller-manager", "/CN=system:kube-controller-manager")
        certificate("scheduler", "/CN=system:kube-scheduler")
        certificate("kubelet", f"/O=system:nodes/CN=system:node:{NODE}", f"IP:{NODE_ADDRESS},DNS:{NODE}")
        shutil.copytree(f"{self.folder}/pki", f"{self.root}/etc/kubernetes/pki", dirs_exist_ok=True)

    def _feature_gates(self):
        """What a driver of shared devices needs and what is not yet on by default."""
        return {"DRAConsumableCapacity": True} if self.kubernetes < "1.36" else {}

    def _write(self, path, body):
        path = self.root + path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(body if isinstance(body, str) else json.dumps(body, indent=1))

    def _write_settings(self):
        pki = "/etc/kubernetes/pki"
        for user in ("admin", "controller-manager", "scheduler", "kubelet"):
            self._write(f"/etc/kubernetes/{user}.conf", {
                "apiVersion": "v1", "kind": "Config", "current-context": "it",
                "clusters": [{"name": "it", "cluster": {"server": f"https://{API_ADDRESS}:443", "certificate-authority": f"{pki}/ca.crt"}}],
                "users": [{"name": "it", "user": {"client-certificate": f"{pki}/{user}.crt", "client-key": f"{pki}/{user}.key"}}],
                "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}]})
        self._write("/etc/kubernetes/scheduler.yaml", {
            "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
            "leaderElection": {"leaderElect": False}, "clientConnection": {"kubeconfig": "/etc/kubernetes/scheduler.conf"}})
        self._write("/etc/kubernetes/kubelet.yaml", {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            # a pod whose Prepare failed is looked at again after 1 to 1.5 of these; 1 min by default, too long for tests
            "syncFrequency": "2s",
            "failCgroupV1": False, "cgroupDriver": "cgroupfs", "cgroupsPerQOS": False, "enforceNodeAllocatable": [],
            "failSwapOn": False, "localStorageCapacityIsolation": False, "makeIPTablesUtilChains": False,
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}", "clusterDNS": ["10.0.0.10"], "resolvConf": "",
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": f"{pki}/ca.crt"}},
            "authorization": {"mode": "Webhook"}, "tlsCertFile": f"{pki}/kubelet.crt", "tlsPrivateKeyFile": f"{pki}/kubelet.key",
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100, "maxPods": 250, "registryPullQPS": 0, "shutdownGracePeriod": "0s",
            "kubeAPIQPS": 100, "kubeAPIBurst": 200, "nodeStatusUpdateFrequency": "2s",
            "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},  # what a test kills comes back soon, the tenth time too
            "featureGates": {**self._feature_gates(), **({"KubeletCrashLoopBackOffMax": True} if self.kubernetes < "1.35" else {})}})
        self._write("/etc/containerd.toml", f"""version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "localhost/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true # where root lacks CAP_SYS_RESOURCE
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
    BinaryName = "/opt/kubernetes/runc"
    SystemdCgroup = false
""")
        self._write("/etc/cni/net.d/10-pods.conflist", {"cniVersion": "1.0.0", "name": "pods", "plugins": [{
            "type": "bridge", "bridge": "cni0", "isGateway": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": POD_RANGE}]], "routes": [{"dst": "0.0.0.0/0"}]}}]})

    def _define_components(self):
        pki, bin_ = "/etc/kubernetes/pki", "/opt/kubernetes"
        gates = ",".join(f"{gate}={str(on).lower()}" for gate, on in self._feature_gates().items())
        gates = [f"--feature-gates={gates}"] if gates else []

        def api_ready():
            return self.api.call("GET", "/readyz", timeout=5)[0] == 200

        def healthz(port):
            def ready():
                with contextlib.closing(kube_api.socket_in(self.network_namespace, ("127.0.0.1", port), 5)):
                    return True
            return ready

        self.etcd = Component(self, "etcd", [
            f"{bin_}/etcd", "--data-dir", "/var/lib/etcd", "--unsafe-no-fsync", "--listen-client-urls", "http://127.0.0.1:2379",
            "--advertise-client-urls", "http://127.0.0.1:2379", "--listen-peer-urls", "http://127.0.0.1:2380", "--log-level", "warn"],
            healthz(2379))
        self.apiserver = Component(self, "apiserver", [
            f"{bin_}/kube-apiserver", "--etcd-servers", "http://127.0.0.1:2379", "--secure-port", "443", "--bind-address", "0.0.0.0",
            "--advertise-address", NODE_ADDRESS, "--service-cluster-ip-range", "10.0.0.0/24", "--authorization-mode", "Node,RBAC",
            "--enable-admission-plugins", "NodeRestriction", "--allow-privileged", "--client-ca-file", f"{pki}/ca.crt",
            "--tls-cert-file", f"{pki}/apiserver.crt", "--tls-private-key-file", f"{pki}/apiserver.key",
            "--kubelet-preferred-address-types", "InternalIP", "--kubelet-client-certificate", f"{pki}/apiserver-kubelet-client.crt",
            "--kubelet-client-key", f"{pki}/apiserver-kubelet-client.key", "--service-account-issuer", "https://kubernetes.default.svc",
            "--service-account-key-file", f"{pki}/sa.pub", "--service-account-signing-key-file", f"{pki}/sa.key", *gates], api_ready)
        self.controller_manager = Component(self, "controller-manager", [
            f"{bin_}/kube-controller-manager", "--kubeconfig", "/etc/kubernetes/controller-manager.conf", "--leader-elect=false",
            "--use-service-account-credentials", "--service-account-private-key-file", f"{pki}/sa.key", "--root-ca-file", f"{pki}/ca.crt",
            "--cluster-signing-cert-file", f"{pki}/ca.crt", "--cluster-signing-key-file", f"{pki}/ca.key", *gates])
        self.scheduler = Component(self, "scheduler", [f"{bin_}/kube-scheduler", "--config", "/etc/kubernetes/scheduler.yaml", *gates])
        self.containerd = Component(self, "containerd", [f"{bin_}/containerd", "--config", "/etc/containerd.toml"],
                                    lambda: self.ctr("version", check=True))
        self.kubelet = Component(self, "kubelet", [
            f"{bin_}/kubelet", "--config", "/etc/kubernetes/kubelet.yaml", "--kubeconfig", "/etc/kubernetes/kubelet.conf",
            "--hostname-override", NODE, "--node-ip", NODE_ADDRESS, "--v", os.environ.get("KUBELET_V", "3")], healthz(10250))

    @staticmethod
    def mark(component):
        """A place in its log, for since()."""
        return os.path.getsize(component.log)

    @staticmethod
    def since(component, mark):
        """What it has logged since."""
        with open(component.log, encoding="utf-8", errors="replace") as log:
            log.seek(mark)
            return log.read()

    def components(self):
        return [self.etcd, self.apiserver, self.controller_manager, self.scheduler, self.containerd, self.kubelet]

    def node_ready(self):
        node = self.api.get("Node", NODE)
        return bool(node) and any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))
