# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# Where Debian comes from for those who make one of their own: the mirrors of
# the host's own apt. Sourced.

# mirrors_of SUITE: "URI SUITE" of it, its updates and its security fixes; the
# suite's own is the first. Fails if the host's apt knows no mirror of it.
mirrors_of()
{
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' \
        'Created-By: Packages' 'Component: main' |
        awk -v suite="$1" '
            $2 == suite { own = own $0 "\n" }
            $2 == suite "-updates" || $2 == suite "-security" {
                more = more $0 "\n"
            }
            END { printf "%s%s", own, more; exit own == "" }'
}
