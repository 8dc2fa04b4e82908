/*
 * An alarm clock of each vCPU thread, which gets it out of guest code
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSEMU_VCPU_ALARM_H
#define SYSEMU_VCPU_ALARM_H

/**
 * vcpu_alarm_set: have the calling vCPU thread leave guest code, once
 * @delay_ns: in so many nanoseconds, 0 = not at all; takes the place of an
 *            earlier alarm
 *
 * When the time has come, this needs no other thread to run and no lock to be
 * free.  An alarm that is no longer wanted may go off: it makes the vCPU leave
 * guest code once for nothing.  But a thread has to unset it before it takes
 * its vCPU down: KVM's handler of the signal writes to what KVM shares with
 * that vCPU.  vCPU threads only, no lock needed.
 *
 * Returns: false where there is no such thing, which are hosts other than
 * Linux and accelerators other than KVM and TCG.
 */
bool vcpu_alarm_set(int64_t delay_ns);

#endif /* SYSEMU_VCPU_ALARM_H */
