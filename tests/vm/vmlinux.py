#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vmlinux.py VMLINUZ OUT: writes the kernel that a bzImage carries compressed, so that the guest need not decompress it.

Where the payload lies: the kernel's Documentation/arch/x86/boot.rst (setup_sects, payload_offset, payload_length). Exit status 1 when the
payload is no ELF file or its compression is not known.
"""
import struct
import subprocess
import sys

TOOLS = {b"\xfd7zX": ["xz", "-dc"], b"\x28\xb5\x2f\xfd": ["zstd", "-dc"], b"\x1f\x8b": ["gzip", "-dc"]}


def main():
    with open(sys.argv[1], "rb") as file:
        image = file.read()
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    begin = (setup_sectors + 1) * 512 + offset
    payload = image[begin:begin + length]
    tool = next((command for magic, command in TOOLS.items() if payload.startswith(magic)), None)
    if tool is None:
        return f"{sys.argv[1]}: the compression of its payload is not known ({payload[:4].hex()})"
    # A few bytes follow the compressed stream, so that the tool complains at the end
    kernel = subprocess.run(tool, input=payload, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    if not kernel.startswith(b"\x7fELF"):
        return f"{sys.argv[1]}: no ELF file inside"
    with open(sys.argv[2], "wb") as file:
        file.write(kernel)
    return 0


if __name__ == "__main__":
    sys.exit(main())
