#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records what a machine shows of its network hardware, as a small fixture for unit tests.

    tools/record_node.py OUT_FOLDER [--sysfs /sys] [--keep-addresses] [--seed WORD] [--about TEXT]

From sysfs it takes network functions (PCI class 02), everything below which there is a network or RDMA device, what belongs to them
(their VFs and PFs, the members of their IOMMU groups, the bridges above), class net and infiniband*, NUMA nodes and driver names.
From netlink it takes links with their VFs, addresses, routes, nexthops, devlink and RDMA devices, as raw bytes. Only names from the
lists below are ever read: no serial number, no configuration space, no resource, no ROM, no VPD, no host name (node_desc has it).

MAC and IP addresses, GUIDs, GIDs and aliases are replaced (see Disguise) unless --keep-addresses is given; give it only where all of them
are made up, as in a test guest. Names of interfaces stay: look at the result before you publish it.
Run it as root: some files and the RDMA dumps are for root only. docs/testing.md says more; tools/node_fixture.py has the format.
"""
import argparse
import datetime
import errno
import glob
import hashlib
import hmac
import ipaddress
import os
import platform
import re
import secrets
import socket
import struct
import sys

from node_fixture import (NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, Tree, attributes, message,
                          messages, out_problem, text, u32, write_fixture)

PCI_FILES = """vendor device subsystem_vendor subsystem_device class revision numa_node local_cpulist driver_override reset_method
    current_link_speed current_link_width max_link_speed max_link_width ari_enabled
    sriov_totalvfs sriov_numvfs sriov_offset sriov_stride sriov_vf_device sriov_drivers_autoprobe sriov_vf_total_msix
    sriov_vf_msix_count""".split()
BRIDGE_FILES = "vendor device class numa_node".split()
DEVICE_FILES = "vendor device numa_node sfnum sriov_numvfs".split()  # of other buses: virtio, auxiliary, netdevsim, ...
NET_FILES = """address addr_assign_type addr_len broadcast carrier dev_id dev_port dormant duplex flags ifindex iflink link_mode mtu
    name_assign_type netdev_group operstate phys_port_id phys_port_name phys_switch_id speed tx_queue_len type""".split()
RDMA_FILES = "node_type node_guid sys_image_guid fw_ver hw_rev hca_type board_id parent".split()
PORT_FILES = "state phys_state rate link_layer lid lid_mask_count sm_lid sm_sl cap_mask".split()
NODE_FILES = "cpulist distance".split()
PARAMETERS = {"ib_core": ["netns_mode"], "vfio": ["enable_unsafe_noiommu_mode"]}
MODULES = """ib_core ib_cm ib_ipoib ib_umad ib_uverbs iommufd rdma_cm rdma_rxe rdma_ucm vfio vfio_iommu_type1 vfio_pci vfio_pci_core
    vhost_net tun""".split()
LARGEST_FILE = 4096


def error_name(error):
    """EOPNOTSUPP and ENOTSUP are one number here; the kernel says the first."""
    return "EOPNOTSUPP" if error.errno == errno.EOPNOTSUPP else errno.errorcode.get(error.errno, str(error.errno))


class Recorder:
    def __init__(self, sysfs):
        self.sysfs = os.path.realpath(sysfs)
        self.tree = Tree()
        self.unreadable = 0
        self.refused = []  # names of the files that only root may read

    # ---- reading

    def full(self, path):
        return os.path.join(self.sysfs, path)

    def names(self, folder):
        try:
            return sorted(os.listdir(self.full(folder)))
        except OSError:
            return []

    def exists(self, path):
        return os.path.lexists(self.full(path))

    def place(self, path):
        """Where a path leads to, relative to the root of sysfs; None when it is not there or leads out of it."""
        real = os.path.realpath(self.full(path))
        if not os.path.exists(real) or not real.startswith(self.sysfs + "/"):
            return None
        return os.path.relpath(real, self.sysfs)

    def value(self, path):
        try:
            with open(self.full(path), "rb") as file:
                return file.read(LARGEST_FILE + 1).decode("latin-1")
        except OSError:
            return None

    # ---- recording

    def files(self, folder, names):
        self.tree.folder(folder)
        for name in names:
            path = f"{folder}/{name}"
            if not self.exists(path) or os.path.isdir(self.full(path)):
                continue
            try:
                with open(self.full(path), "rb") as file:
                    content = file.read(LARGEST_FILE + 1)
            except OSError as error:
                self.tree.unreadable(path, error_name(error))
                self.unreadable += 1
                if error.errno in (errno.EACCES, errno.EPERM) and os.stat(self.full(path)).st_mode & 0o444:
                    self.refused.append(name)  # others are only for writing: no user can read them
                continue
            if len(content) <= LARGEST_FILE:
                self.tree.file(path, content.decode("latin-1"))

    def links(self, folder, patterns):
        for pattern in patterns:
            for full in glob.glob(os.path.join(glob.escape(self.full(folder)), pattern)):
                if os.path.islink(full):
                    self.tree.link(os.path.relpath(full, self.sysfs), os.readlink(full))

    def record(self):
        functions = self.find_functions()
        for place in sorted(functions):
            self.pci_function(place)
        for name in self.names("bus/pci/drivers"):
            self.driver(name)
        for name in self.names("class/net"):
            self.net(name)
        for name in self.names("class/infiniband"):
            self.rdma(name)
        for kind in ("infiniband_verbs", "infiniband_mad", "infiniband_cm", "vfio"):
            for name in self.names("class/" + kind):
                self.class_entry(kind, name, ["ibdev", "ibport", "port", "dev", "abi_version"])
            if self.exists("class/" + kind):
                self.files("class/" + kind, ["abi_version"])
        for name in ("rdma_cm", "vfio"):
            self.class_entry("misc", name, ["dev", "abi_version"])
        for name in self.names("bus/auxiliary/devices"):
            place = self.place("bus/auxiliary/devices/" + name)
            if place and any(place.startswith(one + "/") for one in functions):
                self.other_device(place)
        self.machine()
        return self.tree

    def pci_place(self, name):
        return self.place("bus/pci/devices/" + name)

    def find_functions(self):
        """The functions to record, by place: of network class or with a network or RDMA device, and their relatives."""
        wanted = set()
        for name in self.names("bus/pci/devices"):
            place = self.pci_place(name)
            kind = self.value(f"{place}/class") or ""
            if kind.startswith("0x02") or self.exists(f"{place}/net") or self.exists(f"{place}/infiniband"):
                wanted.add(place)
        for entry in [f"class/net/{one}" for one in self.names("class/net")] + \
                     [f"class/infiniband/{one}" for one in self.names("class/infiniband")]:
            wanted.update(self.functions_above(self.place(entry))[:1])  # a virtio link sits on a function too
        seen = set()
        while wanted - seen:
            for place in list(wanted - seen):
                seen.add(place)
                for link in ["physfn", *(one for one in self.names(place) if one.startswith("virtfn"))]:
                    wanted.add(self.place(f"{place}/{link}"))
                for above in self.functions_above(place):
                    wanted.update(self.place(f"{above}/iommu_group/devices/{member}")
                                  for member in self.names(above + "/iommu_group/devices"))
                wanted.discard(None)
        return wanted

    @staticmethod
    def functions_above(place):
        """The PCI functions on the way to a place, lowest first, itself included."""
        parts = (place or "").split("/")
        is_function = re.compile(r"^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")
        return ["/".join(parts[:i + 1]) for i in reversed(range(len(parts))) if is_function.match(parts[i])]

    def pci_function(self, place):
        for above in self.functions_above(place)[1:]:
            self.pci_entry(above, BRIDGE_FILES)
        self.pci_entry(place, PCI_FILES)
        self.links(place, ["physfn", "virtfn*"])
        for name in self.names(place + "/vfio-dev"):
            self.files(f"{place}/vfio-dev/{name}", ["dev"])

    def pci_entry(self, place, files):
        self.files(place, files)
        self.links(place, ["driver", "subsystem", "iommu_group"])
        self.tree.link_to("bus/pci/devices/" + os.path.basename(place), place)
        group = self.place(place + "/iommu_group")
        if group:
            self.files(group, ["type", "name"])
            self.links(group + "/devices", ["*"])

    def driver(self, name):
        """Every driver's name; with its devices where those are recorded."""
        folder = "bus/pci/drivers/" + name
        self.tree.folder(folder)
        for entry in self.names(folder):
            place = self.place(f"{folder}/{entry}")
            if place in self.tree.folders and place.startswith("devices/"):
                self.links(folder, [entry])
                module = self.place(folder + "/module")
                if module:
                    self.links(folder, ["module"])
                    self.tree.folder(module)

    def other_device(self, place):
        """A device between a PCI function and a link: virtio, auxiliary, platform, ..."""
        if place in self.tree.folders:
            return
        self.files(place, DEVICE_FILES)
        self.links(place, ["subsystem", "driver"])
        bus = os.path.basename(self.place(place + "/subsystem") or "")
        driver = self.place(place + "/driver")
        if bus:
            self.tree.link_to(f"bus/{bus}/devices/{os.path.basename(place)}", place)
        if driver:
            self.tree.folder(driver)

    def class_entry(self, kind, name, files):
        place = self.place(f"class/{kind}/{name}")
        if place is None or not os.path.isdir(self.full(place)):
            return None
        self.tree.link_to(f"class/{kind}/{name}", place)
        self.files(place, files)
        self.links(place, ["subsystem"])
        device = self.place(place + "/device")
        if device and device != place:
            self.links(place, ["device"])
            self.other_device(device)
        return place

    def net(self, name):
        place = self.class_entry("net", name, NET_FILES)
        if place:
            self.links(place, ["master", "lower_*", "upper_*"])

    def rdma(self, name):
        place = self.class_entry("infiniband", name, RDMA_FILES)
        if not place:
            return
        for port in self.names(place + "/ports"):
            folder = f"{place}/ports/{port}"
            self.files(folder, PORT_FILES)
            for index in sorted(self.names(folder + "/gids"), key=int):
                if (self.value(f"{folder}/gids/{index}") or "").strip(":0\n"):  # the table's free entries are all zero
                    self.files(folder + "/gids", [index])
                    self.files(folder + "/gid_attrs/types", [index])
                    self.files(folder + "/gid_attrs/ndevs", [index])
            for index in sorted(self.names(folder + "/pkeys"), key=int):
                if self.value(f"{folder}/pkeys/{index}") != "0x0000\n":
                    self.files(folder + "/pkeys", [index])

    def machine(self):
        self.files("devices/system/node", ["online", "possible", "has_cpu"])
        for node in self.names("devices/system/node"):
            if re.fullmatch(r"node\d+", node):
                self.files("devices/system/node/" + node, NODE_FILES)
        self.files("devices/system/cpu", ["online", "possible"])
        for name in MODULES:
            if self.exists("module/" + name):
                self.tree.folder("module/" + name)
            for parameter in PARAMETERS.get(name, []):
                if self.exists(f"module/{name}/parameters/{parameter}"):
                    self.files(f"module/{name}/parameters", [parameter])


# ---- netlink

NETLINK_ROUTE, NETLINK_GENERIC, NETLINK_RDMA = 0, 16, 20
SOL_NETLINK, NETLINK_GET_STRICT_CHK = 270, 12
RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEXTHOP = 18, 22, 26, 106
IFLA_EXT_MASK, RTEXT_FILTER_VF, RTEXT_FILTER_SKIP_STATS = 29, 1, 8
GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 16, 3, 1, 2
DEVLINK_CMD_GET, DEVLINK_CMD_PORT_GET = 1, 5
NLDEV = 5 << 10
NLDEV_GET, NLDEV_PORT_GET, NLDEV_SYS_GET = 1, 5, 6
NLDEV_ATTR_DEV_INDEX = 1
PORT = 0x6E6F6465  # a fixed port, so that two recordings do not differ in every header


class Netlink:
    def __init__(self, protocol):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            self.socket.bind((PORT, 0))
        except OSError:
            self.socket.bind((0, 0))
        if protocol != NETLINK_RDMA:
            self.socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        self.socket.settimeout(10)

    def ask(self, kind, payload, flags=NLM_F_DUMP):
        """All messages of the answer. A dump that was disturbed is repeated."""
        for _ in range(20):
            self.socket.send(message(kind, payload, NLM_F_REQUEST | flags))
            answer, disturbed = self.receive(flags)
            if not disturbed:
                return answer
        raise OSError(errno.EINTR, "the dump was disturbed 20 times")

    def receive(self, flags):
        answer, disturbed = b"", False
        while True:
            part = self.socket.recv(1 << 20)
            answer += part
            for at, kind, _ in messages(part):
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    code = struct.unpack_from("=i", part, at + 16)[0]
                    if code < 0:
                        raise OSError(-code, os.strerror(-code))
                    return answer, disturbed
                disturbed = disturbed or struct.unpack_from("=H", part, at + 6)[0] & 0x10 != 0  # NLM_F_DUMP_INTR
            if flags != NLM_F_DUMP and not flags & NLM_F_ACK:
                return answer, disturbed


def read_dumps():
    """name -> bytes, and name -> why there is none."""
    dumps, absent = {}, {}

    def take(name, read):
        try:
            dumps[name] = read()
        except OSError as error:
            absent[name] = error_name(error)

    route = Netlink(NETLINK_ROUTE)
    # Counters change all the time and are no facts of the machine.
    mask = u32(IFLA_EXT_MASK, RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS)
    take("links", lambda: route.ask(RTM_GETLINK, bytes(16) + mask))
    take("addresses", lambda: route.ask(RTM_GETADDR, bytes(8)))
    take("routes4", lambda: route.ask(RTM_GETROUTE, bytes([socket.AF_INET]) + bytes(11)))
    take("routes6", lambda: route.ask(RTM_GETROUTE, bytes([socket.AF_INET6]) + bytes(11)))
    take("nexthops", lambda: route.ask(RTM_GETNEXTHOP, bytes(8)))

    def devlink(command):
        generic = Netlink(NETLINK_GENERIC)
        answer = generic.ask(GENL_ID_CTRL, struct.pack("=BBH", CTRL_CMD_GETFAMILY, 1, 0) + text(CTRL_ATTR_FAMILY_NAME, "devlink"), 0)
        family = next(struct.unpack_from("=H", answer, value)[0] for kind, value, _ in attributes(answer, 20, len(answer))
                      if kind == CTRL_ATTR_FAMILY_ID)
        return generic.ask(family, struct.pack("=BBH", command, 1, 0))

    take("devlink", lambda: devlink(DEVLINK_CMD_GET))
    take("devlink_ports", lambda: devlink(DEVLINK_CMD_PORT_GET))

    def rdma_ports():
        rdma = Netlink(NETLINK_RDMA)
        devices, found = rdma.ask(NLDEV | NLDEV_GET, b""), b""
        for at, kind, end in messages(devices):
            if kind == NLDEV | NLDEV_GET:
                index = next(struct.unpack_from("=I", devices, value)[0] for key, value, _ in attributes(devices, at + 16, end)
                             if key == NLDEV_ATTR_DEV_INDEX)
                found += rdma.ask(NLDEV | NLDEV_PORT_GET, u32(NLDEV_ATTR_DEV_INDEX, index))
        return found

    take("rdma", lambda: Netlink(NETLINK_RDMA).ask(NLDEV | NLDEV_GET, b""))
    take("rdma_ports", rdma_ports)
    take("rdma_system", lambda: Netlink(NETLINK_RDMA).ask(NLDEV | NLDEV_SYS_GET, b"", 0))
    return dumps, absent


# ---- disguise

class Disguise:
    """Other addresses for those of the machine, the same for each wherever it stands, so that all relations stay.

    Of a MAC address, a GUID and an interface identifier made from a MAC (EUI-64) the vendor's part stays and the lowest 24 bits are
    permuted by one function per vendor: what was made from one address still looks so. Of an IPv4 address the first and the last octet
    stay, of an IPv6 address the first 16 bits; the bits between are exchanged so that common prefixes stay common (a gateway stays in
    its network). Loopback, link-local and multicast prefixes stay. The key is random and forgotten unless --seed is given.
    """

    def __init__(self, seed):
        self.key = seed.encode() if seed else secrets.token_bytes(32)

    def _hash(self, label, data, size):
        return hmac.digest(self.key, label + bytes(data), hashlib.sha256)[:size]

    def low24(self, vendor, low):
        left, right = int.from_bytes(low, "big") >> 12, int.from_bytes(low, "big") & 0xfff
        vendor = bytes([vendor[0] & ~2]) + bytes(vendor[1:])  # EUI-64 has the local bit the other way round
        for step in range(4):
            mixed = self._hash(b"low", vendor + bytes([step]) + right.to_bytes(2, "big"), 2)
            left, right = right, left ^ (int.from_bytes(mixed, "big") & 0xfff)
        return ((left << 12) | right).to_bytes(3, "big")

    def mac(self, octets):
        octets = bytes(octets)
        if len(octets) == 20:  # IPoIB: flags, queue pair, GID
            return octets[:4] + self.gid(octets[4:])
        if len(octets) != 6 or not any(octets) or octets[0] & 1:
            return octets
        return octets[:3] + self.low24(octets[:3], octets[3:])

    def guid(self, octets):
        """8 octets in network order."""
        octets = bytes(octets)
        return octets[:5] + self.low24(octets[:3], octets[5:]) if len(octets) == 8 and any(octets) else octets

    def gid(self, octets):
        octets = bytes(octets)
        if octets[:12] == bytes(10) + b"\xff\xff":  # an IPv4 address of RoCE v2
            return octets[:12] + self.ip(octets[12:])
        if octets[:2] == b"\xfe\x80":
            return octets[:8] + self.guid(octets[8:])
        return self.ip(octets)

    def ip(self, octets, length=128):
        octets = bytes(octets)
        if len(octets) == 4:
            if octets[0] in (0, 127) or octets[0] >= 224:
                return octets
            return self._prefix(octets, 16 if octets[:2] == b"\xa9\xfe" else 8, min(24, length))
        if len(octets) != 16 or not any(octets[:15]) or octets[0] == 0xff:
            return octets
        network = octets[:8] if octets[:2] == b"\xfe\x80" else self._prefix(octets[:8], 16, min(64, length))
        host = octets[8:]
        if length <= 64 or host[:6] == bytes(6):
            return network + host
        if host[3:5] == b"\xff\xfe":
            return network + self.guid(host)
        return network + self._hash(b"host", host, 8)

    def _prefix(self, octets, first, last):
        value, width = int.from_bytes(octets, "big"), len(octets) * 8
        changed = value
        for bit in range(first, last):
            above = value >> (width - bit)
            flip = self._hash(b"bit", struct.pack("=BBQ", width, bit, above), 1)[0] & 1
            changed ^= flip << (width - 1 - bit)
        return changed.to_bytes(len(octets), "big")

    def opaque(self, octets):
        return self._hash(b"id", octets, 32)[:len(octets)] if any(octets) else bytes(octets)

    def name(self, name):
        """Interface names that are made from a MAC address (enx...)."""
        found = re.fullmatch(r"(.*x)([0-9a-f]{12})", name)
        return found[1] + self.mac(bytes.fromhex(found[2])).hex() if found else name

    # ---- where they stand

    def tree(self, tree):
        for folder, entries in list(tree.folders.items()):
            for name, (mark, value) in list(entries.items()):
                if mark in "=:":
                    entries[name] = (mark, self.file(folder, name, value))
        self.rename(tree)

    def file(self, folder, name, value):
        if name in ("address", "broadcast") and "/net/" in folder and value:
            return ":".join(f"{one:02x}" for one in self.mac(bytes.fromhex(value.replace(":", ""))))
        if name in ("node_guid", "sys_image_guid") and re.fullmatch(r"[0-9a-f:]{19}", value):
            return self.guid(bytes.fromhex(value.replace(":", ""))).hex(":", 2)
        if folder.endswith("/gids"):
            return self.gid(bytes.fromhex(value.replace(":", ""))).hex(":", 2)
        if name in ("phys_switch_id", "phys_port_id") and re.fullmatch(r"([0-9a-f]{2})+", value):
            return self.opaque(bytes.fromhex(value)).hex()
        if name == "parent" or folder.endswith("/ndevs"):
            return self.name(value)
        return value

    def rename(self, tree):
        def path(text):
            return "/".join(self.name(part) for part in text.split("/"))
        tree.folders = {path(folder): {self.entry(name): (mark, path(value) if mark == "->" else value)
                                       for name, (mark, value) in entries.items()}
                        for folder, entries in tree.folders.items()}

    def entry(self, name):
        for prefix in ("lower_", "upper_"):
            if name.startswith(prefix):
                return prefix + self.name(name[len(prefix):])
        return self.name(name)

    def dump(self, name, dump):
        data = bytearray(dump)
        family = {"links": (16, self.LINK), "addresses": (8, self.ADDRESS), "routes4": (12, self.ROUTE), "routes6": (12, self.ROUTE),
                  "nexthops": (8, self.NEXTHOP), "devlink": (4, {}), "devlink_ports": (4, self.DEVLINK), "rdma": (0, self.RDMA),
                  "rdma_ports": (0, self.RDMA), "rdma_system": (0, self.RDMA)}[name]
        for at, kind, end in messages(data):
            if kind > NLMSG_DONE:
                length = data[at + 17] if name.startswith("routes") else 128  # rtm_dst_len
                self.walk(data, at + 16 + family[0], end, family[1], length)
        return bytes(data)

    def walk(self, data, at, end, what, length):
        for kind, start, stop in attributes(data, at, end):
            rule = what.get(kind)
            if rule == "linkinfo":
                self.link_info(data, start, stop)
            elif isinstance(rule, dict):
                self.walk(data, start, stop, rule, length)
            elif rule:
                value = bytes(data[start:stop])
                changed = rule(self, value, length)
                assert len(changed) == len(value)
                data[start:stop] = changed

    def link_info(self, data, start, stop):
        """What a kind says of itself stays where it holds no address; of other kinds it is blanked."""
        parts = {kind: (at, end) for kind, at, end in attributes(data, start, stop)}
        kind = bytes(data[slice(*parts[1])]).rstrip(b"\0").decode() if 1 in parts else ""
        if 2 in parts and kind in ("macvlan", "macvtap"):
            self.walk(data, *parts[2], {4: Disguise._mac, 5: {4: Disguise._mac}}, 0)
        elif 2 in parts and kind not in self.KINDS_WITHOUT_ADDRESS:
            data[slice(*parts[2])] = bytes(parts[2][1] - parts[2][0])
        if 5 in parts:  # as a port of a bond or a bridge
            data[slice(*parts[5])] = bytes(parts[5][1] - parts[5][0])

    def _text(self, value, _):
        return self.name(value.rstrip(b"\0").decode("latin-1")).encode("latin-1") + b"\0" * value.endswith(b"\0")

    def _vf_mac(self, value, _):
        """struct ifla_vf_mac: the VF's number and 32 octets, of which an address fills the first."""
        size = 20 if any(value[10:24]) else 6
        return value[:4] + self.mac(value[4:4 + size]) + value[4 + size:]

    def _vf_guid(self, value, _):
        return value[:8] + self.guid(value[8:16][::-1])[::-1]

    def _via(self, value, _):
        return value[:2] + self.ip(value[2:])

    def _multipath(self, value, length):
        data, at = bytearray(value), 0
        while at + 8 <= len(data):
            size = struct.unpack_from("=H", data, at)[0]
            if size < 8 or at + size > len(data):
                break
            self.walk(data, at + 8, at + size, {5: Disguise._ip, 18: Disguise._via}, length)
            at += (size + 3) & ~3
        return bytes(data)

    def _mac(self, value, _):
        return self.mac(value)

    def _ip(self, value, _):
        return self.ip(value)

    def _destination(self, value, length):
        return self.ip(value, length)

    def _opaque(self, value, _):
        return self.opaque(value)

    def _alias(self, value, _):
        return (b"alias" * len(value))[:len(value.rstrip(b"\0"))] + b"\0" * value.endswith(b"\0")

    def _guid(self, value, _):
        return self.guid(value[::-1])[::-1]  # a number in host order

    def _subnet(self, value, _):
        return value if value[::-1] == b"\xfe\x80" + bytes(6) else self.opaque(value)

    def _blank(self, value, _):
        return bytes(len(value))

    KINDS_WITHOUT_ADDRESS = ("dummy", "ifb", "ipoib", "ipvlan", "ipvtap", "netkit", "veth", "vlan", "vrf")
    # Numbers: include/uapi/linux/if_link.h, if_addr.h, rtnetlink.h, nexthop.h, devlink.h, rdma_netlink.h
    LINK = {1: _mac, 2: _mac, 3: _text, 20: _alias, 34: _opaque, 36: _opaque, 54: _mac, 52: {53: _text},
            22: {1: {1: _vf_mac, 10: _vf_guid, 11: _vf_guid}}, 18: "linkinfo", 24: _blank, 25: _blank, 26: {10: {7: _ip}}}
    ADDRESS = {1: _ip, 2: _ip, 3: _text, 4: _ip, 6: _ip}
    ROUTE = {1: _destination, 2: _ip, 5: _ip, 7: _ip, 9: _multipath, 18: _via, 19: _ip, 22: _blank}
    NEXTHOP = {6: _ip, 8: _blank}
    DEVLINK = {7: _text, 145: {1: _mac}}
    RDMA = {6: _guid, 7: _guid, 8: _subnet, 51: _text}


def anonymous(disguise, tree, dumps):
    disguise.tree(tree)
    return {name: disguise.dump(name, dump) for name, dump in dumps.items()}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", help="folder to write: an empty one, or one to make in a folder that is there")
    arguments.add_argument("--sysfs", default="/sys", help="another tree; netlink is always this machine's")
    arguments.add_argument("--keep-addresses", action="store_true", help="do not replace MAC and IP addresses, GUIDs and GIDs")
    arguments.add_argument("--seed", help="replace them the same way every time")
    arguments.add_argument("--about", default="", help="one sentence for README.md: what machine, set up how")
    options = arguments.parse_args()
    problem = out_problem(options.out)
    if problem:
        arguments.exit(2, f"record_node: {problem}\n")
    recorder = Recorder(options.sysfs)
    if not os.path.isdir(recorder.full("class/net")):
        arguments.exit(2, f"record_node: {options.sysfs} is no sysfs, as it has no class/net: name one, or leave --sysfs out for /sys\n")
    tree = recorder.record()
    dumps, absent = read_dumps()
    if not options.keep_addresses:
        dumps = anonymous(Disguise(options.seed), tree, dumps)
    gaps = missing(recorder.refused, absent)
    if gaps:
        print(f"record_node: {gaps}", file=sys.stderr)
    try:
        write_fixture(options.out, tree, dumps, readme(options, dumps, absent, gaps))
    except OSError as error:
        arguments.exit(2, f"record_node: {error.filename or options.out} cannot be written: {error.strerror}\n")
    size = sum(os.path.getsize(os.path.join(options.out, name)) for name in os.listdir(options.out))
    print(f"{options.out}: {len(tree.folders)} folders, {recorder.unreadable} unreadable files, "
          f"{sum(sum(1 for _ in messages(dump)) for dump in dumps.values())} messages, {size} bytes")


def missing(refused, absent):
    """What this user was not allowed to read; empty when that is nothing and the user is root."""
    parts = []
    if refused:
        parts.append(f"{len(refused)} file{'s' * (len(refused) > 1)} could not be read ({', '.join(sorted(set(refused)))})")
    dumps = [f"{name}.nl" for name, why in absent.items() if why in ("EACCES", "EPERM")]
    if dumps:
        parts.append(f"{', '.join(dumps)} could not be asked for")
    if os.geteuid() != 0:
        return "recorded by another user than root: " + ("; ".join(parts) or "nothing was refused, but what only root is shown may be missing")
    return "root was refused something: " + "; ".join(parts) if parts else ""


def readme(options, dumps, absent, gaps):
    kept = "as the machine has them" if options.keep_addresses else "replaced"
    lines = [f"# {os.path.basename(os.path.abspath(options.out))}", ""]
    lines += [options.about, ""] if options.about else []
    lines += [f"Recorded by tools/record_node.py on {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, "
              f"Linux {platform.release()} ({platform.machine()}); addresses {kept}.", ""]
    lines += [f"{gaps[0].upper()}{gaps[1:]}.", ""] if gaps else []
    for name, dump in dumps.items():
        lines.append(f"- {name}.nl: {sum(1 for _ in messages(dump))} messages")
    lines += [f"- no {name}.nl: {why}" for name, why in absent.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
