/* For unit tests of the vCPU slow-down; see fake-qemu.h. */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The Converge developers */
#include "fake-qemu.h"
