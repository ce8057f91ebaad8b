/* Changes through the public API, on real stores: each command, its outcome, what a reader shows then, and what it refuses. */
#include "fixture.h"

#include "change.h"
#include "test_support.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct mdsq_error e;

#define OK(call) cr_assert_geq((call), 0, "%s: %s", #call, e.text)

struct bed {
    struct fixture *f;
    struct mdsq_store *store;
    struct mdsq_archive *archive;
    struct mdsq_reader *reader;
};

/* Five messages in INBOX, the first two seen; the store opened for writing. */
static struct bed bed_new(const char *dir)
{
    struct bed b = {.f = fixture_new(dir)};

    for (int i = 0; i < 5; i++)
        fixture_add(b.f, "INBOX", bytes_str(textf("Subject: m%d\r\n\r\nbody %d\r\n", i, i)),
                    &(struct filing){.flags = i < 2 ? VAULT_FLAG_SEEN : 0, .internal_date = 1000 + i});
    OK(mds_hashes_build(b.f->env, dir, &(struct error){0}));
    OK(mdsq_store_open(b.f->store_dir, MDSQ_STORE_WRITE, &b.store, &e));
    OK(mdsq_archive_open(b.store, "ann", &b.archive, &e));
    OK(mdsq_reader_begin(b.archive, &b.reader, &e));
    return b;
}

static void bed_free(struct bed *b)
{
    mdsq_reader_end(&b->reader);
    mdsq_archive_close(&b->archive);
    mdsq_store_close(&b->store);
    fixture_free(&b->f);
}

static struct mdsq_view *view_of(struct bed *b, const char *folder)
{
    struct mdsq_view *view = NULL;

    OK(mdsq_reader_renew(b->reader, &e));
    OK(mdsq_view_open(b->reader, folder, &view, &e));
    return view;
}

static struct mdsq_set *set_of(const struct mdsq_view *view, const char *text)
{
    struct mdsq_set *set = NULL;

    OK(mdsq_set_parse(view, text, strlen(text), true, &set, &e));
    return set;
}

static const char *text_of(const struct mdsq_set *set)
{
    char text[200] = "";
    uint64_t pos = 0;
    uint32_t first, last;

    while (set && mdsq_set_next_range(set, NULL, &pos, &first, &last))
        snprintf(text + strlen(text), sizeof text - strlen(text), first == last ? "%s%u" : "%s%u-%u", *text ? " " : "", first,
                 last);
    return textf("%s", text);
}

/* "uid(flags) ..." of a folder. */
static const char *listing(struct bed *b, const char *folder)
{
    struct mdsq_view *view = view_of(b, folder);
    struct mdsq_fetch *fetch = NULL;
    struct mdsq_message m;
    char text[1000] = "";

    OK(mdsq_fetch_new(b->reader, view, NULL, MDSQ_FETCH_FLAGS, &fetch, &e));
    while (mdsq_fetch_next(fetch, &m, &e) > 0)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%u%.*s", *text ? " " : "", m.uid, (int)m.flags.n,
                 (const char *)m.flags.p);
    mdsq_fetch_free(&fetch);
    mdsq_view_close(&view);
    return textf("%s", text);
}

static int store_flags(struct bed *b, const char *set_text, enum mdsq_store_mode mode, unsigned bits, const char *keyword,
                       const uint64_t *since, struct mdsq_change **out)
{
    struct mdsq_view *view = view_of(b, "INBOX");
    struct mdsq_set *set = set_text ? set_of(view, set_text) : NULL;
    const struct mdsq_bytes word = {(const uint8_t *)keyword, keyword ? strlen(keyword) : 0};
    const struct mdsq_flags flags = {bits, &word, keyword != NULL};

    OK(mdsq_change_store(b->archive, view, set, mode, &flags, since, out, &e));
    mdsq_set_free(&set);
    mdsq_view_close(&view);
    return mdsq_change_wait(*out, &e);
}

static void check_store(struct bed *b)
{
    struct mds_txn *txn = NULL;
    struct error err;

    OK(mds_read_begin(b->f->env, &txn, &err));
    cr_expect_eq(mds_verify(txn, NULL, NULL, &err), 0);
    mds_read_end(&txn);
}

Test(change, store_sets_flags_and_tells_what_it_did)
{
    struct bed b = bed_new(TEMP_DIR());
    struct mdsq_change *change = NULL;
    struct mdsq_outcome o;

    OK(store_flags(&b, "2:3", MDSQ_STORE_ADD, VAULT_FLAG_FLAGGED, "Work", NULL, &change));
    OK(mdsq_change_outcome(change, &o, &e));
    cr_expect_str_eq(text_of(o.changed), "2-3");
    cr_expect_str_eq(text_of(o.modified), "");
    cr_expect_eq(o.modseq_last - o.modseq_first, 1);
    mdsq_change_free(&change);
    cr_expect_str_eq(listing(&b, "INBOX"), "1(\\Seen) 2(\\Seen \\Flagged Work) 3(\\Flagged Work) 4() 5()");

    const uint64_t since = o.modseq_first;

    OK(store_flags(&b, NULL, MDSQ_STORE_REPLACE, VAULT_FLAG_DRAFT, "wORK", &since, &change));
    OK(mdsq_change_outcome(change, &o, &e));
    cr_expect_str_eq(text_of(o.changed), "1-2 4-5");
    cr_expect_str_eq(text_of(o.modified), "3");
    mdsq_change_free(&change);
    cr_expect_str_eq(listing(&b, "INBOX"), "1(\\Draft Work) 2(\\Draft Work) 3(\\Flagged Work) 4(\\Draft Work) 5(\\Draft Work)");

    OK(store_flags(&b, NULL, MDSQ_STORE_REMOVE, VAULT_FLAG_DRAFT, "work", NULL, &change));
    mdsq_change_free(&change);
    cr_expect_str_eq(listing(&b, "INBOX"), "1() 2() 3(\\Flagged) 4() 5()");

    /* Nothing changes: no modseq is taken. */
    OK(store_flags(&b, NULL, MDSQ_STORE_REMOVE, VAULT_FLAG_DRAFT, "never", NULL, &change));
    OK(mdsq_change_outcome(change, &o, &e));
    cr_expect_str_eq(text_of(o.changed), "1-5");
    cr_expect_eq(o.modseq_first, 0);
    mdsq_change_free(&change);
    OK(store_flags(&b, "1", MDSQ_STORE_ADD, 0, "$forwarded", NULL, &change));
    mdsq_change_free(&change);
    cr_expect_str_eq(listing(&b, "INBOX"), "1($Forwarded) 2() 3(\\Flagged) 4() 5()");
    check_store(&b);
    bed_free(&b);
}

Test(change, expunge_takes_the_deleted_ones_of_the_set)
{
    struct bed b = bed_new(TEMP_DIR());
    struct mdsq_view *view = view_of(&b, "INBOX");
    struct mdsq_set *set = set_of(view, "1:3");
    struct mdsq_change *change = NULL;
    struct mdsq_outcome o;

    OK(store_flags(&b, "2,4", MDSQ_STORE_ADD, VAULT_FLAG_DELETED, NULL, NULL, &change));
    mdsq_change_free(&change);
    OK(mdsq_change_expunge(b.archive, view, set, &change, &e));
    OK(mdsq_change_wait(change, &e));
    OK(mdsq_change_outcome(change, &o, &e));
    cr_expect_str_eq(text_of(o.changed), "2");
    cr_expect_eq(o.modseq_first, o.modseq_last);
    mdsq_change_free(&change);
    OK(mdsq_change_expunge(b.archive, view, NULL, &change, &e));
    OK(mdsq_change_wait(change, &e));
    OK(mdsq_change_outcome(change, &o, &e));
    cr_expect_str_eq(text_of(o.changed), "4");
    mdsq_change_free(&change);
    cr_expect_str_eq(listing(&b, "INBOX"), "1(\\Seen) 3() 5()");
    check_store(&b);
    mdsq_set_free(&set);
    mdsq_view_close(&view);
    bed_free(&b);
}

static int run(struct mdsq_change **change)
{
    const int rc = mdsq_change_wait(*change, &e);

    mdsq_change_free(change);
    return rc;
}

/* Fails when it is made, or when it is applied. */
static int create(struct bed *b, const char *name)
{
    struct mdsq_change *change = NULL;
    const int rc = mdsq_change_create(b->archive, name, 0, &change, &e);

    return rc < 0 ? rc : run(&change);
}

Test(change, copy_and_move_keep_the_order)
{
    struct bed b = bed_new(TEMP_DIR());
    struct mdsq_view *view = view_of(&b, "INBOX");
    struct mdsq_set *set = set_of(view, "1,3:4");
    struct mdsq_change *change = NULL;
    struct mdsq_outcome o;

    OK(mdsq_change_copy(b.archive, view, set, "Work/Old", &change, &e));
    cr_expect_eq(mdsq_change_wait(change, &e), MDSQ_ERR_NOTFOUND);
    cr_expect_eq(mdsq_change_outcome(change, &o, &e), MDSQ_ERR_NOTFOUND);
    cr_expect(o.no_destination);
    mdsq_change_free(&change);
    OK(create(&b, "Work/Old"));
    OK(mdsq_change_copy(b.archive, view, set, "Work/Old", &change, &e));
    OK(mdsq_change_wait(change, &e));
    OK(mdsq_change_outcome(change, &o, &e));
    cr_expect_str_eq(text_of(o.source), "1 3-4");
    cr_expect_str_eq(text_of(o.dest), "1-3");
    cr_expect_gt(o.uidvalidity, 0);
    mdsq_change_free(&change);
    OK(mdsq_change_move(b.archive, view, set, "Work/Old", &change, &e));
    OK(mdsq_change_wait(change, &e));
    OK(mdsq_change_outcome(change, &o, &e));
    cr_expect_str_eq(text_of(o.changed), "1 3-4");
    cr_expect_str_eq(text_of(o.dest), "4-6");
    mdsq_change_free(&change);
    /* Once more: they are gone, and passed over. */
    OK(mdsq_change_move(b.archive, view, set, "Work/Old", &change, &e));
    OK(mdsq_change_wait(change, &e));
    OK(mdsq_change_outcome(change, &o, &e));
    cr_expect_str_eq(text_of(o.source), "");
    mdsq_change_free(&change);
    /* Into its own folder: new UIDs. */
    OK(mdsq_change_move(b.archive, view, NULL, "inbox", &change, &e));
    OK(run(&change));
    cr_expect_str_eq(listing(&b, "INBOX"), "6(\\Seen) 7()");
    cr_expect_str_eq(listing(&b, "Work/Old"), "1(\\Seen) 2() 3() 4(\\Seen) 5() 6()");
    check_store(&b);
    mdsq_set_free(&set);
    mdsq_view_close(&view);
    bed_free(&b);
}

static int on_name(const struct mdsq_folder *folder, void *arg)
{
    char *text = arg;

    snprintf(text + strlen(text), 500 - strlen(text), "%s%s%s%s", *text ? " " : "", folder->name,
             folder->attrs & MDSQ_FOLDER_NOSELECT ? "!" : "", folder->attrs & MDSQ_FOLDER_SUBSCRIBED ? "+" : "");
    return 0;
}

static const char *folders(struct bed *b)
{
    static char text[500];

    text[0] = 0;
    OK(mdsq_reader_renew(b->reader, &e));
    OK(mdsq_list(b->reader, "", "*", false, on_name, text, &e));
    return text;
}

Test(change, folders_are_made_renamed_subscribed_and_deleted)
{
    struct bed b = bed_new(TEMP_DIR());
    struct mdsq_change *change = NULL;
    struct mdsq_outcome o;

    OK(mdsq_change_create(b.archive, "a/b", 0, &change, &e));
    OK(mdsq_change_wait(change, &e));
    OK(mdsq_change_outcome(change, &o, &e));
    cr_expect_eq(strlen(o.mailbox_id), 27);
    mdsq_change_free(&change);
    cr_expect_eq(create(&b, "a/b"), MDSQ_ERR_EXISTS);
    cr_expect_eq(create(&b, "inbox"), MDSQ_ERR_EXISTS);
    cr_expect_eq(create(&b, "x//y"), MDSQ_ERR_USAGE, "%s", e.text);
    cr_expect_str_eq(folders(&b), "INBOX+ a! a/b");
    OK(mdsq_change_subscribe(b.archive, "a/b", true, &change, &e));
    OK(run(&change));
    OK(mdsq_change_rename(b.archive, "a", "c/d", &change, &e));
    OK(run(&change));
    cr_expect_str_eq(folders(&b), "INBOX+ c! c/d! c/d/b+");
    OK(mdsq_change_rename(b.archive, "c", "c/d/e", &change, &e));
    cr_expect_eq(run(&change), MDSQ_ERR_USAGE);
    OK(mdsq_change_rename(b.archive, "nowhere", "f", &change, &e));
    cr_expect_eq(run(&change), MDSQ_ERR_NOTFOUND);
    OK(mdsq_change_delete(b.archive, "c", &change, &e));
    cr_expect_eq(run(&change), MDSQ_ERR_USAGE);
    OK(mdsq_change_delete(b.archive, "INBOX", &change, &e));
    cr_expect_eq(run(&change), MDSQ_ERR_USAGE);
    OK(mdsq_change_subscribe(b.archive, "c/d/b", false, &change, &e));
    OK(run(&change));
    OK(mdsq_change_delete(b.archive, "c/d/b", &change, &e));
    OK(run(&change));
    cr_expect_str_eq(folders(&b), "INBOX+");
    OK(mdsq_change_delete(b.archive, "c/d/b", &change, &e));
    cr_expect_eq(run(&change), MDSQ_ERR_NOTFOUND);
    OK(mdsq_change_rename(b.archive, "INBOX", "kept", &change, &e));
    OK(run(&change));
    cr_expect_str_eq(folders(&b), "INBOX+ kept");
    cr_expect_str_eq(listing(&b, "INBOX"), "");
    cr_expect_str_eq(listing(&b, "kept"), "1(\\Seen) 2(\\Seen) 3() 4() 5()");
    OK(mdsq_change_delete(b.archive, "kept", &change, &e));
    OK(run(&change));
    cr_expect_str_eq(folders(&b), "INBOX+");
    check_store(&b);
    bed_free(&b);
}

static struct mdsq_draft *draft_of(struct bed *b, const char *text)
{
    struct mdsq_draft *draft = NULL;

    OK(mdsq_draft_new(b->archive, &draft, &e));
    OK(mdsq_draft_write(draft, text, strlen(text), &e));
    return draft;
}

Test(change, append_files_an_item_once)
{
    struct bed b = bed_new(TEMP_DIR());
    struct mdsq_change *change = NULL;
    struct mdsq_outcome o;
    const struct mdsq_bytes words[] = {{(const uint8_t *)"Work", 4}, {(const uint8_t *)"$Forwarded", 10}};
    struct mdsq_append two[2] = {
        {.draft = draft_of(&b, "Subject: new\r\n\r\nhello\r\n"), .flags = {VAULT_FLAG_SEEN, words, 2}, .has_date = true, .internal_date = 5},
        {.draft = draft_of(&b, "Subject: new\r\n\r\nhello\r\n")},
    };

    OK(mdsq_change_append(b.archive, "INBOX", two, 2, &change, &e));
    OK(mdsq_change_wait(change, &e));
    OK(mdsq_change_outcome(change, &o, &e));
    cr_expect_str_eq(text_of(o.dest), "6-7");
    cr_expect_gt(o.uidvalidity, 0);
    mdsq_change_free(&change);
    two[0] = (struct mdsq_append){.draft = draft_of(&b, "Subject: new\r\n\r\nhello\r\n")};
    OK(mdsq_change_append(b.archive, "INBOX", two, 1, &change, &e));
    OK(run(&change));
    /* In the vault that is read in place: it gets bytes of its own. */
    two[0] = (struct mdsq_append){.draft = draft_of(&b, "Subject: m0\r\n\r\nbody 0\r\n")};
    OK(mdsq_change_append(b.archive, "INBOX", two, 1, &change, &e));
    OK(run(&change));
    two[0] = (struct mdsq_append){.draft = draft_of(&b, "x")};
    OK(mdsq_change_append(b.archive, "nowhere", two, 1, &change, &e));
    cr_expect_eq(mdsq_change_wait(change, &e), MDSQ_ERR_NOTFOUND);
    (void)mdsq_change_outcome(change, &o, NULL);
    cr_expect(o.no_destination);
    mdsq_change_free(&change);
    cr_expect_str_eq(listing(&b, "INBOX"), "1(\\Seen) 2(\\Seen) 3() 4() 5() 6(\\Seen $Forwarded Work) 7() 8() 9()");

    struct mds_txn *txn = NULL;
    struct mds_stat stat;
    struct error err;

    OK(mds_read_begin(b.f->env, &txn, &err));
    OK(mds_stat(txn, &stat, &err));
    cr_expect_eq(stat.items, 6, "%llu items", (unsigned long long)stat.items);
    mds_read_end(&txn);
    OK(remove(path_join(b.f->vault_dir, "1.eml")));

    struct mdsq_view *view = view_of(&b, "INBOX");
    const struct mdsq_section all = {.kind = MDSQ_SECTION_ALL};
    int rc;

    b.f->reader = b.reader;
    cr_expect_str_eq((const char *)fixture_body(b.f, view, 7, &all, &rc).p, "Subject: new\r\n\r\nhello\r\n");
    cr_expect_str_eq((const char *)fixture_body(b.f, view, 1, &all, &rc).p, "Subject: m0\r\n\r\nbody 0\r\n");
    b.f->reader = NULL;
    OK(mdsq_change_replace(b.archive, view, 3, "INBOX", &(struct mdsq_append){.draft = draft_of(&b, "Subject: r\r\n\r\n")}, &change, &e));
    OK(mdsq_change_wait(change, &e));
    OK(mdsq_change_outcome(change, &o, &e));
    cr_expect_str_eq(text_of(o.changed), "3");
    cr_expect_str_eq(text_of(o.dest), "10");
    mdsq_change_free(&change);
    OK(mdsq_change_replace(b.archive, view, 3, "INBOX", &(struct mdsq_append){.draft = draft_of(&b, "Subject: r\r\n\r\n")}, &change, &e));
    cr_expect_eq(run(&change), MDSQ_ERR_NOTFOUND);
    check_store(&b);
    mdsq_view_close(&view);
    bed_free(&b);
}

Test(change, a_store_opened_for_reading_refuses)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    struct mdsq_change *change = NULL;
    struct mdsq_draft *draft = NULL;

    fixture_open(f);
    cr_expect_not(mdsq_archive_writable(f->archive));
    cr_expect_eq(mdsq_change_create(f->archive, "x", 0, &change, &e), MDSQ_ERR_READONLY);
    cr_expect_eq(mdsq_draft_new(f->archive, &draft, &e), MDSQ_ERR_READONLY);
    fixture_free(&f);
}

static void count_up(void *arg)
{
    (*(atomic_uint *)arg)++;
}

Test(change, waiting_changes_share_a_commit_and_fail_alone)
{
    struct bed b = bed_new(TEMP_DIR());
    enum { N = 200 };
    struct mdsq_change *changes[N] = {NULL};
    struct mds_txn *txn = NULL;
    atomic_uint done = 0;
    uint64_t changes_n, commits_n;
    struct error err;

    /* While another writer has its turn, all of them gather. */
    OK(mds_write_begin(b.f->env, &txn, &err));
    for (int i = 0; i < N; i++) {
        /* Every tenth fails when half of it is written: its own name is a level by then. */
        OK(mdsq_change_create(b.archive, i % 10 == 9 ? "f1" : textf("f%d", i), 0, &changes[i], &e));
        OK(mdsq_change_submit(changes[i], count_up, &done));
    }
    cr_expect_eq(mdsq_change_submit(changes[0], NULL, NULL), MDSQ_ERR_USAGE);
    mds_write_abort(&txn);
    for (int i = 0; i < N; i++) {
        struct mdsq_outcome o;

        while (atomic_load(&done) < N)
            ;
        cr_expect_eq(mdsq_change_outcome(changes[i], &o, &e), i % 10 == 9 ? MDSQ_ERR_EXISTS : 0, "%d: %s", i, e.text);
        mdsq_change_free(&changes[i]);
    }
    query_writer_counts(b.store, &changes_n, &commits_n);
    cr_expect_eq(changes_n, N);
    /* A turn also ends when it has taken long, which a loaded machine makes it. */
    cr_expect_lt(commits_n, N / 10, "%llu commits", (unsigned long long)commits_n);
    check_store(&b);
    bed_free(&b);
}

struct finish {
    atomic_uint *clock;
    atomic_uint at;
};

static void note_finish(void *arg)
{
    struct finish *f = arg;

    atomic_store(&f->at, atomic_fetch_add(f->clock, 1) + 1);
}

/* `n` copies of INBOX's first message in a folder. */
static void fill(struct bed *b, const char *folder, unsigned n)
{
    struct mds_txn *txn = NULL;
    struct mds_folder inbox;
    struct error err;
    uint32_t id = 0, uid = 0;

    OK(mds_write_begin(b->f->env, &txn, &err));
    OK(mds_folder_find(txn, BYTES_LIT("INBOX"), &inbox, &err));
    OK(mds_folder_create(txn, bytes_str(folder), &id, &err));
    for (unsigned i = 0; i < n; i++)
        OK(mds_message_copy(txn, inbox.id, 1, id, 1, &uid, &err));
    OK(mds_write_commit(&txn, &err));
}

/* Others have their turn in the midst of it; what waited and what is deleted at last is as if it had been one piece. */
Test(change, delete_of_a_large_folder_holds_nobody_up)
{
    struct bed b = bed_new(TEMP_DIR());
    enum { N = 9000 };
    struct mdsq_change *large = NULL, *small = NULL;
    atomic_uint clock = 0;
    struct finish large_done = {&clock, 0}, small_done = {&clock, 0};
    struct mds_txn *txn = NULL;
    struct mdsq_outcome o;
    struct error err;
    uint64_t changes_n, commits_n;

    fill(&b, "large", N);
    OK(mds_write_begin(b.f->env, &txn, &err)); /* both wait */
    OK(mdsq_change_delete(b.archive, "large", &large, &e));
    OK(mdsq_change_submit(large, note_finish, &large_done));
    OK(mdsq_change_create(b.archive, "small", 0, &small, &e));
    OK(mdsq_change_submit(small, note_finish, &small_done));
    mds_write_abort(&txn);
    while (atomic_load(&clock) < 2)
        ;
    OK(mdsq_change_outcome(large, &o, &e));
    OK(mdsq_change_outcome(small, &o, &e));
    cr_expect_lt(atomic_load(&small_done.at), atomic_load(&large_done.at));
    mdsq_change_free(&large);
    mdsq_change_free(&small);
    query_writer_counts(b.store, &changes_n, &commits_n);
    cr_expect_eq(changes_n, 2);
    cr_expect_geq(commits_n, N / 4096, "%llu commits", (unsigned long long)commits_n);
    OK(mdsq_reader_renew(b.reader, &e));
    cr_expect_str_eq(folders(&b), "INBOX+ small");
    check_store(&b);
    bed_free(&b);
}

static int on_gone(uint32_t seq, uint32_t uid, void *arg)
{
    char *text = arg;

    snprintf(text + strlen(text), 200 - strlen(text), "-%u(%u) ", seq, uid);
    return 0;
}

static const char *advance(struct bed *b, struct mdsq_view *view, int *rc)
{
    static char text[200];
    const struct mdsq_news news = {on_gone, NULL, text};

    text[0] = 0;
    OK(mdsq_reader_renew(b->reader, &e));
    *rc = mdsq_view_advance(b->reader, view, true, &news, &e);
    return text;
}

Test(change, views_follow)
{
    struct bed b = bed_new(TEMP_DIR());
    struct mdsq_view *inbox = view_of(&b, "INBOX"), *other = view_of(&b, "INBOX"), *work = NULL;
    struct mdsq_change *change = NULL;
    struct mdsq_set *set = set_of(inbox, "2,4");
    int rc;

    /* Expunged and added at once. */
    OK(mdsq_change_move(b.archive, inbox, set, "INBOX", &change, &e));
    OK(run(&change));
    cr_expect_str_eq(advance(&b, inbox, &rc), "-4(4) -2(2) ");
    cr_expect_eq(mdsq_view_count(inbox), 5);
    cr_expect_eq(mdsq_view_uid(inbox, 5), 7);
    cr_expect_str_eq(advance(&b, other, &rc), "-4(4) -2(2) ");
    cr_expect_eq(inbox->uids, other->uids, "sessions of one state share one set");
    mdsq_set_free(&set);

    OK(create(&b, "Work/Old"));
    OK(mdsq_change_copy(b.archive, inbox, NULL, "Work/Old", &change, &e));
    OK(run(&change));
    work = view_of(&b, "Work/Old");
    cr_expect_eq(mdsq_view_count(work), 5);
    /* Renamed: the same folder, whatever it is called; also for changes. */
    OK(mdsq_change_rename(b.archive, "Work", "Play", &change, &e));
    OK(run(&change));
    cr_expect_str_eq(advance(&b, work, &rc), "");
    cr_expect_geq(rc, 0);
    OK(mdsq_change_store(b.archive, work, NULL, MDSQ_STORE_ADD, &(struct mdsq_flags){.flags = VAULT_FLAG_DELETED}, NULL, &change, &e));
    OK(run(&change));
    set = set_of(work, "5");
    OK(mdsq_change_expunge(b.archive, work, set, &change, &e));
    OK(run(&change));
    cr_expect_str_eq(advance(&b, work, &rc), "-5(5) ");
    mdsq_set_free(&set);
    /* INBOX renamed: it is empty now. */
    OK(mdsq_change_rename(b.archive, "INBOX", "Was", &change, &e));
    OK(run(&change));
    cr_expect_str_eq(advance(&b, inbox, &rc), "-5(7) -4(6) -3(5) -2(3) -1(1) ");
    /* Deleted, and made again under its name: another folder. */
    OK(mdsq_change_delete(b.archive, "Play/Old", &change, &e));
    OK(run(&change));
    (void)advance(&b, work, &rc);
    cr_expect_eq(rc, MDSQ_ERR_NOTFOUND);
    OK(create(&b, "Play/Old"));
    (void)advance(&b, work, &rc);
    cr_expect_eq(rc, MDSQ_ERR_NOTFOUND);
    OK(mdsq_change_expunge(b.archive, work, NULL, &change, &e));
    cr_expect_eq(run(&change), MDSQ_ERR_NOTFOUND);
    check_store(&b);
    mdsq_view_close(&inbox);
    mdsq_view_close(&other);
    mdsq_view_close(&work);
    bed_free(&b);
}

Test(change, a_map_that_must_grow_replays)
{
    const char *dir = TEMP_DIR();
    struct fixture *f = fixture_new(dir);
    struct mds_archive_info info;
    struct mds_env *small = NULL;
    struct mdsq_store *store = NULL;
    struct mdsq_archive *archive = NULL;
    struct mdsq_change *changes[20] = {NULL};
    struct mds_txn *txn = NULL;
    struct error err;
    const struct mds_options options = {.create = true, .archive_name = "small", .map_bytes = 256 << 10};

    OK(mds_catalogue_archive_find(f->catalogue, "small", true, &info, &err));
    OK(mds_open(info.dir, &options, &small, &err));
    OK(mdsq_store_open(f->store_dir, MDSQ_STORE_WRITE, &store, &e));
    OK(mdsq_archive_open(store, "small", &archive, &e));
    OK(mds_write_begin(small, &txn, &err));
    for (int i = 0; i < 20; i++) {
        struct mdsq_append message = {0};
        struct buf raw = {0};

        buf_printf(&raw, "Subject: %d\n", i);
        for (int j = 0; j < 300; j++)
            buf_printf(&raw, "To: somebody.%d.%d@example.com\n", i, j);
        OK(mdsq_draft_new(archive, &message.draft, &e));
        OK(mdsq_draft_write(message.draft, raw.p, raw.n, &e));
        OK(mdsq_change_append(archive, "INBOX", &message, 1, &changes[i], &e));
        OK(mdsq_change_submit(changes[i], NULL, NULL));
        buf_release(&raw);
    }
    mds_write_abort(&txn);
    for (int i = 0; i < 20; i++) {
        struct mdsq_change *marker = NULL;
        struct mdsq_outcome o;

        OK(mdsq_change_subscribe(archive, "INBOX", true, &marker, &e));
        OK(run(&marker)); /* changes are done in order */
        cr_expect_eq(mdsq_change_outcome(changes[i], &o, &e), 0, "%d: %s", i, e.text);
        cr_expect_eq(mdsq_set_last(o.dest), (uint32_t)i + 1);
        mdsq_change_free(&changes[i]);
    }
    OK(mds_read_begin(small, &txn, &err));
    cr_expect_eq(mds_verify(txn, NULL, NULL, &err), 0);
    mds_read_end(&txn);
    mdsq_archive_close(&archive);
    mdsq_store_close(&store);
    mds_close(&small);
    fixture_free(&f);
}

/* Three hundred changes of messages 1, 3, 5, 1, ...: whether what came after the first of them is still known. */
static bool log_reaches_back(uint64_t log_rows)
{
    struct bed b = bed_new(TEMP_DIR());
    struct mdsq_set *changed = NULL, *expunged = NULL;
    struct mdsq_status status;
    bool complete = false;

    mdsq_store_configure(b.store, &(struct mdsq_store_settings){.log_rows = log_rows});
    OK(mdsq_status(b.reader, "INBOX", &status, &e));
    for (int i = 0; i < 300; i++) {
        struct mdsq_change *change = NULL;
        OK(store_flags(&b, i % 3 == 0 ? "1" : i % 3 == 1 ? "3" : "5", i / 3 % 2 ? MDSQ_STORE_REMOVE : MDSQ_STORE_ADD, VAULT_FLAG_FLAGGED, NULL, NULL, &change));
        mdsq_change_free(&change);
    }
    OK(mdsq_reader_renew(b.reader, &e));
    OK(mdsq_changes(b.reader, "INBOX", status.highestmodseq, &changed, &expunged, &complete, &e));
    cr_expect_str_eq(text_of(changed), complete ? "1 3 5" : "1-5");
    mdsq_set_free(&changed);
    mdsq_set_free(&expunged);
    check_store(&b);
    bed_free(&b);
    return complete;
}

Test(change, the_logs_are_as_long_as_it_was_set)
{
    cr_expect(log_reaches_back(0), "100,000 by default");
    cr_expect(log_reaches_back(1000));
    cr_expect_not(log_reaches_back(100));
    cr_expect_not(log_reaches_back(1));
}

Test(change, counters_tell_of_commits_maps_and_builds)
{
    struct bed b = bed_new(TEMP_DIR());
    struct mdsq_change *change = NULL;
    struct mdsq_counters c;
    uint64_t turns = 0;

    OK(store_flags(&b, "1", MDSQ_STORE_ADD, VAULT_FLAG_FLAGGED, NULL, NULL, &change));
    mdsq_change_free(&change);
    mdsq_store_counters(b.store, &c);
    cr_expect(c.commits == 1 && c.changes == 1 && c.commit_us > 0, "%lu %lu", (unsigned long)c.commits, (unsigned long)c.changes);
    for (size_t i = 0; i < MDSQ_COMMIT_BUCKETS; i++) {
        cr_expect(i == 0 || c.commit_buckets[i].us > c.commit_buckets[i - 1].us);
        turns += c.commit_buckets[i].n;
    }
    cr_expect_eq(turns, 1);
    cr_expect_eq(c.commit_buckets[MDSQ_COMMIT_BUCKETS - 1].us, UINT64_MAX);
    cr_expect(c.archives_open == 1 && c.archives == 1 && c.builds == 0);
    cr_expect(c.used_bytes > 0 && c.used_bytes < c.map_bytes);
    OK(mds_build_lock(b.f->env, &(struct error){0}));
    mdsq_store_counters(b.store, &c);
    cr_expect_eq(c.builds, 1);
    mds_build_unlock(b.f->env);
    mdsq_store_counters(b.store, &c);
    cr_expect_eq(c.builds, 0);
    bed_free(&b);
}
