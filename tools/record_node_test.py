#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of tools/record_node.py and tools/generate_node.py on the recordings in the repository. No root is needed; what runs record_node
whole asks this machine's netlink for dumps, and changes nothing."""
import copy
import errno
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

from generate_node import Machine
from node_fixture import Tree, attributes, escape, messages, read_tree, unescape, write_fixture
from record_node import Disguise, Recorder, anonymous

TOOLS = os.path.dirname(os.path.abspath(__file__))
RECORDED = os.path.join(os.path.dirname(TOOLS), "src/fairlead/sys/testing/recorded")
NOBODY = 65534


def read_recording(name):
    folder = os.path.join(RECORDED, name)
    dumps = {}
    for file in os.listdir(folder):
        if file.endswith(".nl"):
            with open(os.path.join(folder, file), "rb") as content:
                dumps[file[:-3]] = content.read()
    return read_tree(os.path.join(folder, "tree.txt")), dumps


def lay_out(tree, root):
    """Without the unreadable files: a test cannot make any."""
    for folder, entries in tree.folders.items():
        os.makedirs(os.path.join(root, folder), exist_ok=True)
        for name, (mark, value) in entries.items():
            path = os.path.join(root, folder, name)
            if mark == "->":
                os.symlink(value, path)
            elif mark != "!":
                with open(path, "wb") as file:
                    file.write((value + "\n" * (mark == "=")).encode("latin-1"))


def links(dumps):
    """name -> (address, list of the VFs' addresses)"""
    found, dump = {}, dumps["links"]
    for at, kind, end in messages(dump):
        if kind == 16:
            values = {key: (start, stop) for key, start, stop in attributes(dump, at + 32, end)}
            vfs = []
            for _, start, stop in attributes(dump, *values[22]) if 22 in values else ():
                one = {key: begin for key, begin, _ in attributes(dump, start, stop)}
                vfs.append(dump[one[1] + 4:one[1] + 10])
            found[dump[slice(*values[3])].rstrip(b"\0").decode()] = (dump[slice(*values[1])], vfs)
    return found


def ip_of(dump, header, key):
    """The values of one attribute over all messages of a dump."""
    return [dump[start:stop] for at, kind, end in messages(dump) if kind > 3
            for one, start, stop in attributes(dump, at + 16 + header, end) if one == key]


def address_of(tree, name):
    place = tree.folders["class/net"][name][1].removeprefix("../../")
    return bytes.fromhex(tree.folders[place]["address"][1].replace(":", ""))


class RecorderTest(unittest.TestCase):
    def test_recording_what_was_recorded_gives_the_same(self):
        for name in sorted(os.listdir(RECORDED)):
            tree, _ = read_recording(name)
            for entries in tree.folders.values():
                for entry in [one for one, (mark, _) in entries.items() if mark == "!"]:
                    del entries[entry]
            with tempfile.TemporaryDirectory() as root:
                lay_out(tree, root)
                self.assertEqual(Recorder(root).record().text(), tree.text())

    def test_what_is_not_on_the_lists_is_never_recorded(self):
        tree, _ = read_recording("igb-2pf")
        expected = tree.text()
        with tempfile.TemporaryDirectory() as root:
            lay_out(tree, root)
            function = os.path.join(root, "devices/pci0000:00/0000:00:03.0/0000:01:00.0")
            rdma = os.path.join(root, "devices/virtual/infiniband/rxe0")
            for path in (f"{function}/config", f"{function}/vpd", f"{function}/rom", f"{function}/resource0", f"{rdma}/node_desc",
                         f"{function}/serial_number", f"{function}/net/ens1/ifalias"):
                with open(path, "w", encoding="ascii") as file:
                    file.write("SECRET\n")
            self.assertNotIn("SECRET", Recorder(root).record().text())
        self.assertNotIn("SECRET", expected)

    def test_escapes_come_back(self):
        for text in ("", "plain", "a\nb", "\\", "\\n", "\\x41", "\x00\xff", "two words"):
            self.assertEqual(unescape(escape(text)), text)
            self.assertNotIn("\n", escape(text))


class DisguiseTest(unittest.TestCase):
    def setUp(self):
        self.tree, self.dumps = read_recording("igb-2pf")
        self.new_tree = copy.deepcopy(self.tree)
        self.new_dumps = anonymous(Disguise("a seed"), self.new_tree, self.dumps)

    def test_no_address_of_the_machine_is_left(self):
        text, data = self.new_tree.text(), b"".join(self.new_dumps.values())
        for name, (address, vfs) in links(self.dumps).items():
            for one in (address, *vfs):
                if any(one):
                    self.assertNotIn(one.hex(":"), text, name)
                    self.assertNotIn(one, data, name)
                    self.assertNotIn(bytes([one[0] ^ 2]) + one[1:3] + b"\xff\xfe" + one[3:], data, name)
        for one in (bytes([192, 0, 2, 10]), bytes([203, 0, 113, 1]), bytes.fromhex("20010db8")):
            self.assertNotIn(one, data)
        self.assertNotIn("cb00:7101", text)  # the GID made from 203.0.113.1

    def test_relations_stay(self):
        before, after = links(self.dumps), links(self.new_dumps)
        self.assertEqual(list(before), list(after))
        for pf, (_, vfs) in before.items():
            for index, address in enumerate(vfs):
                own = f"{pf}v{index}"
                if own in before and before[own][0] == address:
                    self.assertEqual(after[pf][1][index], after[own][0], own)
        for name, (address, _) in after.items():
            self.assertEqual(address, address_of(self.new_tree, name), "netlink and sysfs agree")
            self.assertEqual(address[:3], before[name][0][:3], "the vendor stays")
        rdma = self.new_tree.folders["devices/virtual/infiniband/rxe0"]
        vf = after["ens2v0"][0]
        guid = bytes([vf[0] ^ 2]) + vf[1:3] + b"\xff\xfe" + vf[3:]
        self.assertEqual(rdma["node_guid"][1], guid.hex(":", 2), "soft-RoCE makes its GUID from the MAC address")
        self.assertEqual(self.new_tree.folders["devices/virtual/infiniband/rxe0/ports/1/gids"]["0"][1].replace(":", "")[16:], guid.hex())

    def test_a_gateway_stays_in_its_network(self):
        addresses = ip_of(self.new_dumps["addresses"], 8, 1) + ip_of(self.new_dumps["addresses"], 8, 2)
        for dump, network in (("routes4", 3), ("routes6", 8)):
            gateways = ip_of(self.new_dumps[dump], 12, 5)
            self.assertTrue(gateways)
            for gateway in gateways:
                self.assertIn(gateway[:network], {one[:network] for one in addresses if len(one) == len(gateway)})
            destinations = [one[:network] for one in ip_of(self.new_dumps[dump], 12, 1)]
            self.assertTrue(all(gateway[:network] in destinations for gateway in gateways))

    def test_loopback_and_the_default_routes_stay(self):
        self.assertIn(bytes([127, 0, 0, 1]), ip_of(self.new_dumps["addresses"], 8, 1))
        self.assertIn(bytes(15) + b"\1", ip_of(self.new_dumps["addresses"], 8, 1))
        self.assertEqual(links(self.new_dumps)["lo"][0], bytes(6))

    def test_the_shape_of_messages_stays(self):
        for name, dump in self.dumps.items():
            self.assertEqual(list(messages(dump)), list(messages(self.new_dumps[name])), name)

    def test_another_key_gives_other_addresses(self):
        other = anonymous(Disguise("another seed"), copy.deepcopy(self.tree), self.dumps)
        self.assertNotEqual(links(other)["ens1"][0], links(self.new_dumps)["ens1"][0])

    def test_infiniband_addresses_and_names_made_from_addresses(self):
        disguise = Disguise("a seed")
        guid = bytes.fromhex("946dae0300aabbcc")
        hardware = bytes.fromhex("00001049fe80000000000000") + guid
        self.assertEqual(disguise.mac(hardware)[12:], disguise.guid(guid))
        self.assertEqual(disguise.mac(hardware)[:12], hardware[:12])
        self.assertEqual(disguise.guid(guid)[5:], disguise.mac(bytes.fromhex("946daeaabbcc"))[3:], "a card's MAC and GUID belong together")
        self.assertEqual(disguise.name("enx946daeaabbcc"), "enx" + disguise.mac(bytes.fromhex("946daeaabbcc")).hex())
        self.assertEqual(disguise.name("ens1f0np0"), "ens1f0np0")

    def test_different_addresses_stay_different(self):
        disguise = Disguise("a seed")
        low = {disguise.mac(bytes([2, 0, 0]) + struct.pack(">I", number)[1:]) for number in range(5000)}
        self.assertEqual(len(low), 5000)


class GeneratorTest(unittest.TestCase):
    class Options:
        pfs, vfs, hcas, seed, vf_statistics = 1, 256, 0, 1, False

    def list_size(self, counters):
        """The length field of the PF's VF list, and what it should be."""
        options = self.Options()
        options.vf_statistics = counters
        machine = Machine(options)
        machine.build()
        dump = bytes(machine.links)
        at, _, end = list(messages(dump))[2]
        start, stop = next((start, stop) for key, start, stop in attributes(dump, at + 32, end) if key == 22)
        return stop - start, end - at

    def test_256_vfs_fit_without_counters_and_wrap_with_them(self):
        size, whole = self.list_size(False)
        self.assertEqual(size, 256 * 196)
        self.assertLess(whole, 65536)
        size, whole = self.list_size(True)
        self.assertEqual(size + 4, (256 * 296 + 4) % 65536)
        self.assertGreater(whole, 65536)

    def test_a_vf_entry_is_as_long_as_the_kernels(self):
        _, dumps = read_recording("igb-2pf")
        dump = dumps["links"]
        at, _, end = list(messages(dump))[1]
        start, stop = next((start, stop) for key, start, stop in attributes(dump, at + 32, end) if key == 22)
        self.assertEqual((stop - start) / 4, 196, "4 VFs of igb on Linux 6.12")


class OutTest(unittest.TestCase):
    """Where the two programs write, and where they do not. They run as another user than root, who can be refused something."""
    # The user changes after the imports: that user may not be allowed to read this folder, or where Python is installed.
    PROGRAM = """import argparse, os, sys
argparse.ArgumentParser().format_help()  # imports more
sys.path.insert(0, sys.argv.pop(1))
tool = __import__(sys.argv[1])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
del sys.argv[0]
tool.main()"""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.sysfs = os.path.join(cls.folder.name, "sys")
        lay_out(read_recording("netdevsim-switchdev")[0], cls.sysfs)
        for path, folders, files in os.walk(cls.folder.name):
            for name in (".", *folders, *files):
                if not os.path.islink(os.path.join(path, name)):
                    os.chmod(os.path.join(path, name), 0o755)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def setUp(self):
        self.place = tempfile.mkdtemp(dir=self.folder.name)
        if os.geteuid() == 0:
            os.chown(self.place, NOBODY, NOBODY)

    def run_tool(self, tool, *arguments):
        words = ["--sysfs", self.sysfs] if tool == "record_node" else ["--pfs", "1", "--vfs", "1", "--hcas", "1"]
        return subprocess.run([sys.executable, "-B", "-c", self.PROGRAM, TOOLS, tool, *words, *arguments], capture_output=True, text=True,
                              check=False, cwd=self.place)

    def refused(self, out, reason, before=None):
        for tool in ("record_node", "generate_node"):
            with self.subTest(tool=tool, out=out):
                done = self.run_tool(tool, out)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                self.assertTrue(done.stderr.startswith(f"{tool}: "), done.stderr)
                self.assertIn(reason, done.stderr)
                self.assertEqual(sorted(os.listdir(self.place)), before or [])

    def test_a_folder_that_is_not_there_or_empty_is_written(self):
        for tool in ("record_node", "generate_node"):
            for out in ("new", "slash/", "empty"):
                with self.subTest(tool=tool, out=out):
                    if out == "empty":
                        os.mkdir(os.path.join(self.place, out))
                        os.chmod(os.path.join(self.place, out), 0o777)
                    done = self.run_tool(tool, out)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertLessEqual({"tree.txt", "README.md", "links.nl"}, set(os.listdir(os.path.join(self.place, out))))
                    shutil.rmtree(os.path.join(self.place, out))

    def test_a_folder_with_something_in_it_stays_as_it_is(self):
        path = os.path.join(self.place, "project")
        os.mkdir(path)
        with open(os.path.join(path, "README.md"), "w", encoding="ascii") as file:
            file.write("mine\n")
        self.refused("project", "project is not empty", ["project"])
        self.assertEqual(os.listdir(path), ["README.md"])
        with open(os.path.join(path, "README.md"), encoding="ascii") as file:
            self.assertEqual(file.read(), "mine\n")

    def test_no_folder_to_write_to(self):
        with open(os.path.join(self.place, "file"), "w", encoding="ascii"):
            pass
        self.refused("file", "file is not a folder", ["file"])
        self.refused("file/below", f"there is no folder {self.place}/file", ["file"])
        self.refused("no/such", f"there is no folder {self.place}/no", ["file"])
        self.refused("", "the name of the folder to write is empty", ["file"])
        os.symlink("nowhere", os.path.join(self.place, "link"))
        self.refused("link", "link is not a folder", ["file", "link"])

    def test_not_writable(self):
        os.mkdir(os.path.join(self.place, "closed"), 0o555)
        self.refused("closed", "closed is not writable", ["closed"])
        os.mkdir(os.path.join(self.place, "dark"), 0o311)
        if os.geteuid() == 0:
            os.chown(os.path.join(self.place, "dark"), NOBODY, NOBODY)
        self.refused("dark", "dark cannot be looked into (Permission denied)", ["closed", "dark"])
        os.chmod(self.place, 0o555)
        self.refused("new", f"{self.place} is not writable, so new cannot be made", ["closed", "dark"])

    def test_what_cannot_be_written_whole_leaves_nothing(self):
        tree, out = Tree(), os.path.join(self.place, "out")
        with self.assertRaises(OSError) as caught:
            write_fixture(out, tree, {"links": b"x", "no/such": b"y"}, "")
        self.assertEqual(caught.exception.errno, errno.ENOENT)
        self.assertFalse(os.path.exists(out))

    def test_numbers_that_are_none_or_too_large(self):
        for option, word, limits in (("--pfs", "abc", "1 to 64"), ("--pfs", "0", "1 to 64"), ("--pfs", "65", "1 to 64"),
                                     ("--vfs", "2049", "0 to 2048"), ("--vfs", "1.5", "0 to 2048"), ("--hcas", "-1", "0 to 63"),
                                     ("--hcas", "9" * 5000, "0 to 63"), ("--seed", "x", "0 to 4294967295")):
            done = self.run_tool("generate_node", "new", f"{option}={word}")
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertTrue(done.stderr.endswith(f"argument {option}: \"{word}\" is not a whole number from {limits}\n"), done.stderr)
            self.assertEqual(os.listdir(self.place), [])

    def test_no_sysfs(self):
        done = self.run_tool("record_node", "new", "--sysfs", self.place)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)
        self.assertIn(f"{self.place} is no sysfs", done.stderr)

    def test_another_user_than_root_is_told_what_is_missing_and_so_is_the_reader(self):
        modes = {"online": 0o040, "possible": 0o200}  # not for this user; for no user: sriov_vf_msix_count is so, for root as well
        for name, mode in modes.items():
            os.chmod(os.path.join(self.sysfs, "devices/system/cpu", name), mode)
        try:
            done = self.run_tool("record_node", "new")
        finally:
            for name in modes:
                os.chmod(os.path.join(self.sysfs, "devices/system/cpu", name), 0o755)
        sentence = "recorded by another user than root: 1 file could not be read (online)"
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"record_node: {sentence}", done.stderr)
        with open(os.path.join(self.place, "new/README.md"), encoding="utf-8") as file:
            self.assertIn(f"\nR{sentence[1:]}.\n", file.read())
        self.assertEqual(read_tree(os.path.join(self.place, "new/tree.txt")).folders["devices/system/cpu"],
                         {"online": ("!", "EACCES"), "possible": ("!", "EACCES")})


class RecordingScriptsTest(unittest.TestCase):
    """tests/vm/record.sh and record_switchdev.sh refuse before they change anything. Whatever could is replaced by a program that says it
    was called and fails; a guest is simulated with a mount namespace."""

    SCRIPTS = ("record.sh", "record_switchdev.sh")

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        os.chmod(self.folder, 0o755)
        self.calls = os.path.join(self.folder, "calls")
        self.programs({name: f'echo "{name} $*" >>{self.calls}; exit 1'
                       for name in ("modprobe", "insmod", "ip", "devlink", "rdma")} | {"modinfo": "exit 0"})
        shutil.copytree(os.path.join(TOOLS, "../tests/vm"), os.path.join(self.folder, "tests/vm"),
                        ignore=lambda folder, names: [name for name in names if not name.startswith("record")])
        os.mkdir(os.path.join(self.folder, "tools"))
        shutil.copy(os.path.join(TOOLS, "node_fixture.py"), os.path.join(self.folder, "tools"))
        self.out = os.path.join(self.folder, "out")

    def programs(self, bodies):
        os.makedirs(os.path.join(self.folder, "bin"), exist_ok=True)
        for name, body in bodies.items():
            with open(os.path.join(self.folder, "bin", name), "w", encoding="ascii") as file:
                file.write(f"#!/bin/bash\n{body}\n")
            os.chmod(file.name, 0o755)

    def run_script(self, script, *arguments, before=()):
        environment = os.environ | {"PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        return subprocess.run([*before, "bash", os.path.join(self.folder, "tests/vm", script), *arguments], capture_output=True, text=True,
                              check=False, env=environment)

    def in_guest(self, script, *arguments, sysfs=None):
        """As if the kernel's command line were a guest's, and this the guest's sysfs."""
        if os.geteuid() != 0:
            self.skipTest("needs root, to make a mount namespace")
        line = os.path.join(self.folder, "cmdline")
        with open(line, "w", encoding="ascii") as file:
            file.write("quiet fairlead.guest=1\n")
        mounts = f"mount --bind {line} /proc/cmdline && mount --bind {sysfs or tempfile.mkdtemp(dir=self.folder)} /sys"
        done = self.run_script(script, *arguments, before=("unshare", "-m", "bash", "-c", f'{mounts} || exit 77; exec "$@"', "in_guest"))
        if done.returncode == 77:
            self.skipTest(f"needs the right to mount: {done.stderr}")
        return done

    def refused(self, done, script, reason):
        self.assertEqual((done.returncode, done.stderr.count("\n"), done.stdout), (2, 1, ""), done.stderr)
        self.assertTrue(done.stderr.startswith(f"{script}: "), done.stderr)
        self.assertIn(reason, done.stderr)
        self.assertFalse(os.path.exists(self.calls), "something that changes the machine was called")

    def test_on_another_machine_than_a_guest(self):
        with open("/proc/cmdline", encoding="ascii") as line:
            if "fairlead.guest=1" in line.read():
                self.skipTest("this is a guest of tests/vm/up")
        for script in self.SCRIPTS:
            self.refused(self.run_script(script, self.out), script, "this machine is no guest of tests/vm/up")
            self.refused(self.run_script(script), script, f"usage: {script} OUT_FOLDER")

    def test_a_guest_that_lacks_something(self):
        for script in self.SCRIPTS:
            self.refused(self.in_guest(script, self.folder), script, f"{self.folder} is not empty")
        self.refused(self.in_guest("record.sh", self.out), "record.sh", "two igb functions that can have 7 VFs each, found 0")
        self.refused(self.in_guest("record_switchdev.sh", self.out, "/no/such.ko"), "record_switchdev.sh", "/no/such.ko is no file that can be read")
        there = os.path.join(self.folder, "there")
        os.makedirs(os.path.join(there, "bus/netdevsim/devices/netdevsim1"))
        self.refused(self.in_guest("record_switchdev.sh", self.out, sysfs=there), "record_switchdev.sh", "netdevsim1 is there already")
        self.programs({"modinfo": '[ "$1" != rdma_rxe ] && [ "$1" != netdevsim ]'})
        self.refused(self.in_guest("record.sh", self.out), "record.sh", "has no module rdma_rxe")
        self.refused(self.in_guest("record_switchdev.sh", self.out), "record_switchdev.sh", "has no module netdevsim")

    def test_the_right_guest_goes_on_to_load_modules(self):
        tree, sysfs = read_recording("igb-2pf")[0], os.path.join(self.folder, "sys")
        lay_out(tree, sysfs)
        self.refused(self.in_guest("record.sh", self.out, sysfs=sysfs), "record.sh", "0000:01:00.0 has VFs already")
        for folder in [folder for folder, entries in tree.folders.items() if "sriov_numvfs" in entries]:
            with open(os.path.join(sysfs, folder, "sriov_numvfs"), "w", encoding="ascii") as file:
                file.write("0\n")
        for script, first in zip(self.SCRIPTS, ("modprobe -a igb ", "modprobe psample\n")):
            done = self.in_guest(script, self.out, sysfs=sysfs)
            self.assertEqual((done.returncode, done.stderr), (1, ""))
            with open(self.calls, encoding="ascii") as file:
                self.assertTrue(file.read().startswith(first))
            os.unlink(self.calls)


if __name__ == "__main__":
    unittest.main()
