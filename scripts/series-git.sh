# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# The repository in which the series is made, tried and built. For scripts
# that have read common.sh.

series_tree=$build/series-tree
series_repo=$build/series.git

# Whoever runs this signs off. A machine without a git identity can do it too,
# and nothing else of the user's set-up (hooks, signatures) has a say.
series_name=$(git config user.name 2>/dev/null || echo 'Converge developers')
series_email=$(git config user.email 2>/dev/null || echo 'converge@localhost')
date_s=$(git -C "$top" log -1 --format=%ct 2>/dev/null || date +%s)

series_git()
{
    GIT_DIR=$series_repo GIT_WORK_TREE=$series_tree \
    GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 \
    GIT_AUTHOR_NAME=$series_name GIT_AUTHOR_EMAIL=$series_email \
    GIT_COMMITTER_NAME=$series_name GIT_COMMITTER_EMAIL=$series_email \
    GIT_AUTHOR_DATE="$date_s +0000" GIT_COMMITTER_DATE="$date_s +0000" \
        git -C "$series_tree" -c gc.auto=0 -c core.autocrlf=false "$@"
}

# Puts the tree back to the pristine one. Only files that differ are written, so
# a build of the tree stays incremental.
series_pristine()
{
    if [ ! -d "$series_tree" ] || [ ! -d "$series_repo" ] ||
       ! cmp -s "$series_tree.from" "$pristine.from" 2>/dev/null; then
        rm -rf "$series_tree.from" "$series_tree" "$series_repo"
        cp -a --reflink=auto "$pristine" "$series_tree"
        git init --quiet --bare "$series_repo"
        series_git config core.bare false
        series_git add --all --force
        series_git commit --quiet --message "$title $(version_of "$pristine")"
        series_git tag --force pristine
        write_whole "$series_tree.from" <"$pristine.from"
    fi
    series_git checkout --quiet --force --detach pristine
    series_git clean --quiet --force -d -x
}
