/* Drafts: small and large ones, what is refused, and items found again by their bytes. */
#include "fixture.h"

#include "change.h"
#include "test_support.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

static struct mdsq_error e;

#define OK(call) cr_assert_geq((call), 0, "%s: %s", #call, e.text)

static struct mdsq_store *store;
static struct mdsq_archive *archive;

static void begin(const char *dir)
{
    OK(mdsq_store_open(path_join(dir, "store"), MDSQ_STORE_WRITE | MDSQ_STORE_CREATE, &store, &e));
    OK(mdsq_archive_add(store, "ann", &e));
    OK(mdsq_archive_open(store, "ann", &archive, &e));
}

static void end(void)
{
    mdsq_archive_close(&archive);
    mdsq_store_close(&store);
}

/* A message of about n bytes that does not compress well, written in pieces of `step`. */
static struct buf message_of(size_t n, uint32_t seed)
{
    struct buf out = {0};

    buf_append_str(&out, "Subject: large\r\nContent-Type: text/plain\r\n\r\n");
    while (out.n < n) {
        seed = seed * 1664525u + 1013904223u;
        buf_append_byte(&out, (uint8_t)(' ' + (seed >> 16) % 90));
        if (out.n % 70 == 0)
            buf_append_str(&out, "\r\n");
    }
    return out;
}

static uint32_t append(struct bytes raw, size_t step, bool finish_first)
{
    struct mdsq_append message = {0};
    struct mdsq_change *change = NULL;
    struct mdsq_outcome o;

    OK(mdsq_draft_new(archive, &message.draft, &e));
    for (size_t at = 0; at < raw.n; at += step) {
        const struct bytes piece = bytes_slice(raw, at, step);

        OK(mdsq_draft_write(message.draft, piece.p, piece.n, &e));
    }
    cr_expect_eq(mdsq_draft_size(message.draft), raw.n);
    if (finish_first) {
        OK(mdsq_draft_finish(message.draft, &e));
        cr_expect_eq(mdsq_draft_write(message.draft, "x", 1, &e), MDSQ_ERR_USAGE);
    }
    OK(mdsq_change_append(archive, "INBOX", &message, 1, &change, &e));
    OK(mdsq_change_wait(change, &e));
    OK(mdsq_change_outcome(change, &o, &e));

    const uint32_t uid = mdsq_set_last(o.dest);

    mdsq_change_free(&change);
    return uid;
}

/* The whole item as a reader reads it. */
static bool reads_as(uint32_t uid, struct bytes raw)
{
    const struct mdsq_section all = {.kind = MDSQ_SECTION_ALL};
    struct mdsq_reader *reader = NULL;
    struct mdsq_view *view = NULL;
    struct mdsq_body *body = NULL;
    uint8_t *p = malloc(raw.n + 1);
    size_t got = 0;

    OK(mdsq_reader_begin(archive, &reader, &e));
    OK(mdsq_view_open(reader, "INBOX", &view, &e));
    OK(mdsq_body_open(reader, view, uid, &all, &body, &e));
    OK(mdsq_body_read(body, 0, p, raw.n + 1, &got, &e));

    const bool same = bytes_equal(bytes_of(p, got), raw);

    mdsq_body_close(&body);
    mdsq_view_close(&view);
    mdsq_reader_end(&reader);
    free(p);
    return same;
}

static struct mds_stat stat_of(void)
{
    struct mds_txn *txn = NULL;
    struct mds_stat stat;
    struct error err;

    OK(mds_read_begin(archive->env, &txn, &err));
    OK(mds_stat(txn, &stat, &err));
    mds_read_end(&txn);
    return stat;
}

Test(draft, sizes_around_the_bounds_come_back_byte_for_byte)
{
    static const size_t sizes[] = {1, 44, 1000, 65535, 65536, 65537, 262144, 262145, 1500000};

    begin(TEMP_DIR());
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct buf raw = message_of(sizes[i], (uint32_t)i);
        const uint32_t uid = append(buf_bytes(&raw), i % 2 ? 999 : 100000, i % 2);

        cr_expect(reads_as(uid, buf_bytes(&raw)), "%zu bytes", sizes[i]);
        buf_release(&raw);
    }
    end();
}

Test(draft, equal_bytes_are_stored_once)
{
    const char *dir = TEMP_DIR();

    begin(dir);
    struct buf raw = message_of(100000, 7), other = message_of(100000, 8);

    append(buf_bytes(&raw), 5000, true);
    append(buf_bytes(&raw), 70000, false);
    append(buf_bytes(&other), 5000, true);
    cr_expect_eq(stat_of().items, 2);
    cr_expect_eq(stat_of().messages, 3);

    /* An item whose bytes are damaged is not taken for them. */
    const char *segment = path_join(dir, "store/archives/a00000001/segments/00000001.seg");
    FILE *f = fopen(segment, "r+");

    cr_assert(f);
    fseek(f, 200, SEEK_SET);
    fputc(0xff, f);
    fputc(0x00, f);
    fclose(f);
    const uint32_t uid = append(buf_bytes(&raw), 5000, true);
    cr_expect_eq(stat_of().items, 3);
    cr_expect(reads_as(uid, buf_bytes(&raw)));
    buf_release(&raw);
    buf_release(&other);
    end();
}

Test(draft, many_equal_ones_in_one_commit)
{
    enum { N = 20 };
    struct mdsq_append messages[N] = {{0}};
    struct mdsq_change *change = NULL;
    struct mdsq_outcome o;

    begin(TEMP_DIR());
    for (int i = 0; i < N; i++) {
        OK(mdsq_draft_new(archive, &messages[i].draft, &e));
        OK(mdsq_draft_write(messages[i].draft, i % 2 ? "A: 1\n\nx" : "A: 2\n\nx", 7, &e));
    }
    OK(mdsq_change_append(archive, "INBOX", messages, N, &change, &e));
    OK(mdsq_change_wait(change, &e));
    OK(mdsq_change_outcome(change, &o, &e));
    cr_expect_eq(mdsq_set_count(o.dest), N);
    mdsq_change_free(&change);
    cr_expect_eq(stat_of().items, 2);
    cr_expect(reads_as(3, BYTES_LIT("A: 2\r\n\r\nx")));
    end();
}

Test(draft, what_fails_leaves_no_trace_and_no_file)
{
    enum { WORDS = 3000 };
    const char *dir = TEMP_DIR();
    struct mdsq_change *changes[3] = {NULL};
    struct mdsq_append two[2] = {{0}};
    struct mdsq_bytes words[2][WORDS];
    struct mdsq_view *view = NULL;
    struct mdsq_reader *reader = NULL;
    struct mdsq_outcome o;
    uint32_t n = 0;

    begin(dir);
    /* Two messages with 3,000 keywords each: the second one's are too many, when the first is written already. */
    for (int i = 0; i < 2 * WORDS; i++) {
        const char *word = textf("k%d", i);

        words[i / WORDS][i % WORDS] = (struct mdsq_bytes){(const uint8_t *)word, strlen(word)};
    }
    for (int i = 0; i < 2; i++) {
        OK(mdsq_draft_new(archive, &two[i].draft, &e));
        OK(mdsq_draft_write(two[i].draft, "A: b\n\n", 6, &e));
        two[i].flags = (struct mdsq_flags){0, words[i], WORDS};
    }
    OK(mdsq_change_create(archive, "before", 0, &changes[0], &e));
    OK(mdsq_change_append(archive, "INBOX", two, 2, &changes[1], &e));
    OK(mdsq_change_create(archive, "after", 0, &changes[2], &e));
    struct mds_txn *txn = NULL;
    OK(mds_write_begin(archive->env, &txn, NULL)); /* so that the three share a turn */
    for (int i = 0; i < 3; i++)
        OK(mdsq_change_submit(changes[i], NULL, NULL));
    mds_write_abort(&txn);
    for (int i = 2; i >= 0; i--) {
        const bool fails = i == 1;
        struct mdsq_change *c = changes[i];

        while (mdsq_change_outcome(c, &o, &e), c->state != CHANGE_DONE)
            ;
        cr_expect_eq(mdsq_change_outcome(c, &o, &e), fails ? MDSQ_ERR_LIMIT : 0, "%d: %s", i, e.text);
        mdsq_change_free(&changes[i]);
    }
    cr_expect_eq(stat_of().messages, 0);
    cr_expect_eq(stat_of().items, 0);
    OK(mdsq_reader_begin(archive, &reader, &e));
    OK(mdsq_keywords(reader, NULL, NULL, &n, &e));
    cr_expect_eq(n, 1, "no keyword was kept");
    OK(mdsq_view_open(reader, "before", &view, &e));
    mdsq_view_close(&view);
    OK(mdsq_view_open(reader, "after", &view, &e));
    mdsq_view_close(&view);
    mdsq_reader_end(&reader);

    struct mdsq_draft *draft = NULL;
    OK(mdsq_draft_new(archive, &draft, &e));
    struct buf raw = message_of(200000, 3);
    OK(mdsq_draft_write(draft, raw.p, raw.n, &e));
    buf_release(&raw);
    mdsq_draft_free(&draft);
    DIR *d = opendir(path_join(dir, "store/archives/a00000001"));
    for (const struct dirent *at; (at = readdir(d)) != NULL;)
        cr_expect(strncmp(at->d_name, "draft", 5) != 0, "%s was left", at->d_name);
    closedir(d);
    end();
}

/* The disk is full as far as this process is concerned: no file may grow past `bytes`. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

Test(draft, a_full_disk_refuses_and_service_goes_on)
{
    struct mdsq_append message = {0};
    struct mdsq_change *change = NULL, *store_change = NULL;
    struct mdsq_outcome o;
    struct buf raw = message_of(300000, 11);

    begin(TEMP_DIR());
    append(BYTES_LIT("A: before\n\n"), 100, false);
    OK(mdsq_draft_new(archive, &message.draft, &e));
    OK(mdsq_draft_write(message.draft, raw.p, raw.n, &e));
    OK(mdsq_draft_finish(message.draft, &e));
    OK(mdsq_change_append(archive, "INBOX", &message, 1, &change, &e));
    limit_files(4096); /* the segment cannot grow; nothing of the batch may be half done */
    cr_expect_lt(mdsq_change_wait(change, &e), 0);
    mdsq_change_free(&change);
    OK(mdsq_change_create(archive, "new", 0, &store_change, &e));
    cr_expect_lt(mdsq_change_wait(store_change, &e), 0, "the metadata cannot grow either");
    mdsq_change_free(&store_change);
    message.draft = NULL;
    OK(mdsq_draft_new(archive, &message.draft, &e));
    cr_expect_lt(mdsq_draft_write(message.draft, raw.p, raw.n, &e), 0);
    mdsq_draft_free(&message.draft);

    limit_files(RLIM_INFINITY);
    cr_expect_eq(stat_of().messages, 1);
    const uint32_t uid = append(buf_bytes(&raw), 65536, true);
    cr_expect_eq(uid, 2);
    cr_expect(reads_as(uid, buf_bytes(&raw)));
    OK(mdsq_change_create(archive, "new", 0, &change, &e));
    OK(mdsq_change_wait(change, &e));
    OK(mdsq_change_outcome(change, &o, &e));
    mdsq_change_free(&change);

    struct mds_txn *txn = NULL;
    struct error err;

    OK(mds_read_begin(archive->env, &txn, &err));
    cr_expect_eq(mds_verify(txn, NULL, NULL, &err), 0);
    mds_read_end(&txn);
    buf_release(&raw);
    end();
}
