#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a container image of programs and just the shared libraries they link: an OCI archive of one layer, without any builder.

  make_image.py NAME:TAG OUT.tar --program build/release/bin/fairlead ... [--file SOURCE=/PATH] [--link /PATH=TARGET] --entrypoint WORD...

Programs land in /usr/bin, without their debug information. Load the archive with `ctr -n k8s.io images import OUT.tar`,
`docker load`, `skopeo copy oci-archive:OUT.tar ...`. The same input gives the same bytes.
"""
import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile


def libraries(program):
    """The shared libraries that `program` is loaded with, the loader itself included, as the paths it looks them up by."""
    run = subprocess.run(["ldd", program], capture_output=True, text=True)
    if run.returncode != 0 and re.search(r"not a dynamic executable|statically linked", run.stdout + run.stderr):
        return []
    if "not found" in run.stdout:
        raise SystemExit(f"make_image: {program} needs a library that is not here:\n{run.stdout}")
    return re.findall(r"(?:=> |^\s*)(/\S+) \(0x", run.stdout, re.MULTILINE)


def place(root, path, source, strip=False):
    target = root + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(os.path.realpath(source), target)
    os.chmod(target, 0o755)
    if strip:
        subprocess.run(["strip", "--strip-debug", target], check=True)


def fill(root, args):
    for merged in ("bin", "sbin", "lib", "lib64"):
        os.makedirs(f"{root}/usr/{merged}")
        os.symlink(f"usr/{merged}", f"{root}/{merged}")
    for folder in ("tmp", "run", "etc", "var"):
        os.makedirs(f"{root}/{folder}")
    os.symlink("/run", f"{root}/var/run")
    for program in args.program:
        place(root, "/usr/bin/" + os.path.basename(program), program, strip=not args.keep_debug)
    for pair in args.file:
        source, _, path = pair.partition("=")
        place(root, path, source)
    for program in args.program + [pair.partition("=")[0] for pair in args.file]:
        for library in libraries(program):
            place(root, library if library.startswith("/usr/") else "/usr" + library, library)
    for pair in args.link:
        path, _, target = pair.partition("=")
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        os.symlink(target, root + path)


def blob(blobs, data):
    digest = hashlib.sha256(data).hexdigest()
    blobs[digest] = data
    return {"digest": "sha256:" + digest, "size": len(data)}


def plain(entry):
    """Nobody's clock or user shows in the image."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def write_archive(root, name, entrypoint, out):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as layer:
        for entry in sorted(os.listdir(root)):
            layer.add(f"{root}/{entry}", arcname=entry, filter=plain)
    blobs = {}
    oci = "application/vnd.oci.image."
    layer = blob(blobs, gzip.compress(raw.getvalue(), compresslevel=6, mtime=0))
    config = blob(blobs, json.dumps({
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": entrypoint, "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(raw.getvalue()).hexdigest()]},
    }).encode())
    manifest = blob(blobs, json.dumps({
        "schemaVersion": 2, "mediaType": oci + "manifest.v1+json",
        "config": {"mediaType": oci + "config.v1+json", **config},
        "layers": [{"mediaType": oci + "layer.v1.tar+gzip", **layer}],
    }).encode())
    index = json.dumps({"schemaVersion": 2, "manifests": [{
        "mediaType": oci + "manifest.v1+json", **manifest,
        "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]},
    }]}).encode()
    files = [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", index)]
    files += [("blobs/sha256/" + digest, data) for digest, data in sorted(blobs.items())]
    partial = out + ".partial"
    with tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as archive:
        for path, data in files:
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    os.replace(partial, out)


def unpacked_size(root):
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(root) for name in names)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="the image's name, such as registry.example.com/fairlead:0.1.0")
    parser.add_argument("out", help="the archive to write")
    parser.add_argument("--program", action="append", default=[], help="goes to /usr/bin, with its libraries; repeatable")
    parser.add_argument("--file", action="append", default=[], help="SOURCE=/PATH, with its libraries; repeatable")
    parser.add_argument("--link", action="append", default=[], help="/PATH=TARGET, a symbolic link; repeatable")
    parser.add_argument("--entrypoint", nargs="+", default=[])
    parser.add_argument("--keep-debug", action="store_true", help="keep the programs' debug information")
    parser.add_argument("--max-mb", type=float, help="fail when the image is larger, unpacked")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        fill(root, args)
        size = unpacked_size(root) / 1e6
        if args.max_mb is not None and size > args.max_mb:
            raise SystemExit(f"make_image: {args.name} is {size:.1f} MB unpacked, more than the {args.max_mb:g} MB it may be")
        write_archive(root, args.name, args.entrypoint, args.out)
    print(f"{args.name}: {size:.1f} MB unpacked, {os.path.getsize(args.out) / 1e6:.1f} MB as {args.out}")


if __name__ == "__main__":
    sys.exit(main())
