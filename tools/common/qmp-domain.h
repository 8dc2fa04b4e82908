/*
 * A QMP command to a guest of libvirt's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * For qmp.c alone.
 */

#ifndef CONVERGE_QMP_DOMAIN_H
#define CONVERGE_QMP_DOMAIN_H

#include "qmp.h"

/* QEMU's message in answer to @json */
JsonObject *qmp_domain_ask(const char *domain, const char *json,
                           int timeout_ms, GError **errp);

#endif
