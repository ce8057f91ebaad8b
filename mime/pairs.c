/* Separators of texts: sets of pairs, and their terms. All pairs are kept, those of two letters are passed over later:
 * that needs no look at what a character is, which is what takes the time. */
#include "mime/pairs.h"

#include "words_private.h"

#define ROW_NONE 128u
#define SINGLES  (ROW_NONE * 128u) /* numbers of pairs, then of single characters */

void mime_pairs_add(struct mime_pairs *p, struct bytes text)
{
    unsigned row = ROW_NONE;

    for (size_t i = 0; i < text.n; i++) {
        const uint8_t c = text.p[i];

        if (c >= 0x80) {
            row = ROW_NONE;
            continue;
        }
        p->after[row][c / 64] |= UINT64_C(1) << (c % 64);
        row = c;
    }
}

void mime_pairs_unite(struct mime_pairs *p, const struct mime_pairs *with)
{
    for (unsigned row = 0; row < MIME_PAIRS_ROWS; row++) {
        p->after[row][0] |= with->after[row][0];
        p->after[row][1] |= with->after[row][1];
    }
}

void mime_pairs_take_out(struct mime_pairs *p, const struct mime_pairs *others)
{
    for (unsigned row = 0; row < MIME_PAIRS_ROWS; row++) {
        p->after[row][0] &= ~others->after[row][0];
        p->after[row][1] &= ~others->after[row][1];
    }
}

/* words_letters as bits: 0-9; A-Z and a-z. */
static const uint64_t letters[2] = {UINT64_C(0x03ff000000000000), UINT64_C(0x07fffffe07fffffe)};

static void letters_take_out(uint64_t row[2])
{
    row[0] &= ~letters[0];
    row[1] &= ~letters[1];
}

static void term_make(unsigned number, struct mime_pair_term *out)
{
    const uint8_t chars[2] = {(uint8_t)(number >= SINGLES ? number - SINGLES : number / 128), number % 128};
    const size_t n = number >= SINGLES ? 1 : 2;

    out->v[0] = (uint8_t)(MIME_PAIR_TERMS + n - 1);
    for (size_t i = 0; i < n; i++) {
        out->v[1 + 2 * i] = (uint8_t)(0x80 | chars[i] >> 4);
        out->v[2 + 2 * i] = (uint8_t)(0x80 | (chars[i] & 0x0f));
    }
    out->n = (uint8_t)(1 + 2 * n);
}

static void set_give(const uint64_t set[2], unsigned from, mime_pairs_fn *fn, void *arg)
{
    struct mime_pair_term term;

    for (unsigned half = 0; half < 2; half++) {
        for (uint64_t rest = set[half]; rest; rest &= rest - 1) {
            term_make(from + half * 64 + (unsigned)__builtin_ctzll(rest), &term);
            fn(bytes_of(term.v, term.n), arg);
        }
    }
}

void mime_pairs_terms(struct mime_pairs *p)
{
    uint64_t *const singles = p->after[ROW_NONE];

    for (unsigned row = 0; row < ROW_NONE; row++) {
        singles[0] |= p->after[row][0];
        singles[1] |= p->after[row][1];
        if (WORDS_IS_LETTER(row))
            letters_take_out(p->after[row]);
    }
    letters_take_out(singles);
}

void mime_pairs_each(const struct mime_pairs *p, mime_pairs_fn *fn, void *arg)
{
    struct mime_pairs terms = *p;

    mime_pairs_terms(&terms);
    for (unsigned row = 0; row < MIME_PAIRS_ROWS; row++)
        set_give(terms.after[row], row * 128, fn, arg);
}

bool mime_pair_term(struct bytes chars, struct mime_pair_term *out)
{
    const uint8_t a = chars.n ? chars.p[0] : 0x80, b = chars.n > 1 ? chars.p[1] : a;

    if (chars.n > 2 || a >= 0x80 || b >= 0x80 || (WORDS_IS_LETTER(a) && WORDS_IS_LETTER(b)))
        return false;
    term_make(chars.n == 1 ? SINGLES + a : a * 128u + b, out);
    return true;
}
