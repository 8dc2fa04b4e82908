# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# Judge one TAP stream. Prints a line for each test point,
#
#     pass<TAB>name    fail<TAB>name    skip<TAB>name<TAB>reason
#
# and one more "fail" for whatever makes the stream itself not credible: no
# plan, another number of tests than planned, an exit status that does not fit.
#
# -v status=N   exit status of the program that wrote the stream
# -v limit_s=N  after how many seconds timeout(1) would have ended it

function fail(name)
{
    n_failed++
    printf "fail\t%s\n", name
}

/^(not )?ok([ \t]|$)/ {
    n_run++
    failed = /^not /
    name = $0
    sub(/^(not )?ok[ \t]*[0-9]*[ \t]*(- )?/, "", name)
    directive = ""
    if (match(name, /[ \t]*# *([Ss][Kk][Ii][Pp]|[Tt][Oo][Dd][Oo])/)) {
        directive = toupper(substr(name, RSTART, RLENGTH))
        reason = substr(name, RSTART + RLENGTH)
        name = substr(name, 1, RSTART - 1)
        sub(/^[ \t:-]*/, "", reason)
    }
    if (failed && directive !~ /TODO/) {
        fail(name)
    } else if (directive ~ /SKIP/) {
        printf "skip\t%s\t%s\n", name, reason == "" ? "no reason given" : reason
    } else {
        printf "pass\t%s\n", name
    }
}

/^1\.\.[0-9]+/ {
    n_plans++
    planned = substr($1, 4) + 0
    if (planned == 0) {
        reason = $0
        sub(/^1\.\.0[ \t#]*([Ss][Kk][Ii][Pp])?[ \t:]*/, "", reason)
        printf "skip\tall\t%s\n", reason == "" ? "no reason given" : reason
    }
}

/^Bail out!/ {
    fail($0)
}

END {
    if (status == 124 || status == 137) {
        fail("ended after " limit_s " s")
    } else if (status > 128) {
        fail("ended by signal " (status - 128))
    } else if (status != 0 && n_failed == 0) {
        fail("exit status " status)
    }
    if (n_plans != 1) {
        fail(n_plans == 0 ? "no plan" : n_plans " plans")
    } else if (n_run != planned) {
        fail("planned " planned " tests, ran " n_run + 0)
    }
}
