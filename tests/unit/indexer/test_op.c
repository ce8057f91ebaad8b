/* op: what goes in comes out, and a cut tag is noticed. */
#include <criterion/criterion.h>

#include "ingest/ingest.h"
#include "op.h"
#include "test_support.h"

static void expect_same(const struct op *a, const struct op *b)
{
    cr_expect_eq(a->kind, b->kind);
    cr_expect_eq(a->source, b->source);
    cr_expect_eq(a->rows, b->rows);
    cr_expect(bytes_equal(a->name, b->name) && bytes_equal(a->folder, b->folder));
    cr_expect(a->stamp.mtime_ns == b->stamp.mtime_ns && a->stamp.size == b->stamp.size &&
              a->stamp.inode == b->stamp.inode);
    cr_expect_eq(a->scanned_ns, b->scanned_ns);
    cr_expect_eq(a->is_mbox, b->is_mbox);
    cr_expect_eq(a->how, b->how);
    cr_expect(bytes_equal(a->identity, b->identity) && bytes_equal(a->keywords, b->keywords));
    cr_expect_eq(a->flags, b->flags);
    cr_expect(bytes_equal(a->file, b->file) && bytes_equal(a->text, b->text));
    cr_expect(a->has_stat == b->has_stat && a->size == b->size && a->mtime_ns == b->mtime_ns);
    cr_expect_eq(a->container, b->container);
    cr_expect_eq(a->complete, b->complete);
    cr_expect_eq(a->moved, b->moved);
}

static const struct op rows[] = {
    {.kind = OP_SOURCE, .source = 7, .rows = UINT64_MAX},
    {.kind = OP_CONTAINER,
     .name = {(const uint8_t *)".a", 2},
     .folder = {(const uint8_t *)"a\xff", 2},
     .stamp = {.mtime_ns = INT64_MIN, .size = UINT64_MAX, .inode = 1},
     .scanned_ns = INT64_MAX,
     .is_mbox = true},
    {.kind = OP_ITEM,
     .how = OP_HOW_REREAD,
     .identity = {(const uint8_t *)"1.x", 3},
     .flags = 63,
     .keywords = {(const uint8_t *)"a b", 3},
     .has_stat = true,
     .size = 5,
     .mtime_ns = -1},
    {.kind = OP_ITEM, .how = OP_HOW_MBOX},
    {.kind = OP_FLAGS, .identity = {(const uint8_t *)"1", 1}, .flags = 1, .file = {(const uint8_t *)"cur/1:2,S", 9}},
    {.kind = OP_MISSING, .identity = {(const uint8_t *)"1", 1}},
    {.kind = OP_CONTAINER_END, .complete = true},
    {.kind = OP_GONE, .container = UINT32_MAX, .rows = 3},
    {.kind = OP_SOURCE_END, .complete = true, .rows = 1, .moved = 2},
    {.kind = OP_TROUBLE, .text = {(const uint8_t *)"why", 3}},
    {.kind = OP_END},
};

Test(op, round_trip_and_every_prefix)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b = {0};
        struct op out;
        indexer_op_encode(&rows[i], &b);
        cr_assert(indexer_op_decode(buf_bytes(&b), &out), "row %zu", i);
        expect_same(&rows[i], &out);
        for (size_t n = 0; n < b.n; n++)
            cr_expect_not(indexer_op_decode(bytes_of(b.p, n), &out), "row %zu cut at %zu", i, n);
        buf_append_byte(&b, 0);
        cr_expect_not(indexer_op_decode(buf_bytes(&b), &out), "row %zu with a byte too many", i);
        buf_release(&b);
    }
}

Test(op, longest_names_fit_a_tag)
{
    static uint8_t name[20000];
    memset(name, 'x', sizeof name);
    for (size_t i = 7; i < sizeof name; i += 8)
        name[i] = ' ';
    struct op op = {.kind = OP_ITEM,
                    .how = OP_HOW_NEW,
                    .identity = bytes_of(name, VAULT_NAME_MAX),
                    .keywords = bytes_of(name, sizeof name)};
    struct op out;
    struct buf b = {0};
    indexer_op_encode(&op, &b);
    cr_assert_leq(b.n, INGEST_TAG_MAX);
    cr_assert(indexer_op_decode(buf_bytes(&b), &out));
    cr_expect_leq(out.keywords.n, OP_KEYWORDS_MAX);
    cr_expect_neq(out.keywords.n, 0);
    cr_expect_eq(name[out.keywords.n], 0x20, "cut between words");
    buf_release(&b);
}
