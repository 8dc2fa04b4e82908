#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# Usage: tests/setup/i386-root.sh DIRECTORY
#
# Unpack into DIRECTORY the libraries that QEMU is built with, for i386. Nothing
# is installed: apt gets its own state there, and the host's stays as it is.
# The compiler is the host's, with -m32 (package gcc-multilib).

set -eu
. "$(dirname "$0")/../../scripts/common.sh"

root=$1
libraries='libfdt-dev libglib2.0-dev libpixman-1-dev libslirp-dev zlib1g-dev'

apt_get()
{
    apt-get -q -o APT::Architecture=i386 -o APT::Architectures::=i386 \
        -o Dir::State="$root/apt" -o Dir::State::status=/dev/null \
        -o Dir::Cache="$root/apt/cache" -o Acquire::Languages=none \
        -o APT::Sandbox::User=root "$@" </dev/null
}

[ ! -f "$root/complete" ] || exit 0
printf 'int main(void) { return 0; }\n' |
    gcc -m32 -x c - -o /dev/null 2>/dev/null ||
    die "gcc cannot build for i386: package gcc-multilib"
rm -rf "$root"
mkdir -p "$root/apt/lists/partial" "$root/apt/cache/archives/partial"
apt_get update || true      # what fails may not be what we need
# shellcheck disable=SC2086 # a list of words
apt_get install -y --download-only --no-install-recommends $libraries ||
    die "apt cannot get the i386 libraries"
for package in "$root"/apt/cache/archives/*.deb; do
    case ${package##*/} in
    # gcc-multilib has the C library, at other paths than its linker scripts say
    libc6_* | libc6-dev_* | libgcc-* | linux-libc-dev_*) ;;
    *) dpkg -x "$package" "$root" ;;
    esac
done
rm -rf "$root/apt"
: >"$root/complete"
