/*
 * The own vault against a naive model: random transactions, some abandoned, some cut at any byte behind the committed
 * tail, some with noise behind it; after each reopening every committed item is there, byte for byte, and the scan
 * finds exactly those.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "test_support.h"
#include "vault/segment.h"

#define ITEMS_MAX 400

struct filed {
    uint64_t seed;
    size_t n;
    uint32_t segment;
    uint64_t offset, length;
};

struct model {
    const char *dir;
    uint64_t limit;
    struct filed at[ITEMS_MAX];
    unsigned n, committed;
    uint32_t active;
    uint64_t tail;
};

static void item_make(const struct filed *f, struct buf *out)
{
    struct rng rng = rng_of(f->seed);

    buf_reset(out);
    uint8_t *p = buf_reserve(out, f->n + 1);

    if (f->seed % 2)
        rng_fill(&rng, p, f->n);
    else
        memset(p, (int)(f->seed % 251), f->n);
    out->n = f->n;
}

static int read_buf(void *arg, uint64_t off, void *dst, size_t n, struct error *err)
{
    (void)err;
    memcpy(dst, ((const struct buf *)arg)->p + off, n);
    return BASE_OK;
}

static void add(struct model *m, struct rng *rng, struct segment_writer *w)
{
    struct filed *f = &m->at[m->n];
    struct segment_packed *p = NULL;
    struct buf item = {0};
    struct error err = {0};
    uint32_t filter;

    f->seed = rng_u64(rng);
    f->n = rng_once_in(rng, 40) ? (size_t)rng_below(rng, 1500000) : (size_t)rng_edgy(rng, 5000);
    item_make(f, &item);
    const struct hash128 hash = hash128_of(buf_bytes(&item));

    cr_assert_eq(segment_pack(read_buf, &item, item.n, &hash, NULL, &p, &err), 0, "%s", err.text);
    cr_assert_eq(segment_writer_add(w, p, &f->segment, &f->offset, &f->length, &filter, &err), 0, "%s", err.text);
    segment_packed_free(&p);
    buf_release(&item);
    m->n++;
}

/* What a crash leaves of the active segment: a prefix not shorter than the tail, perhaps with noise in what nobody
 * committed. */
static void crash(const struct model *m, struct rng *rng)
{
    const char *path = path_join(m->dir, textf("segments/%08u.seg", m->active));

    if (!file_exists(path))
        return;
    struct bytes now = read_file(path);
    const size_t keep = (size_t)m->tail;

    cr_assert_geq(now.n, keep, "committed bytes are in the file");
    struct buf file = {0};

    buf_append_bytes(&file, bytes_slice(now, 0, keep + (size_t)rng_below(rng, now.n - keep + 1)));
    if (rng_once_in(rng, 3) && file.n > keep)
        rng_fill(rng, file.p + keep, file.n - keep);
    if (rng_once_in(rng, 4)) {
        const size_t n = (size_t)rng_below(rng, 300);

        rng_fill(rng, buf_reserve(&file, n), n);
        file.n += n;
    }
    write_file(path, buf_bytes(&file));
    buf_release(&file);
}

static void check_items(const struct model *m)
{
    struct vault *v = NULL;
    struct error err = {0};
    struct buf expect = {0};

    cr_assert_eq(segment_vault_open(m->dir, &v, &err), 0, "%s", err.text);
    for (unsigned i = 0; i < m->committed; i++) {
        const struct filed *f = &m->at[i];
        char container[9];
        struct vault_body *body = NULL;
        struct bytes got;

        (void)snprintf(container, sizeof container, "%08u", f->segment % 100000000u);
        const struct vault_locator loc = {
            .container = bytes_of(container, 8), .offset = f->offset, .length = f->length};

        cr_assert_eq(vault_item_open(v, &loc, &body, &err), 0, "item %u: %s", i, err.text);
        cr_assert_eq(vault_item_map(body, &got, &err), 0, "item %u: %s", i, err.text);
        item_make(f, &expect);
        cr_assert(bytes_equal(got, buf_bytes(&expect)), "item %u", i);
        vault_item_close(&body);
    }
    buf_release(&expect);
    vault_close(&v);
}

static void check_scan(const struct model *m)
{
    struct error err = {0};
    uint32_t segment = 0;
    uint64_t bytes;
    unsigned i = 0;

    while (segment_next(m->dir, segment, &segment, &bytes, &err) == 1 && segment <= m->active) {
        struct segment_scan *s = NULL;
        struct segment_found f;

        cr_assert_eq(segment_scan_open(m->dir, segment, segment == m->active ? m->tail : UINT64_MAX, &s, &err), 0);
        while (segment_scan_next(s, true, &f, &err) == 1) {
            cr_assert_lt(i, m->committed, "more records than were committed");
            cr_expect(m->at[i].segment == segment && m->at[i].offset == f.offset && m->at[i].length == f.length &&
                          m->at[i].n == f.size,
                      "record %u", i);
            cr_expect_not(f.damaged);
            i++;
        }
        segment_scan_close(&s);
    }
    cr_expect_eq(i, m->committed);
}

static void transaction(struct model *m, struct rng *rng)
{
    struct segment_writer *w = NULL;
    struct error err = {0};

    cr_assert_eq(segment_writer_open(m->dir, m->active, m->tail, &w, &err), 0, "%s", err.text);
    segment_writer_set_limit(w, m->limit);
    for (uint64_t left = rng_below(rng, 6); left > 0 && m->n < ITEMS_MAX; left--)
        add(m, rng, w);
    if (rng_once_in(rng, 3)) {
        m->n = m->committed; /* abandoned, before or after the sync */
        uint32_t active;
        uint64_t tail;

        if (rng_once_in(rng, 2))
            cr_assert_eq(segment_writer_sync(w, &active, &tail, &err), 0);
    } else {
        cr_assert_eq(segment_writer_sync(w, &m->active, &m->tail, &err), 0, "%s", err.text);
        m->committed = m->n;
    }
    segment_writer_close(&w);
}

Test(segment_crash, committed_items_survive_any_cut, .timeout = 500)
{
    struct rng rng = rng_start("segment_crash");

    for (unsigned round = 0; round < 6; round++) {
        struct model *m = calloc(1, sizeof *m);

        cr_assert(m);
        *m = (struct model){.dir = TEMP_DIR(), .limit = round % 2 ? 20000 : UINT64_C(1) << 30, .active = 1};
        for (unsigned i = 0; i < 30; i++) {
            transaction(m, &rng);
            if (rng_once_in(&rng, 2))
                crash(m, &rng);
            if (i % 10 == 9) {
                check_items(m);
                check_scan(m);
            }
        }
        free(m);
    }
}

/* Every length that a torn record can have: the committed one stays, the next is filed behind it. */
Test(segment_crash, torn_tail_at_every_byte, .timeout = 500)
{
    struct rng rng = rng_of(17);
    struct model m = {.dir = TEMP_DIR(), .limit = UINT64_C(1) << 30, .active = 1};
    const char *path = path_join(m.dir, "segments/00000001.seg");
    struct segment_writer *w = NULL;
    struct error err = {0};

    cr_assert_eq(segment_writer_open(m.dir, 1, 0, &w, &err), 0);
    add(&m, &rng, w);
    cr_assert_eq(segment_writer_sync(w, &m.active, &m.tail, &err), 0);
    m.committed = 1;
    add(&m, &rng, w);
    segment_writer_close(&w);
    const struct bytes whole = read_file(path);
    const struct model before = m;

    cr_assert_gt(whole.n, m.tail);
    for (size_t n = (size_t)m.tail; n <= whole.n; n += n < (size_t)m.tail + 400 ? 1 : 97) {
        write_file(path, bytes_slice(whole, 0, n));
        m = before;
        m.n = 1;
        cr_assert_eq(segment_writer_open(m.dir, m.active, m.tail, &w, &err), 0, "cut at %zu: %s", n, err.text);
        add(&m, &rng, w);
        cr_assert_eq(segment_writer_sync(w, &m.active, &m.tail, &err), 0);
        segment_writer_close(&w);
        m.committed = 2;
        check_items(&m);
        check_scan(&m);
    }
}
