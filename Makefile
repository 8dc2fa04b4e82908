# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# A thin front: each verb is a script in scripts/, which can be run alone.

.PHONY: help packages qemu clean

help:
	@echo 'make qemu    build build/qemu/qemu-system-x86_64'
	@echo 'make clean   remove build/'

packages:
	@scripts/packages

qemu: packages
	@scripts/fetch
	@scripts/prepare
	@scripts/build

clean:
	rm -rf build
