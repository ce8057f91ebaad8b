/*
 * Hostile items: every text is found, decoded and cut into terms without harm, and the promise of the content index
 * holds: what a text contains has terms that are all found among the text's own; and if the needle says it is exact,
 * the reverse.
 */
#include "mime/mime.h"
#include "mime/texts.h"
#include "mime/words.h"

#include "base/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX   4096 /* of each text, for the promise: quadratic otherwise */
#define NEEDLE_MAX 200

static int read_item(void *arg, uint64_t off, uint64_t len, struct bytes *out, struct error *err)
{
    *out = bytes_slice(*(const struct bytes *)arg, (size_t)off, (size_t)len);
    return out->n == len ? BASE_OK : error_set(err, BASE_ERR_CORRUPT, 0, "behind the item");
}

static bool holds(struct bytes text, struct bytes part)
{
    return part.n == 0 || (text.n >= part.n && memmem(text.p, text.n, part.p, part.n));
}

static bool term_matches(struct bytes term, const struct mime_needle_term *want)
{
    const struct bytes w = want->term;
    if (term.n < w.n)
        return false;
    switch (want->match) {
    case MIME_MATCH_CONTAINS: return holds(term, w);
    case MIME_MATCH_PREFIX: return memcmp(term.p, w.p, w.n) == 0;
    case MIME_MATCH_SUFFIX: return memcmp(term.p + term.n - w.n, w.p, w.n) == 0;
    case MIME_MATCH_WHOLE: return bytes_equal(term, w);
    }
    return false;
}

struct looking {
    const struct mime_needle_term *want;
    bool found;
};

static void look_at(struct bytes term, void *arg)
{
    struct looking *l = arg;
    l->found = l->found || term_matches(term, l->want);
}

static bool has_term(struct bytes text, const struct mime_needle_term *want)
{
    struct looking l = {.want = want};
    struct mime_pairs pairs = {0};
    struct mime_words w;
    struct bytes term;
    mime_words_init(&w, text);
    while (!l.found && mime_words_next(&w, &term))
        look_at(term, &l);
    mime_pairs_add(&pairs, text);
    mime_pairs_each(&pairs, look_at, &l);
    return l.found;
}

static void promise(struct bytes text, struct bytes needle)
{
    struct mime_needle n;
    mime_needle_init(&n, needle);
    const bool is_there = holds(text, needle);
    bool all = true;
    for (size_t i = 0; i < n.n; i++)
        all = all && has_term(text, &n.v[i]);
    ASSERT(!is_there || all);
    ASSERT(!n.exact || !all || is_there);
    mime_needle_release(&n);
}

/* The first bytes choose the needle. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mime_parser *parser;
    if (size < 4)
        return 0;
    if (!parser) {
        mime_init();
        parser = mime_parser_new(NULL);
    }
    struct bytes item = bytes_of(data + 3, size - 3);
    struct mime_record record;
    struct mime_parts parts;
    struct mime_texts t;
    struct mime_text text;
    struct buf needle = {0};
    mime_parse(parser, item, &record);
    ASSERT(mime_parts_decode(record.parts, item.n, &parts, NULL) == BASE_OK);
    mime_texts_init(&t);
    mime_texts_begin(&t, &parts, MIME_TEXTS_ALL, read_item, &item);
    while (mime_texts_next(&t, &text, NULL) > 0) {
        struct bytes bare, s = text.kind == MIME_TEXT_BODY ? mime_texts_body(&t, &text) : mime_texts_whole(&t, &text);
        if (text.kind == MIME_TEXT_OWN) {
            const struct bytes value = mime_texts_value(&t, &text);
            ASSERT(value.n <= s.n && bytes_equal(bytes_slice(s, s.n - value.n, SIZE_MAX), value));
            if (mime_texts_bare(&t, &text, &bare))
                ASSERT(bare.n <= value.n);
        }
        s = bytes_slice(s, 0, TEXT_MAX);
        if (needle.n) /* of the text before: mostly not there */
            promise(s, buf_bytes(&needle));
        buf_reset(&needle);
        if (s.n)
            buf_append_bytes(&needle, bytes_slice(s, (size_t)(data[0] | data[1] << 8) % s.n, data[2] % NEEDLE_MAX));
        promise(s, buf_bytes(&needle));
    }
    mime_texts_release(&t);
    mime_parts_release(&parts);
    buf_release(&needle);
    return 0;
}
