# shellcheck shell=sh disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# QEMU 7.2, Debian 12's.

# The Debian release that has its source.
suite=bookworm
# Folders of patches/ with its hooks.
hooks=qemu-7.2
# What its configure takes beside our options, and the meson that it needs.
configure_options=--meson=/usr/bin/meson
meson_at_least=0
