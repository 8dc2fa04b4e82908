# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# A boot sector that writes a word in each of PAGES pages from 1 MiB on, over
# and over, and waits TICKS of the TSC after each page: what it dirties in a
# second does not depend on the speed of the emulation, and time that it was
# made to sleep is not made up for. It counts the pages at 0x6000, for who can
# look into its memory, and sends a byte down the serial line every 256 pages,
# for who cannot. Before that it fills FILL pages from 64 MiB on, once.

        .set    count, 0x6000
        .set    uart, 0x3f8
        .globl  _start

        .code16
_start:
        cli
        xor     %ax, %ax
        mov     %ax, %ds
        in      $0x92, %al              # A20
        or      $2, %al
        out     %al, $0x92
        lgdtw   gdtr
        mov     %cr0, %eax
        or      $1, %al
        mov     %eax, %cr0
        ljmpw   $8, $flat

        .code32
flat:
        mov     $16, %ax
        mov     %ax, %ds
        movl    $0, count
        .if     FILL
        mov     $0x4000000, %esi
        mov     $FILL, %edi
fill:
        mov     %esi, (%esi)
        add     $4096, %esi
        dec     %edi
        jnz     fill
        .endif
round:
        mov     $0x100000, %esi
        mov     $PAGES, %edi
page:
        rdtsc
        lea     TICKS(%eax), %ebx
        incl    (%esi)
        add     $4096, %esi
        incl    count
        testb   $0xff, count
        jnz     wait
        mov     $uart, %dx
        mov     $'.', %al
        out     %al, %dx
wait:
        rdtsc
        sub     %ebx, %eax
        js      wait
        dec     %edi
        jnz     page
        jmp     round

        .balign 8
gdt:
        .quad   0
        .quad   0x00cf9a000000ffff      # code: 4 GiB from 0
        .quad   0x00cf92000000ffff      # data: the same
gdtr:
        .word   gdtr - gdt - 1
        .long   gdt
        .org    510
        .word   0xaa55
