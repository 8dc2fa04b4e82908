# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# Our settings, by what libvirt passes on: <qemu:commandline> and
# qemu-monitor-command. Read by run.

# What may change nothing while auto-converge is off.
idle='migration.convergence-policy=predictive
      migration.dirty-sync-period=100
      migration.convergence-vcpu-limit=1
      migration.convergence-max-downtime=60000
      migration.convergence-timeout-action=abort'

# What ends a migration at once, and must not end what is none.
stop_conditions='migration.convergence-timeout=1
                 migration.convergence-max-iterations=1
                 migration.convergence-max-transfer=1
                 migration.convergence-timeout-action=abort'

# has HOST COMMAND KEY VALUE: QMP's answer to COMMAND has "KEY":VALUE.
has()
{
    qmp "$1" "{\"execute\": \"$2\"}" | grep -qF "\"$3\":$4"
}

# saved_and_restored GLOBAL...
saved_and_restored()
{
    guest_start wild "$@"
    on src save guest "$lab/saved" || fail "virsh save fails"
    host_is_empty src || fail "the guest still runs"
    on src restore "$lab/saved" || fail "virsh restore fails"
    rm "$lab/saved"
    guest_runs src
    has src query-migrate-parameters convergence-timeout-action '"abort"' ||
        fail "the settings were not in force"
}

# shellcheck disable=SC2086 # lists of words
case_save()
{
    saved_and_restored $idle
}

# shellcheck disable=SC2086
case_save_stop_conditions()
{
    saved_and_restored $stop_conditions
}

# snapshot_taken GLOBAL...: of memory, the guest running on meanwhile.
snapshot_taken()
{
    guest_start busy "$@"
    on src snapshot-create-as guest memory --live \
        --memspec "file=$lab/memory,snapshot=external" \
        --diskspec hda,snapshot=no >/dev/null || fail "the snapshot fails"
    [ -s "$lab/memory" ] || fail "the snapshot is empty"
    on src snapshot-delete guest memory --metadata >/dev/null || true
    rm -f "$lab/memory"
    guest_runs src
}

# shellcheck disable=SC2086
case_snapshot()
{
    snapshot_taken $idle
}

# shellcheck disable=SC2086
case_snapshot_stop_conditions()
{
    snapshot_taken $stop_conditions
}

# policy_works NAME IN_FORCE
policy_works()
{
    guest_start busy "migration.convergence-policy=$1"
    policy_is_used "$@"
}

# policy_is_used NAME IN_FORCE: by the guest that runs.
policy_is_used()
{
    has src query-migrate-parameters convergence-policy "\"$1\"" ||
        fail "the policy is not $1"
    migrate_start --auto-converge
    within 30 has src query-migrate policy "\"$2\"" ||
        fail "query-migrate does not show policy $2"
    migrate_succeeds_within 120
    has dst query-migrate-parameters convergence-policy "\"$1\"" ||
        fail "the policy is not $1 on dst"
}

case_policy_step()
{
    policy_works step step
}

case_policy_predictive()
{
    policy_works predictive predictive
}

case_policy_dirty_limit()
{
    policy_works dirty-limit dirty-limit
}

# TCG meters vCPUs.
case_policy_auto()
{
    policy_works auto dirty-limit
}

case_policy_unknown()
{
    guest_xml light migration.convergence-policy=fastest >"$lab/guest.xml"
    not on src create "$lab/guest.xml" || fail "an unknown policy is accepted"
    host_is_empty src || fail "there is a guest"
}

# What is set before survives all that libvirt sends; what is set in mid-flight
# takes effect.
case_monitor()
{
    guest_start wild
    qmp src '{"execute": "migrate-set-parameters", "arguments":
              {"convergence-policy": "predictive"}}' >/dev/null
    migrate_start --auto-converge --auto-converge-initial 30
    outpaces_link
    has src query-migrate policy '"predictive"' || fail "the policy is lost"
    has src query-migrate-parameters cpu-throttle-initial 30 ||
        fail "libvirt's parameter is lost"
    hmp src 'info migrate' | grep -q '^convergence: ' ||
        fail "info migrate does not show convergence"
    hmp src 'migrate_set_parameter convergence-policy dirty-limit'
    within 20 has src query-migrate policy '"dirty-limit"' ||
        fail "the policy does not change in mid-flight"
    hmp src 'migrate_set_convergence_timeout 1'
    migrate_succeeds_within 90
}

case_convergence_timeout()
{
    guest_start wild migration.convergence-max-downtime=20000
    migrate_start --auto-converge
    outpaces_link
    sleep 10
    not migrate_ended || fail "it ends without a timeout"
    on src domjobabort guest
    migrate_cancelled
    qmp src '{"execute": "migrate-set-parameters", "arguments":
              {"convergence-timeout": 3}}' >/dev/null
    migrate_start --auto-converge
    migrate_succeeds_within 90
}

# libvirt shows the reason as it stands.
case_convergence_timeout_abort()
{
    guest_start wild migration.convergence-timeout=6 \
        migration.convergence-timeout-action=abort
    migrate_start
    migrate_fails_within 60 'convergence-timeout of 6'
}

# timeout_ends ACTION [OPTION...]: a migration that would go on for ever.
timeout_ends()
{
    guest_start wild migration.convergence-timeout=6 \
        "migration.convergence-timeout-action=$1"
    shift
    migrate_start "$@"
    migrate_succeeds_within 60
}

case_convergence_timeout_stop()
{
    timeout_ends stop
}

case_convergence_timeout_postcopy()
{
    [ -e /proc/sys/vm/unprivileged_userfaultfd ] ||
        skip "this kernel has no userfaultfd"
    timeout_ends postcopy --postcopy
}

# A guest that has the setting needs a destination that knows it.
case_setting_meets_stock()
{
    host_emulator dst "$stock"
    guest_start light migration.convergence-policy=auto
    migrate_start --auto-converge
    migrate_fails_within 60 'convergence-policy'
}

# What is set by monitor stays on the source; any destination will do.
case_monitor_meets_stock()
{
    host_emulator dst "$stock"
    guest_start light
    hmp src 'migrate_set_parameter convergence-policy predictive'
    migrate_start --auto-converge
    migrate_succeeds_within 90
}

# For clients that leave no way to change the domain: an emulator that adds the
# setting.
case_wrapper()
{
    cat >"$lab/wrapper" <<EOF
#!/bin/sh
exec $ours -global migration.convergence-policy=auto "\$@"
EOF
    chmod +x "$lab/wrapper"
    host_emulator src "$lab/wrapper"
    host_emulator dst "$lab/wrapper"
    guest_start busy
    policy_is_used auto dirty-limit
}
