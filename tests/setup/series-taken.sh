# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# The real series, QEMU's or libvirt's, taken as mails. Read after tap.sh.

apply_series()
{
    rm -rf "$work/am.git" "$work/am"
    git clone --quiet --shared --no-checkout "$1/series.git" "$work/am"
    git -C "$work/am" checkout --quiet --detach pristine
    git -C "$work/am" -c user.name=a -c user.email=a@b -c gc.auto=0 \
        am --quiet "$1"/series/*.patch
}

# series_is_taken DIRECTORY [PROJECT]: its test points, for the project that is
# fetched and prepared in the directory.
series_is_taken()
{
    try "$scripts/series" ${2:+"$2"}
    ok 'every file and every patch of ours is in one commit' succeeded
    try apply_series "$1"
    ok 'git am takes the series on the pristine tree' succeeded
    # An empty directory of QEMU's, which git does not keep, is no difference.
    ok 'and the result is what we build' diff -rq --exclude=.git \
        --exclude=__pycache__ --exclude=wheels "$work/am" "$1/src"
    ok 'each mail is signed off and numbered' same_text \
        "$(grep -L '^Signed-off-by: ' "$1"/series/*.patch;
           grep -L '^Subject: \[PATCH [0-9]*/[0-9]*\] ' "$1"/series/*.patch)" \
        ''
}
