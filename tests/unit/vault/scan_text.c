#include "scan_text.h"

#include <criterion/criterion.h>
#include <inttypes.h>

#include "test_support.h"

static uint64_t last_skipped;
static const char *last_reason = "";

uint64_t scan_text_skipped(void)
{
    return last_skipped;
}

const char *scan_text_reason(void)
{
    return last_reason;
}

static void append_escaped(struct buf *out, struct bytes v)
{
    for (size_t i = 0; i < v.n; i++)
        buf_append_byte(out, v.p[i] == '\n' ? '|' : v.p[i] < 0x20 ? '?' : v.p[i]);
}

static void append_content(struct vault *v, const struct vault_item *item, struct buf *out)
{
    struct vault_body *body = NULL;
    struct error err = {0};
    struct bytes whole;
    size_t got;

    if (vault_item_open(v, &item->locator, &body, &err) != BASE_OK) {
        buf_printf(out, "!%s", base_err_name(err.code));
        return;
    }
    const size_t size = (size_t)vault_item_size(body);
    uint8_t *copy = malloc(size + 1), *pieces = malloc(size + 1);

    cr_assert_eq(vault_item_read(body, 0, copy, size + 1, &got, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(got, size);
    for (size_t end = size; end > 0;) {
        const size_t n = end < 7 ? end : 7;

        end -= n;
        cr_assert_eq(vault_item_read(body, end, pieces + end, n, &got, &err), BASE_OK, "%s", err.text);
        cr_assert_eq(got, n);
    }
    cr_assert_eq(vault_item_map(body, &whole, &err), BASE_OK, "%s", err.text);
    cr_assert(bytes_equal(whole, bytes_of(copy, size)), "mapped and read differ");
    cr_assert(bytes_equal(whole, bytes_of(pieces, size)), "mapped and read in pieces differ");
    append_escaped(out, whole);
    vault_item_close(&body);
    free(copy);
    free(pieces);
}

static void append_item(struct vault *v, const struct vault_item *item, struct buf *out)
{
    if (item->identity.n)
        append_escaped(out, item->identity);
    else
        buf_append_byte(out, '#');
    buf_append_str(out, " <");
    for (unsigned bit = 0; bit < 6; bit++) {
        if (item->flags >> bit & 1)
            buf_append_byte(out, (uint8_t)"RAFDTP"[bit]);
    }
    buf_append_byte(out, '>');
    if (item->keywords.n)
        buf_printf(out, " {%.*s}", (int)item->keywords.n, (const char *)item->keywords.p);
    if (item->has_date)
        buf_printf(out, " @%" PRId64, item->date);
    buf_append_str(out, ": ");
    append_content(v, item, out);
    buf_append_byte(out, '\n');
}

const char *scan_spec_text(const struct vault_spec *spec)
{
    struct vault *v = NULL;
    struct vault_scan *scan = NULL;
    struct vault_container c;
    struct vault_item item;
    struct error err = {0};
    struct buf out = {0};
    int rc;

    if (vault_open(spec, &v, &err) != BASE_OK || vault_scan_new(v, "/tmp", &scan, &err) != BASE_OK) {
        vault_close(&v);
        return textf("ERR %s: %s", base_err_name(err.code), err.text);
    }
    while ((rc = vault_scan_next_container(scan, &c, &err)) == VAULT_MORE) {
        buf_append_str(&out, "== ");
        append_escaped(&out, c.folder);
        buf_append_str(&out, c.unreadable ? " unreadable\n" : "\n");
        while ((rc = vault_scan_next_item(scan, &item, &err)) == VAULT_MORE)
            append_item(v, &item, &out);
        cr_assert_eq(rc, VAULT_DONE, "%s", err.text);
    }
    cr_assert_eq(rc, VAULT_DONE, "%s", err.text);
    last_skipped = vault_scan_skipped(scan);
    last_reason = textf("%s", vault_scan_skip_reason(scan));
    vault_scan_free(&scan);
    vault_close(&v);
    const char *text = textf("%.*s", (int)out.n, out.n ? (char *)out.p : "");

    buf_release(&out);
    return text;
}

const char *scan_text(const char *spec_text)
{
    struct vault_spec spec;
    struct error err = {0};

    if (vault_spec_parse(spec_text, &spec, &err) != BASE_OK)
        return textf("ERR %s: %s", base_err_name(err.code), err.text);
    const char *text = scan_spec_text(&spec);

    vault_spec_release(&spec);
    return text;
}
