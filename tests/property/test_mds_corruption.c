/*
 * Single bytes of a store's data file are changed at random. Each change either alters no answer, or is found: by
 * opening, by verification, or by a crash of LMDB, for which callers run verification in a child.
 *
 * MDS_CORRUPTIONS sets the number of tries (default 1,000; the readers of a change to a free page cost little).
 */
#include "base/hash.h"
#include "mds/columns.h"
#include "mds/mds.h"
#include "test_support.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PARTS 4

enum outcome { OUTCOME_SAME = 0, OUTCOME_FOUND = 10, OUTCOME_CRASH = 15, OUTCOME_MISSED = 20, OUTCOME_OURS = 30 };

static void must(int rc, const struct error *err)
{
    cr_assert_geq(rc, 0, "%s", err->text);
}

static struct bytes some(struct rng *r, uint8_t *room, size_t max)
{
    const size_t n = rng_below(r, max);

    rng_fill(r, room, n);
    return bytes_of(room, n);
}

static void add_message(struct mds_txn *t, struct rng *r, uint32_t folder, uint32_t container, uint64_t old_item)
{
    static uint8_t a[500], b[300], c[700];
    struct mds_sort sort = {.base_subject = BYTES_LIT("subject"),
                            .preview = BYTES_LIT("preview"),
                            .reference_hashes = BYTES_LIT("8 bytes.another8")};
    struct error err;
    struct buf encoded = {0};
    uint8_t identity[600];
    struct mds_item it = {
        .size = rng_below(r, 9000),
        .defects = rng_once_in(r, 5) ? 1u << rng_below(r, 20) : 0,
        .msgid_hash = rng_below(r, 50),
        .locator = {.container = container, .name = BYTES_LIT("cur/name")},
        .parts = BYTES_LIT("parts"),
    };

    rng_fill(r, it.hash.b, sizeof it.hash.b);
    if (old_item == 0) {
        sort.display_from = some(r, c, 60);
        mds_sort_encode(&sort, &encoded);
        const struct mds_item_words words = {.envelope = some(r, a, sizeof a),
                                             .bodystructure = some(r, b, sizeof b),
                                             .headers = some(r, c, sizeof c),
                                             .sort = buf_bytes(&encoded)};

        must(mds_item_add(t, &it, &words, &err), &err);
        old_item = it.id;
    }
    const uint8_t keyword[2] = {0, (uint8_t)rng_below(r, 3)};
    struct mds_message m = {
        .folder = folder,
        .item = old_item,
        .flags = (uint32_t)rng_below(r, 64),
        .size_crlf = rng_below(r, 5000),
        .keywords = rng_once_in(r, 3) ? bytes_of(keyword, 2) : (struct bytes){0},
        .internal_date = (int64_t)rng_below(r, 2000000000),
        .sent_date = (int64_t)rng_below(r, 2000000000),
    };

    must(mds_message_add(t, &m, &err), &err);
    const struct mds_place p = {.identity = some(r, identity, rng_once_in(r, 20) ? sizeof identity : 40),
                                .item = old_item,
                                .folder = folder,
                                .uid = m.uid};

    must(mds_place_put(t, container, &p, &err), &err);
    buf_release(&encoded);
}

static void make_store(const char *dir, struct rng *r)
{
    const struct mds_options opts = {.create = true, .archive_name = "corrupt"};
    struct mds_env *env = NULL;
    struct mds_txn *t = NULL;
    struct mds_container container;
    struct error err;
    uint32_t source, folders[4];
    uint16_t keyword;

    must(mds_open(dir, &opts, &env, &err), &err);
    for (int batch = 0; batch < 12; batch++) {
        must(mds_write_begin(env, &t, &err), &err);
        must(mds_source_id(t, BYTES_LIT("maildir:/x"), true, &source, &err), &err);
        must(mds_container_find(t, source, bytes_str(textf("c%d", batch / 3)), true, &container, &err), &err);
        for (int i = 0; i < 3; i++)
            must(mds_keyword_id(t, bytes_str(textf("k%d", i)), true, &keyword, &err), &err);
        for (int i = 0; i < 4; i++) {
            const int rc = mds_folder_create(t, bytes_str(textf("a/b%d", i)), &folders[i], &err);

            cr_assert(rc == BASE_OK || rc == BASE_ERR_EXISTS);
        }
        must(mds_meta_put(t, "setting", BYTES_LIT("value"), false, &err), &err);
        for (int i = 0; i < 30; i++) /* so many that columns are packed */
            add_message(t, r, folders[rng_below(r, 4)], container.id, i % 9 == 8 ? 1 + rng_below(r, 8) : 0);
        for (int i = 0; i < 6; i++) {
            struct mds_message m;

            if (mds_message_next(t, folders[rng_below(r, 4)], 9 + (uint32_t)rng_below(r, 20), &m, &err) != 1)
                continue;
            if (i % 2)
                must(mds_message_set_flags(t, m.folder, m.uid, (uint32_t)rng_below(r, 64), (struct bytes){0}, &err),
                     &err);
            else if (i % 4)
                must(mds_message_remove(t, m.folder, m.uid, NULL, &err), &err);
            else
                must(mds_message_expunge(t, m.folder, m.uid, batch, &err), &err);
        }
        if (batch == 5)
            must(mds_folder_rename(t, folders[3], BYTES_LIT("c/d"), &err), &err);
        must(mds_segments_put(t, &(struct mds_segments){1, 1000u * (uint64_t)batch}, &err), &err);
        must(mds_write_commit(&t, &err), &err);
        if (batch == 8)
            must(mds_hashes_build(env, "/tmp", &err), &err);
    }
    mds_close(&env);
}

static int columns_tell(struct mds_txn *t, uint32_t folder, FILE *out)
{
    roaring_bitmap_t *exists = NULL;
    struct error err;
    int rc = mds_set_load(t, folder, MDS_SET_EXISTS, &exists, &err);

    if (rc != BASE_OK)
        return rc;
    const uint64_t n = roaring_bitmap_get_cardinality(exists);
    uint32_t *uids = calloc(n + 1, sizeof *uids);
    int64_t *values = calloc(n + 1, sizeof *values);

    roaring_bitmap_to_uint32_array(exists, uids);
    for (unsigned column = 0; column < MDS_COLUMN_COUNT && rc == BASE_OK; column++) {
        rc = mds_column_read(t, folder, (enum mds_column)column, uids, n, values, &err);
        for (uint64_t i = 0; i < n && rc == BASE_OK; i++)
            (void)fprintf(out, "c%lld ", (long long)values[i]);
    }
    free(uids);
    free(values);
    roaring_bitmap_free(exists);
    return rc;
}

/* Every answer: the dump, and what it does not ask: lookups by name, hash and message id, times, the own vault's tail.
 */
static uint64_t answers(struct mds_txn *t, bool *failed)
{
    struct error err;
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    struct mds_folder f;
    struct mds_item it;
    struct mds_removed removed = {0};
    struct mds_segments segments = {0};
    uint64_t id, pos;

    *failed = mds_dump(t, out, &err) != BASE_OK;
    for (int i = 0; i < 4; i++) {
        const int rc = mds_folder_find(t, bytes_str(textf("a/b%d", i)), &f, &err);

        (void)fprintf(out, "%d\n", rc);
        if (rc == BASE_OK && columns_tell(t, f.id, out) != BASE_OK)
            *failed = true;
    }
    for (int rc = 1; rc == 1;) {
        if ((rc = mds_removed_next(t, removed.folder, removed.uid, &removed, &err)) == 1)
            (void)fprintf(out, "r%lld ", (long long)removed.removed_at);
        *failed = *failed || rc < 0;
    }
    *failed = *failed || mds_segments_get(t, &segments, &err) != BASE_OK;
    (void)fprintf(out, "s%llu\n", (unsigned long long)segments.tail);
    for (uint64_t from = 1; mds_item_next(t, from, &it, &err) == 1; from = it.id + 1) {
        for (pos = 0; mds_item_by_hash(t, &it.hash, &pos, &id, &err) == 1;)
            (void)fprintf(out, "h%llu ", (unsigned long long)id);
        for (pos = 0; it.msgid_hash && mds_items_by_msgid(t, it.msgid_hash, &pos, &id, &err) == 1;)
            (void)fprintf(out, "m%llu ", (unsigned long long)id);
    }
    (void)fclose(out);
    const uint64_t hash = hash64_of(bytes_of(text, n));

    free(text);
    return hash;
}

/* In a child of its own: 0 same, 10 found, 20 missed; anything else is a crash. */
static int judge(const char *dir, uint64_t expected)
{
    const struct mds_options opts = {.read_only = true};
    struct mds_env *env = NULL;
    struct mds_txn *t = NULL;
    struct error err;
    bool failed = false;

    if (mds_open(dir, &opts, &env, &err) != BASE_OK || mds_read_begin(env, &t, &err) != BASE_OK)
        return OUTCOME_FOUND;
    if (mds_verify(t, NULL, NULL, &err) != 0)
        return OUTCOME_FOUND;
    const bool same = answers(t, &failed) == expected && !failed;

    return same ? OUTCOME_SAME : OUTCOME_MISSED;
}

/* LMDB may be led astray; our own decoders may not, and the sanitizers' words tell. */
static bool is_our_fault(const char *log)
{
    static const char *const ours[] = {"heap-", "stack-", "use-after", "global-", "runtime error", "assertion failed"};
    const char *text = (const char *)read_file(log).p;

    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (strstr(text, ours[i])) {
            (void)fprintf(stderr, "%s\n", text);
            return true;
        }
    }
    return false;
}

static int judge_in_child(const char *dir, uint64_t expected)
{
    int status = 0;
    const char *log = path_join(dir, "child.log");
    const pid_t pid = fork();

    cr_assert_geq(pid, 0);
    if (pid == 0) {
        const struct rlimit none = {0, 0};
        const int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);

        (void)setrlimit(RLIMIT_CORE, &none);
        (void)dup2(fd, 2);
        (void)signal(SIGABRT, SIG_DFL);
        (void)alarm(20);
        _exit(judge(dir, expected));
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && (WEXITSTATUS(status) == OUTCOME_SAME || WEXITSTATUS(status) == OUTCOME_FOUND ||
                              WEXITSTATUS(status) == OUTCOME_MISSED))
        return WEXITSTATUS(status);
    return is_our_fault(log) ? OUTCOME_OURS : OUTCOME_CRASH;
}

static uint64_t expected_answers(const char *dir)
{
    const struct mds_options opts = {.read_only = true};
    struct mds_env *env = NULL;
    struct mds_txn *t = NULL;
    struct error err;
    bool failed;

    must(mds_open(dir, &opts, &env, &err), &err);
    must(mds_read_begin(env, &t, &err), &err);
    cr_assert_eq(mds_verify(t, NULL, NULL, &err), 0, "the sound store has findings");
    const uint64_t hash = answers(t, &failed);

    cr_assert(!failed);
    mds_read_end(&t);
    mds_close(&env);
    return hash;
}

static void corrupt_and_judge(const char *dir, struct rng r)
{
    const char *path = path_join(dir, "data.mdb"), *wanted = getenv("MDS_CORRUPTIONS");
    const int tries = (wanted ? atoi(wanted) : 1000) / PARTS;
    int same = 0, found = 0, crashed = 0;

    make_store(dir, &r);
    const uint64_t expected = expected_answers(dir);
    const struct bytes sound = read_file(path);
    const int fd = open(path, O_RDWR | O_CLOEXEC);

    cr_assert_geq(fd, 0);
    for (int i = 0; i < tries; i++) {
        /* One in four in the first bytes of a page: LMDB's own headers and pointers, which are few. */
        const bool head = rng_once_in(&r, 4);
        const uint64_t page = rng_below(&r, sound.n / 4096) * 4096;
        const uint64_t at = head ? page + rng_below(&r, i % 2 ? 16 : 150) : rng_below(&r, sound.n);
        const uint8_t was = sound.p[at], now = (uint8_t)(rng_once_in(&r, 2) ? was ^ (1u << rng_below(&r, 8))
                                                                            : was + 1 + rng_below(&r, 255));

        cr_assert_eq(pwrite(fd, &now, 1, (off_t)at), 1);
        const int outcome = judge_in_child(dir, expected);

        cr_assert_eq(pwrite(fd, &was, 1, (off_t)at), 1);
        cr_expect(outcome < OUTCOME_MISSED, "byte %llu (page %llu, offset %llu): %02x to %02x %s",
                  (unsigned long long)at, (unsigned long long)(at / 4096), (unsigned long long)(at % 4096), was, now,
                  outcome == OUTCOME_OURS ? "breaks our own code" : "changes an answer and is not found");
        same += outcome == OUTCOME_SAME;
        found += outcome != OUTCOME_SAME;
        crashed += outcome == OUTCOME_CRASH;
    }
    (void)close(fd);
    (void)fprintf(
        stderr,
        "mds_corruption: %d changes of %zu bytes: %d found, %d of them by a crash of LMDB, %d changed no answer\n",
        tries, sound.n, found, crashed, same);
    cr_expect_gt(found, tries / 10, "the test hits nothing");
}

/* In parts, so that they run side by side. */
#define PART(n)                                                                                                        \
    Test(mds_corruption, every_changed_byte_that_changes_an_answer_is_found_##n, .timeout = 550)                       \
    {                                                                                                                  \
        struct rng r = rng_start("mds_corruption");                                                                    \
                                                                                                                       \
        r.state += n;                                                                                                  \
        corrupt_and_judge(path_join(TEMP_DIR(), "a"), r);                                                              \
    }
PART(1)
PART(2)
PART(3)
PART(4)
