#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# scripts/series: refuses an incomplete plan; and the real series, taken with
# git am on a pristine tree, gives build/src to the last byte. A suite of its
# own (hence no .test), as it needs QEMU's source.

set -eu
. "$(dirname "$0")/tap.sh"
. "$here/series-taken.sh"

# The real one first: it needs the real directories, and is the caller's QEMU's.
CONVERGE_BASE=$asked_base
series_is_taken "${CONVERGE_BUILD:-$repo/build}"
CONVERGE_BASE=7.2

# The rest on a small tree.
fresh_project
CONVERGE_SERIES=$work/series.txt
export CONVERGE_SERIES
printf 'policy\n' >"$work/top/migration/convergence-policy.c"

plan()
{
    cat >"$CONVERGE_SERIES"
    try "$scripts/series"
}

nothing_of_another_base()
{
    ! grep -rq 'Its body\|commit@' "$work/build/series"
}

plan <<'END'
commit: one
file: migration/convergence-engine.c
END
ok 'a file in no commit is named' \
    failed_saying 'in no commit' convergence-policy.c
plan <<'END'
commit: one
file: migration/*
commit: two
file: migration/convergence-policy.c
END
ok 'a file in two commits is named' \
    failed_saying 'in two commits' convergence-policy.c
plan <<'END'
commit: one
file: migration/*
file: migration/no-such-file.c
END
ok 'a name that nothing bears is named' failed_saying no-such-file.c
plan <<'END'
commit: one
file: migration/*
commit: two
END
ok 'a commit that changes nothing is refused' failed_saying '"two"'
plan <<'END'
commit: one
file: migration/*
patch: 0001-*
END
ok 'a patch that is not there is named' failed_saying '0001-*'

printf '%s\n' 'Why.' '--- a/migration/ram.c' '+++ b/migration/ram.c' \
    '@@ -7,2 +7,3 @@' ' 7' '+hook' ' 8' \
    >"$work/top/patches/qemu-7.2/0001-ram-hook.patch"
plan <<'END'
commit: all
file: *
END
ok 'a patch in no commit is named' \
    failed_saying 'in no commit' 0001-ram-hook.patch
plan <<'END'
# comment
commit: migration: first
    Body.
file: migration/convergence-engine.c

commit@9.9: migration: of another QEMU
    Its body.
patch: 0077-*

commit@7.2: migration: second
    Another body.
file: migration/convergence-policy.c
patch: *
END
ok 'a complete plan is written' succeeded
ok 'as one mail a commit, in order' same_text \
    "$(cd "$work/build/series" && ls | tr '\n' ' ')" \
    '0001-migration-first.patch 0002-migration-second.patch '
ok 'with its message' grep -qx 'Another body.' \
    "$work/build/series/0002-migration-second.patch"
ok 'without what is for another base' nothing_of_another_base
ok 'and its patch' grep -qx '+hook' \
    "$work/build/series/0002-migration-second.patch"
done_testing
