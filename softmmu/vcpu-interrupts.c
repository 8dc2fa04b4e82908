/*
 * What interrupts wait for a vCPU that is held
 *
 * The vCPU's own timer does not count: its ticks come by themselves, and a
 * guest must not get run time by having many.  It is told by its vector, which
 * the local APIC has beside those that wait.  What the PIC holds does not count
 * either: nobody sends a vCPU anything over that but the PIT.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "cpu.h"
#include "exec/cputlb.h"
#include "exec/icount.h"
#include "exec/target_page.h"
#include "sysemu/kvm.h"
#include "sysemu/tcg.h"
#include "sysemu/vcpu-interrupts.h"
#include "sysemu/x86-plain-store.h"

#ifdef TARGET_I386

#include "hw/i386/apic_internal.h"
#ifdef CONFIG_KVM
#include <linux/kvm.h>
#endif

#define VECTORS_PER_WORD    32
#define IRR_WORDS           8

/* Registers of a local APIC, as KVM hands them out. */
#define LAPIC_IRR           0x200
#define LAPIC_LVT_TIMER     0x320
#define LAPIC_STEP          0x10

/* What has no vector, and is for QEMU to deliver. */
#define OTHER_REQUESTS (CPU_INTERRUPT_NMI | CPU_INTERRUPT_SMI | \
                        CPU_INTERRUPT_INIT | CPU_INTERRUPT_SIPI)

static bool any_but_timer(const uint32_t *irr, uint32_t lvt_timer)
{
    unsigned timer = lvt_timer & 0xff;

    for (unsigned i = 0; i < IRR_WORDS; i++) {
        uint32_t waiting = irr[i];

        if (i == timer / VECTORS_PER_WORD) {
            waiting &= ~(1u << timer % VECTORS_PER_WORD);
        }
        if (waiting) {
            return true;
        }
    }
    return false;
}

static bool waits_in_qemu(CPUState *cpu)
{
    Object *apic = OBJECT(X86_CPU(cpu)->apic_state);
    uint32_t requests = cpu->interrupt_request;
    APICCommonState *s;

    if (requests & OTHER_REQUESTS) {
        return true;
    }
    if (!apic || !(requests & (CPU_INTERRUPT_HARD | CPU_INTERRUPT_POLL))) {
        return false;
    }
    s = APIC_COMMON(apic);
    return any_but_timer(s->irr, s->lvt[APIC_LVT_TIMER]);
}

#ifdef CONFIG_KVM
static uint32_t lapic_register(const struct kvm_lapic_state *lapic, unsigned at)
{
    uint32_t value;

    memcpy(&value, lapic->regs + at, sizeof(value));
    return value;
}

static bool waits_in_kvm(CPUState *cpu)
{
    struct kvm_lapic_state lapic;
    uint32_t irr[IRR_WORDS];

    if (kvm_vcpu_ioctl(cpu, KVM_GET_LAPIC, &lapic) < 0) {
        return false;
    }
    for (unsigned i = 0; i < IRR_WORDS; i++) {
        irr[i] = lapic_register(&lapic, LAPIC_IRR + i * LAPIC_STEP);
    }
    return any_but_timer(irr, lapic_register(&lapic, LAPIC_LVT_TIMER));
}

static bool kvm_masks(CPUState *cpu)
{
    return !cpu->kvm_run->if_flag;
}
#else
static bool waits_in_kvm(CPUState *cpu)
{
    return false;
}

static bool kvm_masks(CPUState *cpu)
{
    return false;
}
#endif

bool vcpu_interrupt_waits(CPUState *cpu)
{
    if (kvm_enabled() && kvm_irqchip_in_kernel()) {
        return waits_in_kvm(cpu);
    }
    /* Where instructions are counted, interrupts come by the count. */
    return !icount_enabled() && (tcg_enabled() || kvm_enabled()) &&
           waits_in_qemu(cpu);
}

bool vcpu_masks_interrupts(CPUState *cpu)
{
    if (kvm_enabled()) {
        return kvm_masks(cpu);
    }
    return !(X86_CPU(cpu)->env.eflags & IF_MASK);
}

#ifdef CONFIG_TCG
/*
 * The bytes of an instruction, up to the end of its page.  A debugger's access,
 * as it neither faults nor fills the TLB.  Returns: how many.
 */
static size_t read_code(CPUX86State *env, uint8_t *code)
{
    target_ulong pc = env->segs[R_CS].base + env->eip;
    size_t code_bytes;

    if (!(env->hflags & HF_CS64_MASK)) {
        pc = (uint32_t)pc;
    }
    code_bytes = MIN(X86_INSN_BYTES_MAX, -(pc | TARGET_PAGE_MASK));
    return cpu_memory_rw_debug(env_cpu(env), pc, code, code_bytes, false) ?
           0 : code_bytes;
}

bool vcpu_is_at_plain_store(CPUState *cpu, uintptr_t host_pc)
{
    CPUX86State *env = &X86_CPU(cpu)->env;
    uint8_t code[X86_INSN_BYTES_MAX];
    /* Translated code that goes on counts on what it left here. */
    target_ulong eip = env->eip;
    uint32_t cc_op = env->cc_op;
    bool is_plain;

    is_plain = (env->hflags & HF_CPL_MASK) == HF_CPL_MASK &&
               cpu_restore_state(cpu, host_pc) &&
               x86_is_plain_store(code, read_code(env, code),
                                  env->hflags & HF_CS64_MASK);
    env->eip = eip;
    env->cc_op = cc_op;
    return is_plain;
}
#else
bool vcpu_is_at_plain_store(CPUState *cpu, uintptr_t host_pc)
{
    return false;
}
#endif

#else

bool vcpu_interrupt_waits(CPUState *cpu)
{
    return false;
}

bool vcpu_masks_interrupts(CPUState *cpu)
{
    return false;
}

bool vcpu_is_at_plain_store(CPUState *cpu, uintptr_t host_pc)
{
    return false;
}

#endif

bool vcpu_interrupts_are_told(void)
{
#ifdef TARGET_I386
    return !(kvm_enabled() && kvm_irqchip_in_kernel());
#else
    /* Nor is there any to look for. */
    return true;
#endif
}

void vcpu_nap(int64_t nap_ns)
{
    bql_unlock();
    g_usleep(nap_ns / SCALE_US);
    bql_lock();
}
