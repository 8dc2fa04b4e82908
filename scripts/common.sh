# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# What every script here starts with: `. "$(dirname "$0")/common.sh"`.
#
# CONVERGE_TOP and CONVERGE_BUILD move the overlay and the build directory
# elsewhere, CONVERGE_SRC the tree that is built; the tests of these scripts
# work on small trees of their own that way.
#
# BASE=NAME works on another QEMU than the host's own; bases/ has a folder for
# each. Its build directory is build/NAME, of the layout of build/; what needs no
# QEMU is built once for all of them, in build/. CONVERGE_BASE is a base whose
# build directory is in CONVERGE_BUILD: scripts that we call find both set.

scripts=$(cd "$(dirname "$0")" && pwd)
top=${CONVERGE_TOP:-$(dirname "$scripts")}
bases=$(dirname "$scripts")/bases
build=${CONVERGE_BUILD:-$top/build}
os_release=${CONVERGE_OS_RELEASE:-/etc/os-release}

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

# The QEMU that the host's Debian release has.
own_base()
{
    case $(. "$os_release" 2>/dev/null && printf '%s' "${VERSION_ID:-}") in
    13) echo 10.0 ;;
    *) echo 7.2 ;;
    esac
}

# Sets what depends on the base.
choose_base()
{
    own=$(own_base)
    base=${CONVERGE_BASE:-${BASE:-$own}}
    shared=$build
    [ -f "$bases/$base/base.sh" ] ||
        die "there is no QEMU $base in $bases, which has:" \
            "$(cd "$bases" && printf '%s ' *)"
    . "$bases/$base/base.sh"
    if [ "$base" != "$own" ]; then
        if [ -z "${CONVERGE_BASE:-}" ]; then
            build=$build/$base
        fi
        shared=$(dirname "$build")
    fi
}

# What needs no QEMU is found in each base's build directory.
link_shared()
{
    if [ "$shared" != "$build" ] && [ -z "${CONVERGE_BASE:-}" ]; then
        mkdir -p "$build" "$shared/host" "$shared/guest" ||
            die "cannot create $build"
        for dir in host guest; do
            [ -e "$build/$dir" ] || ln -sfn "../$dir" "$build/$dir"
        done
    fi
}

choose_base
link_shared
CONVERGE_BASE=$base
CONVERGE_BUILD=$build
export CONVERGE_BASE CONVERGE_BUILD

pristine=$build/pristine
src=${CONVERGE_SRC:-$build/src}
logs=$build/logs

# Whose source fetch, overlay and prepare work on; see for_project.
project=qemu
title=QEMU
release=$base
ours=$top
overlay_list=$scripts/overlay.txt

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
    hooks=$project-$release
    build=$build/$project
    pristine=$build/pristine
    src=$build/src
    logs=$build/logs
}

# The hook patches, a path a line, in the order in which they are applied.
list_patches()
{
    for folder in $hooks; do
        find "$top/patches/$folder" -name '*.patch' 2>/dev/null || true
    done | sed 's|.*/|&	|' | LC_ALL=C sort -t "$(printf '\t')" -k 2 |
        tr -d '\t'
}

# of_base KEYWORD: the rest of such lines of the base's list of files.
of_base()
{
    [ "$project" != qemu ] || sed -n "s/^$1 *//p" "$bases/$base/files"
}

# path_there FILE: where a file of ours goes in the project's tree.
path_there()
{
    printf '%s\n' "$1" | sed -E "$(of_base move |
        sed -E 's/[.]/\\./g; s/^([^ ]+) +([^ ]+) *$/s|^\1|\2|;t/')"
}

# copy_there FILE TO: a file of ours, with the names that this QEMU has for what
# it uses.
copy_there()
{
    if [ "$project" = qemu ] && [ -f "$bases/$base/map" ]; then
        sed -E -f "$bases/$base/map" "$ours/$1" >"$2"
    else
        cp "$ours/$1" "$2"
    fi
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
