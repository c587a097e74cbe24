#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""run_tidy.py BUILD_DIR [REGEX]: clang-tidy 19 over every source of the project in the compile database (whose path in the
repository matches), two at a time. Last line "N passed, N failed": a file is a test. Clean results are remembered by the hash of
the source and its preprocessed text, so that a second run, in this clone or another, looks only at what changed
($FAIRLEAD_CACHE/tidy, FAIRLEAD_CACHE=/var/cache/fairlead)."""
import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def key_of(entry, config):
    words = [w for w in shlex.split(entry["command"]) if not w.endswith("ccache")]
    out = words.index("-o")
    del words[out:out + 2]
    words[words.index("-c")] = "-E"
    words.append("-P")
    with open(entry["file"], "rb") as source:
        config += source.read()
    text = subprocess.run(words, cwd=entry["directory"], capture_output=True, check=False).stdout
    return hashlib.sha256(config + text).hexdigest()


def tidy(entry, build, config, cache):
    marker = os.path.join(cache, key_of(entry, config))
    if os.path.exists(marker):
        return entry["file"], ""
    command = ["clang-tidy-19", "-p", build, "--quiet", "--extra-arg=-Wno-unknown-warning-option", entry["file"]]
    if entry["file"].endswith("_test.cc"):
        # The check does not know that ASSERT_TRUE(x) ends the test when x is empty.
        command.insert(1, "--checks=-bugprone-unchecked-optional-access")
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode == 0:
        open(marker, "w", encoding="utf-8").close()
        return entry["file"], ""
    return entry["file"], run.stdout + run.stderr


def main():
    build = os.path.abspath(sys.argv[1])
    wanted = re.compile(sys.argv[2] if len(sys.argv) > 2 else "")
    cache = os.path.join(os.environ.get("FAIRLEAD_CACHE", "/var/cache/fairlead"), "tidy")
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(ROOT, ".clang-tidy"), "rb") as source:
        config = source.read()
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as source:
        entries = [e for e in json.load(source) if not e["file"].startswith(build) and e["file"].endswith(".cc")
                   and wanted.search(os.path.relpath(e["file"], ROOT))]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for path, output in pool.map(lambda e: tidy(e, build, config, cache), entries):
            if output:
                failed += 1
                print(f"  FAILED {os.path.relpath(path, ROOT)}")
                print("\n".join("      " + line for line in output.splitlines() if "warnings generated" not in line), flush=True)
    print(f"{len(entries) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not entries else 0


if __name__ == "__main__":
    sys.exit(main())
