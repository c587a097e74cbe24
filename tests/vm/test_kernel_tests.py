# SPDX-License-Identifier: Apache-2.0
"""The tests with the ctest label `kernel`, on the guest's kernel: each gtest case is a test here, each program runs once."""
import fnmatch
import os
import subprocess
import xml.etree.ElementTree as tree

import pytest

from guest import SOURCE

BUILD = os.environ.get("FAIRLEAD_KERNEL_TESTS", f"{SOURCE}/build/dev")


def programs():
    with open(f"{BUILD}/kernel_tests.txt", encoding="ascii") as file:
        return file.read().split()


def cases(program):
    """Suite.Case names, parameterized ones too, as --gtest_list_tests says them."""
    listed = subprocess.run([f"{BUILD}/bin/{program}", "--gtest_list_tests"], check=True, capture_output=True, text=True).stdout
    suite, found = "", []
    for line in listed.splitlines():
        name = line.split("#")[0].rstrip()
        if name.startswith("  "):
            found.append(suite + name.strip())
        elif name.endswith("."):
            suite = name
    return found


def pytest_generate_tests(metafunc):
    wanted = metafunc.config.getoption("--gtest_filter").split(":")
    rows = [(program, case) for program in programs() for case in cases(program) if any(fnmatch.fnmatchcase(case, pattern) for pattern in wanted)]
    metafunc.parametrize("program, case", rows, ids=[f"{program}-{case}" for program, case in rows])


@pytest.fixture(scope="session")
def results(booted, request):
    """program -> {case: its element in gtest's XML}; a program runs when its first case is asked for."""
    known = {}

    def of(program):
        if program not in known:
            report = f"{booted.share}/{program}.xml"
            if os.path.exists(report):
                os.unlink(report)
            modules = booted.status("modprobe", "-a", "dummy", "veth", "bridge", "macvlan", "vrf", "8021q", "ipvlan")
            assert modules == 0, "modprobe of the kinds that the kernel tests use"
            filter_ = request.config.getoption("--gtest_filter")
            text = booted.run(f"{BUILD}/bin/{program}", f"--gtest_output=xml:/out/{program}.xml", f"--gtest_filter={filter_}", check=False, timeout=600,
                              folder="/tmp")
            found = {}
            if os.path.exists(report):
                for element in tree.parse(report).getroot().iter("testcase"):
                    found[f"{element.get('classname')}.{element.get('name')}"] = element
            known[program] = (found, text)
        return known[program]
    return of


def test_kernel(results, program, case):
    found, text = results(program)
    assert case in found, f"{program} ended before it came to {case}:\n{text[-3000:]}"
    element = found[case]
    skipped = element.find("skipped")
    if skipped is not None or element.get("result") == "skipped":
        message = (skipped.get("message") if skipped is not None else "") or "skipped"
        pytest.skip(message.strip().split("\n")[-1])
    failures = "\n".join(failure.get("message") for failure in element.findall("failure"))
    assert not failures, failures
