# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# Two hosts, src and dst, on one machine: a libvirtd each, in mount and UTS
# namespaces of its own; and where these are ours, a third one, debian, whose
# libvirtd is Debian's. Read by run, which is the first process of a PID
# namespace with a tmpfs on $lab: when it is gone, for whatever reason, so are
# all processes, mounts, sockets and files of both hosts.

# A host sees its own files at these places; /run holds sockets and PID files.
host_dirs='etc/libvirt run var/lib/libvirt var/cache/libvirt var/log/libvirt'

hosts="src dst${LIBVIRT:+ debian}"

uri_of()
{
    printf 'qemu+unix:///system?socket=%s/%s/sock/libvirt-sock' "$lab" "$1"
}

on()
{
    host=$1
    shift
    virsh -q -c "$(uri_of "$host")" "$@"
}

hmp()
{
    on "$1" qemu-monitor-command guest --hmp "$2"
}

qmp()
{
    on "$1" qemu-monitor-command guest "$2"
}

# host_make NAME N: its files. Hosts differ in name and UUID alone.
host_make()
{
    root=$lab/$1
    mkdir -p "$root/sock" "$root/home"
    for d in $host_dirs; do
        mkdir -p "$root/$d"
    done
    : >"$root/serial"
    cat >"$root/etc/libvirt/libvirtd.conf" <<EOF
unix_sock_dir = "$root/sock"
auth_unix_ro = "none"
auth_unix_rw = "none"
host_uuid = "0c0ffee0-0000-4000-8000-00000000000$2"
log_outputs = "2:file:$root/libvirtd.log"
EOF
    cat >"$root/etc/libvirt/qemu.conf" <<EOF
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
EOF
}

# host_start NAME: its libvirtd, in namespaces of its own.
host_start()
{
    mkdir -p "$lab/host"
    libvirtd=libvirtd
    [ "$1" != debian ] ||
        libvirtd='env -u LIBVIRT_DIR_OVERRIDE /usr/sbin/libvirtd'
    host_name=$1 host_dirs=$host_dirs lab=$lab libvirtd=$libvirtd \
        unshare --mount --uts --propagation private sh -euc '
            hostname "converge-$host_name"
            for d in $host_dirs; do
                mkdir -p "/$d"
                mount --bind "$lab/$host_name/$d" "/$d"
            done
            mount --bind "$lab/$host_name" "$lab/host"
            HOME=$lab/$host_name/home exec $libvirtd
        ' >"$lab/$1/libvirtd.out" 2>&1 &
    echo $! >"$lab/$1/libvirtd.pid"
}

host_answers()
{
    on "$1" list >/dev/null 2>&1
}

# host_emulator NAME QEMU: what runs the guests there from now on.
host_emulator()
{
    ln -sfn "$2" "$lab/$1/emulator"
}

# host_clear NAME: no guest, and no trace of one. A guest whose migration hangs
# may not even be destroyed by libvirt; its process can.
host_clear()
{
    for guest in $(on "$1" list --name) guest; do
        timeout 20 virsh -q -c "$(uri_of "$1")" destroy "$guest" \
            >/dev/null 2>&1 || kill_qemu "$1" "$guest"
    done
    within 10 host_is_empty "$1" || return 1
    on "$1" undefine guest --managed-save >/dev/null 2>&1 || true
    rm -f "$lab/$1/var/log/libvirt/qemu/guest.log"
    : >"$lab/$1/serial"
}

host_is_empty()
{
    names=$(on "$1" list --name) && [ -z "$names" ]
}

kill_qemu()
{
    pid=$(cat "$lab/$1/run/libvirt/qemu/${2:-guest}.pid" 2>/dev/null) ||
        return 0
    kill -KILL "$pid" 2>/dev/null || true
}
