/*
 * texts: all texts of an item that can be searched, one by one, decoded and casemapped.
 *
 *     struct mime_texts t;
 *     struct mime_text text;
 *     mime_texts_init(&t);
 *     mime_texts_begin(&t, &parts, MIME_TEXTS_ALL, read, arg);
 *     while ((rc = mime_texts_next(&t, &text, err)) != 0) {
 *         if (rc < 0) { unreadable = true; continue; }     // this text; the others may be there
 *         ... mime_texts_value(&t, &text) ...
 *     }
 *     mime_texts_release(&t);
 *
 * The one walk behind SEARCH's scan, the index of contents and its verification: what one of them sees, all see. Order:
 * the item's own fields, then part by part its header's fields and its text.
 *
 * A field is a text as its decoded value, and as "Name: value"; a text part is one as it decodes (HTML as its source).
 * A line end, folds too, is one blank. Everything is in the form of mime_casemap. Text parts over MIME_TEXTS_PART_MAX
 * stored bytes are not read.
 *
 * Thread rule: a walk belongs to one thread. Buffers are kept from item to item; views live until the next call on the
 * walk.
 */
#ifndef MIME_TEXTS_H
#define MIME_TEXTS_H

#include "mime/mime.h"
#include "mime/parts.h"

#define MIME_TEXTS_PART_MAX (UINT64_C(64) << 20)

enum mime_text_kind {
    MIME_TEXT_OWN,      /* a field of the item's own header */
    MIME_TEXT_ATTACHED, /* a field of an attached message's header */
    MIME_TEXT_PART,     /* a MIME field of a part's header */
    MIME_TEXT_BODY,     /* a text part's text */
};

/* A text that was found and is not decoded yet. */
struct mime_text {
    enum mime_text_kind kind;
    uint32_t part;            /* index in the table of parts */
    struct bytes name, value; /* of a field, as stored */
    struct bytes stored;      /* of a text part: its body */
};

/* Stored bytes [off, off + len) of the item, all of them: a view until the next read. */
typedef int mime_texts_read_fn(void *arg, uint64_t off, uint64_t len, struct bytes *out, struct error *err);

struct mime_texts { /* touch nothing */
    /* permanent */
    struct buf unfolded, transfer, decoded, folded, bare;
    struct mime_casemap_cache *cache;
    /* of the item */
    const struct mime_parts *parts;
    mime_texts_read_fn *read;
    void *arg;
    uint8_t what; /* enum mime_texts_what */
    uint32_t part;
    uint8_t stand;
    struct bytes block;
    size_t pos;
    size_t value_at;          /* in folded */
    const uint8_t *folded_of; /* whose field `folded` holds; NULL: none */
};

void mime_texts_init(struct mime_texts *t);
void mime_texts_release(struct mime_texts *t);

enum mime_texts_what { MIME_TEXTS_ALL, MIME_TEXTS_OWN /* the item's own fields alone: nothing else is read */ };
/* parts and what `read` needs live until the walk's end or the next begin. */
void mime_texts_begin(struct mime_texts *t, const struct mime_parts *parts, enum mime_texts_what what,
                      mime_texts_read_fn *read, void *arg);
/* The same of a header block alone, which need not be a whole one: its fields as own fields. */
void mime_texts_begin_block(struct mime_texts *t, struct bytes block);
/* 1 one more, 0 done. Negative: some header or text could not be read (the callback's error, or BASE_ERR_LIMIT: it is
 * too large); the walk goes on behind it. */
int mime_texts_next(struct mime_texts *t, struct mime_text *out, struct error *err);

/* The text in hand. Of fields: the value; "Name: value"; "Name: " alone. */
struct bytes mime_texts_value(struct mime_texts *t, const struct mime_text *text);
struct bytes mime_texts_whole(struct mime_texts *t, const struct mime_text *text);
struct bytes mime_texts_name(struct mime_texts *t, const struct mime_text *text);
/* Of a field of addresses: its value without comments and without the blanks that RFC 5322 allows around "@" and ".",
 * so that "ann (a.) @ example.org" is found by her address. False: it has none of these. */
bool mime_texts_bare(struct mime_texts *t, const struct mime_text *text, struct bytes *out);
/* Of a text part. */
struct bytes mime_texts_body(struct mime_texts *t, const struct mime_text *text);

/* A needle in the form in which texts are compared, appended. */
void mime_texts_needle(struct bytes utf8, struct buf *out);

/* ---- signature and trace fields ------------------------------------------------------------- */

/*
 * Names of fields that machines write for machines, two thirds of a modern header: TEXT leaves out their values unless
 * it is told to be literal. The default has its reasons in texts_trace.c.
 */
extern const char mime_texts_trace_default[];

struct mime_trace; /* immutable once made: any thread */
/* Names separated by blanks or commas, in any case; one that ends with "*" stands for all that begin so. Empty: none.
 */
struct mime_trace *mime_trace_new(struct bytes list);
void mime_trace_free(struct mime_trace **t);
bool mime_trace_has(const struct mime_trace *t, struct bytes name);
/* The list in one form: lower case, sorted, each once, separated by blanks. Equal lists are equal texts. View, life of
 * t. */
struct bytes mime_trace_text(const struct mime_trace *t);

#endif
