# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# What clients that never heard of us do, and count on. Read by run.

# A guest that writes flat out outpaces the link on a loaded machine as well,
# at any throttle but the last ones.
case_auto_converge()
{
    guest_start wild
    migrate_start --auto-converge --auto-converge-initial 40 \
        --auto-converge-increment 20
    watch_throttle 90
    throttle_was 40 20
    migrate_succeeds_within 1
}

case_auto_converge_defaults()
{
    guest_start wild
    migrate_start --auto-converge
    watch_throttle 120
    throttle_was 20 10
    migrate_succeeds_within 1
}

# libvirt sends what it remembers of the parameters after an abort, all at once.
case_abort()
{
    guest_start wild
    before=$(guest_rate src)
    migrate_start --auto-converge --auto-converge-initial 90
    within 60 job_throttles || fail "there is no throttle"
    on src domjobabort guest || fail "domjobabort fails"
    migrate_cancelled
    within 20 guest_as_fast_as "$before" ||
        fail "the guest stays slow: $before pages/s before, now $(guest_rate src)"
    migrate_start --auto-converge
    within 60 job_throttles || fail "there is no throttle the second time"
    on src migrate-setmaxdowntime guest 8000
    migrate_succeeds_within 90
}

case_setmaxdowntime()
{
    guest_start wild
    migrate_start --auto-converge
    outpaces_link
    on src migrate-setmaxdowntime guest 8000 || fail "migrate-setmaxdowntime"
    migrate_succeeds_within 60
}

case_timeout_suspend()
{
    guest_start wild
    migrate_start --auto-converge --timeout 8 --timeout-suspend
    migrate_succeeds_within 90
}

case_destination_dies()
{
    guest_start wild
    before=$(guest_rate src)
    migrate_start --auto-converge --auto-converge-initial 90
    within 60 job_throttles || fail "there is no throttle"
    kill_qemu dst
    migrate_fails_within 30 'error: '
    within 20 guest_as_fast_as "$before" ||
        fail "the guest stays slow: $before pages/s before, now $(guest_rate src)"
}

knows_us()
{
    parameters=$(qmp "$1" '{"execute": "query-migrate-parameters"}') ||
        fail "$1 does not answer"
    case $parameters in
    *convergence-policy*) ;;
    *downtime-limit*) return 1 ;;
    *) fail "$1 answers: $parameters" ;;
    esac
}

case_ours_to_stock()
{
    host_emulator dst "$stock"
    guest_start light
    migrate_start --auto-converge
    migrate_succeeds_within 90
    not knows_us dst || fail "dst runs our QEMU"
}

case_stock_to_ours()
{
    host_emulator src "$stock"
    guest_start light
    not knows_us src || fail "src runs our QEMU"
    migrate_start --auto-converge
    migrate_succeeds_within 90
    knows_us dst || fail "dst does not run our QEMU"
}

# Not one of the list: `ends` has it fail half-way.
case_fail_on_purpose()
{
    guest_start wild
    migrate_start --auto-converge
    outpaces_link
    fail "on purpose"
}
