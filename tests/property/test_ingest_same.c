/*
 * Whatever the number of workers and slots, wherever the planner flushes, and whichever workers are killed from
 * outside, the same tasks give the same results, byte for byte.
 */
#include "ingest/ingest.h"
#include "ingest/ingest_private.h"
#include "test_support.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

enum { FILES = 150, TASKS = 1200, TRIALS = 10 };

/* Dies on marked items; else the real parser, with an inflated record on others. */
static void parse(struct mime_parser *p, struct bytes item, struct mime_record *out)
{
    static uint8_t big[2000000];
    static const char mark[] = "X-Test: ";
    char act = item.n > sizeof mark && memcmp(item.p, mark, sizeof mark - 1) == 0 ? (char)item.p[sizeof mark - 1] : 0;
    if (act == 'a') {
        signal(SIGABRT, SIG_DFL);
        kill(getpid(), SIGABRT);
    }
    mime_parse(p, item, out);
    if (act == 'r')
        out->headers = bytes_of(big, (item.n * 7919) % sizeof big);
}

struct trial {
    struct ingest *ing;
    uint64_t seed;
    bool is_plain;
};

static const char *name_of(uint32_t file)
{
    static _Thread_local char name[16];
    snprintf(name, sizeof name, "%u.eml", file);
    return name;
}

static void *plan(void *arg)
{
    const struct trial *t = arg;
    struct rng order = rng_of(4711), rng = rng_of(t->seed);
    for (uint32_t i = 0; i < TASKS; i++) {
        uint32_t file = (uint32_t)rng_below(&order, FILES + 5); /* some do not exist */
        struct ingest_task task = {.locator.name = bytes_str(name_of(file)), .tag = bytes_of(&i, sizeof i)};
        if (ingest_submit(t->ing, &task, NULL) != BASE_OK)
            break;
        if (!t->is_plain && rng_once_in(&rng, 20))
            ingest_flush(t->ing, NULL);
    }
    ingest_close(t->ing);
    return NULL;
}

static void put_result(struct buf *b, const struct ingest_result *r)
{
    buf_put_u8(b, r->status);
    buf_put_blob(b, r->tag);
    buf_put_blob(b, r->locator.name);
    if (r->status == INGEST_FAILED) {
        buf_put_zigzag(b, r->reason.code);
        buf_append_str(b, r->reason.text);
        return;
    }
    buf_append(b, r->hash.b, sizeof r->hash.b);
    buf_put_u64(b, r->size);
    buf_put_zigzag(b, r->internal_date);
    buf_put_zigzag(b, r->internal_zone);
    mime_record_encode(&r->record, b);
}

static struct hash128 digest_of(struct vault *vault, uint64_t seed, bool is_plain)
{
    struct rng rng = rng_of(seed ^ 99);
    struct trial t = {.seed = seed, .is_plain = is_plain};
    struct ingest_settings s = {.workers = is_plain ? 1 : 1 + (unsigned)rng_below(&rng, 5),
                                .slots = is_plain ? 0 : (uint32_t)rng_below(&rng, 20),
                                .vaults = &vault,
                                .vaults_n = 1,
                                .parse = parse};
    struct hash128_state *state = hash128_new();
    struct buf b = {0};
    struct error err = {0};
    struct ingest_result r;
    pthread_t thread;
    int rc;
    cr_assert_eq(ingest_open(&s, &t.ing, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(pthread_create(&thread, NULL, plan, &t), 0);
    while ((rc = ingest_next(t.ing, &r, &err)) == INGEST_MORE) {
        buf_reset(&b);
        put_result(&b, &r);
        hash128_update(state, buf_bytes(&b));
        pid_t victim =
            is_plain || !rng_once_in(&rng, 100) ? 0 : ingest_worker_pid(t.ing, (uint32_t)rng_below(&rng, s.workers));
        if (victim > 0)
            kill(victim, SIGKILL);
    }
    cr_assert_eq(rc, INGEST_DONE, "%s", err.text);
    pthread_join(thread, NULL);
    ingest_free(&t.ing);
    struct hash128 digest = hash128_digest(state);
    hash128_free(&state);
    buf_release(&b);
    return digest;
}

Test(ingest_same, any_workers_slots_flushes_and_kills_give_the_same_results, .timeout = 500)
{
    struct rng rng = rng_start("ingest_same");
    const char *dir = TEMP_DIR();
    struct vault_spec spec = {0};
    struct vault *vault = NULL;
    for (uint32_t i = 0; i < FILES; i++) {
        const char *head = i % 31 == 5 ? "X-Test: abort\n" : i % 9 == 2 ? "X-Test: record\n" : "";
        const char *text = textf(
            "%sFrom: a%u@example.org\nReceived: x; Tue, 2 Jan 2024 03:04:%02u +0100\nSubject: =?utf-8?q?%u?=\n\n%*s\n",
            head, i, i % 60, i, (int)rng_below(&rng, 3000) + 1, "body");
        write_text(path_join(dir, name_of(i)), text);
        set_mtime(path_join(dir, name_of(i)), 1600000000);
    }
    cr_assert_eq(vault_spec_parse(textf("eml-tree:%s", dir), &spec, NULL), BASE_OK);
    cr_assert_eq(vault_open(&spec, &vault, NULL), BASE_OK);
    struct hash128 plain = digest_of(vault, 0, true);
    for (int trial = 0; trial < TRIALS; trial++) {
        struct hash128 other = digest_of(vault, rng_u64(&rng), false);
        cr_expect_eq(hash128_compare(&plain, &other), 0, "trial %d differs", trial);
    }
    vault_close(&vault);
    vault_spec_release(&spec);
}
