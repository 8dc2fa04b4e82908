# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# bash completion for convergectl. The options are asked of the program
# itself, so that they cannot differ from what it takes.

_convergectl_options()
{
    "${COMP_WORDS[0]}" "$1" --help 2>/dev/null |
        sed -n 's/^  \(-., \)\{0,1\}\(--[a-z-]*\).*/\2/p'
}

_convergectl()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local words=

    if [ "$COMP_CWORD" -eq 1 ]; then
        words='migrate watch record plot check evacuate help --help --version'
    else
        case $prev in
        --policy) words='auto step predictive dirty-limit off keep' ;;
        --timeout-action) words='downtime stop postcopy abort' ;;
        --mode) words='dirty-bitmap dirty-ring page-sampling' ;;
        --qmp | --destination | --record | --output | -o | --guest-work)
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            return ;;
        *)
            case $cur in
            -*) words=$(_convergectl_options "${COMP_WORDS[1]}") ;;
            *)
                if [ "${COMP_WORDS[1]}" = plot ]; then
                    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
                elif [ "${COMP_WORDS[1]}" = migrate ]; then
                    words='tcp: unix: exec: fd: rdma:'
                fi ;;
            esac ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -o filenames -F _convergectl convergectl
