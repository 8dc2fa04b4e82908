/*
 * Convergence tests: the code of the guests that write
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_CONVERGENCE_GUEST_CODE_H
#define TESTS_QTEST_CONVERGENCE_GUEST_CODE_H

#define GUEST_CODE_BYTES    512

/* What the code is told, as 32 bit words in it. */
#define GUEST_CODE_PAGES    0x100
#define GUEST_CODE_SPIN     0x104
#define GUEST_CODE_WRITERS  0x10c

typedef struct GuestCode {
    const char *arch;           /* NULL: all others */
    const char *command_line;   /* the name of the file follows */
    const uint8_t *bytes;
    uint64_t ram_base;
    uint64_t at;                /* where it is loaded, from ram_base */
    bool many_vcpus;            /* it brings them up */
} GuestCode;

/* Of the QEMU under test. */
const GuestCode *guest_code(void);

#endif /* TESTS_QTEST_CONVERGENCE_GUEST_CODE_H */
