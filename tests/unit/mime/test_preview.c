/* PREVIEW (RFC 8970): what was cut for speed must not show. */
#include "unit_mime.h"

#define CHARS 200

/* `before` bytes that a preview skips, then letters of two bytes each. */
static struct bytes preview_of(struct buf *item, const char *header, size_t before, const char *letter, size_t letters)
{
    buf_reset(item);
    buf_append_str(item, header);
    buf_append_str(item, "\n");
    for (size_t i = 0; i < before; i++)
        buf_append_byte(item, i % 60 == 59 ? '\n' : ' ');
    for (size_t i = 0; i < letters; i++)
        buf_append_str(item, letter);
    return unit_parse(buf_bytes(item)).preview;
}

static void expect_letters(struct bytes preview, const char *letter, size_t letters, size_t before)
{
    const size_t n = strlen(letter);
    cr_assert_eq(preview.n, letters * n, "%zu before: %zu bytes: %s", before, preview.n, unit_text(preview));
    for (size_t i = 0; i < letters; i++)
        cr_assert(memcmp(preview.p + i * n, letter, n) == 0, "%zu before: %s", before, unit_text(preview));
}

Test(preview, no_character_is_cut_wherever_a_taste_ends)
{
    struct buf item = {0};
    for (size_t before = 0; before < 500; before++) {
        expect_letters(preview_of(&item, "Subject: s\n", before, "\xc3\xa4", 5000), "\xc3\xa4", CHARS, before);
        expect_letters(preview_of(&item, "Content-Type: text/plain; charset=utf-8\n", before, "\xe2\x82\xac", 300),
                       "\xe2\x82\xac", CHARS, before);
        expect_letters(preview_of(&item,
                                  "Content-Type: text/plain; charset=utf-8\n"
                                  "Content-Transfer-Encoding: quoted-printable\n",
                                  before, "=D0=96", 300),
                       "\xd0\x96", CHARS, before);
        expect_letters(preview_of(&item, "Content-Type: text/plain; charset=gb18030\n", before, "\xb0\xa1", 300),
                       "\xe5\x95\x8a", CHARS, before);
    }
    buf_release(&item);
}

Test(preview, what_a_long_way_behind_comes_still_shows)
{
    struct buf item = {0};
    expect_letters(preview_of(&item, "Subject: s\n", 10000, "x", 7), "x", 7, 10000);
    expect_letters(preview_of(&item, "Subject: s\n", 15900, "x", 7), "x", 7, 15900);
    cr_expect_eq(preview_of(&item, "Subject: s\n", 20000, "x", 7).n, 0, "more than a preview reads");
    expect_letters(preview_of(&item, "Content-Type: text/html\n", 50000, "x", 7), "x", 7, 50000);
    buf_release(&item);
}
