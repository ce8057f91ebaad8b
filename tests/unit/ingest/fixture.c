#include "fixture.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

const char *test_shrink_path;

struct mini_vault mini_vault_at(const char *dir)
{
    struct mini_vault v = {.dir = dir};
    struct vault_spec spec = {0};
    struct error err = {0};
    cr_assert_eq(vault_spec_parse(textf("eml-tree:%s", dir), &spec, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(vault_open(&spec, &v.vault, &err), BASE_OK, "%s", err.text);
    vault_spec_release(&spec);
    return v;
}

const char *item_name(uint32_t i)
{
    static _Thread_local char name[32];
    snprintf(name, sizeof name, "%06u.eml", i);
    return name;
}

void put_item(const struct mini_vault *v, uint32_t i, const char *header, size_t body_bytes)
{
    struct buf b = {0};
    char path[512];
    buf_printf(&b, "%sFrom: a@example.org\nSubject: item %u\n\n", header, i);
    for (size_t n = 0; n < body_bytes; n++)
        buf_append_byte(&b, n % 64 == 63 ? '\n' : (uint8_t)('a' + (n + i) % 26));
    snprintf(path, sizeof path, "%s/%s", v->dir, item_name(i));
    write_file(path, buf_bytes(&b));
    buf_release(&b);
}

/* What dies on purpose must not leave a sanitizer's report in the test's output, nor take the time to write one. */
static void be_quiet(void)
{
    signal(SIGSEGV, SIG_DFL);
    int null = open("/dev/null", O_WRONLY);
    dup2(null, STDERR_FILENO);
}

/* Overruns the stack: the end it has in theory is out of reach. */
__attribute__((noinline)) static int descend(volatile const char *above, uint64_t left)
{
    volatile char here[4096];
    here[0] = above ? above[0] : 1;
    return left == 0 ? 0 : descend(here, left - 1) + here[0];
}

/* The first shared anonymous mapping with these permissions and at least so many bytes. */
static uint8_t *find_mapping(const char *permissions, size_t bytes)
{
    char line[512];
    FILE *f = fopen("/proc/self/maps", "r");
    uint8_t *found = NULL;
    while (f && !found && fgets(line, sizeof line, f)) {
        unsigned long from, to;
        char perms[8];
        if (sscanf(line, "%lx-%lx %7s", &from, &to, perms) == 3 && strcmp(perms, permissions) == 0 &&
            strstr(line, "mds-ingest") && to - from >= bytes)
            found = (uint8_t *)from; // NOLINT(performance-no-int-to-ptr)
    }
    if (f)
        fclose(f);
    return found;
}

static void eat_memory(void)
{
    for (;;) {
        void *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            abort(); /* as GLib's allocator does */
    }
}

static void make_big_record(size_t n, struct mime_record *out)
{
    static char *big;
    free(big);
    big = malloc(n);
    memset(big, 'h', n);
    out->headers = bytes_of(big, n);
}

__attribute__((no_sanitize("address", "undefined"))) static void write_at(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((volatile uint8_t *)p)[i] = 0xa5;
}

static void sleep_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static void misbehave(const char *how)
{
    volatile uintptr_t nowhere = 16;
    be_quiet();
    if (strncmp(how, "abort", 5) == 0)
        abort();
    else if (strncmp(how, "segv", 4) == 0)
        write_at((uint8_t *)nowhere, 1); // NOLINT(performance-no-int-to-ptr)
    else if (strncmp(how, "stack", 5) == 0)
        descend(NULL, UINT64_MAX);
    else if (strncmp(how, "exit", 4) == 0)
        _exit(0);
    else if (strncmp(how, "memory", 6) == 0)
        eat_memory();
    else if (strncmp(how, "loop", 4) == 0)
        for (volatile int on = 1; on;)
            ;
    else if (strncmp(how, "wild", 4) == 0)
        write_at(find_mapping("r--s", 4096), 64);
}

void test_parse(struct mime_parser *p, struct bytes item, struct mime_record *out)
{
    static const char mark[] = "X-Test: ";
    char how[64] = "";
    if (item.n >= sizeof mark - 1 && memcmp(item.p, mark, sizeof mark - 1) == 0) {
        struct bytes rest = bytes_slice(item, sizeof mark - 1, sizeof how - 1);
        memcpy(how, rest.p, rest.n);
        misbehave(how);
    }
    mime_parse(p, item, out);
    if (strncmp(how, "record ", 7) == 0)
        make_big_record(strtoull(how + 7, NULL, 10), out);
    if (strncmp(how, "closed ", 7) == 0)
        out->preview = fcntl(atoi(how + 7), F_GETFD) < 0 ? BYTES_LIT("closed") : BYTES_LIT("open");
    if (strncmp(how, "leak", 4) == 0) {
        static void *leaked;
        leaked = malloc(8 << 20);
        memset(leaked, 1, 8 << 20);
    }
    if (strncmp(how, "slow", 4) == 0)
        sleep_ms(30);
    if (strncmp(how, "scribble", 8) == 0) { /* the results of the items before it in the batch */
        size_t n;
        uint8_t *unsent = ingest_worker_unsent(&n);
        write_at(unsent, n); /* none, when it comes again and alone */
    }
    if (strncmp(how, "shrink", 6) == 0) {
        be_quiet();
        cr_assert_eq(truncate(test_shrink_path, 4096), 0);
        out->defects += item.p[item.n - 1];
    }
    if (strncmp(how, "dates", 5) == 0) {
        out->has_received_date = out->has_sent_date = true;
        out->received_date = 1000;
        out->received_zone = 60;
        out->sent_date = 2000;
        out->sent_zone = 120;
    }
    if (strncmp(how, "sent", 4) == 0) {
        out->has_sent_date = true;
        out->sent_date = 2000;
        out->sent_zone = 120;
    }
}

struct kept keep_result(const struct ingest_result *r)
{
    struct kept k = {
        .status = r->status, .size = r->size, .hash = r->hash, .date = r->internal_date, .zone = r->internal_zone};
    if (r->tag.n == sizeof k.index)
        memcpy(&k.index, r->tag.p, sizeof k.index);
    if (r->status == INGEST_PARSED) {
        k.defects = r->record.defects;
        k.headers_n = r->record.headers.n;
        struct bytes preview = bytes_slice(r->record.preview, 0, sizeof k.preview - 1);
        if (preview.n)
            memcpy(k.preview, preview.p, preview.n);
    }
    if (r->status == INGEST_FAILED)
        k.reason = r->reason;
    k.names_match = r->vault == 0 && bytes_equal(r->locator.name, bytes_str(item_name(k.index)));
    return k;
}

struct planner {
    struct ingest *ing;
    struct run *run;
};

static void *plan(void *arg)
{
    const struct planner *p = arg;
    struct run *run = p->run;
    for (uint32_t i = 0; i < run->n; i++) {
        uint32_t pass = i | PASS_BIT;
        if (run->pass_every && i % run->pass_every == 0 &&
            ingest_pass(p->ing, bytes_of(&pass, sizeof pass), NULL) != BASE_OK)
            break;
        struct ingest_task t = {.locator.name = bytes_str(item_name(i)), .tag = bytes_of(&i, sizeof i)};
        if (run->with_task)
            run->with_task(i, &t);
        run->submit_rc = ingest_submit(p->ing, &t, NULL);
        if (run->submit_rc != BASE_OK)
            break;
    }
    ingest_close(p->ing);
    return NULL;
}

void run_pipeline(const struct mini_vault *v, struct run *run)
{
    struct planner planner = {.run = run};
    struct ingest_result r;
    pthread_t thread;
    run->settings.vaults = &v->vault;
    run->settings.vaults_n = 1;
    if (!run->settings.parse)
        run->settings.parse = test_parse;
    cr_assert_eq(ingest_open(&run->settings, &planner.ing, &run->err), BASE_OK, "%s", run->err.text);
    run->kept = calloc(2 * (size_t)run->n + 1, sizeof *run->kept);
    cr_assert_eq(pthread_create(&thread, NULL, plan, &planner), 0);
    while ((run->rc = ingest_next(planner.ing, &r, &run->err)) == INGEST_MORE) {
        struct kept *k = &run->kept[run->kept_n++];
        *k = keep_result(&r);
        if (run->on_result)
            run->on_result(planner.ing, k);
    }
    if (run->rc != INGEST_DONE)
        ingest_cancel(planner.ing);
    pthread_join(thread, NULL);
    ingest_get_stats(planner.ing, &run->stats);
    ingest_free(&planner.ing);
    cr_assert_null(planner.ing);
}

void run_release(struct run *run)
{
    free(run->kept);
    run->kept = NULL;
}

int64_t first_odd(const struct run *run)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < run->n; i++) {
        if (run->pass_every && i % run->pass_every == 0) {
            const struct kept *k = &run->kept[at];
            if (at >= run->kept_n || k->status != INGEST_PASSED || k->index != (i | PASS_BIT))
                return at;
            at++;
        }
        const struct kept *k = &run->kept[at];
        if (at >= run->kept_n || k->status != INGEST_PARSED || k->index != i || !k->names_match)
            return at;
        at++;
    }
    return at == run->kept_n ? -1 : (int64_t)at;
}

uint32_t count_fds(void)
{
    uint32_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}
