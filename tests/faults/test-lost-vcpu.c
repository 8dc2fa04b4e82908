/*
 * Unit test: which vCPUs are taken for lost
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "lost-vcpu.h"

#define MODULES                                                         \
    "kvm_amd 155648 0 - Live 0xffffffffc05b7000\n"                      \
    "kvm 1200128 1 kvm_amd, Live 0xffffffffc0490000\n"

#define REGISTERS(rip)                                                  \
    "CPU#0\r\nRAX=00000035d89e04ed RBX=0000000000000001\r\n"            \
    "RIP=00000000004047c8 RFL=00000246 [---Z-P-] CPL=3 II=0\r\n"        \
    "CPU#1\r\nRIP=" rip " RFL=00010246 [---Z-P-] CPL=0 II=0\r\n"

/* It stood there before, too */
static gboolean is_lost(const char *registers, const char *modules)
{
    return lost_vcpu_is_told(registers, registers, modules);
}

static void test_in_the_module(void)
{
    g_assert_true(is_lost(REGISTERS("ffffffffc05c5dcc"), MODULES));
    g_assert_true(is_lost(REGISTERS("ffffffffc05b7000"), MODULES));
    g_assert_true(is_lost(REGISTERS("ffffffffc05dcfff"), MODULES));
}

static void test_one_that_goes_on(void)
{
    g_assert_false(lost_vcpu_is_told(REGISTERS("ffffffffc05c5dcc"),
                                     REGISTERS("ffffffffc05c5dd0"), MODULES));
    g_assert_false(lost_vcpu_is_told(REGISTERS("ffffffffc05c5dcc"), "",
                                     MODULES));
}

static void test_beside_the_module(void)
{
    g_assert_false(is_lost(REGISTERS("ffffffffc05b6fff"), MODULES));
    g_assert_false(is_lost(REGISTERS("ffffffffc05dd000"), MODULES));
    g_assert_false(is_lost(REGISTERS("00000000004047c8"), MODULES));
    g_assert_false(is_lost("", MODULES));
}

static void test_addresses_that_are_hidden(void)
{
    g_assert_false(is_lost(
        REGISTERS("0000000000000010"),
        "kvm_amd 155648 0 - Live 0x0000000000000000\n"));
}

static void test_hosts_without_it(void)
{
    g_assert_false(is_lost(
        REGISTERS("ffffffffc05c5dcc"),
        "kvm_intel 380928 0 - Live 0xffffffffc05b7000\n"));
    g_assert_false(is_lost(REGISTERS("ffffffffc05c5dcc"), ""));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lost-vcpu/in-the-module", test_in_the_module);
    g_test_add_func("/lost-vcpu/one-that-goes-on", test_one_that_goes_on);
    g_test_add_func("/lost-vcpu/beside-the-module", test_beside_the_module);
    g_test_add_func("/lost-vcpu/addresses-that-are-hidden",
                    test_addresses_that_are_hidden);
    g_test_add_func("/lost-vcpu/hosts-without-it", test_hosts_without_it);
    return g_test_run();
}
