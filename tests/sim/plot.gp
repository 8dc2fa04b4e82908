# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# What remains and the throttle over time, a line for each policy; called by
# `converge-sim plot`, which sets dir, policies, out and title.

set terminal svg size 900,640 dynamic enhanced background rgb 'white'
set output out
set datafile separator ','
set multiplot layout 2,1 title title noenhanced
set key top right
set xlabel 's'
set ylabel 'MB that remain'
plot for [p in policies] dir.'/'.p.'.csv' using 1:2 with lines lw 2 title p
set ylabel '% that vCPUs sleep'
set yrange [0:100]
plot for [p in policies] dir.'/'.p.'.csv' using 1:5 with steps lw 2 title p
unset multiplot
