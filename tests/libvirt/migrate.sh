# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# Migrations of tests/libvirt, from src to the host $to. Read by run.

# What a case may set otherwise: where to, and who speaks to the destination,
# libvirtd or virsh.
to=dst
p2p=--p2p

# Slow enough that a guest outpaces it on any machine.
link_mib_per_s=16

# Pages that guests write, and how many a second; 4 KiB each. The link carries
# 4096 a second.
guests_make()
{
    guest_make light 1024 500       # 2 MB/s: needs no help
    guest_make busy 8192 10000      # 41 MB/s: needs a throttle of some 60 %
    guest_make wild 8192 0          # GB/s: no throttle helps
}

# guest_start IMAGE [GLOBAL...]: it runs on src, and is seen to get on there.
guest_start()
{
    guest_xml "$@" >"$lab/guest.xml"
    on src create "$lab/guest.xml" >/dev/null || fail "the guest does not start"
    guest_runs src
}

# migrate_start [OPTION...]: virsh migrate in the background.
migrate_start()
{
    # shellcheck disable=SC2086 # an option or none
    migrate_by virsh -q -c "$(uri_of src)" migrate guest --live $p2p --unsafe \
        --bandwidth "$link_mib_per_s" --desturi "$(uri_of "$to")" \
        --migrateuri "unix://$lab/migrate.sock" "$@"
}

# migrate_by COMMAND...: which migrates the guest, in the background.
migrate_by()
{
    rm -f "$lab/migrate.sock" "$lab/migrate.status"
    (
        status=0
        "$@" >"$lab/migrate.out" 2>&1 || status=$?
        echo "$status" >"$lab/migrate.status"
    ) &
}

migrate_ended()
{
    [ -s "$lab/migrate.status" ]
}

migrate_clear()
{
    [ ! -e "$lab/migrate.out" ] || within 30 migrate_ended
}

# The guest has moved, and gets on where it is now.
migrate_succeeds_within()
{
    within "$1" migrate_ended || fail "virsh migrate is not done after $1 s:" \
        "$(hmp src 'info migrate' | grep -E '^(conv|throttled|remaining|exp)')"
    [ "$(cat "$lab/migrate.status")" -eq 0 ] || fail "virsh migrate fails"
    host_is_empty src || fail "the guest is still on src"
    guest_runs "$to"
}

# migrate_fails_within SECONDS TEXT: saying TEXT; the guest gets on at src, and
# the destination has no trace of it.
migrate_fails_within()
{
    within "$1" migrate_ended || fail "virsh migrate is not done after $1 s"
    [ "$(cat "$lab/migrate.status")" -ne 0 ] || fail "virsh migrate succeeds"
    grep -qF "$2" "$lab/migrate.out" || fail "virsh does not say '$2'"
    [ "$(on src domstate guest)" = running ] || fail "the guest does not run"
    guest_runs src
    within 10 host_is_empty "$to" || fail "the guest is on $to"
}

# migrate_cancelled: what domjobabort leads to. QEMU 7.2 first shuts down the
# return path, whose socket is that of the migration where libvirt uses one, and
# only then says that it cancels; on a busy machine, libvirt sees the migration
# fail in between.
migrate_cancelled()
{
    migrate_fails_within 30 'error: '
    grep -qE "canceled by client|job 'migration out' .*failed|closed the monitor" \
        "$lab/migrate.out" || fail "virsh gives another reason"
}

# What domjobinfo says, "Name: value"; nothing when there is no job.
job()
{
    on src domjobinfo guest 2>/dev/null |
        awk -F ': *' -v name="$1" '$1 == name { print $2 + 0 }'
}

# Iterations, as domjobinfo counts them.
job_at_pass()
{
    at=$(job Iteration)
    [ "${at:-0}" -ge "$1" ]
}

job_throttles()
{
    [ -n "$(job 'Auto converge throttle')" ]
}

# The bulk is sent, and more than once looked at what is new; still not done.
outpaces_link()
{
    within 60 job_at_pass 4 || fail "no four iterations within 60 s"
    not migrate_ended || fail "virsh migrate ends by itself"
}

# Collects in $lab/throttles what domjobinfo shows until the end; for a guest
# that not even the maximum stops, a longer downtime is that.
watch_throttle()
{
    : >"$lab/throttles"
    deadline_s=$(($(date +%s) + $1))
    until migrate_ended; do
        job 'Auto converge throttle' >>"$lab/throttles"
        [ "$(tail -n 1 "$lab/throttles")" != 99 ] ||
            on src migrate-setmaxdowntime guest 20000 2>/dev/null || true
        [ "$(date +%s)" -lt "$deadline_s" ] ||
            fail "virsh migrate is not done after $1 s, throttled by" \
                "$(uniq "$lab/throttles" | tr '\n' ' ')"
        sleep 0.2
    done
}

# throttle_was INITIAL INCREMENT: what test suites of libvirt and QEMU ask of
# the values seen: the first is INITIAL, the next one INCREMENT more, all of
# them in that series or the maximum, which is 99.
throttle_was()
{
    uniq "$lab/throttles" | awk -v initial="$1" -v step="$2" '
        NR == 1 && $1 != initial { bad = "first is not " initial }
        NR == 2 && $1 != initial + step { bad = "second is not the next one" }
        $1 != 99 && ($1 > 99 || ($1 - initial) % step) { bad = $1 }
        { seen = seen " " $1 }
        END {
            if (NR < 2 && bad == "") bad = "fewer than two"
            print "throttle:" seen
            if (bad != "") { print "not as promised: " bad; exit 1 }
        }' || fail "throttle, asked for $1 and then $2 more each time"
}

# guest_as_fast_as PAGES_PER_S: on src, but for what other load of this machine
# may take; what it is to be told from is a tenth.
guest_as_fast_as()
{
    rate=$(guest_rate src)
    [ $((rate * 2)) -ge "$1" ]
}
