/* Order, hand-over and results of a pipeline whose parser behaves. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct mini_vault vault_of(uint32_t n, size_t max_body)
{
    struct rng rng = rng_of(n);
    struct mini_vault v = mini_vault_at(TEMP_DIR());
    for (uint32_t i = 0; i < n; i++)
        put_item(&v, i, "", rng_below(&rng, max_body));
    return v;
}

Test(pipeline, results_come_in_order_of_submission_for_1_to_8_workers)
{
    struct mini_vault v = vault_of(700, 3000);
    for (unsigned workers = 1; workers <= 8; workers++) {
        struct run run = {.settings = {.workers = workers, .slots = workers % 3 ? 0 : workers / 3},
                          .n = 700,
                          .pass_every = workers % 2 ? 13 : 0};
        run_pipeline(&v, &run);
        cr_expect_eq(run.rc, INGEST_DONE, "%u workers: %s", workers, run.err.text);
        cr_expect_eq(first_odd(&run), -1, "%u workers: odd result at %lld", workers, (long long)first_odd(&run));
        cr_expect_eq(run.stats.delivered, 700, "%u workers", workers);
        cr_expect_eq(run.stats.parsed, 700, "%u workers", workers);
        cr_expect_eq(run.stats.crashed + run.stats.hung + run.stats.failed, 0, "%u workers", workers);
        cr_expect_eq(run.stats.workers, workers);
        run_release(&run);
    }
    vault_close(&v.vault);
}

Test(pipeline, hash_size_and_record_are_those_of_the_bytes)
{
    struct mini_vault v = vault_of(100, 200000);
    struct run run = {.settings = {.workers = 2}, .n = 100};
    run_pipeline(&v, &run);
    cr_assert_eq(first_odd(&run), -1);
    uint64_t total = 0;
    for (uint32_t i = 0; i < 100; i++) {
        struct bytes item = read_file(path_join(v.dir, item_name(i)));
        struct hash128 hash = hash128_of(item);
        cr_expect_eq(run.kept[i].size, item.n, "item %u", i);
        cr_expect_eq(hash128_compare(&run.kept[i].hash, &hash), 0, "item %u", i);
        total += item.n;
    }
    cr_expect_eq(run.stats.bytes, total);
    run_release(&run);
    vault_close(&v.vault);
}

Test(pipeline, an_empty_run_and_one_of_passes_only_end)
{
    struct mini_vault v = vault_of(1, 10);
    struct run none = {.settings = {.workers = 1}};
    run_pipeline(&v, &none);
    cr_expect_eq(none.rc, INGEST_DONE);
    cr_expect_eq(none.kept_n, 0);
    run_release(&none);

    struct ingest_settings s = {.workers = 2, .vaults = &v.vault, .vaults_n = 1};
    struct ingest *ing = NULL;
    struct ingest_result r;
    cr_assert_eq(ingest_open(&s, &ing, NULL), BASE_OK);
    for (uint32_t i = 0; i < 200; i++)
        cr_assert_eq(ingest_pass(ing, bytes_of(&i, sizeof i), NULL), BASE_OK);
    ingest_close(ing);
    for (uint32_t i = 0; i < 200; i++) {
        cr_assert_eq(ingest_next(ing, &r, NULL), INGEST_MORE, "pass %u", i);
        cr_expect(r.status == INGEST_PASSED && bytes_equal(r.tag, bytes_of(&i, sizeof i)), "pass %u", i);
    }
    cr_expect_eq(ingest_next(ing, &r, NULL), INGEST_DONE);
    cr_expect_eq(ingest_next(ing, &r, NULL), INGEST_DONE);
    ingest_free(&ing);
    vault_close(&v.vault);
}

Test(pipeline, a_flush_makes_one_item_come_back_before_the_close)
{
    struct mini_vault v = vault_of(1, 10);
    struct ingest_settings s = {.workers = 1, .vaults = &v.vault, .vaults_n = 1};
    struct ingest *ing = NULL;
    struct ingest_result r;
    cr_assert_eq(ingest_open(&s, &ing, NULL), BASE_OK);
    struct ingest_task t = {.locator.name = bytes_str(item_name(0)), .tag = BYTES_LIT("tag")};
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(ingest_submit(ing, &t, NULL), BASE_OK);
        cr_assert_eq(ingest_flush(ing, NULL), BASE_OK);
        cr_assert_eq(ingest_flush(ing, NULL), BASE_OK);
        cr_assert_eq(ingest_next(ing, &r, NULL), INGEST_MORE);
        cr_expect(bytes_equal(r.tag, BYTES_LIT("tag")));
    }
    ingest_free(&ing);
    vault_close(&v.vault);
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

Test(pipeline, ready_waits_no_longer_than_told_and_misses_nothing)
{
    static const char *const headers[] = {"", "X-Test: slow\n", "X-Test: record 700000\n", "X-Test: record 2000000\n"};
    enum { N = 160 };
    struct mini_vault v = mini_vault_at(TEMP_DIR());
    for (uint32_t i = 0; i < N; i++)
        put_item(&v, i, headers[i % 37 < 4 ? i % 37 : 0], 100);
    struct ingest_settings s = {.workers = 2, .vaults = &v.vault, .vaults_n = 1, .parse = test_parse};
    struct ingest *ing = NULL;
    struct ingest_result r;
    cr_assert_eq(ingest_open(&s, &ing, NULL), BASE_OK);
    uint64_t before = now_ms();
    cr_expect_eq(ingest_ready(ing, 50, NULL), 0, "nothing was submitted");
    uint64_t took = now_ms() - before;
    cr_expect(took >= 49, "%llu ms", (unsigned long long)took);
    for (uint32_t i = 0; i < N; i++) {
        struct ingest_task t = {.locator.name = bytes_str(item_name(i)), .tag = bytes_of(&i, sizeof i)};
        cr_assert_eq(ingest_submit(ing, &t, NULL), BASE_OK);
        if (i % 50 == 0)
            cr_assert_eq(ingest_pass(ing, bytes_of(&i, sizeof i), NULL), BASE_OK);
    }
    ingest_close(ing);
    uint32_t not_yet = 0;
    for (uint32_t i = 0, passed = 0; i < N;) {
        int rc;
        while ((rc = ingest_ready(ing, 5, NULL)) == 0)
            not_yet++;
        cr_assert_eq(rc, 1);
        cr_assert_eq(ingest_next(ing, &r, NULL), INGEST_MORE);
        if (r.status == INGEST_PASSED) {
            passed++;
            continue;
        }
        cr_assert_eq(r.status, INGEST_PARSED, "item %u", i);
        cr_assert_eq(keep_result(&r).index, i, "after %u passes", passed);
        i++;
    }
    cr_expect_gt(not_yet, 0, "slow items were ready at once");
    cr_expect_eq(ingest_ready(ing, 5, NULL), 1, "the end is ready");
    cr_expect_eq(ingest_next(ing, &r, NULL), INGEST_DONE);
    ingest_cancel(ing);
    cr_expect_eq(ingest_ready(ing, 5, NULL), BASE_ERR_CANCELLED);
    ingest_free(&ing);
    vault_close(&v.vault);
}

Test(pipeline, tags_and_names_at_their_limits)
{
    enum { N = 40 };
    static uint8_t tag[INGEST_TAG_MAX + 1];
    static char name[VAULT_NAME_MAX + 2];
    struct mini_vault v = vault_of(1, 10);
    struct ingest_settings s = {.workers = 2, .vaults = &v.vault, .vaults_n = 1};
    struct ingest *ing = NULL;
    struct ingest_result r;
    struct error err = {0};
    cr_assert_eq(ingest_open(&s, &ing, NULL), BASE_OK);
    memset(name, 'n', sizeof name);
    struct ingest_task t = {
        .locator = {.container = bytes_of(name, VAULT_NAME_MAX), .name = bytes_of(name, VAULT_NAME_MAX)},
        .tag = bytes_of(tag, INGEST_TAG_MAX)};
    for (uint8_t i = 0; i < N; i++) {
        memset(tag, i, sizeof tag);
        cr_assert_eq(ingest_submit(ing, &t, &err), BASE_OK, "%s", err.text);
    }
    struct ingest_task bad = t;
    bad.tag.n++;
    cr_expect_eq(ingest_submit(ing, &bad, NULL), BASE_ERR_LIMIT);
    bad = t;
    bad.locator.name.n++;
    cr_expect_eq(ingest_submit(ing, &bad, NULL), BASE_ERR_LIMIT);
    bad = t;
    bad.locator.container.n++;
    cr_expect_eq(ingest_submit(ing, &bad, NULL), BASE_ERR_LIMIT);
    bad = t;
    bad.vault = 1;
    cr_expect_eq(ingest_submit(ing, &bad, NULL), BASE_ERR_USAGE);
    cr_expect_eq(ingest_pass(ing, bytes_of(tag, sizeof tag), NULL), BASE_ERR_LIMIT);
    ingest_close(ing);
    for (uint8_t i = 0; i < N; i++) {
        memset(tag, i, sizeof tag);
        cr_assert_eq(ingest_next(ing, &r, NULL), INGEST_MORE);
        cr_expect_eq(r.status, INGEST_FAILED, "such a file cannot be there");
        cr_expect(bytes_equal(r.tag, bytes_of(tag, INGEST_TAG_MAX)), "tag %u", i);
        cr_expect(bytes_equal(r.locator.name, t.locator.name));
    }
    cr_expect_eq(ingest_next(ing, &r, NULL), INGEST_DONE);
    ingest_free(&ing);
    vault_close(&v.vault);
}

Test(pipeline, items_that_cannot_be_read_fail_with_a_reason)
{
    struct mini_vault v = vault_of(200, 500);
    remove(path_join(v.dir, item_name(3)));
    remove(path_join(v.dir, item_name(77)));
    mkpath(path_join(v.dir, item_name(77)));
    remove(path_join(v.dir, item_name(150)));
    cr_assert_eq(symlink("/etc/passwd", path_join(v.dir, item_name(150))), 0);
    remove(path_join(v.dir, item_name(199)));
    cr_assert_eq(mkfifo(path_join(v.dir, item_name(199)), 0600), 0);
    struct run run = {.settings = {.workers = 2}, .n = 200};
    run_pipeline(&v, &run);
    cr_assert_eq(run.rc, INGEST_DONE);
    cr_assert_eq(run.kept_n, 200);
    for (uint32_t i = 0; i < 200; i++) {
        bool is_bad = i == 3 || i == 77 || i == 150 || i == 199;
        cr_expect_eq(run.kept[i].status, is_bad ? INGEST_FAILED : INGEST_PARSED, "item %u", i);
        cr_expect_eq(run.kept[i].index, i);
        if (is_bad) {
            cr_expect_lt((int)run.kept[i].reason.code, 0, "item %u", i);
            cr_expect_gt(strlen(run.kept[i].reason.text), 0, "item %u", i);
        }
    }
    cr_expect_eq(run.kept[3].reason.code, BASE_ERR_GONE, "%s", run.kept[3].reason.text);
    cr_expect_eq(run.stats.failed, 4);
    run_release(&run);
    vault_close(&v.vault);
}

static void with_dates(uint32_t i, struct ingest_task *t)
{
    t->has_date = i % 5 == 1;
    t->date = 1234567890;
    t->date_from_file = i % 5 == 2;
}

Test(pipeline, internal_date_is_file_time_or_from_line_or_received_or_sent_or_file_time)
{
    static const struct {
        const char *header;
        int64_t date;
        int16_t zone;
    } rows[] = {
        {"X-Test: dates\n", 1000, 60},
        {"X-Test: dates\n", 1234567890, 0},
        {"X-Test: dates\n", 777777777, 0},
        {"X-Test: sent\n", 2000, 120},
        {"", 777777777, 0},
    };
    enum { N = sizeof rows / sizeof rows[0] };
    struct mini_vault v = mini_vault_at(TEMP_DIR());
    for (uint32_t i = 0; i < N; i++) {
        put_item(&v, i, rows[i].header, 10);
        set_mtime(path_join(v.dir, item_name(i)), 777777777);
    }
    struct run run = {.settings = {.workers = 1}, .n = N, .with_task = with_dates};
    run_pipeline(&v, &run);
    cr_assert_eq(run.kept_n, N);
    for (uint32_t i = 0; i < N; i++) {
        cr_expect_eq(run.kept[i].date, rows[i].date, "row %u: %lld", i, (long long)run.kept[i].date);
        cr_expect_eq(run.kept[i].zone, rows[i].zone, "row %u: %d", i, run.kept[i].zone);
    }
    run_release(&run);

    /* Known items keep to the same rule though they are not parsed. */
    struct run known = {.settings = {.workers = 1}, .n = N, .with_task = with_dates};
    struct ingest_known *k = NULL;
    cr_assert_eq(ingest_known_new(TEMP_DIR(), &k, NULL), BASE_OK);
    for (uint32_t i = 0; i < N; i++) {
        struct hash128 h = hash128_of(read_file(path_join(v.dir, item_name(i))));
        cr_assert_eq(ingest_known_add(k, &h, i, NULL), BASE_OK);
    }
    known.settings.known = k;
    run_pipeline(&v, &known);
    cr_assert_eq(known.kept_n, N);
    for (uint32_t i = 0; i < N; i++) {
        cr_expect_eq(known.kept[i].status, INGEST_KNOWN, "row %u", i);
        cr_expect_eq(known.kept[i].date, rows[i].date, "known row %u: %lld", i, (long long)known.kept[i].date);
        cr_expect_eq(known.kept[i].zone, rows[i].zone, "known row %u: %d", i, known.kept[i].zone);
    }
    run_release(&known);
    ingest_known_free(&k);
    vault_close(&v.vault);
}

Test(pipeline, a_file_time_before_1970_is_rounded_down)
{
    struct mini_vault v = vault_of(1, 10);
    struct timespec times[2] = {{.tv_sec = -2, .tv_nsec = 500000000}, {.tv_sec = -2, .tv_nsec = 500000000}};
    cr_assert_eq(utimensat(AT_FDCWD, path_join(v.dir, item_name(0)), times, 0), 0);
    struct run run = {.settings = {.workers = 1}, .n = 1};
    run_pipeline(&v, &run);
    cr_assert_eq(run.kept_n, 1);
    cr_expect_eq(run.kept[0].date, -2, "%lld", (long long)run.kept[0].date);
    run_release(&run);
    vault_close(&v.vault);
}

static void force_tenth(uint32_t i, struct ingest_task *t)
{
    t->force_parse = i % 10 == 0;
}

static void redo_fifth(struct ingest *ing, const struct kept *k)
{
    struct ingest_result r;
    struct error err = {0};
    if (k->index == 45) {
        cr_assert_eq(k->status, INGEST_KNOWN);
        cr_expect_eq(ingest_redo(ing, &r, &err), INGEST_MORE, "%s", err.text);
        cr_expect_eq(r.status, INGEST_PARSED);
        cr_expect_eq(ingest_redo(ing, &r, NULL), BASE_ERR_USAGE, "once is enough");
    } else if (k->status == INGEST_KNOWN && k->index % 5 == 1) {
        cr_assert_eq(ingest_redo(ing, &r, &err), INGEST_MORE, "%s", err.text);
        struct kept again = keep_result(&r);
        cr_expect_eq(again.status, INGEST_PARSED);
        cr_expect_eq(again.index, k->index);
        cr_expect(again.names_match);
        cr_expect_eq(again.size, k->size);
        cr_expect_eq(hash128_compare(&again.hash, &k->hash), 0);
    } else if (k->status == INGEST_PARSED) {
        cr_expect_eq(ingest_redo(ing, &r, NULL), BASE_ERR_USAGE, "item %u was parsed", k->index);
    }
}

Test(pipeline, known_hashes_are_not_parsed_unless_forced_or_redone)
{
    enum { N = 300 };
    struct mini_vault v = vault_of(N, 500);
    struct ingest_known *k = NULL;
    cr_assert_eq(ingest_known_new(TEMP_DIR(), &k, NULL), BASE_OK);
    for (uint32_t i = 0; i < N; i++)
        if (i % 3 == 0) {
            struct hash128 h = hash128_of(read_file(path_join(v.dir, item_name(i))));
            cr_assert_eq(ingest_known_add(k, &h, i, NULL), BASE_OK);
        }
    struct run run = {
        .settings = {.workers = 2, .known = k}, .n = N, .with_task = force_tenth, .on_result = redo_fifth};
    run_pipeline(&v, &run);
    cr_assert_eq(run.kept_n, N);
    for (uint32_t i = 0; i < N; i++)
        cr_expect_eq(run.kept[i].status, i % 3 == 0 && i % 10 ? INGEST_KNOWN : INGEST_PARSED, "item %u", i);
    run_release(&run);
    ingest_known_free(&k);
    vault_close(&v.vault);
}

/* Files what it is given, as the indexer does: copies come back as known. */
static struct ingest_known *filed;

static void file_result(struct ingest *ing, const struct kept *k)
{
    struct ingest_result r;
    bool is_filed = ingest_known_has(filed, &k->hash);
    if (k->status == INGEST_KNOWN && !is_filed)
        cr_assert_eq(ingest_redo(ing, &r, NULL), INGEST_MORE);
    if (!is_filed)
        cr_assert_eq(ingest_known_add(filed, &k->hash, k->index, NULL), BASE_OK);
}

static void same_name(uint32_t i, struct ingest_task *t)
{
    (void)i;
    t->locator.name = BYTES_LIT("000000.eml");
}

static void pairs(uint32_t i, struct ingest_task *t)
{
    t->locator.name = bytes_str(item_name(i / 2));
}

Test(pipeline, equal_items_in_flight_together_are_parsed_once)
{
    enum { N = 5000 };
    struct mini_vault v = vault_of(N / 2, 500);
    for (unsigned workers = 1; workers <= 4; workers++) {
        cr_assert_eq(ingest_known_new(TEMP_DIR(), &filed, NULL), BASE_OK);
        struct run run = {
            .settings = {.workers = workers, .known = filed}, .n = N, .with_task = same_name, .on_result = file_result};
        run_pipeline(&v, &run);
        cr_expect_eq(run.rc, INGEST_DONE, "%s", run.err.text);
        cr_expect_eq(run.kept_n, N);
        cr_expect_leq(run.stats.parsed, 1 + workers, "%u workers parsed %llu", workers,
                      (unsigned long long)run.stats.parsed);
        run_release(&run);
        ingest_known_free(&filed);

        cr_assert_eq(ingest_known_new(TEMP_DIR(), &filed, NULL), BASE_OK);
        run = (struct run){
            .settings = {.workers = workers, .known = filed}, .n = N, .with_task = pairs, .on_result = file_result};
        run_pipeline(&v, &run);
        cr_expect_eq(ingest_known_count(filed), N / 2);
        cr_expect_leq(run.stats.parsed, N / 2 + N / INGEST_BATCH_ITEMS, "%u workers parsed %llu", workers,
                      (unsigned long long)run.stats.parsed);
        run_release(&run);
        ingest_known_free(&filed);
    }
    vault_close(&v.vault);
}

Test(claims, the_smallest_number_in_flight_parses)
{
    struct region r;
    struct hash128 a = hash128_of(BYTES_LIT("a")), b = hash128_of(BYTES_LIT("b"));
    cr_assert_eq(ingest_region_new(3, 1, &r, NULL), BASE_OK);
    const uint64_t first = UINT64_C(1) << 26, base = first * INGEST_BATCH_ITEMS; /* past what a cell counts to */
    for (uint64_t turn = first; turn < first + 3; turn++) {
        atomic_store(&r.slot[turn % 3].seq, turn + 1);
        atomic_store(&r.slot[turn % 3].state, SLOT_QUEUED);
    }
    cr_expect(ingest_claim(&r, &a, base + 70));
    cr_expect(ingest_claim(&r, &a, base + 70), "again");
    cr_expect_not(ingest_claim(&r, &a, base + 71));
    cr_expect_not(ingest_claim(&r, &a, base + 130));
    cr_expect(ingest_claim(&r, &b, base + 71), "another hash");
    cr_expect(ingest_claim(&r, &a, base + 5), "an earlier one");
    cr_expect_not(ingest_claim(&r, &a, base + 70));
    atomic_store(&r.slot[first % 3].state, SLOT_FREE);
    cr_expect(ingest_claim(&r, &a, base + 70), "the slot of the claim is free");
    atomic_store(&r.slot[first % 3].seq, first + 4);
    atomic_store(&r.slot[first % 3].state, SLOT_QUEUED);
    cr_expect_not(ingest_claim(&r, &a, base + 3 * INGEST_BATCH_ITEMS));
    memset(r.claims, 0xa5, r.claims_cells * sizeof *r.claims);
    for (uint32_t i = 0; i < 1000; i++) {
        struct hash128 h = hash128_of(bytes_of(&i, sizeof i));
        cr_expect(ingest_claim(&r, &h, base + i % 192), "after a wild write: %u", i);
    }
    ingest_region_release(&r);
}

Test(pipeline, records_of_any_size_come_through)
{
    static const size_t sizes[] = {0,      1,       5000,    100000, 100000, AREA_BYTES / 2, AREA_BYTES / 2, AREA_BYTES,
                                   300000, 3000000, 9000000, 10,     700000, 700000,         700000,         20};
    enum { KINDS = sizeof sizes / sizeof sizes[0], N = KINDS * 6 };
    struct mini_vault v = mini_vault_at(TEMP_DIR());
    for (uint32_t i = 0; i < N; i++)
        put_item(&v, i, textf("X-Test: record %zu\n", sizes[i % KINDS]), 100);
    for (unsigned workers = 1; workers <= 2; workers++) {
        struct run run = {.settings = {.workers = workers}, .n = N, .pass_every = 7};
        run_pipeline(&v, &run);
        cr_expect_eq(run.rc, INGEST_DONE, "%s", run.err.text);
        cr_expect_eq(first_odd(&run), -1, "odd result at %lld", (long long)first_odd(&run));
        for (uint32_t at = 0; at < run.kept_n; at++)
            if (run.kept[at].status == INGEST_PARSED)
                cr_expect_eq(run.kept[at].headers_n, sizes[run.kept[at].index % KINDS], "item %u", run.kept[at].index);
        cr_expect_eq(run.stats.crashed, 0);
        run_release(&run);
    }
    vault_close(&v.vault);
}

Test(pipeline, a_record_beyond_all_bounds_is_opaque)
{
    struct mini_vault v = mini_vault_at(TEMP_DIR());
    put_item(&v, 0, "", 10);
    put_item(&v, 1, textf("X-Test: record %zu\n", JUMBO_BYTES + 1), 10);
    put_item(&v, 2, "", 10);
    struct run run = {.settings = {.workers = 2}, .n = 3};
    run_pipeline(&v, &run);
    cr_assert_eq(first_odd(&run), -1);
    cr_expect(run.kept[1].defects & MIME_DEFECT(OPAQUE));
    cr_expect_not(run.kept[2].defects & MIME_DEFECT(OPAQUE));
    run_release(&run);
    vault_close(&v.vault);
}

struct blocked {
    struct ingest *ing;
    _Atomic int rc;
    _Atomic bool is_over;
};

static void *submit_without_end(void *arg)
{
    struct blocked *b = arg;
    struct ingest_task t = {.locator.name = bytes_str("000000.eml")};
    while ((b->rc = ingest_submit(b->ing, &t, NULL)) == BASE_OK)
        ;
    b->is_over = true;
    return NULL;
}

static void sleep_ms(long ms)
{
    struct timespec t = {.tv_nsec = ms * 1000000};
    nanosleep(&t, NULL);
}

static uint64_t settle(const struct ingest *ing)
{
    struct ingest_stats now, before = {0};
    for (int still = 0; still < 5;) {
        sleep_ms(20);
        ingest_get_stats(ing, &now);
        still = now.submitted == before.submitted ? still + 1 : 0;
        before = now;
    }
    return now.submitted;
}

Test(pipeline, a_writer_that_does_not_take_stops_the_planner_until_cancelled)
{
    struct mini_vault v = vault_of(1, 100);
    struct ingest_settings s = {.workers = 2, .slots = 5, .vaults = &v.vault, .vaults_n = 1};
    struct blocked b = {0};
    struct ingest_result r;
    pthread_t thread;
    cr_assert_eq(ingest_open(&s, &b.ing, NULL), BASE_OK);
    cr_assert_eq(pthread_create(&thread, NULL, submit_without_end, &b), 0);
    uint64_t full = settle(b.ing);
    cr_expect_leq(full, 5 * INGEST_BATCH_ITEMS, "%llu submitted", (unsigned long long)full);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(ingest_next(b.ing, &r, NULL), INGEST_MORE);
    uint64_t later = settle(b.ing);
    cr_expect_gt(later, full, "it goes on");
    cr_expect_leq(later, 1000 + 5 * INGEST_BATCH_ITEMS);
    cr_expect_not(b.is_over);
    ingest_cancel(b.ing);
    pthread_join(thread, NULL);
    cr_expect_eq(b.rc, BASE_ERR_CANCELLED);
    cr_expect_eq(ingest_next(b.ing, &r, NULL), BASE_ERR_CANCELLED);
    ingest_free(&b.ing);
    vault_close(&v.vault);
}

static void *cancel_soon(void *ing)
{
    sleep_ms(30);
    ingest_cancel(ing);
    return NULL;
}

Test(pipeline, cancel_wakes_a_waiting_writer)
{
    struct mini_vault v = vault_of(1, 100);
    struct ingest_settings s = {.workers = 1, .vaults = &v.vault, .vaults_n = 1};
    struct ingest *ing = NULL;
    struct ingest_result r;
    struct error err = {0};
    pthread_t thread;
    cr_assert_eq(ingest_open(&s, &ing, NULL), BASE_OK);
    cr_assert_eq(pthread_create(&thread, NULL, cancel_soon, ing), 0);
    cr_expect_eq(ingest_next(ing, &r, &err), BASE_ERR_CANCELLED);
    cr_expect_eq(err.code, BASE_ERR_CANCELLED);
    pthread_join(thread, NULL);
    ingest_free(&ing);
    vault_close(&v.vault);
}

static uint32_t shared_mappings(void)
{
    char line[512];
    uint32_t n = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, f))
        n += strstr(line, "/dev/zero") != NULL;
    fclose(f);
    return n;
}

Test(pipeline, free_from_any_state_leaves_no_process_descriptor_or_mapping)
{
    enum { STATES = 6, WORKERS = 3 };
    struct mini_vault v = vault_of(1, 100);
    put_item(&v, 1, "X-Test: loop\n", 10);
    struct ingest_settings s = {.workers = WORKERS, .vaults = &v.vault, .vaults_n = 1, .parse = test_parse};
    uint32_t fds = count_fds(), maps = shared_mappings();
    for (int state = 0; state < STATES; state++) {
        struct ingest *ing = NULL;
        struct ingest_result r;
        pid_t pids[WORKERS];
        cr_assert_eq(ingest_open(&s, &ing, NULL), BASE_OK);
        struct ingest_task t = {.locator.name = bytes_str(item_name(state == 4))};
        for (int i = 0; state > 0 && i < 100; i++)
            cr_assert_eq(ingest_submit(ing, &t, NULL), BASE_OK);
        if (state == 2)
            for (int i = 0; i < 30; i++)
                cr_assert_eq(ingest_next(ing, &r, NULL), INGEST_MORE);
        if (state == 3)
            ingest_close(ing);
        if (state == 5)
            ingest_cancel(ing);
        for (uint32_t w = 0; w < WORKERS; w++)
            while ((pids[w] = ingest_worker_pid(ing, w)) == 0)
                sleep_ms(1);
        ingest_free(&ing);
        cr_expect_null(ing);
        for (uint32_t w = 0; w < WORKERS; w++)
            cr_expect(kill(pids[w], 0) != 0 && errno == ESRCH, "state %d: worker %u lives", state, w);
        cr_expect(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "state %d: a child is left", state);
        cr_expect_eq(count_fds(), fds, "state %d: descriptors", state);
        cr_expect_eq(shared_mappings(), maps, "state %d: mappings", state);
        ingest_free(&ing);
    }
    vault_close(&v.vault);
}

Test(pipeline, settings_out_of_range_are_refused)
{
    struct mini_vault v = vault_of(1, 10);
    static const struct {
        const char *name;
        unsigned workers;
        uint32_t slots, vaults;
    } rows[] = {{"workers", WORKERS_MAX + 1, 0, 1}, {"slots", 1, SLOTS_MAX + 1, 1}, {"no vault", 1, 0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ingest_settings s = {
            .workers = rows[i].workers, .slots = rows[i].slots, .vaults = &v.vault, .vaults_n = rows[i].vaults};
        struct ingest *ing = NULL;
        cr_expect_eq(ingest_open(&s, &ing, NULL), BASE_ERR_USAGE, "%s", rows[i].name);
        cr_expect_null(ing);
    }
    vault_close(&v.vault);
}

Test(pipeline, workers_do_not_hold_descriptors_of_the_caller)
{
    struct mini_vault v = mini_vault_at(TEMP_DIR());
    int pair[2], file = open(path_join(v.dir, "writable"), O_RDWR | O_CREAT, 0600);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    put_item(&v, 0, textf("X-Test: closed %d\n", pair[0]), 10);
    put_item(&v, 1, textf("X-Test: closed %d\n", pair[1]), 10);
    put_item(&v, 2, textf("X-Test: closed %d\n", file), 10);
    put_item(&v, 3, textf("X-Test: closed %d\n", STDERR_FILENO), 10);
    struct run run = {.settings = {.workers = 1}, .n = 4};
    run_pipeline(&v, &run);
    cr_assert_eq(first_odd(&run), -1);
    for (uint32_t i = 0; i < 4; i++)
        cr_expect_str_eq(run.kept[i].preview, i < 3 ? "closed" : "open", "descriptor %u", i);
    run_release(&run);
    close(pair[0]);
    close(pair[1]);
    close(file);
    vault_close(&v.vault);
}

Test(pipeline, workers_are_named_and_idle_when_asked)
{
    struct mini_vault v = vault_of(1, 10);
    for (int idle = 0; idle < 2; idle++) {
        struct ingest_settings s = {.workers = 1, .vaults = &v.vault, .vaults_n = 1, .io_idle = idle};
        struct ingest *ing = NULL;
        struct ingest_result r;
        cr_assert_eq(ingest_open(&s, &ing, NULL), BASE_OK);
        struct ingest_task t = {.locator.name = bytes_str(item_name(0))};
        cr_assert_eq(ingest_submit(ing, &t, NULL), BASE_OK);
        ingest_close(ing);
        cr_assert_eq(ingest_next(ing, &r, NULL), INGEST_MORE); /* it has set itself up by now */
        id_t pid;
        while ((pid = (id_t)ingest_worker_pid(ing, 0)) == 0) /* published by the nursery, which may be slower */
            sleep_ms(1);
        const int own = getpriority(PRIO_PROCESS, 0); /* the tests may run niced themselves */
        cr_expect_eq(getpriority(PRIO_PROCESS, pid), idle && own < 10 ? 10 : own);
        long io = syscall(SYS_ioprio_get, 1, pid);
        cr_expect_eq(io >> 13 == 3, idle, "I/O class %ld", io >> 13);
        FILE *f = fopen(textf("/proc/%d/comm", (int)pid), "r");
        char name[32] = "";
        cr_assert_not_null(f);
        cr_expect(fgets(name, sizeof name, f) != NULL);
        cr_expect_str_eq(name, "mds-parse-0\n");
        fclose(f);
        ingest_free(&ing);
    }
    vault_close(&v.vault);
}

Test(pipeline, many_passes_alone_keep_their_order)
{
    enum { N = 100000 };
    struct mini_vault v = vault_of(1, 10);
    struct ingest_settings s = {.workers = 2, .vaults = &v.vault, .vaults_n = 1};
    struct ingest *ing = NULL;
    struct ingest_result r;
    cr_assert_eq(ingest_open(&s, &ing, NULL), BASE_OK);
    for (uint32_t i = 0, taken = 0; taken < N;) {
        for (int k = 0; k < 500 && i < N; k++, i++)
            cr_assert_eq(ingest_pass(ing, bytes_of(&i, sizeof i), NULL), BASE_OK);
        cr_assert_eq(ingest_flush(ing, NULL), BASE_OK);
        for (; taken < i; taken++) {
            cr_assert_eq(ingest_next(ing, &r, NULL), INGEST_MORE);
            cr_assert(r.status == INGEST_PASSED && bytes_equal(r.tag, bytes_of(&taken, sizeof taken)));
        }
    }
    ingest_free(&ing);
    vault_close(&v.vault);
}
