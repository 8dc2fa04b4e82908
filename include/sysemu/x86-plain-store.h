/*
 * Is an x86 instruction one that may be given up before it writes?
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSEMU_X86_PLAIN_STORE_H
#define SYSEMU_X86_PLAIN_STORE_H

/* No instruction is longer. */
#define X86_INSN_BYTES_MAX  15

static inline bool x86_is_plain_prefix(uint8_t byte)
{
    /* Segments, operand size, address size; neither LOCK nor REPNE. */
    return byte == 0x26 || byte == 0x2e || byte == 0x36 || byte == 0x3e ||
           (byte >= 0x64 && byte <= 0x67);
}

/**
 * x86_is_plain_store: whether an instruction stores a register or a constant
 * in one piece of memory, and has no other effect before that
 * @code: where it begins; an end before it is complete makes it no plain one
 * @is_64bit: the code segment's mode; the operand's size does not matter
 *
 * MOV and STOS, also repeated: of what a program writes they are the most.
 * All others are said to be none, so what is unknown is never given up.
 */
static inline bool x86_is_plain_store(const uint8_t *code, size_t code_bytes,
                                      bool is_64bit)
{
    const uint8_t *end = code + code_bytes;
    bool repeats = false;
    uint8_t modrm;

    for (; code < end && (x86_is_plain_prefix(*code) || *code == 0xf3);
         code++) {
        repeats |= *code == 0xf3;
    }
    /* REX. */
    if (code < end && is_64bit && (*code & 0xf0) == 0x40) {
        code++;
    }
    if (code < end && *code == 0xab) {
        return true;
    }
    if (end - code < 2 || repeats || (*code != 0x89 && *code != 0xc7)) {
        return false;
    }
    /* To memory; of C7 only this one is a MOV. */
    modrm = code[1];
    return modrm >> 6 != 3 && (*code == 0x89 || !(modrm >> 3 & 7));
}

#endif /* SYSEMU_X86_PLAIN_STORE_H */
