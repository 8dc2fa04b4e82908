/*
 * Convergence tests: a guest that writes, and counts what it writes
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/bswap.h"
#include "convergence-vm.h"

/* The guest's own figures. */
#define GUEST_COUNT     0x6000
#define GUEST_SIGN      0x6008
#define GUEST_PAGES     0x7d00
#define GUEST_SPIN      0x7d04
#define GUEST_MEMORY    (1024 * 1024)

#define SIGN_UP         0x47525643

#define POLL_US         (20 * 1000)
#define MEASURE_S       0.4

/*
 * READER, 16 bit, on all vCPUs but the first: count at READ_COUNT, and write
 * nowhere else:  xor %ax,%ax; mov %ax,%ds; 1: incw READ_COUNT; jmp 1b
 */
#define READER          0x8000
#define READ_COUNT      0x9000

static const uint8_t guest_code[512] = {
    /* 16 bit: open A20, enter protected mode with flat segments */
    0xfa,                                       /* cli */
    0x31, 0xc0,                                 /* xor %ax,%ax */
    0x8e, 0xd8,                                 /* mov %ax,%ds */
    0xe4, 0x92,                                 /* in $0x92,%al */
    0x0c, 0x02,                                 /* or $2,%al */
    0xe6, 0x92,                                 /* out %al,$0x92 */
    0x0f, 0x01, 0x16, 0xd8, 0x7c,               /* lgdt gdtr */
    0x0f, 0x20, 0xc0,                           /* mov %cr0,%eax */
    0x0c, 0x01,                                 /* or $1,%al */
    0x0f, 0x22, 0xc0,                           /* mov %eax,%cr0 */
    0xea, 0x1d, 0x7c, 0x08, 0x00,               /* ljmp $8,$0x7c1d */
    /* 32 bit, 0x7c1d: count from 0, say that we are here */
    0x66, 0xb8, 0x10, 0x00,                     /* mov $16,%ax */
    0x8e, 0xd8,                                 /* mov %eax,%ds */
    0xc7, 0x05, 0x00, 0x60, 0, 0, 0, 0, 0, 0,   /* movl $0,count */
    0xc7, 0x05, 0x04, 0x60, 0, 0, 0, 0, 0, 0,   /* movl $0,count + 4 */
    0xc7, 0x05, 0x08, 0x60, 0, 0,
    0x43, 0x56, 0x52, 0x47,                     /* movl $SIGN_UP,sign */
    /* the other vCPUs: put their code at READER, INIT, start-up IPI to all */
    0xc7, 0x05, 0x00, 0x80, 0, 0, 0x31, 0xc0, 0x8e, 0xd8,
    0xc7, 0x05, 0x04, 0x80, 0, 0, 0xff, 0x06, 0x00, 0x90,
    0xc7, 0x05, 0x08, 0x80, 0, 0, 0xeb, 0xfa, 0, 0,
    0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x00, 0x45, 0x0c, 0x00,
    0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x08, 0x46, 0x0c, 0x00,
    /* round: 0x7c73 */
    0xb8, 0x00, 0x00, 0x10, 0x00,               /* mov $1 MB,%eax */
    0x8b, 0x15, 0x00, 0x7d, 0x00, 0x00,         /* mov pages,%edx */
    /* page: 0x7c7e */
    0x8b, 0x0d, 0x04, 0x7d, 0x00, 0x00,         /* mov spin,%ecx */
    0xe3, 0x03,                                 /* jecxz write */
    0x49,                                       /* spin: dec %ecx */
    0x75, 0xfd,                                 /* jnz spin */
    /* write: 0x7c89 */
    0xff, 0x00,                                 /* incl (%eax) */
    0x83, 0x05, 0x00, 0x60, 0, 0, 0x01,         /* addl $1,count */
    0x83, 0x15, 0x04, 0x60, 0, 0, 0x00,         /* adcl $0,count + 4 */
    0x05, 0x00, 0x10, 0x00, 0x00,               /* add $4096,%eax */
    0x4a,                                       /* dec %edx */
    0x75, 0xdd,                                 /* jnz page */
    0xeb, 0xd0,                                 /* jmp round */
    /* gdt: 0x7cc0: null, code, data; gdtr: 0x7cd8 */
    [0xc8] = 0xff, 0xff, 0, 0, 0, 0x9a, 0xcf, 0,
    0xff, 0xff, 0, 0, 0, 0x92, 0xcf, 0,
    0x17, 0x00, 0xc0, 0x7c, 0x00, 0x00,
    [510] = 0x55, 0xaa,
};

static char *dir;

static void remove_dir(void *unused)
{
    GDir *d = g_dir_open(dir, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(d))) {
        g_autofree char *path = g_build_filename(dir, name, NULL);

        g_unlink(path);
    }
    g_dir_close(d);
    g_rmdir(dir);
}

void vm_setup(void)
{
    dir = g_dir_make_tmp("converge-test-XXXXXX", NULL);
    g_assert_nonnull(dir);
    qtest_add_abrt_handler(remove_dir, dir);
}

void vm_teardown(void)
{
    qtest_remove_abrt_handler(dir);
    remove_dir(NULL);
    g_free(dir);
}

const char *vm_dir(void)
{
    return dir;
}

static char *make_disk(GuestLoad load)
{
    char *path = g_strdup_printf("%s/disk-%u-%u", dir, load.pages, load.spin);
    uint8_t sector[512];

    memcpy(sector, guest_code, sizeof(sector));
    stl_le_p(sector + GUEST_PAGES - 0x7c00, load.pages);
    stl_le_p(sector + GUEST_SPIN - 0x7c00, load.spin);
    if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
        g_assert_true(g_file_set_contents(path, (char *)sector,
                                          sizeof(sector), NULL));
    }
    return path;
}

QTestState *vm_start_on(const char *accel, unsigned ram_mb, GuestLoad load,
                        const char *args)
{
    g_autofree char *disk = make_disk(load);

    return qtest_initf("-accel %s -M pc-i440fx-7.2 -m %u -nodefaults -drive "
                       "if=ide,format=raw,file=%s %s", accel, ram_mb, disk,
                       args);
}

QTestState *vm_start(GuestLoad load, const char *args)
{
    return vm_start_on("tcg", VM_RAM_BYTES / 1024 / 1024, load, args);
}

bool vm_guest_comes_up(QTestState *vm)
{
    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        if (qtest_readl(vm, GUEST_SIGN) == SIGN_UP) {
            return true;
        }
        g_usleep(POLL_US);
    }
    return false;
}

void vm_wait_guest_up(QTestState *vm)
{
    if (!vm_guest_comes_up(vm)) {
        g_error("the guest did not come up within %d s", VM_PATIENCE_S);
    }
    vm_assert_guest_works(vm);
}

uint64_t vm_pages_written(QTestState *vm)
{
    return qtest_readq(vm, GUEST_COUNT);
}

void vm_assert_guest_works(QTestState *vm)
{
    uint64_t first = vm_pages_written(vm);

    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        if (vm_pages_written(vm) >= first + 4) {
            return;
        }
        g_usleep(POLL_US);
    }
    g_error("the guest stands still at %" PRIu64 " pages", first);
}

double vm_bytes_per_s_over(QTestState *vm, double seconds)
{
    int64_t start_us = g_get_monotonic_time();
    uint64_t first = vm_pages_written(vm);
    uint64_t pages;

    g_usleep(seconds * G_USEC_PER_SEC);
    pages = vm_pages_written(vm) - first;
    return pages * VM_PAGE_BYTES * 1e6 / (g_get_monotonic_time() - start_us);
}

double vm_bytes_per_s(QTestState *vm)
{
    return vm_bytes_per_s_over(vm, MEASURE_S);
}

bool vm_readers_work(QTestState *vm)
{
    uint16_t first = qtest_readw(vm, READ_COUNT);

    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        if (qtest_readw(vm, READ_COUNT) != first) {
            return true;
        }
        g_usleep(POLL_US);
    }
    return false;
}

void vm_set_spin(QTestState *vm, uint32_t spin)
{
    qtest_writel(vm, GUEST_SPIN, spin);
}

void vm_pace(QTestState *vm, double bytes_per_s)
{
    uint32_t spin = 50000;
    double got;

    /* Turns of the loop are what takes the time; what they take, the host. */
    vm_set_spin(vm, spin);
    got = vm_bytes_per_s(vm);
    vm_set_spin(vm, spin * got / bytes_per_s);
    g_test_message("paced: %.1f MB/s", vm_bytes_per_s(vm) / 1e6);
}

static uint8_t *save_memory(QTestState *vm, uint64_t addr, uint64_t bytes)
{
    g_autofree char *path = g_strdup_printf("%s/memory", dir);
    char *data;
    size_t got;

    qtest_qmp_assert_success(vm, "{'execute': 'pmemsave', 'arguments':"
                             " {'val': %" PRIu64 ", 'size': %" PRIu64 ","
                             " 'filename': %s}}", addr, bytes, path);
    g_assert_true(g_file_get_contents(path, &data, &got, NULL));
    g_assert_cmpuint(got, ==, bytes);
    g_unlink(path);
    return (uint8_t *)data;
}

void vm_assert_memory_whole(QTestState *vm, GuestLoad load)
{
    bool running = vm_is_running(vm);
    g_autofree uint8_t *data = NULL;
    unsigned wrong = 0;
    uint64_t count;

    if (running) {
        qtest_qmp_assert_success(vm, "{'execute': 'stop'}");
    }
    count = vm_pages_written(vm);
    data = save_memory(vm, GUEST_MEMORY, (uint64_t)load.pages * VM_PAGE_BYTES);
    for (uint32_t i = 0; i < load.pages; i++) {
        uint32_t word = ldl_le_p(data + (size_t)i * VM_PAGE_BYTES);
        uint64_t want = count / load.pages + (i < count % load.pages);

        /* It may have been stopped between the page and the count. */
        if (word != want && !(i == count % load.pages && word == want + 1)) {
            wrong++;
        }
    }
    if (wrong) {
        g_error("%u of %u pages are not what the guest wrote", wrong,
                load.pages);
    }
    if (running) {
        qtest_qmp_assert_success(vm, "{'execute': 'cont'}");
    }
}
