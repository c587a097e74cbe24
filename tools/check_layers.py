#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a file includes a higher floor, drydock includes what it must not know, or a source file is too long.

A file may include "fairlead/<floor>/..." only for its own floor and those below it; third-party headers that a floor hides
(curl, gRPC, JSON) may stand only where they belong. A production .cc has at most 500 lines, or its first comment says
"One file, over 500 lines, because ...". Prints one line per offence: file:line: why.
"""
import os
import re
import subprocess
import sys

FLOORS = {
    "core": set(),
    "sys": {"core"},
    "formats": {"core"},
    "kube": {"core", "sys", "formats"},
    "rpc": {"core", "sys"},
    "dra": {"core", "sys", "kube", "formats", "rpc"},
    "devices": {"core", "sys", "kube", "formats", "dra"},
    "policy": {"core", "sys", "kube", "formats", "dra", "devices"},
    "agent": {"core", "sys", "kube", "formats", "rpc", "dra", "devices", "policy"},
}
# folders of one floor: which others of it each may include
WINGS = {
    "dra": {
        "base": set(),
        "claims": {"base"},
        "slices": {"base"},
        "reports": {"base"},
        "serve": {"base", "claims"},
        "plugin": {"base", "claims", "slices", "reports", "serve"},
        "testing": {"base", "claims"},
    },
    "agent": {
        "attach": set(),
        "ways": {"attach"},
        "install": set(),
    },
}
DRYDOCK_MAY = {"core", "sys", "kube", "formats", "rpc"}
# third-party header prefix -> folders that may include it
HIDDEN = {
    "curl/": ("src/fairlead/kube/",),
    "grpcpp/": ("src/fairlead/rpc/", "src/fairlead/dra/", "drydock/"),
    "libmnl/": ("src/fairlead/sys/netlink/", "tests/bench/"),
    "prometheus/": ("src/fairlead/dra/", "src/fairlead/agent/"),
    "httplib.h": ("drydock/",),
    "spdlog/": ("src/fairlead/core/",),
    "CLI/": ("src/fairlead/dra/plugin/plugin_options.cc", "app/", "drydock/", "examples/"),
}
MAX_LINES = 500
REASON = re.compile(r"One file, over 500 lines, because \w")
JSON_IN_HEADERS = ("drydock/",)  # a tool, not a library


def is_production(path):
    """Not a test, nor what only tests use."""
    folders = path.split("/")[:-1]
    return not path.endswith("_test.cc") and folders[0] != "tests" and not {"testing", "testdata"} & set(folders)


def first_comment(lines):
    """Its text in one line: the comment lines at the top of the file."""
    words = []
    for line in lines:
        if not line.startswith("//"):
            break
        words += line.strip("/ \n").split()
    return " ".join(words)


def too_long(path, lines):
    return (path.endswith(".cc") and is_production(path) and len(lines) > MAX_LINES
            and not REASON.search(first_comment(lines)))


def floor_of(path):
    parts = path.split("/")
    return parts[2] if parts[0] == "src" else parts[0]


def wing_of(path):
    """("dra", "claims") of src/fairlead/dra/claims/x.h, None elsewhere."""
    parts = path.split("/")
    if len(parts) == 5 and parts[:2] == ["src", "fairlead"] and parts[3] in WINGS.get(parts[2], {}):
        return parts[2], parts[3]
    return None


def allowed(path, included):
    floor = floor_of(path)
    if path.startswith("src/"):
        return included == floor or included in FLOORS[floor]
    if floor == "guard":
        return False  # the guard depends on nothing
    if floor == "drydock":
        return included in DRYDOCK_MAY
    if floor == "examples":
        return included in {"core", "sys", "dra", "formats", "kube"}
    return True  # app and tests may use everything


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    files = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.h", "*.cc"], cwd=root,
                           check=True, capture_output=True, text=True).stdout.split()
    offences = []
    for path in files:
        full = os.path.join(root, path)
        if not os.path.exists(full):
            continue
        with open(full, encoding="utf-8") as source:
            lines = source.readlines()
            if too_long(path, lines):
                offences.append(f"{path}:{len(lines)}: more than {MAX_LINES} lines: split it, or give the reason in its "
                                'first comment ("One file, over 500 lines, because ...")')
            for number, line in enumerate(lines, 1):
                match = re.match(r'\s*#\s*include\s*[<"]([^">]+)[">]', line)
                if not match:
                    continue
                target = match.group(1)
                test = path.endswith("_test.cc") or path.startswith("tests/") or "test" in os.path.basename(path)
                if target.startswith("fairlead/"):
                    included = target.split("/")[1]
                    if included not in FLOORS:
                        offences.append(f"{path}:{number}: {target}: no such floor")
                    elif not allowed(path, included):
                        offences.append(f"{path}:{number}: {floor_of(path)} must not include {target} (a higher floor)")
                wing, other = wing_of(path), wing_of("src/" + target)
                if wing and other and not test and wing[0] == other[0] and wing[1] != other[1]:
                    if other[1] not in WINGS[wing[0]][wing[1]]:
                        offences.append(f"{path}:{number}: {wing[0]}/{wing[1]} must not include {target}")
                if target.startswith("drydock/") and not path.startswith(("drydock/", "tests/")):
                    offences.append(f"{path}:{number}: only drydock and tests include {target}")
                for prefix, homes in HIDDEN.items():
                    if target.startswith(prefix) and not test and not path.startswith(homes):
                        offences.append(f"{path}:{number}: {target} belongs to {', '.join(homes)} only")
                if target.startswith("nlohmann/") and path.endswith(".h") and not test and not path.startswith(JSON_IN_HEADERS):
                    if target != "nlohmann/json_fwd.hpp":
                        offences.append(f"{path}:{number}: {target} in a header: keep JSON in .cc files")
    for offence in offences:
        print(offence)
    print(f"layers: {len(files)} files, {len(offences)} offences")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
