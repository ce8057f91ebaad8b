/*
 * A client for a session in the same process: feeds commands, cuts the answer into responses.
 */
#include "talk.h"

#include "cli.h"

#include "imap/imap.h"
#include "mds/query.h"

#include <stdio.h>
#include <string.h>

#define TAG "t "
#define HEAD_MAX 256 /* of a response line: enough to know it, and for the text of the tagged one */

struct talk {
    struct mdsq_store *store;
    struct imap_session *session;
    struct buf command;
    /* the answer as it comes in */
    const char *print;
    char head[HEAD_MAX]; /* of the current response */
    size_t head_n;
    struct buf line;      /* of the current line, kept until it is known whether to print it */
    uint64_t literal_left;
    bool in_response;     /* a literal was part of it: the next line goes on with it */
    bool is_printed;
    bool has_answer;
    enum talk_answer answer;
    char text[HEAD_MAX];
};

static int fail_from_query(const struct mdsq_error *e, struct error *err)
{
    return error_set(err, (enum base_err)e->code, e->sys, "%s", e->text);
}

int talk_open(const char *store_dir, const char *archive, struct talk **out, struct error *err)
{
    struct mdsq_error e = {0};
    struct talk *talk = g_new0(struct talk, 1);
    int rc = mdsq_store_open(store_dir, 0, &talk->store, &e);

    *out = NULL;
    if (rc < 0) {
        e.code = MDSQ_ERR_IO; /* "not found" is for archives and folders */
        rc = fail_from_query(&e, err);
    } else {
        talk->session = imap_session_new_local(talk->store, archive, NULL, err);
        rc = talk->session ? BASE_OK : (int)(err ? err->code : BASE_ERR_NOTFOUND);
    }
    if (rc < 0)
        talk_close(&talk);
    *out = talk;
    return rc;
}

void talk_close(struct talk **talk)
{
    struct talk *t = *talk;

    *talk = NULL;
    if (t == NULL)
        return;
    if (t->session)
        imap_session_free(&t->session);
    mdsq_store_close(&t->store);
    buf_release(&t->command);
    buf_release(&t->line);
    g_free(t);
}

void talk_set_search(struct talk *talk, const struct mdsq_search_settings *settings)
{
    mdsq_store_set_search(talk->store, settings);
}

static void print_line(const char *line, void *arg)
{
    (void)arg;
    fprintf(stderr, "%s\n", line);
}

void talk_explain(struct talk *talk)
{
    imap_session_explain(talk->session, print_line, NULL);
}

/* ---- commands --------------------------------------------------------------------------------- */

void talk_begin(struct talk *talk, const char *text)
{
    buf_reset(&talk->command);
    buf_append_str(&talk->command, TAG);
    buf_append_str(&talk->command, text);
}

void talk_add(struct talk *talk, const char *text)
{
    buf_append_str(&talk->command, text);
}

void talk_add_string(struct talk *talk, struct bytes text)
{
    bool plain = true;

    for (size_t i = 0; i < text.n; i++)
        plain &= text.p[i] >= 0x20 && text.p[i] < 0x7f && text.p[i] != '"' && text.p[i] != '\\';
    if (plain) {
        buf_append_byte(&talk->command, '"');
        buf_append_bytes(&talk->command, text);
        buf_append_byte(&talk->command, '"');
    } else {
        buf_printf(&talk->command, "{%zu+}\r\n", text.n);
        buf_append_bytes(&talk->command, text);
    }
}

/* RFC 3501 5.1.3: runs outside printable ASCII as UTF-16 in base64 with "," for "/" and no "=", between "&" and "-". */
static void append_shifted(const char *utf8, size_t n, struct buf *out)
{
    gsize utf16_n = 0;
    char *utf16 = g_convert(utf8, (gssize)n, "UTF-16BE", "UTF-8", NULL, &utf16_n, NULL);
    char *base64 = g_base64_encode((const guchar *)utf16, utf16_n);

    buf_append_byte(out, '&');
    for (const char *c = base64; *c && *c != '='; c++)
        buf_append_byte(out, *c == '/' ? ',' : (uint8_t)*c);
    buf_append_byte(out, '-');
    g_free(base64);
    g_free(utf16);
}

static bool is_direct(char c)
{
    return c >= 0x20 && c < 0x7f;
}

void talk_add_folder(struct talk *talk, const char *name)
{
    struct buf out = {0};
    char *valid = g_utf8_make_valid(name, -1);

    for (const char *at = valid; *at;) {
        const char *end = at;

        while (*end && !is_direct(*end))
            end++;
        if (end > at)
            append_shifted(at, (size_t)(end - at), &out);
        else if (*end++ == '&')
            buf_append_str(&out, "&-");
        else
            buf_append_byte(&out, (uint8_t)*at);
        at = end;
    }
    talk_add_string(talk, buf_bytes(&out));
    buf_release(&out);
    g_free(valid);
}

/* ---- answers ------------------------------------------------------------------------------------ */

/* "* 1 FETCH (...": the word stands first or after a number. */
static bool head_has_word(const char *head, const char *word)
{
    const char *at = head + 2;
    const size_t n = strlen(word);

    at += strspn(at, "0123456789 ");
    return strncmp(head, "* ", 2) == 0 && g_ascii_strncasecmp(at, word, n) == 0 && !g_ascii_isalnum(at[n]);
}

/* {123} at the line's end: how many bytes of literal follow; 0 if none. */
static bool line_ends_with_literal(struct bytes line, uint64_t *n_out)
{
    size_t at = line.n - 2;
    uint64_t n = 0, unit = 1;

    if (line.n < 5 || line.p[at - 1] != '}')
        return false;
    for (at -= 2; at > 0 && g_ascii_isdigit(line.p[at]) && unit < UINT64_C(1000000000000); at--, unit *= 10)
        n += (uint64_t)(line.p[at] - '0') * unit;
    *n_out = n;
    return line.p[at] == '{' && unit > 1;
}

static void take_tagged(struct talk *t)
{
    const char *word = t->head + strlen(TAG);
    char *text = strchr(word, ' ');

    t->has_answer = true;
    t->answer = g_ascii_strncasecmp(word, "OK", 2) == 0   ? TALK_OK
                : g_ascii_strncasecmp(word, "NO", 2) == 0 ? TALK_NO
                                                          : TALK_BAD;
    g_strlcpy(t->text, text ? text + 1 : "", sizeof t->text);
    g_strchomp(t->text);
}

/* A whole line, its CRLF included. */
static void take_line(struct talk *t)
{
    if (!t->in_response) {
        t->head_n = t->line.n < sizeof t->head - 1 ? t->line.n : sizeof t->head - 1;
        memcpy(t->head, t->line.p, t->head_n);
        t->head[t->head_n] = 0;
        t->is_printed = t->print && head_has_word(t->head, t->print);
        if (strncmp(t->head, TAG, strlen(TAG)) == 0)
            take_tagged(t);
        else if (strncmp(t->head, "* BYE", 5) == 0)
            g_strlcpy(t->text, t->head + 2, sizeof t->text);
    }
    if (t->is_printed)
        fwrite(t->line.p, 1, t->line.n, stdout);
    t->in_response = line_ends_with_literal(buf_bytes(&t->line), &t->literal_left);
    buf_reset(&t->line);
}

static void take_output(struct talk *t, struct bytes in)
{
    while (in.n) {
        if (t->literal_left) {
            const size_t n = in.n < t->literal_left ? in.n : (size_t)t->literal_left;

            if (t->is_printed)
                fwrite(in.p, 1, n, stdout);
            t->literal_left -= n;
            in = bytes_slice(in, n, in.n);
            continue;
        }
        const uint8_t *lf = memchr(in.p, '\n', in.n);
        const size_t n = lf ? (size_t)(lf - in.p) + 1 : in.n;

        buf_append(&t->line, in.p, n);
        in = bytes_slice(in, n, in.n);
        if (lf)
            take_line(t);
    }
}

enum talk_answer talk_end(struct talk *talk, const char *print)
{
    enum imap_run run = IMAP_RUN_MORE;
    size_t fed = 0;

    buf_append_str(&talk->command, "\r\n");
    talk->print = print;
    talk->has_answer = false;
    talk->answer = TALK_NO;
    talk->text[0] = 0;
    while (!talk->has_answer && run != IMAP_RUN_CLOSE && (run != IMAP_RUN_IDLE || fed < talk->command.n)) {
        fed += imap_session_feed(talk->session, talk->command.p + fed, talk->command.n - fed);
        run = imap_session_run(talk->session);

        const struct bytes out = imap_session_output(talk->session);

        take_output(talk, out);
        imap_session_wrote(talk->session, out.n);
        if (run == IMAP_RUN_WAIT)
            g_usleep((gulong)imap_session_wait_ms(talk->session) * 1000);
    }
    return talk->answer;
}

const char *talk_text(const struct talk *talk)
{
    return talk->text[0] ? talk->text : "the session ended without an answer";
}

int talk_status(const struct talk *talk, enum talk_answer answer)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        cli_note("standard output: write error");
        return CLI_ENVIRONMENT;
    }
    if (answer == TALK_OK)
        return CLI_DONE;
    cli_note("%s", talk_text(talk));
    return answer == TALK_BAD ? CLI_USAGE : CLI_SOME_FAILED;
}

int talk_examine(struct talk *talk, const char *folder)
{
    talk_begin(talk, "EXAMINE ");
    talk_add_folder(talk, folder);

    const enum talk_answer answer = talk_end(talk, NULL);

    return answer == TALK_OK ? -1 : talk_status(talk, answer);
}
