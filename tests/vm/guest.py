# SPDX-License-Identifier: Apache-2.0
"""A virtual machine with NICs that real machines have, whose root is this machine's own (read-only, an overlay on top).

  with Guest() as guest:
      guest.start()
      guest.run("ip", "-d", "link")

QEMU emulates it (no KVM), so a process costs 30 to 50 ms there and a whole core is busy here. Commands are started by tests/vm/server.py
in the guest, which is reached on a port of this machine's loopback address; /out in the guest is the folder `share` here.
"""
import contextlib
import fcntl
import glob
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE)]
from server import PORT, Frames, frame  # noqa: E402
from waiting import eventually  # noqa: E402

SOURCE = os.path.dirname(os.path.dirname(HERE))
BOOT_DEADLINE = 180  # s; 8 on a quiet machine

# Two PFs of seven VFs each (igb), each below a PCIe root of its own, on NUMA nodes 0 and 1. No way out of the guest.
PFS = ("0000:21:00.0", "0000:41:00.0")


def guests_folder():
    """Where tests/vm/up, on-guest and down have their guest."""
    return os.environ.get("FAIRLEAD_VM") or "/var/tmp/fairlead-vm"


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class GuestDied(Exception):
    """The guest ended or hangs; what its console said is in the message."""


class Process:
    """A command in the guest; ends with its connection. Its output is read while somebody waits."""

    def __init__(self, connection, argv):
        self._connection, self.argv = connection, argv
        self._frames = Frames()
        self.stdout, self.stderr = bytearray(), bytearray()
        self.status = None

    def _send(self, kind, data=b""):
        self._connection.sendall(frame(kind, data))

    def write(self, data):
        self._send(b"i", data)

    def close_input(self):
        self._send(b"e")

    def signal(self, number):
        """To its process group."""
        self._send(b"s", str(int(number)).encode())

    def resize(self, rows, columns):
        self._send(b"w", json.dumps([rows, columns]).encode())

    def fileno(self):
        return self._connection.fileno()

    def read(self):
        """One read from the connection; the frames that came with it as (letter, bytes)."""
        try:
            data = self._connection.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            raise GuestDied(f"the guest closed the connection of: {' '.join(self.argv)}")
        frames = list(self._frames.add(data))
        for kind, content in frames:
            if kind == b"o":
                self.stdout += content
            elif kind in (b"r", b"f"):
                self.stderr += content
            elif kind == b"x":
                self.status = int(content)
        return frames

    def poll(self):
        while self.status is None and select.select([self._connection], [], [], 0)[0]:
            self.read()
        return self.status

    def wait(self, timeout=120):
        """Its exit status; an AssertionError with its output when it takes longer."""
        end = time.monotonic() + timeout
        while self.status is None:
            left = end - time.monotonic()
            if left <= 0:
                self.kill()
                raise AssertionError(f"{' '.join(self.argv)}: not over within {timeout:g} s\n{self.text()}")
            if select.select([self._connection], [], [], left)[0]:
                self.read()
        return self.status

    def kill(self):
        """The server kills what it started for a connection when that is gone."""
        self._connection.close()
        self.status = 137 if self.status is None else self.status

    def text(self):
        return (self.stdout + self.stderr).decode(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


class Guest:
    def __init__(self, folder=None, kernel=None, keep=False, cpus=1, memory=2048):
        """`keep`: the guest outlives this process (tests/vm/up); else it ends with it, even with kill -9. With more than 2 GiB of memory
        the PFs of QEMU 10.0 get no mailbox interrupts, so that VFs wait 2 s for an answer and take a random MAC."""
        self.kernel = kernel or "6.12"
        self.folder = os.path.abspath(folder) if folder else tempfile.mkdtemp(prefix="fairlead-vm-", dir="/var/tmp")
        self.share = f"{self.folder}/out"
        self.console = f"{self.folder}/console"
        self._keep, self._cpus, self._memory = keep, cpus, memory
        self._qemu = self.pid = None
        self._address = self._token = None
        os.makedirs(self.share, exist_ok=True)
        if not keep:
            self._lock = open(f"{self.folder}/lock.new", "w", encoding="ascii")  # held for as long as we live; see sweep()
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            os.rename(f"{self.folder}/lock.new", f"{self.folder}/lock")  # never there without being held

    @classmethod
    def attach(cls, folder):
        """To a guest that another process keeps (tests/vm/up)."""
        guest = cls(folder, keep=True)
        guest._read_address()
        return guest

    def _read_address(self):
        with open(f"{self.folder}/address.json", encoding="utf-8") as file:
            said = json.load(file)
        self._address, self._token, self.pid = ("127.0.0.1", said["port"]), said["token"], said["pid"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.destroy()

    # --- life ---------------------------------------------------------------------------------------------------------------

    def start(self):
        """To a command server that answers."""
        sweep()
        began = time.monotonic()
        files = subprocess.run([f"{HERE}/kernel.sh", "--kernel", self.kernel], check=True, stdout=subprocess.PIPE, text=True).stdout.split("\n")[-2]
        for attempt in range(5):  # another program may take the port between our look and QEMU's
            self._start_qemu(files)
            if self._wait_ready():
                break
        else:
            raise GuestDied(f"QEMU does not start: {self.last_words()}")
        with open(f"{self.share}/ready", encoding="ascii") as ready:
            say(f"guest with Linux {self.run('uname', '-r').strip()} ready after {time.monotonic() - began:.1f} s (its own clock: {ready.read()} s)")

    def _start_qemu(self, files):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._token = secrets.token_hex(16)
        self._address = ("127.0.0.1", port)
        for path, content in {f"{self.share}/token": self._token, f"{self.share}/source": SOURCE + "\n", f"{self.share}/server.py": open(f"{HERE}/server.py", encoding="utf-8").read()}.items():
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.write(content)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.share}/ready")
        kernel = next(path for path in (f"{files}/vmlinux", f"{files}/vmlinuz") if os.path.exists(path))
        with open(self.console, "ab") as console:
            self._qemu = subprocess.Popen(self.command(kernel, f"{files}/initramfs.cpio", port), stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                                          cwd=self.folder, start_new_session=True, preexec_fn=None if self._keep else die_with_parent)
        self.pid = self._qemu.pid
        with open(os.open(f"{self.folder}/address.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump({"port": port, "token": self._token, "pid": self.pid}, file)

    def _wait_ready(self):
        """False when QEMU could not have the port."""
        end = time.monotonic() + BOOT_DEADLINE
        while not os.path.exists(f"{self.share}/ready"):
            if self._qemu.poll() is not None:
                if "Could not set up host forwarding rule" in self.last_words():
                    return False
                raise GuestDied(f"the guest ended while it started (status {self._qemu.returncode}): {self.last_words()}")
            if time.monotonic() > end:
                raise GuestDied(f"the guest is not ready after {BOOT_DEADLINE} s: {self.last_words()}")
            time.sleep(0.05)
        return True

    def command(self, kernel, initramfs, port):
        def share(name, path, *options):
            return ["-fsdev", ",".join(("local", f"id={name}", f"path={path}", "security_model=none", "multidevs=remap", *options)),
                    "-device", f"virtio-9p-pci,fsdev={name},mount_tag={name},bus=pcie.0"]

        def pf(number):
            return ["-netdev", f"user,id=net{number},restrict=on,ipv6=off", "-device", f"pcie-root-port,id=port{number},chassis={number},slot={number},bus=root{number}",
                    "-device", f"igb,id=pf{number},netdev=net{number},bus=port{number},mac=52:54:00:aa:00:0{number},romfile="]

        half = self._memory // 2
        numa = []
        for node in (0, 1):
            numa += ["-object", f"memory-backend-ram,id=memory{node},size={half}M", "-numa", f"node,nodeid={node},memdev=memory{node}",
                     "-device", f"pxb-pcie,id=root{node + 1},bus_nr={32 * (node + 1)},bus=pcie.0,numa_node={node}"]
        numa += ["-numa", "cpu,node-id=0,socket-id=0"] if self._cpus == 1 else []
        # No router advertisements (a default route on a link is reason enough not to give it away); modules make no links of their own.
        settings = ["console=ttyS0", "panic=-1", "quiet", "loglevel=4", "intel_iommu=on", "nokaslr", "mitigations=off", "tsc=reliable", "no_timer_check",
                    "random.trust_cpu=on", "rcupdate.rcu_expedited=1", "dummy.numdummies=0", "bonding.max_bonds=0", "ifb.numifbs=0", "audit=0", "apparmor=0", "selinux=0", "init_on_alloc=0", "cryptomgr.notests=1",
                    "fairlead.guest=1"]  # tells that this is a machine that is thrown away (recording.sh)
        return ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35", "-accel", "tcg,thread=multi",
                "-cpu", "max", "-smp", str(self._cpus), "-m", str(self._memory), "-device", "intel-iommu,intremap=on",
                "-kernel", kernel, "-initrd", initramfs, "-append", " ".join(settings),
                "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x01", *share("root", "/", "readonly=on"), *share("source", SOURCE, "readonly=on"), *share("out", self.share), *numa,
                "-netdev", f"user,id=uplink,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:{port}-10.0.2.15:{PORT}", "-device", "virtio-net-pci,netdev=uplink,bus=pcie.0,romfile=",
                *pf(1), *pf(2)]

    def running(self):
        if self._qemu is not None:
            return self._qemu.poll() is None
        return os.path.exists(f"/proc/{self.pid}/exe") and os.readlink(f"/proc/{self.pid}/exe").endswith("qemu-system-x86_64")

    def last_words(self, lines=40):
        try:
            with open(self.console, encoding="utf-8", errors="replace") as file:
                return "".join(file.readlines()[-lines:])
        except OSError as error:
            return str(error)

    def kill(self):
        """Ends QEMU; the folder stays."""
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.wait(20)

    def destroy(self):
        """Ends the guest, whatever state it is in, and removes its folder."""
        if self._qemu is not None:
            self.kill()
        elif self.pid is not None and self.running():
            os.kill(self.pid, signal.SIGKILL)
            eventually(lambda: not self.running(), 20, "QEMU ends")
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- commands -----------------------------------------------------------------------------------------------------------

    def popen(self, *argv, environment=None, folder=None, terminal=None):
        """A Process in the guest."""
        try:
            connection = socket.create_connection(self._address, timeout=30)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(None)
            wanted = {"token": self._token, "argv": list(argv), "environment": environment or {}, "folder": folder, "terminal": terminal}
            connection.sendall(json.dumps(wanted).encode() + b"\n")
        except OSError as error:
            raise GuestDied(f"the guest does not answer ({error.strerror or error}); its console ends: {self.last_words()}") from error
        return Process(connection, argv)

    def run(self, *argv, check=True, timeout=120, stdin=None, **how):
        """What it printed on stdout; an AssertionError with all of its output when it fails."""
        with self.popen(*argv, **how) as process:
            if stdin is not None:
                process.write(stdin.encode())
            process.close_input()
            try:
                status = process.wait(timeout)
            except GuestDied as error:
                raise GuestDied(f"{error}; the guest's console ends: {self.last_words()}") from error
            assert status == 0 or not check, f"{' '.join(argv)}: status {status}\n{process.text()}"
            return process.stdout.decode(errors="replace") if check else process.text()

    def status(self, *argv, **how):
        """Its exit status."""
        with self.popen(*argv, **how) as process:
            process.close_input()
            return process.wait()

    def sh(self, script, **how):
        """A shell script; it ends at the first command that fails."""
        return self.run("sh", "-ec", script, **how)

    def read(self, path):
        return self.run("cat", path)

    def write(self, path, text):
        """A value into a file of the guest, such as one of sysfs; the kernel's error is the shell's."""
        self.run("sh", "-c", 'printf %s "$2" >"$1"', "sh", path, text)

    def json(self, *argv):
        return json.loads(self.run(*argv) or "[]")

    # --- links and PCI functions --------------------------------------------------------------------------------------------

    def links(self, netns=None):
        """{name: what `ip -details -json address` says} of the machine's namespace, or of another one's (a path or name)."""
        within = ["nsenter", f"--net={netns}"] if netns and "/" in netns else ["ip", "netns", "exec", netns] if netns else []
        return {link["ifname"]: link for link in self.json(*within, "ip", "-details", "-json", "address")}

    def pci(self, address, file):
        return self.read(f"/sys/bus/pci/devices/{address}/{file}").strip()

    def netdev(self, address):
        """The name of the function's link in the machine's namespace; None while it is elsewhere or has none."""
        return self.run("sh", "-c", f"ls /sys/bus/pci/devices/{address}/net 2>/dev/null || true").strip() or None


def die_with_parent():
    import ctypes
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def sweep():
    """Removes what guests left whose process was killed: folders whose lock nobody holds."""
    for lock in glob.glob("/var/tmp/fairlead-vm-*/lock"):
        with contextlib.suppress(OSError), open(lock, "w", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(os.path.dirname(lock), ignore_errors=True)
