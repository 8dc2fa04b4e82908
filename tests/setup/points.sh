# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# Test points in shell: TAP. Read with $work set to a directory for what was
# printed; end the test with done_testing.

# shellcheck disable=SC2154 # work: as said above
n_run=0
n_failed=0

# ok NAME COMMAND...: one test point, passed if the command succeeds. When it
# does not, what it and the last `try` printed is shown.
ok()
{
    name=$1
    shift
    n_run=$((n_run + 1))
    if "$@" >"$work/ok.out" 2>&1; then
        printf 'ok %d - %s\n' "$n_run" "$name"
    else
        n_failed=$((n_failed + 1))
        printf 'not ok %d - %s\n' "$n_run" "$name"
        printf '# %s\n' "failed: $*"
        head -n 40 "$work/ok.out" | sed 's/^/# /'
        [ ! -f "$work/out" ] || tail -n 40 "$work/out" | sed 's/^/# it said: /'
    fi
}

# skip NAME REASON: a test point that is neither.
skip()
{
    n_run=$((n_run + 1))
    printf 'ok %d - %s # SKIP %s\n' "$n_run" "$1" "$2"
}

done_testing()
{
    printf '1..%d\n' "$n_run"
    [ "$n_failed" -eq 0 ]
}

# try COMMAND...: runs it; output goes to $work/out, its status to $status.
try()
{
    status=0
    "$@" >"$work/out" 2>&1 </dev/null || status=$?
}

succeeded()
{
    [ "$status" -eq 0 ]
}

same_text()
{
    [ "$1" = "$2" ] || { printf 'wanted: %s\ngot:    %s\n' "$2" "$1"; false; }
}
