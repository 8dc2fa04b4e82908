/*
 * Reprieves: a vCPU that is held goes out to serve an interrupt
 *
 *      held           out            held        out       paid: runs on
 *    ...........|####|.........|#|............|##|.......|#################
 *               ^    ^alarm    ^ ^TCG: its program is
 *               an             an about to write to
 *               interrupt      interrupt  a clean page
 *
 * Who sends an interrupt may wait for the answer: a TLB shoot-down holds its
 * sender up until all vCPUs have served it, and the sender, which owes nothing,
 * would sleep with whoever does.
 *
 * What bounds it.  What a vCPU does while it is out is charged as ever, by all
 * debtors.  All reprieves of one hold may add as much as was owed when it began
 * (ADDED_MIN_NS to DEBT_MAX_NS), and one that owes more than DEBT_MAX_NS does
 * not go out.  So a storm of interrupts moves run time and pages from later to
 * now and adds none, and the guest's programs, too, get on.  The ticks of its
 * own timer get it nothing: else a guest that has a thousand a second would be
 * run time ahead for as long as it is held (vcpu-interrupts.c).
 *
 * A hold of DEBT_MAX_NS may so take twice as long, in which programs hardly
 * run.  To end it at its time all the same was tried: what is owed then begins
 * a new hold with reprieves of its own, and of the run time that a throttle of
 * 99 % leaves, handlers ate up 77 %.
 *
 * How long.  As short as an interrupt's handler takes here, which is learned:
 * from SHORTEST_NS it doubles each time that it did not do, when the vCPU has
 * its interrupts masked (amid a handler) or one waits, and halves when it did.
 * A guest that lets none in for LONGEST_NS, by its interrupt flag or by its
 * local APIC's priorities, is given up for a while.  With TCG it ends sooner: a
 * program that is out goes back before it writes to a page that is clean
 * (dirtylimit.c), where that can be done, else soon after.  What it dirties is
 * then what its kernel writes in the handler, the tables of pages that the CPU
 * marks as used, and at times a page of the program's.
 *
 * With KVM's own interrupt controller nobody is told of an interrupt, so the
 * vCPU looks: soon and often when it had one lately, else less and less.
 *
 * Rejected: to end the sleep for an interrupt, whatever is owed.  It lets a
 * guest that floods its vCPUs with shoot-downs go unthrottled.  And to leave a
 * KVM vCPU to the kernel, halted, so that an interrupt wakes it by itself: it
 * then runs until some alarm, which would have to go off ten thousand times a
 * second to be as short as this.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "hw/core/cpu.h"
#include "sysemu/vcpu-interrupts.h"
#include "sysemu/vcpu-reprieve.h"

/* To enter a guest and to handle an interrupt takes 2 to 10 us on hardware. */
#define SHORTEST_NS         (30 * SCALE_US)
/* Where KVM itself is emulated, entering the guest alone takes 200 us. */
#define LONGEST_NS          (1 * SCALE_MS)

/* As long as the longest sleep: what is owed then is paid by one more. */
#define DEBT_MAX_NS         (95 * SCALE_MS)

/* What the reprieves of a short hold may add to it. */
#define ADDED_MIN_NS        (10 * SCALE_MS)

/* After one of LONGEST_NS at whose end one still waits, or all are masked. */
#define GIVE_UP_NS          (20 * SCALE_MS)

/*
 * Later by so much, it was not the length that ended it: the vCPU was halted.
 * Before the main loop comes for such a one (vcpu-slowdown.c).
 */
#define HALTED_NS           (3 * SCALE_MS)

/* An interrupt that was served so lately makes others likely. */
#define RECENT_NS           (20 * SCALE_MS)

/* Looks of a vCPU that had one lately begin with this, doubling... */
#define LOOK_RECENT_NS      (100 * SCALE_US)
/* ...those of others with this... */
#define LOOK_FIRST_NS       (1 * SCALE_MS)
/*
 * ...up to this: 64 vCPUs that are held look 5000 times a second.  With 8 ms,
 * looks alone took 1.3 points of a throttle of 99 % on an emulated host.
 */
#define LOOK_MAX_NS         (12 * SCALE_MS)

static bool is_recent(const VcpuReprieve *reprieve, int64_t now_ns)
{
    return reprieve->since_ns && now_ns - reprieve->since_ns < RECENT_NS;
}

static void end(CPUState *cpu, int64_t now_ns)
{
    VcpuReprieve *reprieve = &cpu->slowdown.reprieve;
    int64_t late_ns = now_ns - reprieve->since_ns - reprieve->length_ns;
    bool masked = vcpu_masks_interrupts(cpu);

    reprieve->out = false;
    reprieve->since_ns = now_ns;
    if (!masked && !vcpu_interrupt_waits(cpu)) {
        reprieve->length_ns = MAX(reprieve->length_ns / 2, SHORTEST_NS);
        return;
    }
    if (late_ns < 0 || late_ns > HALTED_NS) {
        /* Back before its time or long after, and interrupted again by then. */
        return;
    }
    if (reprieve->length_ns >= LONGEST_NS) {
        reprieve->not_before_ns = now_ns + GIVE_UP_NS;
    }
    reprieve->length_ns = MIN(reprieve->length_ns * 2, LONGEST_NS);
}

void vcpu_reprieve_hold(CPUState *cpu, int64_t owed_ns, int64_t now_ns)
{
    VcpuReprieve *reprieve = &cpu->slowdown.reprieve;

    if (reprieve->out) {
        end(cpu, now_ns);
        reprieve->left_ns -= MAX(owed_ns - reprieve->owed_ns, 0);
    } else {
        reprieve->left_ns = MIN(MAX(owed_ns, ADDED_MIN_NS), DEBT_MAX_NS);
    }
    reprieve->look_ns = is_recent(reprieve, now_ns) ? LOOK_RECENT_NS
                                                    : LOOK_FIRST_NS;
}

bool vcpu_reprieve_is_due(CPUState *cpu, int64_t owed_ns, int64_t now_ns)
{
    VcpuReprieve *reprieve = &cpu->slowdown.reprieve;

    if (reprieve->left_ns <= 0 || owed_ns > DEBT_MAX_NS ||
        now_ns < reprieve->not_before_ns) {
        return false;
    }
    return vcpu_interrupt_waits(cpu) ||
           (is_recent(reprieve, now_ns) && vcpu_masks_interrupts(cpu));
}

int64_t vcpu_reprieve_look_ns(CPUState *cpu, int64_t owed_ns, int64_t now_ns)
{
    VcpuReprieve *reprieve = &cpu->slowdown.reprieve;
    int64_t look_ns = reprieve->look_ns;
    /* Sleep pays, so by then little enough is owed. */
    int64_t not_for_ns = MAX(owed_ns - DEBT_MAX_NS,
                             reprieve->not_before_ns - now_ns);

    if (reprieve->left_ns <= 0) {
        return INT64_MAX;
    }
    if (vcpu_interrupts_are_told()) {
        /* One that waits already wakes nobody any more. */
        return vcpu_interrupt_waits(cpu) ? MAX(not_for_ns, LOOK_FIRST_NS) :
                                           INT64_MAX;
    }
    if (not_for_ns > look_ns) {
        return not_for_ns;
    }
    reprieve->look_ns = MIN(look_ns * 2, LOOK_MAX_NS);
    return look_ns;
}

int64_t vcpu_reprieve_begin(CPUState *cpu, int64_t owed_ns, int64_t now_ns)
{
    VcpuReprieve *reprieve = &cpu->slowdown.reprieve;

    reprieve->out = true;
    reprieve->since_ns = now_ns;
    reprieve->owed_ns = owed_ns;
    reprieve->length_ns = MAX(reprieve->length_ns, SHORTEST_NS);
    return reprieve->length_ns;
}
