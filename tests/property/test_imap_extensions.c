/*
 * The reading extensions of IMAP over a real store: transcripts of clients that select, fetch, search, list and watch
 * while another one writes. In an answer that is expected "~" stands for any text of the line (ids, dates).
 */
#include "imap/imap.h"
#include "imap/transport.h"
#include "imap_grammar.h"
#include "mds/mds.h"
#include "mds/query.h"
#include "test_support.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <time.h>

struct client {
    struct imap_session *session;
    struct buf answer;
    atomic_bool woken;
};

static struct mdsq_store *store;
static char archive_dir[1200];

static void setup(void)
{
    const char *dir = path_join(TEMP_DIR(), "store");
    struct mds_catalogue *catalogue = NULL;
    struct mdsq_error err;
    struct error e;
    cr_assert(mds_catalogue_open(dir, true, false, &catalogue, &e) >= 0, "%s", e.text);
    struct mds_archive_info info;
    cr_assert(mds_catalogue_archive_find(catalogue, "mail", true, &info, &e) >= 0, "%s", e.text);
    snprintf(archive_dir, sizeof archive_dir, "%s", info.dir);
    mds_catalogue_close(&catalogue);
    cr_assert(mdsq_store_open(dir, MDSQ_STORE_WRITE, &store, &err) >= 0, "%s", err.text);
    cr_assert(mdsq_archive_add(store, "mail", &err) >= 0, "%s", err.text);
}

static void teardown(void)
{
    mdsq_store_close(&store);
}

TestSuite(imap_extensions, .init = setup, .fini = teardown);

static void on_wake(void *arg)
{
    struct client *c = arg;
    atomic_store(&c->woken, true);
}

static struct client *client_new(const struct imap_limits *limits)
{
    struct client *c = calloc(1, sizeof *c);
    struct error e;
    c->session = imap_session_new_local(store, "mail", limits, &e);
    cr_assert_not_null(c->session, "%s", e.text);
    imap_session_set_wake(c->session, on_wake, c);
    return c;
}

static void client_free(struct client **c)
{
    imap_session_free(&(*c)->session);
    buf_release(&(*c)->answer);
    free(*c);
    *c = NULL;
}

/* Of naps, a millisecond each at least: a limit for what hangs, not for what is slow. */
enum { NAPS_MAX = 60000 };

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* Runs until the session is idle; what it says is added to its answer. */
static void run(struct client *c)
{
    enum imap_run how;
    do {
        atomic_store(&c->woken, false);
        how = imap_session_run(c->session);
        struct bytes out = imap_session_output(c->session);
        buf_append_bytes(&c->answer, out);
        imap_session_wrote(c->session, out.n);
        for (int i = 0; how == IMAP_RUN_PARKED && !atomic_load(&c->woken); i++) {
            cr_assert(i < NAPS_MAX, "parked for ever");
            nap();
        }
    } while (how == IMAP_RUN_MORE || how == IMAP_RUN_PARKED);
}

static void cut(struct client *c, char *at, size_t n)
{
    const size_t before = (size_t)(at - (char *)c->answer.p);
    memmove(at, at + n, c->answer.n - before - n + 1); /* with the NUL */
    c->answer.n -= n;
}

/* Which session is told first what is \Recent is not these tests' matter. */
static void cut_recent(struct client *c)
{
    char *at;
    while ((at = strstr((char *)c->answer.p, "\\Recent")) != NULL)
        cut(c, at, at[7] == ' ' ? 8 : 7);
    while ((at = strstr((char *)c->answer.p, " RECENT\r\n")) != NULL) {
        char *line = at;
        while (*line != '*')
            line--;
        cut(c, line, (size_t)(at - line) + 9);
    }
}

static const char *text_of(struct client *c)
{
    buf_append_byte(&c->answer, 0);
    c->answer.n--;
    cut_recent(c);
    return (const char *)c->answer.p;
}

static const char *say_bytes(struct client *c, const void *p, size_t n)
{
    buf_reset(&c->answer);
    cr_assert_eq(imap_session_feed(c->session, p, n), n);
    run(c);
    return text_of(c);
}

static const char *say(struct client *c, const char *text)
{
    return say_bytes(c, text, strlen(text));
}

/* "~" in the pattern is any text without a line end. */
static bool is_like(const char *pattern, const char *text)
{
    for (; *pattern; pattern++, text++) {
        if (*pattern != '~') {
            if (*pattern != *text)
                return false;
            continue;
        }
        for (;; text++) {
            if (is_like(pattern + 1, text))
                return true;
            if (*text == 0 || *text == '\r')
                return false;
        }
    }
    return *text == 0;
}

struct exchange {
    const char *say, *expect;
};

static void expect_one(struct client *c, const char *what, const char *expect)
{
    const char *got = say(c, what);
    cr_expect(is_like(expect, got), "said: %s\ngot:  %s\nwant: %s", what, got, expect);
}

static void expect_all(struct client *c, const struct exchange *table, size_t n)
{
    for (size_t i = 0; i < n; i++)
        expect_one(c, table[i].say, table[i].expect);
}
#define EXPECT_ALL(c, table) expect_all(c, table, sizeof(table) / sizeof((table)[0]))

/* What comes by itself, sooner or later: all of the expected text. */
static void expect_soon(struct client *c, const char *expect)
{
    buf_reset(&c->answer);
    for (int i = 0; i < NAPS_MAX; i++) {
        if (atomic_exchange(&c->woken, false) || i == 0)
            run(c);
        if (is_like(expect, text_of(c)))
            return;
        nap();
    }
    cr_expect_str_eq(text_of(c), expect);
}

static void append(struct client *c, const char *folder, const char *flags, const char *message)
{
    const char *got = say(c, textf("app APPEND %s (%s) {%zu+}\r\n%s\r\n", folder, flags, strlen(message), message));
    cr_assert_not_null(strstr(got, "app OK [APPENDUID "), "%s", got);
}

static const char plain[] = "Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nFrom: Fred <fred@example.org>\r\nSubject: one\r\n"
                            "Message-ID: <1@example.org>\r\n\r\nHello Joe, do you think we can meet?\r\n";

/* Five messages, UIDs 1..5. */
static void fill(struct client *c)
{
    append(c, "INBOX", "\\Seen", plain);
    append(c, "INBOX", "", "Subject: two\r\n\r\nSecond\r\n");
    append(c, "INBOX", "\\Flagged", "Subject: three\r\n\r\nThird\r\n");
    append(c, "INBOX", "", "Subject: four\r\n\r\nFourth\r\n");
    append(c, "INBOX", "", "Subject: five\r\n\r\nFifth\r\n");
}

#define FLAGS_5 "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded)\r\n"
#define PERMANENT                                                                                                      \
    "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded \\*)] Flags permitted\r\n"

Test(imap_extensions, select_says_all)
{
    struct client *c = client_new(NULL);
    fill(c);
    static const struct exchange table[] = {
        {"a SELECT inbox\r\n", FLAGS_5 PERMANENT
         "* 5 EXISTS\r\n* OK [UNSEEN 2] First unseen\r\n* OK [UIDVALIDITY ~] UIDs valid\r\n"
         "* OK [UIDNEXT 6] Predicted next UID\r\n* OK [HIGHESTMODSEQ ~] Highest\r\n* OK [MAILBOXID (F~)] Ok\r\n"
         "a OK [READ-WRITE] Mailbox selected\r\n"},
        {"a EXAMINE INBOX\r\n",
         "* OK [CLOSED] Previous mailbox closed\r\n" FLAGS_5
         "* OK [PERMANENTFLAGS ()] Read-only\r\n* 5 EXISTS\r\n* OK [UNSEEN 2] First unseen\r\n"
         "* OK [UIDVALIDITY ~] UIDs valid\r\n* OK [UIDNEXT 6] Predicted next UID\r\n* OK [HIGHESTMODSEQ ~] Highest\r\n"
         "* OK [MAILBOXID (F~)] Ok\r\na OK [READ-ONLY] Mailbox selected\r\n"},
        {"a SELECT nowhere\r\n", "* OK [CLOSED] Previous mailbox closed\r\na NO [NONEXISTENT] No such mailbox\r\n"},
        {"a UNSELECT\r\n", "a BAD Select a mailbox first\r\n"},
        {"a ENABLE IMAP4rev2\r\n", "* ENABLED IMAP4rev2\r\na OK ENABLE completed\r\n"},
        {"a SELECT INBOX\r\n",
         FLAGS_5 PERMANENT "* 5 EXISTS\r\n* OK [UIDVALIDITY ~] UIDs valid\r\n* OK [UIDNEXT 6] Predicted next UID\r\n"
                           "* OK [HIGHESTMODSEQ ~] Highest\r\n* OK [MAILBOXID (F~)] Ok\r\n* LIST (\\HasNoChildren "
                           "\\Subscribed) \"/\" INBOX\r\n"
                           "a OK [READ-WRITE] Mailbox selected\r\n"},
        {"a EXAMINE inbox\r\n", "~\r\n~\r\n~\r\n~\r\n~\r\n~\r\n~\r\n~\r\n"
                                "* LIST (\\HasNoChildren \\Subscribed) \"/\" INBOX (\"OLDNAME\" (inbox))\r\na OK "
                                "[READ-ONLY] Mailbox selected\r\n"},
        {"a SEARCH UNSEEN\r\n", "* ESEARCH (TAG \"a\") ALL 2:5\r\na OK SEARCH completed\r\n"},
        {"a UID SEARCH KEYWORD none\r\n", "* ESEARCH (TAG \"a\") UID\r\na OK SEARCH completed\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}

Test(imap_extensions, keywords_are_told_before_they_are_used)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(c);
    say(c, "s SELECT INBOX\r\n");
    say(d, "s SELECT INBOX\r\n");
    cr_expect_not_null(strstr(say(d, "a STORE 2 +FLAGS.SILENT ($Work)\r\n"), "a OK"));
    expect_one(
        c, "a NOOP\r\n",
        "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded $Work)\r\n"
        "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded $Work \\*)] Flags permitted\r\n"
        "* 2 FETCH (UID 2 FLAGS ($Work))\r\na OK Completed\r\n");
    client_free(&c);
    client_free(&d);
}

Test(imap_extensions, reading_marks_as_seen)
{
    struct client *c = client_new(&(struct imap_limits){.output_high_bytes = 64});
    fill(c);
    say(c, "s SELECT INBOX\r\n");
    static const struct exchange table[] = {
        {"a FETCH 2 BODY.PEEK[TEXT]\r\n", "* 2 FETCH (BODY[TEXT] {8}\r\nSecond\r\n)\r\na OK FETCH completed\r\n"},
        {"a FETCH 1:2 BODY[TEXT]<0.6>\r\n",
         "* 1 FETCH (BODY[TEXT]<0> {6}\r\nHello )\r\n* 2 FETCH (BODY[TEXT]<0> {6}\r\nSecond)\r\n"
         "* 2 FETCH (UID 2 FLAGS (\\Seen))\r\na OK FETCH completed\r\n"},
        {"a FETCH 3 (FLAGS RFC822.HEADER)\r\n",
         "* 3 FETCH (FLAGS (\\Flagged) RFC822.HEADER {18}\r\nSubject: three\r\n\r\n)\r\n"
         "a OK FETCH completed\r\n"},
        {"a UID FETCH 3 RFC822.TEXT\r\n", "* 3 FETCH (UID 3 RFC822.TEXT {7}\r\nThird\r\n)\r\n"
                                          "* 3 FETCH (UID 3 FLAGS (\\Seen \\Flagged))\r\na OK FETCH completed\r\n"},
        {"a UID FETCH 4 BINARY[1]\r\n", "* 4 FETCH (UID 4 BINARY[1] ~{8}\r\nFourth\r\n)\r\n"
                                        "* 4 FETCH (UID 4 FLAGS (\\Seen))\r\na OK FETCH completed\r\n"},
        {"a EXAMINE INBOX\r\n",
         "~\r\n~\r\n~\r\n~\r\n* OK [UNSEEN 5] First unseen\r\n~\r\n~\r\n~\r\n~\r\na OK [READ-ONLY] ~\r\n"},
        {"a FETCH 5 BODY[TEXT]\r\n", "* 5 FETCH (BODY[TEXT] {7}\r\nFifth\r\n)\r\na OK FETCH completed\r\n"},
        {"a SEARCH UNSEEN\r\n", "* SEARCH 5\r\na OK SEARCH completed\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}

Test(imap_extensions, fetch_of_ids_dates_and_previews)
{
    struct client *c = client_new(NULL);
    fill(c);
    say(c, "s SELECT INBOX\r\n");
    static const struct exchange table[] = {
        {"a FETCH 1 (EMAILID THREADID)\r\n", "* 1 FETCH (EMAILID (M~) THREADID (T~))\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 THREADID\r\n", "* 1 FETCH (THREADID (T~))\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 SAVEDATE\r\n", "* 1 FETCH (SAVEDATE \"~ +0000\")\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 PREVIEW\r\n",
         "* 1 FETCH (PREVIEW \"Hello Joe, do you think we can meet?\")\r\na OK FETCH completed\r\n"},
        {"a FETCH 2 (PREVIEW (LAZY) UID)\r\n", "* 2 FETCH (UID 2 PREVIEW \"Second\")\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 MODSEQ\r\n",
         "* OK [HIGHESTMODSEQ ~] Now told with flags\r\n* 1 FETCH (MODSEQ (~))\r\na OK FETCH completed\r\n"},
        {"a FETCH 2 FLAGS\r\n", "* 2 FETCH (FLAGS () MODSEQ (~))\r\na OK FETCH completed\r\n"},
        {"a FETCH 1:2 BINARY.SIZE[1]\r\n",
         "* 1 FETCH (BINARY.SIZE[1] 38)\r\n* 2 FETCH (BINARY.SIZE[1] 8)\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 (BINARY.SIZE[7] BINARY.PEEK[7])\r\n",
         "* 1 FETCH (BINARY.SIZE[7] 0 BINARY[7] NIL)\r\na OK FETCH completed\r\n"},
        {"a STATUS INBOX (MAILBOXID SIZE DELETED HIGHESTMODSEQ APPENDLIMIT)\r\n",
         "* STATUS INBOX (MAILBOXID (F~) SIZE ~ DELETED 0 HIGHESTMODSEQ ~ APPENDLIMIT 67108864)\r\na OK STATUS "
         "completed\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}

Test(imap_extensions, binary_decodes)
{
    struct client *c = client_new(NULL);
    append(c, "INBOX", "",
           "Subject: b\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
           "Content-Transfer-Encoding: base64\r\n\r\nYQBiYw==\r\n");
    append(c, "INBOX", "",
           "Subject: u\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n"
           "Content-Transfer-Encoding: x-own\r\n\r\nabc\r\n");
    say(c, "s SELECT INBOX\r\n");
    static const char want[] = "* 1 FETCH (BINARY[1] ~{4}\r\na\0bc)\r\na OK FETCH completed\r\n";
    say(c, "a FETCH 1 BINARY.PEEK[1]\r\n");
    cr_expect(bytes_equal(buf_bytes(&c->answer), bytes_of(want, sizeof want - 1)), "%s", text_of(c));
    static const struct exchange table[] = {
        {"a FETCH 1 BINARY.PEEK[1]<2.9>\r\n", "* 1 FETCH (BINARY[1]<2> ~{2}\r\nbc)\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 BINARY.PEEK[1]<9.9>\r\n", "* 1 FETCH (BINARY[1]<9> \"\")\r\na OK FETCH completed\r\n"},
        {"a FETCH 1:2 BINARY.SIZE[1]\r\n", "* 1 FETCH (BINARY.SIZE[1] 4)\r\na NO [UNKNOWN-CTE] ~\r\n"},
        {"a FETCH 2 (UID BINARY.PEEK[1])\r\n", "* 2 FETCH (UID 2)\r\na NO [UNKNOWN-CTE] ~\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}

Test(imap_extensions, search_returns_and_saves)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(c);
    say(c, "s SELECT INBOX\r\n");
    static const struct exchange table[] = {
        {"a SEARCH RETURN (MIN MAX COUNT) UNSEEN\r\n",
         "* ESEARCH (TAG \"a\") MIN 2 MAX 5 COUNT 4\r\na OK SEARCH completed\r\n"},
        {"a UID SEARCH RETURN () UNSEEN\r\n", "* ESEARCH (TAG \"a\") UID ALL 2:5\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (MIN COUNT ALL) DELETED\r\n", "* ESEARCH (TAG \"a\") COUNT 0\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (ALL) OR 1 3:4\r\n", "* ESEARCH (TAG \"a\") ALL 1,3:4\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (ALL) MODSEQ 1\r\n", "* OK [HIGHESTMODSEQ ~] Now told with flags\r\n* ESEARCH (TAG \"a\") "
                                               "ALL 1:5 MODSEQ ~\r\na OK SEARCH completed\r\n"},
        {"a SEARCH MODSEQ 1 1:2\r\n", "* SEARCH 1 2 (MODSEQ ~)\r\na OK SEARCH completed\r\n"},
        {"a SEARCH MODSEQ 99999 1:2\r\n", "* SEARCH\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (SAVE) UNSEEN\r\n", "a OK SEARCH completed, result saved\r\n"},
        {"a SEARCH $\r\n", "* SEARCH 2 3 4 5\r\na OK SEARCH completed\r\n"},
        {"a FETCH $ UID\r\n", "* 2 FETCH (UID 2)\r\n* 3 FETCH (UID 3)\r\n* 4 FETCH (UID 4)\r\n* 5 FETCH (UID 5)\r\na "
                              "OK FETCH completed\r\n"},
        {"a UID SEARCH RETURN (SAVE COUNT) UID $ NOT FLAGGED\r\n",
         "* ESEARCH (TAG \"a\") UID COUNT 3\r\na OK SEARCH completed\r\n"},
        {"a SEARCH $\r\n", "* SEARCH 2 4 5\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (SAVE MIN) $\r\n", "* ESEARCH (TAG \"a\") MIN 2\r\na OK SEARCH completed\r\n"},
        {"a SEARCH $\r\n", "* SEARCH 2\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (SAVE MIN MAX) ALL\r\n", "* ESEARCH (TAG \"a\") MIN 1 MAX 5\r\na OK SEARCH completed\r\n"},
        {"a SEARCH $\r\n", "* SEARCH 1 5\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (SAVE) BOGUS\r\n", "a BAD unknown search key\r\n"},
        {"a SEARCH $\r\n", "* SEARCH 1 5\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (SAVE) CHARSET X-1 TEXT a\r\n",
         "a NO [BADCHARSET (UTF-8 US-ASCII)] Charset is not supported\r\n"},
        {"a SEARCH $\r\n", "* SEARCH\r\na OK SEARCH completed\r\n"},
        {"a FETCH $ UID\r\n", "a OK FETCH completed\r\n"},
        {"a COPY $ INBOX\r\n", "a OK No such message\r\n"},
        {"a MOVE $ INBOX\r\n", "a OK No such message\r\n"},
        {"a STORE $ +FLAGS (\\Answered)\r\n", "a OK STORE completed\r\n"},
        {"a SEARCH RETURN (SAVE) 2:4\r\n", "a OK SEARCH completed, result saved\r\n"},
        {"a STORE $ +FLAGS.SILENT (\\Answered)\r\n",
         "* 2 FETCH (MODSEQ (~))\r\n* 3 FETCH (MODSEQ (~))\r\n* 4 FETCH (MODSEQ (~))\r\n"
         "a OK STORE completed\r\n"},
        {"a SEARCH ANSWERED\r\n", "* SEARCH 2 3 4\r\na OK SEARCH completed\r\n"},
        {"a SEARCH YOUNGER 3600\r\n", "* SEARCH 1 2 3 4 5\r\na OK SEARCH completed\r\n"},
        {"a SEARCH OLDER 3600\r\n", "* SEARCH\r\na OK SEARCH completed\r\n"},
        {"a SEARCH SAVEDSINCE 1-Jan-2020 SAVEDATESUPPORTED\r\n", "* SEARCH 1 2 3 4 5\r\na OK SEARCH completed\r\n"},
        {"a SEARCH OR SAVEDBEFORE 1-Jan-2020 SAVEDON 1-Jan-2020\r\n", "* SEARCH\r\na OK SEARCH completed\r\n"},
        {"a SEARCH EMAILID M00\r\n", "* SEARCH\r\na OK SEARCH completed\r\n"},
        {"a SEARCH LARGER 4294967296\r\n", "* SEARCH\r\na OK SEARCH completed\r\n"},
    };
    EXPECT_ALL(c, table);
    /* What is expunged is not in the result any more. */
    say(d, "s SELECT INBOX\r\n");
    say(d, "a STORE 3 +FLAGS (\\Deleted)\r\na EXPUNGE\r\n");
    say(c, "a NOOP\r\n");
    expect_one(c, "a UID SEARCH $\r\n", "* SEARCH 2 4~\r\na OK SEARCH completed\r\n");
    /* An id that FETCH gives finds its message. */
    const char *got = say(c, "a FETCH 1 (EMAILID)\r\n");
    char id[64] = "";
    cr_assert_eq(sscanf(got, "* 1 FETCH (EMAILID (%63[^)]))", id), 1, "%s", got);
    expect_one(c, textf("a UID SEARCH EMAILID %s\r\n", id), "* SEARCH 1\r\na OK SEARCH completed\r\n");
    got = say(c, "a FETCH 2 (THREADID)\r\n");
    cr_assert_eq(sscanf(got, "* 2 FETCH (THREADID (%63[^)]))", id), 1, "%s", got);
    expect_one(c, textf("a UID SEARCH THREADID %s\r\n", id), "* SEARCH 2\r\na OK SEARCH completed\r\n");
    client_free(&c);
    client_free(&d);
}

static uint64_t modseq_of(struct client *c)
{
    unsigned long long v = 0;
    const char *got = say(c, "m STATUS INBOX (HIGHESTMODSEQ)\r\n");
    const char *at = strstr(got, "(HIGHESTMODSEQ ");
    cr_assert(at && sscanf(at, "(HIGHESTMODSEQ %llu)", &v) == 1, "%s", got);
    return v;
}

static uint32_t uidvalidity_of(struct client *c)
{
    unsigned v = 0;
    const char *got = say(c, "m STATUS INBOX (UIDVALIDITY)\r\n");
    cr_assert_eq(sscanf(got, "* STATUS INBOX (UIDVALIDITY %u)", &v), 1, "%s", got);
    return v;
}

Test(imap_extensions, qresync)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(c);
    const uint64_t before = modseq_of(c);
    const unsigned long long m = before;
    const uint32_t validity = uidvalidity_of(c);
    say(d, "s SELECT INBOX\r\n");
    say(d, "a STORE 2,4 +FLAGS (\\Deleted)\r\na EXPUNGE\r\na STORE 1 +FLAGS (\\Answered)\r\n");

    expect_one(c, textf("a SELECT INBOX (QRESYNC (%u %llu))\r\n", validity, m), "a BAD QRESYNC is not enabled\r\n");
    expect_one(c, "a ENABLE QRESYNC\r\n", "* ENABLED QRESYNC\r\na OK ENABLE completed\r\n");
#define HEAD    "~\r\n~\r\n* 3 EXISTS\r\n~\r\n~\r\n~\r\n~\r\n~\r\n"
#define RE_HEAD "* OK [CLOSED] Previous mailbox closed\r\n" HEAD
#define CHANGED "* 1 FETCH (UID 1 FLAGS (\\Seen \\Answered) MODSEQ (~))\r\n"
#define TAIL    "a OK [READ-WRITE] Mailbox selected\r\n"
    const struct exchange table[] = {
        {textf("a SELECT INBOX (QRESYNC (%u %llu))\r\n", validity, m), HEAD "* VANISHED (EARLIER) 2,4\r\n~" TAIL},
        {textf("a SELECT INBOX (QRESYNC (%u %llu))\r\n", validity + 1, m), RE_HEAD TAIL},
        {textf("a SELECT INBOX (QRESYNC (%u %llu 3:9))\r\n", validity, m), RE_HEAD "* VANISHED (EARLIER) 4\r\n" TAIL},
        {textf("a SELECT INBOX (CONDSTORE QRESYNC (%u %llu 1:9 (1,3 1,3)))\r\n", validity, m),
         RE_HEAD "* VANISHED (EARLIER) 2,4\r\n~" TAIL},
        {textf("a SELECT INBOX (QRESYNC (%u 0))\r\n", validity), "a BAD a modification sequence is above 0\r\n"},
        {textf("a SELECT INBOX (QRESYNC (%u 1 *))\r\n", validity),
         "a BAD known UIDs and numbers are named without * and $\r\n"},
        {textf("a SELECT INBOX (QRESYNC (%u 1 1:2 (1 ))\r\n", validity), "a BAD expected a number\r\n"},
        {textf("a UID FETCH 1:5 (FLAGS) (CHANGEDSINCE %llu VANISHED)\r\n", m),
         "* VANISHED (EARLIER) 2,4\r\n~a OK FETCH completed\r\n"},
        {textf("a UID FETCH 3:* (FLAGS) (VANISHED CHANGEDSINCE %llu)\r\n", m),
         "* VANISHED (EARLIER) 4\r\na OK FETCH completed\r\n"},
        {textf("a FETCH 1:3 (FLAGS) (CHANGEDSINCE %llu VANISHED)\r\n", m), "a BAD VANISHED needs ~\r\n"},
        {"a UID FETCH 1:3 (FLAGS) (VANISHED)\r\n", "a BAD VANISHED needs ~\r\n"},
        {"a FETCH 1:3 UID (CHANGEDSINCE 0)\r\n", "* 1 FETCH (UID 1 MODSEQ (~))\r\n* 2 FETCH (UID 3 MODSEQ (~))\r\n* 3 "
                                                 "FETCH (UID 5 MODSEQ (~))\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 UID (CHANGEDSINCE 1 CHANGEDSINCE 2)\r\n", "a BAD unknown FETCH modifier\r\n"},
        {"a FETCH 1 UID ()\r\n", "a BAD unknown FETCH modifier\r\n"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        /* "~TAIL": the changed message's line stands before it. */
        const char *line = strstr(table[i].expect, "\r\n~a ");
        const char *want =
            line ? textf("%.*s%s%s", (int)(line + 2 - table[i].expect), table[i].expect, CHANGED, line + 3)
                 : table[i].expect;
        expect_one(c, table[i].say, want);
    }
    /* News are told by UID. */
    say(d, "a STORE 1:2 +FLAGS.SILENT (\\Deleted)\r\na EXPUNGE\r\n");
    expect_one(c, "a NOOP\r\n", "* VANISHED 1,3\r\n~a OK ~Completed\r\n");
    client_free(&c);
    client_free(&d);
}

/* The log of INBOX forgets all that it can. */
static void prune(struct client *c)
{
    struct mds_env *env = NULL;
    struct mds_txn *txn = NULL;
    struct mds_folder folder;
    struct error e;
    say(c, "p CLOSE\r\n");
    cr_assert(mds_open(archive_dir, &(struct mds_options){0}, &env, &e) >= 0, "%s", e.text);
    cr_assert(mds_write_begin(env, &txn, &e) >= 0, "%s", e.text);
    cr_assert(mds_folder_find(txn, BYTES_LIT("INBOX"), &folder, &e) >= 0, "%s", e.text);
    cr_assert(mds_log_prune(txn, folder.id, 0, 1000, &e) > 0, "%s", e.text);
    cr_assert(mds_write_commit(&txn, &e) >= 0, "%s", e.text);
    mds_close(&env);
}

Test(imap_extensions, qresync_without_a_log)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(c);
    say(d, "s SELECT INBOX\r\na STORE 2 +FLAGS (\\Deleted)\r\na EXPUNGE\r\n");
    const unsigned long long m = modseq_of(c);
    const uint32_t validity = uidvalidity_of(c);
    say(d, "a STORE 3 +FLAGS (\\Deleted)\r\na EXPUNGE\r\na STORE 1 +FLAGS (\\Answered)\r\n");
    say(c, "a ENABLE QRESYNC\r\ns SELECT INBOX\r\n");
    prune(c);
    const struct exchange table[] = {
        /* All that is not there vanished, also what the client may have known to be gone. */
        {textf("a SELECT INBOX (QRESYNC (%u %llu))\r\n", validity, m),
         HEAD "* VANISHED (EARLIER) 2,4\r\n" CHANGED TAIL},
        {textf("a SELECT INBOX (QRESYNC (%u %llu 4:5))\r\n", validity, m), RE_HEAD "* VANISHED (EARLIER) 4\r\n" TAIL},
        /* It knew that 3 was the second message: nothing before it went since. */
        {textf("a SELECT INBOX (QRESYNC (%u %llu 1:5 (1:2 1,3)))\r\n", validity, m),
         RE_HEAD "* VANISHED (EARLIER) 4\r\n" CHANGED TAIL},
        /* Pairs that do not hold, or do not pair, say nothing. */
        {textf("a SELECT INBOX (QRESYNC (%u %llu 1:5 (2:4 2:4)))\r\n", validity, m),
         RE_HEAD "* VANISHED (EARLIER) 2,4\r\n" CHANGED TAIL},
        {textf("a SELECT INBOX (QRESYNC (%u %llu 1:5 (1:4294967295 1)))\r\n", validity, m),
         RE_HEAD "* VANISHED (EARLIER) 2,4\r\n" CHANGED TAIL},
        {textf("a UID FETCH 1:* (FLAGS) (CHANGEDSINCE %llu VANISHED)\r\n", m),
         "* VANISHED (EARLIER) 2,4\r\n" CHANGED "a OK FETCH completed\r\n"},
        {textf("a FETCH 2:3 (FLAGS) (CHANGEDSINCE %llu)\r\n", m), "a OK FETCH completed\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
    client_free(&d);
}

Test(imap_extensions, own_keywords_are_told_too)
{
    struct client *c = client_new(NULL);
    fill(c);
    say(c, "s SELECT INBOX\r\n");
    const char *got = say(c, "a STORE 1 +FLAGS ($Own)\r\n");
    const char *flags = strstr(got, "* FLAGS (");
    const char *fetch = strstr(got, "* 1 FETCH (");
    cr_expect(flags && strstr(flags, " $Own)\r\n") && fetch && flags < fetch, "%s", got);
    cr_expect_null(strstr(say(c, "a STORE 2 +FLAGS ($Own)\r\n"), "* FLAGS"));
    client_free(&c);
}

/* Clients are known to break on these (RFC 3501 has no form for the first; the second may be NIL). */
Test(imap_extensions, structures_that_clients_can_take)
{
    struct client *c = client_new(NULL);
    append(c, "INBOX", "", "Content-Type: multipart/mixed; boundary=b\r\n\r\n");
    append(c, "INBOX", "", "Content-Type: text/plain\r\n\r\nx\r\n");
    append(c, "INBOX", "", "Content-Type: text/plain; charset\r\n\r\nx\r\n");
    append(c, "INBOX", "", "Content-Type: multipart/mixed\r\n\r\nx\r\n");
    append(c, "INBOX", "", "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n--b--\r\n");
    say(c, "s SELECT INBOX\r\n");
    for (unsigned i = 1; i <= 5; i++) {
        static const char word[] = "BODYSTRUCTURE ";
        const char *got = say(c, textf("a FETCH %u (BODYSTRUCTURE)\r\n", i));
        const char *at = strstr(got, word);
        cr_assert_not_null(at, "%s", got);
        struct imap_grammar g = {(const uint8_t *)at + sizeof word - 1, c->answer.p + c->answer.n, NULL};
        cr_expect(imap_grammar_body(&g, true), "%s: %s", g.why, got);
        /* A text says its charset, whatever the mail does not say. */
        cr_expect(!strstr(got, "\"TEXT\"") || strstr(got, "\"CHARSET\"") || strstr(got, "\"charset\""), "%s", got);
    }
    client_free(&c);
}

Test(imap_extensions, list_extended)
{
    struct client *c = client_new(NULL);
    static const char *const made[] = {"Fruit", "Fruit/Apple", "Fruit/Banana", "Tofu", "Vegetable/Corn"};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++)
        cr_assert_not_null(strstr(say(c, textf("a CREATE %s\r\n", made[i])), "a OK"), "%s", made[i]);
    static const char *const subscribed[] = {"Fruit/Banana", "Gone/Peach", "INBOX", "Vegetable/Corn"};
    for (size_t i = 0; i < sizeof subscribed / sizeof subscribed[0]; i++)
        cr_assert_not_null(strstr(say(c, textf("a SUBSCRIBE %s\r\n", subscribed[i])), "a OK"), "%s", subscribed[i]);
    cr_assert_not_null(strstr(say(c, "a CREATE Bin (USE (\\Trash))\r\n"), "a OK"));
#define OK             "a OK LIST completed\r\n"
#define L(attrs, rest) "* LIST (" attrs ") \"/\" " rest "\r\n"
    static const struct exchange table[] = {
        {"a LIST \"\" %\r\n",
         L("\\HasNoChildren \\Trash", "Bin") L("\\HasChildren", "Fruit") L("\\HasNoChildren", "INBOX")
             L("\\HasNoChildren", "Tofu") L("\\Noselect \\HasChildren", "Vegetable") OK},
        {"a LIST (SUBSCRIBED) \"\" *\r\n",
         L("\\HasNoChildren \\Subscribed", "Fruit/Banana") L("\\NonExistent \\HasNoChildren \\Subscribed", "Gone/Peach")
             L("\\HasNoChildren \\Subscribed", "INBOX") L("\\HasNoChildren \\Subscribed", "Vegetable/Corn") OK},
        {"a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" %\r\n",
         L("\\HasChildren", "Fruit (\"CHILDINFO\" (\"SUBSCRIBED\"))")
             L("\\NonExistent \\HasNoChildren", "Gone (\"CHILDINFO\" (\"SUBSCRIBED\"))")
                 L("\\HasNoChildren \\Subscribed", "INBOX")
                     L("\\Noselect \\HasChildren", "Vegetable (\"CHILDINFO\" (\"SUBSCRIBED\"))") OK},
        {"a LIST (SUBSCRIBED REMOTE) \"\" Fruit/*\r\n", L("\\HasNoChildren \\Subscribed", "Fruit/Banana") OK},
        {"a LIST () \"\" (Tofu Fruit% \"Fruit\")\r\n", L("\\HasChildren", "Fruit") L("\\HasNoChildren", "Tofu") OK},
        {"a LIST \"Fruit/\" (% %)\r\n", L("\\HasNoChildren", "Fruit/Apple") L("\\HasNoChildren", "Fruit/Banana") OK},
        {"a LIST \"\" Fruit/% RETURN (SUBSCRIBED CHILDREN)\r\n",
         L("\\HasNoChildren", "Fruit/Apple") L("\\HasNoChildren \\Subscribed", "Fruit/Banana") OK},
        {"a LIST (SPECIAL-USE) \"\" *\r\n", L("\\HasNoChildren \\Trash", "Bin") OK},
        {"a LIST \"\" Bin RETURN (SPECIAL-USE)\r\n", L("\\HasNoChildren \\Trash", "Bin") OK},
        {"a LIST \"\" (Tofu Veg%) RETURN (STATUS (MESSAGES UIDNEXT))\r\n",
         L("\\HasNoChildren", "Tofu") "* STATUS Tofu (MESSAGES 0 UIDNEXT 1)\r\n" L("\\Noselect \\HasChildren",
                                                                                   "Vegetable") OK},
        {"a LIST (RECURSIVEMATCH) \"\" *\r\n", "a BAD RECURSIVEMATCH needs SUBSCRIBED\r\n"},
        {"a LIST (RECURSIVEMATCH REMOTE) \"\" *\r\n", "a BAD RECURSIVEMATCH needs SUBSCRIBED\r\n"},
        {"a LIST (FRESH) \"\" *\r\n", "a BAD Unknown selection option\r\n"},
        {"a LIST \"\" * RETURN (FRESH)\r\n", "a BAD Unknown return option\r\n"},
        {"a LIST \"\" ()\r\n", "a BAD expected a mailbox pattern\r\n"},
        {"a LIST \"\" \"\"\r\n", "* LIST (\\Noselect) \"/\" \"\"\r\n" OK},
        {"a LSUB \"\" *\r\n", "* LSUB () \"/\" Fruit/Banana\r\n* LSUB () \"/\" Gone/Peach\r\n* LSUB () \"/\" INBOX\r\n"
                              "* LSUB () \"/\" Vegetable/Corn\r\na OK LSUB completed\r\n"},
        {"a LSUB \"\" %\r\n",
         "* LSUB (\\Noselect) \"/\" Fruit\r\n* LSUB (\\Noselect) \"/\" Gone\r\n* LSUB () \"/\" INBOX\r\n"
         "* LSUB (\\Noselect) \"/\" Vegetable\r\na OK LSUB completed\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}

Test(imap_extensions, list_of_many_folders_is_said_in_slices)
{
    struct client *c = client_new(&(struct imap_limits){.output_high_bytes = 2000});
    for (int i = 0; i < 300; i++)
        cr_assert_not_null(strstr(say(c, textf("a CREATE many/f%03d\r\n", i)), "a OK"));
    const char *got = say(c, "a LIST \"\" * RETURN (STATUS (MESSAGES))\r\n");
    const char *at = got;
    for (int i = 0; i < 300; i++) {
        const char *line =
            textf("* LIST (\\HasNoChildren) \"/\" many/f%03d\r\n* STATUS many/f%03d (MESSAGES 0)\r\n", i, i);
        at = strstr(at, line);
        cr_assert_not_null(at, "%s", line);
    }
    client_free(&c);
}

Test(imap_extensions, names_in_utf8)
{
    struct client *c = client_new(NULL);
    static const struct exchange table[] = {
        {"a CREATE Gr&APwA3w-e\r\n", "a OK ~\r\n"},
        {"a CREATE \"A & B\"\r\n", "a BAD mailbox name is not valid modified UTF-7\r\n"},
        {"a LIST \"\" Gr*\r\n", L("\\HasNoChildren", "Gr&APwA3w-e") OK},
        {"a ENABLE UTF8=ACCEPT\r\n", "* ENABLED UTF8=ACCEPT\r\na OK ENABLE completed\r\n"},
        {"a LIST \"\" Gr*\r\n", L("\\HasNoChildren", "\"Gr\xc3\xbc\xc3\x9f"
                                                     "e\"") OK},
        {"a STATUS \"Gr\xc3\xbc\xc3\x9f"
         "e\" (MESSAGES)\r\n",
         "* STATUS \"Gr\xc3\xbc\xc3\x9f"
         "e\" (MESSAGES 0)\r\na OK STATUS completed\r\n"},
        {"a CREATE \"A & B\"\r\n", "a OK ~\r\n"},
        {"a LIST \"\" \"A & B\"\r\n", L("\\HasNoChildren", "\"A & B\"") OK},
        {"a STATUS Gr&APwA3w-e (MESSAGES)\r\n", "a NO [NONEXISTENT] No such mailbox\r\n"},
        {"a CREATE \"\xc3\"\r\n", "a BAD mailbox name is not valid UTF-8\r\n"},
        {"a SELECT INBOX\r\n",
         FLAGS_5 PERMANENT "* 0 EXISTS\r\n~\r\n~\r\n~\r\n~\r\na OK [READ-WRITE] Mailbox selected\r\n"},
        {"a SEARCH CHARSET UTF-8 ALL\r\n", "a BAD CHARSET has no place after ENABLE UTF8=ACCEPT\r\n"},
        {"a SEARCH SUBJECT \"\xc3\xbc\"\r\n", "* SEARCH\r\na OK SEARCH completed\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}

static char *mask(void *arg, const struct imap_transport *t, const char *account, const char *client)
{
    (void)t, (void)account;
    snprintf(arg, 300, "%s", client ? client : "?");
    return client && strncmp(client, "Outlook", 7) == 0 ? strdup("esearch, CONDSTORE QRESYNC") : NULL;
}

Test(imap_extensions, a_client_may_be_told_less)
{
    struct client *c = client_new(NULL);
    char client[300] = "?";
    const struct imap_events events = {.arg = client, .mask = mask};
    const struct imap_transport transport = {.peer = "", .events = &events};
    imap_session_set_transport(c->session, &transport);
    cr_expect_not_null(strstr(say(c, "a CAPABILITY\r\n"), " ESEARCH "));
    expect_one(c, "a ID NIL\r\n", "* ID (\"name\" \"MDS\" \"vendor\" \"MDS project\")\r\na OK ID completed\r\n");
    cr_expect_str_eq(client, "");
    expect_one(c, "a ID (\"name\" \"Outlook\x01\" \"version\" \"16\" \"os\" NIL)\r\n",
               "* ID (\"name\" \"MDS\" \"vendor\" \"MDS project\")\r\n* CAPABILITY ~\r\na OK ID completed\r\n");
    cr_expect_str_eq(client, "Outlook? 16");
    cr_expect_null(strstr(say(c, "a CAPABILITY\r\n"), " ESEARCH "));
    expect_one(c, "a ENABLE CONDSTORE QRESYNC UTF8=ACCEPT\r\n", "* ENABLED UTF8=ACCEPT\r\na OK ENABLE completed\r\n");
    expect_one(c, "a ID (\"0123456789012345678901234567890\" NIL)\r\n", "a BAD field too long\r\n");
    client_free(&c);
}

Test(imap_extensions, notify)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(d);
    say(d, "a CREATE Lists/one\r\na CREATE Other\r\ns SELECT INBOX\r\n");
    say(c, "s SELECT INBOX\r\n");
    static const struct exchange table[] = {
        {"a NOTIFY\r\n", "a BAD missing argument\r\n"},
        {"a NOTIFY SET (selected (MessageNew))\r\n", "a BAD MessageNew and MessageExpunge go together\r\n"},
        {"a NOTIFY SET (selected (FlagChange))\r\n", "a BAD MessageNew and MessageExpunge go together\r\n"},
        {"a NOTIFY SET (personal (FlagChange))\r\n", "a OK ~\r\n"}, /* as other servers take it */
        {"a NOTIFY SET (selected (MailboxName))\r\n", "a BAD not an event of the selected mailbox\r\n"},
        {"a NOTIFY SET (selected NONE) (selected-delayed NONE)\r\n", "a BAD SELECTED twice\r\n"},
        {"a NOTIFY SET (personal (MessageNew (UID) MessageExpunge))\r\n",
         "a BAD only new messages of the selected mailbox are fetched\r\n"},
        {"a NOTIFY SET (everywhere (MailboxName))\r\n", "a BAD unknown mailbox filter\r\n"},
        {"a NOTIFY SET (personal (AnnotationChange MessageNew MessageExpunge))\r\n",
         "a NO [BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)] ~\r\n"},
        {"a NOTIFY SET STATUS (selected (MessageNew (UID BODY.PEEK[HEADER.FIELDS (Subject)]) MessageExpunge "
         "FlagChange))"
         " (subtree Lists (MessageNew MessageExpunge)) (mailboxes (Other INBOX) (MessageNew MessageExpunge FlagChange))"
         " (personal (MailboxName SubscriptionChange))\r\n",
         "* STATUS Lists/one (MESSAGES 0 UIDNEXT 1 UIDVALIDITY ~)\r\n"
         "* STATUS Other (MESSAGES 0 UIDNEXT 1 UIDVALIDITY ~ HIGHESTMODSEQ ~)\r\na OK NOTIFY completed\r\n"},
    };
    EXPECT_ALL(c, table);
    append(d, "Lists/one", "", "Subject: six\r\n\r\n");
    expect_soon(c, "* STATUS Lists/one (MESSAGES 1 UIDNEXT 2)\r\n");
    append(d, "INBOX", "", "Subject: seven\r\n\r\n");
    expect_soon(c, "* 6 EXISTS\r\n* 6 FETCH (UID 6 BODY[HEADER.FIELDS (Subject)] {18}\r\nSubject: seven\r\n\r\n)\r\n");
    say(d, "a STORE 1 +FLAGS (\\Answered)\r\n");
    expect_soon(c, "* 1 FETCH (UID 1 FLAGS (\\Seen \\Answered))\r\n");
    say(d, "a STORE 6 +FLAGS.SILENT (\\Deleted)\r\n");
    expect_soon(c, "* 6 FETCH (UID 6 FLAGS (\\Deleted))\r\n");
    say(d, "a EXPUNGE\r\n");
    expect_soon(c, "* 6 EXPUNGE\r\n");
    say(d, "a CREATE Third\r\n");
    expect_soon(c, "* LIST (\\HasNoChildren) \"/\" Third\r\n");
    say(d, "a SUBSCRIBE Third\r\n");
    expect_soon(c, "* LIST (\\HasNoChildren \\Subscribed) \"/\" Third\r\n");
    say(d, "a RENAME Lists Lots\r\n");
    expect_soon(c, "* LIST (\\Noselect \\HasChildren) \"/\" Lots (\"OLDNAME\" (Lists))\r\n");
    say(d, "a UNSUBSCRIBE Third\r\n");
    expect_soon(c, "* LIST (\\HasNoChildren) \"/\" Third\r\n");
    say(d, "a DELETE Third\r\n");
    expect_soon(c, "* LIST (\\NonExistent \\HasNoChildren) \"/\" Third\r\n");
    /* Commands of the client come between. */
    expect_one(c, "a FETCH 1 UID\r\n", "* 1 FETCH (UID 1)\r\na OK FETCH completed\r\n");
    append(d, "Other", "\\Seen", "Subject: eight\r\n\r\n");
    expect_soon(c, "* STATUS Other (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ~)\r\n");
    expect_one(c, "a NOTIFY NONE\r\n", "a OK NOTIFY completed\r\n");
    append(d, "Other", "", "Subject: nine\r\n\r\n");
    append(d, "INBOX", "", "Subject: ten\r\n\r\n");
    for (int i = 0; i < 100; i++)
        nap();
    expect_soon(c, "");
    client_free(&c);
    client_free(&d);
}

Test(imap_extensions, notify_of_names)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    say(d, "a CREATE A/b/c\r\na CREATE A/d\r\na CREATE X\r\na SUBSCRIBE A/d\r\n");
    expect_one(c, "a NOTIFY SET (subtree A (MailboxName)) (subscribed (MessageNew MessageExpunge FlagChange))\r\n",
               "a OK NOTIFY completed\r\n");
    expect_one(c, "a ENABLE CONDSTORE\r\n", "* ENABLED CONDSTORE\r\na OK ENABLE completed\r\n");
    /* A subtree that moves is one event; a name that leaves what is watched is gone. */
    say(d, "a RENAME A/b A/e\r\n");
    expect_soon(c, "* LIST (\\Noselect \\HasChildren) \"/\" A/e (\"OLDNAME\" (A/b))\r\n");
    append(d, "A/d", "", "Subject: x\r\n\r\n");
    expect_soon(c, "* STATUS A/d (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ~ HIGHESTMODSEQ ~ UNSEEN 1)\r\n");
    say(d, "s SELECT A/d\r\na STORE 1 +FLAGS (\\Flagged)\r\n");
    expect_soon(c, "* STATUS A/d (UIDVALIDITY ~ HIGHESTMODSEQ ~)\r\n");
    say(d, "a STORE 1 +FLAGS (\\Seen)\r\n");
    expect_soon(c, "* STATUS A/d (UIDVALIDITY ~ HIGHESTMODSEQ ~ UNSEEN 0)\r\n");
    say(d, "a STORE 1 +FLAGS.SILENT (\\Deleted)\r\na CLOSE\r\n");
    expect_soon(c, "* STATUS A/d (MESSAGES 0 UIDNEXT 2 UIDVALIDITY ~ HIGHESTMODSEQ ~)\r\n");
    append(d, "X", "", "Subject: y\r\n\r\n"); /* not subscribed: not watched */
    say(d, "a RENAME A/e/c Z\r\n");
    expect_soon(c, "* LIST (\\HasNoChildren) \"/\" Z (\"OLDNAME\" (A/e/c))\r\n"
                   "* LIST (\\NonExistent \\HasNoChildren) \"/\" A/e\r\n");
    /* Deleted and made anew under its name: another mailbox, but the name is there. */
    say(d, "a DELETE A/d\r\na CREATE A/d\r\n");
    expect_soon(c, "* LIST (~) \"/\" A/d\r\n");
    client_free(&c);
    client_free(&d);
}

/* Folders "m/00000" .. in one commit. */
static void make_folders(unsigned n)
{
    struct mds_env *env = NULL;
    struct mds_txn *txn = NULL;
    struct error e;
    cr_assert(mds_open(archive_dir, &(struct mds_options){0}, &env, &e) >= 0, "%s", e.text);
    cr_assert(mds_write_begin(env, &txn, &e) >= 0, "%s", e.text);
    for (unsigned i = 0; i < n; i++) {
        uint32_t id;
        cr_assert(mds_folder_create(txn, bytes_str(textf("m/%05u", i)), &id, &e) >= 0, "%s", e.text);
    }
    cr_assert(mds_write_commit(&txn, &e) >= 0, "%s", e.text);
    mds_close(&env);
}

Test(imap_extensions, ten_thousand_folders)
{
    struct client *c = client_new(&(struct imap_limits){.output_high_bytes = 20000});
    struct client *d = client_new(NULL);
    make_folders(9990);
    expect_one(c, "a NOTIFY SET (personal (MailboxName))\r\n", "a OK NOTIFY completed\r\n");
    /* In slices: no output is ever much larger than it should be. */
    buf_reset(&c->answer);
    static const char command[] = "a LIST \"\" *\r\n";
    cr_assert_eq(imap_session_feed(c->session, command, sizeof command - 1), sizeof command - 1);
    size_t most = 0;
    enum imap_run how;
    do {
        how = imap_session_run(c->session);
        struct bytes out = imap_session_output(c->session);
        most = out.n > most ? out.n : most;
        buf_append_bytes(&c->answer, out);
        imap_session_wrote(c->session, out.n);
    } while (how == IMAP_RUN_MORE);
    cr_expect(most < 21000, "%zu bytes at once", most);
    unsigned lines = 0;
    for (const char *at = text_of(c); (at = strstr(at, "* LIST ")) != NULL; at++)
        lines++;
    cr_expect_eq(lines, 9990 + 2, "%u lines", lines); /* INBOX and "m" */
    /* More than is watched is told once, then nothing is. */
    for (int i = 0; i < 8; i++)
        say(d, textf("a CREATE n%d\r\n", i));
    buf_reset(&c->answer);
    say(d, "a CREATE n8\r\n");
    for (int i = 0; i < NAPS_MAX && !strstr(text_of(c), "NOTIFICATIONOVERFLOW"); i++) {
        if (atomic_exchange(&c->woken, false))
            run(c);
        nap();
    }
    cr_expect_not_null(strstr(text_of(c), "* OK [NOTIFICATIONOVERFLOW] Too many mailboxes to watch\r\n"), "%s",
                       text_of(c));
    expect_one(c, "a NOTIFY SET (personal (MailboxName))\r\n",
               "a NO [NOTIFICATIONOVERFLOW] Too many mailboxes to watch\r\n");
    expect_one(c, "a NOTIFY SET (subtree n1 (MailboxName))\r\n", "a OK NOTIFY completed\r\n");
    client_free(&c);
    client_free(&d);
}

Test(imap_extensions, notify_delayed_keeps_numbers)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(d);
    say(d, "s SELECT INBOX\r\n");
    say(c, "s SELECT INBOX\r\n");
    expect_one(c, "a NOTIFY SET (selected-delayed (MessageNew MessageExpunge))\r\n", "a OK NOTIFY completed\r\n");
    say(d, "a STORE 2 +FLAGS (\\Deleted)\r\na EXPUNGE\r\n");
    append(d, "INBOX", "", "Subject: six\r\n\r\n");
    expect_soon(c, "* 6 EXISTS\r\n");
    expect_one(c, "a NOOP\r\n", "* 2 EXPUNGE\r\na OK Completed\r\n");
    /* During IDLE the same. */
    expect_one(c, "b IDLE\r\n", "+ idling\r\n");
    append(d, "INBOX", "", "Subject: seven\r\n\r\n");
    expect_soon(c, "* 6 EXISTS\r\n");
    expect_one(c, "DONE\r\n", "b OK IDLE completed\r\n");
    client_free(&c);
    client_free(&d);
}

/* RFC 5465 sections 4 and 5.2. */
Test(imap_extensions, notify_leaves_out_what_the_client_did)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(d);
    say(d, "a CREATE Other\r\ns SELECT INBOX\r\n");
    say(c, "s SELECT INBOX\r\n");
    say(c, "a NOTIFY SET (selected (MessageNew (UID) MessageExpunge FlagChange))"
           " (personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))\r\n");
    append(c, "Other", "", "Subject: one\r\n\r\n");
    append(c, "INBOX", "", "Subject: two\r\n\r\n");
    say(c, "a COPY 1:2 Other\r\na COPY 1 INBOX\r\na CREATE x/y\r\na SUBSCRIBE x/y\r\na RENAME x z\r\na DELETE z/y\r\n");
    say(c, "a STORE 3 +FLAGS (\\Deleted)\r\na CLOSE\r\n");
    for (int i = 0; i < 100; i++)
        nap();
    expect_soon(c, "");
    /* What others do is told, also between. */
    append(d, "Other", "", "Subject: three\r\n\r\n");
    expect_soon(c, "* STATUS Other (MESSAGES 4 UIDNEXT 5 UIDVALIDITY ~ UNSEEN ~)\r\n");
    say(d, "a CREATE x/y\r\n");
    expect_soon(c, "* LIST (\\Noselect \\HasChildren) \"/\" x\r\n* LIST (\\HasNoChildren) \"/\" x/y\r\n");
    say(c, "s SELECT INBOX\r\n");
    append(d, "INBOX", "", "Subject: four\r\n\r\n");
    expect_soon(c, "* 7 EXISTS\r\n* 7 FETCH (UID 8)\r\n");
    client_free(&c);
    client_free(&d);
}

/* RFC 5465 section 3: NOTIFY SET is a NOOP too, and what it does not ask for is left out from then on. */
Test(imap_extensions, notify_tells_first_what_was_before)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(d);
    say(d, "s SELECT INBOX\r\n");
    say(c, "s SELECT INBOX\r\n");
    say(d, "a STORE 2 +FLAGS (\\Answered)\r\na STORE 5 +FLAGS (\\Deleted)\r\na EXPUNGE\r\n");
    append(d, "INBOX", "", "Subject: six\r\n\r\n");
    expect_one(c, "a NOTIFY SET (selected (MessageNew (UID) MessageExpunge))\r\n",
               "* 5 EXPUNGE\r\n* 5 EXISTS\r\n* 2 FETCH (UID 2 FLAGS (\\Answered))\r\na OK NOTIFY completed\r\n");
    say(d, "a STORE 3 +FLAGS (\\Answered)\r\n");
    append(d, "INBOX", "", "Subject: seven\r\n\r\n");
    expect_soon(c, "* 6 EXISTS\r\n* 6 FETCH (UID 7)\r\n");
    client_free(&c);
    client_free(&d);
}

/* RFC 5465 5.4: INBOX is a new one then, and stays by name. */
Test(imap_extensions, notify_of_a_renamed_inbox)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(d);
    say(d, "s SELECT INBOX\r\na STORE 5 +FLAGS (\\Deleted)\r\na EXPUNGE\r\na UNSELECT\r\n");
    static const char both[] = "a NOTIFY SET (personal (MessageNew MessageExpunge MailboxName))\r\n";
    expect_one(c, both, "a OK NOTIFY completed\r\n");
    expect_one(d, both, "a OK NOTIFY completed\r\n");
    say(d, "a RENAME INBOX old\r\n");
    expect_soon(c, "* STATUS INBOX (MESSAGES 0 UIDNEXT ~)\r\n* LIST (\\HasNoChildren) \"/\" old\r\n"
                   "* STATUS old (MESSAGES 4 UIDNEXT 5)\r\n");
    expect_soon(d, "* STATUS INBOX (MESSAGES 0 UIDNEXT ~)\r\n* STATUS old (MESSAGES 4 UIDNEXT 5)\r\n");
    client_free(&c);
    client_free(&d);
}

/* What somebody else does to a name that the client has just changed itself, before it is looked at. */
Test(imap_extensions, notify_hides_nothing_of_others)
{
    static const struct {
        const char *own, *others, *expect;
    } table[] = {
        {"a CREATE x\r\n", "a DELETE x\r\n", "* LIST (\\NonExistent \\HasNoChildren) \"/\" x\r\n"},
        {"a DELETE y\r\n", "a CREATE y\r\n", "* LIST (\\HasNoChildren) \"/\" y\r\n"},
        {"a RENAME y v\r\n", "a RENAME v w\r\n", "* LIST (\\HasNoChildren) \"/\" w (\"OLDNAME\" (v))\r\n"},
        {"a RENAME w v\r\n", "a RENAME v w\r\n", "* LIST (\\HasNoChildren) \"/\" w (\"OLDNAME\" (v))\r\n"},
        {"a RENAME w v\r\n", "a DELETE v\r\n", "* LIST (\\NonExistent \\HasNoChildren) \"/\" v\r\n"},
        {"a SUBSCRIBE z\r\n", "a UNSUBSCRIBE z\r\n", "* LIST (\\HasNoChildren) \"/\" z\r\n"},
        {"a CREATE z/z\r\n", "a SUBSCRIBE z\r\n", "* LIST (\\HasChildren \\Subscribed) \"/\" z\r\n"},
        {"a UNSUBSCRIBE z\r\n", "a SUBSCRIBE z\r\n", "* LIST (\\HasChildren \\Subscribed) \"/\" z\r\n"},
    };
    struct client *c = client_new(NULL), *d = client_new(NULL);
    say(d, "a CREATE y\r\na CREATE z\r\n");
    say(c, "a NOTIFY SET (personal (MailboxName SubscriptionChange))\r\n");
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        /* The others' change comes when ours is committed and before it is looked at: then it is found with it. */
        buf_reset(&c->answer);
        cr_assert_eq(imap_session_feed(c->session, table[i].own, strlen(table[i].own)), strlen(table[i].own));
        for (int k = 0; k < NAPS_MAX && imap_session_run(c->session) == IMAP_RUN_PARKED; k++) {
            nap();
            if (k == 0) {
                for (int m = 0; m < NAPS_MAX && !atomic_load(&c->woken); m++)
                    nap();
                const char *got = say(d, table[i].others);
                cr_assert(strncmp(got, "a OK ", 5) == 0, "%s: %s", table[i].others, got);
            }
        }
        struct bytes out = imap_session_output(c->session);
        buf_append_bytes(&c->answer, out);
        imap_session_wrote(c->session, out.n);
        for (int k = 0; k < NAPS_MAX && !strstr(text_of(c), table[i].expect); k++) {
            nap();
            run(c);
        }
        cr_expect_not_null(strstr(text_of(c), table[i].expect), "%zu: %s", i, text_of(c));
    }
    client_free(&c);
    client_free(&d);
}

#define NFD "e\xcc\x81"
#define NFC "\xc3\xa9"

static void make_folder(const char *name)
{
    struct mds_env *env = NULL;
    struct mds_txn *txn = NULL;
    struct error e;
    uint32_t id;
    cr_assert(mds_open(archive_dir, &(struct mds_options){0}, &env, &e) >= 0, "%s", e.text);
    cr_assert(mds_write_begin(env, &txn, &e) >= 0, "%s", e.text);
    cr_assert(mds_folder_create(txn, bytes_str(name), &id, &e) >= 0, "%s", e.text);
    cr_assert(mds_write_commit(&txn, &e) >= 0, "%s", e.text);
    mds_close(&env);
}

/* RFC 9051 5.1, 6.3.4: names are made in NFC and found under what a client made them with; what a vault has stays. */
Test(imap_extensions, names_are_made_in_normal_form)
{
    struct client *c = client_new(NULL), *old = client_new(NULL);
    make_folder("v" NFD);
    say(c, "a ENABLE IMAP4rev2\r\n");
    static const struct exchange table[] = {
        {"a CREATE \"" NFD "\"\r\n", "* LIST (\\HasNoChildren) \"/\" \"" NFC "\" (\"OLDNAME\" (\"" NFD "\"))\r\n"
                                     "a OK [MAILBOXID (~)] CREATE completed\r\n"},
        {"a CREATE \"" NFC "\"\r\n", "a NO [ALREADYEXISTS] ~\r\n"},
        {"a CREATE \"" NFD "\"\r\n", "a NO [ALREADYEXISTS] ~\r\n"},
        {"a STATUS \"" NFD "\" (MESSAGES)\r\n", "* STATUS \"" NFC "\" (MESSAGES 0)\r\na OK STATUS completed\r\n"},
        {"a LIST \"\" \"" NFD "\"\r\n", "* LIST (\\HasNoChildren) \"/\" \"" NFC "\"\r\na OK LIST completed\r\n"},
        {"a RENAME \"" NFD "\" \"x" NFD "\"\r\n",
         "* LIST (\\HasNoChildren) \"/\" \"x" NFC "\" (\"OLDNAME\" (\"" NFD "\"))\r\na OK RENAME completed\r\n"},
        /* Another writer's, under its own name, and what is made below it. */
        {"a LIST \"\" \"v" NFD "\"\r\n", "* LIST (\\HasNoChildren) \"/\" \"v" NFD "\"\r\na OK LIST completed\r\n"},
        {"a STATUS \"v" NFD "\" (MESSAGES)\r\n", "* STATUS \"v" NFD "\" (MESSAGES 0)\r\na OK STATUS completed\r\n"},
        {"a CREATE \"v" NFD "/" NFD "\"\r\n",
         "* LIST (\\HasNoChildren) \"/\" \"v" NFD "/" NFC "\" (\"OLDNAME\" (\"v" NFD "/" NFD "\"))\r\n"
         "a OK [MAILBOXID (~)] CREATE completed\r\n"},
        {"a DELETE \"v" NFD "/" NFD "\"\r\n", "a OK DELETE completed\r\n"},
    };
    EXPECT_ALL(c, table);
    const char *got = say(c, "a SELECT \"x" NFD "\"\r\n");
    cr_expect_not_null(strstr(got, "\"x" NFC "\" (\"OLDNAME\" (\"x" NFD "\"))\r\n"), "%s", got);
    /* In modified UTF-7 too; rev1 knows no OLDNAME. */
    expect_one(old, "a CREATE o&AwE-\r\n", "a OK [MAILBOXID (~)] CREATE completed\r\n");
    expect_one(old, "a LIST \"\" o&AwE-\r\n", "* LIST (\\HasNoChildren) \"/\" &APM-\r\na OK LIST completed\r\n");
    expect_one(old, "a DELETE o&AwE-\r\n", "a OK DELETE completed\r\n");
    client_free(&c);
    client_free(&old);
}

Test(imap_extensions, a_level_with_mailboxes_below_it_is_not_deleted)
{
    struct client *c = client_new(NULL);
    say(c, "a CREATE x/y\r\n");
    expect_one(c, "a DELETE x\r\n", "a NO [HASCHILDREN] Mailbox is only a level, and mailboxes are below it\r\n");
    client_free(&c);
}

/* What is announced and needs no transcript of its own. */
Test(imap_extensions, searching_is_announced)
{
    static const char *const names[] = {
        "SORT",           "SORT=DISPLAY", "ESORT",   "THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES", "THREAD=REFS",
        "CONTEXT=SEARCH", "CONTEXT=SORT", "PARTIAL", "MULTISEARCH",           "I18NLEVEL=1",       "SEARCH=FUZZY"};
    struct client *c = client_new(NULL);
    const char *got = say(c, "a CAPABILITY\r\n");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        cr_expect(strstr(got, textf(" %s ", names[i])) || strstr(got, textf(" %s\r", names[i])), "%s: %s", names[i],
                  got);
    client_free(&c);
}

/* I18NLEVEL=1 (RFC 5255 4.2): i;unicode-casemap in SEARCH, SORT and THREAD. */
Test(imap_extensions, texts_compare_by_unicode_casemap)
{
    struct client *c = client_new(NULL);
    append(c, "INBOX", "", "Subject: =?utf-8?q?=C3=A4pfel?=\r\n\r\nx\r\n");
    append(c, "INBOX", "", "Subject: Zoo\r\n\r\nx\r\n");
    append(c, "INBOX", "", "Subject: =?utf-8?q?=C3=84PFEL?=\r\n\r\nx\r\n");
    append(c, "INBOX", "", "Subject: apfel\r\n\r\nx\r\n");
    say(c, "s SELECT INBOX\r\n");
    static const struct exchange table[] = {
        {"a SEARCH CHARSET UTF-8 SUBJECT {6+}\r\n\xc3\x84pfel\r\n", "* SEARCH 1 3\r\na OK SEARCH completed\r\n"},
        {"a SORT (SUBJECT) UTF-8 ALL\r\n", "* SORT 4 1 3 2\r\na OK SORT completed\r\n"},
        {"a THREAD ORDEREDSUBJECT UTF-8 ALL\r\n", "* THREAD (1 3)(2)(4)\r\na OK THREAD completed\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}

Test(imap_extensions, threads)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    append(c, "INBOX", "", plain);
    append(c, "INBOX", "",
           "Date: Mon, 7 Feb 1994 22:00:00 -0800\r\nSubject: Re: one\r\nMessage-ID: <2@x>\r\nIn-Reply-To: "
           "<1@example.org>\r\n\r\nx\r\n");
    append(c, "INBOX", "",
           "Date: Mon, 7 Feb 1994 23:00:00 -0800\r\nSubject: other\r\nMessage-ID: <3@x>\r\nReferences: <1@example.org> "
           "<9@x>\r\n\r\nx\r\n");
    append(c, "INBOX", "", "Date: Mon, 7 Feb 1994 20:00:00 -0800\r\nSubject: one\r\nMessage-ID: <4@x>\r\n\r\nx\r\n");
    say(c, "s SELECT INBOX\r\n");
    static const struct exchange table[] = {
        {"a THREAD REFERENCES UTF-8 ALL\r\n", "* THREAD ((4)(1 (2)(3)))\r\na OK THREAD completed\r\n"},
        {"a UID THREAD REFS UTF-8 ALL\r\n", "* THREAD (4)(1 (2)(3))\r\na OK THREAD completed\r\n"},
        {"a UID THREAD ORDEREDSUBJECT US-ASCII ALL\r\n", "* THREAD (4 (1)(2))(3)\r\na OK THREAD completed\r\n"},
        {"a THREAD REFS UTF-8 2:3\r\n", "* THREAD ((2)(3))\r\na OK THREAD completed\r\n"},
        {"a THREAD REFS UTF-8 DELETED\r\n", "* THREAD\r\na OK THREAD completed\r\n"},
        {"a SEARCH RETURN (SAVE) 3:4\r\n", "a OK SEARCH completed, result saved\r\n"},
        {"a THREAD REFS UTF-8 $\r\n", "* THREAD (4)(3)\r\na OK THREAD completed\r\n"},
    };
    EXPECT_ALL(c, table);
    say(d, "s SELECT INBOX\r\na STORE 1 +FLAGS.SILENT (\\Deleted)\r\na EXPUNGE\r\n");
    expect_one(c, "a THREAD REFS UTF-8 ALL\r\n", "* THREAD ~\r\na OK THREAD completed\r\n");
    expect_one(c, "a NOOP\r\n", "* 1 EXPUNGE\r\na OK Completed\r\n");
    expect_one(c, "a THREAD REFS UTF-8 ALL\r\n", "* THREAD (3)((1)(2))\r\na OK THREAD completed\r\n");
    client_free(&c);
    client_free(&d);
}

Test(imap_extensions, partial)
{
    struct client *c = client_new(NULL);
    fill(c);
    say(c, "s SELECT INBOX\r\n");
    static const struct exchange table[] = {
        {"a UID SEARCH RETURN (PARTIAL -1:-2) UNSEEN\r\n",
         "* ESEARCH (TAG \"a\") UID PARTIAL (-1:-2 4:5)\r\na OK SEARCH completed\r\n"},
        {"a UID SEARCH RETURN (PARTIAL 2:2 MIN MAX COUNT) UNSEEN\r\n",
         "* ESEARCH (TAG \"a\") UID MIN 2 MAX 5 COUNT 4 PARTIAL (2:2 3)\r\na OK SEARCH completed\r\n"},
        {"a UID SEARCH RETURN (PARTIAL 3:900) UNSEEN\r\n",
         "* ESEARCH (TAG \"a\") UID PARTIAL (3:900 4:5)\r\na OK SEARCH completed\r\n"},
        {"a UID SEARCH RETURN (PARTIAL 900:901) UNSEEN\r\n",
         "* ESEARCH (TAG \"a\") UID PARTIAL (900:901 NIL)\r\na OK SEARCH completed\r\n"},
        {"a UID SEARCH RETURN (PARTIAL -900:-4) UNSEEN\r\n",
         "* ESEARCH (TAG \"a\") UID PARTIAL (-900:-4 2)\r\na OK SEARCH completed\r\n"},
        {"a UID SORT RETURN (PARTIAL 2:3) (SUBJECT) UTF-8 ALL\r\n",
         "* ESEARCH (TAG \"a\") UID PARTIAL (2:3 4,1)\r\na OK SORT completed\r\n"},
        {"a UID SORT RETURN (PARTIAL -1:-2) (REVERSE SUBJECT) UTF-8 ALL\r\n",
         "* ESEARCH (TAG \"a\") UID PARTIAL (-1:-2 4:5)\r\na OK SORT completed\r\n"},
        {"a UID SEARCH RETURN (SAVE PARTIAL 1:2 MAX) UNSEEN\r\n",
         "* ESEARCH (TAG \"a\") UID MAX 5 PARTIAL (1:2 2:3)\r\na OK SEARCH completed\r\n"},
        {"a UID SEARCH $\r\n", "* SEARCH 2 3 5\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (PARTIAL 1:2) MODSEQ 1\r\n",
         "* OK [HIGHESTMODSEQ ~] Now told with flags\r\n* ESEARCH (TAG \"a\") PARTIAL (1:2 1:2) MODSEQ ~\r\na OK "
         "SEARCH completed\r\n"},
        {"a UID FETCH 2:* (UID) (PARTIAL -1:-2)\r\n",
         "* 4 FETCH (UID 4)\r\n* 5 FETCH (UID 5)\r\na OK FETCH completed\r\n"},
        {"a UID FETCH 2:* (UID) (PARTIAL 1:1)\r\n", "* 2 FETCH (UID 2)\r\na OK FETCH completed\r\n"},
        {"a UID FETCH 1:* (UID) (CHANGEDSINCE 1 PARTIAL 1:1)\r\n",
         "* 1 FETCH (UID 1 MODSEQ (~))\r\na OK FETCH completed\r\n"},
        {"a FETCH 1:* (UID) (PARTIAL 1:1)\r\n", "a BAD unknown FETCH modifier\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}

Test(imap_extensions, contexts_of_searches)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(c);
    say(c, "s SELECT INBOX\r\n");
    say(d, "s SELECT INBOX\r\n");
    static const struct exchange begin[] = {
        {"u1 UID SEARCH RETURN (UPDATE COUNT) UNSEEN\r\n",
         "* ESEARCH (TAG \"u1\") UID COUNT 4\r\nu1 OK SEARCH completed\r\n"},
        {"u2 SEARCH RETURN (UPDATE ALL CONTEXT) 3:5 NOT FLAGGED\r\n",
         "* ESEARCH (TAG \"u2\") ALL 4:5\r\nu2 OK SEARCH completed\r\n"},
        {"u1 SEARCH RETURN (UPDATE) ALL\r\n", "u1 BAD Tag reuse\r\n"},
        {"a NOOP\r\n", "a OK Completed\r\n"},
        /* its own changes */
        {"a STORE 2 +FLAGS.SILENT (\\Seen)\r\n",
         "* ESEARCH (TAG \"u1\") UID REMOVEFROM (0 2)\r\na OK STORE completed\r\n"},
        {"a STORE 1:2 -FLAGS.SILENT (\\Seen)\r\n",
         "* ESEARCH (TAG \"u1\") UID ADDTO (0 1:2)\r\na OK STORE completed\r\n"},
        {"a STORE 2,4 +FLAGS.SILENT (\\Answered)\r\n", "a OK STORE completed\r\n"},
    };
    EXPECT_ALL(c, begin);
    /* Those of others: of flags, and new ones after their EXISTS. */
    say(d, "a STORE 4 +FLAGS (\\Flagged)\r\n");
    expect_one(c, "a NOOP\r\n",
               "* 4 FETCH (UID 4 FLAGS (\\Answered \\Flagged))\r\n* ESEARCH (TAG \"u2\") REMOVEFROM (0 4)\r\na OK "
               "Completed\r\n");
    say(d, "a STORE 3 -FLAGS (\\Flagged)\r\n");
    append(d, "INBOX", "", "Subject: six\r\n\r\nx\r\n");
    append(d, "INBOX", "\\Seen", "Subject: seven\r\n\r\nx\r\n");
    expect_one(c, "a NOOP\r\n",
               "* 7 EXISTS\r\n* 3 FETCH (UID 3 FLAGS ())\r\n* ESEARCH (TAG \"u2\") ADDTO (0 3)\r\n"
               "* ESEARCH (TAG \"u1\") UID ADDTO (0 6)\r\na OK Completed\r\n");
    /* Expunged ones are told before, by the numbers that still hold; numbers of a key are those of its time. */
    say(d, "a STORE 2,5:6 +FLAGS.SILENT (\\Deleted)\r\na EXPUNGE\r\n");
    expect_one(c, "a SEARCH ALL\r\n", "* SEARCH 1 2 3 4 5 6 7\r\na OK SEARCH completed\r\n");
    expect_one(c, "a NOOP\r\n",
               "* ESEARCH (TAG \"u2\") REMOVEFROM (0 5)\r\n* ESEARCH (TAG \"u1\") UID REMOVEFROM (0 2,5:6)\r\n"
               "* 6 EXPUNGE\r\n* 5 EXPUNGE\r\n* 2 EXPUNGE\r\na OK Completed\r\n");
    say(d, "a UID STORE 4 -FLAGS (\\Flagged)\r\n");
    expect_one(c, "a NOOP\r\n",
               "* 3 FETCH (UID 4 FLAGS (\\Answered))\r\n* ESEARCH (TAG \"u2\") ADDTO (0 3)\r\na OK Completed\r\n");
    /* While IDLE is on, too. */
    expect_one(c, "i IDLE\r\n", "+ idling\r\n");
    say(d, "a UID STORE 7 -FLAGS (\\Seen)\r\n");
    expect_soon(c, "* 4 FETCH (UID 7 FLAGS ())\r\n* ESEARCH (TAG \"u1\") UID ADDTO (0 7)\r\n");
    expect_one(c, "DONE\r\n", "i OK IDLE completed\r\n");
    static const struct exchange end[] = {
        {"a CANCELUPDATE \"u1\" \"nobody\"\r\n", "a OK CANCELUPDATE completed\r\n"},
        {"a CANCELUPDATE\r\n", "a BAD missing argument\r\n"},
        {"a UID STORE 7 +FLAGS.SILENT (\\Seen)\r\n", "a OK STORE completed\r\n"},
        {"u1 SEARCH RETURN (UPDATE) SEEN\r\n", "* ESEARCH (TAG \"u1\")\r\nu1 OK SEARCH completed\r\n"},
        {"a UNSELECT\r\n", "a OK ~\r\n"},
        {"s SELECT INBOX\r\n", "~\r\n~\r\n~\r\n~\r\n~\r\n~\r\n~\r\n~\r\ns OK ~\r\n"},
        {"a UID STORE 7 -FLAGS.SILENT (\\Seen)\r\n", "a OK STORE completed\r\n"},
        {"a CANCELUPDATE \"u1\"\r\n", "a OK CANCELUPDATE completed\r\n"},
    };
    EXPECT_ALL(c, end);
    for (int i = 0; i < 8; i++)
        expect_one(c, textf("n%d SEARCH RETURN (UPDATE COUNT) ALL\r\n", i),
                   textf("* ESEARCH (TAG \"n%d\") COUNT 4\r\nn%d OK SEARCH completed\r\n", i, i));
    expect_one(
        c, "n8 SEARCH RETURN (UPDATE COUNT) ALL\r\n",
        "* NO [NOUPDATE \"n8\"] Too many contexts\r\n* ESEARCH (TAG \"n8\") COUNT 4\r\nn8 OK SEARCH completed\r\n");
    expect_one(c, "a CANCELUPDATE \"n3\"\r\n", "a OK CANCELUPDATE completed\r\n");
    expect_one(c, "n8 SEARCH RETURN (UPDATE COUNT) ALL\r\n",
               "* ESEARCH (TAG \"n8\") COUNT 4\r\nn8 OK SEARCH completed\r\n");
    client_free(&c);
    client_free(&d);
}

Test(imap_extensions, contexts_of_sorts)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    static const char *const subjects[] = {"d", "b", "f", "a", "h"};
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++)
        append(c, "INBOX", "", textf("Subject: %s\r\n\r\nx\r\n", subjects[i]));
    say(c, "s SELECT INBOX\r\n");
    say(d, "s SELECT INBOX\r\n");
    static const struct exchange begin[] = {
        {"u1 UID SORT RETURN (UPDATE ALL) (SUBJECT) UTF-8 UNFLAGGED\r\n",
         "* ESEARCH (TAG \"u1\") UID ALL 4,2,1,3,5\r\nu1 OK SORT completed\r\n"},
        {"u2 SORT RETURN (UPDATE COUNT) (REVERSE SUBJECT) UTF-8 UNSEEN\r\n",
         "* ESEARCH (TAG \"u2\") COUNT 5\r\nu2 OK SORT completed\r\n"},
        {"a STORE 1:2 +FLAGS.SILENT (\\Flagged)\r\n",
         "* ESEARCH (TAG \"u1\") UID REMOVEFROM (2 2,1)\r\na OK STORE completed\r\n"},
        {"a STORE 2,4 +FLAGS.SILENT (\\Seen)\r\n",
         "* ESEARCH (TAG \"u2\") REMOVEFROM (4 2,4)\r\na OK STORE completed\r\n"},
        {"a STORE 2 -FLAGS.SILENT (\\Seen \\Flagged)\r\n",
         "* ESEARCH (TAG \"u2\") ADDTO (4 2)\r\n* ESEARCH (TAG \"u1\") UID ADDTO (2 2)\r\na OK STORE completed\r\n"},
    };
    EXPECT_ALL(c, begin); /* u1 is 4 2 3 5, u2 is 5 3 1 2 */
    append(d, "INBOX", "", "Subject: e\r\n\r\nx\r\n");
    append(d, "INBOX", "", "Subject: E2\r\n\r\nx\r\n");
    append(d, "INBOX", "", "Subject: z\r\n\r\nx\r\n");
    expect_one(c, "a NOOP\r\n",
               "* 8 EXISTS\r\n* ESEARCH (TAG \"u2\") ADDTO (1 8 4 7,6)\r\n* ESEARCH (TAG \"u1\") UID ADDTO (3 6:7 7 "
               "8)\r\na OK Completed\r\n");
    /* u1 is 4 2 6 7 3 5 8, u2 is 8 5 3 7 6 1 2 */
    say(d, "a STORE 1,3,7:8 +FLAGS.SILENT (\\Deleted)\r\na EXPUNGE\r\n");
    expect_one(
        c, "a NOOP\r\n",
        "* ESEARCH (TAG \"u2\") REMOVEFROM (6 1 3 3,7 1 8)\r\n* ESEARCH (TAG \"u1\") UID REMOVEFROM (7 8 4 7,3)\r\n"
        "* 8 EXPUNGE\r\n* 7 EXPUNGE\r\n* 3 EXPUNGE\r\n* 1 EXPUNGE\r\na OK Completed\r\n");
    client_free(&c);
    client_free(&d);
}

Test(imap_extensions, searches_of_many_mailboxes)
{
    struct client *c = client_new(NULL);
    fill(c);
    static const char *const folders[] = {"a", "a/b", "a/b/c", "d", "leer"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        say(c, textf("f CREATE %s\r\n", folders[i]));
        if (i < 4)
            append(c, folders[i], i % 2 ? "\\Seen" : "", textf("Subject: in %s\r\n\r\nx\r\n", folders[i]));
    }
    append(c, "d", "", "Subject: two\r\n\r\nx\r\n");
    say(c, "f UNSUBSCRIBE d\r\n");
#define IN(name, rest) "* ESEARCH (TAG \"a\" MAILBOX " name " UIDVALIDITY ~) UID " rest "\r\n"
#define DONE           "a OK ESEARCH completed\r\n"
    static const struct exchange table[] = {
        {"a ESEARCH ALL\r\n", "a BAD no mailbox is selected\r\n"},
        {"a ESEARCH IN (selected) ALL\r\n", "a BAD no mailbox is selected\r\n"},
        {"a ESEARCH IN (personal) UNSEEN\r\n",
         IN("INBOX", "ALL 2:5") IN("a", "ALL 1") IN("a/b/c", "ALL 1") IN("d", "ALL 2") DONE},
        {"a ESEARCH IN (mailboxes (d nowhere inbox) subtree-one a) RETURN (COUNT MIN MAX) SUBJECT \"t\"\r\n",
         IN("INBOX", "MIN 2 MAX 3 COUNT 2") IN("d", "MIN 2 MAX 2 COUNT 1") DONE},
        {"a ESEARCH IN (subtree a) ALL\r\n", IN("a", "ALL 1") IN("a/b", "ALL 1") IN("a/b/c", "ALL 1") DONE},
        {"a ESEARCH IN (subtree-one a) ALL\r\n", IN("a", "ALL 1") IN("a/b", "ALL 1") DONE},
        {"a ESEARCH IN (subscribed) RETURN () SUBJECT two\r\n", IN("INBOX", "ALL 2") DONE},
        {"a ESEARCH IN (inboxes) RETURN (PARTIAL 1:1) UNSEEN\r\n",
         IN("INBOX", "PARTIAL (1:1 2)") IN("a", "PARTIAL (1:1 1)") IN("a/b/c", "PARTIAL (1:1 1)")
             IN("d", "PARTIAL (1:1 2)") DONE},
        {"a ESEARCH IN (personal) DELETED\r\n", DONE},
        {"a ESEARCH IN (mailboxes d) RETURN (SAVE) ALL\r\n",
         "a BAD SAVE and UPDATE are for the selected mailbox alone\r\n"},
        {"a ESEARCH IN (mailboxes d) RETURN (UPDATE) ALL\r\n",
         "a BAD SAVE and UPDATE are for the selected mailbox alone\r\n"},
        {"a ESEARCH IN (selected-delayed) ALL\r\n", "a BAD unknown mailbox filter\r\n"},
        {"a ESEARCH IN (mailboxes d (x y)) ALL\r\n", "a BAD unknown scope option\r\n"},
        {"a ESEARCH IN () ALL\r\n", "a BAD expected an atom\r\n"},
        {"a ESEARCH IN (personal) CHARSET KOI8-R ALL\r\n",
         "a NO [BADCHARSET (UTF-8 US-ASCII)] Charset is not supported\r\n"},
        {"a SELECT d\r\n", "~\r\n~\r\n~\r\n~\r\n~\r\n~\r\n~\r\n~\r\na OK ~\r\n"},
        {"a ESEARCH UNSEEN\r\n", IN("d", "ALL 2") DONE},
        {"a ESEARCH IN (selected mailboxes (d a)) UNSEEN\r\n", IN("d", "ALL 2") IN("a", "ALL 1") DONE},
        {"a ESEARCH IN (personal) MODSEQ 1 SUBJECT two\r\n",
         "* OK [HIGHESTMODSEQ ~] Now told with flags\r\n" IN("INBOX", "MODSEQ ~ ALL 2") IN("d", "MODSEQ ~ ALL 2") DONE},
        {"a ESEARCH RETURN (SAVE) UNSEEN\r\n", DONE},
        {"a UID SEARCH $\r\n", "* SEARCH 2\r\na OK SEARCH completed\r\n"},
        {"a ESEARCH IN (selected) RETURN (UPDATE COUNT) UNSEEN\r\n", IN("d", "COUNT 1") DONE},
        {"b STORE 1 -FLAGS.SILENT (\\Seen)\r\n",
         "* 1 FETCH (MODSEQ (~))\r\n* ESEARCH (TAG \"a\") UID ADDTO (0 1)\r\nb OK STORE completed\r\n"},
        {"a ESEARCH RETURN (UPDATE) ALL\r\n", "a BAD Tag reuse\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}

Test(imap_extensions, fuzzy_searches_are_ranked)
{
    struct client *c = client_new(NULL);
    static const char *const subjects[] = {"broken IMAP", "IMAP break", "break IMAP is",
                                           "nothing",     "imap",       "imap imap"};
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++)
        append(c, "INBOX", i == 2 ? "\\Seen" : "", textf("Subject: %s\r\n\r\nx\r\n", subjects[i]));
    say(c, "s SELECT INBOX\r\n");
    static const struct exchange table[] = {
        {"a SEARCH FUZZY SUBJECT \"IMAP break\"\r\n", "* SEARCH 1 2 3 5 6\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (RELEVANCY ALL) FUZZY SUBJECT \"IMAP break\"\r\n",
         "* ESEARCH (TAG \"a\") ALL 1:3,5:6 RELEVANCY (~ 100 ~)\r\na OK SEARCH completed\r\n"},
        {"a SORT (RELEVANCY) UTF-8 FUZZY SUBJECT \"IMAP break\"\r\n", "* SORT 2 3 1 5 6\r\na OK SORT completed\r\n"},
        {"a UID SORT RETURN (RELEVANCY PARTIAL 1:1) (RELEVANCY) UTF-8 FUZZY (SUBJECT \"IMAP break\")\r\n",
         "* ESEARCH (TAG \"a\") UID PARTIAL (1:1 2) RELEVANCY (100)\r\na OK SORT completed\r\n"},
        {"a SORT (REVERSE RELEVANCY) UTF-8 FUZZY SUBJECT \"IMAP break\" UNSEEN\r\n",
         "* SORT 1 5 6 2\r\na OK SORT completed\r\n"},
        {"a SEARCH FUZZY SUBJECT \"...\"\r\n", "* SEARCH\r\na OK SEARCH completed\r\n"},
        {"a SEARCH NOT FUZZY SUBJECT \"IMAP break\"\r\n", "* SEARCH 4\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (RELEVANCY ALL) FUZZY SEEN\r\n",
         "* ESEARCH (TAG \"a\") ALL 3 RELEVANCY (100)\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (RELEVANCY ALL) FUZZY SUBJECT absent\r\n",
         "* ESEARCH (TAG \"a\") RELEVANCY ()\r\na OK SEARCH completed\r\n"},
        {"a THREAD REFS UTF-8 FUZZY SUBJECT \"nothing much\"\r\n", "* THREAD (4)\r\na OK THREAD completed\r\n"},
        {"a ESEARCH IN (personal) RETURN (RELEVANCY ALL) FUZZY SUBJECT \"nothing much\"\r\n",
         "* ESEARCH (TAG \"a\" MAILBOX INBOX UIDVALIDITY ~) UID ALL 4 RELEVANCY (100)\r\na OK ESEARCH "
         "completed\r\n"},
        {"u SORT RETURN (UPDATE COUNT) (RELEVANCY) UTF-8 FUZZY SUBJECT imap\r\n",
         "* NO [NOUPDATE \"u\"] ~\r\n* ESEARCH (TAG \"u\") COUNT 5\r\nu OK SORT completed\r\n"},
        {"a SEARCH RETURN (RELEVANCY) ALL\r\n", "a BAD RELEVANCY without FUZZY\r\n"},
        {"a SORT (RELEVANCY) UTF-8 ALL\r\n", "a BAD RELEVANCY without FUZZY\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}
