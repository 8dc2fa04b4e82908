#!/usr/bin/make -f
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# debian/rules of our QEMU package: Debian's own, which is rules.debian beside
# it, without the machines and tools that have nothing of ours. Firmware and
# other data are Debian's package.

override system_targets := i386 x86_64
override sys_systems := x86
override systems := x86
override enable_system := enable
override enable_linux_user := disable
# Xen's QEMU has no migration of ours; a package of its own.
override qemu-builds := qemu microvm
QEMU_CONFIGURE_OPTIONS := --target-list=i386-softmmu,x86_64-softmmu

left_out := qemu-system qemu-system-misc qemu-system-arm qemu-system-mips \
    qemu-system-ppc qemu-system-sparc qemu-system-xen qemu-user \
    qemu-user-static qemu-user-binfmt qemu-guest-agent
export DH_OPTIONS := $(addprefix -N,$(left_out))

include debian/rules.debian

# What is left out is installed in debian/tmp all the same.
override_dh_missing:
