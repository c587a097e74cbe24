# SPDX-License-Identifier: Apache-2.0
"""Runs tiers of tests, some beside each other: each has its output in a log of its own, which is printed whole when it ends, under a
heading; a table and a count are last. .ci/run and .ci/nightly say what runs when (plans.py)."""
import argparse
import ctypes
import dataclasses
import os
import re
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COUNT = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.M)
PR_SET_CHILD_SUBREAPER = 36


@dataclasses.dataclass
class Tier:
    """A command. `counts`: its last line is "N passed, N failed, N skipped"; otherwise its exit status is one test. `step`: it only
    prepares, and is no test; what comes after a step that failed is not run and counts as failed. `after`: names of those that must
    have ended before. `nice`: for what computes beside tests that have deadlines. `beside`: a command that runs beside it, started again
    whenever it ends, and ended with it; it makes a load and is no test, but the table says when it fails."""
    name: str
    command: str
    after: tuple = ()
    counts: bool = True
    step: bool = False
    nice: int = 0
    limit: float = 45 * 60  # seconds; then it is ended and counts as failed
    beside: str = ""


@dataclasses.dataclass
class Outcome:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0
    remark: str = ""


def outcome_of(tier, status, text):
    """status: as subprocess has it; None when the tier was ended because its time was up."""
    remark = ""
    if status is None:
        remark = f"ended after {tier.limit:.0f} s"
    elif status < 0:
        remark = f"killed by signal {-status}"
    elif status > 0:
        remark = f"exit status {status}"
    if tier.step or not tier.counts:
        bad = status != 0
        return Outcome(passed=0 if bad or tier.step else 1, failed=int(bad), remark=remark)
    counts = COUNT.findall(text)
    if not counts:
        return Outcome(failed=1, remark=(remark + ", " if remark else "") + "no count")
    passed, failed, skipped = (int(number or 0) for number in counts[-1])
    if failed and status == 1:
        remark = ""  # the count says it
    elif failed == 0 and status != 0:
        failed = 1  # it ended badly after its tests, or told only of some
    elif failed == 0 and passed == 0:
        failed, remark = 1, "no test ran"
    return Outcome(passed, failed, skipped, remark=remark)


def descendants(ancestor=None):
    """All processes below this one (which, as a subreaper, is the parent of what its children leave behind): pid -> when it began."""
    parents, began = {}, {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as stat:
                    fields = stat.read().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                parents[int(entry)], began[int(entry)] = int(fields[1]), fields[19]
    found, more = set(), {ancestor or os.getpid()}
    while more:
        more = {pid for pid, parent in parents.items() if parent in more} - found
        found |= more
    return {pid: began[pid] for pid in found}


def kill(processes):
    """SIGKILL to those of descendants() that are still there."""
    for pid, _ in processes.items() & descendants().items():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def bury(own):
    """Waits for the dead that others left to us: a test that looks whether a process is gone would find them for ever."""
    while True:
        try:
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if dead is None or dead.si_pid in own:
            return  # what is ours is waited for where it was started, and then it is the next one's turn
        os.waitpid(dead.si_pid, 0)


NICE_BESIDE = 5  # a load beside tests: it gets a quarter of a processor that both want


def start(command, nice, log):
    return subprocess.Popen(["nice", "-n", str(nice), "bash", "-c", command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log,
                            stderr=subprocess.STDOUT, start_new_session=True)


class Beside:
    """What runs beside a tier, again and again."""

    def __init__(self, command, log):
        self._command, self._log, self.remark = command, log, ""
        self._start("wb")

    def _start(self, mode):
        with open(self._log, mode) as log:
            self.process = start(self._command, NICE_BESIDE, log)

    def keep(self):
        status = self.process.poll()
        if status is not None:
            if status != 0:
                self.remark = f"what ran beside it failed with status {status}: {self._log}"
            self._start("ab")

    def end(self):
        below = descendants(self.process.pid)
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        kill(below)


class Running:
    def __init__(self, tier, logs):
        self.tier, self.began = tier, time.monotonic()
        self.log = f"{logs}/{re.sub('[^a-z0-9.]+', '-', tier.name.lower())}.log"
        self.beside = Beside(tier.beside, self.log.removesuffix(".log") + "-beside.log") if tier.beside else None
        with open(self.log, "wb") as log:
            self.process = start(tier.command, tier.nice, log)

    def pids(self):
        return {self.process.pid} | ({self.beside.process.pid} if self.beside else set())

    def seconds(self):
        return time.monotonic() - self.began

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def end(self, patience=20.0):
        """SIGTERM, so that it can clear up; SIGKILL when that takes too long, and to those that made sessions of their own."""
        if self.beside:
            self.beside.end()
        below = descendants(self.process.pid)
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            pass
        self.signal(signal.SIGKILL)
        self.process.wait()
        kill(below)


class Interrupted(Exception):
    pass


class Runner:
    def __init__(self, tiers, logs, heartbeat=60.0, out=sys.stdout):
        names = [tier.name for tier in tiers]
        for tier in tiers:
            assert set(tier.after) <= set(names[:names.index(tier.name)]), f"{tier.name} is after something that is not before it in the plan"
        self._tiers, self._logs, self._heartbeat, self._out = tiers, logs, heartbeat, out
        self._running, self.outcomes = {}, {}

    def say(self, text=""):
        print(text, file=self._out, flush=True)

    def run(self):
        """True when all is well."""
        os.makedirs(self._logs, exist_ok=True)
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        before = {number: signal.signal(number, self._interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        began = beat = time.monotonic()
        try:
            while len(self.outcomes) < len(self._tiers):
                self._start_what_can()
                self._look_after_running()
                bury({pid for it in self._running.values() for pid in it.pids()})
                if time.monotonic() - beat >= self._heartbeat:
                    beat = time.monotonic()
                    self.say(f"{time.strftime('%H:%M:%S')} running: " + ", ".join(f"{it.tier.name} ({it.seconds():.0f} s)" for it in self._running.values()))
                time.sleep(0.1)
        except Interrupted as why:
            self.say(f"\n=== {why}: ending {', '.join(self._running) or 'nothing'}")
            for name, it in self._running.items():
                self.outcomes[name] = Outcome(failed=1, seconds=it.seconds(), remark="interrupted")
        finally:
            for number in before:
                signal.signal(number, signal.SIG_IGN)  # one interruption is enough
            self._end_all()
            for number, handler in before.items():
                signal.signal(number, handler)
        return self._report(time.monotonic() - began)

    @staticmethod
    def _interrupt(number, _frame):
        raise Interrupted(signal.Signals(number).name)

    def _start_what_can(self):
        for tier in self._tiers:
            if tier.name in self.outcomes or tier.name in self._running or not set(tier.after) <= set(self.outcomes):
                continue
            broken = [it.name for it in self._tiers if it.name in tier.after and it.step and self.outcomes[it.name].failed]
            if broken:
                self.outcomes[tier.name] = Outcome(failed=1, remark=f"not run: {broken[0]} failed")
                self.say(f"=== {tier.name}: not run, {broken[0]} failed\n")
                continue
            self._running[tier.name] = Running(tier, self._logs)
            self.say(f"{time.strftime('%H:%M:%S')} {tier.name} begins: {tier.command}" + (f"   (beside it: {tier.beside})" if tier.beside else ""))

    def _look_after_running(self):
        for name, it in list(self._running.items()):
            if it.beside:
                it.beside.keep()
            status = it.process.poll()
            if status is None and it.seconds() < it.tier.limit:
                continue
            late = status is None
            it.end(patience=20 if late else 0)  # what a tier that ended has left behind as well
            outcome = outcome_of(it.tier, None if late else status, it.text())
            outcome.seconds = it.seconds()
            if it.beside and it.beside.remark:
                outcome.remark = ", ".join(filter(None, (outcome.remark, it.beside.remark)))
            self.outcomes[name] = outcome
            del self._running[name]
            self.say(f"\n=== {name}: {it.tier.command}")
            self.say(it.text().rstrip("\n"))
            self.say(f"=== {name} took {outcome.seconds:.0f} s{': ' + outcome.remark if outcome.remark else ''}\n")

    def _end_all(self):
        for it in self._running.values():
            it.signal(signal.SIGTERM)
        for it in self._running.values():
            it.end()
        self._running = {}
        deadline = time.monotonic() + 20
        while (left := descendants()) and time.monotonic() < deadline:  # what was left behind
            kill(left)
            time.sleep(0.1)
            bury(set())

    def _report(self, seconds):
        total = Outcome()
        self.say(f"{'tier':24} {'passed':>7} {'failed':>7} {'skipped':>7} {'seconds':>8}")
        for tier in self._tiers:
            one = self.outcomes.get(tier.name, Outcome(failed=1, remark="not run"))
            total.passed, total.failed, total.skipped = total.passed + one.passed, total.failed + one.failed, total.skipped + one.skipped
            numbers = ["-"] * 3 if tier.step and not one.failed else [one.passed, one.failed, one.skipped]
            self.say(f"{tier.name:24} {numbers[0]:>7} {numbers[1]:>7} {numbers[2]:>7} {one.seconds:8.0f}  {one.remark}".rstrip())
        self.say(f"{'all':24} {total.passed:>7} {total.failed:>7} {total.skipped:>7} {seconds:8.0f}\n")
        self.say(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
        return total.failed == 0


def chosen(tiers, only):
    """Those whose name is `only`, or begins with it and a space ("check" means "check 1", "check 2"); what they are after does not count."""
    some = [tier for tier in tiers if tier.name == only or tier.name.startswith(only + " ")]
    names = {tier.name for tier in some}
    return [dataclasses.replace(tier, after=tuple(name for name in tier.after if name in names)) for tier in some]


def main(what, tiers, arguments):
    parser = argparse.ArgumentParser(prog=what, description="Runs tiers of tests; the last line says: N passed, N failed, N skipped.")
    parser.add_argument("--only", metavar="NAME", help="the tier of this name and all whose name begins with it and a space: check means check 1, check 2, ...")
    parser.add_argument("--list", action="store_true", help="the tiers and their commands")
    options = parser.parse_args(arguments)
    if options.only:
        names = ", ".join(tier.name for tier in tiers)
        tiers = chosen(tiers, options.only)
        if not tiers:
            parser.error(f"there is no tier {options.only}; there are {names}")
    if options.list:
        for tier in tiers:
            print(f"{tier.name:24} {tier.command}" + (f"   (after {', '.join(tier.after)})" if tier.after else "") +
                  (f"   (beside it: {tier.beside})" if tier.beside else ""))
        return 0
    if os.geteuid() != 0:
        parser.exit(2, f"{what} must run as root: its tiers install Debian packages and make network and mount namespaces. Try: sudo {what}\n")
    return 0 if Runner(tiers, f"{ROOT}/build/logs/{os.path.basename(what)}").run() else 1
