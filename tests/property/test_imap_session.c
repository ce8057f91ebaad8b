/*
 * A session over a real store that changes under it.
 *
 *   splits    the same script gives the same answers however its bytes come and its output goes
 *   news      a client that believes EXISTS, EXPUNGE and FETCH knows, after any number of builds, exactly which UID
 * stands at which number
 */
#include <criterion/criterion.h>

#include "imap/imap.h"
#include "indexer/indexer.h"
#include "mds/query.h"
#include "test_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX = 400 };

/*
 * Builds run in a process of their own, as they do in life: a process has the catalogue open for reading or for
 * writing. It is forked before the store is opened here.
 */
struct world {
    int builder; /* a byte asks for a build, a byte answers */
    const char *vault, *store_dir;
    struct mdsq_store *store;
    bool exists[MAX]; /* message i is in the vault */
    bool seen[MAX];
    unsigned n;
};

static void write_mail(struct world *w, unsigned i)
{
    const char *name = textf("cur/%u.x:2,%s", 1000000 + i, w->seen[i] ? "S" : "");
    write_text(path_join(w->vault, name), textf("From: a@b.c\nSubject: number %u\n\ntext %u\n", i, i));
}

static void remove_mail(struct world *w, unsigned i)
{
    remove(path_join(w->vault, textf("cur/%u.x:2,%s", 1000000 + i, w->seen[i] ? "S" : "")));
}

static void build_here(const struct world *w)
{
    struct error err = {0};
    struct indexer_report report;
    struct vault_spec spec;
    memset(&spec, 0, sizeof spec);
    ASSERT(vault_spec_parse(textf("maildir:%s", w->vault), &spec, &err) == 0);
    const struct indexer_build b = {.store_dir = w->store_dir,
                                    .archive = "mail",
                                    .sources = &spec,
                                    .sources_n = 1,
                                    .jobs = 1,
                                    .full = true,
                                    .allow_removals = true};
    if (indexer_build(&b, &report, &err) != 0) {
        fprintf(stderr, "build: %s\n", err.text);
        abort();
    }
    vault_spec_release(&spec);
}

static void start_builder(struct world *w)
{
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        char byte;
        close(ends[0]);
        while (read(ends[1], &byte, 1) == 1) {
            build_here(w);
            if (write(ends[1], &byte, 1) != 1)
                break;
        }
        _exit(0);
    }
    close(ends[1]);
    w->builder = ends[0];
}

static void build(struct world *w)
{
    char byte = 'b';
    cr_assert_eq(write(w->builder, &byte, 1), 1);
    cr_assert_eq(read(w->builder, &byte, 1), 1, "the builder died");
}

static void end_world(struct world *w)
{
    mdsq_store_close(&w->store);
    close(w->builder);
    wait(NULL);
}

static void make_world(struct world *w, unsigned messages)
{
    struct mdsq_error why = {0};
    const char *dir = TEMP_DIR();
    *w = (struct world){.vault = path_join(dir, "vault"), .store_dir = path_join(dir, "store")};
    mkpath(path_join(w->vault, "cur"));
    mkpath(path_join(w->vault, "new"));
    mkpath(path_join(w->vault, "tmp"));
    for (; w->n < messages; w->n++) {
        w->exists[w->n] = true;
        w->seen[w->n] = w->n % 3 == 0;
        write_mail(w, w->n);
    }
    start_builder(w);
    build(w);
    cr_assert_eq(mdsq_store_open(w->store_dir, 0, &w->store, &why), 0, "%s", why.text);
}

/* Everything the session says to text, fed and taken in pieces. */
static void talk(struct imap_session *s, struct bytes text, size_t feed, size_t take, struct buf *out)
{
    enum imap_run how = IMAP_RUN_MORE;
    for (size_t at = 0;
         how != IMAP_RUN_CLOSE && (at < text.n || how != IMAP_RUN_IDLE || imap_session_output(s).n > 0);) {
        size_t n = text.n - at < feed ? text.n - at : feed;
        at += imap_session_feed(s, text.p + at, n);
        how = imap_session_run(s);
        struct bytes said = imap_session_output(s);
        size_t wrote = said.n < take ? said.n : take;
        buf_append(out, said.p, wrote);
        imap_session_wrote(s, wrote);
    }
}

static struct imap_session *local(struct world *w, const struct imap_limits *limits)
{
    struct error err = {0};
    struct imap_session *s = imap_session_new_local(w->store, "mail", limits, &err);
    cr_assert_not_null(s, "%s", err.text);
    return s;
}

static const char *const phrases[] = {
    "SELECT INBOX",
    "EXAMINE INBOX",
    "SELECT nowhere",
    "NOOP",
    "LIST \"\" *",
    "STATUS INBOX (MESSAGES UNSEEN UIDNEXT)",
    "FETCH 1:* (FLAGS UID)",
    "FETCH 3:7,9 FULL",
    "UID FETCH 5:* (BODY.PEEK[] BODY[TEXT]<2.4> BODY[1] BODY[2])",
    "FETCH 1:20 BODY.PEEK[HEADER.FIELDS (Subject)]",
    "SEARCH UNSEEN",
    "UID SEARCH OR SUBJECT \"number 7\" 3:5",
    "SEARCH TEXT {6+}\r\ntext 1",
    "SEARCH 1:*,9999",
    "UNSELECT",
    "FROB",
    "FETCH 1 (",
};

Test(imap_session, splits)
{
    struct rng rng = rng_start("imap_session splits");
    struct world w;
    make_world(&w, 60);
    for (int round = 0; round < 40; round++) {
        struct buf script = {0}, want = {0}, got = {0};
        for (int i = 0; i < 12; i++)
            buf_printf(&script, "t%d %s\r\n", i,
                       i == 0 ? "SELECT INBOX" : phrases[rng_below(&rng, sizeof phrases / sizeof phrases[0])]);
        struct imap_session *s = local(&w, NULL);
        talk(s, buf_bytes(&script), SIZE_MAX, SIZE_MAX, &want);
        imap_session_free(&s);
        const struct imap_limits limits = {.output_high_bytes = 1 + (uint32_t)rng_edgy(&rng, 5000),
                                           .pipeline_bytes = 1 + (uint32_t)rng_edgy(&rng, 500)};
        size_t feed = 1 + (size_t)rng_edgy(&rng, 300), take = 1 + (size_t)rng_edgy(&rng, 3000);
        s = local(&w, &limits);
        talk(s, buf_bytes(&script), feed, take, &got);
        imap_session_free(&s);
        cr_assert(bytes_equal(buf_bytes(&got), buf_bytes(&want)), "feed %zu, take %zu, high %u:\n%.*s", feed, take,
                  limits.output_high_bytes, (int)script.n, script.p);
        buf_release(&script);
        buf_release(&want);
        buf_release(&got);
    }
    end_world(&w);
}

/* ---- a client that believes what it is told ---------------------------------------------- */

struct believer {
    uint32_t uids[MAX * 2]; /* 0: not asked yet */
    bool seen[MAX * 2];
    uint32_t n;
    unsigned tag, expunges, arrivals, unasked; /* unasked: FETCH of flags with a NOOP */
    bool noop, bad;                            /* the last command's answer was NO */
};

static void believe_line(struct believer *b, const char *line, bool no_expunge)
{
    unsigned number = 0, uid = 0;
    char word[16] = "";
    if (sscanf(line, "* %u %15s", &number, word) != 2)
        return;
    if (strcmp(word, "EXISTS") == 0) {
        cr_assert_geq(number, b->n, "EXISTS shrinks: %s", line);
        b->arrivals += b->tag > 1; /* the first command is SELECT */
        for (; b->n < number; b->n++)
            b->uids[b->n] = 0;
    } else if (strcmp(word, "EXPUNGE") == 0) {
        cr_assert_not(no_expunge, "EXPUNGE where none may be");
        cr_assert(number >= 1 && number <= b->n, "%s of %u", line, b->n);
        memmove(b->uids + number - 1, b->uids + number, (b->n - number) * sizeof *b->uids);
        memmove(b->seen + number - 1, b->seen + number, (b->n - number) * sizeof *b->seen);
        b->n--;
        b->expunges++;
    } else if (strcmp(word, "FETCH") == 0) {
        cr_assert(number >= 1 && number <= b->n, "%s of %u", line, b->n);
        const char *at = strstr(line, "UID ");
        cr_assert_not_null(at, "%s", line);
        uid = (unsigned)strtoul(at + 4, NULL, 10);
        cr_assert(b->uids[number - 1] == 0 || b->uids[number - 1] == uid, "%s: was UID %u", line, b->uids[number - 1]);
        b->uids[number - 1] = uid;
        b->unasked += b->noop;
        if (strstr(line, "FLAGS"))
            b->seen[number - 1] = strstr(line, "\\Seen") != NULL;
    }
}

static void ask(struct believer *b, struct imap_session *s, const char *command, bool no_expunge)
{
    struct buf out = {0};
    const char *text = textf("b%u %s\r\n", ++b->tag, command);
    talk(s, bytes_str(text), SIZE_MAX, SIZE_MAX, &out);
    buf_append_byte(&out, 0);
    char *rest = NULL;
    b->noop = strcmp(command, "NOOP") == 0;
    for (char *line = strtok_r((char *)out.p, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
        believe_line(b, line, no_expunge);
        b->bad = strstr(line, " NO ") != NULL;
        cr_assert_null(strstr(line, " BAD "), "%s: %s", command, line);
        cr_assert_null(strstr(line, "BYE"), "%s: %s", command, line);
    }
    buf_release(&out);
}

static void change_vault(struct world *w, struct rng *rng)
{
    for (unsigned i = 0; i < w->n; i++) {
        if (!w->exists[i])
            continue;
        if (rng_once_in(rng, 12)) {
            remove_mail(w, i);
            w->exists[i] = false;
        } else if (rng_once_in(rng, 8)) {
            remove_mail(w, i);
            w->seen[i] = !w->seen[i];
            write_mail(w, i);
        }
    }
    for (uint64_t more = rng_below(rng, 12); more > 0 && w->n < MAX; more--, w->n++) {
        w->exists[w->n] = true;
        write_mail(w, w->n);
    }
    build(w);
}

Test(imap_session, news)
{
    struct rng rng = rng_start("imap_session news");
    struct world w;
    unsigned expunges = 0, arrivals = 0, unasked = 0;
    make_world(&w, 80);
    for (int round = 0; round < 3; round++) {
        struct believer b = {0};
        struct imap_session *s = local(&w, &(struct imap_limits){.output_high_bytes = 300});
        ask(&b, s, "SELECT INBOX", true);
        ask(&b, s, "FETCH 1:* (UID FLAGS)", true);
        for (int step = 0; step < 12; step++) {
            if (rng_once_in(&rng, 2))
                change_vault(&w, &rng);
            switch (rng_below(&rng, 5)) {
            case 0: ask(&b, s, "NOOP", false); break;
            case 1: ask(&b, s, b.n ? "FETCH 1:* (UID FLAGS)" : "NOOP", b.n > 0); break;
            case 2: ask(&b, s, "UID FETCH 1:* (FLAGS)", false); break;
            case 3: ask(&b, s, "SEARCH SEEN", true); break;
            case 4: ask(&b, s, "UID SEARCH UNSEEN", false); break;
            }
        }
        change_vault(&w, &rng); /* so that there is something to tell whatever the dice said */
        ask(&b, s, "NOOP", false);
        struct believer before = b;
        ask(&b, s, b.n ? "FETCH 1:* (UID FLAGS)" : "NOOP", true);
        cr_assert_not(b.bad);
        imap_session_free(&s);
        expunges += b.expunges;
        arrivals += b.arrivals;
        unasked += b.unasked;
        /* A new client sees the same folder. */
        struct believer fresh = {0};
        s = local(&w, NULL);
        ask(&fresh, s, "SELECT INBOX", true);
        ask(&fresh, s, fresh.n ? "FETCH 1:* (UID FLAGS)" : "NOOP", true);
        imap_session_free(&s);
        unsigned expected = 0;
        for (unsigned i = 0; i < w.n; i++)
            expected += w.exists[i];
        cr_assert_eq(fresh.n, expected, "%u in the folder, %u in the vault", fresh.n, expected);
        cr_assert_eq(b.n, fresh.n);
        for (uint32_t i = 0; i < b.n; i++) {
            cr_assert_eq(b.uids[i], fresh.uids[i], "number %u: %u and %u", i + 1, b.uids[i], fresh.uids[i]);
            cr_assert_eq(b.seen[i], fresh.seen[i], "number %u", i + 1);
            /* Flags of what the client knew were told without asking. */
            if (before.uids[i])
                cr_assert_eq(before.seen[i], fresh.seen[i], "number %u was not told", i + 1);
        }
    }
    fprintf(stderr, "imap_session news: expunges=%u arrivals=%u unasked_flags=%u\n", expunges, arrivals, unasked);
    cr_assert(expunges > 0 && arrivals > 0 && unasked > 0, "nothing happened: no test");
    end_world(&w);
}
