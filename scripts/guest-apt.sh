# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# What the scripts share that make guests out of Debian's packages. Sourced
# with $work set to a directory for what is half done.

# shellcheck disable=SC2154 # work: as said above
verb=$(basename "$0")

say() {
    echo "$verb: $*"
}

die() {
    echo "$verb: $*" >&2
    exit 1
}

# Lists and downloads go below $work; sources, keys and proxies are the host's.
private_apt() {
    command=$1
    shift
    "$command" -qq \
        -o Dir::State::lists="$work/apt/lists" \
        -o Dir::Cache="$work/apt/cache" \
        -o APT::Sandbox::User="$(id -un)" \
        -o APT::Architectures=amd64 -o APT::Architecture=amd64 \
        "$@"
}

read_package_lists() {
    mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
    say "reading the package lists (private copy)"
    private_apt apt-get update
}
