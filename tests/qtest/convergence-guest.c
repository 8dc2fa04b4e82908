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
#include "convergence-guest-code.h"
#include "convergence-vm.h"

/* The guest's own figures: a count of 8 bytes for each vCPU. */
#define GUEST_COUNT     0x6000
#define GUEST_SIGN      0x6ff8
/* Of all vCPUs that only read. */
#define READ_COUNT      0x9000
#define GUEST_MEMORY    (1024 * 1024)

#define SIGN_UP         0x47525643

#define POLL_US         (20 * 1000)
#define MEASURE_S       0.4

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

static unsigned vcpus_of(GuestLoad load)
{
    return MAX(load.vcpus, 1);
}

/* Where in the guest's memory something is. */
static uint64_t at(uint64_t offset)
{
    return guest_code()->ram_base + offset;
}

static char *make_image(GuestLoad load)
{
    char *path = g_strdup_printf("%s/image-%u-%u-%u", dir, load.pages,
                                 load.spin, vcpus_of(load));
    uint8_t image[GUEST_CODE_BYTES];

    memcpy(image, guest_code()->bytes, sizeof(image));
    stl_le_p(image + GUEST_CODE_PAGES, load.pages);
    stl_le_p(image + GUEST_CODE_SPIN, load.spin);
    stl_le_p(image + GUEST_CODE_WRITERS, vcpus_of(load));
    if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
        g_assert_true(g_file_set_contents(path, (char *)image, sizeof(image),
                                          NULL));
    }
    return path;
}

const char *vm_accel(void)
{
    return g_getenv("CONVERGE_ACCEL") ?: "tcg";
}

/* Where the processor logs writes itself, nothing faults. */
static bool writes_fault(void)
{
    g_autofree char *pml = NULL;

    return !g_file_get_contents("/sys/module/kvm_intel/parameters/pml", &pml,
                                NULL, NULL) || pml[0] == 'N' || pml[0] == '0';
}

bool vm_has_ring(void)
{
    return strstr(vm_accel(), "dirty-ring-size");
}

bool vm_has_exact_meter(void)
{
    return !g_str_has_prefix(vm_accel(), "kvm") || vm_has_ring();
}

bool vm_has_meter(void)
{
    return vm_has_exact_meter() || writes_fault();
}

bool vm_skip_without_meter(void)
{
    if (!vm_has_meter()) {
        g_test_skip("nothing tells here what single vCPUs dirty");
    }
    return !vm_has_meter();
}

QTestState *vm_start_on(const char *accel, unsigned ram_mb, GuestLoad load,
                        const char *args)
{
    g_autofree char *image = make_image(load);

    g_assert_true(vcpus_of(load) == 1 || guest_code()->many_vcpus);
    return qtest_initf("-accel %s -m %u -smp %u -nodefaults %s%s %s %s", accel,
                       ram_mb, vcpus_of(load), guest_code()->command_line,
                       image, g_getenv("CONVERGE_QEMU_ARGS") ?: "", args);
}

QTestState *vm_start(GuestLoad load, const char *args)
{
    return vm_start_on(vm_accel(), VM_RAM_BYTES / 1024 / 1024, load, args);
}

uint64_t vm_ram_base(void)
{
    return at(0);
}

bool vm_can_have_many_vcpus(void)
{
    return guest_code()->many_vcpus;
}

static bool shows_its_sign(QTestState *vm)
{
    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        if (qtest_readl(vm, at(GUEST_SIGN)) == SIGN_UP) {
            return true;
        }
        g_usleep(POLL_US);
    }
    return false;
}

static uint32_t code_word(QTestState *vm, unsigned offset)
{
    return qtest_readl(vm, at(guest_code()->at + offset));
}

/*
 * A page that is touched for the first time takes the host as long as thousands
 * of writes to it.  Until then a guest is not as fast as it is taken for.
 */
static bool touches_all_pages(QTestState *vm)
{
    uint32_t pages = code_word(vm, GUEST_CODE_PAGES);

    if (code_word(vm, GUEST_CODE_SPIN)) {
        return true;
    }
    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        if (vm_pages_written(vm) >= pages) {
            return true;
        }
        g_usleep(POLL_US);
    }
    return false;
}

bool vm_guest_comes_up(QTestState *vm)
{
    return shows_its_sign(vm) && touches_all_pages(vm);
}

void vm_wait_guest_up(QTestState *vm)
{
    if (!vm_guest_comes_up(vm)) {
        g_error("the guest did not come up within %d s", VM_PATIENCE_S);
    }
    vm_assert_guest_works(vm);
}

uint64_t vm_pages_written_by(QTestState *vm, unsigned vcpu)
{
    return qtest_readq(vm, at(GUEST_COUNT + 8 * vcpu));
}

uint64_t vm_pages_written(QTestState *vm)
{
    return vm_pages_written_by(vm, 0);
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

void vm_assert_speed_back(QTestState *vm, double bytes_per_s)
{
    double now = 0;

    for (int i = 0; i < VM_PATIENCE_S * 5 && now <= bytes_per_s; i++) {
        now = vm_bytes_per_s_over(vm, 0.2);
    }
    g_test_message("writes %.0f MB/s, more than %.0f are asked for", now / 1e6,
                   bytes_per_s / 1e6);
    g_assert_cmpfloat(now, >, bytes_per_s);
}

bool vm_readers_work(QTestState *vm)
{
    uint16_t first = qtest_readw(vm, at(READ_COUNT));

    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        if (qtest_readw(vm, at(READ_COUNT)) != first) {
            return true;
        }
        g_usleep(POLL_US);
    }
    return false;
}

void vm_set_spin(QTestState *vm, uint32_t spin)
{
    qtest_writel(vm, at(guest_code()->at + GUEST_CODE_SPIN), spin);
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

/*
 * How many pages of one vCPU are not as its count says.
 *
 * @first_word: of its first page
 */
static unsigned pages_wrong(QTestState *vm, GuestLoad load, unsigned vcpu,
                            uint64_t count, uint32_t *first_word)
{
    uint64_t bytes = (uint64_t)load.pages * VM_PAGE_BYTES;
    g_autofree uint8_t *data = save_memory(vm,
                                           at(GUEST_MEMORY + vcpu * bytes),
                                           bytes);
    unsigned wrong = 0;

    *first_word = ldl_le_p(data);
    for (uint32_t i = 0; i < load.pages; i++) {
        uint32_t word = ldl_le_p(data + (size_t)i * VM_PAGE_BYTES);
        uint64_t want = count / load.pages + (i < count % load.pages);

        /* It may have been stopped between the page and the count. */
        if (word != want && !(i == count % load.pages && word == want + 1)) {
            wrong++;
        }
    }
    return wrong;
}

void vm_assert_memory_whole(QTestState *vm, GuestLoad load)
{
    bool running = vm_is_running(vm);

    if (running) {
        qtest_qmp_assert_success(vm, "{'execute': 'stop'}");
    }
    for (unsigned vcpu = 0; vcpu < vcpus_of(load); vcpu++) {
        uint64_t count = vm_pages_written_by(vm, vcpu);
        uint32_t first_word;
        unsigned wrong = pages_wrong(vm, load, vcpu, count, &first_word);

        if (wrong) {
            g_error("%u of %u pages are not what vCPU %u wrote: it counts "
                    "%" PRIu64 " pages written, the first one %" PRIu32
                    " times", wrong, load.pages, vcpu, count, first_word);
        }
    }
    if (running) {
        qtest_qmp_assert_success(vm, "{'execute': 'cont'}");
    }
}
