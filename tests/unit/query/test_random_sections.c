/*
 * Random MIME trees: the generator writes down what each section must be, as bytes, while it builds the message; nothing of the
 * room under test helps it. LF and CRLF mixed, NULs, parts of every size, attached messages.
 */
#include "fixture.h"

#include "test_support.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define EXPECTED_MAX 400

struct expected {
    enum mdsq_section_kind kind;
    char path[64];
    size_t begin, end; /* of the raw message */
};

struct message {
    struct rng *rng;
    struct buf raw;
    struct expected expected[EXPECTED_MAX];
    size_t n;
    unsigned boundaries;
};

static void expect(struct message *m, enum mdsq_section_kind kind, const char *path, size_t begin, size_t end)
{
    cr_assert_lt(m->n, EXPECTED_MAX);
    m->expected[m->n] = (struct expected){.kind = kind, .begin = begin, .end = end};
    snprintf(m->expected[m->n++].path, sizeof m->expected[0].path, "%s", path);
}

static void put_end(struct message *m)
{
    buf_append_str(&m->raw, rng_once_in(m->rng, 3) ? "\r\n" : "\n");
}

static void put_line(struct message *m, const char *text)
{
    buf_append_str(&m->raw, text);
    put_end(m);
}

static void put_leaf_body(struct message *m)
{
    const uint64_t target = rng_once_in(m->rng, 60) ? 400000 : rng_once_in(m->rng, 8) ? 70000 : rng_below(m->rng, 300);
    const size_t begin = m->raw.n;

    while (m->raw.n - begin < target) {
        for (uint64_t k = rng_below(m->rng, 90); k > 0; k--)
            buf_append_byte(&m->raw, rng_once_in(m->rng, 300) ? 0 : (uint8_t)('a' + rng_below(m->rng, 26)));
        if (!rng_once_in(m->rng, 10) || m->raw.n - begin < target)
            put_end(m);
    }
}

static void put_entity(struct message *m, const char *path, bool is_message, unsigned depth);

static void put_multipart(struct message *m, const char *path, const char *boundary, unsigned depth)
{
    const unsigned children = 1 + (unsigned)rng_below(m->rng, 3);

    for (unsigned i = 1; i <= children; i++) {
        char child[64];

        put_line(m, textf("--%s", boundary));
        snprintf(child, sizeof child, "%s%s%u", path, path[0] ? "." : "", i);
        put_entity(m, child, false, depth + 1);
        put_end(m); /* belongs to the boundary */
    }
    put_line(m, textf("--%s--", boundary));
}

static void put_fields(struct message *m)
{
    static const char *const names[] = {"Subject", "From", "X-Random", "Received", "X-Other", "To", "Date"};

    for (uint64_t k = rng_below(m->rng, 8); k > 0; k--) {
        put_line(m, textf("%s: %llu", names[rng_below(m->rng, 7)], (unsigned long long)rng_below(m->rng, 1000)));
        if (rng_once_in(m->rng, 4))
            put_line(m, rng_once_in(m->rng, 2) ? "\tfolded" : "  folded twice");
    }
}

/* Of a message: path is where its parts are numbered; its own sections are told by the caller. */
static void put_entity(struct message *m, const char *path, bool is_message, unsigned depth)
{
    const size_t header = m->raw.n;
    const uint64_t what = depth >= 4 ? 0 : rng_below(m->rng, 6);
    const char *boundary = textf("=_%u_", m->boundaries++);
    size_t body;

    if (is_message)
        put_fields(m);
    put_line(m, what >= 4 ? textf("Content-Type: multipart/mixed; boundary=\"%s\"", boundary)
                : what == 3 ? "Content-Type: message/rfc822" : "Content-Type: text/plain");
    put_end(m);
    body = m->raw.n;
    if (!is_message)
        expect(m, MDSQ_SECTION_MIME, path, header, body);
    if (what >= 4)
        put_multipart(m, path, boundary, depth);
    else if (what == 3) {
        char part[64];

        /* A message that is itself a message/rfc822 has it as part 1. */
        snprintf(part, sizeof part, "%s%s", path, !is_message ? "" : path[0] ? ".1" : "1");
        put_entity(m, part, true, depth + 1);
        if (is_message)
            expect(m, MDSQ_SECTION_ALL, part, body, m->raw.n);
    } else {
        put_leaf_body(m);
        if (is_message)
            expect(m, MDSQ_SECTION_ALL, path[0] ? textf("%s.1", path) : "1", body, m->raw.n);
    }
    if (is_message) {
        expect(m, MDSQ_SECTION_HEADER, path, header, body);
        expect(m, MDSQ_SECTION_TEXT, path, body, m->raw.n);
    } else {
        expect(m, MDSQ_SECTION_ALL, path, body, m->raw.n);
    }
}

/* Client bytes the plain way. */
static struct buf as_client_sees(struct bytes in)
{
    struct buf out = {0};

    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] == '\n' && (i == 0 || in.p[i - 1] != '\r'))
            buf_append_byte(&out, '\r');
        buf_append_byte(&out, in.p[i] ? in.p[i] : 0x80);
    }
    return out;
}

static struct mdsq_section section_of(enum mdsq_section_kind kind, const char *path)
{
    struct mdsq_section s = {.kind = kind};

    while (*path) {
        s.path[s.path_n++] = (uint32_t)strtoul(path, (char **)(uintptr_t)&path, 10);
        path += *path == '.';
    }
    return s;
}

/* Reads in random pieces, mostly forward, sometimes anywhere. */
static void check_reads(struct rng *rng, struct mdsq_body *body, struct bytes expected, const char *name)
{
    struct mdsq_error e;
    struct buf got = {0};
    uint64_t off = 0;

    for (int i = 0; i < 60; i++) {
        const size_t n = (size_t)rng_below(rng, rng_once_in(rng, 3) ? 200000 : 3000);
        const struct bytes want = bytes_slice(expected, (size_t)off, n);
        size_t n_got = 0;

        buf_reset(&got);
        cr_assert_eq(mdsq_body_read(body, off, buf_reserve(&got, n + 1), n, &n_got, &e), 0, "%s: %s", name, e.text);
        cr_assert(bytes_equal(bytes_of(got.p, n_got), want), "%s at %llu, %zu bytes", name, (unsigned long long)off, n);
        off += n_got;
        if (rng_once_in(rng, 8) || n_got < n)
            off = rng_below(rng, expected.n + 10);
    }
    buf_release(&got);
}

static void check_section(struct rng *rng, struct fixture *f, const struct mdsq_view *view, uint32_t uid,
                          const struct expected *x, struct bytes raw)
{
    const struct mdsq_section s = section_of(x->kind, x->path);
    const char *name = textf("seed message %u, kind %d, \"%s\"", uid, x->kind, x->path);
    struct mdsq_error e = {0};
    struct mdsq_body *body = NULL;
    struct buf client = as_client_sees(bytes_slice(raw, x->begin, x->end - x->begin));

    cr_assert_eq(mdsq_body_open(f->reader, view, uid, &s, &body, &e), 0, "%s: %s", name, e.text);
    cr_assert_eq(mdsq_body_size(body), client.n, "%s: %llu instead of %zu", name, (unsigned long long)mdsq_body_size(body),
                 client.n);
    check_reads(rng, body, buf_bytes(&client), name);
    mdsq_body_close(&body);
    buf_release(&client);
}

/* HEADER.FIELDS the plain way: line by line. */
static struct buf subset_plainly(struct bytes header, const char *wanted, bool complement)
{
    struct buf out = {0}, client = as_client_sees(header);
    bool take = false;

    for (size_t at = 0; at < client.n;) {
        const uint8_t *lf = memchr(client.p + at, '\n', client.n - at);
        const size_t n = (size_t)(lf - (client.p + at)) + 1;

        if (client.p[at] != ' ' && client.p[at] != '\t') {
            const char *line = textf("%.*s", (int)n, (const char *)client.p + at);
            const char *colon = strchr(line, ':');
            const char *found = colon ? strcasestr(wanted, textf("|%.*s|", (int)(colon - line), line)) : NULL;

            take = colon == NULL || (found != NULL) != complement; /* the blank line is always there */
        }
        if (take)
            buf_append(&out, client.p + at, n);
        at += n;
    }
    buf_release(&client);
    return out;
}

static void check_fields(struct fixture *f, const struct mdsq_view *view, uint32_t uid, const struct expected *x,
                         struct bytes raw)
{
    static const struct { const char *wanted; struct mdsq_bytes names[2]; size_t n; } rows[] = {
        {"|Subject|From|", {{(const uint8_t *)"sUBJECT", 7}, {(const uint8_t *)"from", 4}}, 2},
        {"|X-Random|Subject|", {{(const uint8_t *)"x-random", 8}, {(const uint8_t *)"subject", 7}}, 2},
        {"|Bcc|", {{(const uint8_t *)"bcc", 3}}, 1},
    };

    for (size_t i = 0; i < 6; i++) {
        const bool complement = i % 2;
        struct mdsq_section s = section_of(complement ? MDSQ_SECTION_HEADER_FIELDS_NOT : MDSQ_SECTION_HEADER_FIELDS, x->path);
        struct buf plain = subset_plainly(bytes_slice(raw, x->begin, x->end - x->begin), rows[i / 2].wanted, complement);
        int rc;

        s.fields = rows[i / 2].names;
        s.fields_n = rows[i / 2].n;
        const struct bytes got = fixture_body(f, view, uid, &s, &rc);
        cr_assert_eq(rc, 0);
        cr_assert(bytes_equal(got, buf_bytes(&plain)), "\"%s\" %s: \"%.*s\" instead of \"%.*s\"", x->path, rows[i / 2].wanted, (int)got.n,
                  (const char *)got.p, (int)plain.n, (const char *)plain.p);
        buf_release(&plain);
    }
}

Test(random_sections, equal_a_plain_splitter)
{
    struct rng rng = rng_start("random_sections");
    struct fixture *f = fixture_new(TEMP_DIR());

    for (int i = 0; i < 60; i++) {
        struct message *m = calloc(1, sizeof *m);

        m->rng = &rng;
        put_entity(m, "", true, 0);
        expect(m, MDSQ_SECTION_ALL, "", 0, m->raw.n);

        const uint32_t uid = fixture_add(f, "INBOX", buf_bytes(&m->raw), &(struct filing){.all_headers = i % 4 == 3});
        struct mdsq_view *view = fixture_view(f, "INBOX");

        for (size_t k = 0; k < m->n; k++) {
            check_section(&rng, f, view, uid, &m->expected[k], buf_bytes(&m->raw));
            if (m->expected[k].kind == MDSQ_SECTION_HEADER)
                check_fields(f, view, uid, &m->expected[k], buf_bytes(&m->raw));
        }
        mdsq_view_close(&view);
        buf_release(&m->raw);
        free(m);
    }
    fixture_free(&f);
}
