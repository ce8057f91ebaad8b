#include "fixture.h"

#include "query/query_private.h"
#include "test_support.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct mdsq_error e;

static struct fixture *five_messages(const char *dir)
{
    struct fixture *f = fixture_new(dir);

    for (int i = 0; i < 5; i++) {
        const char *raw = textf("Subject: m%d\r\n\r\nbody %d\r\n", i, i);

        fixture_add(f, "INBOX", bytes_str(raw), &(struct filing){.flags = i < 2 ? VAULT_FLAG_SEEN : 0});
    }
    return f;
}

struct told {
    char text[400];
};
static int on_expunged(uint32_t seq, uint32_t uid, void *arg)
{
    struct told *t = arg;
    snprintf(t->text + strlen(t->text), sizeof t->text - strlen(t->text), "-%u(%u) ", seq, uid);
    return 0;
}
static int on_changed(uint32_t seq, uint32_t uid, void *arg)
{
    struct told *t = arg;
    snprintf(t->text + strlen(t->text), sizeof t->text - strlen(t->text), "*%u(%u) ", seq, uid);
    return 0;
}

/* What an advance tells, as text. */
static const char *news_of(struct fixture *f, struct mdsq_view *view, bool allow_expunge, int *rc)
{
    static struct told told;
    const struct mdsq_news news = {on_expunged, on_changed, &told};

    told.text[0] = 0;
    fixture_open(f);
    *rc = mdsq_view_advance(f->reader, view, allow_expunge, &news, &e);
    return told.text;
}

Test(view, numbers_follow_uids)
{
    struct fixture *f = five_messages(TEMP_DIR());
    struct mdsq_view_info info;

    fixture_remove(f, "INBOX", 2);
    struct mdsq_view *view = fixture_view(f, "inbox");

    cr_expect_eq(mdsq_view_count(view), 4);
    const uint32_t uids[] = {1, 3, 4, 5};
    for (uint32_t seq = 1; seq <= 4; seq++) {
        cr_expect_eq(mdsq_view_uid(view, seq), uids[seq - 1], "seq %u", seq);
        cr_expect_eq(mdsq_view_seq(view, uids[seq - 1]), seq, "uid %u", uids[seq - 1]);
    }
    cr_expect_eq(mdsq_view_uid(view, 0), 0);
    cr_expect_eq(mdsq_view_uid(view, 5), 0);
    cr_expect_eq(mdsq_view_seq(view, 2), 0);
    cr_assert_eq(mdsq_view_get_info(f->reader, view, &info, &e), 0, "%s", e.text);
    cr_expect_eq(info.first_unseen, 2);
    cr_expect_eq(info.uidnext, 6);
    cr_expect_gt(info.uidvalidity, 0);
    cr_expect_eq(strspn(info.mailbox_id, "Fabcdefghijklmnopqrstuvwxyz234567"), 27);
    cr_expect_eq(strlen(info.mailbox_id), 27);
    mdsq_view_close(&view);
    fixture_free(&f);
}

Test(view, sessions_of_one_state_share_one_set)
{
    struct fixture *f = five_messages(TEMP_DIR());
    struct mdsq_view *a = fixture_view(f, "INBOX"), *b = fixture_view(f, "INBOX");


    cr_expect_eq(mdsq_view_count(a), mdsq_view_count(b));
    fixture_remove(f, "INBOX", 1);
    int rc;
    cr_expect_str_eq(news_of(f, a, true, &rc), "-1(1) ");
    cr_expect_eq(rc, 1);
    cr_expect_eq(mdsq_view_count(a), 4);
    cr_expect_eq(mdsq_view_count(b), 5, "a session's view stays until it is advanced");
    mdsq_view_close(&a);
    mdsq_view_close(&b);
    fixture_free(&f);
}

Test(view, news_come_in_imap_order)
{
    struct fixture *f = five_messages(TEMP_DIR());
    struct mdsq_view *view = fixture_view(f, "INBOX");
    int rc;

    cr_expect_str_eq(news_of(f, view, true, &rc), "");
    cr_expect_eq(rc, 0);
    fixture_remove(f, "INBOX", 2);
    fixture_remove(f, "INBOX", 4);
    fixture_flag(f, "INBOX", 5, VAULT_FLAG_FLAGGED);
    fixture_flag(f, "INBOX", 3, VAULT_FLAG_SEEN);
    fixture_add(f, "INBOX", BYTES_LIT("Subject: new\r\n\r\nx\r\n"), NULL);
    cr_expect_str_eq(news_of(f, view, true, &rc), "-4(4) -2(2) *2(3) *3(5) ");
    cr_expect_eq(rc, 1);
    cr_expect_eq(mdsq_view_count(view), 4);
    cr_expect_eq(mdsq_view_uid(view, 4), 6);
    cr_expect_str_eq(news_of(f, view, true, &rc), "");
    cr_expect_eq(rc, 0);
    mdsq_view_close(&view);
    fixture_free(&f);
}

Test(view, expunges_wait_until_they_may_be_told)
{
    struct fixture *f = five_messages(TEMP_DIR());
    struct mdsq_view *view = fixture_view(f, "INBOX");
    struct mdsq_fetch *fetch = NULL;
    struct mdsq_message m;
    int rc;

    fixture_remove(f, "INBOX", 2);
    fixture_flag(f, "INBOX", 3, VAULT_FLAG_SEEN);
    cr_expect_str_eq(news_of(f, view, false, &rc), "*3(3) ");
    cr_expect_eq(rc, 1);
    cr_expect_eq(mdsq_view_count(view), 5, "it stands where it stood");
    fixture_add(f, "INBOX", BYTES_LIT("Subject: new\r\n\r\nx\r\n"), NULL);
    cr_expect_str_eq(news_of(f, view, false, &rc), "");
    cr_expect_eq(mdsq_view_count(view), 6);
    cr_assert_eq(mdsq_fetch_new(f->reader, view, NULL, MDSQ_FETCH_FLAGS, &fetch, &e), 0);
    for (uint32_t seq = 1; seq <= 6; seq++) {
        cr_assert_eq(mdsq_fetch_next(fetch, &m, &e), 1);
        cr_expect_eq(m.seq, seq);
        cr_expect_eq(m.gone, seq == 2, "seq %u", seq);
    }
    cr_expect_eq(mdsq_fetch_next(fetch, &m, &e), 0);
    mdsq_fetch_free(&fetch);
    cr_expect_str_eq(news_of(f, view, true, &rc), "-2(2) ");
    cr_expect_eq(rc, 1);
    cr_expect_eq(mdsq_view_count(view), 5);
    cr_expect_str_eq(news_of(f, view, true, &rc), "");
    cr_expect_eq(rc, 0);
    mdsq_view_close(&view);
    fixture_free(&f);
}

Test(view, a_set_is_parsed_against_it)
{
    static const struct {
        const char *text;
        bool is_uid;
        int rc;
        const char *uids; /* runs as "1-3 5" */
        const char *seqs;
    } rows[] = {
        {"1", false, 0, "1", "1"},
        {"1:4", false, 0, "1 3-5", "1-4"},
        {"4:1", false, 0, "1 3-5", "1-4"},
        {"*", false, 0, "5", "4"},
        {"*:3", false, 0, "4-5", "3-4"},
        {"1,3,1", false, 0, "1 4", "1 3"},
        {"2:3,4", false, 0, "3-5", "2-4"},
        {"1:*", true, 0, "1 3-5", "1-4"},
        {"2", true, 0, "", ""},
        {"2:3", true, 0, "3", "2"},
        {"100:*", true, 0, "5", "4"},
        {"*:100", true, 0, "5", "4"},
        {"4294967295", true, 0, "", ""},
        {"1:4294967295", true, 0, "1 3-5", "1-4"},
        {"5", false, MDSQ_ERR_USAGE, "", ""},
        {"1:5", false, MDSQ_ERR_USAGE, "", ""},
        {"", false, MDSQ_ERR_SYNTAX, "", ""},
        {"0", true, MDSQ_ERR_SYNTAX, "", ""},
        {"01", true, MDSQ_ERR_SYNTAX, "", ""},
        {"4294967296", true, MDSQ_ERR_SYNTAX, "", ""},
        {"1,", true, MDSQ_ERR_SYNTAX, "", ""},
        {",1", true, MDSQ_ERR_SYNTAX, "", ""},
        {"1:", true, MDSQ_ERR_SYNTAX, "", ""},
        {"1:2:3", true, MDSQ_ERR_SYNTAX, "", ""},
        {"a", true, MDSQ_ERR_SYNTAX, "", ""},
        {"1 ", true, MDSQ_ERR_SYNTAX, "", ""},
    };
    struct fixture *f = five_messages(TEMP_DIR());
    fixture_remove(f, "INBOX", 2);
    struct mdsq_view *view = fixture_view(f, "INBOX");

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct mdsq_set *set = NULL;
        char text[2][64] = {"", ""};

        cr_expect_eq(mdsq_set_parse(view, rows[i].text, strlen(rows[i].text), rows[i].is_uid, &set, &e), rows[i].rc, "%s",
                     rows[i].text);
        if (!set)
            continue;
        for (int as_seq = 0; as_seq < 2; as_seq++) {
            uint64_t pos = 0;
            uint32_t first, last;
            while (mdsq_set_next_range(set, as_seq ? view : NULL, &pos, &first, &last)) {
                const size_t n = strlen(text[as_seq]);
                snprintf(text[as_seq] + n, sizeof text[0] - n, first == last ? "%s%u" : "%s%u-%u", n ? " " : "", first, last);
            }
        }
        cr_expect_str_eq(text[0], rows[i].uids, "%s: uids %s", rows[i].text, text[0]);
        cr_expect_str_eq(text[1], rows[i].seqs, "%s: seqs %s", rows[i].text, text[1]);
        mdsq_set_free(&set);
    }
    mdsq_view_close(&view);
    fixture_free(&f);
}

Test(view, an_empty_folder_has_no_star)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    struct mdsq_view *view = fixture_view(f, "INBOX");
    static const struct { const char *text; bool is_uid; int rc; } rows[] = {
        {"*", false, 0}, {"1:*", false, 0}, {"*", true, 0}, {"1:*", true, 0}, {"1:5", true, 0}, {"1", false, MDSQ_ERR_USAGE},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct mdsq_set *set = NULL;
        cr_expect_eq(mdsq_set_parse(view, rows[i].text, strlen(rows[i].text), rows[i].is_uid, &set, &e), rows[i].rc, "%s",
                     rows[i].text);
        cr_expect(!set || mdsq_set_count(set) == 0);
        mdsq_set_free(&set);
    }
    mdsq_view_close(&view);
    fixture_free(&f);
}

Test(view, ten_thousand_ranges_and_no_more)
{
    struct fixture *f = five_messages(TEMP_DIR());
    struct mdsq_view *view = fixture_view(f, "INBOX");
    struct buf text = {0};
    struct mdsq_set *set = NULL;

    for (int i = 0; i < 10000; i++)
        buf_printf(&text, i ? ",%d" : "%d", i + 1);
    cr_expect_eq(mdsq_set_parse(view, (char *)text.p, text.n, true, &set, &e), 0);
    cr_expect_eq(mdsq_set_count(set), 5);
    mdsq_set_free(&set);
    buf_append_str(&text, ",1");
    cr_expect_eq(mdsq_set_parse(view, (char *)text.p, text.n, true, &set, &e), MDSQ_ERR_LIMIT);
    buf_release(&text);
    mdsq_view_close(&view);
    fixture_free(&f);
}

Test(view, changes_since_a_modseq)
{
    struct fixture *f = five_messages(TEMP_DIR());
    struct mdsq_status status;
    struct mdsq_set *changed = NULL, *expunged = NULL;
    bool complete = false;

    fixture_open(f);
    cr_assert_eq(mdsq_status(f->reader, "INBOX", &status, &e), 0);
    cr_expect_eq(status.messages, 5);
    cr_expect_eq(status.unseen, 3);
    fixture_flag(f, "INBOX", 4, VAULT_FLAG_DELETED);
    fixture_remove(f, "INBOX", 1);
    fixture_open(f);
    cr_assert_eq(mdsq_changes(f->reader, "INBOX", status.highestmodseq, &changed, &expunged, &complete, &e), 0, "%s", e.text);
    cr_expect(complete);
    cr_expect_eq(mdsq_set_count(changed), 1);
    cr_expect(mdsq_set_has(changed, 4));
    cr_expect_eq(mdsq_set_count(expunged), 1);
    cr_expect(mdsq_set_has(expunged, 1));
    cr_assert_eq(mdsq_status(f->reader, "INBOX", &status, &e), 0);
    cr_expect_eq(status.deleted, 1);
    mdsq_set_free(&changed);
    mdsq_set_free(&expunged);
    cr_expect_eq(mdsq_changes(f->reader, "nowhere", 1, &changed, &expunged, &complete, &e), MDSQ_ERR_NOTFOUND);
    fixture_free(&f);
}

enum { MANY_FOLDERS = QUERY_SHARED_SETS_MAX + 6 };

static void open_all(struct fixture *f, struct mdsq_view *views[MANY_FOLDERS])
{
    for (int i = 0; i < MANY_FOLDERS; i++)
        views[i] = fixture_view(f, textf("folder%d", i));
}

Test(view, sessions_of_a_folder_share_its_set_however_many_folders_are_open)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    struct mdsq_view *first[MANY_FOLDERS], *second[MANY_FOLDERS];

    for (int i = 0; i < MANY_FOLDERS; i++)
        fixture_add(f, textf("folder%d", i), BYTES_LIT("Subject: x\r\n\r\ny\r\n"), NULL);
    open_all(f, first);
    open_all(f, second);
    for (int i = 0; i < MANY_FOLDERS; i++)
        cr_expect_eq(first[i]->uids, second[i]->uids, "folder%d", i);
    for (int i = 0; i < MANY_FOLDERS; i++)
        mdsq_view_close(&first[i]);
    open_all(f, first);
    for (int i = 0; i < MANY_FOLDERS; i++) {
        cr_expect_eq(first[i]->uids, second[i]->uids, "folder%d again", i);
        mdsq_view_close(&first[i]);
        mdsq_view_close(&second[i]);
    }
    fixture_free(&f);
}

Test(view, a_set_is_let_go_of_with_its_last_session_or_after_its_archive)
{
    struct fixture *f = five_messages(TEMP_DIR());
    struct mdsq_view *old = fixture_view(f, "INBOX");

    fixture_remove(f, "INBOX", 2);
    fixture_open(f);
    struct mdsq_view *now = fixture_view(f, "INBOX"), *too = fixture_view(f, "INBOX");

    cr_expect_neq(old->uids, now->uids);
    cr_expect_eq(now->uids, too->uids);
    cr_expect_eq(mdsq_view_count(old), 5);
    cr_expect_eq(mdsq_view_count(now), 4);
    mdsq_view_close(&now);
    fixture_free(&f);
    cr_expect_eq(mdsq_view_uid(too, 2), 3);
    mdsq_view_close(&too);
    mdsq_view_close(&old);
}

/* Held against the rows, with changes in the log, without, and for what was expunged and not told yet. */
Test(view, the_highest_modseq_is_that_of_messages_that_exist)
{
    static const char *const sets[] = {"1", "2", "3", "1:2", "2,4:5", "1:5", "3:4"};
    struct fixture *f = five_messages(TEMP_DIR());
    uint64_t highest = 0;

    for (int round = 0; round < 3; round++) {
        fixture_open(f);
        struct mdsq_view *view = fixture_view(f, "INBOX");
        struct mdsq_view *all = view;

        if (round == 1)
            fixture_flag(f, "INBOX", 2, VAULT_FLAG_SEEN);
        if (round == 2)
            fixture_remove(f, "INBOX", 3); /* the view still counts it */
        fixture_open(f);
        for (size_t i = 0; i <= sizeof sets / sizeof sets[0]; i++) {
            const char *text = i < sizeof sets / sizeof sets[0] ? sets[i] : "1:*";
            struct mdsq_set *set = NULL;
            struct mdsq_fetch *fetch = NULL;
            struct mdsq_message m;
            uint64_t want = 0;

            cr_assert_eq(mdsq_set_parse(all, text, strlen(text), true, &set, &e), 0, "%s", e.text);
            cr_assert_eq(mdsq_fetch_new(f->reader, all, set, MDSQ_FETCH_MODSEQ, &fetch, &e), 0, "%s", e.text);
            while (mdsq_fetch_next(fetch, &m, &e) > 0)
                want = !m.gone && m.modseq > want ? m.modseq : want;
            mdsq_fetch_free(&fetch);
            cr_expect_eq(mdsq_view_highest(f->reader, all, set, &highest, &e), 0, "%s", e.text);
            cr_expect_eq(highest, want, "round %d, %s: not %lu", round, text, (unsigned long)want);
            cr_expect(want > 0 || (round == 2 && strcmp(text, "3") == 0), "round %d, %s", round, text);
            mdsq_set_free(&set);
        }
        cr_expect_eq(mdsq_view_highest(f->reader, all, NULL, &highest, &e), 0);
        cr_expect_gt(highest, 0);
        mdsq_view_close(&view);
    }
    fixture_free(&f);
}

Test(view, changed_flags_leave_the_set_as_it_is)
{
    struct fixture *f = five_messages(TEMP_DIR());
    struct mdsq_view *before = fixture_view(f, "INBOX"), *after;
    int rc;

    fixture_flag(f, "INBOX", 3, VAULT_FLAG_SEEN);
    fixture_open(f);
    after = fixture_view(f, "INBOX");
    cr_expect_eq(before->uids, after->uids);
    cr_expect_str_eq(news_of(f, before, true, &rc), "*3(3) ");
    cr_expect_eq(before->uids, after->uids);
    /* One goes and one comes: as many as before, but others. */
    fixture_remove(f, "INBOX", 2);
    fixture_add(f, "INBOX", BYTES_LIT("Subject: six\r\n\r\n\r\n"), NULL);
    cr_expect_str_eq(news_of(f, before, true, &rc), "-2(2) ");
    cr_expect_neq(before->uids, after->uids);
    cr_expect_eq(mdsq_view_uid(before, 5), 6);
    cr_expect_eq(mdsq_view_uid(after, 5), 5);
    mdsq_view_close(&before);
    mdsq_view_close(&after);
    fixture_free(&f);
}
