# SPDX-License-Identifier: Apache-2.0
"""Waiting for what a test expects, for the tests on a real cluster and in the virtual machine."""
import time


def eventually(condition, timeout=60.0, what=None, interval=0.1, also=()):
    """What `condition` returns as soon as it is true (or not None and no AssertionError, nor one of `also`); else an AssertionError that
    says what it saw last. A deadline is generous: it is only waited for when the test fails."""
    end = time.monotonic() + timeout
    while True:
        try:
            seen = condition()
            if seen:
                return seen
        except (AssertionError, *also) as error:
            seen = error
        if time.monotonic() >= end:
            raise AssertionError(f"not within {timeout:g} s: {what or getattr(condition, '__name__', 'the condition')}; last seen: {seen}")
        time.sleep(interval)
