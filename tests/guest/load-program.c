/*
 * Real programs as loads: redis, sqlite3, a compiler, stress-ng
 *
 * They come from Debian's packages, in the initramfs that
 * scripts/guest-programs makes.  Each runs on the vCPU of the worker that
 * starts it, and the worker counts what it gets done by asking it, or by what
 * it returns.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "console.h"
#include "latency.h"
#include "load-worker.h"

#define REDIS_SOCKET "/tmp/redis.sock"
#define REDIS_VALUE_BYTES 1000
#define REDIS_TRIES 1000
#define REDIS_TRY_US 10000
#define PROBE_PERIOD_NS (5 * 1000 * 1000ULL)
/* Asked for its counters in each 20th probe, ten times a second */
#define PROBES_PER_COUNT 20

#define SQLITE_ROW_BYTES 1000
#define SQLITE_BATCH 20

#define COMPILE_SOURCE "/tmp/unit.c"
#define COMPILE_FUNCTIONS 25

#define STRESS_LOOK_NS (50 * 1000 * 1000ULL)

/* The connection to redis; only one load has it */
static int redis_fd = -1;
static unsigned redis_server_vcpu;

static void __attribute__((noreturn, format(printf, 1, 2)))
give_up(const char *format, ...)
{
    char why[256];
    va_list args;

    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    console_say(true, "error %s", why);
    for (;;) {
        pause();
    }
}

/* On the caller's vCPU; -1 for @in and @out is /dev/null */
static pid_t start(char *const *argv, int in, int out)
{
    static char *const environment[] = { "PATH=/usr/bin", "HOME=/tmp", NULL };
    posix_spawn_file_actions_t actions;
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_t pid;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in < 0 ? null_fd : in, 0);
    posix_spawn_file_actions_adddup2(&actions, out < 0 ? null_fd : out, 1);
    posix_spawn_file_actions_adddup2(&actions, null_fd, 2);
    if (access(argv[0], X_OK) ||
        posix_spawn(&pid, argv[0], &actions, NULL, argv, environment)) {
        give_up("%s cannot be run: it takes the initramfs of "
                "scripts/guest-programs", argv[0]);
    }
    posix_spawn_file_actions_destroy(&actions);
    close(null_fd);
    return pid;
}

static void redis_connect(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    strcpy(address.sun_path, REDIS_SOCKET);
    redis_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    for (int i = 0; i < REDIS_TRIES; i++) {
        if (!connect(redis_fd, (void *)&address, sizeof(address))) {
            return;
        }
        usleep(REDIS_TRY_US);
    }
    give_up("redis-server does not listen on %s", REDIS_SOCKET);
}

/* The reply is as much as comes at once: all are short, but INFO's */
static void redis_ask(const char *command, char *reply, size_t bytes)
{
    ssize_t n;

    if (write(redis_fd, command, strlen(command)) != (ssize_t)strlen(command)
        || (n = read(redis_fd, reply, bytes - 1)) <= 0 || reply[0] == '-') {
        give_up("redis does not answer to %.40s", command);
    }
    reply[n] = '\0';
}

/* A server with a full keyspace, so that no write is a first one */
static void redis_prepare(Worker *w)
{
    static char *const argv[] = {
        "/usr/bin/redis-server", "--port", "0", "--unixsocket", REDIS_SOCKET,
        "--save", "", "--appendonly", "no", NULL
    };
    char fill[512], reply[256];

    redis_server_vcpu = w->vcpu;
    mkdir("/tmp", 0777);
    start(argv, -1, -1);
    redis_connect();
    snprintf(fill, sizeof(fill), "EVAL \"for i = 0, %llu do redis.call('SET', "
             "string.format('key:%%012d', i), string.rep('x', %d)) end "
             "return 1\" 0\r\n", (unsigned long long)w->load.amount *
             1000000 / REDIS_VALUE_BYTES - 1, REDIS_VALUE_BYTES);
    redis_ask(fill, reply, sizeof(reply));
    redis_ask("SET probe 1\r\n", reply, sizeof(reply));
}

static void redis_count(Worker *w)
{
    static const char name[] = "total_commands_processed:";
    static char reply[8192];
    uint64_t commands;
    char *at;

    redis_ask("INFO stats\r\n", reply, sizeof(reply));
    at = strstr(reply, name);
    if (at) {
        commands = strtoull(at + strlen(name), NULL, 10);
        atomic_store(&load_workers[redis_server_vcpu].units, commands);
        atomic_store(&w->units, commands);
    }
}

/* redis-benchmark writes; the worker asks beside it and takes the time */
static void run_redis_load(Worker *w)
{
    char keys[32], value[16];
    char *const argv[] = {
        "/usr/bin/redis-benchmark", "-s", REDIS_SOCKET, "-t", "set", "-r",
        keys, "-d", value, "-c", "8", "-l", "-q", NULL
    };
    struct sched_param param = { .sched_priority = 1 };
    char reply[256];
    uint64_t due_ns;

    if (redis_fd < 0) {
        give_up("redis-load needs a redis on a vCPU before it");
    }
    snprintf(keys, sizeof(keys), "%llu", (unsigned long long)
             load_workers[redis_server_vcpu].load.amount * 1000000 /
             REDIS_VALUE_BYTES);
    snprintf(value, sizeof(value), "%d", REDIS_VALUE_BYTES);
    start(argv, -1, -1);
    /* Or its own turn after redis-benchmark's would count as latency */
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &param);
    due_ns = now_ns();
    for (unsigned i = 0; ; i++) {
        redis_ask("GET probe\r\n", reply, sizeof(reply));
        due_ns = latency_add(LATENCY_PROGRAM, due_ns, PROBE_PERIOD_NS,
                             look(w));
        if (i % PROBES_PER_COUNT == 0) {
            redis_count(w);
        }
        nap_until(w, due_ns);
    }
}

/* Says @sql to sqlite3 and waits until it has come to its end */
static void sqlite_do(Worker *w, const char *sql)
{
    char answer;

    dprintf(w->pipe_fd[1], "%s SELECT 1;\n", sql);
    do {
        if (read(w->pipe_fd[0], &answer, 1) != 1) {
            give_up("sqlite3 ended at: %.60s", sql);
        }
    } while (answer != '\n');
}

static void sqlite_prepare(Worker *w)
{
    static char *const argv[] = {
        "/usr/bin/sqlite3", "-batch", "-bail", "/tmp/bench.db", NULL
    };
    char sql[512];
    int to[2], from[2];

    mkdir("/tmp", 0777);
    if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC)) {
        give_up("no pipes for sqlite3");
    }
    start(argv, to[0], from[1]);
    w->pipe_fd[0] = from[0];
    w->pipe_fd[1] = to[1];
    close(to[0]);
    close(from[1]);
    snprintf(sql, sizeof(sql),
             "CREATE TABLE t(k INTEGER PRIMARY KEY, v BLOB);"
             "CREATE TABLE g(i);"
             "WITH RECURSIVE c(i) AS (VALUES(0) UNION ALL SELECT i + 1 FROM "
             "c WHERE i < %llu) INSERT INTO t SELECT i, randomblob(%d) FROM "
             "c; INSERT INTO g SELECT k FROM t LIMIT %d;",
             (unsigned long long)w->load.amount * 1000000 / SQLITE_ROW_BYTES,
             SQLITE_ROW_BYTES, SQLITE_BATCH);
    sqlite_do(w, sql);
}

/* A unit is a row put in, a transaction has some */
static void run_sqlite(Worker *w)
{
    char sql[256];

    snprintf(sql, sizeof(sql),
             "INSERT OR REPLACE INTO t SELECT abs(random()) %% %llu, "
             "randomblob(%d) FROM g;",
             (unsigned long long)w->load.amount * 1000000 / SQLITE_ROW_BYTES,
             SQLITE_ROW_BYTES);
    for (;;) {
        sqlite_do(w, sql);
        did(w, SQLITE_BATCH);
        look(w);
    }
}

static void compile_prepare(Worker *w)
{
    FILE *source;

    mkdir("/tmp", 0777);
    source = fopen(COMPILE_SOURCE, "we");
    for (int i = 0; source && i < COMPILE_FUNCTIONS; i++) {
        fprintf(source, "struct s%d { int a, b[%d]; struct s%d *next; };\n"
                "static const char name%d[] = \"unit %d\";\n"
                "int f%d(struct s%d *s, int n)\n{\n    int i, sum = %d;\n\n"
                "    for (i = 0; s && i < n; i++, s = s->next) {\n"
                "        switch (s->a) {\n"
                "        case 1: sum += s->b[i %% %d]; break;\n"
                "        case 2: sum ^= name%d[i & 3]; break;\n"
                "        default: sum -= i * %d;\n        }\n    }\n"
                "    return sum;\n}\n", i, i + 1, i, i, i, i, i, i * 7, i + 1,
                i, i + 3);
    }
    if (!source || fclose(source)) {
        give_up("%s cannot be written", COMPILE_SOURCE);
    }
    (void)w;
}

/* A unit is an object file made; as many as asked for lie about */
static void run_compile(Worker *w)
{
    char object[64];
    char *const argv[] = {
        "/usr/bin/tcc", "-g", "-nostdinc", "-c", COMPILE_SOURCE, "-o",
        object, NULL
    };

    for (unsigned i = 0; ; i = (i + 1) % w->load.amount) {
        int status = -1;
        pid_t pid;

        snprintf(object, sizeof(object), "/tmp/unit-%u-%u.o", w->vcpu, i);
        pid = start(argv, -1, -1);
        waitpid(pid, &status, 0);
        if (status) {
            give_up("tcc ended with status %d", status);
        }
        did(w, 1);
        look(w);
    }
}

/* Page faults of a process so far; 0 if there is none of that number */
static uint64_t faults_of(pid_t pid)
{
    char path[32], stat[512] = "";
    unsigned long long faults = 0;
    char *at;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, stat, sizeof(stat) - 1) > 0 && (at = strrchr(stat, ')'))) {
            sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %llu", &faults);
        }
        close(fd);
    }
    return faults;
}

/*
 * stress-ng tells its "bogo ops" at its end only.  One of its vm stressor
 * maps, writes and unmaps the memory once, so that its page faults, which
 * can be seen as it runs, go with them: they are the units.
 */
static void run_stress(Worker *w)
{
    char size[32];
    char *const argv[] = {
        "/usr/bin/stress-ng", "--vm", "1", "--vm-bytes", size, "--vm-method",
        "write64", "--temp-path", "/tmp", "--quiet", NULL
    };
    uint64_t seen[8] = { 0 };
    pid_t first;

    snprintf(size, sizeof(size), "%lluM", (unsigned long long)w->load.amount);
    mkdir("/tmp", 0777);
    first = start(argv, -1, -1);
    for (;;) {
        /* It is the first of a few processes that fork one another */
        for (int i = 0; i < 8; i++) {
            uint64_t faults = faults_of(first + i);

            did(w, faults > seen[i] ? faults - seen[i] : 0);
            seen[i] = faults;
        }
        nap_until(w, now_ns() + STRESS_LOOK_NS);
    }
}

bool load_prepare_program(Worker *w)
{
    switch (w->load.work) {
    case LOAD_REDIS:
        redis_prepare(w);
        return true;
    case LOAD_SQLITE:
        sqlite_prepare(w);
        return true;
    case LOAD_COMPILE:
        compile_prepare(w);
        return true;
    default:
        return w->load.work > LOAD_PROGRAM;
    }
}

void load_run_program(Worker *w)
{
    switch (w->load.work) {
    case LOAD_REDIS_LOAD:
        run_redis_load(w);
        break;
    case LOAD_SQLITE:
        run_sqlite(w);
        break;
    case LOAD_COMPILE:
        run_compile(w);
        break;
    case LOAD_STRESS:
        run_stress(w);
        break;
    default:                    /* redis: its server runs by itself */
        break;
    }
}
