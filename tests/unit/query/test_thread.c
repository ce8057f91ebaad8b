/* THREAD: the algorithms of RFC 5256 step by step, slices, what changes meanwhile, and trees deeper than any stack. */
#include "fixture.h"

#include "base/hash.h"
#include "test_support.h"
#include "thread.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct mdsq_error e;

static const char *told(struct mdsq_thread *thread)
{
    struct mdsq_thread_member m;
    struct buf out = {0};
    bool number_last = false;
    uint32_t open = 0;

    while (mdsq_thread_next(thread, &m)) {
        if (m.opens && number_last)
            buf_append_byte(&out, ' ');
        buf_append_byte(&out, m.opens ? '(' : ' ');
        open += m.opens;
        if (m.uid)
            buf_append_u64_dec(&out, m.uid);
        for (uint32_t i = 0; i < m.closes; i++)
            buf_append_byte(&out, ')');
        cr_assert_leq(m.closes, open);
        open -= m.closes;
        number_last = m.uid && m.closes == 0;
    }
    cr_expect_eq(open, 0, "every list ends");
    const char *text = textf("%.*s", (int)out.n, out.n ? (const char *)out.p : "");
    buf_release(&out);
    return text;
}

static const char *threaded(struct fixture *f, enum mdsq_thread_algorithm algorithm, const char *members)
{
    struct mdsq_view *view = fixture_view(f, "INBOX");
    struct mdsq_thread *thread = NULL;
    struct mdsq_thread_member m;
    struct mdsq_set *set = NULL;
    int rc;

    if (members)
        cr_assert_eq(mdsq_set_parse(view, members, strlen(members), true, &set, &e), 0, "%s", e.text);
    cr_assert_eq(mdsq_thread_new(view, set, algorithm, &thread, &e), 0, "%s", e.text);
    cr_expect_not(mdsq_thread_next(thread, &m), "nothing before it is done");
    while ((rc = mdsq_thread_run(thread, f->reader, 0, &e)) > 0)
        cr_assert_eq(mdsq_reader_renew(f->reader, &e), 0);
    cr_assert_eq(rc, 0, "%s", e.text);
    const char *text = told(thread);
    mdsq_thread_free(&thread);
    mdsq_set_free(&set);
    mdsq_view_close(&view);
    return text;
}

struct mail {
    const char *subject, *id, *references;
    int minute; /* of the Date; 0: there is none, and it arrived before all others */
};

static void file_all(struct fixture *f, const struct mail *mails)
{
    for (; mails->subject; mails++) {
        struct buf raw = {0};

        buf_printf(&raw, "Subject: %s\r\n", mails->subject);
        if (mails->id)
            buf_printf(&raw, "Message-ID: %s\r\n", mails->id);
        if (mails->references)
            buf_printf(&raw, "%s\r\n", mails->references);
        if (mails->minute)
            buf_printf(&raw, "Date: Mon, 7 Feb 1994 10:%02d:00 +0000\r\n", mails->minute);
        buf_append_str(&raw, "\r\nx\r\n");
        fixture_add(f, "INBOX", buf_bytes(&raw), NULL);
        buf_release(&raw);
    }
}

Test(thread, algorithms)
{
    enum { MAILS = 10 };
    static const struct {
        const char *name;
        struct mail mails[MAILS];
        const char *references, *refs, *ordered;
    } rows[] = {
        {"nothing refers to anything",
         {{"a", "<1@x>", NULL, 3}, {"b", "<2@x>", NULL, 1}, {"c", "<3@x>", NULL, 2}},
         "(2)(3)(1)",
         "(2)(3)(1)",
         "(2)(3)(1)"},
        {"a chain, and a branch with siblings by date",
         {{"a", "<1@x>", NULL, 1},
          {"b", "<2@x>", "References: <1@x>", 2},
          {"c", "<3@x>", "References: <1@x> <2@x>", 5},
          {"d", "<4@x>", "In-Reply-To: <2@x>", 4},
          {"e", "<5@x>", "In-Reply-To: \"Fred\" <5@x> <2@x>", 6}},
         "(1 2 (4)(3))(5)",
         "(1 2 (4)(3))(5)",
         "(1)(2)(4)(3)(5)"},
        {"replies come before what they reply to, some of it missing",
         {{"a", "<3@x>", "References: <1@x> <2@x>", 3},
          {"b", "<4@x>", "References: <1@x>", 4},
          {"c", "<1@x>", NULL, 1}},
         "(3 (1)(2))",
         "(3 (1)(2))",
         "(3)(1)(2)"},
        {"a missing parent of two is told as such, of one is not",
         {{"a", "<1@x>", "References: <9@x>", 1},
          {"b", "<2@x>", "References: <9@x>", 2},
          {"c", "<3@x>", "References: <8@x> <7@x>", 3}},
         "((1)(2))(3)",
         "((1)(2))(3)",
         "(1)(2)(3)"},
        {"missing ones below a missing one are passed over",
         {{"a", "<1@x>", "References: <7@x> <8@x>", 1},
          {"b", "<2@x>", "References: <7@x> <9@x>", 2},
          {"c", "<3@x>", "References: <6@x> <5@x> <4@x>", 3}},
         "((1)(2))(3)",
         "((1)(2))(3)",
         "(1)(2)(3)"},
        {"loops are not made",
         {{"a", "<1@x>", "References: <2@x>", 1},
          {"b", "<2@x>", "References: <1@x>", 2},
          {"c", "<3@x>", "References: <3@x>", 3},
          {"d", "<4@x>", "References: <5@x> <6@x> <5@x>", 4},
          {"e", "<6@x>", "References: <4@x>", 5}},
         "(2 1)(3)(4 5)",
         "(2 1)(3)(4 5)",
         "(1)(2)(3)(4)(5)"},
        {"the second of an id is another message",
         {{"a", "<1@x>", NULL, 1}, {"b", "<1@x>", NULL, 2}, {"c", "<2@x>", "References: <1@x>", 3}},
         "(1 3)(2)",
         "(2)(1 3)",
         "(1)(2)(3)"},
        {"no ids at all",
         {{"a", NULL, "References: <1@x>", 1}, {"b", "nothing", NULL, 2}, {"c", NULL, NULL, 0}},
         "(3)(1)(2)",
         "(3)(1)(2)",
         "(3)(1)(2)"},
        {"the last reference wins over what was thought before",
         {{"a", "<9@x>", "References: <1@x> <2@x>", 9},
          {"b", "<2@x>", "References: <3@x>", 2},
          {"c", "<1@x>", NULL, 1},
          {"d", "<3@x>", NULL, 3}},
         "(3)(4 2 1)",
         "(3)(4 2 1)",
         "(3)(2)(4)(1)"},
        {"a message without references loses the parent that others gave it",
         {{"a", "<9@x>", "References: <1@x> <2@x>", 9}, {"b", "<2@x>", NULL, 2}, {"c", "<1@x>", NULL, 1}},
         "(3)(2 1)",
         "(3)(2 1)",
         "(3)(2)(1)"},
        {"replies join the message of their subject",
         {{"a", "<1@x>", NULL, 1},
          {"Re: A", "<2@x>", NULL, 2},
          {"Fwd: a (fwd)", "<3@x>", NULL, 3},
          {"[fwd: a]", "<4@x>", NULL, 4}},
         "(1 (2)(3)(4))",
         "(1)(2)(3)(4)",
         "(1 (2)(3)(4))"},
        {"equals of a subject get a parent that is not there",
         {{"a", "<1@x>", NULL, 1}, {"a", "<2@x>", NULL, 2}, {"Re: a", "<3@x>", NULL, 3}},
         "((1)(2)(3))",
         "(1)(2)(3)",
         "(1 (2)(3))"},
        {"only replies", {{"Re: a", "<1@x>", NULL, 1}, {"Re: a", "<2@x>", NULL, 2}}, "((1)(2))", "(1)(2)", "(1 2)"},
        {"the original comes after the reply",
         {{"Re: a", "<1@x>", NULL, 1}, {"a", "<2@x>", NULL, 2}},
         "(2 1)",
         "(1)(2)",
         "(1 2)"},
        {"missing parents of one subject become one",
         {{"a", "<1@x>", "References: <9@x>", 1},
          {"a", "<2@x>", "References: <9@x>", 4},
          {"a", "<3@x>", "References: <8@x>", 2},
          {"a", "<4@x>", "References: <8@x>", 3},
          {"a", "<5@x>", NULL, 5}},
         "((1)(3)(4)(2)(5))",
         "((3)(4))((1)(2))(5)",
         "(1 (3)(4)(2)(5))"},
        {"empty subjects do not join",
         {{"", "<1@x>", NULL, 1}, {"Re:", "<2@x>", NULL, 2}, {" ", "<3@x>", NULL, 3}},
         "(1)(2)(3)",
         "(1)(2)(3)",
         "(1 (2)(3))"},
        {"joined threads keep what hangs below them",
         {{"a", "<1@x>", NULL, 1},
          {"b", "<2@x>", "References: <1@x>", 8},
          {"Re: a", "<3@x>", NULL, 3},
          {"c", "<4@x>", "References: <3@x>", 4},
          {"d", "<5@x>", "References: <3@x>", 5}},
         "(1 (3 (4)(5))(2))",
         "(3 (4)(5))(1 2)",
         "(1 3)(4)(5)(2)"},
        {"equal dates stand by number",
         {{"b", "<1@x>", NULL, 1}, {"a", "<2@x>", NULL, 1}, {"c", "<3@x>", NULL, 1}},
         "(1)(2)(3)",
         "(1)(2)(3)",
         "(1)(2)(3)"},
        {"quoting makes no other id",
         {{"a", "<\"1\"@x>", NULL, 1}, {"b", "<2@x>", "References: <1@x>", 2}},
         "(1 2)",
         "(1 2)",
         "(1)(2)"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fixture *f = fixture_new(path_join(TEMP_DIR(), textf("%zu", i)));

        file_all(f, rows[i].mails);
        fixture_open(f);
        for (int twice = 0; twice < 2; twice++) { /* read from the store, and from memory */
            cr_expect_str_eq(threaded(f, MDSQ_THREAD_REFERENCES, NULL), rows[i].references, "%s: REFERENCES %s",
                             rows[i].name, threaded(f, MDSQ_THREAD_REFERENCES, NULL));
            cr_expect_str_eq(threaded(f, MDSQ_THREAD_REFS, NULL), rows[i].refs, "%s: REFS %s", rows[i].name,
                             threaded(f, MDSQ_THREAD_REFS, NULL));
            cr_expect_str_eq(threaded(f, MDSQ_THREAD_ORDEREDSUBJECT, NULL), rows[i].ordered, "%s: ORDEREDSUBJECT %s",
                             rows[i].name, threaded(f, MDSQ_THREAD_ORDEREDSUBJECT, NULL));
        }
        fixture_free(&f);
    }
}

Test(thread, members_alone_count)
{
    static const struct mail mails[] = {{"a", "<1@x>", NULL, 1},
                                        {"b", "<2@x>", "References: <1@x>", 2},
                                        {"c", "<3@x>", "References: <1@x> <2@x>", 3},
                                        {"d", "<4@x>", "References: <1@x> <2@x>", 4},
                                        {NULL, NULL, NULL, 0}};
    struct fixture *f = fixture_new(TEMP_DIR());

    file_all(f, mails);
    fixture_open(f);
    cr_expect_str_eq(threaded(f, MDSQ_THREAD_REFERENCES, "1,3:4"), "(1 (3)(4))");
    cr_expect_str_eq(threaded(f, MDSQ_THREAD_REFERENCES, "3:4"), "((3)(4))");
    cr_expect_str_eq(threaded(f, MDSQ_THREAD_REFERENCES, "3"), "(3)");
    cr_expect_str_eq(threaded(f, MDSQ_THREAD_REFERENCES, "99"), "");

    /* What comes and goes while columns are in memory. */
    static const struct mail more[] = {{"e", "<5@x>", "References: <4@x>", 5}, {NULL, NULL, NULL, 0}};
    file_all(f, more);
    fixture_open(f);
    cr_expect_str_eq(threaded(f, MDSQ_THREAD_REFERENCES, NULL), "(1 2 (3)(4 5))");

    struct mdsq_view *view = fixture_view(f, "INBOX");
    struct mdsq_thread *thread = NULL;
    int rc;
    cr_assert_eq(mdsq_thread_new(view, NULL, MDSQ_THREAD_REFERENCES, &thread, &e), 0);
    fixture_remove(f, "INBOX", 2);
    fixture_open(f);
    while ((rc = mdsq_thread_run(thread, f->reader, 1000, &e)) > 0)
        ;
    cr_assert_eq(rc, 0, "%s", e.text);
    const char *with_gone = told(thread); /* by its former date, or by none */
    cr_expect(strcmp(with_gone, "(2)(1 (3)(4 5))") == 0 || strcmp(with_gone, "(1 (3)(4 5))(2)") == 0,
              "it is expunged but in the view: %s", with_gone);
    mdsq_thread_free(&thread);
    mdsq_view_close(&view);
    cr_expect_str_eq(threaded(f, MDSQ_THREAD_REFERENCES, NULL), "(1 (3)(4 5))");

    view = fixture_view(f, "INBOX");
    cr_expect_eq(mdsq_thread_new(view, NULL, (enum mdsq_thread_algorithm)9, &thread, &e), MDSQ_ERR_USAGE);
    cr_expect_null(thread);
    mdsq_view_close(&view);
    fixture_free(&f);
}

/* Rows as they would be after the store was read: message i refers to message order[i] - 1. */
static struct mdsq_thread *deep(const struct mdsq_view *view, uint32_t n, const uint32_t *order)
{
    struct mdsq_thread *t = NULL;

    cr_assert_eq(mdsq_thread_new(view, NULL, MDSQ_THREAD_REFERENCES, &t, &e), 0);
    uint32_t *uid = malloc((n + 1) * sizeof *uid);
    free(t->members.uid);
    t->uid = t->members.uid = uid;
    t->id = calloc(n + 1, sizeof *t->id);
    t->subject = calloc(n + 1, sizeof *t->subject);
    t->refs_at = calloc(n + 1, sizeof *t->refs_at);
    free(t->members.value[1]);
    t->members.value[1] = malloc((n + 1) * sizeof *t->members.value[1]);
    query_radix_init(&t->radix, n);
    query_radix_by(&t->radix, t->members.value[1], NULL, false);
    t->n = n;
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t reference = order[i] - 1;

        uid[i] = order[i];
        t->id[i] = order[i];
        t->refs_at[i] = (uint32_t)(t->refs.n / 8);
        if (reference)
            buf_append(&t->refs, &reference, sizeof reference);
        t->members.value[1][i] = order[i];
    }
    t->refs_at[n] = (uint32_t)(t->refs.n / 8);
    t->stage = 2; /* dates are next */
    return t;
}

Test(thread, deeper_than_a_stack)
{
    enum { N = 100000 };
    struct fixture *f = fixture_new(TEMP_DIR());
    uint32_t *order = malloc(N * sizeof *order);
    struct rng rng = rng_of(7);

    fixture_add(f, "INBOX", BYTES_LIT("Subject: x\n\ny\n"), NULL);
    fixture_open(f);
    struct mdsq_view *view = fixture_view(f, "INBOX");
    for (int how = 0; how < 3; how++) { /* upwards, downwards, shuffled */
        for (uint32_t i = 0; i < N; i++)
            order[i] = how == 1 ? N - i : i + 1;
        for (uint32_t i = N - 1; how == 2 && i > 0; i--) {
            const uint32_t k = (uint32_t)rng_below(&rng, i + 1), kept = order[i];
            order[i] = order[k];
            order[k] = kept;
        }
        struct mdsq_thread *t = deep(view, N, order);
        struct mdsq_thread_member m;
        int rc;

        while ((rc = mdsq_thread_run(t, f->reader, 5, &e)) > 0)
            ;
        cr_assert_eq(rc, 0, "%s", e.text);
        for (uint32_t i = 1; i <= N; i++) {
            cr_assert(mdsq_thread_next(t, &m));
            cr_assert(m.uid == i && m.depth == i - 1 && m.opens == (i == 1) && m.closes == (i == N), "%d: %u", how, i);
        }
        cr_expect_not(mdsq_thread_next(t, &m));
        mdsq_thread_free(&t);
    }
    mdsq_view_close(&view);
    free(order);
    fixture_free(&f);
}
