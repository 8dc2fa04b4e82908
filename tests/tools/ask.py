# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# Usage: ask.py SOCKET JSON...         what QEMU answers to QMP commands, as JSON
#        ask.py SOCKET --hmp LINE...   what its monitor for people says to LINEs
#
# An error is an exit status of 1; those to LINEs are told with the LINE.

import json
import socket
import sys

sock = socket.socket(socket.AF_UNIX)
sock.settimeout(20)
sock.connect(sys.argv[1])
lines = sock.makefile("rw")


def ask(command):
    lines.write(json.dumps(command) + "\n")
    lines.flush()
    while True:
        reply = json.loads(lines.readline())
        if "return" in reply or "error" in reply:
            return reply


def say(line):
    said = ask({"execute": "human-monitor-command",
                "arguments": {"command-line": line}})["return"]
    failed = said.startswith(("Error", "unknown command", "Invalid"))
    print((line + ": " if failed else "") + said.replace("\r", ""), end="")
    return failed


def tell(text):
    reply = ask(json.loads(text))
    print(json.dumps(reply))
    return "error" in reply


lines.readline()
ask({"execute": "qmp_capabilities"})
if sys.argv[2] == "--hmp":
    sys.exit(any([say(line) for line in sys.argv[3:]]))
sys.exit(any([tell(text) for text in sys.argv[2:]]))
