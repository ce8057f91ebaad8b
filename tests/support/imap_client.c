/* imap_client: see imap_client.h. */
#include "imap_client.h"

#include "mds/mds.h"
#include "test_support.h"

#include <time.h>

struct mdsq_store *store;
char archive_dir[1200];

void client_setup(void)
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

void client_teardown(void)
{
    mdsq_store_close(&store);
}

static void on_wake(void *arg)
{
    struct client *c = arg;
    atomic_store(&c->woken, true);
}

struct client *client_new(const struct imap_limits *limits)
{
    struct client *c = calloc(1, sizeof *c);
    struct error e;
    c->session = imap_session_new_local(store, "mail", limits, &e);
    cr_assert_not_null(c->session, "%s", e.text);
    imap_session_set_wake(c->session, on_wake, c);
    return c;
}

void client_free(struct client **c)
{
    imap_session_free(&(*c)->session);
    buf_release(&(*c)->answer);
    free(*c);
    *c = NULL;
}

void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

void run(struct client *c)
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

const char *text_of(struct client *c)
{
    buf_append_byte(&c->answer, 0);
    c->answer.n--;
    cut_recent(c);
    return (const char *)c->answer.p;
}

const char *say_bytes(struct client *c, const void *p, size_t n)
{
    buf_reset(&c->answer);
    cr_assert_eq(imap_session_feed(c->session, p, n), n);
    run(c);
    return text_of(c);
}

const char *say(struct client *c, const char *text)
{
    return say_bytes(c, text, strlen(text));
}

bool is_like(const char *pattern, const char *text)
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

void expect_one(struct client *c, const char *what, const char *expect)
{
    const char *got = say(c, what);
    cr_expect(is_like(expect, got), "said: %s\ngot:  %s\nwant: %s", what, got, expect);
}

void expect_all(struct client *c, const struct exchange *table, size_t n)
{
    for (size_t i = 0; i < n; i++)
        expect_one(c, table[i].say, table[i].expect);
}

void expect_soon(struct client *c, const char *expect)
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

void append(struct client *c, const char *folder, const char *flags, const char *message)
{
    const char *got = say(c, textf("app APPEND %s (%s) {%zu+}\r\n%s\r\n", folder, flags, strlen(message), message));
    cr_assert_not_null(strstr(got, "app OK [APPENDUID "), "%s", got);
}

const char plain[] = "Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nFrom: Fred <fred@example.org>\r\nSubject: one\r\n"
                     "Message-ID: <1@example.org>\r\n\r\nHello Joe, do you think we can meet?\r\n";

void fill(struct client *c)
{
    append(c, "INBOX", "\\Seen", plain);
    append(c, "INBOX", "", "Subject: two\r\n\r\nSecond\r\n");
    append(c, "INBOX", "\\Flagged", "Subject: three\r\n\r\nThird\r\n");
    append(c, "INBOX", "", "Subject: four\r\n\r\nFourth\r\n");
    append(c, "INBOX", "", "Subject: five\r\n\r\nFifth\r\n");
}
