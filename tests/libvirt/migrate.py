# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# Usage: migrate.py SRC-URI DEST-URI MIGRATE-URI MIB-PER-S
#
# Migrates the guest with settings of its own for convergence. Debian's binding
# has no names for them, and needs none.

import sys

import libvirt

src_uri, dest_uri, migrate_uri, mib_per_s = sys.argv[1:]
guest = libvirt.open(src_uri).lookupByName("guest")
guest.migrateToURI3(
    dest_uri,
    {
        libvirt.VIR_MIGRATE_PARAM_URI: migrate_uri,
        libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: int(mib_per_s),
        "convergence.policy": "predictive",
        "convergence.timeout": 600,
        "convergence.timeout_action": "abort",
        "convergence.max_downtime": 7000,
    },
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_UNSAFE
    | libvirt.VIR_MIGRATE_AUTO_CONVERGE,
)
