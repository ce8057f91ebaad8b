/*
 * What a naive writer puts into an mbox comes out again, byte for byte, in each variant; only mboxo cannot take its quotes
 * back. Items are made of lines that look like separators, quotes, fields of the writer and blank lines, with either line end.
 */
#include <criterion/criterion.h>

#include "test_support.h"
#include "vault/vault.h"

#define ITEMS_MAX 12

struct made {
    struct buf item;     /* what the reader must give */
    uint32_t flags;
    bool junk;           /* keyword */
    int64_t date;
};

enum variant { O, RD, CL, CL2, VARIANTS };
static const char *const kinds[VARIANTS] = {"mboxo", "mboxrd", "mboxcl", "mboxcl2"};

static const char *const header_lines[] = {"Subject: hello", "From: ann@example.org", "X-Status-Not: R", "Received: from x\n by y\n\tfor z",
                                           "no field at all", ">From old@uucp Tue Jan  1 00:00:00 2002", "Statuses: 1"};
static const char *const body_lines[] = {"", "", "text", "From here", "From a@b Tue Jan  1 00:00:00 2002", ">From x", ">>From y", ">", ">> From",
                                         "Status: RO", "Content-Length: 3", "Subject: in the body", " From z", "From", "-- ", "\tFrom a",
                                         "From a Tue Jan  1 00:00:00 2002 remote from b", "Fro\xffm", "a rather long line of text that goes on and on"};

static const char *line_end(struct rng *rng, bool mixed)
{
    return mixed && rng_once_in(rng, 2) ? "\r\n" : "\n";
}

/* A line as the writer stores it: quoted where the variant says so. */
static void put_line(struct buf *stored, struct buf *item, enum variant variant, const char *line, const char *end)
{
    size_t quotes = 0;

    while (line[quotes] == '>')
        quotes++;
    const bool from = strncmp(line + quotes, "From ", 5) == 0;
    const bool quote = from && (variant == RD || variant == CL || (variant == O && quotes == 0));

    if (quote)
        buf_append_byte(stored, '>');
    buf_append_str(stored, line);
    buf_append_str(stored, end);
    if (item) {
        if (quote && variant == O)
            buf_append_byte(item, '>');
        buf_append_str(item, line);
        buf_append_str(item, end);
    }
}

static void put_status(struct rng *rng, struct buf *stored, struct made *m, const char *end)
{
    static const struct {
        const char *line;
        uint32_t flags;
        bool junk;
    } fields[] = {
        {"Status: RO", VAULT_FLAG_SEEN, false},
        {"X-Status: AF", VAULT_FLAG_ANSWERED | VAULT_FLAG_FLAGGED, false},
        {"x-keywords: Junk\n $Forwarded", VAULT_FLAG_FORWARDED, true},
        {"X-UID: 17", 0, false},
        {"X-IMAPbase: 1 2 Junk", 0, false},
    };
    const size_t i = rng_below(rng, sizeof fields / sizeof fields[0]);

    buf_append_str(stored, fields[i].line);
    buf_append_str(stored, end);
    m->flags |= fields[i].flags;
    m->junk |= fields[i].junk;
}

/* `fill` bytes of text first, to push what follows over the reader's window. */
static void put_item(struct rng *rng, enum variant variant, bool mixed, size_t fill, struct made *m, struct buf *file)
{
    struct buf header = {0}, body = {0};
    const size_t headers = rng_below(rng, 6), lines = rng_below(rng, 12);

    for (size_t i = 0; i < headers; i++) {
        if (rng_once_in(rng, 3))
            put_status(rng, &header, m, line_end(rng, mixed));
        put_line(&header, &m->item, variant == CL2 ? O : variant, header_lines[rng_below(rng, sizeof header_lines / sizeof *header_lines)],
                 line_end(rng, mixed));
    }
    const char *end = line_end(rng, mixed);

    buf_append_str(&m->item, end);
    for (size_t n = 0; n < fill; n += 64)
        put_line(&body, &m->item, variant, "sixty-three bytes of text that say nothing and end in a line end", "\n");
    for (size_t i = 0; i < lines; i++)
        put_line(&body, &m->item, variant, body_lines[rng_below(rng, sizeof body_lines / sizeof *body_lines)], line_end(rng, mixed));
    if (variant == CL || variant == CL2)
        buf_printf(&header, "Content-Length: %zu%s", body.n, line_end(rng, mixed));
    m->date = (int64_t)rng_below(rng, 28) * 86400 + 1009843200;
    buf_printf(file, "From ann at example.org  Tue Jan %2d 00:00:00 2002%s", (int)((m->date - 1009843200) / 86400) + 1, line_end(rng, mixed));
    buf_append_bytes(file, buf_bytes(&header));
    buf_append_str(file, end);
    buf_append_bytes(file, buf_bytes(&body));
    buf_append_str(file, line_end(rng, mixed));
    buf_release(&header);
    buf_release(&body);
}

static void expect_item(struct vault *v, const struct vault_item *item, const struct made *m, const char *what)
{
    struct vault_body *body = NULL;
    struct error err = {0};
    struct bytes got;

    cr_assert_eq(vault_item_open(v, &item->locator, &body, &err), BASE_OK, "%s: %s", what, err.text);
    cr_assert_eq(vault_item_map(body, &got, &err), BASE_OK, "%s: %s", what, err.text);
    cr_assert(bytes_equal(got, buf_bytes(&m->item)), "%s:\nexpected [%.*s]\ngot      [%.*s]", what, (int)(m->item.n < 5000 ? m->item.n : 5000),
              (char *)m->item.p, (int)(got.n < 5000 ? got.n : 5000), (const char *)got.p);
    cr_assert_eq(vault_item_size(body), got.n, "%s", what);
    vault_item_close(&body);
    cr_assert_eq(item->flags, m->flags, "%s: flags %x, expected %x", what, item->flags, m->flags);
    cr_assert_eq(item->keywords.n != 0, m->junk, "%s: keywords", what);
    cr_assert(item->has_date && item->date == m->date, "%s: date", what);
}

static void one_round(struct rng *rng, enum variant variant, size_t fill, const char *path)
{
    struct made made[ITEMS_MAX] = {0};
    struct buf file = {0};
    const size_t count = rng_below(rng, ITEMS_MAX + 1);
    const bool mixed = rng_once_in(rng, 2);
    struct vault_spec spec;
    struct vault *v = NULL;
    struct vault_scan *scan = NULL;
    struct vault_container c;
    struct vault_item item;
    struct error err = {0};

    for (size_t i = 0; i < count; i++)
        put_item(rng, variant, mixed, i % 4 ? 0 : fill, &made[i], &file);
    write_file(path, buf_bytes(&file));
    cr_assert_eq(vault_spec_parse(textf("%s:%s", kinds[variant], path), &spec, &err), BASE_OK);
    cr_assert_eq(vault_open(&spec, &v, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(vault_scan_new(v, "/tmp", &scan, &err), BASE_OK);
    cr_assert_eq(vault_scan_next_container(scan, &c, &err), VAULT_MORE);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(vault_scan_next_item(scan, &item, &err), VAULT_MORE, "%s: item %zu of %zu in\n%.*s", kinds[variant], i, count,
                     (int)(file.n < 5000 ? file.n : 5000), (char *)file.p);
        expect_item(v, &item, &made[i], textf("%s: item %zu of %zu", kinds[variant], i, count));
    }
    cr_assert_eq(vault_scan_next_item(scan, &item, &err), VAULT_DONE, "%s: more than %zu items in\n%.*s", kinds[variant], count,
                 (int)(file.n < 5000 ? file.n : 5000), (char *)file.p);
    vault_scan_free(&scan);
    vault_close(&v);
    vault_spec_release(&spec);
    for (size_t i = 0; i < count; i++)
        buf_release(&made[i].item);
    buf_release(&file);
}

Test(mbox, what_a_naive_writer_wrote_is_read)
{
    struct rng rng = rng_start("mbox");
    const char *path = path_join(TEMP_DIR(), "m");

    for (int i = 0; i < 800; i++)
        one_round(&rng, (enum variant)(i % VARIANTS), 0, path);
}

/* The window is 4 MiB: separators, quotes and headers fall on its edge and around. */
Test(mbox, the_readers_window_does_not_show)
{
    struct rng rng = rng_start("mbox_window");
    const char *path = path_join(TEMP_DIR(), "m");

    for (int i = 0; i < 40; i++)
        one_round(&rng, (enum variant)(i % VARIANTS), ((size_t)4 << 20) - (size_t)rng_below(&rng, 2500), path);
}
