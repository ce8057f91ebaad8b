/*
 * Dates, sizes, modseqs and ids of messages: each such key is a range of one column of the store, or an index of it,
 * asked only of messages that are still open.
 */
#include "search.h"

#include "mds/columns.h"

#define DAY_S   INT64_C(86400)
#define FIRST_S INT64_C(-62167219200) /* what a clock shows is held to the years 0 to 9999 */
#define LAST_S  INT64_C(253402300799)

struct query_range {
    enum mds_column column;
    int64_t min, max;
};

static int64_t day_begin(int64_t day)
{
    int64_t s;

    return __builtin_mul_overflow(day, DAY_S, &s) ? (day < 0 ? INT64_MIN : INT64_MAX) : s;
}

static struct query_range range_before(enum mds_column column, int64_t day)
{
    const int64_t begin = day_begin(day);

    return begin == INT64_MIN ? (struct query_range){column, 0, -1}
                              : (struct query_range){column, INT64_MIN, begin - 1};
}

static struct query_range range_since(enum mds_column column, int64_t day)
{
    return (struct query_range){column, day_begin(day), INT64_MAX};
}

static struct query_range range_on(enum mds_column column, int64_t day)
{
    const int64_t begin = day_begin(day), last = begin > INT64_MAX - DAY_S ? INT64_MAX : begin + DAY_S - 1;

    return (struct query_range){column, begin, last};
}

/* The same of a column that is not held to the years that a clock shows. */
static struct query_range held(struct query_range r)
{
    if (r.min > LAST_S || r.max < FIRST_S)
        return (struct query_range){r.column, 0, -1};
    r.min = r.min <= FIRST_S ? INT64_MIN : r.min;
    r.max = r.max >= LAST_S ? INT64_MAX : r.max;
    return r;
}

/* Sixteen digits as query_item_ids writes them: ids compare byte by byte (RFC 8474). */
static bool parse_hex(struct bytes text, uint8_t *out, size_t n)
{
    if (text.n != 2 * n)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        const uint8_t c = text.p[i];
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

        if (digit < 0)
            return false;
        out[i / 2] = (uint8_t)(out[i / 2] << 4 | digit);
    }
    return true;
}

static bool parse_id(struct bytes text, char kind, uint8_t *out, size_t n)
{
    return text.n > 0 && text.p[0] == (uint8_t)kind && parse_hex(bytes_slice(text, 1, SIZE_MAX), out, n);
}

static struct query_range range_thread(struct bytes text)
{
    uint8_t id[8] = {0};

    if (!parse_id(text, 'T', id, sizeof id))
        return (struct query_range){MDS_COLUMN_THREAD, 0, -1};
    return (struct query_range){MDS_COLUMN_THREAD, (int64_t)get_be64(id), (int64_t)get_be64(id)};
}

static struct query_range range_larger(uint64_t size)
{
    if (size >= INT64_MAX)
        return (struct query_range){MDS_COLUMN_SIZE, 0, -1};
    return (struct query_range){MDS_COLUMN_SIZE, (int64_t)size + 1, INT64_MAX};
}

static struct query_range range_smaller(uint64_t size)
{
    if (size == 0)
        return (struct query_range){MDS_COLUMN_SIZE, 0, -1};
    return (struct query_range){MDS_COLUMN_SIZE, 0, size > INT64_MAX ? INT64_MAX : (int64_t)(size - 1)};
}

static struct query_range range_of(const struct query_node *node)
{
    const int64_t number = (int64_t)node->number;

    switch (node->kind) {
    case MDSQ_KEY_BEFORE: return range_before(MDS_COLUMN_INTERNAL_CLOCK, number);
    case MDSQ_KEY_ON: return range_on(MDS_COLUMN_INTERNAL_CLOCK, number);
    case MDSQ_KEY_SINCE: return range_since(MDS_COLUMN_INTERNAL_CLOCK, number);
    case MDSQ_KEY_SENTBEFORE: return range_before(MDS_COLUMN_SENT_CLOCK, number);
    case MDSQ_KEY_SENTON: return range_on(MDS_COLUMN_SENT_CLOCK, number);
    case MDSQ_KEY_SENTSINCE: return range_since(MDS_COLUMN_SENT_CLOCK, number);
    case MDSQ_KEY_SAVEDBEFORE: return held(range_before(MDS_COLUMN_SAVED, number));
    case MDSQ_KEY_SAVEDON: return held(range_on(MDS_COLUMN_SAVED, number));
    case MDSQ_KEY_SAVEDSINCE: return held(range_since(MDS_COLUMN_SAVED, number));
    case MDSQ_KEY_LARGER: return range_larger(node->number);
    case MDSQ_KEY_SMALLER: return range_smaller(node->number);
    case MDSQ_KEY_OLDER: return (struct query_range){MDS_COLUMN_INTERNAL, INT64_MIN, number};
    case MDSQ_KEY_YOUNGER: return (struct query_range){MDS_COLUMN_INTERNAL, number, INT64_MAX};
    default: return range_thread(node->text);
    }
}

/* ---- EMAILID ---- */

/* The index of hashes is made at the end of a first build: until then the items are asked. */
static int email_by_items(const struct query_node *node, struct mds_txn *txn, uint32_t folder,
                          const roaring_bitmap_t *among, uint32_t first, uint32_t last, struct error *err)
{
    roaring_uint32_iterator_t it;

    roaring_init_iterator(among, &it);
    for (bool more = it.has_value && roaring_move_uint32_iterator_equalorlarger(&it, first);
         more && it.current_value <= last; more = roaring_advance_uint32_iterator(&it)) {
        char email[34], thread[18];
        struct mds_message m;
        struct mds_item item;
        int rc = mds_message_next(txn, folder, it.current_value, &m, err);

        if (rc < 0)
            return rc;
        if (rc == 0 || m.uid != it.current_value)
            continue;
        if ((rc = mds_item_get(txn, m.item, &item, err)) < 0)
            return rc;
        query_item_ids(&item, email, thread);
        if (bytes_equal(node->text, bytes_str(email)))
            roaring_bitmap_add(node->set, m.uid);
    }
    return BASE_OK;
}

static int email_by_hash(const struct query_node *node, struct mds_txn *txn, uint32_t folder, struct error *err)
{
    struct hash128 hash = {0};
    uint64_t pos = 0, item;
    int rc = 0;

    if (!parse_id(node->text, 'M', hash.b, sizeof hash.b))
        return BASE_OK;
    while ((rc = mds_item_by_hash(txn, &hash, &pos, &item, err)) == 1) {
        uint32_t in, uid;
        uint64_t at = 0;

        while ((rc = mds_item_messages(txn, item, &at, &in, &uid, err)) == 1) {
            if (in == folder)
                roaring_bitmap_add(node->set, uid);
        }
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* ---- all ---- */

bool query_column_is_whole(const struct query_node *node, struct mds_txn *txn)
{
    return node->kind == MDSQ_KEY_MODSEQ || (node->kind == MDSQ_KEY_EMAILID && mds_hashes_complete(txn));
}

int query_column_see(const struct query_node *node, struct mds_txn *txn, uint32_t folder, const roaring_bitmap_t *among,
                     uint32_t first, uint32_t last, struct error *err)
{
    if (node->kind == MDSQ_KEY_MODSEQ)
        return mds_modseq_select(txn, folder, node->number, among, first, last, node->set, err);
    if (node->kind == MDSQ_KEY_EMAILID && mds_hashes_complete(txn))
        return email_by_hash(node, txn, folder, err);
    if (node->kind == MDSQ_KEY_EMAILID)
        return email_by_items(node, txn, folder, among, first, last, err);

    const struct query_range r = range_of(node);

    return mds_column_select(txn, folder, r.column, r.min, r.max, among, first, last, node->set, err);
}
