# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# What every script here starts with: `. "$(dirname "$0")/common.sh"`.
#
# CONVERGE_TOP and CONVERGE_BUILD move the overlay and the build directory
# elsewhere, CONVERGE_SRC the tree that is built; the tests of these scripts
# work on small trees of their own that way.

scripts=$(cd "$(dirname "$0")" && pwd)
top=${CONVERGE_TOP:-$(dirname "$scripts")}
build=${CONVERGE_BUILD:-$top/build}
pristine=$build/pristine
src=${CONVERGE_SRC:-$build/src}
patches=$top/patches/qemu-7.2
logs=$build/logs

# Whose source fetch, overlay and prepare work on; see for_project.
project=qemu
title=QEMU
release=7.2
ours=$top
overlay_list=$scripts/overlay.txt

verb=$(basename "$0")

say()
{
    printf '%s: %s\n' "$verb" "$*"
}

# One clear line, then out. Whoever reads it must know what to do next.
die()
{
    printf '%s: error: %s\n' "$verb" "$*" >&2
    exit 1
}

# for_project [NAME]: what is done to QEMU is done to another project: in a
# directory of its own below the build directory, with the patches and the files
# of ours that are for it.
for_project()
{
    case ${1:-qemu} in
    qemu) return ;;
    libvirt) title=libvirt release=9.0 ;;
    *) die "$1 is none of ours; there are qemu and libvirt" ;;
    esac
    project=$1
    ours=$top/$project
    overlay_list=$scripts/overlay-$project.txt
    patches=$top/patches/$project-$release
    build=$build/$project
    pristine=$build/pristine
    src=$build/src
    logs=$build/logs
}

# version_of TREE: of the project's source in it; nothing if it is none.
version_of()
{
    case $project in
    qemu) cat "$1/VERSION" 2>/dev/null || true ;;
    *) sed -n "/^project(/,/)/s/^ *version: '\(.*\)',.*/\1/p" \
            "$1/meson.build" 2>/dev/null || true ;;
    esac
}

# Two runs at once would unpack, lay in and compile over each other. $1 names
# what is locked (default: the fetched and the laid-in tree). Descriptor 9 is
# inherited by what we start, so the lock lasts until the last child is gone,
# whatever kills the script.
lock_build()
{
    mkdir -p "$build" || die "cannot create $build"
    exec 9>"$build/.lock-${1:-tree}" || die "cannot write in $build"
    if ! flock -n 9; then
        say "waiting for another run in $build"
        flock 9
    fi
}

# A full disk shows up as a random compiler error half an hour later; it is
# cheaper to ask first. $1: MiB wanted, $2: what for.
need_disk()
{
    mkdir -p "$build" || die "cannot create $build"
    free_mib=$(df -Pm "$build" | awk 'NR == 2 { print $4 }')
    if [ "$free_mib" -lt "$1" ]; then
        die "$2 needs $1 MiB free in $build, and there are $free_mib;" \
            "free some, or set CONVERGE_BUILD to a directory elsewhere"
    fi
}

# Files appear whole or not at all. Reads standard input.
write_whole()
{
    cat >"$1.new" && mv "$1.new" "$1"
}
