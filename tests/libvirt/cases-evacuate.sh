# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# convergectl evacuate empties src over a shaped link: six guests, two of which
# write more than it carries. Read by run; `run evacuate...` runs them.

convergectl=$build/host/tools/convergectl/convergectl

# MiB of each guest that are filled once, and checked when it has arrived.
fill_mib=64

link_mbit=256

cases_of_evacuate="evacuate evacuate-dry-run evacuate-again
                   evacuate-guest-destroyed evacuate-never-converges
                   evacuate-destination-dies evacuate-link-drops
                   evacuate-libvirtd-restarts evacuate-interrupted"

# link_shape MBIT: of all that goes from host to host.
link_shape()
{
    ip link set lo up
    tc qdisc replace dev lo root tbf rate "$1mbit" burst 128kb latency 100ms
}

# evac_guest NAME N KIND: it runs on src.
evac_guest()
{
    [ -f "$lab/evac-$3.img" ] || case $3 in
    light) guest_make evac-light 1024 500 $((fill_mib * 256)) ;;
    busy) guest_make evac-busy 8192 12000 $((fill_mib * 256)) ;;
    wild) guest_make evac-wild 8192 0 $((fill_mib * 256)) ;;
    esac
    for host in src dst; do
        : >"$lab/$host/serial.$1"
    done
    guest_xml "evac-$3" | sed -e "s|<name>guest</name>|<name>$1</name>|" \
        -e "s|a8f3a7</uuid>|a8f3$2</uuid>|" \
        -e "s|/host/serial'|/host/serial.$1'|" >"$lab/evac.xml"
    on src create "$lab/evac.xml" >/dev/null || fail "$1 does not start"
    within 60 evac_gets_on src "$1" 2 || fail "$1 makes no progress on src"
}

# evac_gets_on HOST NAME BYTES: it has told so much there.
evac_gets_on()
{
    [ "$(wc -c <"$lab/$1/serial.$2")" -ge "$3" ]
}

evac_guests()
{
    link_shape "$link_mbit"
    evac_guest calm1 a1 light
    evac_guest calm2 a2 light
    evac_guest calm3 a3 light
    evac_guest calm4 a4 light
    evac_guest busy1 b1 busy
    evac_guest busy2 b2 busy
    everyone='busy1 busy2 calm1 calm2 calm3 calm4'
}

# evac_start [OPTION...]: in the background.
evac_start()
{
    rm -f "$lab/evac.status" "$lab/evac.out" "$lab/evac.json"
    (
        status=0
        env --default-signal=INT "$convergectl" evacuate \
            --connect "$(uri_of src)" --migrate-uri tcp://127.0.0.1 \
            --unsafe --plain --link "${link_known:-32MB/s}" --record "$lab/evac.json" \
            "$@" "$(uri_of dst)" >"$lab/evac.out" 2>&1 &
        echo $! >"$lab/evac.pid"
        wait $! || status=$?
        echo "$status" >"$lab/evac.status"
    ) &
}

evac_ended()
{
    [ -s "$lab/evac.status" ]
}

# evac_fails TEXT...: with what was said.
evac_fails()
{
    cat "$lab/evac.out"
    cp "$lab/evac.json" "$logs/evacuate-failed.json" 2>/dev/null || true
    fail "$@"
}

# evac_ends SECONDS STATUS
evac_ends()
{
    within "$1" evac_ended || evac_fails "it is not done after $1 s"
    [ "$(cat "$lab/evac.status")" -eq "$2" ] ||
        evac_fails "status $(cat "$lab/evac.status"), not $2"
}

evac_says()
{
    within "$1" grep -sqE "$2" "$lab/evac.out" ||
        evac_fails "it does not say '$2'"
}

# evac_on HOST: names, in order, on one line.
evac_on()
{
    on "$1" list --name | grep . | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//'
}

# evac_arrived NAME...: they are on dst, get on there, and what they were filled
# with is as it was.
evac_arrived()
{
    for guest; do
        sent=$(wc -c <"$lab/dst/serial.$guest")
        within 60 evac_gets_on dst "$guest" $((sent + 2)) ||
            evac_fails "$guest makes no progress on dst"
        on dst qemu-monitor-command "$guest" --hmp \
            "pmemsave 0x4000000 $((fill_mib * 1048576)) \"$lab/evac.mem\"" \
            >/dev/null
        python3 -c '
import struct, sys
with open(sys.argv[1], "rb") as file:
    for page in range(int(sys.argv[2]) * 256):
        address = 0x4000000 + page * 4096
        if file.read(4096) != struct.pack("<I", address) + bytes(4092):
            sys.exit(f"the page at {address:#x} differs")
' "$lab/evac.mem" "$fill_mib" || evac_fails "memory of $guest is not the same"
    done
}

evac_all_arrived()
{
    [ -z "$(evac_on src)" ] || evac_fails "on src there is $(evac_on src)"
    [ "$(evac_on dst)" = "$1" ] || evac_fails "on dst there is $(evac_on dst)"
    # shellcheck disable=SC2086 # a list of words
    evac_arrived $1
}

case_evacuate()
{
    evac_guests
    evac_start
    evac_ends 240 0
    evac_all_arrived "$everyone"
    grep -q '^6 of 6 guests moved in ' "$lab/evac.out" ||
        evac_fails "no last line"
    cp "$lab/evac.json" "$logs/evacuate.json"
}

case_evacuate_dry_run()
{
    evac_guests
    evac_start --dry-run --by +1h --except 'calm[34]' --only 'calm*' \
        --only busy1
    evac_ends 90 0
    [ -z "$(evac_on dst)" ] || evac_fails "it moves something"
    grep -q '^0 of 3 gone .*; in time' "$lab/evac.out" ||
        evac_fails "no plan of three guests in time"
}

# A second start takes what is left.
case_evacuate_again()
{
    evac_guests
    evac_start --only 'calm*'
    evac_ends 180 0
    [ "$(evac_on src)" = 'busy1 busy2' ] || evac_fails "others went, too"
    evac_start
    evac_ends 180 0
    evac_all_arrived "$everyone"
}

case_evacuate_guest_destroyed()
{
    evac_guests
    evac_start --parallel 1
    evac_says 60 ' begins to move '
    victim=$(sed -n 's/.* s  \([a-z0-9]*\) begins to move .*/\1/p' \
             "$lab/evac.out" | head -n 1)
    on src destroy "$victim" || fail "$victim cannot be destroyed"
    evac_ends 240 0
    evac_says 1 "$victim no longer runs: "
    # shellcheck disable=SC2086 # a list of words
    rest=$(printf '%s\n' $everyone | grep -vx "$victim" | tr '\n' ' ')
    evac_all_arrived "${rest% }"
}

# One that only a longer downtime would bring over is left, and no other.
case_evacuate_never_converges()
{
    link_shape 64
    evac_guest wild1 c1 wild
    evac_guest calm1 a1 light
    evac_guest calm2 a2 light
    evac_start --policy step --downtime 20
    evac_ends 420 8
    [ "$(evac_on src)" = wild1 ] || evac_fails "on src there is $(evac_on src)"
    evac_arrived calm1 calm2
    grep -q '^wild1 is still here: .' "$lab/evac.out" ||
        evac_fails "it does not say why"
}

case_evacuate_destination_dies()
{
    evac_guests
    evac_start --parallel 1
    evac_says 60 ' begins to move '
    evac_says 120 ' has moved, '
    victim=$(sed -n 's/.* s  \([a-z0-9]*\) begins to move .*/\1/p' \
             "$lab/evac.out" | tail -n 1)
    within 30 test -s "$lab/dst/run/libvirt/qemu/$victim.pid" ||
        evac_fails "$victim is not started on dst"
    sleep 1
    kill_qemu dst "$victim"
    evac_says 30 "$victim (is set aside|has moved)"
    evac_ends 300 0
    evac_all_arrived "$everyone"
}

case_evacuate_link_drops()
{
    evac_guests
    evac_start
    evac_says 90 ' has moved, '
    link_shape $((link_mbit / 10))
    evac_says 60 'the link carries [0-9.]* [kM]B/s, not '
    link_shape "$link_mbit"
    evac_ends 300 0
    evac_all_arrived "$everyone"
}

case_evacuate_libvirtd_restarts()
{
    evac_guests
    evac_start --parallel 1
    evac_says 90 ' has moved, '
    pid=$(cat "$lab/src/run/libvirtd.pid" 2>/dev/null ||
          cat "$lab/src/libvirtd.pid")
    kill -KILL "$pid"
    host_start src
    evac_says 60 'libvirt is back'
    evac_ends 300 0
    evac_all_arrived "$everyone"
}

# Gently: those under way arrive, and no other begins.
case_evacuate_interrupted()
{
    evac_guests
    evac_start --parallel 1
    evac_says 60 ' begins to move '
    kill -INT "$(cat "$lab/evac.pid")"
    evac_says 20 'no other guest is begun'
    evac_ends 120 8
    grep -q '^1 of 6 guests moved in ' "$lab/evac.out" ||
        evac_fails "not one has moved"
    evac_start
    evac_ends 240 0
    evac_all_arrived "$everyone"
}

# --- beside other ways ------------------------------------------------------

# What all guests have told so far, on either side: bytes of 256 pages each.
evac_work()
{
    cat "$lab"/src/serial.* "$lab"/dst/serial.* | wc -c
}

# evac_virsh N: as managers do it, so many at a time.
evac_virsh()
{
    # shellcheck disable=SC2086 # a list of words
    printf '%s\n' $everyone |
        xargs -P "$1" -I NAME virsh -q -c "$(uri_of src)" migrate NAME \
            --live --p2p --unsafe --auto-converge \
            --desturi "$(uri_of dst)" --migrateuri tcp://127.0.0.1
}

# evac_measure WAY COMMAND...: a line of figures.
evac_measure()
{
    way=$1
    shift
    evac_guests
    first=$(evac_work)
    sleep 5
    per_s=$((($(evac_work) - first) / 5))
    first=$(evac_work)
    begun_ns=$(date +%s%N)
    "$@" >"$lab/evac.said" 2>&1 || cat "$lab/evac.said"
    ms=$((($(date +%s%N) - begun_ns) / 1000000))
    [ -z "$(evac_on src)" ] || fail "$way leaves $(evac_on src)"
    printf '%s: %d ms, work of %d ms lost\n' "$way" "$ms" \
        $((ms - ($(evac_work) - first) * 1000 / per_s)) |
        tee -a "$logs/evacuate-beside.txt"
    for host in $hosts; do
        host_clear "$host"
    done
}

# Not among the others: it measures, and takes long. EVACUATE_ROUNDS=3.
case_evacuate_beside()
{
    for round in $(seq "${EVACUATE_ROUNDS:-3}"); do
        echo "round $round" >>"$logs/evacuate-beside.txt"
        evac_measure 'as planned' "$convergectl" evacuate --plain \
            --connect "$(uri_of src)" --migrate-uri tcp://127.0.0.1 --unsafe \
            --link 32MB/s --record "$logs/evacuate-beside-$round.json" \
            "$(uri_of dst)"
        evac_measure 'one by one' evac_virsh 1
        evac_measure 'two at a time' evac_virsh 2
    done
}
