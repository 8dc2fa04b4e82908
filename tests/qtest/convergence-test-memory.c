/*
 * Convergence tests: memory that is not there
 *
 * Not plugged (virtio-mem), in a balloon, or said to be free while the guest
 * migrates.  None of it is work, and forecast, progress and stop conditions
 * follow what there is.  The balloon's driver is this test, beside the guest
 * that writes: see drive_balloon().
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "standard-headers/linux/pci_regs.h"
#include "standard-headers/linux/virtio_balloon.h"
#include "standard-headers/linux/virtio_config.h"
#include "libqos/libqos-malloc.h"
#include "libqos/pci-pc.h"
#include "libqos/virtio-pci.h"
#include "convergence-vm.h"

/* It is in nobody's way: what takes the time is the memory that is there. */
#define LOAD             LOAD_LIGHT(4)
#define RAM_MB           128
/* All there is to send, and what the guest frees: above what it writes. */
#define DATA_AT_MB       32
#define DATA_MB          16
#define FREE_AT_MB       56
#define FREE_MB          64
#define LINK_BYTES_PER_S (8 * MiB)
/* What the driver writes to. */
#define RINGS_AT         ((RAM_MB - 4) * MiB)

#define BALLOON_SLOT     5
#define BALLOON          " -object iothread,id=io0" \
                         " -device virtio-balloon-pci,free-page-hint=on," \
                         "iothread=io0,addr=05.0,id=b0 "
#define HINTS_QUEUE      3
#define HINT_ID_MIN      0x80000000u

#define VIRTIO_MEM       " -m 128M,maxmem=9G,slots=1" \
                         " -object memory-backend-ram,id=vm0,size=8G," \
                         "reserve=off -device virtio-mem-pci,memdev=vm0," \
                         "requested-size=0 "

/* A forecast may be off by that, and by the time it takes to look at zeroes. */
#define TELLS_WITHIN     2.0
#define ZEROES_MS        1500
/* It is judged as long as so much is left. */
#define LEFT_BYTES       (4 * MiB)
/* Until a sync has seen it, and the census after that. */
#define SETTLED_LOOKS    20

typedef struct Balloon {
    QTestState *vm;
    QPCIBus *bus;
    QVirtioPCIDevice *pci;
    QVirtioDevice *virtio;
    QGuestAllocator memory;
    QVirtQueue *inflate;
    QVirtQueue *hints;
    uint32_t hint_id;           /* that was answered last */
    uint64_t hint_id_at;
    uint32_t inflated_pages;
} Balloon;

/*
 * Nobody takes the device's interrupts.  Hints are answered by its own thread,
 * without the BQL, and QEMU 10 does not live through an interrupt by that.
 */
static void forbid_interrupts(QPCIDevice *pci)
{
    qpci_config_writew(pci, PCI_COMMAND, qpci_config_readw(pci, PCI_COMMAND) |
                       PCI_COMMAND_INTX_DISABLE);
}

/* The guest's own code does not touch PCI. */
static Balloon *drive_balloon(QTestState *vm)
{
    Balloon *b = g_new0(Balloon, 1);
    QPCIAddress address = { .devfn = QPCI_DEVFN(BALLOON_SLOT, 0) };

    b->vm = vm;
    alloc_init(&b->memory, 0, RINGS_AT, RINGS_AT + MiB, VM_PAGE_BYTES);
    b->bus = qpci_new_pc(vm, &b->memory);
    b->pci = virtio_pci_new(b->bus, &address);
    g_assert_nonnull(b->pci);
    b->virtio = &b->pci->vdev;
    qvirtio_pci_device_enable(b->pci);
    forbid_interrupts(b->pci->pdev);
    qvirtio_start_device(b->virtio);
    qvirtio_set_features(b->virtio, qvirtio_get_features(b->virtio) &
                         (1ull << VIRTIO_BALLOON_F_FREE_PAGE_HINT |
                          1ull << VIRTIO_F_VERSION_1));
    b->inflate = qvirtqueue_setup(b->virtio, &b->memory, 0);
    b->hints = qvirtqueue_setup(b->virtio, &b->memory, HINTS_QUEUE);
    qvirtio_set_driver_ok(b->virtio);
    b->hint_id_at = guest_alloc(&b->memory, sizeof(b->hint_id));
    return b;
}

static void balloon_free(Balloon *b)
{
    if (b) {
        qvirtqueue_cleanup(b->virtio->bus, b->inflate, &b->memory);
        qvirtqueue_cleanup(b->virtio->bus, b->hints, &b->memory);
        qvirtio_pci_device_disable(b->pci);
        qvirtio_pci_destructor(&b->pci->obj);
        g_free(b->pci);
        qpci_free_pc(b->bus);
        alloc_destroy(&b->memory);
        g_free(b);
    }
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Balloon, balloon_free)

static uint32_t asked_for(Balloon *b)
{
    return qvirtio_config_readl(b->virtio,
                                offsetof(struct virtio_balloon_config,
                                         free_page_hint_cmd_id));
}

/* Say what is free, if hints are asked for.  Returns: it was said before. */
static bool hint(Balloon *b)
{
    uint32_t id = asked_for(b);
    uint32_t first;

    if (id < HINT_ID_MIN || id == b->hint_id) {
        return b->hint_id;
    }
    b->hint_id = id;
    g_assert_cmpuint(b->hints->num_free, >=, 2);
    qtest_writel(b->vm, b->hint_id_at, id);
    first = qvirtqueue_add(b->vm, b->hints, b->hint_id_at, sizeof(id), false,
                           false);
    qvirtqueue_kick(b->vm, b->virtio, b->hints, first);
    first = qvirtqueue_add(b->vm, b->hints, FREE_AT_MB * MiB, FREE_MB * MiB,
                           true, false);
    qvirtqueue_kick(b->vm, b->virtio, b->hints, first);
    return false;
}

/* As many pages at a time as Linux does. */
static void inflate_some(Balloon *b)
{
    uint32_t pfns[256];
    uint64_t list_at;
    uint32_t first;

    for (unsigned i = 0; i < ARRAY_SIZE(pfns); i++) {
        pfns[i] = cpu_to_le32(VM_PAGES_OF(FREE_AT_MB) + b->inflated_pages++);
    }
    list_at = guest_alloc(&b->memory, sizeof(pfns));
    qtest_memwrite(b->vm, list_at, pfns, sizeof(pfns));
    first = qvirtqueue_add(b->vm, b->inflate, list_at, sizeof(pfns), false,
                           false);
    qvirtqueue_kick(b->vm, b->virtio, b->inflate, first);
}

/* Fill the balloon further.  Returns: it was full before. */
static bool inflate(Balloon *b)
{
    bool full = b->inflated_pages == VM_PAGES_OF(FREE_MB);

    for (int i = 0; !full && i < 4; i++) {
        inflate_some(b);
    }
    return full;
}

static void set_actual(Balloon *b, uint64_t bytes)
{
    uint64_t at = offsetof(struct virtio_balloon_config, actual);

    qpci_io_writel(b->pci->pdev, b->pci->bar,
                   b->pci->device_cfg_offset + at, bytes / VM_PAGE_BYTES);
}

static void fill(QTestState *vm, unsigned from_mb, unsigned mb)
{
    qtest_memset(vm, from_mb * MiB, 0x5a, mb * MiB);
}

static void set_up(QTestState *vm)
{
    vm_capability(vm, "auto-converge", true);
    vm_set(vm, "'convergence-policy': 'predictive', 'dirty-sync-period': 200,"
           " 'max-bandwidth': %d, 'downtime-limit': 100",
           (int)LINK_BYTES_PER_S);
    fill(vm, DATA_AT_MB, DATA_MB);
}

/* What was told on the way, to be judged by how it came. */
typedef struct Told {
    int64_t elapsed_ms;
    int64_t predicted_ms;       /* 0: nothing */
    int64_t progress_pct;
    int64_t drain_bytes_per_s;
    int64_t sent_bytes;
    bool settled;               /* nothing is taken from the guest any more */
} Told;

/* Until it is over; @drive is done at each look, if not NULL. */
static GArray *watch(QTestState *vm, bool (*drive)(Balloon *b), Balloon *b)
{
    GArray *told = g_array_new(FALSE, FALSE, sizeof(Told));

    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        g_autoptr(MigrationView) view = view_take(vm);

        if (view_is_over(view)) {
            return told;
        }
        if (view_is(view, "active") && view->convergence) {
            Told now = {
                qdict_get_int(view->all, "total-time"),
                qdict_get_try_int(view->convergence, "predicted-total-time",
                                  0),
                qdict_get_int(view->convergence, "progress-percentage"),
                qdict_get_int(view->convergence, "drain-rate"),
                qdict_get_int(view->ram, "transferred"),
                !drive || drive(b),
            };

            g_array_append_val(told, now);
        }
        g_usleep(20 * 1000);
    }
    g_error("the migration does not end");
}

/*
 * However fast the host is: by what is left of the data at the rate that is
 * told with it.  Returns how many forecasts were judged by what there is in the
 * end: a busy host may have no time for any.
 */
static unsigned assert_told_right(const GArray *told)
{
    unsigned looks = 0, settled = 0, forecasts = 0;
    int64_t last_ms = 0;

    for (unsigned i = 0; i < told->len; i++) {
        const Told *t = &g_array_index(told, Told, i);
        int64_t left_bytes = DATA_MB * MiB - t->sent_bytes;
        double ms = t->elapsed_ms + left_bytes * 1000.0 / t->drain_bytes_per_s;

        g_assert_true(!t->predicted_ms || t->predicted_ms >= t->elapsed_ms);
        settled += t->settled;
        if (!t->drain_bytes_per_s || left_bytes < LEFT_BYTES) {
            continue;
        }
        looks++;
        /* What it must not be is done when it is not. */
        g_assert_cmpint(t->progress_pct, <=, t->elapsed_ms * 100 / ms + 35);
        if (t->predicted_ms == last_ms) {
            continue;
        }
        last_ms = t->predicted_ms;
        g_test_message("%" PRId64 " ms: progress %" PRId64 " %%, %.1f MB left "
                       "at %.1f MB/s make %.0f ms, predicted %" PRId64 " ms",
                       t->elapsed_ms, t->progress_pct, left_bytes / 1e6,
                       t->drain_bytes_per_s / 1e6, ms, t->predicted_ms);
        g_assert_cmpfloat(t->predicted_ms, >=, ms / TELLS_WITHIN);
        if (settled > SETTLED_LOOKS) {
            forecasts++;
            g_assert_cmpfloat(t->predicted_ms, <=,
                              ms * TELLS_WITHIN + ZEROES_MS);
        }
    }
    g_assert_cmpuint(looks, >, 0);
    return forecasts;
}

/* The larger part of guest RAM is not plugged, and that is no work. */
static void test_unplugged(void)
{
    g_autoptr(Pair) pair = pair_start_with(RAM_MB, LOAD, VIRTIO_MEM,
                                           VIRTIO_MEM);
    g_autoptr(GArray) told = NULL;

    set_up(pair->from);
    pair_migrate(pair);
    told = watch(pair->from, NULL, NULL);
    assert_told_right(told);
    pair_assert_arrived(pair);
}

static int64_t sent_until_given_up(QTestState *vm, int64_t enough_bytes)
{
    int64_t sent = 0;

    for (int i = 0; i < VM_PATIENCE_S * 100; i++) {
        g_autoptr(MigrationView) view = view_take(vm);

        if (view_is(view, "failed")) {
            g_assert_nonnull(strstr(qdict_get_str(view->all, "error-desc"),
                                    "convergence-max-transfer reached: 10"));
            return sent;
        }
        g_assert_false(view_is_over(view));
        sent = view->ram ? qdict_get_int(view->ram, "transferred") : 0;
        g_assert_cmpint(sent, <, enough_bytes);
        g_usleep(10 * 1000);
    }
    g_error("the stop condition is not met");
}

static void give_up_at_all_of_ram(QTestState *vm)
{
    vm_set(vm, "'max-bandwidth': %d, 'downtime-limit': 1,"
           " 'convergence-timeout-action': 'abort',"
           " 'convergence-max-transfer': 100", 64 * 1024 * 1024);
}

/* All of guest RAM is what is plugged. */
static void test_max_transfer_unplugged(void)
{
    g_autoptr(Pair) pair = pair_start_with(64, LOAD_FLAT_OUT(16), VIRTIO_MEM
                                           "-m 64M", VIRTIO_MEM "-m 64M");
    int64_t sent;

    give_up_at_all_of_ram(pair->from);
    pair_migrate(pair);
    sent = sent_until_given_up(pair->from, 160 * MiB);
    g_assert_cmpint(sent, >=, 32 * MiB);
    pair_bury_destination(pair);
}

/* And of that, what the balloon left to the guest. */
static void test_max_transfer_balloon(void)
{
    g_autoptr(Pair) pair = pair_start_with(RAM_MB, LOAD_FLAT_OUT(16), BALLOON,
                                           BALLOON);
    g_autoptr(Balloon) b = drive_balloon(pair->from);
    int64_t sent;

    set_actual(b, FREE_MB * MiB);
    give_up_at_all_of_ram(pair->from);
    pair_migrate(pair);
    sent = sent_until_given_up(pair->from, (RAM_MB - 10) * MiB);
    g_assert_cmpint(sent, >=, 32 * MiB);
    pair_bury_destination(pair);
}

/*
 * Most of what is free was never touched.  Once the guest has said so, what is
 * left is nearly all work; that it once was little of it does not count.
 */
static void test_hints(const void *opaque)
{
    const char *capability = opaque;
    g_autoptr(Pair) pair = pair_start_with(RAM_MB, LOAD, BALLOON, BALLOON);
    g_autoptr(Balloon) b = drive_balloon(pair->from);
    g_autoptr(GArray) told = NULL;

    if (capability) {
        vm_capability(pair->from, capability, true);
        vm_capability(pair->to, capability, true);
    }
    set_up(pair->from);
    pair_migrate(pair);
    told = watch(pair->from, hint, b);
    g_assert_cmpuint(b->hint_id, >=, HINT_ID_MIN);
    assert_told_right(told);
    for (unsigned i = 0; i < told->len; i++) {
        /* Nobody carried what was free. */
        g_assert_cmpint(g_array_index(told, Told, i).drain_bytes_per_s, <=,
                        LINK_BYTES_PER_S * 1.5);
    }
    pair_assert_arrived(pair);
}

/* What the balloon takes while it migrates was work, and is none any more. */
static void test_balloon_grows(void)
{
    g_autoptr(Pair) pair = pair_start_with(RAM_MB, LOAD, BALLOON, BALLOON);
    g_autoptr(Balloon) b = drive_balloon(pair->from);
    g_autoptr(GArray) told = NULL;

    set_up(pair->from);
    /* It takes a while to fill the balloon, and then to see that it is. */
    vm_set(pair->from, "'max-bandwidth': %d", (int)(3 * MiB));
    fill(pair->from, FREE_AT_MB, FREE_MB);
    pair_migrate(pair);
    told = watch(pair->from, inflate, b);
    g_assert_cmpuint(b->inflated_pages, ==, VM_PAGES_OF(FREE_MB));
    g_assert_cmpuint(assert_told_right(told), >, 0);
    pair_assert_arrived(pair);
}

void convergence_add_memory_tests(void)
{
    /* The devices, and the test's own driver, are for the PC. */
    if (!g_str_equal(qtest_get_arch(), "x86_64")) {
        return;
    }
    qtest_add_func("/convergence/memory/unplugged", test_unplugged);
    qtest_add_data_func("/convergence/memory/hints-xbzrle", "xbzrle",
                        test_hints);
    if (vm_test_long()) {
        qtest_add_func("/convergence/memory/unplugged-max-transfer",
                       test_max_transfer_unplugged);
        qtest_add_func("/convergence/memory/balloon-max-transfer",
                       test_max_transfer_balloon);
        qtest_add_func("/convergence/memory/balloon-grows",
                       test_balloon_grows);
        qtest_add_data_func("/convergence/memory/hints", NULL, test_hints);
    }
}
