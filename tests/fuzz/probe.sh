#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# Usage: probe.sh CLANG ARGUMENT...
#
# Whether this clang can link a libFuzzer target: its run-time is a package of
# its own.

set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '%s\n' '#include <stddef.h>' \
    'int LLVMFuzzerTestOneInput(const char *d, size_t n) { return 0; }' \
    >"$work/probe.c"
"$@" "$work/probe.c" -o "$work/probe"
