/* Items by term: the postings of all terms that match, united in a bitmap. */
#include "text_private.h"

#define SHORT_BYTES     256u       /* longer postings are united first: they may leave nothing to find */
#define WAITING_MAX     262144u    /* short ones that wait */
#define CHECK_AFTER     (1u << 18) /* postings between two looks at what is left to find */
#define CHUNK_WORDS     1024u
#define PORTABLE_COOKIE 12346u /* roaring's portable form without runs */
#define ARRAY_MAX       4096u

/* ---- the bitmap ---- */

struct union_set { /* in chunks of 65,536 */
    uint64_t **chunk;
    uint32_t n;
};

static void set_add(struct union_set *u, const uint32_t *ids, uint32_t n)
{
    for (uint32_t i = 0; i < n;) {
        const uint32_t high = ids[i] >> 16;

        if (!u->chunk[high]) {
            u->chunk[high] = calloc(CHUNK_WORDS, sizeof **u->chunk);
            ASSERT(u->chunk[high]);
        }
        uint64_t *w = u->chunk[high];

        for (; i < n && ids[i] >> 16 == high; i++)
            w[(ids[i] & 0xffff) / 64] |= UINT64_C(1) << (ids[i] % 64);
    }
}

static void put_le(struct buf *out, uint32_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        buf_append_byte(out, (uint8_t)(v >> (8 * i)));
}

static uint32_t chunk_count(const uint64_t *w)
{
    uint32_t n = 0;

    for (unsigned i = 0; i < CHUNK_WORDS; i++)
        n += (uint32_t)__builtin_popcountll(w[i]);
    return n;
}

static void chunk_put(const uint64_t *w, uint32_t count, struct buf *out)
{
    uint8_t *p = buf_reserve(out, 2 * ARRAY_MAX);

    for (unsigned i = 0; i < CHUNK_WORDS; i++) {
        if (count > ARRAY_MAX) {
            for (unsigned k = 0; k < 8; k++)
                p[8 * i + k] = (uint8_t)(w[i] >> (8 * k));
            continue;
        }
        for (uint64_t bits = w[i]; bits; bits &= bits - 1) {
            const uint32_t v = 64 * i + (uint32_t)__builtin_ctzll(bits);

            *p++ = (uint8_t)v;
            *p++ = (uint8_t)(v >> 8);
        }
    }
    out->n += count > ARRAY_MAX ? 8 * CHUNK_WORDS : 2 * count;
}

/* By roaring's portable form: as fast as memory, where adding id by id takes 10 ns each. */
static roaring_bitmap_t *set_take(const struct union_set *u)
{
    struct buf head = {0}, body = {0};
    uint32_t n = 0;

    for (uint32_t i = 0; i < u->n; i++)
        n += u->chunk[i] != NULL;
    if (n == 0)
        return roaring_bitmap_create();
    put_le(&head, PORTABLE_COOKIE, 4);
    put_le(&head, n, 4);
    struct buf offsets = {0};

    for (uint32_t i = 0; i < u->n; i++) {
        if (!u->chunk[i])
            continue;
        const uint32_t count = chunk_count(u->chunk[i]);

        put_le(&head, i, 2);
        put_le(&head, count - 1, 2);
        put_le(&offsets, 8 + 8 * n + (uint32_t)body.n, 4);
        chunk_put(u->chunk[i], count, &body);
    }
    buf_append_bytes(&head, buf_bytes(&offsets));
    buf_append_bytes(&head, buf_bytes(&body));
    roaring_bitmap_t *out = roaring_bitmap_portable_deserialize_safe((const char *)head.p, head.n);

    ASSERT(out);
    buf_release(&head);
    buf_release(&body);
    buf_release(&offsets);
    return out;
}

/* ---- finding ---- */

struct waiting {
    uint64_t at;
    uint32_t n;
};

struct find {
    struct mds_text_reader *r;
    const roaring_bitmap_t *wanted;
    uint32_t classes;
    struct text_stream stream; /* of the segment at hand */
    struct union_set set;
    struct waiting *waiting;
    uint32_t waiting_n;
    uint32_t since; /* postings since the last look */
};

/* Is all found that is wanted? */
static bool find_done(struct find *f)
{
    f->since = 0;
    roaring_bitmap_t *now = set_take(&f->set);
    const bool all = roaring_bitmap_is_subset(f->wanted, now);

    text_set_free(now);
    return all;
}

/* 1: nothing is left to find. */
static int record_unite(struct find *f, uint64_t at, uint64_t n, struct error *err)
{
    struct text_record rec;
    uint32_t got;
    int rc;

    record_begin(&rec, &f->stream, at, n);
    while ((rc = record_group(&rec, err)) == 1) {
        while ((rc = record_items(&rec, f->r->ids, &got, err)) == 1) {
            if (!(rec.mask & f->classes))
                continue;
            set_add(&f->set, f->r->ids, got);
            f->since += got;
        }
        if (rc < 0)
            return rc;
    }
    if (rc == 0 && f->since >= CHECK_AFTER && find_done(f))
        return 1;
    return rc;
}

static int waiting_unite(struct find *f, struct error *err)
{
    int rc = 0;

    for (uint32_t i = 0; i < f->waiting_n && rc == 0; i++)
        rc = record_unite(f, f->waiting[i].at, f->waiting[i].n, err);
    f->waiting_n = 0;
    return rc;
}

static int find_visit(uint64_t at, uint64_t n, void *arg, struct error *err)
{
    struct find *f = arg;

    if (n > SHORT_BYTES)
        return record_unite(f, at, n, err);
    if (!f->waiting) {
        f->waiting = malloc(WAITING_MAX * sizeof *f->waiting);
        ASSERT(f->waiting);
    }
    f->waiting[f->waiting_n++] = (struct waiting){at, (uint32_t)n};
    return f->waiting_n == WAITING_MAX ? waiting_unite(f, err) : 0;
}

static bool term_findable(struct bytes term)
{
    for (size_t i = 0; i < term.n; i++) {
        if (term.p[i] < '0')
            return false;
    }
    return term.n > 0 && term.n <= MDS_TEXT_TERM_MAX;
}

static bool part_wanted(const struct text_part *p, const roaring_bitmap_t *within)
{
    return !within || text_set_meets(within, p->s.first, p->s.last);
}

int mds_text_find(struct mds_text_reader *r, struct bytes term, enum mds_match match, uint32_t classes,
                  const roaring_bitmap_t *within, roaring_bitmap_t **out, struct error *err)
{
    struct find f = {.r = r, .wanted = within ? within : r->items, .classes = classes};
    struct text_search s = {.term = term, .match = match, .fn = find_visit, .arg = &f};
    roaring_bitmap_t *both = NULL;
    int rc = 0;

    *out = NULL;
    (void)reader_ids(r);
    if (within)
        f.wanted = both = roaring_bitmap_and(within, r->items);
    f.set.n = roaring_bitmap_is_empty(r->items) ? 0 : (roaring_bitmap_maximum(r->items) >> 16) + 1;
    f.set.chunk = calloc(f.set.n + 1, sizeof *f.set.chunk);
    ASSERT(f.set.chunk);
    for (uint32_t i = 0; i < r->parts_n && rc == 0 && term_findable(term); i++) {
        if (!part_wanted(&r->parts[i], within))
            continue;
        stream_init(&f.stream, r, &r->parts[i], &r->stream);
        rc = search_part(r, &r->parts[i], &s, err);
        if (rc == 0)
            rc = waiting_unite(&f, err);
    }
    if (rc >= 0)
        *out = set_take(&f.set);
    for (uint32_t i = 0; i < f.set.n; i++)
        free(f.set.chunk[i]);
    free(f.set.chunk);
    free(f.waiting);
    if (both)
        text_set_free(both);
    return rc < 0 ? rc : BASE_OK;
}

static int count_visit(uint64_t at, uint64_t n, void *arg, struct error *err)
{
    struct mds_text_cost *cost = arg;

    (void)at;
    (void)err;
    cost->bytes += n;
    return 0;
}

int mds_text_count(struct mds_text_reader *r, struct bytes term, enum mds_match match, struct mds_text_cost *out,
                   struct error *err)
{
    struct text_search s = {.term = term, .match = match, .fn = count_visit, .arg = out};
    int rc = 0;

    *out = (struct mds_text_cost){0};
    for (uint32_t i = 0; i < r->parts_n && rc == 0 && term_findable(term); i++)
        rc = search_part(r, &r->parts[i], &s, err);
    out->terms = s.terms;
    return rc;
}
