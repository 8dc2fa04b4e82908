#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# Our files compile, with warnings as errors, where an accelerator or x86 is
# not there. Suite of `make check-arch`; slow, hence no .test.

set -eu
. "$(dirname "$0")/tap.sh"

builds()
{
    try "$scripts/build" "$@" --enable-werror
    succeeded
}

ok 'x86 without KVM' builds arch-no-kvm --disable-kvm
ok 'x86 without TCG' builds arch-no-tcg --disable-tcg
ok 'aarch64, ppc64, riscv64, s390x' builds arch-others \
    --target-list=aarch64-softmmu,ppc64-softmmu,riscv64-softmmu,s390x-softmmu
done_testing
