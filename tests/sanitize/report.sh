# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# What `tsan` and `ubsan` beside it share: a command that prints TAP is run,
# its processes leave reports, and these are judged as further test points.

. "$here/../../scripts/common.sh"

top=${CONVERGE_TOP:-$(dirname "$(dirname "$here")")}
build=${CONVERGE_BUILD:-$top/build}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# begin NAME: reports go to build/NAME-reports, files named report*.
begin()
{
    reports=$build/$1-reports
    rm -rf "$reports"
    # A test that runs as another user has some to tell, too.
    mkdir -p "$reports"
    chmod 1777 "$reports"
}

# is_heard SANITIZER PATTERN: it reports what control.c does wrong.
is_heard()
{
    "${CC:-cc}" -g -fsanitize="$1" -o "$work/control" "$here/control.c" \
        -pthread || return 1
    setarch -R "$work/control" || true
    find "$reports" -type f -exec cat {} + >"$work/heard"
    rm -f "$reports"/*
    grep -q "$2" "$work/heard"
}

# run COMMAND...: prints what it prints but for the plan, which `judged` ends.
run()
{
    status=0
    setarch -R "$@" >"$work/tap" || status=$?
    grep -v '^1\.\.[0-9]' "$work/tap" || true
    n=$(grep -c -E '^(not )?ok ' "$work/tap") || true
    (cd "$top" && scripts/overlay) >"$work/ours"
    find "$reports" -type f -exec cat {} + >"$work/all"
}

# point NAME COMMAND...: a test point that is passed if the command succeeds.
point()
{
    n=$((n + 1))
    name=$1
    shift
    if "$@"; then
        printf 'ok %d - %s\n' "$n" "$name"
    else
        printf 'not ok %d - %s\n' "$n" "$name"
        status=1
    fi
}

judged()
{
    printf '1..%d\n' "$n"
    exit "$status"
}
