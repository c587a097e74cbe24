# SPDX-License-Identifier: Apache-2.0
"""The tests with the ctest label `kernel`, on the guest's kernel: each gtest case is a test here, each program runs once."""
import os
import subprocess
import xml.etree.ElementTree as tree

import pytest

from guest import SOURCE, GuestDied

BUILD = os.environ.get("FAIRLEAD_KERNEL_TESTS", f"{SOURCE}/build/dev")


def programs():
    with open(f"{BUILD}/kernel_tests.txt", encoding="ascii") as file:
        return file.read().split()


def cases(program, wanted):
    """Suite.Case names, parameterized ones too, of those that gtest's filter lets through."""
    listed = subprocess.run([f"{BUILD}/bin/{program}", "--gtest_list_tests", f"--gtest_filter={wanted}"], check=True, capture_output=True, text=True).stdout
    suite, found = "", []
    for line in listed.splitlines():
        name = line.split("#")[0].rstrip()
        if name.startswith("  "):
            found.append(suite + name.strip())
        elif name.endswith("."):
            suite = name
    return found


def pytest_generate_tests(metafunc):
    if not os.path.exists(f"{BUILD}/kernel_tests.txt"):
        raise pytest.UsageError(f"no {BUILD}/kernel_tests.txt: build the kernel tests first (./check --vm does)")
    wanted = metafunc.config.getoption("--gtest_filter")
    rows = [(program, case) for program in programs() for case in cases(program, wanted)]
    if not rows:
        raise pytest.UsageError(f"--gtest_filter={wanted} matches no kernel test")
    metafunc.parametrize("program, case", rows, ids=[f"{program}-{case}" for program, case in rows])


@pytest.fixture(scope="session")
def results(booted, request):
    """program -> Results; a program runs when its first case is asked for."""
    known = {}

    def of(program):
        if program not in known:
            known[program] = Results(booted, program, request.config.getoption("--gtest_filter"))
        return known[program]
    return of


class Results:
    """What a program said of its cases, in gtest's XML, and how it ended."""

    def __init__(self, guest, program, wanted):
        self.program, self.found, self.status, self.text = program, {}, None, ""
        report = f"{guest.share}/{program}.xml"
        try:
            guest.run("modprobe", "-a", "dummy", "veth", "bridge", "macvlan", "vrf", "8021q", "ipvlan")
            with guest.popen(f"{BUILD}/bin/{program}", f"--gtest_output=xml:/out/{program}.xml", f"--gtest_filter={wanted}", folder="/tmp") as process:
                process.close_input()
                self.status = process.wait(600)
                self.text = process.text()
        except (AssertionError, GuestDied) as error:  # every case says so, and none waits again
            self.text = str(error)
        if self.status is not None and os.path.exists(report):
            for element in tree.parse(report).getroot().iter("testcase"):
                self.found[f"{element.get('classname')}.{element.get('name')}"] = element

    def check(self, case):
        assert self.status is not None, f"{self.program} did not come to its end:\n{self.text[-3000:]}"
        assert case in self.found, f"{self.program} ended before it came to {case} (status {self.status}):\n{self.text[-3000:]}"
        element = self.found[case]
        failures = [failure.get("message") for failure in element.findall("failure")]
        assert not failures, "\n".join(failures)
        if element.get("result") == "skipped" or element.find("skipped") is not None:
            message = element.find("skipped").get("message") if element.find("skipped") is not None else ""
            pytest.skip(message.strip().split("\n")[-1] or "skipped")

    def check_end(self):
        """A program that fails after its cases (a leak, an environment's end) has said so by its status only."""
        failed = any(element.find("failure") is not None for element in self.found.values())
        assert self.status == (1 if failed else 0), f"{self.program} ended with status {self.status}:\n{self.text[-3000:]}"


def test_kernel(guest, results, program, case):
    seen = results(program)
    seen.check(case)
    if case == list(seen.found)[-1]:
        seen.check_end()
