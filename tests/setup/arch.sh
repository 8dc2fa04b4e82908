#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# Our files compile, with warnings as errors, where an accelerator, x86 or 64
# bits are not there, and the tests pass where a test guest is. Suite of `make
# check-arch`; slow, hence no .test.
#
# Which tests are run where: convergence-test has guests for x86 and aarch64.
# migration-test has guests for x86, aarch64, ppc64 and s390x, but passes those
# of the latter two over without KVM, as they lose pages under TCG.

set -eu
. "$(dirname "$0")/tap.sh"

build=${CONVERGE_BUILD:-$repo/build}
root=$build/i386-root
libraries=$root/usr/lib/i386-linux-gnu

builds()
{
    try "$scripts/build" "$@" --enable-werror
    succeeded
}

# A QEMU for 32 bit hosts, out of libraries that are installed nowhere. Those
# need libraries of theirs, which the old kind of run path finds, too.
builds_for_i386_host()
{
    try "$repo/tests/setup/i386-root.sh" "$root"
    succeeded || return 1
    PKG_CONFIG_LIBDIR=$libraries/pkgconfig:$root/usr/share/pkgconfig
    PKG_CONFIG_SYSROOT_DIR=$root
    export PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR
    builds arch-i386-host --cpu=i386 --disable-kvm \
        --extra-cflags="-I$root/usr/include" \
        --extra-ldflags="-L$libraries -Wl,--disable-new-dtags,-rpath,$libraries"
}

# passes BUILD TARGET TEST [OPTION]: a QEMU's test passes, and is not skipped.
passes()
{
    try env QEMU_BUILD="$1" QEMU_TARGET="$2" "$scripts/qtest" ${4:+"$4"} "$3"
    succeeded && grep '^ok ' "$work/out" | grep -qv '# SKIP'
}

ok 'x86 without KVM' builds arch-no-kvm --disable-kvm
ok 'x86 without TCG' builds arch-no-tcg --disable-tcg
others=aarch64-softmmu,i386-softmmu,ppc64-softmmu,riscv64-softmmu
ok 'aarch64, i386, ppc64, riscv64, s390x' builds arch-others \
    --target-list="$others,s390x-softmmu"
ok 'i386: convergence tests' passes arch-others i386 'convergence*-test'
ok 'i386: migration-test' passes arch-others i386 migration-test --unprivileged
ok 'aarch64: convergence-test' passes arch-others aarch64 convergence-test
ok 'aarch64: migration-test' \
    passes arch-others aarch64 migration-test --unprivileged
# Last: what it exports would mislead the others.
ok 'x86 on a 32 bit host' builds_for_i386_host
ok 'a 32 bit host: convergence tests' \
    passes arch-i386-host x86_64 'convergence*-test'
done_testing
