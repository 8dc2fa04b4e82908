# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# What the jobs share: a job starts with `. "$JOB_LIB/job.sh"`, makes test
# points with `ok` and the functions here, and ends with done_testing. What it
# leaves in $results is handed back to build/kvm/results/NAME.
#
# Jobs run under busybox's shell and tools, or, with HOST=own, the host's own.

# shellcheck disable=SC2034,SC2154 # the variables are the jobs' and the runner's
work=$TMPDIR
results=$CONVERGE_RESULTS
. "$JOB_LIB/points.sh"

our_qemu=$CONVERGE_BUILD/qemu/qemu-system-x86_64
PATH=$CONVERGE_BUILD/host/tests/kvm:$CONVERGE_BUILD/host/tests/bench:$PATH
PATH=$CONVERGE_BUILD/host/tests/faults:$CONVERGE_BUILD/qemu/tests/qtest:$PATH
export PATH
export QTEST_QEMU_BINARY="$our_qemu"

# What the tests give to -accel; a job that wants the ring, or both, sets it.
bitmap_log=kvm
ring=kvm,dirty-ring-size=4096
export CONVERGE_ACCEL=$bitmap_log

# Options of `migrate` for jobs that rely on what the link carries: a page that
# QEMU touches for the first time takes this host a ms and more, and while such
# pages are sent a link of 12 MB/s carries two.
prefault='--qemu-arg=-overcommit --qemu-arg=mem-lock=on'

# Options of `migrate` and `run_faults`: what is cleared of the dirty log at once
# is 64 pages, so that these guests have hundreds of such chunks.
small_chunks='--qemu-arg=-global --qemu-arg=migration.x-clear-bitmap-shift=6'

# "bitmap log" or "ring": which of them CONVERGE_ACCEL has, for names.
log_in_use()
{
    case $CONVERGE_ACCEL in
    *ring*) echo ring ;;
    *) echo bitmap log ;;
    esac
}

# points_of NAME FILE STATUS: the test points in a program's TAP stream as ours,
# and a failed one if the stream is not credible.
points_of()
{
    sed 's/^/    /' "$2"
    awk -v status="$3" -v limit_s="?" -f "$JOB_LIB/tap.awk" "$2" >"$work/points"
    awk -F '\t' -v n="$n_run" -v of="$1" '
        { printf "%sok %d - %s: %s%s\n", $1 == "fail" ? "not " : "", ++n, of,
              $2, $1 == "skip" ? " # SKIP " $3 : "" }' "$work/points"
    n_run=$((n_run + $(grep -c . "$work/points" || true)))
    n_failed=$((n_failed + $(grep -c '^fail' "$work/points" || true)))
}

# tap NAME COMMAND...: a program that prints TAP. Its stream is kept as
# NAME.tap, also if it hangs.
tap()
{
    tap_name=$1
    shift
    status=0
    "$@" >"$results/$tap_name.tap" </dev/null || status=$?
    points_of "$tap_name" "$results/$tap_name.tap" "$status"
}

# run_faults NAME OPTION...: tests/faults with CONVERGE_ACCEL.
run_faults()
{
    faults_name=$1-$(log_in_use | tr ' ' -)
    shift
    tap "$faults_name" faults --accel "$CONVERGE_ACCEL" --seed 1 --long "$@"
    if grep -q 'no longer slowed' "$results/$faults_name.tap"; then
        tell "$faults_name: $(grep -c 'no longer slowed' \
            "$results/$faults_name.tap") unplugs took more than 60 s while slowed"
    fi
}

# qtest NAME PROGRAM [OPTION...]: a qtest of ours or of QEMU with
# $QTEST_QEMU_BINARY; its points and its stream get that name. For example:
# qtest steps convergence-test -p /x86_64/convergence/step
qtest()
{
    qtest_name=$1
    shift
    tap "$qtest_name" "$@" --tap -k
}

# migrate NAME OPTION...: bench-migrate with our QEMU and CONVERGE_ACCEL. Its
# lines of JSON are kept as NAME.json, at which all_of and those after it look;
# what it prints is NAME.txt. Fails if no migration could be tried.
migrate()
{
    migrated=$results/$1.json
    migrated_text=$results/$1.txt
    shift
    bench-migrate --qemu "$our_qemu" --accel "$CONVERGE_ACCEL" \
        --json "$migrated" "$@" >"$migrated_text" 2>&1 || {
        cat "$migrated_text"
        return 1
    }
    cat "$migrated_text"
}

# migrate_checked NAME POLICY [OPTION...]: a guest whose writer checks what it
# wrote, and writes faster than the link carries, moves by that policy.
migrate_checked()
{
    checked_name=$1
    checked_policy=$2
    shift 2
    of="$checked_policy, $checked_name"
    ok "$of: a migration was tried" migrate "$checked_name" \
        --policy "$checked_policy" --load verify:48:0,compute --mem 128 \
        --bandwidth 24 --cap 60 --no-floor "$@"
    # The guest's reports from the other side are part of "completed".
    ok "$of: completed, the guest is alive" all_are outcome completed
    ok "$of: no page is corrupt" all_within 0 bad_pages 0
    ok "$of: nothing stays throttled beyond the limit" \
        all_within 0 max_throttle_pct 99
    # The limit is 300: an emulated host is late, but not by seconds.
    ok "$of: a downtime near its limit" all_within 0 downtime_ms 1200
    tell "$of: ms in all, of downtime, throttled to %:" \
        $(all_of total_ms) $(all_of downtime_ms) $(all_of max_throttle_pct)
}

# within LEAST VALUE MOST: numbers, with or without fractions.
within()
{
    echo "wanted: $1 to $3; got: $2"
    awk -v least="$1" -v value="$2" -v most="$3" \
        'BEGIN { exit !(value != "" && value + 0 >= least + 0 &&
                        value + 0 <= most + 0) }'
}

# all_of NAME: that figure of each of the migrations, a line each.
all_of()
{
    awk -v name="\"$1\":" '
        index($0, name) {
            rest = substr($0, index($0, name) + length(name))
            sub(/[,}].*/, "", rest)
            gsub(/"/, "", rest)
            print rest
        }' "$migrated"
}

# tell WORD...: a figure for people, which `make check-kvm` prints.
tell()
{
    echo "# figure: $*"
}

# all_within LEAST NAME MOST, all_are NAME WORD: of each of the migrations.
all_within()
{
    echo "$2:" $(all_of "$2")
    all_of "$2" | awk -v least="$1" -v most="$3" '
        $1 < least + 0 || $1 > most + 0 { bad = 1 }
        END { exit bad || !NR }'
}

all_are()
{
    echo "$1:" $(all_of "$1")
    all_of "$1" | awk -v word="$2" '$1 != word { bad = 1 }
        END { exit bad || !NR }'
}

# median_in FILE: of numbers, a line each.
median_in()
{
    sort -n "$1" | awk '
        { v[NR] = $1 }
        END { if (NR) print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

# median_of NAME: of that figure, over the migrations.
median_of()
{
    all_of "$1" >"$work/median"
    median_in "$work/median"
}

# ratio_of_medians NAME OTHER UNIT: of the former to UNIT of the latter.
ratio_of_medians()
{
    awk -v a="$(median_of "$1")" -v b="$(median_of "$2")" -v unit="$3" \
        'BEGIN { if (b > 0) printf "%.2f", a / b / unit }'
}

# all_of_vcpu N NAME: that vCPU's figure in each of the migrations.
all_of_vcpu()
{
    awk -v n="$1" -v name="\"$2\":" '{
        rest = substr($0, index($0, "\"guest_vcpus\":"))
        for (i = 0; i <= n; i++) {
            rest = substr(rest, index(rest, "{") + 1)
        }
        rest = substr(rest, index(rest, name) + length(name))
        sub(/[,}].*/, "", rest)
        print rest
    }' "$migrated"
}
