/* A needle that is a substring of a text: each of its terms matches one of the text's. An exact one: and only then. */
#include "mime/words.h"

#include <criterion/criterion.h>

#include "mime/mime.h"
#include "test_support.h"

#define ROUNDS 30000

/* Biased: few letters, so that things repeat; all kinds of characters; now and then bytes that are none. */
static void text_make(struct rng *r, size_t units, struct buf *out)
{
    static const char *const pool[] = {
        "A",
        "B",
        "C",
        "0",
        "-",
        " ",
        "\xcc\x81",
        "\xd0\x96",
        "\xe4\xb8\xad",
        "\xe6\x96\x87",
        "\xe3\x82\x99",
        "_",
        "@",
        "\xe0\xb8\x81",
        "\xf0\x90\x8c\xb0",
        "\xf0\xa0\x80\x80",
        "\xf0\x9f\x98\x80",
        "\xe2\x80\x94",
        "\xff",
        "\xc3",
        "\xe4\xb8",
        "\x80",
    };
    const size_t kinds = rng_once_in(r, 3) ? 3 : rng_once_in(r, 4) ? sizeof pool / sizeof *pool : 18;

    while (units--)
        buf_append_str(out, pool[rng_below(r, kinds)]);
}

static bool term_matches(struct bytes have, struct bytes want, enum mime_match match)
{
    if (have.n < want.n)
        return false;
    switch (match) {
    case MIME_MATCH_PREFIX: return memcmp(have.p, want.p, want.n) == 0;
    case MIME_MATCH_SUFFIX: return memcmp(have.p + have.n - want.n, want.p, want.n) == 0;
    case MIME_MATCH_WHOLE: return bytes_equal(have, want);
    default: return memmem(have.p, have.n, want.p, want.n) != NULL;
    }
}

struct looking {
    const struct mime_needle_term *want;
    bool found;
};

static void look_at(struct bytes term, void *arg)
{
    struct looking *l = arg;

    cr_assert(term.n > 0 && term.n <= MIME_WORDS_TERM_MAX);
    for (size_t i = 0; i < term.n; i++)
        cr_assert_geq(term.p[i], '0');
    l->found |= term_matches(term, l->want->term, l->want->match);
}

static bool text_has(struct bytes text, const struct mime_needle_term *t)
{
    struct looking l = {.want = t};
    struct mime_pairs pairs = {0};
    struct mime_words w;
    struct bytes term;

    mime_words_init(&w, text);
    while (mime_words_next(&w, &term))
        look_at(term, &l);
    mime_pairs_add(&pairs, text);
    mime_pairs_each(&pairs, look_at, &l);
    return l.found;
}

static size_t char_begin(struct bytes text, size_t at)
{
    while (at > 0 && at < text.n && (text.p[at] & 0xc0) == 0x80)
        at--;
    return at;
}

Test(words, a_needle_of_the_text_is_found_by_its_terms, .timeout = 600)
{
    struct rng r = rng_start("words");
    size_t exact = 0, exact_hits = 0, cut = 0;

    for (unsigned round = 0; round < ROUNDS; round++) {
        struct buf text = {0}, other = {0};
        struct mime_needle n;

        text_make(&r, 1 + (rng_once_in(&r, 8) ? rng_below(&r, 400) : rng_below(&r, 40)), &text);
        const struct bytes all = buf_bytes(&text);
        const size_t from = char_begin(all, rng_below(&r, all.n + 1));
        const size_t to = char_begin(all, from + rng_below(&r, all.n - from + 1));
        struct bytes needle = bytes_slice(all, from, to > from ? to - from : 0);

        if (rng_once_in(&r, 3)) { /* of another text: by chance in this one */
            text_make(&r, 1 + rng_below(&r, 3), &other);
            needle = buf_bytes(&other);
        }
        const bool inside = needle.n == 0 || memmem(all.p, all.n, needle.p, needle.n) != NULL;

        mime_needle_init(&n, needle);
        cut += n.n > 1;
        for (size_t i = 0; i < n.n; i++) {
            const bool has = text_has(all, &n.v[i]);

            cr_assert(has || !inside, "round %u, term %zu of %zu", round, i, n.n);
            if (n.exact) {
                cr_assert_eq(has, inside, "round %u: exact", round);
                exact++;
                exact_hits += has;
            }
        }
        mime_needle_release(&n);
        buf_release(&text);
        buf_release(&other);
    }
    cr_expect_gt(exact, ROUNDS / 50);
    cr_expect_gt(exact_hits, ROUNDS / 100);
    cr_expect_gt(cut, ROUNDS / 20);
}
