/*
 * Which x86 instructions may be given up before they write
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "sysemu/x86-plain-store.h"

typedef struct Case {
    const char *says;
    uint8_t code[X86_INSN_BYTES_MAX];
    size_t code_bytes;
    bool is_plain;          /* in 64 bit code... */
    bool is_plain_in_32;    /* ...and in other code */
} Case;

static const Case cases[] = {
    { "mov %eax,(%rdi)", { 0x89, 0x07 }, 2, true, true },
    { "mov %rax,8(%rdi)", { 0x48, 0x89, 0x47, 0x08 }, 4, true, false },
    { "mov %ax,(%rdi)", { 0x66, 0x89, 0x07 }, 3, true, true },
    { "mov %rax,%gs:(%rdi)", { 0x65, 0x48, 0x89, 0x07 }, 4, true, false },
    { "movl $1,(%rdi)", { 0xc7, 0x07, 1, 0, 0, 0 }, 6, true, true },
    { "stosl", { 0xab }, 1, true, true },
    { "rep stosq", { 0xf3, 0x48, 0xab }, 3, true, false },

    { "mov %eax,%edi, which writes nothing", { 0x89, 0xc7 }, 2, false, false },
    { "xbegin", { 0xc7, 0xf8, 0, 0, 0, 0 }, 6, false, false },
    { "add %rax,(%rdi)", { 0x48, 0x01, 0x07 }, 3, false, false },
    { "lock add %rax,(%rdi)", { 0xf0, 0x48, 0x01, 0x07 }, 4, false, false },
    { "xchg %rax,(%rdi)", { 0x48, 0x87, 0x07 }, 3, false, false },
    { "cmpxchg16b (%rdi)", { 0x48, 0x0f, 0xc7, 0x0f }, 4, false, false },
    { "lock cmpxchg16b (%rdi)", { 0xf0, 0x48, 0x0f, 0xc7, 0x0f }, 5, false,
      false },
    { "movsq", { 0x48, 0xa5 }, 2, false, false },
    { "rep movsq", { 0xf3, 0x48, 0xa5 }, 3, false, false },
    { "insl", { 0x6d }, 1, false, false },
    { "rep insl", { 0xf3, 0x6d }, 2, false, false },
    { "push %rax", { 0x50 }, 1, false, false },
    { "incl (%rdi)", { 0xff, 0x07 }, 2, false, false },
    { "movaps %xmm0,(%rdi)", { 0x0f, 0x29, 0x07 }, 3, false, false },
    /* Two REX prefixes, or one that is not the last, are none that is known. */
    { "rex rex mov", { 0x48, 0x48, 0x89, 0x07 }, 4, false, false },
    { "rex data16 mov", { 0x48, 0x66, 0x89, 0x07 }, 4, false, false },
    /* Nor is one whose end lies in a page that was not read. */
    { "nothing", { 0x89, 0x07 }, 0, false, false },
    { "only a prefix of mov", { 0x48, 0x89, 0x07 }, 1, false, false },
    { "only the opcode of mov", { 0x48, 0x89, 0x07 }, 2, false, false },
};

static void only_single_writes_are_plain(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        const Case *c = &cases[i];

        g_test_message("%s", c->says);
        g_assert_cmpint(x86_is_plain_store(c->code, c->code_bytes, true), ==,
                        c->is_plain);
        g_assert_cmpint(x86_is_plain_store(c->code, c->code_bytes, false), ==,
                        c->is_plain_in_32);
    }
}

/* Prefixes do not make it read past the end. */
static void all_prefixes(void)
{
    uint8_t code[X86_INSN_BYTES_MAX];

    memset(code, 0x66, sizeof(code));
    g_assert_false(x86_is_plain_store(code, sizeof(code), true));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/x86-plain-store/only_single_writes_are_plain",
                    only_single_writes_are_plain);
    g_test_add_func("/x86-plain-store/all_prefixes", all_prefixes);
    return g_test_run();
}
