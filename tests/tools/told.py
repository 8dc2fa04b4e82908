# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# Usage: told.py progress|events|complete FILE
#
# What `convergectl migrate --json` wrote of a migration in FILE, checked:
#   progress    never falls, and moves before the end
#   events      each change of state that was seen was also announced
#   complete    nothing of what our QEMU tells is missing

import json
import re
import sys

lines = [json.loads(line) for line in open(sys.argv[2])]
samples = [o for o in lines if o["type"] == "sample"]
active = [o for o in samples if o["status"] == "active"
          and o.get("state", "off") != "off"]
assert len(active) >= 10, "%d looks only" % len(active)


def changes(values):
    return [v for i, v in enumerate(values) if i == 0 or v != values[i - 1]]


def progress():
    seen = [o["progress-pct"] for o in active]
    assert seen == sorted(seen), seen
    assert 0 <= seen[0] <= 30 and 50 <= seen[-1] <= 99, seen


# A state may come and go between two looks: more may be announced than seen.
def events():
    told = [o["data"]["state"] for o in lines
            if o["type"] == "event" and o["event"] == "MIGRATION_CONVERGENCE"]
    seen = changes([o["state"] for o in active])
    left = iter(told)
    assert told == changes(told), "announced twice: %s" % told
    assert all(state in left for state in seen), (seen, told)
    assert len(told) >= 2, told


# Before the first decision there are no rates.
def complete():
    decided = [o for o in active if "still to come" not in o["reason"]]
    assert len(decided) >= 10, "%d looks only" % len(decided)
    for o in decided:
        for key in ("policy", "dirty-bytes-per-s", "drain-bytes-per-s",
                    "downtime-limit-ms", "passes", "progress-pct", "reason"):
            assert key in o, "no %s in %s" % (key, o)
        assert re.search(r"[0-9.]+ (MB|s|%)", o["reason"]), o["reason"]
    assert any("predicted-total-ms" in o for o in active)
    assert any(o.get("vcpus") for o in active)


{"progress": progress, "events": events, "complete": complete}[sys.argv[1]]()
