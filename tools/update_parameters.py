#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the tables of fields in docs/parameters.md anew, from what `fairlead parameters --markdown` prints.

    tools/update_parameters.py [--check] [--document FILE] [FAIRLEAD]

FAIRLEAD is the program (default: build/dev/bin/fairlead). A block of its output begins and ends with a comment; the block of the same
type in the document is replaced, and all other text stays. --check changes nothing: it prints the difference, and the exit status is 1
if there is one.
"""
import argparse
import difflib
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BLOCK = re.compile(r"^<!-- fields of (\S+):.*?^<!-- end of the fields of \1 -->\n", re.MULTILINE | re.DOTALL)


def blocks_of(text):
    """By type, in order."""
    return {match.group(1): match.group(0) for match in BLOCK.finditer(text)}


def updated(document, tables):
    """The document with the blocks of `tables`. ValueError: the two do not have the same types."""
    new = blocks_of(tables)
    if not new:
        raise ValueError("there are no tables")
    found = [match.group(1) for match in BLOCK.finditer(document)]
    if sorted(found) != sorted(new):
        raise ValueError(f"the document must have one block for each type ({', '.join(new)}), and has {', '.join(found) or 'none'}")
    return BLOCK.sub(lambda match: new[match.group(1)], document)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fairlead", nargs="?", default=os.path.join(ROOT, "build/dev/bin/fairlead"))
    parser.add_argument("--document", default=os.path.join(ROOT, "docs/parameters.md"))
    parser.add_argument("--check", action="store_true", help="change nothing; exit status 1 if the tables differ")
    arguments = parser.parse_args()
    tables = subprocess.run([arguments.fairlead, "parameters", "--markdown"], check=True, capture_output=True, text=True).stdout
    with open(arguments.document, encoding="utf-8") as file:
        old = file.read()
    try:
        new = updated(old, tables)
    except ValueError as error:
        print(f"{arguments.document}: {error}", file=sys.stderr)
        return 2
    if arguments.check:
        difference = list(difflib.unified_diff(old.splitlines(True), new.splitlines(True), arguments.document, "the tables of fields"))
        sys.stdout.writelines(difference)
        if difference:
            print("run tools/update_parameters.py")
        return 1 if difference else 0
    if new != old:
        with open(arguments.document, "w", encoding="utf-8") as file:
            file.write(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
