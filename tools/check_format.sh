#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fails when a source is not as clang-format 19 would write it. --fix writes it so.
cd "$(dirname "$0")/.." || exit 2
mode='--dry-run --Werror'
[ "${1:-}" = --fix ] && mode=-i
# shellcheck disable=SC2086
git ls-files -co --exclude-standard '*.h' '*.cc' | xargs clang-format-19 $mode
