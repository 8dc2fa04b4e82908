# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# Usage: calls.py SEED NUMBER CONVERGECTL SOCKET OWN-SOCKET
#
# So many calls of convergectl, right and wrong, some of them killed in their
# midst and some beside a migration that another one has left; every few of them,
# and at the end, whether the QEMU at SOCKET is set as before the first one.  At
# OWN-SOCKET it is asked.  What follows from a seed is the calls, not how far
# each one comes.

import json
import random
import signal
import socket
import subprocess
import sys
import time

SETTLE_S = 30

seed, number, ctl, path, own_path = sys.argv[1:]
rng = random.Random(int(seed))


class Qmp:
    def __init__(self, where):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(where)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.ask("qmp_capabilities")

    def ask(self, command):
        self.file.write(json.dumps({"execute": command}) + "\n")
        self.file.flush()
        while True:
            reply = json.loads(self.file.readline())
            if "return" in reply or "error" in reply:
                return reply.get("return")


own = Qmp(own_path)


def settings():
    told = dict(own.ask("query-migrate-parameters"))
    for item in own.ask("query-migrate-capabilities"):
        told["capability " + item["capability"]] = item["state"]
    return told


def status():
    return own.ask("query-migrate").get("status", "none")


# Each with values that QEMU takes, and one that it or convergectl refuses
SETTINGS = [
    ["--policy", "auto", "step", "predictive", "dirty-limit", "off", "keep",
     "magic"],
    ["--timeout", "1", "3", "60", "-4"],
    ["--timeout-action", "downtime", "stop", "postcopy", "abort", "wait"],
    ["--downtime", "20", "300", "1000", "9999999"],
    ["--max-downtime", "500", "2000", "1"],
    ["--max-iterations", "2", "5", "few"],
    ["--max-transfer", "150", "400", "-1"],
    ["--bandwidth", "8", "32", "1Gbit", "fast"],
    ["--max-throttle", "30", "60", "99", "0"],
    ["--vcpu-limit", "4", "20", "-2"],
    ["--sync-period", "100", "500", "3"],
    ["--set", "cpu-throttle-initial=50", "cpu-throttle-increment=20",
     "no-such=1"],
    ["--capability", "xbzrle=on", "pause-before-switchover=on", "no-such=on"],
]
URIS = ["exec:cat >/dev/null", "exec:cat >/dev/null", "exec:cat >/dev/null",
        "exec:sleep 2", "exec:false", "unix:/nonexistent/socket",
        "tcp:127.0.0.1:1", "what:ever"]


def some_settings():
    chosen = rng.sample(SETTINGS, rng.choice([0, 1, 1, 2, 3, 4]))
    return [word for option in chosen
            for word in (option[0], option[-1] if rng.random() < 0.08
                         else rng.choice(option[1:-1]))]


def some_call():
    to = ["--qmp", path, "--interval", "50", "--connect-timeout", "3"]
    kind = rng.random()
    if kind < 0.6:
        extra = rng.choice([[], [], ["--no-follow"], ["--plain"], ["--json"],
                            ["--destination", "/nonexistent/socket"]])
        chosen = some_settings()
        # A postcopy that begins takes the guest away, and nobody is there
        uri = rng.choice(URIS[4:] if "postcopy" in chosen else URIS)
        return ["migrate"] + to + chosen + extra + [uri]
    if kind < 0.85:
        extra = rng.choice([[], ["--no-follow"], ["--cancel"],
                            ["--wait", "1"]])
        return ["watch"] + to + some_settings() + extra
    if kind < 0.95:
        return ["check"] + to + ["--seconds", "2", "--bandwidth", "32"]
    return ["record"] + to + ["--wait", "1", "-o", "/dev/null"]


def run(call):
    """How it ended: its status, or the signal that it got."""
    after_s = rng.choice([None, None, rng.uniform(0, 0.2),
                          rng.uniform(0, 1.5)])
    number = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM,
                         signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
    # A call that is not killed is cut short all the same: many never end
    process = subprocess.Popen([ctl] + call, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        process.wait(6 if after_s is None else after_s)
        return "status %d" % process.returncode
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return "%s, status %d" % (number.name, process.returncode)


def settle(before):
    """What still differs, once all that was left running has been ended."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        if status() in ("setup", "active", "device", "pre-switchover"):
            own.ask("migrate_cancel")
        now = settings()
        if now == before:
            return []
        if time.monotonic() > deadline:
            return ["%s: %s, was %s" % (name, now.get(name), before.get(name))
                    for name in sorted(set(now) | set(before))
                    if now.get(name) != before.get(name)]
        time.sleep(0.1)


before = settings()
calls = []
for i in range(int(number)):
    call = some_call()
    calls.append(" ".join(call) + ": " + run(call))
    if status() == "completed":
        own.ask("cont")         # the guest has gone nowhere
    if rng.random() < 0.3:
        time.sleep(rng.uniform(0, 1.5))
    if i % 8 == 7 or i == int(number) - 1:
        differs = settle(before)
        if differs:
            print("after these calls:", *calls, "this differs:", *differs,
                  sep="\n  ")
            sys.exit(1)
        own.ask("cont")
        calls = []
