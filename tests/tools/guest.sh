# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# What the tests with real QEMUs share: a Linux guest that writes.  Read with
# `. "$(dirname "$0")/guest.sh"`; it brings ctl.sh along.

. "$(dirname "$0")/ctl.sh"

build=${CONVERGE_BUILD:-$repo/build}
ours=$build/qemu/qemu-system-x86_64
stock=/usr/bin/qemu-system-x86_64
load=write:24:20

must_have -r "$build/guest/vmlinuz" "$build/guest/initramfs.gz"

# start_side NAME QEMU [OPTION...]: its process is $NAME from then on.
start_side()
{
    side=$1 qemu=$2
    shift 2
    "$qemu" -M pc -accel tcg -smp 1 -m 128 -nodefaults -nic none \
        -display none -no-reboot -serial "file:$work/$side.log" \
        -L /usr/share/seabios -L /usr/share/qemu \
        -kernel "$build/guest/vmlinuz" -initrd "$build/guest/initramfs.gz" \
        -append "console=ttyS0 quiet panic=-1 load=$load" \
        -qmp "unix:$work/$side.sock,server=on,wait=off" "$@" \
        >"$work/$side.err" 2>&1 &
    fakes="$fakes $!"
    eval "$side=$!"
}

# stop_side NAME...
stop_side()
{
    for side in "$@"; do
        eval "kill \$$side" 2>/dev/null || true
        eval "wait \$$side" 2>/dev/null || true
    done
}

# The guest of side $1 has come up there, and works.
is_ready()
{
    wait_for 30 grep -q '^ready' "$work/$1.log"
}

# The guest has arrived at side $1, and works on.
works_on()
{
    wait_for 10 grep -q '^work' "$work/$1.log"
}
