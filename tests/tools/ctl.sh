# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# What the tests of convergectl share: a scripted QMP server, a terminal.
# Read with `. "$(dirname "$0")/ctl.sh"`; it brings tests/setup/tap.sh along.

. "$(dirname "$0")/../setup/tap.sh"

host=${CONVERGE_BUILD:-$repo/build}/host/tools/convergectl
ctl=$host/convergectl
tab=$(printf '\t')
sock=$work/qmp.sock
fakes=

# Only what was started here is ended, by its number.
tidy_up()
{
    for pid in $fakes; do
        kill "$pid" 2>/dev/null || true
    done
    for server in "$work"/tmux*; do
        tmux -S "$server" kill-server 2>/dev/null || true
    done
    rm -rf "$work"
}
trap tidy_up EXIT

# must_have -x|-r FILE...: what the suite has built; without it the test failed.
must_have()
{
    flag=$1
    shift
    for file; do
        [ "$flag" "$file" ] ||
            { printf 'not ok 1 - no %s\n1..1\n' "$file"; exit 1; }
    done
}
must_have -x "$ctl" "$host/fake-qmp"

# fake_qmp SOCKET: serves what $work/script says; its log is SOCKET.log.
fake_qmp()
{
    "$host/fake-qmp" "$1" "$work/script" "$1.log" 2>"$1.err" &
    fake=$!
    fakes="$fakes $fake"
    wait_for 5 test -S "$1"
}

# sent_no PATTERN: nothing of the kind came to the fake QEMU, which heard us.
sent_no()
{
    test -s "$sock.log" && ! grep -qE "$1" "$sock.log"
}

# wait_for SECONDS COMMAND...: until it succeeds; fails after that time.
wait_for()
{
    n_tries=$(($1 * 20))
    shift
    while ! "$@" >/dev/null 2>&1; do
        n_tries=$((n_tries - 1))
        [ "$n_tries" -gt 0 ] || return 1
        sleep 0.05
    done
}

# A reply of query-migrate. $1: status, $2: ms, $3: percent, $4: state.
info()
{
    cat <<END | tr -d '\n'
{"return":{"status":"$1","total-time":$2,"downtime":5,
"cpu-throttle-percentage":20,"ram":{"total":268435456,
"remaining":$((268435456 - 2684354 * $3)),"transferred":$((2684354 * $3)),
"dirty-sync-count":3,"dirty-pages-rate":1000,"page-size":4096,
"normal":$((655 * $3)),"duplicate":10},
"convergence":{"policy":"dirty-limit","state":"$4",
"reason":"the guest dirties 60.5 MB/s, the link drains 31.8 MB/s",
"dirty-rate":60500000,"drain-rate":31800000,"throttle-percentage":20,
"downtime-limit":300,"passes":1,"progress-percentage":$3,
"predicted-total-time":10000,"predicted-downtime":12,
"vcpus":[{"id":0,"dirty-rate":41000000,"dirty-limit":45000000,
"throttle-percentage":57},
{"id":1,"dirty-rate":0,"dirty-limit":0,"throttle-percentage":0}]}}}
END
}

# answer COMMAND COUNT REPLY: a line of the script.
answer()
{
    printf '%s\t%s\t%s\n' "$1" "$2" "$3"
}

# What a QEMU with Converge says of its parameters.
parameters()
{
    answer query-migrate-parameters 1 '{"return":{"downtime-limit":300,
"max-bandwidth":64000000,"max-cpu-throttle":99,"convergence-policy":"step","convergence-timeout":0,
"convergence-timeout-action":"downtime"}}' | tr '\n' ' '
    echo
}

# Idle, then active for as long as anybody asks; a cancel is obeyed.
endless_migration()
{
    parameters
    answer query-migrate 1 '{"return":{}}'
    for pct in 5 10 15 20 25 30 35 40 45 50; do
        answer query-migrate 1 "$(info active $((pct * 100)) $pct throttling)"
    done
    printf '[migrate_cancel]\n'
    answer query-migrate 1 "$(info cancelling 6000 50 throttling)"
    answer query-migrate 1 "$(info cancelled 6000 50 throttling)"
}

# One that comes to its end.
short_migration()
{
    parameters
    answer query-migrate 1 '{"return":{}}'
    for pct in 10 30 50 70 90; do
        answer query-migrate 2 "$(info active $((pct * 100)) $pct converging)"
    done
    answer query-migrate 1 "$(info completed 9500 100 converging)"
}

# The last try ended with status $1 and said all of the other arguments.
ended_with()
{
    wanted=$1
    shift
    [ "$status" -eq "$wanted" ] ||
        { echo "wanted status $wanted, got $status"; return 1; }
    for text in "$@"; do
        grep -qF -e "$text" "$work/out" || { echo "not said: $text"; return 1; }
    done
}
