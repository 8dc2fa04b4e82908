# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# Judge reports of the thread sanitizer.
#
#     awk -f tsan.awk OUR-FILES UPSTREAM REPORTS
#
# OUR-FILES has a path in QEMU's tree a line; UPSTREAM a function a line that is
# known to race in upstream's code. The places that race are the innermost
# frames of QEMU's own code of the first two stacks. Prints, once for each pair
# of places and with the number of reports,
#
#     ours<TAB>...      one of the places is in a file of ours
#     unknown<TAB>...   neither is a function of UPSTREAM, nor did both sides
#                       hold one lock: then it is the sanitizer that has lost
#                       their order, in a coroutine, whose stack it does not know
#     count<TAB>...     how many there were of each, in the end

BEGIN {
    n_names = split("qemu-thread-posix.c thread.h lockable.h atomic.h emmintrin.h",
              wrapper)
    for (i = 1; i <= n_names; i++) {
        wrappers[wrapper[i]] = 1
    }
}

FNR == 1 { n_file++ }

n_file == 1 {
    name = $1
    sub(/.*\//, "", name)
    ours[name] = 1
    next
}

n_file == 2 {
    sub(/#.*/, "")
    if (NF) {
        upstream[$1] = 1
    }
    next
}

/^WARNING: ThreadSanitizer:/ {
    kind = $0
    sub(/^WARNING: ThreadSanitizer: /, "", kind)
    sub(/ \(pid=.*/, "", kind)
    inside = 1
    n_stacks = 0
    wants_frame = 0
    place[1] = place[2] = ""
    locks[1] = locks[2] = ""
    next
}

# Each stack of a report begins with a line that ends in a colon.
inside && /^  [A-Z].*:$/ {
    n_stacks++
    wants_frame = n_stacks <= 2
    if (wants_frame && match($0, /\(mutexes: .*\)/)) {
        locks[n_stacks] = substr($0, RSTART + 10, RLENGTH - 11) ","
        gsub(/write|read/, "", locks[n_stacks])
    }
    next
}

# A frame: #1 function /path/file.c:123 (binary+0x1). Those of the sanitizer's
# own functions, of libraries and of QEMU's wrappers of both say nothing.
inside && /^    #[0-9]+ / && wants_frame {
    file = $3
    sub(/:[0-9:]*$/, "", file)
    sub(/.*\//, "", file)
    if (file !~ /\.[ch]$/ || file in wrappers) {
        next
    }
    place[n_stacks] = $2 " " file
    function_at[n_stacks] = $2
    file_at[n_stacks] = file
    wants_frame = 0
    next
}

inside && /^==================$/ {
    if (n_stacks) {
        judge()
        inside = 0
    }
}

function have_one_lock(    held, i, n)
{
    n = split(locks[1], held, / *, */)
    for (i = 1; i <= n; i++) {
        sub(/^ */, "", held[i])
        if (held[i] != "" && index(locks[2], " " held[i] ",")) {
            return 1
        }
    }
    return 0
}

function judge(    verdict, text)
{
    if (file_at[1] in ours || file_at[2] in ours) {
        verdict = "ours"
    } else if (function_at[1] in upstream || function_at[2] in upstream) {
        verdict = "upstream"
    } else if (have_one_lock()) {
        verdict = "locked"
    } else {
        verdict = "unknown"
    }
    n[verdict]++
    text = verdict "\t" kind ": " place[1] " / " place[2]
    if (verdict != "upstream" && verdict != "locked") {
        seen[text]++
    }
    file_at[1] = file_at[2] = function_at[1] = function_at[2] = ""
}

END {
    # The last one, of a process that was killed while it wrote.
    if (inside && n_stacks) {
        judge()
    }
    for (text in seen) {
        print text " (" seen[text] ")"
    }
    printf "count\t%d in our files, %d unknown, %d known of upstream, %d with " \
        "one lock on both sides\n",
        n["ours"], n["unknown"], n["upstream"], n["locked"]
}
