/*
 * Columns against rows: messages filed in batches of any size, copied, moved, expunged, restored under old UIDs, their
 * flags changed, their items' records replaced, logs pruned and outlived, some of it aborted; then every column is read
 * and searched by random ranges, and must say what the rows say. The store's verification must find nothing.
 */
#include "base/hash.h"
#include "mds/columns.h"
#include "test_support.h"

#include <criterion/criterion.h>

#define FOLDERS    3
#define ITEMS      150
#define ROUNDS     50
#define QUERIES    4
#define MODSEQ_TOP UINT64_MAX

static void must(int rc, const struct error *err)
{
    cr_assert_geq(rc, 0, "%s", err->text);
}

/* What this test restores though the store itself expunged it, and items that it never files, are found too. */
static void say(const char *text, void *arg)
{
    if (strstr(text, "column") == NULL)
        return;
    ++*(unsigned *)arg;
    (void)fprintf(stderr, "verify: %s\n", text);
}

/* ---- what is filed ---- */

static int64_t any_time(struct rng *r)
{
    if (rng_once_in(r, 40)) /* a clock does not show these */
        return rng_once_in(r, 2) ? INT64_C(-70000000000000)
                                 : INT64_C(253402300799) - 20000 + (int64_t)rng_below(r, 40000);
    if (rng_once_in(r, 3))
        return 1500000000 + (int64_t)rng_below(r, 100000);
    return (int64_t)rng_below(r, UINT64_C(4000000000)) - 1000000000;
}

static int16_t any_zone(struct rng *r)
{
    static const int16_t zones[] = {0, 0, 60, -480, 330, 840, -720, 5999, -5999};

    return zones[rng_below(r, sizeof zones / sizeof zones[0])];
}

static void item_draw(struct rng *r, struct mds_item *it)
{
    it->has_sent_date = !rng_once_in(r, 5);
    it->sent_date = it->has_sent_date ? any_time(r) : 0;
    it->sent_zone = it->has_sent_date ? any_zone(r) : 0;
    it->thread_id = rng_once_in(r, 2) ? rng_u64(r) : rng_below(r, 20);
}

static uint64_t item_add(struct mds_txn *t, struct rng *r)
{
    const struct mds_item_words words = {.envelope = BYTES_LIT("e"), .bodystructure = BYTES_LIT("b")};
    struct mds_item it = {.size = 1};
    struct error err;

    rng_fill(r, it.hash.b, sizeof it.hash.b);
    item_draw(r, &it);
    must(mds_item_add(t, &it, &words, &err), &err);
    return it.id;
}

static uint64_t any_item(struct mds_txn *t, struct rng *r)
{
    struct mds_item it;
    struct error err;

    if (rng_once_in(r, 4))
        return item_add(t, r);
    const int rc = mds_item_next(t, 1 + rng_below(r, ITEMS), &it, &err);

    must(rc, &err);
    return rc ? it.id : item_add(t, r);
}

struct style { /* of a batch: constant, going up, or anything */
    unsigned dates, zones, sizes;
    int64_t at;
};

static struct mds_message draw(struct mds_txn *t, struct rng *r, uint32_t folder, struct style *s)
{
    const uint64_t item = any_item(t, r);
    struct mds_item it;
    struct error err;

    must(mds_item_get(t, item, &it, &err), &err);
    s->at += (int64_t)rng_below(r, 100);

    struct mds_message m = {.folder = folder, .item = item, .flags = (uint32_t)rng_below(r, 64), .saved_date = s->at};

    m.internal_date = s->dates == 0 ? 1600000000 : s->dates == 1 ? s->at : any_time(r);
    m.internal_zone = s->zones ? any_zone(r) : 0;
    m.size_crlf = s->sizes == 0 ? 1000 : s->sizes == 1 ? rng_below(r, 100000) : rng_u64(r) >> rng_below(r, 64) >> 1;
    m.sent_date = it.has_sent_date ? it.sent_date : m.internal_date;
    return m;
}

/* ---- changes ---- */

static uint32_t any_uid(struct mds_txn *t, struct rng *r, uint32_t folder)
{
    struct mds_folder f;
    struct mds_message m;
    struct error err;

    must(mds_folder_get(t, folder, &f, &err), &err);
    if (f.exists == 0)
        return 0;
    for (;;) {
        const int rc = mds_message_next(t, folder, 1 + (uint32_t)rng_below(r, f.uidnext), &m, &err);

        must(rc, &err);
        if (rc)
            return m.uid;
    }
}

static void file_many(struct mds_txn *t, struct rng *r, uint32_t folder)
{
    static const uint64_t sizes[] = {1, 2, 10, 63, 64, 65, 700, 3000};
    struct style s = {(unsigned)rng_below(r, 3), (unsigned)rng_below(r, 2), (unsigned)rng_below(r, 3), any_time(r)};
    struct error err;

    for (uint64_t n = 1 + rng_below(r, sizes[rng_below(r, 8)]); n > 0; n--) {
        struct mds_message m = draw(t, r, folder, &s);

        must(mds_message_add(t, &m, &err), &err);
    }
}

static void take_many(struct mds_txn *t, struct rng *r, uint32_t folder, const uint32_t folders[FOLDERS])
{
    const bool run = rng_once_in(r, 2);
    uint32_t uid = any_uid(t, r, folder), new_uid;
    struct mds_message m;
    struct error err;

    for (uint64_t n = rng_below(r, rng_once_in(r, 4) ? 2500 : 20); n > 0 && uid; n--) {
        const uint32_t to = folders[rng_below(r, FOLDERS)];

        switch (rng_below(r, 3)) {
        case 0: must(mds_message_expunge(t, folder, uid, 1, &err), &err); break;
        case 1: must(mds_message_remove(t, folder, uid, NULL, &err), &err); break;
        default: must(mds_message_move(t, folder, uid, to, 7, &new_uid, &err), &err); break;
        }
        if (run && mds_message_next(t, folder, uid, &m, &err) == 1)
            uid = m.uid;
        else
            uid = any_uid(t, r, folder);
    }
}

static void restore_some(struct mds_txn *t, struct rng *r, uint32_t folder)
{
    struct style s = {2, 1, 2, 0};
    struct mds_folder f;
    struct error err;

    must(mds_folder_get(t, folder, &f, &err), &err);
    for (int i = 0; i < 3 && f.uidnext > 1; i++) {
        struct mds_message m = draw(t, r, folder, &s);

        m.uid = 1 + (uint32_t)rng_below(r, f.uidnext - 1);
        const int rc = mds_message_restore(t, &m, &err);

        cr_assert(rc == BASE_OK || rc == BASE_ERR_EXISTS, "%s", err.text);
    }
}

static void record_anew(struct mds_txn *t, struct rng *r)
{
    struct mds_item it;
    struct error err;
    uint32_t folder, uid;
    uint64_t pos = 0;

    const int rc = mds_item_next(t, 1 + rng_below(r, ITEMS), &it, &err);

    must(rc, &err);
    if (rc == 0)
        return;
    if (mds_item_messages(t, it.id, &pos, &folder, &uid, &err) == 1 && rng_once_in(r, 2))
        it.thread_id++;
    else
        it.sent_zone = (int16_t)(it.has_sent_date ? it.sent_zone / 2 : 0);
    must(mds_item_update(t, &it, NULL, &err), &err);
}

static void change(struct mds_txn *t, struct rng *r, const uint32_t folders[FOLDERS])
{
    const uint32_t folder = folders[rng_below(r, FOLDERS)];
    struct error err;
    uint32_t uid, new_uid;

    switch (rng_below(r, 10)) {
    case 0:
    case 1:
    case 2: file_many(t, r, folder); break;
    case 3: take_many(t, r, folder, folders); break;
    case 4:
        for (uint64_t n = rng_below(r, 50); n > 0 && (uid = any_uid(t, r, folder)) != 0; n--)
            must(mds_message_set_flags(t, folder, uid, (uint32_t)rng_below(r, 64), (struct bytes){0}, &err), &err);
        break;
    case 5:
        for (uint64_t n = rng_below(r, 100); n > 0 && (uid = any_uid(t, r, folder)) != 0; n--)
            must(mds_message_copy(t, folder, uid, folders[rng_below(r, FOLDERS)], 5, &new_uid, &err), &err);
        break;
    case 6: must(mds_log_prune(t, folder, rng_below(r, 20), rng_below(r, 100), &err), &err); break;
    case 7: restore_some(t, r, folder); break;
    case 8: record_anew(t, r); break;
    default:
        if (rng_once_in(r, 4))
            must(mds_folder_outlive(t, folder, 1, 1, &err), &err);
        break;
    }
}

/* ---- the naive answers ---- */

static int64_t clock_of(int64_t instant, int64_t zone)
{
    const int64_t first = INT64_C(-62167219200), last = INT64_C(253402300799);

    return (instant < first ? first : instant > last ? last : instant) + 60 * zone;
}

static int64_t value_of(struct mds_txn *t, const struct mds_message *m, enum mds_column column)
{
    struct mds_item it;
    struct error err;

    must(mds_item_get(t, m->item, &it, &err), &err);
    switch (column) {
    case MDS_COLUMN_ITEM: return (int64_t)m->item;
    case MDS_COLUMN_SIZE: return (int64_t)m->size_crlf;
    case MDS_COLUMN_INTERNAL: return m->internal_date;
    case MDS_COLUMN_INTERNAL_CLOCK: return clock_of(m->internal_date, m->internal_zone);
    case MDS_COLUMN_SAVED: return m->saved_date;
    case MDS_COLUMN_SENT: return m->sent_date;
    case MDS_COLUMN_SENT_CLOCK: return it.has_sent_date ? clock_of(m->sent_date, it.sent_zone) : MDS_COLUMN_NOTHING;
    case MDS_COLUMN_THREAD: return (int64_t)it.thread_id;
    case MDS_COLUMN_COUNT: break;
    }
    cr_assert(false);
    return 0;
}

struct rows {
    uint32_t n, *uids;
    struct mds_message *m;
};

static struct rows rows_load(struct mds_txn *t, uint32_t folder)
{
    struct rows rows = {.uids = calloc(100000, sizeof *rows.uids), .m = calloc(100000, sizeof *rows.m)};
    struct mds_message m;
    struct error err;

    for (uint32_t uid = 1; mds_message_next(t, folder, uid, &m, &err) == 1; uid = m.uid + 1) {
        cr_assert_lt(rows.n, 100000);
        rows.uids[rows.n] = m.uid;
        rows.m[rows.n++] = m;
    }
    return rows;
}

static void check_reading(struct mds_txn *t, struct rng *r, uint32_t folder, const struct rows *rows)
{
    for (unsigned column = 0; column < MDS_COLUMN_COUNT; column++) {
        const uint64_t step = 1 + rng_below(r, rng_once_in(r, 2) ? 300 : 1);
        uint32_t *uids = calloc(rows->n + 1, sizeof *uids), n = 0;
        int64_t *out = calloc(rows->n + 1, sizeof *out);
        struct error err;

        for (uint64_t i = 0; i < rows->n; i += step)
            uids[n++] = rows->uids[i];
        must(mds_column_read(t, folder, (enum mds_column)column, uids, n, out, &err), &err);
        for (uint32_t i = 0; i < n; i++) {
            const int64_t want = value_of(t, &rows->m[i * step], (enum mds_column)column);

            cr_assert_eq(out[i], want, "column %u of %u/%u: %lld, not %lld", column, folder, uids[i], (long long)out[i],
                         (long long)want);
        }
        free(uids);
        free(out);
    }
}

static void check_same(const roaring_bitmap_t *got, const roaring_bitmap_t *want, const char *what)
{
    roaring_bitmap_t *diff = roaring_bitmap_xor(got, want);

    cr_assert(roaring_bitmap_is_empty(diff), "%s: %llu of %llu, UID %u differs", what,
              (unsigned long long)roaring_bitmap_get_cardinality(got),
              (unsigned long long)roaring_bitmap_get_cardinality(want), roaring_bitmap_minimum(diff));
    roaring_bitmap_free(diff);
}

static void check_select(struct mds_txn *t, struct rng *r, uint32_t folder, const struct rows *rows,
                         enum mds_column column)
{
    roaring_bitmap_t *among = roaring_bitmap_create(), *got = roaring_bitmap_create(), *want = roaring_bitmap_create();
    const uint64_t keep = rng_once_in(r, 2) ? 1 : 1 + rng_below(r, 500);
    uint32_t first = rng_once_in(r, 2) ? 0 : (uint32_t)rng_below(r, 6000), last = UINT32_MAX;
    struct error err;
    int64_t min = INT64_MIN, max = INT64_MAX;

    if (rng_once_in(r, 3))
        last = first + (uint32_t)rng_below(r, 5000);
    if (rows->n && !rng_once_in(r, 4)) {
        min = value_of(t, &rows->m[rng_below(r, rows->n)], column);
        if (min > INT64_MIN && min < INT64_MAX)
            min += (int64_t)rng_below(r, 3) - 1;
    }
    if (rows->n && !rng_once_in(r, 4))
        max = rng_once_in(r, 3) ? min : value_of(t, &rows->m[rng_below(r, rows->n)], column);
    for (uint32_t i = 0; i < rows->n; i++) {
        if (rng_below(r, keep) != 0)
            continue;
        const int64_t v = value_of(t, &rows->m[i], column);

        roaring_bitmap_add(among, rows->uids[i]);
        if (v >= min && v <= max && rows->uids[i] >= first && rows->uids[i] <= last &&
            (column != MDS_COLUMN_SENT_CLOCK || v != MDS_COLUMN_NOTHING))
            roaring_bitmap_add(want, rows->uids[i]);
    }
    must(mds_column_select(t, folder, column, min, max, among, first, last, got, &err), &err);
    check_same(got, want,
               textf("column %u of folder %u in %lld..%lld, UIDs %u..%u, one in %llu", column, folder, (long long)min,
                     (long long)max, first, last, (unsigned long long)keep));
    roaring_bitmap_free(among);
    roaring_bitmap_free(got);
    roaring_bitmap_free(want);
}

static void check_modseqs(struct mds_txn *t, struct rng *r, uint32_t folder, const struct rows *rows)
{
    roaring_bitmap_t *among = roaring_bitmap_create(), *got = roaring_bitmap_create(), *want = roaring_bitmap_create();
    const uint64_t keep = 1 + rng_below(r, rng_once_in(r, 2) ? 50 : 1);
    uint64_t min = rows->n ? rows->m[rng_below(r, rows->n)].modseq + rng_below(r, 2) : 0, highest = 0, told;
    struct error err;

    if (rng_once_in(r, 5))
        min = rng_once_in(r, 2) ? 0 : MODSEQ_TOP;
    for (uint32_t i = 0; i < rows->n; i++) {
        if (rng_below(r, keep) != 0)
            continue;
        roaring_bitmap_add(among, rows->uids[i]);
        highest = rows->m[i].modseq > highest ? rows->m[i].modseq : highest;
        if (rows->m[i].modseq >= min)
            roaring_bitmap_add(want, rows->uids[i]);
    }
    must(mds_modseq_select(t, folder, min, among, 0, UINT32_MAX, got, &err), &err);
    check_same(got, want, textf("modseqs of folder %u from %llu", folder, (unsigned long long)min));
    must(mds_modseq_highest(t, folder, among, &told, &err), &err);
    cr_assert_eq(told, highest, "highest modseq of folder %u: %llu, not %llu", folder, (unsigned long long)told,
                 (unsigned long long)highest);
    roaring_bitmap_free(among);
    roaring_bitmap_free(got);
    roaring_bitmap_free(want);
}

static void check(struct mds_txn *t, struct rng *r, const uint32_t folders[FOLDERS])
{
    for (unsigned i = 0; i < FOLDERS; i++) {
        struct rows rows = rows_load(t, folders[i]);

        check_reading(t, r, folders[i], &rows);
        for (unsigned q = 0; q < QUERIES; q++) {
            check_select(t, r, folders[i], &rows, (enum mds_column)rng_below(r, MDS_COLUMN_COUNT));
            check_modseqs(t, r, folders[i], &rows);
        }
        free(rows.uids);
        free(rows.m);
    }
}

static uint64_t packed_rows(struct mds_txn *t)
{
    struct mds_stat st;
    struct error err;

    must(mds_stat(t, &st, &err), &err);
    for (unsigned i = 0; i < st.tables_n; i++)
        if (strcmp(st.tables[i].name, "columns") == 0)
            return st.tables[i].entries;
    return 0;
}

Test(mds_columns, they_say_what_the_rows_say)
{
    struct rng r = rng_start("mds_columns");
    struct mds_env *env = NULL;
    struct mds_txn *t = NULL;
    struct error err;
    uint32_t folders[FOLDERS];
    uint64_t most = 0;
    unsigned findings = 0;

    must(mds_open(TEMP_DIR(), &(struct mds_options){.create = true, .archive_name = "a"}, &env, &err), &err);
    must(mds_write_begin(env, &t, &err), &err);
    for (unsigned i = 0; i < FOLDERS; i++)
        must(mds_folder_create(t, bytes_str(textf("f%u", i)), &folders[i], &err), &err);
    must(mds_write_commit(&t, &err), &err);
    for (unsigned round = 0; round < ROUNDS; round++) {
        must(mds_write_begin(env, &t, &err), &err);
        for (uint64_t n = 1 + rng_below(&r, 4); n > 0; n--)
            change(t, &r, folders);
        if (rng_once_in(&r, 6)) /* what a write transaction sees of itself */
            check(t, &r, folders);
        if (rng_once_in(&r, 8))
            mds_write_abort(&t);
        else
            must(mds_write_commit(&t, &err), &err);
        if (rng_once_in(&r, 5))
            must(mds_columns_build(env, &err), &err);
        must(mds_read_begin(env, &t, &err), &err);
        if (rng_once_in(&r, 3))
            check(t, &r, folders);
        if (rng_once_in(&r, 4))
            must(mds_verify(t, say, &findings, &err), &err);
        cr_assert_eq(findings, 0, "in round %u", round);
        most = packed_rows(t) > most ? packed_rows(t) : most;
        mds_read_end(&t);
    }
    cr_expect_gt(most, 20, "next to nothing was packed: %llu rows", (unsigned long long)most);
    mds_close(&env);
}
