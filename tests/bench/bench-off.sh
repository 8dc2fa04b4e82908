#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# What our QEMU costs a guest while nothing of ours is switched on, beside the
# pristine source built with the same options (build/stock). Options go to
# bench-off. Some minutes, in which the host should have nothing else to do.

set -eu
. "$(dirname "$0")/../../scripts/common.sh"

top=$(cd "$(dirname "$0")/../.." && pwd)
scripts=$top/scripts
build=${CONVERGE_BUILD:-$top/build}
CONVERGE_BUILD=$build
export CONVERGE_BUILD

for step in packages fetch prepare build host guest; do
    "$scripts/$step"
done
CONVERGE_SRC=$build/pristine "$scripts/build" stock
exec "$build/host/tests/bench/bench-off" \
    --qemu "$build/qemu/qemu-system-x86_64" \
    --peer "$build/stock/qemu-system-x86_64" "$@"
