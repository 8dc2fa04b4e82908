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

# suite_sources SUITE: the mirrors that the host has its own release from, asked
# for another suite of Debian's, to $work/apt/parts; suite_apt asks those alone.
suite_sources() {
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-stable}")
    mkdir -p "$work/apt/parts"
    find /etc/apt/sources.list.d -name '*.sources' 2>/dev/null | sort |
    while read -r file; do
        grep -v '^#' "$file" | awk -v suite="$1" -v codename="$codename" '
            BEGIN { RS = ""; ORS = "\n\n" }
            $0 ~ "(^|\n)Suites:[^\n]* " codename "( |\n)" {
                gsub(/(^|\n)Suites:[^\n]*/, "\nSuites: " suite)
                sub(/^\n/, "")
                print
            }'
    done >"$work/apt/parts/$1.sources"
    {
        cat /etc/apt/sources.list 2>/dev/null || true
        find /etc/apt/sources.list.d -name '*.list' -exec cat {} + \
            2>/dev/null || true
    } | sed -n "s/^\(deb .*[[:space:]]\)$codename\([[:space:]].*\)/\1$1\2/p" |
        sort -u >"$work/apt/parts/$1.list"
}

suite_apt() {
    command=$1
    shift
    private_apt "$command" -o Dir::Etc::sourcelist=/dev/null \
        -o Dir::Etc::sourceparts="$work/apt/parts" "$@"
}
