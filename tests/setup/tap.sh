# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# What the tests of the scripts share: TAP, and a small QEMU to work on.
# Read with `. "$(dirname "$0")/tap.sh"`; end the test with done_testing.

here=$(cd "$(dirname "$0")" && pwd)
repo=$(dirname "$(dirname "$here")")
scripts=$repo/scripts
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$repo/tests/setup/points.sh"

# What the caller asked of his own run is not for those that are tested here.
unset SUITE SUITE_LIMIT_S TEST_LIMIT_S QEMU_TARBALL PEER JOBS HOST \
    CONVERGE_ANY_RELEASE CONVERGE_SRC CONVERGE_TOP BASE
# Scripts are tried on QEMU 7.2, whichever one the caller works on.
asked_base=${CONVERGE_BASE:-}
CONVERGE_BASE=7.2
export CONVERGE_BASE

# list_hooks BASE: the paths of that QEMU's hooks, in the order of their numbers.
list_hooks()
{
    (. "$repo/bases/$1/base.sh" && for folder in $hooks; do
        find "$repo/patches/$folder" -name '*.patch'
    done) | sed 's|.*/|&	|' | LC_ALL=C sort -t "$(printf '\t')" -k 2 |
        tr -d '\t'
}

# The last try failed, and said so in one line that holds all of these texts.
failed_saying()
{
    [ "$status" -ne 0 ] || return 1
    [ "$(grep -c '^[a-z-]*: error: ' "$work/out")" -eq 1 ] || return 1
    for text in "$@"; do
        grep 'error: ' "$work/out" | grep -qF -e "$text" || return 1
    done
}

silent()
{
    [ "$status" -eq 0 ] && [ ! -s "$work/out" ]
}

# fake_qemu VERSION: a tarball of a tree with that version, in $work.
fake_qemu()
{
    tree=$work/make/qemu-$1
    mkdir -p "$tree/migration" "$tree/softmmu"
    printf '%s\n' "$1" >"$tree/VERSION"
    seq 1 30 >"$tree/migration/ram.c"
    printf 'upstream throttle\n' >"$tree/softmmu/cpu-throttle.c"
    printf 'upstream vl %s\n' "$1" >"$tree/softmmu/vl.c"
    tar -cJf "$work/qemu-$1.tar.xz" -C "$work/make" "qemu-$1"
}

# A project of ours, and a build directory with QEMU 7.2.1 fetched.
fresh_project()
{
    rm -rf "$work/top" "$work/build"
    mkdir -p "$work/top/migration" "$work/top/patches/qemu-7.2"
    printf 'engine\n' >"$work/top/migration/convergence-engine.c"
    CONVERGE_TOP=$work/top
    CONVERGE_BUILD=$work/build
    CONVERGE_DISK_MIB=1
    export CONVERGE_TOP CONVERGE_BUILD CONVERGE_DISK_MIB
    [ -f "$work/qemu-7.2.1.tar.xz" ] || fake_qemu 7.2.1
    QEMU_TARBALL=$work/qemu-7.2.1.tar.xz "$scripts/fetch" >/dev/null
}

# fake_command NAME: a program that stands first in PATH from now on; its
# script is standard input.
fake_command()
{
    mkdir -p "$work/bin"
    { printf '#!/bin/sh\n'; cat; } >"$work/bin/$1"
    chmod +x "$work/bin/$1"
    case $PATH in
    "$work/bin":*) ;;
    *) PATH=$work/bin:$PATH ;;
    esac
}
