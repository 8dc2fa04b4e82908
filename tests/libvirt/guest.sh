# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# The guests of tests/libvirt: how one is made, and how its progress is seen.
# Read by run; uses $lab, and hosts.sh.

guest_mib=192

# What the TSC counts in a microsecond, on average of the CPUs.
tsc_mhz()
{
    awk '/^cpu MHz/ { sum += $4; n++ }
         END { printf "%d\n", n ? sum / n : 2500 }' /proc/cpuinfo
}

# guest_make NAME PAGES PAGES_PER_S [FILL]: the disk $lab/NAME.img; 0 is flat
# out. FILL pages are written once.
guest_make()
{
    ticks=0
    [ "$3" -eq 0 ] || ticks=$(($(tsc_mhz) * 1000000 / $3))
    as --32 --defsym PAGES="$2" --defsym TICKS="$ticks" \
        --defsym FILL="${4:-0}" \
        -o "$lab/guest.o" "$here/guest.S"
    ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o "$lab/$1.img" \
        "$lab/guest.o"
    truncate -s 64K "$lab/$1.img"
}

# guest_xml IMAGE [GLOBAL...]: the domain, with each GLOBAL as -global GLOBAL.
guest_xml()
{
    image=$1
    shift
    cat <<EOF
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>guest</name>
  <uuid>6ac0bd6c-3df8-4fd0-b4b5-5ba0c1a8f3a7</uuid>
  <memory unit='MiB'>$guest_mib</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type>
  </os>
  <cpu mode='custom' match='exact'><model>qemu64</model></cpu>
  <on_crash>preserve</on_crash>
  <devices>
    <emulator>$lab/host/emulator</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='$lab/$image.img'/>
      <target dev='hda' bus='ide'/>
      <shareable/>
    </disk>
    <controller type='usb' model='none'/>
    <serial type='file'>
      <source path='$lab/host/serial' append='on'/>
    </serial>
    <memballoon model='none'/>
  </devices>
  <qemu:commandline>
EOF
    for global; do
        printf "    <qemu:arg value='%s'/>\n" -global "$global"
    done
    printf '  </qemu:commandline>\n</domain>\n'
}

# Bytes that the guest has sent from a host: 256 pages each.
guest_sent()
{
    wc -c <"$lab/$1/serial"
}

# guest_runs HOST: it gets on there. A guest that stands still would converge.
guest_runs()
{
    sent=$(guest_sent "$1")
    within 20 guest_sent_more "$1" $((sent + 3)) ||
        fail "the guest makes no progress on $1"
}

guest_sent_more()
{
    [ "$(guest_sent "$1")" -ge "$2" ]
}

# guest_rate HOST: pages that it writes there in a second, over two.
guest_rate()
{
    first=$(guest_count "$1")
    begun_ns=$(date +%s%N)
    sleep 2
    last=$(guest_count "$1")
    echo $(((last - first) * 1000 / (($(date +%s%N) - begun_ns) / 1000000)))
}

# The guest's own count of pages, read out of its memory.
guest_count()
{
    hmp "$1" 'xp /1uw 0x6000' | awk 'NR == 1 { print $2 }'
}
