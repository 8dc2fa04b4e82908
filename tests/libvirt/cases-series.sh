# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# What libvirt with our series can say, and what it does where that cannot be
# done. Read by run.

# settings_are POLICY TIMEOUT_S ACTION MAX_DOWNTIME_MS: on src.
settings_are()
{
    has src query-migrate-parameters convergence-policy "\"$1\"" &&
        has src query-migrate-parameters convergence-timeout "$2" &&
        has src query-migrate-parameters convergence-timeout-action "\"$3\"" &&
        has src query-migrate-parameters convergence-max-downtime "$4"
}

settings_are_back()
{
    settings_are step 0 downtime 5000 || fail "QEMU keeps a job's settings:" \
        "$(hmp src 'info migrate_parameters' | grep -E 'conver|dirty-limit')"
}

no_auto_converge()
{
    qmp src '{"execute": "query-migrate-capabilities"}' |
        grep -qE '"state":false,"capability":"auto-converge"|"capability":"auto-converge","state":false'
}

# job_tells LABEL REGEX: domjobinfo has a line "LABEL: REGEX".
job_tells()
{
    on src domjobinfo guest 2>/dev/null | grep -qE "^$1: +$2"
}

# refused TEXT OPTION...: virsh says TEXT; nothing is set, and nothing reached
# the destination. cpu-throttle-initial would come in the same call as ours.
refused()
{
    text=$1
    shift
    migrate_start "$@"
    migrate_fails_within 60 "$text"
    no_auto_converge || fail "auto-converge is on, although virsh said '$text'"
    has src query-migrate-parameters cpu-throttle-initial 20 ||
        fail "a parameter is set, although virsh said '$text'"
    [ ! -e "$lab/dst/var/log/libvirt/qemu/guest.log" ] ||
        fail "dst has started a QEMU, although virsh said '$text'"
}

case_options_reach_qemu()
{
    guest_start wild
    migrate_start --auto-converge --convergence-policy predictive \
        --convergence-timeout 600 --convergence-timeout-action abort \
        --convergence-max-downtime 7000
    outpaces_link
    settings_are predictive 600 abort 7000 || fail "QEMU has other settings"
    within 20 job_tells 'Convergence policy' 'predictive$' ||
        fail "domjobinfo tells no policy: $(on src domjobinfo guest)"
    job_tells 'Convergence state' '(watching|throttling|converging|stuck)$' ||
        fail "domjobinfo tells no state"
    job_tells 'Convergence reason' '.*[0-9]' || fail "domjobinfo tells no reason"
    job_tells 'Guest dirty rate' '[0-9.]+ [KMG]iB/s' || fail "no dirty rate"
    job_tells 'Drain rate' '[0-9.]+ [KMG]iB/s' || fail "no drain rate"
    job_tells 'Downtime limit' '300 +ms' || fail "no downtime limit"
    on src domjobinfo guest --rawstats | grep -q '^convergence_state: ' ||
        fail "the statistics have no convergence_state"
    on src domjobabort guest
    migrate_cancelled
    settings_are_back
}

case_options_dirty_limit()
{
    guest_start busy
    migrate_start --auto-converge --convergence-policy auto \
        --convergence-vcpu-limit 4
    within 30 job_tells 'Convergence policy' 'dirty-limit$' ||
        fail "domjobinfo does not tell the policy that was chosen"
    settings_are auto 0 downtime 5000 || fail "QEMU has other settings"
    has src query-migrate-parameters convergence-vcpu-limit 4 || fail "no limit"
    within 60 has src query-migrate dirty-limit 4000000 ||
        fail "the vCPU is not limited to 4 MB/s"
    within 60 job_tells 'Predicted total time' '[0-9]+ +ms' ||
        fail "domjobinfo predicts nothing"
    migrate_succeeds_within 120
    has dst query-migrate-parameters convergence-policy '"step"' ||
        fail "the setting stays with the guest"
}

case_options_timeout()
{
    guest_start wild
    migrate_start --auto-converge
    outpaces_link
    sleep 10
    not migrate_ended || fail "it ends without a timeout"
    on src domjobabort guest
    migrate_cancelled
    migrate_start --auto-converge --convergence-timeout 3 \
        --convergence-max-downtime 20000
    migrate_succeeds_within 90
}

case_options_timeout_abort()
{
    guest_start wild
    migrate_start --convergence-timeout 6 --convergence-timeout-action abort
    migrate_fails_within 60 'convergence-timeout of 6'
    settings_are_back
}

case_options_refused()
{
    guest_start light
    refused "Unknown convergence policy 'fastest'" \
        --auto-converge --auto-converge-initial 77 --convergence-policy fastest
    refused "Unknown convergence timeout action 'wait'" \
        --convergence-timeout 5 --convergence-timeout-action wait
    refused 'Turn auto convergence on' --convergence-policy auto
    refused 'requires convergence policy' --auto-converge \
        --convergence-vcpu-limit 5
    refused 'Enable post-copy' \
        --convergence-timeout 5 --convergence-timeout-action postcopy
    refused 'convergence-timeout' --convergence-max-downtime 7000
    settings_are_back
}

# Ranges are QEMU's to know. It refuses all that comes in the same call, and
# what libvirt has done before that is undone.
case_options_out_of_range()
{
    guest_start light
    migrate_start --auto-converge --auto-converge-initial 77 \
        --convergence-policy auto --convergence-timeout 99999999
    migrate_fails_within 60 'convergence-timeout'
    no_auto_converge || fail "auto-converge stays on"
    has src query-migrate-parameters cpu-throttle-initial 20 ||
        fail "a parameter stays set"
    settings_are_back
}

case_options_to_stock()
{
    host_emulator dst "$stock"
    guest_start light
    migrate_start --auto-converge --convergence-policy predictive \
        --convergence-timeout 60
    migrate_succeeds_within 90
    not knows_us dst || fail "dst runs our QEMU"
}

# The settings are for the source alone.
case_options_to_debian()
{
    to=debian
    guest_start wild
    migrate_start --auto-converge --convergence-policy predictive \
        --convergence-timeout 600 --convergence-max-downtime 7000
    within 30 job_tells 'Convergence policy' 'predictive$' ||
        fail "the policy is not used"
    on src migrate-setmaxdowntime guest 6000
    migrate_succeeds_within 120
}

case_options_without_p2p()
{
    p2p=
    guest_start wild
    migrate_start --auto-converge --convergence-policy dirty-limit \
        --convergence-vcpu-limit 25
    within 30 has src query-migrate-parameters convergence-vcpu-limit 25 ||
        fail "QEMU has other settings"
    on src migrate-setmaxdowntime guest 20000
    migrate_succeeds_within 120
}

# What Nova and VDSM call takes the parameters and tells the statistics.
case_options_python()
{
    guest_start wild
    migrate_by /usr/bin/python3 "$here/migrate.py" "$(uri_of src)" \
        "$(uri_of dst)" "unix://$lab/migrate.sock" "$link_mib_per_s"
    within 30 settings_are predictive 600 abort 7000 ||
        fail "QEMU has other settings"
    within 30 /usr/bin/python3 "$here/job.py" "$(uri_of src)" \
        convergence_policy predictive || fail "jobStats() has no policy"
    on src migrate-setmaxdowntime guest 6000
    migrate_succeeds_within 120
}

case_options_without_qemu_or_p2p()
{
    p2p=
    host_emulator src "$stock"
    guest_start light
    refused 'is not supported by QEMU binary' \
        --auto-converge --auto-converge-initial 77 --convergence-policy auto
}

case_options_without_qemu()
{
    host_emulator src "$stock"
    guest_start light
    not knows_us src || fail "src runs our QEMU"
    for option in '--convergence-policy step' '--convergence-timeout 5' \
        '--convergence-timeout 5 --convergence-timeout-action stop' \
        '--convergence-policy auto --convergence-vcpu-limit 5'; do
        # shellcheck disable=SC2086 # an option and its value
        refused 'is not supported by QEMU binary' \
            --auto-converge --auto-converge-initial 77 $option
    done
    migrate_start --auto-converge
    migrate_succeeds_within 90
}
