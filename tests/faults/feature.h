/*
 * Compatibility: what its files share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGE_FAULTS_FEATURE_H
#define CONVERGE_FAULTS_FEATURE_H

#include "fault.h"

enum {
    FEATURE_MULTIFD,
    FEATURE_MULTIFD_ZLIB,
    FEATURE_XBZRLE,
    FEATURE_COMPRESS,
    FEATURE_RETURN_PATH,
    FEATURE_PAUSE,
    FEATURE_POSTCOPY,
    FEATURE_BITMAPS,
    FEATURE_TLS,
    FEATURE_MULTIFD_TLS,
};

/* @text: an object in JSON.  Ours, so that it is one. */
JsonObject *feature_arguments(const char *text);
gboolean feature_run(QmpClient *qmp, const char *command, const char *text,
                     GError **errp);

/* A skip, if it has not been built */
gboolean feature_has_full_qemu(FaultRun *run, GError **errp);

/* Until the source's migration has @status */
gboolean feature_wait_status(World *world, const char *status,
                             GError **errp);

#endif
