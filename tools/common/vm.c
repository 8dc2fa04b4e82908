/*
 * QEMU processes for tests, benchmarks and the demo
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * The console is a socket on which *we* listen and to which QEMU connects:
 * nothing the guest prints before we look is lost, and QEMU's end does not
 * block the guest.  Lines are stamped in a thread of their own, as a main
 * thread that waits for QMP would stamp them late.
 */

#include "vm.h"

#include "children.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* For a QEMU to start on a busy host, and for each later QMP command */
#define START_TIMEOUT_MS 20000
/* For one that closed its socket to exit */
#define EXIT_PATIENCE_US (2 * G_USEC_PER_SEC)

struct Vm {
    char *name;
    char *dir;
    GPid pid;
    gboolean exited;
    int status;                 /* of waitpid(), once it has exited */
    QmpClient *qmp;
    GSocket *listener;
    GThread *console;
    GCancellable *stop_console;
    VmLineFunc on_line;
    void *opaque;
};

static char *in_dir(const char *dir, const char *file)
{
    return g_build_filename(dir, file, NULL);
}

static gboolean file_exists(const char *dir, const char *file)
{
    g_autofree char *path = in_dir(dir, file);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

/* What scripts/guest has made, wherever that was told to build */
static char *guest_file(const char *configured, const char *name)
{
    const char *build = g_getenv("CONVERGE_BUILD");

    return configured ? g_strdup(configured)
                      : g_build_filename(build && *build ? build : "build",
                                         "guest", name, NULL);
}

static const char *initrd_name(const VmConfig *config)
{
    return config->programs ? "initramfs-programs.img" : "initramfs.gz";
}

/*
 * A QEMU run from its build directory may not know where the distribution
 * keeps the firmware.  One that finds its own is left alone: with other
 * firmware than it was made for, a peer would not be what it is.
 */
static gboolean finds_firmware(const char *qemu)
{
    const char *argv[] = { qemu, "-L", "help", NULL };
    g_autofree char *output = NULL;
    g_auto(GStrv) dirs = NULL;

    if (!g_spawn_sync(NULL, (char **)argv, NULL,
                      G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, &output, NULL,
                      NULL, NULL)) {
        return TRUE;            /* starting it will tell what is wrong */
    }
    dirs = g_strsplit(output, "\n", -1);
    for (char **dir = dirs; *dir; dir++) {
        if (**dir && file_exists(g_strstrip(*dir), "bios-256k.bin")) {
            return TRUE;
        }
    }
    return FALSE;
}

static void add(GPtrArray *argv, const char *option, char *value)
{
    g_ptr_array_add(argv, g_strdup(option));
    if (value) {
        g_ptr_array_add(argv, value);
    }
}

/*
 * The disk of a load that reads one.  Nothing lies behind it: both sides have
 * the same without a file, and the device writes to memory as any other does.
 */
static void add_disk(GPtrArray *argv)
{
    add(argv, "-blockdev",
        g_strdup("driver=null-co,node-name=disk,size=1073741824,"
                 "latency-ns=200000"));
    add(argv, "-device", g_strdup("virtio-blk-pci,drive=disk"));
}

GStrv vm_build_argv(const VmConfig *config, const char *dir)
{
    GPtrArray *argv = g_ptr_array_new();

    add(argv, config->qemu, NULL);
    add(argv, "-no-user-config", NULL);
    add(argv, "-nodefaults", NULL);
    add(argv, "-display", g_strdup("none"));
    add(argv, "-name", g_strdup(config->name));
    add(argv, "-machine", g_strdup("pc"));
    add(argv, "-accel", g_strdup(config->accel ?: "tcg"));
    add(argv, "-m", g_strdup_printf("%u", config->mem_mib));
    add(argv, "-smp", g_strdup_printf("%u", config->smp));
    add(argv, "-kernel", guest_file(config->kernel, "vmlinuz"));
    add(argv, "-initrd", guest_file(config->initrd, initrd_name(config)));
    add(argv, "-append",
        g_strdup_printf(GUEST_KERNEL_ARGUMENTS " load=%s%s", config->load,
                        config->clocks ? " clocks=1" : ""));
    /* A guest that panics ends its QEMU, and is seen to */
    add(argv, "-no-reboot", NULL);
    add(argv, "-chardev",
        g_strdup_printf("socket,id=console,path=%s/serial.sock", dir));
    add(argv, "-serial", g_strdup("chardev:console"));
    add(argv, "-qmp",
        g_strdup_printf("unix:%s/qmp.sock,server=on,wait=off", dir));
    if (!finds_firmware(config->qemu)) {
        add(argv, "-L", g_strdup("/usr/share/seabios"));
        add(argv, "-L", g_strdup("/usr/share/qemu"));
    }
    if (strstr(config->load, "read-disk:")) {
        add_disk(argv);
    }
    if (config->incoming) {
        add(argv, "-incoming", g_strdup("defer"));
    }
    for (const char *const *arg = config->extra_args; arg && *arg; arg++) {
        add(argv, *arg, NULL);
    }
    g_ptr_array_add(argv, NULL);
    return (GStrv)g_ptr_array_free(argv, FALSE);
}

static gboolean check_guest(const char *configured, const char *name,
                            GError **errp)
{
    g_autofree char *path = guest_file(configured, name);

    if (g_access(path, R_OK) == 0) {
        return TRUE;
    }
    g_set_error(errp, G_FILE_ERROR, g_file_error_from_errno(errno),
                "cannot read %s: %s; scripts/guest%s makes it", path,
                g_strerror(errno),
                g_str_has_suffix(name, ".img") ? "-programs" : "");
    return FALSE;
}

static gboolean make_dir(Vm *vm, GError **errp)
{
    vm->dir = g_dir_make_tmp("converge-XXXXXX", errp);
    if (!vm->dir) {
        return FALSE;
    }
    if (!children_add_dir(vm->dir)) {
        g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_NAMETOOLONG,
                    "%s is too long for a socket's path, or too many "
                    "guests run; set TMPDIR to a shorter one", vm->dir);
        g_rmdir(vm->dir);
        g_clear_pointer(&vm->dir, g_free);
        return FALSE;
    }
    return TRUE;
}

static gboolean listen_console(Vm *vm, GError **errp)
{
    g_autofree char *path = in_dir(vm->dir, "serial.sock");
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);

    vm->listener = g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM,
                                G_SOCKET_PROTOCOL_DEFAULT, errp);
    return vm->listener &&
           g_socket_bind(vm->listener, address, FALSE, errp) &&
           g_socket_listen(vm->listener, errp);
}

/* Hands out the complete lines in @text and keeps the rest */
static void hand_out_lines(Vm *vm, GString *text, gint64 at_us)
{
    char *newline;

    while ((newline = strchr(text->str, '\n'))) {
        gsize length = newline - text->str;
        g_autofree char *line = g_strndup(text->str, length);

        g_string_erase(text, 0, length + 1);
        g_strchomp(line);
        if (vm->on_line) {
            vm->on_line(vm->opaque, vm->name, line, at_us);
        }
    }
}

static void *console_main(void *opaque)
{
    Vm *vm = opaque;
    g_autoptr(GString) text = g_string_new("");
    g_autoptr(GSocket) socket =
        g_socket_accept(vm->listener, vm->stop_console, NULL);
    char buffer[1024];
    gssize n;

    while (socket &&
           (n = g_socket_receive(socket, buffer, sizeof(buffer),
                                 vm->stop_console, NULL)) > 0) {
        gint64 now_us = g_get_monotonic_time();

        /* A NUL in the stream would end the string early for strchr() */
        for (gssize i = 0; i < n; i++) {
            g_string_append_c(text, buffer[i] ?: ' ');
        }
        hand_out_lines(vm, text, now_us);
    }
    return NULL;
}

static void in_child(void *opaque)
{
    (void)opaque;
    children_die_with_parent();
}

static gboolean spawn(Vm *vm, const VmConfig *config, GError **errp)
{
    g_autofree char *log = in_dir(vm->dir, "stderr.log");
    g_auto(GStrv) argv = vm_build_argv(config, vm->dir);
    int log_fd = g_open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int null_fd = g_open("/dev/null", O_RDONLY | O_CLOEXEC, 0);
    gboolean ok;

    ok = g_spawn_async_with_pipes_and_fds(
        NULL, (const char *const *)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD,
        in_child, NULL, null_fd, log_fd, log_fd, NULL, NULL, 0, &vm->pid,
        NULL, NULL, NULL, errp);
    if (ok) {
        children_add(vm->pid);
    }
    close(null_fd);
    close(log_fd);
    return ok;
}

/*
 * qmp_connect() would wait out its time for a QEMU that has exited, so that
 * it is only called when there is a socket.
 */
static gboolean connect_qmp(Vm *vm, GError **errp)
{
    g_autofree char *path = in_dir(vm->dir, "qmp.sock");
    gint64 deadline_us = g_get_monotonic_time() + START_TIMEOUT_MS * 1000LL;
    g_autoptr(GError) error = NULL;

    while (!file_exists(vm->dir, "qmp.sock") && vm_is_alive(vm) &&
           g_get_monotonic_time() < deadline_us) {
        g_usleep(10 * 1000);
    }
    if (vm_is_alive(vm)) {
        vm->qmp = qmp_connect(path, START_TIMEOUT_MS, &error);
    }
    if (!vm->qmp) {
        g_autofree char *said = vm_stderr(vm);

        g_set_error(errp, QMP_ERROR, QMP_ERROR_CLOSED,
                    "the %s QEMU does not start: %s", vm->name,
                    *said ? said : error ? error->message : "it exited");
        return FALSE;
    }
    return TRUE;
}

Vm *vm_start(const VmConfig *config, GError **errp)
{
    g_autoptr(Vm) vm = g_new0(Vm, 1);

    children_guard();
    vm->name = g_strdup(config->name);
    vm->on_line = config->on_line;
    vm->opaque = config->opaque;
    vm->stop_console = g_cancellable_new();
    if (!check_guest(config->kernel, "vmlinuz", errp) ||
        !check_guest(config->initrd, initrd_name(config), errp) ||
        !make_dir(vm, errp) || !listen_console(vm, errp) ||
        !spawn(vm, config, errp)) {
        return NULL;
    }
    vm->console = g_thread_new("console", console_main, vm);
    if (!connect_qmp(vm, errp)) {
        return NULL;
    }
    return g_steal_pointer(&vm);
}

gboolean vm_is_alive(Vm *vm)
{
    if (!vm->exited && waitpid(vm->pid, &vm->status, WNOHANG) != 0) {
        vm->exited = TRUE;
        children_remove(vm->pid);
    }
    return !vm->exited;
}

gboolean vm_guest_ended(Vm *vm)
{
    gint64 end_us = g_get_monotonic_time() + EXIT_PATIENCE_US;

    while (vm_is_alive(vm)) {
        if (g_get_monotonic_time() > end_us) {
            return FALSE;
        }
        g_usleep(10 * 1000);
    }
    return WIFEXITED(vm->status) && WEXITSTATUS(vm->status) == 0;
}

void vm_free(Vm *vm)
{
    if (!vm) {
        return;
    }
    if (vm->pid && vm_is_alive(vm)) {
        kill(vm->pid, SIGKILL);
        waitpid(vm->pid, NULL, 0);
        children_remove(vm->pid);
    }
    g_cancellable_cancel(vm->stop_console);
    if (vm->console) {
        g_thread_join(vm->console);
    }
    qmp_free(vm->qmp);
    g_clear_object(&vm->listener);
    g_object_unref(vm->stop_console);
    if (vm->dir) {
        children_remove_dir(vm->dir);
    }
    g_free(vm->dir);
    g_free(vm->name);
    g_free(vm);
}

QmpClient *vm_qmp(Vm *vm)
{
    return vm->qmp;
}

pid_t vm_pid(Vm *vm)
{
    return vm->pid;
}

char *vm_stderr(Vm *vm)
{
    g_autofree char *path = in_dir(vm->dir, "stderr.log");
    char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return g_strdup("");
    }
    return g_strchomp(text);
}

char *vm_migrate_uri(Vm *vm)
{
    return g_strdup_printf("unix:%s/migrate.sock", vm->dir);
}
