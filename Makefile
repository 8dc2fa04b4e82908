# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# A thin front: each verb is a script in scripts/, which can be run alone.

.PHONY: help packages qemu host demo check bench series guest libvirt deb clean

help:
	@echo 'make demo        set up, build, and watch a write-heavy guest migrate'
	@echo 'make check       set up, build, and run the tests of tests/suites;'
	@echo '                 SUITE=name runs one of them'
	@echo 'make check-kvm   migrations on a KVM host made for them; HOST=own takes'
	@echo '                 the KVM of this machine'
	@echo 'make check-bases migrations between our QEMU 7.2, our 10.0, and stock'
	@echo 'make check-asan  most of them under sanitizers, and leak checks'
	@echo 'make check-tsan  ours under the thread sanitizer'
	@echo 'make check-libvirt  migrations driven by libvirt, Debian'"'"'s and ours;'
	@echo '                 as root'
	@echo 'make check-long  each fault many times over; see docs/faults.md'
	@echo 'make check-arch  build without KVM, without TCG, for other targets'
	@echo 'make qemu        build build/qemu/qemu-system-x86_64'
	@echo 'make host        build what needs no QEMU: engine, tests, tools'
	@echo 'make guest       make the Linux guest that demo and bench migrate'
	@echo 'make libvirt     build libvirtd and virsh with our series for them in'
	@echo '                 build/libvirt; mails for git am in its series/'
	@echo 'make deb         packages for Debian 12 in build/deb/packages, made of'
	@echo '                 Debian'"'"'s own source package of QEMU; as root, hours'
	@echo 'make bench       compare with stock QEMU, or with PEER=/path/to/qemu;'
	@echo '                 QUICK=1 takes minutes and not hours, scripts/bench'
	@echo '                 has more settings'
	@echo 'make series      write build/series/*.patch, for git am'
	@echo 'make clean       remove build/'
	@echo 'BASE=10.0, BASE=10.2 or BASE=7.2 before a verb takes that QEMU and'
	@echo 'not the one of this Debian; what it makes is in build/10.0, ...'

packages:
	@scripts/packages

qemu: packages
	@scripts/fetch
	@scripts/prepare
	@scripts/build

host: packages
	@scripts/host

guest: host
	@scripts/guest

demo: qemu host
	@scripts/demo

libvirt: packages
	@scripts/packages libvirt
	@scripts/fetch libvirt
	@scripts/prepare libvirt
	@scripts/libvirt
	@scripts/series libvirt

deb: packages
	@scripts/packages deb
	@scripts/fetch
	@scripts/deb

bench: qemu host
	@scripts/bench

check:
	@scripts/check

# check-NAME runs the suites of tests/suites-NAME.
check-%: tests/suites-%
	@scripts/check $*

series: packages
	@scripts/fetch
	@scripts/series

clean:
	rm -rf build
