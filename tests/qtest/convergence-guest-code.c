/*
 * Convergence tests: the code of the guests that write
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "convergence-guest-code.h"

/*
 * All vCPUs run this from its start: the first one by the firmware, which finds
 * itself to be number 0 and sends the others by way of a jump at 0x7000.  Those
 * beyond the number of writers count in one word and write nowhere else.
 */
static const uint8_t x86_code[GUEST_CODE_BYTES] = {
    /* 16 bit: open A20, enter protected mode with flat segments */
    0xfa,                                       /* cli */
    0x31, 0xc0,                                 /* xor %ax,%ax */
    0x8e, 0xd8,                                 /* mov %ax,%ds */
    0xe4, 0x92,                                 /* in $0x92,%al */
    0x0c, 0x02,                                 /* or $2,%al */
    0xe6, 0x92,                                 /* out %al,$0x92 */
    0x0f, 0x01, 0x16, 0xf8, 0x7c,               /* lgdt gdtr */
    0x0f, 0x20, 0xc0,                           /* mov %cr0,%eax */
    0x0c, 0x01,                                 /* or $1,%al */
    0x0f, 0x22, 0xc0,                           /* mov %eax,%cr0 */
    0xea, 0x1d, 0x7c, 0x08, 0x00,               /* ljmp $8,$0x7c1d */
    /* 32 bit, 0x7c1d: take a number, count from 0, find the own memory */
    0x66, 0xb8, 0x10, 0x00,                     /* mov $16,%ax */
    0x8e, 0xd8,                                 /* mov %eax,%ds */
    0xb8, 0x01, 0x00, 0x00, 0x00,               /* mov $1,%eax */
    0xf0, 0x0f, 0xc1, 0x05, 0x08, 0x7d, 0, 0,   /* lock xadd %eax,next */
    0x3b, 0x05, 0x0c, 0x7d, 0, 0,               /* cmp writers,%eax */
    0x0f, 0x83, 0x95, 0x00, 0, 0,               /* jae read */
    0x8d, 0x3c, 0xc5, 0x00, 0x60, 0, 0,         /* lea counts(,%eax,8),%edi */
    0xc7, 0x07, 0, 0, 0, 0,                     /* movl $0,(%edi) */
    0xc7, 0x47, 0x04, 0, 0, 0, 0,               /* movl $0,4(%edi) */
    0x8b, 0x2d, 0x00, 0x7d, 0, 0,               /* mov pages,%ebp */
    0x0f, 0xaf, 0xe8,                           /* imul %eax,%ebp */
    0xc1, 0xe5, 0x0c,                           /* shl $12,%ebp */
    0x81, 0xc5, 0x00, 0x00, 0x10, 0x00,         /* add $1 MB,%ebp */
    0x85, 0xc0,                                 /* test %eax,%eax */
    0x75, 0x44,                                 /* jnz round */
    /* Number 0: INIT to the others, a jump to 0x7c00 for them */
    0xc7, 0x05, 0x00, 0x70, 0, 0,
    0xea, 0x00, 0x7c, 0x00,                     /* movl $0x7c00ea,0x7000 */
    0xc6, 0x05, 0x04, 0x70, 0, 0, 0x00,         /* movb $0,0x7004 */
    0xbe, 0x00, 0x03, 0xe0, 0xfe,               /* mov $ICR,%esi */
    0xc7, 0x06, 0x00, 0x45, 0x0c, 0x00,         /* movl $0xc4500,(%esi) */
    /* again, 0x7c82: SIPI to 0x7000, now and then, until all writers came */
    0xc7, 0x06, 0x07, 0x46, 0x0c, 0x00,         /* movl $0xc4607,(%esi) */
    0x8b, 0x0d, 0x08, 0x7d, 0, 0,               /* mov next,%ecx */
    0x3b, 0x0d, 0x0c, 0x7d, 0, 0,               /* cmp writers,%ecx */
    0x73, 0x0a,                                 /* jae up */
    0xb9, 0x00, 0x00, 0x00, 0x01,               /* mov $1 << 24,%ecx */
    0x49,                                       /* wait: dec %ecx */
    0x75, 0xfd,                                 /* jnz wait */
    0xeb, 0xe2,                                 /* jmp again */
    /* up, 0x7ca0 */
    0xc7, 0x05, 0xf8, 0x6f, 0, 0,
    0x43, 0x56, 0x52, 0x47,                     /* movl $SIGN_UP,sign */
    /* round, 0x7caa */
    0x89, 0xee,                                 /* mov %ebp,%esi */
    0x8b, 0x15, 0x00, 0x7d, 0, 0,               /* mov pages,%edx */
    /* page, 0x7cb2 */
    0x8b, 0x0d, 0x04, 0x7d, 0, 0,               /* mov spin,%ecx */
    0xe3, 0x03,                                 /* jecxz write */
    0x49,                                       /* spin: dec %ecx */
    0x75, 0xfd,                                 /* jnz spin */
    /* write, 0x7cbd */
    0xff, 0x06,                                 /* incl (%esi) */
    0x83, 0x07, 0x01,                           /* addl $1,(%edi) */
    0x83, 0x57, 0x04, 0x00,                     /* adcl $0,4(%edi) */
    0x81, 0xc6, 0x00, 0x10, 0x00, 0x00,         /* add $4096,%esi */
    0x4a,                                       /* dec %edx */
    0x75, 0xe3,                                 /* jnz page */
    0xeb, 0xd9,                                 /* jmp round */
    /* read, 0x7cd1 */
    0xff, 0x05, 0x00, 0x90, 0, 0,               /* incl READ_COUNT */
    0xeb, 0xf8,                                 /* jmp read */
    /* gdt, 0x7ce0: null, code, data; gdtr, 0x7cf8 */
    [0xe8] = 0xff, 0xff, 0, 0, 0, 0x9a, 0xcf, 0,
    0xff, 0xff, 0, 0, 0, 0x92, 0xcf, 0,
    0x17, 0x00, 0xe0, 0x7c, 0x00, 0x00,
    [510] = 0x55, 0xaa,
};

/* One vCPU.  The device tree may lie where it writes: it begins with zeroes. */
static const uint8_t aarch64_code[GUEST_CODE_BYTES] = {
    0x0a, 0x08, 0x00, 0x10,                    /* adr x10, params */
    0x09, 0x00, 0xa8, 0xd2,                    /* mov x9, #0x40000000 */
    0x2b, 0x19, 0x40, 0x91,                    /* add x11, x9, #0x6, lsl #12 */
    0x0c, 0xff, 0x8d, 0xd2,                    /* mov x12, #0x6ff8 */
    0x2c, 0x01, 0x0c, 0x8b,                    /* add x12, x9, x12 */
    0x7f, 0x01, 0x00, 0xf9,                    /* str xzr, [x11] */
    0x2d, 0x01, 0x44, 0x91,             /* add x13, x9, #0x100, lsl #12 */
    0xe1, 0x03, 0x0d, 0xaa,                    /* mov x1, x13 */
    0x42, 0x01, 0x40, 0xb9,                    /* ldr w2, [x10] */
    0x3f, 0x00, 0x00, 0xb9,                    /* zero: str wzr, [x1] */
    0x21, 0x04, 0x40, 0x91,                    /* add x1, x1, #0x1, lsl #12 */
    0x42, 0x04, 0x00, 0x71,                    /* subs w2, w2, #0x1 */
    0xa1, 0xff, 0xff, 0x54,                    /* b.ne zero */
    0x60, 0xc8, 0x8a, 0x52,                    /* mov w0, #0x5643 */
    0x40, 0xea, 0xa8, 0x72,                    /* movk w0, #0x4752, lsl #16 */
    0x80, 0x01, 0x00, 0xb9,                    /* str w0, [x12] */
    0xe1, 0x03, 0x0d, 0xaa,                    /* round: mov x1, x13 */
    0x42, 0x01, 0x40, 0xb9,                    /* ldr w2, [x10] */
    0x43, 0x05, 0x40, 0xb9,                    /* page: ldr w3, [x10, #4] */
    0x63, 0x00, 0x00, 0x34,                    /* cbz w3, write */
    0x63, 0x04, 0x00, 0x71,                    /* spin: subs w3, w3, #0x1 */
    0xe1, 0xff, 0xff, 0x54,                    /* b.ne spin */
    0x24, 0x00, 0x40, 0xb9,                    /* write: ldr w4, [x1] */
    0x84, 0x04, 0x00, 0x11,                    /* add w4, w4, #0x1 */
    0x24, 0x00, 0x00, 0xb9,                    /* str w4, [x1] */
    0x65, 0x01, 0x40, 0xf9,                    /* ldr x5, [x11] */
    0xa5, 0x04, 0x00, 0x91,                    /* add x5, x5, #0x1 */
    0x65, 0x01, 0x00, 0xf9,                    /* str x5, [x11] */
    0x21, 0x04, 0x40, 0x91,                    /* add x1, x1, #0x1, lsl #12 */
    0x42, 0x04, 0x00, 0x71,                    /* subs w2, w2, #0x1 */
    0x81, 0xfe, 0xff, 0x54,                    /* b.ne page */
    0xf1, 0xff, 0xff, 0x17,                    /* b round */
};

static const GuestCode codes[] = {
    {
        .arch = "aarch64",
        .command_line = "-M virt-7.2 -cpu cortex-a57 -kernel ",
        .bytes = aarch64_code,
        .ram_base = 0x40000000,
        .at = 0x80000,
    }, {
        /* x86_64 and i386 */
        .command_line = "-M pc-i440fx-7.2 -drive if=ide,format=raw,file=",
        .bytes = x86_code,
        .ram_base = 0,
        .at = 0x7c00,
        .many_vcpus = true,
    },
};

const GuestCode *guest_code(void)
{
    const GuestCode *code = codes;

    while (code->arch && !g_str_equal(code->arch, qtest_get_arch())) {
        code++;
    }
    return code;
}
