# SPDX-License-Identifier: Apache-2.0
"""The format of a recorded machine: a folder with one text file for sysfs and one file per netlink dump.

tree.txt   sysfs, in sections: a line "[devices/pci0000:00/0000:00:01.0]" names a folder, the lines below it are its entries:
               vendor = 0x8086                   a file that reads "0x8086\\n"
               phys_port_name : p0               a file that reads "p0", without a newline at the end
               driver -> ../../bus/pci/drivers/igb   a symbolic link
               speed ! EINVAL                    a file that can be opened but not read; the error that a reader gets
           In values, a backslash starts an escape: \\n, \\\\ or \\xNN. Sections and entries are sorted, so two recordings can be compared.
*.nl       one netlink dump each: the messages as the kernel sent them, one behind the other, NLMSG_DONE last.
README.md  where it comes from.
"""
import os
import re
import struct

NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP = 1, 2, 4, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLA_F_NESTED = 0x8000
SPACE = "\\x20"  # in names, which end at the first space


def escape(text):
    """Keeps what is printable; a value is one line."""
    out = []
    for char in text:
        if char == "\\":
            out.append("\\\\")
        elif char == "\n":
            out.append("\\n")
        elif " " <= char <= "~":
            out.append(char)
        else:
            out.append(f"\\x{ord(char) & 0xff:02x}")
    return "".join(out)


def unescape(text):
    return re.sub(r"\\(n|\\|x[0-9a-f]{2})",
                  lambda found: {"n": "\n", "\\": "\\"}.get(found[1]) or chr(int(found[1][1:], 16)), text)


class Tree:
    """What stands in tree.txt. Paths are relative to /sys."""

    def __init__(self):
        self.folders = {}  # folder -> {name: (mark, value)}

    def folder(self, path):
        return self.folders.setdefault(path, {})

    def _put(self, path, mark, value):
        folder, name = os.path.split(path)
        self.folder(folder)[name] = (mark, value)

    def file(self, path, content):
        """`content` as read, with the newline that nearly every attribute ends with."""
        if content.endswith("\n"):
            self._put(path, "=", content[:-1])
        else:
            self._put(path, ":", content)

    def link(self, path, target):
        self._put(path, "->", target)

    def link_to(self, path, place):
        """A link to another path of the tree, written as sysfs does: relative."""
        self.link(path, os.path.relpath(place, os.path.dirname(path)))

    def unreadable(self, path, error):
        self._put(path, "!", error)

    def text(self):
        lines = []
        for folder in sorted(self.folders):
            lines.append(f"[{escape(folder)}]")
            for name, (mark, value) in sorted(self.folders[folder].items()):
                lines.append(f"{escape(name).replace(' ', SPACE)} {mark} {escape(value)}".rstrip(" "))
        return "\n".join(lines) + "\n"


def read_tree(path):
    tree, folder = Tree(), None
    with open(path, encoding="ascii") as file:
        for line in file.read().splitlines():
            if line.startswith("["):
                folder = tree.folder(unescape(line[1:-1]))
            else:
                name, mark, *value = line.split(" ", 2)
                folder[unescape(name)] = (mark, unescape(value[0]) if value else "")
    return tree


def out_problem(out):
    """Why no fixture can be written to this folder, in one sentence; None when it can: it is empty, or is not there and can be made."""
    another = "name a folder that is empty or not there yet"
    parent = os.path.dirname(os.path.abspath(out))
    if not out:
        return f"the name of the folder to write is empty: {another}"
    if os.path.isdir(out):
        try:
            full = bool(os.listdir(out))
        except OSError as error:
            return f"{out} cannot be looked into ({error.strerror}): {another}"
        if full:
            return f"{out} is not empty, and nothing in it is overwritten: {another}"
        return None if os.access(out, os.W_OK | os.X_OK) else f"{out} is not writable: {another}"
    if os.path.lexists(out):
        return f"{out} is not a folder: {another}"
    if not os.path.isdir(parent):
        return f"there is no folder {parent} to make {os.path.basename(os.path.abspath(out))} in: make it first, or {another}"
    if not os.access(parent, os.W_OK | os.X_OK):
        return f"{parent} is not writable, so {out} cannot be made: {another}"
    return None


def write_fixture(out, tree, dumps, readme):
    """`dumps`: name -> bytes. To a folder without out_problem(); nothing is ever overwritten. An error leaves nothing behind."""
    files = {"tree.txt": tree.text().encode("ascii"), **{name + ".nl": content for name, content in dumps.items()},
             "README.md": readme.encode()}
    made, written = not os.path.isdir(out), []
    if made:
        os.mkdir(out)
    try:
        for name, content in files.items():
            with open(os.path.join(out, name), "xb") as file:
                written.append(file.name)
                file.write(content)
    except OSError:
        for path in written:
            os.unlink(path)
        if made:
            os.rmdir(out)
        raise


# ---- netlink bytes

def align(size):
    return (size + 3) & ~3


def attribute(kind, value):
    """One attribute, padded. The length field has 16 bits and wraps as the kernel's nla_nest_end() lets it."""
    length = 4 + len(value)
    return struct.pack("=HH", length & 0xffff, kind) + value + bytes(align(length) - length)


def u32(kind, value):
    return attribute(kind, struct.pack("=I", value & 0xffffffff))


def u8(kind, value):
    return attribute(kind, struct.pack("=B", value))


def text(kind, value):
    return attribute(kind, value.encode() + b"\0")


def message(kind, payload, flags=NLM_F_MULTI, sequence=1, port=0):
    size = 16 + len(payload)
    return struct.pack("=IHHII", size, kind, flags, sequence, port) + payload + bytes(align(size) - size)


def done(sequence=1, port=0):
    return message(NLMSG_DONE, struct.pack("=i", 0), NLM_F_MULTI, sequence, port)


def messages(dump):
    """(offset of the header, type, end) of each message."""
    at = 0
    while at + 16 <= len(dump):
        size, kind = struct.unpack_from("=IH", dump, at)
        if size < 16 or at + size > len(dump):
            return
        yield at, kind, at + size
        at += align(size)


def attributes(data, at, end):
    """(type, offset of the value, end of the value) of each attribute of data[at:end]."""
    while at + 4 <= end:
        size, kind = struct.unpack_from("=HH", data, at)
        if size < 4 or at + size > end:
            return
        yield kind & 0x3fff, at + 4, at + size
        at += align(size)
