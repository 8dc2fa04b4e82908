#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# scripts/series libvirt: taken with git am on libvirt's source, it gives
# build/libvirt/src to the last byte. A suite of its own, as it needs that.

set -eu
. "$(dirname "$0")/tap.sh"
. "$here/series-taken.sh"

series_is_taken "${CONVERGE_BUILD:-$repo/build}/libvirt" libvirt
done_testing
