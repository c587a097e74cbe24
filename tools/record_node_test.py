#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of tools/record_node.py on the recordings in the repository: no root, no netlink."""
import copy
import os
import struct
import tempfile
import unittest

from generate_node import Machine
from node_fixture import attributes, escape, messages, read_tree, unescape
from record_node import Disguise, Recorder, anonymous

RECORDED = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src/sys/testing/recorded")


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


if __name__ == "__main__":
    unittest.main()
