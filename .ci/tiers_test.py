#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The runner of tiers, with tiers that are shell commands."""
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from plans import LOAD, NIGHTLY  # noqa: E402
from tiers import Runner, Tier, bury, chosen, descendants  # noqa: E402


class Told(io.StringIO):
    """Output that makes a file when certain words come."""

    def __init__(self, words, path):
        super().__init__()
        self.words, self.path = words, path

    def write(self, text):
        if self.words in text:
            with open(self.path, "w", encoding="ascii"):
                pass
        return super().write(text)


def run(*tiers, heartbeat=60.0, out=None):
    out = out or io.StringIO()
    with tempfile.TemporaryDirectory() as logs:
        runner = Runner(list(tiers), logs, heartbeat, out)
        well = runner.run()
    return well, runner.outcomes, out.getvalue()


def alive(command):
    """How many processes run this command."""
    count = 0
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/cmdline", encoding="utf-8", errors="replace") as line:
                count += line.read() == command.replace(" ", "\0") + "\0"
        except OSError:
            pass
    return count


class EndsWhenThere(Tier):
    """Its time is up once a file is there: what it does before is done, however long that takes."""

    def __init__(self, name, command, path):
        super().__init__(name, command)
        self.path = path

    @property
    def limit(self):
        return 0 if os.path.exists(self.path) else float("inf")

    @limit.setter
    def limit(self, _):
        pass


class Counts(unittest.TestCase):
    def only(self, command, **more):
        well, outcomes, _ = run(Tier("it", command, **more))
        one = outcomes["it"]
        return well, (one.passed, one.failed, one.skipped), one.remark

    def test_the_last_count_is_taken(self):
        self.assertEqual(self.only("echo 1 passed, 0 failed; echo 7 passed, 0 failed, 2 skipped"), (True, (7, 0, 2), ""))

    def test_failed_tests_fail_the_run(self):
        self.assertEqual(self.only("echo 7 passed, 3 failed, 0 skipped; exit 1"), (False, (7, 3, 0), ""))
        self.assertEqual(self.only("echo 7 passed, 3 failed, 0 skipped")[0], False)

    def test_no_count_is_a_failure_whatever_the_status(self):
        self.assertEqual(self.only("echo all is well"), (False, (0, 1, 0), "no count"))
        self.assertEqual(self.only("exit 3"), (False, (0, 1, 0), "exit status 3, no count"))

    def test_a_count_within_a_line_is_none(self):
        self.assertEqual(self.only("echo it says 7 passed, 0 failed")[2], "no count")

    def test_bad_status_after_a_good_count_is_a_failure(self):
        self.assertEqual(self.only("echo 7 passed, 0 failed; exit 2"), (False, (7, 1, 0), "exit status 2"))

    def test_killed_is_a_failure(self):
        self.assertEqual(self.only("echo 7 passed, 0 failed; kill -9 $$"), (False, (7, 1, 0), "killed by signal 9"))

    def test_nothing_ran_is_a_failure(self):
        self.assertEqual(self.only("echo 0 passed, 0 failed, 4 skipped"), (False, (0, 1, 4), "no test ran"))

    def test_time_limit_ends_it_with_all_it_started(self):
        marker = f"sleep 1{os.getpid()}"
        with tempfile.TemporaryDirectory() as folder:
            well, outcomes, _ = run(EndsWhenThere("it", f"setsid {marker} & echo 7 passed, 0 failed; touch {folder}/said; {marker}", f"{folder}/said"))
        one = outcomes["it"]
        self.assertEqual((well, one.passed, one.failed, one.skipped, one.remark), (False, 7, 1, 0, "ended after 0 s"))
        self.assertEqual(alive(marker), 0)

    def test_time_limit_without_a_count(self):
        self.assertEqual(self.only("until false; do sleep 1; done", limit=2), (False, (0, 1, 0), "ended after 2 s, no count"))

    def test_what_it_leaves_behind_is_ended_with_the_run(self):
        marker = f"sleep 3{os.getpid()}"
        self.assertEqual(self.only(f"setsid {marker} >/dev/null & echo 7 passed, 0 failed")[:2], (True, (7, 0, 0)))
        self.assertEqual(alive(marker), 0)

    def test_orphans_that_ended_are_gone(self):
        orphan = "pid=$(sleep 0.2 >/dev/null & echo $!); while kill -0 $pid 2>/dev/null; do sleep 0.05; done; echo 7 passed, 0 failed"
        self.assertEqual(self.only(orphan, limit=120), (True, (7, 0, 0), ""))

    def test_without_counts_the_exit_status_is_one_test(self):
        self.assertEqual(self.only("true", counts=False), (True, (1, 0, 0), ""))
        self.assertEqual(self.only("false", counts=False), (False, (0, 1, 0), "exit status 1"))

    def test_a_step_is_no_test_but_may_fail(self):
        self.assertEqual(self.only("true", step=True), (True, (0, 0, 0), ""))
        self.assertEqual(self.only("false", step=True), (False, (0, 1, 0), "exit status 1"))


class Order(unittest.TestCase):
    good = "echo 1 passed, 0 failed, 0 skipped"

    def test_a_tier_waits_for_what_it_is_after_and_others_run_beside(self):
        with tempfile.TemporaryDirectory() as folder:
            # each of the two lanes waits for the other: they end only if they run at the same time
            meet = "touch {0}/{1}; until [ -e {0}/{2} ]; do sleep 0.05; done; echo 1 passed, 0 failed".format
            well, _, _ = run(Tier("first", f"touch {folder}/first; {self.good}"),
                             Tier("left", f"test -e {folder}/first && {meet(folder, 'left', 'right')}", after=("first",), limit=120),
                             Tier("right", f"test -e {folder}/first && {meet(folder, 'right', 'left')}", after=("first",), limit=120))
        self.assertTrue(well)

    def test_a_failed_tier_does_not_keep_the_next_from_running(self):
        well, outcomes, _ = run(Tier("bad", "false"), Tier("next", self.good, after=("bad",)))
        self.assertFalse(well)
        self.assertEqual(outcomes["next"].passed, 1)

    def test_what_a_failed_step_prepares_for_is_not_run_and_counts_as_failed(self):
        _, outcomes, text = run(Tier("step", "false", step=True), Tier("next", self.good, after=("step",)))
        self.assertEqual((outcomes["next"].passed, outcomes["next"].failed, outcomes["next"].remark), (0, 1, "not run: step failed"))
        self.assertTrue(text.endswith("0 passed, 2 failed, 0 skipped\n"), text)

    def test_only(self):
        tiers = [Tier("check 1", ""), Tier("check 2", "", after=("check 1",)), Tier("other", "", after=("check 2",))]
        self.assertEqual([tier.name for tier in chosen(tiers, "check")], ["check 1", "check 2"])
        self.assertEqual([(tier.name, tier.after) for tier in chosen(tiers, "check 2")], [("check 2", ())])
        self.assertEqual(chosen(tiers, "chec"), [])


class Beside(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def times(self, number):
        """Waits until what runs beside has begun this often."""
        return f"until [ -e {self.folder}/times ] && [ $(wc -l <{self.folder}/times) -ge {number} ]; do sleep 0.05; done"

    def test_it_is_started_again_nicer_than_the_tier_and_does_not_count(self):
        well, outcomes, text = run(Tier("it", f"{self.times(3)}; nice >{self.folder}/own; echo 1 passed, 0 failed", limit=120,
                                        beside=f"nice >>{self.folder}/times; echo 5 passed, 5 failed"))
        one = outcomes["it"]
        self.assertEqual((well, one.passed, one.failed, one.remark), (True, 1, 0, ""))
        self.assertNotIn("5 passed, 5 failed\n", text)
        with open(f"{self.folder}/own", encoding="ascii") as own, open(f"{self.folder}/times", encoding="ascii") as beside:
            self.assertEqual(set(beside.read().split()), {str(min(int(own.read()) + 5, 19))})

    def test_it_ends_with_its_tier(self):
        marker, here = f"sleep 4{os.getpid()}", self.folder
        begin = f"echo $$ >>{here}/times; exec {marker}"
        gone = f"for pid in $(cat {here}/times); do while kill -0 $pid 2>/dev/null; do sleep 0.05; done; done"
        well, outcomes, _ = run(Tier("it", f"{self.times(2)}; echo 1 passed, 0 failed", limit=120, beside=f"setsid bash -c '{begin}' & {begin}"),
                                Tier("next", f"{gone}; echo 1 passed, 0 failed", after=("it",), limit=120))
        self.assertTrue(well, outcomes)

    def test_it_is_told_when_it_fails(self):
        well, outcomes, _ = run(Tier("it", f"{self.times(2)}; echo 1 passed, 0 failed", limit=120, beside=f"echo >>{self.folder}/times; exit 3"))
        self.assertTrue(well)
        self.assertRegex(outcomes["it"].remark, "^what ran beside it failed with status 3: .*/it-beside.log$")

    def test_the_nightly_runs_of_check_are_under_load(self):
        checks = [tier for tier in NIGHTLY if tier.name.startswith("check ")]
        self.assertEqual(len(checks), 10)
        for tier in checks:
            self.assertEqual((tier.command, tier.beside), ("./check", LOAD))

    def test_the_load_has_a_busy_loop_for_each_processor(self):
        with subprocess.Popen(["bash", "-c", LOAD], start_new_session=True) as load:
            try:
                while self.loops(load.pid) < len(os.sched_getaffinity(0)):
                    self.assertIsNone(load.poll())
                    time.sleep(0.05)
            finally:
                os.killpg(load.pid, signal.SIGKILL)
        while descendants():
            bury(set())

    @staticmethod
    def loops(ancestor):
        count = 0
        for pid in descendants(ancestor):
            try:
                with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as line:
                    count += line.read().endswith("\0-c\0while True: pass\0")
            except OSError:
                pass
        return count


class Output(unittest.TestCase):
    def test_logs_are_not_mixed_and_the_table_sums_up(self):
        with tempfile.TemporaryDirectory() as folder:
            # both go on until the runner has said that they do
            wait = f"until [ -e {folder}/beat ]; do sleep 0.05; done"
            out = Told("running: ", f"{folder}/beat")
            well, _, text = run(Tier("a", f"for i in 1 2 3; do echo from a; sleep 0.1; done; {wait}; echo 3 passed, 0 failed, 1 skipped", limit=120),
                                Tier("b", f"for i in 1 2 3; do echo from b; sleep 0.1; done; {wait}; echo 4 passed, 0 failed, 0 skipped", limit=120),
                                heartbeat=0.2, out=out)
        self.assertTrue(well)
        for letter in "ab":
            self.assertIn(f"from {letter}\n" * 3, text)
        self.assertRegex(text, r"running: a \(\d+ s\), b \(\d+ s\)\n")
        self.assertTrue(text.endswith("\n7 passed, 0 failed, 1 skipped\n"), text)

    def test_interrupted_ends_all_and_says_so(self):
        marker = f"sleep 2{os.getpid()}"
        program = ("import sys; sys.path.insert(0, sys.argv[1]); from tiers import Runner, Tier; "
                   f"sys.exit(0 if Runner([Tier('long', 'setsid {marker} & {marker}'), Tier('later', 'true', after=('long',))], sys.argv[2]).run() else 1)")
        with tempfile.TemporaryDirectory() as logs:
            with subprocess.Popen([sys.executable, "-c", program, os.path.dirname(os.path.abspath(__file__)), logs], stdout=subprocess.PIPE,
                                  text=True) as it:
                while alive(marker) < 2:
                    self.assertIsNone(it.poll())
                    time.sleep(0.05)
                it.send_signal(signal.SIGTERM)
                text = it.communicate()[0]
        self.assertEqual(it.returncode, 1)
        self.assertEqual(alive(marker), 0)
        self.assertIn("=== SIGTERM: ending long", text)
        self.assertTrue(text.endswith("0 passed, 2 failed, 0 skipped\n"), text)

    def tearDown(self):
        self.assertEqual(descendants(), {})


if __name__ == "__main__":
    unittest.main()
