#include "mds_fixture.h"

#include <criterion/criterion.h>

/*
 * Each row breaks one thing with well-sealed, well-summed writes, as a bug of ours would: only the comparison of tables can see it.
 * The store: folder 1 (INBOX) with items 1..5, folder 2 "f" with items 6..10; item 6 is gone (UID 1 of folder 2), item 5 (UID 5 of folder 1)
 * is kept aside.
 */

static struct error err;

static struct key key_of(uint64_t a, int a_bytes, uint64_t b, int b_bytes)
{
    struct key k = {.n = 0};

    a_bytes == 8 ? key_u64(&k, a) : key_u32(&k, (uint32_t)a);
    if (b_bytes)
        b_bytes == 8 ? key_u64(&k, b) : key_u32(&k, (uint32_t)b);
    return k;
}

static void drop(struct mds_txn *t, enum table table, struct key k)
{
    bool there = false;

    MUST(row_delete(t, table, key_bytes(&k), &there, &err));
    cr_assert(there);
}

static void put_raw(struct mds_txn *t, enum table table, struct key k, struct bytes payload)
{
    struct buf *v = value_begin(t);

    buf_append_bytes(v, payload);
    MUST(row_put(t, table, key_bytes(&k), v, &err));
}

static struct folder_entry *entry(struct mds_txn *t, uint32_t id)
{
    struct folder_entry *e = NULL;

    MUST(folder_entry_get(t, id, &e, &err));
    e->dirty = true;
    return e;
}

static void exists_off(struct mds_txn *t) { entry(t, 2)->f.exists--; }
static void unseen_off(struct mds_txn *t) { entry(t, 2)->f.unseen = 1; }
static void deleted_off(struct mds_txn *t) { entry(t, 2)->f.deleted = 1; }
static void bytes_off(struct mds_txn *t) { entry(t, 2)->f.bytes++; }
static void uidnext_low(struct mds_txn *t) { entry(t, 2)->f.uidnext = 5; }
static void modseq_low(struct mds_txn *t) { entry(t, 2)->f.highestmodseq--; }
static void modseq_high(struct mds_txn *t) { entry(t, 2)->f.highestmodseq++; }
static void orphan_folder(struct mds_txn *t) { entry(t, 2)->f.parent = 77; }
static void level_with_mail(struct mds_txn *t) { entry(t, 2)->f.selectable = false; }
static void name_empty(struct mds_txn *t)
{
    struct folder_entry *e = entry(t, 2);

    drop(t, TABLE_NAMES, (struct key){.p = {0, 0, 0, 0, 'f'}, .n = 5});
    buf_reset(&e->name);
    e->f.name = buf_bytes(&e->name);
    MUST(folder_names_put(t, 0, e->f.name, 2, &err));
}
static void set_missing(struct mds_txn *t) { MUST(set_change(t, 2, MDS_SET_EXISTS, 3, false, &err)); }
static void set_extra(struct mds_txn *t) { MUST(set_change(t, 2, MDS_SET_FLAG(2), 3, true, &err)); }
static void set_unknown(struct mds_txn *t) { MUST(set_change(t, 2, 40, 3, true, &err)); }
static void set_of_nobody(struct mds_txn *t) { MUST(set_change(t, 99, 0, 3, true, &err)); }
static void message_lost(struct mds_txn *t) { drop(t, TABLE_MESSAGES, key_of(2, 4, 3, 4)); }
static void filing_lost(struct mds_txn *t) { drop(t, TABLE_FILED, (struct key){.p = {0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 3}, .n = 16}); }
static void filing_extra(struct mds_txn *t) { put_raw(t, TABLE_FILED, (struct key){.p = {0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 4}, .n = 16}, (struct bytes){0}); }
static void item_lost(struct mds_txn *t) { drop(t, TABLE_ITEMS, key_of(8, 8, 0, 0)); }
static void name_lost(struct mds_txn *t) { drop(t, TABLE_NAMES, (struct key){.p = {0, 0, 0, 0, 'f'}, .n = 5}); }
static void name_astray(struct mds_txn *t) { put_raw(t, TABLE_NAMES, (struct key){.p = {0, 0, 0, 0, 'f'}, .n = 5}, BYTES_LIT("\1")); }
static void changes_lost(struct mds_txn *t) { drop(t, TABLE_CHANGES, key_of(2, 4, 2, 8)); }
static void changes_astray(struct mds_txn *t) { put_raw(t, TABLE_CHANGES, key_of(2, 4, 2, 8), BYTES_LIT("\2\5")); }
static void expunged_lost(struct mds_txn *t) { drop(t, TABLE_EXPUNGED, key_of(2, 4, 7, 8)); }
static void expunged_alive(struct mds_txn *t) { put_raw(t, TABLE_EXPUNGED, key_of(2, 4, 7, 8), BYTES_LIT("\2\1")); }
static void log_of_nobody(struct mds_txn *t) { put_raw(t, TABLE_CHANGES, key_of(99, 4, 2, 8), BYTES_LIT("\1\1")); }
static void words_lost(struct mds_txn *t) { MUST(pack_replace(t, PACK_SORT, 8, (struct bytes){0}, &err)); }
static void words_too_many(struct mds_txn *t) { MUST(pack_append(t, PACK_WIRE, 11, BYTES_LIT("\0"), &err)); }
static void words_damaged(struct mds_txn *t) { MUST(pack_replace(t, PACK_WIRE, 8, BYTES_LIT("\x7f"), &err)); }
static void packs_overlap(struct mds_txn *t) { put_raw(t, TABLE_HEADERS, key_of(9, 8, 0, 0), BYTES_LIT("\1\2\0")); }
static void hash_lost(struct mds_txn *t)
{
    struct mds_item it = {.id = 8, .hash = fixture_hash(8)};

    MUST(hashes_remove(t, &it, &err));
}
static void msgid_extra(struct mds_txn *t) { put_raw(t, TABLE_MSGIDS, key_of(3, 8, 4, 8), (struct bytes){0}); }
static void counter_items(struct mds_txn *t) { t->w->counters.items++; t->w->counters_dirty = true; }
static void counter_messages(struct mds_txn *t) { t->w->counters.messages--; t->w->counters_dirty = true; }
static void counter_folders(struct mds_txn *t) { t->w->counters.folders++; t->w->counters_dirty = true; }
static void counter_next_item(struct mds_txn *t) { t->w->counters.next_item = 4; t->w->counters_dirty = true; }
static void counter_defects(struct mds_txn *t) { t->w->counters.defects[7] = 1; t->w->counters_dirty = true; }
static void container_rows(struct mds_txn *t)
{
    struct mds_container c;

    MUST(mds_container_get(t, 1, &c, &err));
    MUST(mds_container_put(t, &c, &err));
    t->w->container.rows++;
}
static void container_name_lost(struct mds_txn *t) { drop(t, TABLE_CONTAINER_NAMES, (struct key){.p = {0, 0, 0, 1, 'c'}, .n = 5}); }
static void source_lost(struct mds_txn *t) { drop(t, TABLE_SOURCES, key_of(1, 4, 0, 0)); }
static void place_of_nobody(struct mds_txn *t) { put_raw(t, TABLE_PLACES, (struct key){.p = {0, 0, 0, 9, 'x'}, .n = 5}, BYTES_LIT("\0\1\1\1\0")); }
static void removed_lost(struct mds_txn *t) { drop(t, TABLE_REMOVED, key_of(1, 4, 5, 4)); }
static void removed_item_lost(struct mds_txn *t) { drop(t, TABLE_ITEMS, key_of(5, 8, 0, 0)); }
static void removed_unmarked(struct mds_txn *t) { put_raw(t, TABLE_FILED, (struct key){.p = {0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 5}, .n = 16}, (struct bytes){0}); }
static void message_marked(struct mds_txn *t) { put_raw(t, TABLE_FILED, (struct key){.p = {0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 3}, .n = 16}, BYTES_LIT("\1")); }
static void filing_strange(struct mds_txn *t) { put_raw(t, TABLE_FILED, (struct key){.p = {0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 3}, .n = 16}, BYTES_LIT("\2")); }
static void removed_never_given(struct mds_txn *t)
{
    entry(t, 1)->f.uidnext = 5;
    MUST(set_change(t, 1, MDS_SET_EXISTS, 5, false, &err));
}
static void removed_garbled(struct mds_txn *t) { put_raw(t, TABLE_REMOVED, key_of(1, 4, 5, 4), BYTES_LIT("\0\1f\0")); }
static void renames_low(struct mds_txn *t) { MUST(meta_own_put(t, META_RENAMES, BYTES_LIT("\1\5"), &err)); }
static void renames_short(struct mds_txn *t) { MUST(meta_own_put(t, META_RENAMES, BYTES_LIT("\xff\xff\xff\xff\x0f\1"), &err)); }
static void segments_garbled(struct mds_txn *t) { MUST(meta_own_put(t, META_SEGMENTS, BYTES_LIT("\0\1"), &err)); }
static void row_garbled(struct mds_txn *t) { put_raw(t, TABLE_MESSAGES, key_of(2, 4, 3, 4), BYTES_LIT("garbage")); }
static void sums_wrong(struct mds_txn *t) { t->w->sums.sum[TABLE_ITEMS]++; put_raw(t, TABLE_META, (struct key){.p = "gx", .n = 2}, BYTES_LIT("x")); }

static const struct {
    const char *name;
    void (*harm)(struct mds_txn *t);
    const char *word; /* of some finding */
} harms[] = {
    {"exists", exists_off, "folder 2: its counters"}, {"unseen", unseen_off, "folder 2: its counters"}, {"deleted", deleted_off, "folder 2: its counters"},
    {"bytes", bytes_off, "folder 2: its counters"}, {"uidnext", uidnext_low, "never given"}, {"modseq low", modseq_low, "never"},
    {"modseq high", modseq_high, "highestmodseq"}, {"parent", orphan_folder, "folder 2"}, {"level with mail", level_with_mail, "only a level, but holds 4"},
    {"name empty", name_empty, "its name is empty"}, {"set lacks", set_missing, "UID set 0"},
    {"set has more", set_extra, "UID set 3"}, {"set unknown", set_unknown, "unknown UID set"}, {"set of nobody", set_of_nobody, "folder 99"},
    {"message lost", message_lost, "counters"}, {"filing lost", filing_lost, "not filed"}, {"filing extra", filing_extra, "filings"},
    {"item lost", item_lost, "no item 8"}, {"name lost", name_lost, "its name does not lead"}, {"name astray", name_astray, "its name does not lead"},
    {"changes lost", changes_lost, "not in the log"}, {"changes astray", changes_astray, "log"}, {"expunged lost", expunged_lost, "no log calls expunged"},
    {"expunged alive", expunged_alive, "calls a message expunged"}, {"log of nobody", log_of_nobody, "folder 99"}, {"words lost", words_lost, "item 8"},
    {"words too many", words_too_many, "entries"}, {"words damaged", words_damaged, "item 8"}, {"packs overlap", packs_overlap, "overlap"},
    {"hash lost", hash_lost, "missing in table hashes"}, {"msgid extra", msgid_extra, "message ids"}, {"counter items", counter_items, "counters"},
    {"counter messages", counter_messages, "counters"}, {"counter folders", counter_folders, "counters"}, {"next item", counter_next_item, "next id"},
    {"defects", counter_defects, "defects"}, {"container rows", container_rows, "container 1"}, {"container name", container_name_lost, "container 1"},
    {"source", source_lost, "no source 1"}, {"place of nobody", place_of_nobody, "places"}, {"row garbled", row_garbled, "does not decode"},
    {"sums", sums_wrong, "the last commit left"},
    {"removed lost", removed_lost, "filings"}, {"removed item lost", removed_item_lost, "no item 5"}, {"removed unmarked", removed_unmarked, "does not know of it"},
    {"message marked", message_marked, "not filed"}, {"filing strange", filing_strange, "does not decode"}, {"removed never given", removed_never_given, "was never given"},
    {"removed garbled", removed_garbled, "does not decode"}, {"renames low", renames_low, "above all that were given"}, {"renames short", renames_short, "longer than any"},
    {"segments garbled", segments_garbled, "table meta"},
};

static void make(const char *dir)
{
    struct mds_env *env = fixture_open(dir);
    struct mds_txn *t = fixture_write(env);
    struct mds_container c;
    uint32_t source;

    (void)fixture_add(t, 1, 5, FLAG_SEEN);
    (void)fixture_add(t, fixture_folder(t, "f"), 5, FLAG_SEEN);
    MUST(mds_message_remove(t, 2, 1, NULL, &err));
    MUST(mds_message_expunge(t, 1, 5, 1, &err));
    MUST(mds_source_id(t, BYTES_LIT("s"), true, &source, &err));
    MUST(mds_container_find(t, source, BYTES_LIT("c"), true, &c, &err));
    MUST(mds_place_put(t, c.id, &(struct mds_place){.identity = BYTES_LIT("p"), .item = 7}, &err));
    fixture_commit(&t);
    MUST(mds_hashes_build(env, "/tmp", &err));
    cr_assert_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

Test(verify, each_harm_is_found)
{
    const char *root = TEMP_DIR();

    make(path_join(root, "sound"));
    const struct bytes sound = read_file(path_join(root, "sound/data.mdb"));

    for (size_t i = 0; i < sizeof harms / sizeof harms[0]; i++) {
        const char *dir = path_join(root, textf("%zu", i)), *text;

        write_file(path_join(dir, "data.mdb"), sound);
        struct mds_env *env = fixture_open(dir);
        struct mds_txn *t = fixture_write(env);

        harms[i].harm(t);
        fixture_commit(&t);
        const int found = fixture_verify(env, &text);

        cr_expect_gt(found, 0, "%s: nothing found", harms[i].name);
        cr_expect_not_null(strstr(text, harms[i].word), "%s: found only:\n%s", harms[i].name, text);
        mds_close(&env);
    }
}

/* One byte makes LMDB serve the commit before the last: all sound, but not the answer. */
Test(verify, a_hidden_commit_is_found)
{
    const char *root = TEMP_DIR();
    const size_t txnid_at = 16 + 24 + 2 * 48 + 8; /* in a meta page */

    make(path_join(root, "sound"));
    for (int commits = 0; commits < 6; commits++) {
        const struct bytes sound = read_file(path_join(root, "sound/data.mdb"));
        const size_t newest = sound.p[txnid_at] > sound.p[4096 + txnid_at] ? 0 : 4096;

        for (int by = 1; by <= 4; by++) {
            const char *dir = path_join(root, textf("%d-%d", commits, by)), *text = "";
            struct mds_env *env = NULL;
            uint8_t *copy = malloc(sound.n);

            memcpy(copy, sound.p, sound.n);
            copy[newest + txnid_at] = (uint8_t)(copy[newest + txnid_at] - by);
            write_file(path_join(dir, "data.mdb"), bytes_of(copy, sound.n));
            free(copy);
            env = fixture_open(dir);
            cr_expect_gt(fixture_verify(env, &text), 0, "txnid %u less %d is not found", sound.p[newest + txnid_at], by);
            mds_close(&env);
        }
        struct mds_env *env = fixture_open(path_join(root, "sound"));
        struct mds_txn *t = fixture_write(env);

        (void)fixture_add(t, 1, 1, FLAG_SEEN);
        fixture_commit(&t);
        cr_expect_eq(fixture_verify(env, NULL), 0);
        mds_close(&env);
    }
}

static void count(const char *text, void *arg)
{
    (void)text;
    ++*(int *)arg;
}

Test(verify, findings_are_capped)
{
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    int called = 0;

    (void)fixture_add(t, 1, 1500, 0);
    fixture_commit(&t);
    t = fixture_write(env);
    MUST(table_empty(t, TABLE_FILED, &err));
    fixture_commit(&t);
    t = fixture_read(env);
    cr_expect_eq(mds_verify(t, count, &called, &err), 1000);
    cr_expect_eq(called, 1000);
    mds_read_end(&t);
    mds_close(&env);
}
