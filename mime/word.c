/*
 * word: encoded words in headers (RFC 2047, RFC 2231's language suffix).
 *
 *   encoded-word = "=?" charset ["*" language] "?" encoding "?" encoded-text "?="
 *
 * Neighbours in one charset are joined before the charset is taken off, as
 * mailers split characters between words. (GMime 3.2.13 loses what follows a
 * padded base64 word: each word has its own state here.) What does not decode
 * stays as it stands.
 */
#include "mime_private.h"

struct word {
    struct bytes charset, text;
    uint8_t encoding; /* 'B' or 'Q' */
    size_t end;       /* offset behind "?=" */
};

enum { CHARSET_MAX = 64 };

/* The word that begins at `off`; false if none does. */
static bool word_at(struct bytes v, size_t off, struct word *w)
{
    if (v.n - off < 8 || v.p[off] != '=' || v.p[off + 1] != '?')
        return false;
    size_t i = off + 2;
    const size_t charset = i;
    while (i < v.n && i - charset <= CHARSET_MAX && v.p[i] > ' ' && v.p[i] < 0x7f && v.p[i] != '?')
        i++;
    if (v.n - i < 5 || v.p[i] != '?' || v.p[i + 2] != '?' || i == charset)
        return false;
    w->charset = bytes_slice(v, charset, i - charset);
    const uint8_t *star = memchr(w->charset.p, '*', w->charset.n);
    if (star)
        w->charset.n = (size_t)(star - w->charset.p);
    w->encoding = v.p[i + 1] & 0xdf;
    if (w->encoding != 'B' && w->encoding != 'Q')
        return false;
    const size_t text = i + 3;
    const uint8_t *end = memchr(v.p + text, '?', v.n - text);
    if (!end || end + 1 >= v.p + v.n || end[1] != '=')
        return false;
    w->text = bytes_slice(v, text, (size_t)(end - v.p) - text);
    w->end = text + w->text.n + 2;
    return true;
}

static void q_decode(struct bytes v, struct buf *out, bool *bad)
{
    for (size_t i = 0; i < v.n; i++) {
        uint8_t c = v.p[i];
        if (c == '_') {
            c = ' ';
        } else if (c == '=') {
            const int high = i + 2 < v.n ? mime_hex_value(v.p[i + 1]) : -1;
            const int low = high >= 0 ? mime_hex_value(v.p[i + 2]) : -1;
            if (low >= 0) {
                c = (uint8_t)(high << 4 | low);
                i += 2;
            } else {
                *bad = true;
            }
        }
        buf_append_byte(out, c);
    }
}

static void append_plain(struct bytes v, struct buf *out, bool *bad)
{
    struct bytes rest = v;
    const uint8_t *eq;
    while (!*bad && rest.n && (eq = memmem(rest.p, rest.n, "=?", 2)) != NULL) {
        /* "=?" that has a "?=" behind it was meant as a word. */
        rest = bytes_slice(rest, (size_t)(eq - rest.p) + 2, SIZE_MAX);
        *bad = memmem(rest.p, rest.n < 80 ? rest.n : 80, "?=", 2) != NULL;
    }
    mime_charset_decode(v, (struct bytes){0}, out);
}

static bool is_blank(struct bytes v)
{
    return mime_trim(v).n == 0;
}

void mime_words_decode(struct bytes v, struct buf *out, bool *bad)
{
    if (v.n == 0)
        return;
    if (!memmem(v.p, v.n, "=?", 2)) {
        mime_charset_decode(v, (struct bytes){0}, out);
        return;
    }
    struct buf raw = {0};
    size_t done = 0, at = 0;
    bool after_word = false;
    while (at < v.n) {
        const uint8_t *eq = memmem(v.p + at, v.n - at, "=?", 2);
        if (!eq)
            break;
        at = (size_t)(eq - v.p);
        struct word w, next;
        if (!word_at(v, at, &w)) {
            at += 2;
            continue;
        }
        const struct bytes between = bytes_slice(v, done, at - done);
        if (!(after_word && is_blank(between)))
            append_plain(between, out, bad);
        buf_reset(&raw);
        for (;;) {
            if (w.encoding == 'Q')
                q_decode(w.text, &raw, bad);
            else {
                *bad = *bad || !mime_base64_is_clean(w.text);
                mime_decode_transfer(w.text, MIME_ENCODING_BASE64, &raw);
            }
            at = done = w.end;
            while (at < v.n && (v.p[at] == ' ' || v.p[at] == '\t'))
                at++;
            if (!word_at(v, at, &next) || !bytes_equal_nocase(next.charset, w.charset))
                break;
            w = next;
        }
        if (!mime_charset_is_known(w.charset))
            *bad = true;
        mime_charset_decode(buf_bytes(&raw), w.charset, out);
        at = done;
        after_word = true;
    }
    append_plain(bytes_slice(v, done, SIZE_MAX), out, bad);
    buf_release(&raw);
}

void mime_decode_header(struct bytes raw_value, struct buf *out)
{
    struct buf scratch = {0};
    bool bad = false;
    mime_words_decode(mime_unfold(raw_value, &scratch), out, &bad);
    buf_release(&scratch);
}
