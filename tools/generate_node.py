#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes up a large machine, in the format that tools/record_node.py writes.

    tools/generate_node.py OUT_FOLDER [--pfs 8] [--vfs 256] [--hcas 16] [--seed N] [--vf-statistics]

Two NUMA nodes, one PCI root for each card, half of the cards on either node. Each PF has the given number of VFs, all with links; the
first HCAs are the PFs' own RDMA devices (RoCE), the others are InfiniBand cards with an IPoIB link. eno1 has the default route. The same
arguments give the same bytes.

A PF's link message carries the list of its VFs in one attribute, whose length field has 16 bits. A dump that asks for VFs without their
counters (RTEXT_FILTER_SKIP_STATS) needs 196 bytes for each, so 256 fit. With counters (--vf-statistics) it is 296, and 222 VFs are too
many: the kernel writes the whole list and lets the length wrap (nla_nest_end() in include/net/netlink.h), so that a reader takes the rest
of the list for attributes of the link. Seen on Linux 6.12 with netdevsim: from 222 VFs with counters and from 335 without, the rest reads
as hundreds of IFLA_ADDRESS, and with 512 VFs and counters everything behind the list is lost. This does the same.
"""
import argparse
import random
import re
import struct

from node_fixture import Tree, attribute, done, message, out_problem, text, u8, u32, write_fixture

RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE, DEVLINK_FAMILY, NLDEV = 16, 20, 24, 21, 5 << 10
ARPHRD_ETHER, ARPHRD_INFINIBAND = 1, 32
UP = 0x1 | 0x2 | 0x40 | 0x1000 | 0x10000  # up, broadcast, running, multicast, lower up
DOWN = 0x2 | 0x1000


def u64(kind, value):
    return attribute(kind, struct.pack("=Q", value))


def colons(octets):
    return octets.hex(":")


def groups(octets):
    return octets.hex(":", 2)


class Function:
    """A PCI function and where it is."""

    def __init__(self, root, rid, numa):
        domain, number = root
        self.numa = numa
        self.bdf = f"{domain:04x}:{rid >> 8:02x}:{rid >> 3 & 31:02x}.{rid & 7}"
        port = f"{domain:04x}:{number:02x}:01.0"
        self.port = f"devices/pci{domain:04x}:{number:02x}/{port}"
        self.place = f"{self.port}/{self.bdf}"


class Machine:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.tree = Tree()
        self.links, self.addresses, self.routes4, self.routes6 = (bytearray() for _ in range(4))
        self.rdma, self.rdma_ports, self.devlink, self.devlink_ports = (bytearray() for _ in range(4))
        self.roots = self.groups = self.hcas = 0
        self.index = 1
        self.link("lo", bytes(6), None, ARPHRD_ETHER, flags=0x10049, loopback=True)

    def build(self):
        options = self.options
        self.uplink()
        for number in range(options.pfs):
            self.pf(number, numa=number * 2 // options.pfs)
        others = max(options.hcas - options.pfs, 0)
        for number in range(others):
            self.infiniband_card(number, numa=number * 2 // others)
        self.rest()

    # ---- sysfs

    def files(self, folder, values):
        for name, value in values.items():
            self.tree.file(f"{folder}/{name}", f"{value}\n")

    def function(self, root, rid, numa, driver, values):
        function = Function(root, rid, numa)
        self.pci_device(function.place, numa, driver, values)
        return function

    def pci_device(self, place, numa, driver, values):
        self.files(place, values | {"numa_node": numa, "local_cpulist": f"{numa * 64}-{numa * 64 + 63}"})
        bdf = place.rsplit("/", 1)[1]
        group = f"kernel/iommu_groups/{self.groups}"
        self.groups += 1
        for path, target in ((f"bus/pci/devices/{bdf}", place), (f"{place}/subsystem", "bus/pci"),
                             (f"{place}/iommu_group", group), (f"{group}/devices/{bdf}", place),
                             (f"{place}/driver", "bus/pci/drivers/" + driver), (f"bus/pci/drivers/{driver}/{bdf}", place)):
            self.tree.link_to(path, target)
        self.tree.file(group + "/type", "DMA-FQ\n")

    def root(self, numa):
        """A PCI root with a root port, 15 buses below it."""
        root = (self.roots // 16, self.roots % 16 * 16)
        self.roots += 1
        port = Function(root, 0, numa).port
        self.pci_device(port, numa, "pcieport", {"class": "0x060400", "vendor": "0x8086", "device": "0x352a"})
        return root

    @staticmethod
    def facts(vendor, device, kind="0x020000", speed="32.0 GT/s PCIe", width=16):
        return {"vendor": vendor, "device": device, "class": kind, "subsystem_vendor": vendor, "subsystem_device": "0x0058",
                "revision": "0x00", "driver_override": "(null)", "reset_method": "flr", "ari_enabled": "1",
                "current_link_speed": speed, "current_link_width": width, "max_link_speed": speed, "max_link_width": width}

    def uplink(self):
        function = self.function(self.root(0), 0x100, 0, "tg3", self.facts("0x14e4", "0x165f", speed="5.0 GT/s PCIe", width=2))
        index = self.link("eno1", self.mac(0xb4, 0x45, 0x06), function)
        self.addresses += message(RTM_NEWADDR, struct.pack("=BBBBI", 2, 24, 0x80, 0, index) + attribute(1, bytes([192, 0, 2, 7])) +
                                  attribute(2, bytes([192, 0, 2, 7])) + text(3, "eno1") + u32(8, 0x80))
        gateway = attribute(5, bytes([192, 0, 2, 1])) + u32(4, index)
        self.routes4 += message(RTM_NEWROUTE, struct.pack("=8BI", 2, 0, 0, 0, 254, 3, 0, 1, 0) + u32(15, 254) + gateway)

    def pf(self, number, numa):
        vfs, root = self.options.vfs, self.root(numa)
        facts = self.facts("0x15b3", "0x1021")
        pf = self.function(root, (root[1] + 1) << 8, numa, "mlx5_core", facts | {
            "sriov_totalvfs": vfs, "sriov_numvfs": vfs, "sriov_offset": 1, "sriov_stride": 1, "sriov_vf_device": "101e",
            "sriov_drivers_autoprobe": 1, "sriov_vf_total_msix": vfs * 12})
        mac, name, listed = self.mac(0x94, 0x6d, 0xae), f"ens{number + 1}f0np0", b""
        found = []
        for vf in range(vfs):
            one = self.function(root, ((root[1] + 1) << 8) + 1 + vf, numa, "mlx5_core", facts | {"device": "0x101e"})
            self.tree.link_to(f"{one.place}/physfn", pf.place)
            self.tree.link_to(f"{pf.place}/virtfn{vf}", one.place)
            own = self.mac(0x02, 0x10, number)
            found.append((f"ens{number + 1}f0v{vf}", own, one))
            listed += self.vf_info(vf, own)
        index = self.link(name, mac, pf, more=u32(21, vfs) + (attribute(22, listed) if vfs else b""),
                          altnames=[f"enp{number + 1}s0f0np0"])
        for vf_name, own, one in found:
            self.link(vf_name, own, one, flags=DOWN)
        port = text(1, "pci") + text(2, pf.bdf)
        self.devlink += message(DEVLINK_FAMILY, struct.pack("=BBH", 3, 1, 0) + port)
        self.devlink_ports += message(DEVLINK_FAMILY, struct.pack("=BBH", 7, 1, 0) + port + u32(3, number) +
                                      attribute(4, struct.pack("=H", 2)) + u32(6, index) + text(7, name) +
                                      attribute(77, struct.pack("=H", 0)) + u32(78, 0))
        if number < self.options.hcas:
            self.hca(pf, mac, index, name)

    def infiniband_card(self, number, numa):
        root = self.root(numa)
        card = self.function(root, (root[1] + 1) << 8, numa, "mlx5_core", self.facts("0x15b3", "0x1021", "0x020700"))
        guid = self.guid(self.mac(0x94, 0x6d, 0xae))
        address = bytes([0, 0, 0x10, 0x49, 0xfe, 0x80, 0, 0, 0, 0, 0, 0]) + guid
        name = f"ib{number}"
        index = self.link(name, address, card, ARPHRD_INFINIBAND, kind="ipoib")
        self.hca(card, guid, index, name, lid=number + 1)

    def hca(self, function, base, index, netdev, lid=0):
        """The RDMA device of a function, InfiniBand if it has a LID."""
        number, guid = self.hcas, base if len(base) == 8 else self.guid(base)
        self.hcas += 1
        name, place = f"mlx5_{number}", f"{function.place}/infiniband/mlx5_{number}"
        self.files(place, {"node_type": "1: CA", "node_guid": groups(guid), "sys_image_guid": groups(guid), "fw_ver": "28.40.1000",
                           "hw_rev": "0", "hca_type": "MT4129", "board_id": "MT_0000000838"})
        port = place + "/ports/1"
        self.files(port, {"state": "4: ACTIVE", "phys_state": "5: LinkUp", "rate": "400 Gb/sec (4X NDR)",
                          "link_layer": "InfiniBand" if lid else "Ethernet", "lid": hex(lid), "lid_mask_count": "0",
                          "sm_lid": "0x1" if lid else "0x0", "sm_sl": "0", "cap_mask": "0xa751e848" if lid else "0x04010000"})
        gid = b"\xfe\x80" + bytes(6) + guid
        self.files(port + "/gids", {"0": groups(gid)})
        self.files(port + "/gid_attrs/types", {"0": "IB/RoCE v1"})
        if lid:
            self.tree.unreadable(port + "/gid_attrs/ndevs/0", "EINVAL")
        else:
            self.files(port + "/gid_attrs/ndevs", {"0": netdev})
        self.files(port + "/pkeys", {"0": "0xffff"})
        self.class_link("infiniband", name, place, function)
        for kind, entry, minor in (("infiniband_verbs", f"uverbs{number}", 192 + number), ("infiniband_mad", f"umad{number}", number)):
            below = f"{function.place}/{kind}/{entry}"
            self.files(below, {"ibdev": name, "dev": f"231:{minor}"} | ({"port": 1} if kind == "infiniband_mad" else {"abi_version": 1}))
            self.class_link(kind, entry, below, function)
        number_of_guid = int.from_bytes(guid, "big")
        device = u32(1, number) + text(2, name)
        self.rdma += message(NLDEV | 1, device + u32(3, 1) + u64(4, 0) + text(5, "28.40.1000") + u64(6, number_of_guid) +
                             u64(7, number_of_guid) + u8(14, 1) + text(67, "ib" if lid else "roce"))
        subnet = u64(4, 0) + u64(8, 0xfe80 << 48) + u32(9, lid) + u32(10, 1) + u8(11, 0) if lid else b""
        self.rdma_ports += message(NLDEV | 5, device + u32(3, 1) + subnet + u8(12, 4) + u8(13, 5) +
                                   (b"" if lid else u32(50, index) + text(51, netdev))) + done()

    def class_link(self, kind, name, place, function):
        self.tree.link_to(f"class/{kind}/{name}", place)
        self.tree.link_to(place + "/subsystem", "class/" + kind)
        if function:
            self.tree.link_to(place + "/device", function.place)

    def rest(self):
        cpus = "0-127"
        self.files("devices/system/cpu", {"online": cpus, "possible": cpus})
        self.files("devices/system/node", {"online": "0-1", "possible": "0-1", "has_cpu": "0-1"})
        for node in (0, 1):
            self.files(f"devices/system/node/node{node}", {"cpulist": f"{node * 64}-{node * 64 + 63}",
                                                          "distance": "10 21" if node == 0 else "21 10"})
        for module in ("ib_core", "ib_uverbs", "ib_umad", "rdma_ucm"):
            self.tree.folder("module/" + module)
        self.files("module/ib_core/parameters", {"netns_mode": "Y"})

    # ---- addresses

    def mac(self, *vendor):
        return bytes(vendor) + self.random.randbytes(3)

    @staticmethod
    def guid(mac):
        return mac[:3] + b"\x03\x00" + mac[3:]

    # ---- links

    def vf_info(self, vf, mac):
        """One IFLA_VF_INFO, its attributes in the kernel's order (rtnl_fill_vfinfo)."""
        def words(kind, *values):
            return attribute(kind, struct.pack(f"={len(values) + 1}I", vf, *values))
        info = attribute(1, struct.pack("=I", vf) + mac + bytes(26)) + attribute(13, b"\xff" * 6 + bytes(26))
        info += words(2, 0, 0) + words(6, 0, 0) + words(3, 0) + words(4, 0) + words(5, 0) + words(7, 0xffffffff) + words(9, 0)
        info += attribute(12, attribute(1, struct.pack("=IIIHH", vf, 0, 0, 0x0081, 0)))
        if self.options.vf_statistics:
            info += attribute(8, b"".join(u64(kind, 0) for kind in (0, 1, 2, 3, 4, 5, 7, 8)))
        return attribute(1, info)

    def link(self, name, mac, function, kind_of_hardware=ARPHRD_ETHER, flags=UP, kind="", more=b"", altnames=(), loopback=False):
        """A link in sysfs and its RTM_NEWLINK, attributes in the order of rtnl_fill_ifinfo. Returns its index."""
        index, self.index = self.index, self.index + 1
        up, mtu = bool(flags & 1), 65536 if loopback else 2044 if kind else 1500
        hardware = 772 if loopback else kind_of_hardware
        place = f"{function.place if function else 'devices/virtual'}/net/{name}"
        self.files(place, {"address": colons(mac), "addr_assign_type": 0, "addr_len": len(mac), "dev_id": "0x0", "dev_port": 0,
                           "flags": hex(flags & 0xffff & ~0x40), "ifindex": index, "iflink": index, "mtu": mtu,
                           "operstate": "up" if up else "down", "tx_queue_len": 1000, "type": hardware})
        for one, value in (("carrier", 1), ("speed", 400000), ("duplex", "full")):
            if up and not loopback:
                self.files(place, {one: value})
            else:
                self.tree.unreadable(f"{place}/{one}", "EINVAL")
        self.class_link("net", name, place, function)
        permanent = attribute(54, mac) if not loopback else b""
        parent = text(56, function.bdf) + text(57, "pci") if function else b""
        names = attribute(52 | 0x8000, b"".join(text(53, one) for one in altnames)) if altnames else b""
        self.links += message(RTM_NEWLINK, b"".join((
            struct.pack("=BxHiII", 0, hardware, index, flags, 0),
            text(3, name), u32(13, 1000), u8(16, 6 if up else 2), u8(17, 0), u32(4, mtu), u32(50, 68), u32(51, 9978), u32(27, 0),
            u32(30, 0), u32(61, 0), u32(31, 63), u32(40, 65535), u32(41, 65536), u32(58, 65536), u32(32, 63), u8(33, up), u32(35, 1),
            u32(47, 1), u32(48, 0), u8(39, 0), attribute(1, mac), attribute(2, b"\xff" * len(mac)), attribute(23, bytes(200)),
            attribute(7, bytes(96)), more, attribute(43, u8(2, 0)),
            attribute(18, text(1, kind)) if kind else b"", permanent, text(6, "mq"),
            attribute(26, attribute(2, attribute(1, bytes(132))) + attribute(10, u32(1, 0) + attribute(5, bytes(16)) +
                                                                            attribute(2, bytes(240)))),
            attribute(14, bytes(32)), names, parent)))
        return index

    def dumps(self):
        system = message(NLDEV | 6, u8(66, 1), 0)
        return {"links": self.links + done(), "addresses": self.addresses + done(), "routes4": self.routes4 + done(),
                "routes6": self.routes6 + done(), "nexthops": done(), "devlink": self.devlink + done(),
                "devlink_ports": self.devlink_ports + done(), "rdma": self.rdma + done(), "rdma_ports": self.rdma_ports,
                "rdma_system": system}


def number(low, high):
    def check(word):
        if not re.fullmatch("-?[0-9]{1,10}", word) or not low <= int(word) <= high:
            raise argparse.ArgumentTypeError(f"\"{word}\" is not a whole number from {low} to {high}")
        return int(word)
    return check


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", help="folder to write: an empty one, or one to make in a folder that is there")
    arguments.add_argument("--pfs", type=number(1, 64), default=8, help="1 to 64")
    arguments.add_argument("--vfs", type=number(0, 2048), default=256, help="of each PF, 0 to 2048")
    arguments.add_argument("--hcas", type=number(0, 63), default=16, help="RDMA devices, 0 to 63")
    arguments.add_argument("--seed", type=number(0, 2**32 - 1), default=1, help="of the random addresses, 0 to 4294967295")
    arguments.add_argument("--vf-statistics", action="store_true", help="VF lists with counters; 222 VFs and more overflow")
    options = arguments.parse_args()
    problem = out_problem(options.out)
    if problem:
        arguments.exit(2, f"generate_node: {problem}\n")
    machine = Machine(options)
    machine.build()
    counters = " --vf-statistics" if options.vf_statistics else ""
    readme = (f"# A made-up machine\n\ntools/generate_node.py OUT_FOLDER --pfs {options.pfs} --vfs {options.vfs} "
              f"--hcas {options.hcas} --seed {options.seed}{counters}\n\n"
              f"{options.pfs} PFs with {options.vfs} VFs each, {machine.hcas} RDMA devices, {machine.index - 1} links.\n")
    try:
        write_fixture(options.out, machine.tree, machine.dumps(), readme)
    except OSError as error:
        arguments.exit(2, f"generate_node: {error.filename or options.out} cannot be written: {error.strerror}\n")


if __name__ == "__main__":
    main()
