/*
 * What a recording tells of the guest, but for the migration itself
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_RECORDED_H
#define CONVERGECTL_RECORDED_H

#include "look.h"
#include "qmp.h"

/*
 * Asks @qmp's QEMU for the guest's name, which is @otherwise if it has none,
 * and for what its migrations are set to: "NAME=VALUE" for each parameter,
 * "NAME=on" for each capability that is on.  What is not answered is left out.
 */
void recorded_ask(QmpClient *qmp, const char *otherwise, Look *look);

#endif
