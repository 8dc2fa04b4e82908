/*
 * Unit tests of QEMU processes: what is started, and that nothing stays
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * No real QEMU runs here: shell scripts stand in for one that misbehaves.
 */

#include "children.h"
#include "vm.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct FakeQemu {
    char *dir;
    char *path;
    VmConfig config;
} FakeQemu;

static void fake_start(FakeQemu *fake, const char *script)
{
    fake->dir = g_dir_make_tmp("converge-vm-XXXXXX", NULL);
    g_assert_nonnull(fake->dir);
    fake->path = g_build_filename(fake->dir, "qemu", NULL);
    g_assert_true(g_file_set_contents(fake->path, script, -1, NULL));
    g_assert_cmpint(g_chmod(fake->path, 0700), ==, 0);
    fake->config = (VmConfig) {
        .qemu = fake->path, .name = "source", .load = "compute",
        .mem_mib = 256, .smp = 3,
        .kernel = fake->path, .initrd = fake->path,
    };
}

static void fake_stop(FakeQemu *fake)
{
    g_unlink(fake->path);
    g_rmdir(fake->dir);
    g_free(fake->path);
    g_free(fake->dir);
}

static gboolean has_pair(GStrv argv, const char *option, const char *value)
{
    for (char **arg = argv; *arg && arg[1]; arg++) {
        if (g_str_equal(arg[0], option) && g_str_equal(arg[1], value)) {
            return TRUE;
        }
    }
    return FALSE;
}

static void test_argv_follows_config(void)
{
    static const char *const extra[] = { "-global", "migration.x=1", NULL };
    FakeQemu fake;
    g_auto(GStrv) source = NULL;
    g_auto(GStrv) destination = NULL;

    fake_start(&fake, "#!/bin/sh\nexit 0\n");
    source = vm_build_argv(&fake.config, "/d");
    fake.config.incoming = TRUE;
    fake.config.accel = "kvm,dirty-ring-size=4096";
    fake.config.extra_args = extra;
    fake.config.load = "compute,read-disk:8:0";
    destination = vm_build_argv(&fake.config, "/d");

    g_assert_true(has_pair(source, "-m", "256"));
    g_assert_true(has_pair(source, "-smp", "3"));
    g_assert_true(has_pair(source, "-accel", "tcg"));
    g_assert_false(has_pair(source, "-incoming", "defer"));
    g_assert_true(has_pair(source, "-append",
                           GUEST_KERNEL_ARGUMENTS " load=compute"));
    /* It printed no directory with firmware in it: told where to look */
    g_assert_true(has_pair(source, "-L", "/usr/share/seabios"));

    g_assert_true(has_pair(destination, "-incoming", "defer"));
    g_assert_true(has_pair(destination, "-accel",
                           "kvm,dirty-ring-size=4096"));
    g_assert_true(has_pair(destination, "-global", "migration.x=1"));
    /* Who reads a disk has one */
    g_assert_false(has_pair(source, "-device", "virtio-blk-pci,drive=disk"));
    g_assert_true(has_pair(destination, "-device",
                           "virtio-blk-pci,drive=disk"));
    fake_stop(&fake);
}

static void test_qemu_with_firmware_is_left_alone(void)
{
    FakeQemu fake;
    g_autofree char *script = NULL;
    g_autofree char *bios = NULL;
    g_auto(GStrv) argv = NULL;

    fake_start(&fake, "");
    bios = g_build_filename(fake.dir, "bios-256k.bin", NULL);
    script = g_strdup_printf("#!/bin/sh\necho %s\n", fake.dir);
    g_assert_true(g_file_set_contents(bios, "", -1, NULL));
    g_assert_true(g_file_set_contents(fake.path, script, -1, NULL));
    argv = vm_build_argv(&fake.config, "/d");
    g_assert_false(has_pair(argv, "-L", "/usr/share/seabios"));
    g_unlink(bios);
    fake_stop(&fake);
}

static void test_missing_guest_names_the_way_out(void)
{
    FakeQemu fake;
    g_autoptr(GError) error = NULL;

    fake_start(&fake, "#!/bin/sh\nexit 0\n");
    fake.config.initrd = "/nonexistent/initramfs.gz";
    g_assert_null(vm_start(&fake.config, &error));
    g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT);
    g_assert_nonnull(strstr(error->message, "/nonexistent/initramfs.gz"));
    g_assert_nonnull(strstr(error->message, "scripts/guest"));
    fake_stop(&fake);
}

static void test_qemu_that_exits_tells_why(void)
{
    FakeQemu fake;
    g_autoptr(GError) error = NULL;

    fake_start(&fake, "#!/bin/sh\necho 'no such machine' >&2\nexit 1\n");
    g_assert_null(vm_start(&fake.config, &error));
    g_assert_error(error, QMP_ERROR, QMP_ERROR_CLOSED);
    g_assert_nonnull(strstr(error->message, "source"));
    g_assert_nonnull(strstr(error->message, "no such machine"));
    fake_stop(&fake);
}

static void test_qemu_that_is_not_there(void)
{
    FakeQemu fake;
    g_autoptr(GError) error = NULL;

    fake_start(&fake, "");
    fake.config.qemu = "/nonexistent/qemu";
    g_assert_null(vm_start(&fake.config, &error));
    g_assert_error(error, G_SPAWN_ERROR, G_SPAWN_ERROR_NOENT);
    fake_stop(&fake);
}

static void die_with_parent(void *opaque)
{
    (void)opaque;
    children_die_with_parent();
}

/* A program with one child and one directory; tells the child's pid */
static void run_program(int out, const char *dir)
{
    static const char *const argv[] = { "/bin/sleep", "1000", NULL };
    GPid pid = 0;

    children_guard();
    if (g_spawn_async(NULL, (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD,
                      die_with_parent, NULL, &pid, NULL)) {
        children_add(pid);
    }
    if (!children_add_dir(dir) ||
        write(out, &pid, sizeof(pid)) != sizeof(pid)) {
        _exit(1);
    }
    for (;;) {
        pause();
    }
}

/* Ends such a program with @number; its child must be gone as well */
static void check_signal(int number, gboolean removes_dir)
{
    g_autofree char *dir = g_dir_make_tmp("converge-XXXXXX", NULL);
    g_autofree char *file = g_build_filename(dir, "qmp.sock", NULL);
    int fds[2], status;
    GPid child = 0;
    pid_t program;

    g_assert_true(g_file_set_contents(file, "", -1, NULL));
    g_assert_cmpint(pipe(fds), ==, 0);
    program = fork();
    if (program == 0) {
        run_program(fds[1], dir);
    }
    g_assert_cmpint(read(fds[0], &child, sizeof(child)), ==, sizeof(child));
    g_assert_cmpint(child, >, 0);
    g_assert_cmpint(kill(program, number), ==, 0);
    g_assert_cmpint(waitpid(program, &status, 0), ==, program);
    g_assert_true(WIFSIGNALED(status));
    g_assert_cmpint(WTERMSIG(status), ==, number);

    /* Either reaped by the program, or handed to us as its subreaper */
    if (waitpid(child, &status, 0) == child) {
        g_assert_cmpint(WTERMSIG(status), ==, SIGKILL);
    } else {
        g_assert_cmpint(errno, ==, ECHILD);
        g_assert_cmpint(kill(child, 0), ==, -1);
    }
    g_assert_cmpint(g_file_test(dir, G_FILE_TEST_EXISTS), ==, !removes_dir);
    g_unlink(file);
    g_rmdir(dir);
    close(fds[0]);
    close(fds[1]);
}

static void test_children_die_with_the_program(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    check_signal(SIGTERM, TRUE);
    check_signal(SIGINT, TRUE);
    /* Nothing of ours runs then: the kernel ends the child */
    check_signal(SIGKILL, FALSE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* First: later tests install the handlers in this very process */
    g_test_add_func("/vm/children-die-with-the-program",
                    test_children_die_with_the_program);
    g_test_add_func("/vm/argv-follows-config", test_argv_follows_config);
    g_test_add_func("/vm/qemu-with-firmware-is-left-alone",
                    test_qemu_with_firmware_is_left_alone);
    g_test_add_func("/vm/missing-guest-names-the-way-out",
                    test_missing_guest_names_the_way_out);
    g_test_add_func("/vm/qemu-that-exits-tells-why",
                    test_qemu_that_exits_tells_why);
    g_test_add_func("/vm/qemu-that-is-not-there",
                    test_qemu_that_is_not_there);
    return g_test_run();
}
