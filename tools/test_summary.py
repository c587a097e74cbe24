#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_summary.py JUNIT.xml (of ctest or pytest): prints what failed (with its output) and why tests were skipped; last line "N passed, N failed, N skipped".
Exit status 1 when a test failed or none ran."""
import collections
import re
import sys
import xml.etree.ElementTree as tree


def skip_reason(output):
    match = re.search(r"Skipped\n(.*?)\n", output)
    return match.group(1).strip() if match and match.group(1).strip() else "no reason given"


def main():
    try:
        cases = list(tree.parse(sys.argv[1]).getroot().iter("testcase"))
    except (OSError, tree.ParseError) as error:
        print(f"  no test results: {error}")
        cases = []
    passed, failed, skipped = 0, [], collections.defaultdict(list)
    for case in cases:
        output = case.findtext("system-out") or ""
        if case.get("status") is None:  # pytest's: a child says what was not well
            trouble = [child for child in case if child.tag in ("failure", "error")]
            skip = case.find("skipped")
            if trouble:
                failed.append((case.get("name"), "\n".join(f"{child.get('message')}\n{child.text}" for child in trouble)))
            elif skip is not None:
                skipped[skip.get("message")].append(case.get("name"))
            else:
                passed += 1
        elif case.get("status") == "run":
            passed += 1
        elif case.find("skipped") is not None and "[  SKIPPED ]" in output:
            skipped[skip_reason(output)].append(case.get("name"))
        else:  # failed, timed out, crashed, or could not be started
            failed.append((case.get("name"), output))
    for name, output in failed:
        print(f"  FAILED {name}")
        for line in output.strip().splitlines()[-60:]:
            print(f"      {line}")
    for reason, names in sorted(skipped.items()):
        print(f"  skipped {len(names)}: {reason} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})")
    print(f"{passed} passed, {len(failed)} failed, {sum(map(len, skipped.values()))} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
