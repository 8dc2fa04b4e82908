# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# Usage: job.py URI FIELD VALUE
#
# Succeeds if the statistics of the guest's job say so.

import sys

import libvirt

uri, field, value = sys.argv[1:]
job = libvirt.open(uri).lookupByName("guest").jobStats()
sys.exit(str(job.get(field)) != value)
