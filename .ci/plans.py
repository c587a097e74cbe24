#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""plans.py run|nightly [--only NAME] [--list]: what .ci/run and .ci/nightly do, and in which order. docs/testing.md tells why."""
import sys

from tiers import Tier, main

# Two that build the same folder never run at the same time: build/release is whole before cluster and vm, which both use it.
# What has deadlines of its own (cluster, vm) gets the processors first; what only computes beside it is nice.
RUN = [
    Tier("kubernetes", ". tools/lib.sh && install_packages build cluster vm && tests/cluster/kubernetes.sh && { tests/cluster/previous.sh || [ $? = 3 ]; }", step=True, nice=19),
    Tier("check", "./check"),
    Tier("demo", "./demo", after=("check",), counts=False),
    Tier("demo again", "./demo", after=("demo",), counts=False),
    Tier("release", ". tools/lib.sh && configure release && build release", after=("demo again",), step=True),
    Tier("build asan", ". tools/lib.sh && configure asan && build asan", after=("release",), step=True, nice=19),
    Tier("cluster", "./check --cluster", after=("release", "kubernetes")),
    Tier("vm", "./check --vm", after=("release",)),
    Tier("asan", "./check --asan", after=("build asan", "vm", "cluster"), nice=5),
    Tier("tsan", "./check --tsan", after=("asan",), nice=5),
]

# Keeps all processors busy and touches nothing.
LOAD = 'for _ in $(seq "$(nproc)"); do python3 -c "while True: pass" & done; wait'

# Long, and each by itself: nothing runs beside but, beside whole runs of ./check, a load. A test that needs a quiet machine shows there.
NIGHTLY = [
    *(Tier(f"check {number}", "./check", limit=90 * 60, beside=LOAD) for number in range(1, 11)),
    Tier("kubernetes 1.34", "./check --cluster --kubernetes 1.34.4", limit=90 * 60),
    Tier("kernel 6.1", "./check --vm --kernel 6.1"),
    Tier("kernel 7.2", "./check --vm --kernel 7.2"),
    Tier("vm long", "./check --vm --long -k random", limit=3 * 3600),
]


def in_turn(tiers):
    for before, tier in zip(tiers, tiers[1:]):
        tier.after = (before.name,)
    return tiers


if __name__ == "__main__":
    sys.exit(main(f".ci/{sys.argv[1]}", {"run": RUN, "nightly": in_turn(NIGHTLY)}[sys.argv[1]], sys.argv[2:]))
