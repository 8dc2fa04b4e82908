# shellcheck shell=sh disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# QEMU 10.0, Debian 13's.

suite=trixie
hooks='qemu-10 qemu-10.0'
# Of Debian's own packages alone, as 7.2's does without being told.
configure_options="--python=/usr/bin/python3 --disable-download
    --disable-install-blobs --enable-pixman"
meson_at_least=1.5.0
