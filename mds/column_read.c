/*
 * Reading columns: block by block, and by rows what no block holds. A clock's time is two columns, an instant and a
 * zone. Where a block's zones differ, instants farther from a limit than the zones reach decide by themselves; only
 * what lies between is added up.
 */
#include "columns_private.h"

void column_key(struct key *key, uint32_t folder, uint32_t block, enum stored stored)
{
    key_reset(key);
    key_u32(key, folder);
    key_u32(key, block);
    key_raw(key, bytes_of(&(uint8_t){(uint8_t)stored}, 1));
}

int column_block_get(struct mds_txn *t, uint32_t folder, uint32_t block, enum stored stored, struct column_block *out,
                     struct error *err)
{
    struct key key;
    struct bytes row;

    column_key(&key, folder, block, stored);
    const int rc = row_get(t, TABLE_COLUMNS, key_bytes(&key), &row, err);

    if (rc == BASE_ERR_NOTFOUND)
        return 0;
    if (rc == BASE_OK && !column_block_decode(row, out))
        return row_corrupt(t, TABLE_COLUMNS, key_bytes(&key), "it does not decode", err);
    return rc == BASE_OK ? 1 : rc;
}

/* ---- the blocks of a public column ---- */

static const struct {
    enum stored values, zones;
    bool has_zones;
    bool from_uid; /* a difference from the UID */
} sources[MDS_COLUMN_COUNT + 1] = {
    [MDS_COLUMN_ITEM] = {.values = STORED_ITEM, .from_uid = true},
    [MDS_COLUMN_SIZE] = {.values = STORED_SIZE},
    [MDS_COLUMN_INTERNAL] = {.values = STORED_INTERNAL},
    [MDS_COLUMN_INTERNAL_CLOCK] = {.values = STORED_INTERNAL, .zones = STORED_INTERNAL_ZONE, .has_zones = true},
    [MDS_COLUMN_SAVED] = {.values = STORED_SAVED},
    [MDS_COLUMN_SENT] = {.values = STORED_SENT},
    [MDS_COLUMN_SENT_CLOCK] = {.values = STORED_SENT, .zones = STORED_SENT_ZONE, .has_zones = true},
    [MDS_COLUMN_THREAD] = {.values = STORED_THREAD},
    [COLUMN_MODSEQ] = {.values = STORED_MODSEQ, .from_uid = true},
};

struct part { /* of a folder: a block and what is packed of it */
    struct mds_txn *t;
    uint32_t folder, block;
    enum mds_column column;
    uint32_t n; /* slots below are packed */
    struct column_block values, zones;
};

/* Sixteen bits each, so that sums stay numbers whatever stands there. */
static int zones_check(const struct part *p, struct error *err)
{
    struct key key;

    if (p->zones.width <= 18 && p->zones.base >= 2 * INT16_MIN && p->zones.base <= 2 * INT16_MAX + 1)
        return BASE_OK;
    column_key(&key, p->folder, p->block, sources[p->column].zones);
    return row_corrupt(p->t, TABLE_COLUMNS, key_bytes(&key), "a zone that no message has", err);
}

static int part_get(struct part *p, uint32_t block, struct error *err)
{
    int rc;

    p->block = block;
    p->n = 0;
    if ((rc = column_block_get(p->t, p->folder, block, sources[p->column].values, &p->values, err)) != 1)
        return rc < 0 ? rc : BASE_OK;
    p->n = p->values.n;
    if (!sources[p->column].has_zones)
        return BASE_OK;
    if ((rc = column_block_get(p->t, p->folder, block, sources[p->column].zones, &p->zones, err)) < 0)
        return rc;
    p->n = rc == 0 ? 0 : p->zones.n < p->n ? p->zones.n : p->n;
    return rc == 0 ? BASE_OK : zones_check(p, err);
}

static int64_t part_value(const struct part *p, int64_t value, int64_t zone, uint32_t slot)
{
    struct column_row row;

    row.v[sources[p->column].values] = value;
    if (sources[p->column].has_zones)
        row.v[sources[p->column].zones] = zone;
    return column_row_value(&row, p->block << COLUMN_SLOT_BITS | slot, p->column);
}

/* ---- values ---- */

#define WHOLE_FROM 48u /* values of a block from which on all are transposed */

static void part_read_slots(const struct part *p, const uint32_t *uids, size_t n, int64_t *out)
{
    const bool has_zones = sources[p->column].has_zones;

    if (n < WHOLE_FROM) {
        for (size_t i = 0; i < n; i++) {
            const uint32_t slot = column_slot_of(uids[i]);

            out[i] = part_value(p, column_block_value(&p->values, slot),
                                has_zones ? column_block_value(&p->zones, slot) : 0, slot);
        }
        return;
    }
    int64_t values[COLUMN_SLOTS], zones[COLUMN_SLOTS];

    column_block_values(&p->values, values);
    if (!has_zones) {
        for (size_t i = 0; i < n; i++)
            out[i] = values[column_slot_of(uids[i])];
        for (size_t i = 0; i < n && sources[p->column].from_uid; i++)
            out[i] = (int64_t)((uint64_t)out[i] + uids[i]);
        return;
    }
    column_block_values(&p->zones, zones);
    for (size_t i = 0; i < n; i++) {
        const uint32_t slot = column_slot_of(uids[i]);

        out[i] = part_value(p, values[slot], zones[slot], slot);
    }
}

static int part_read_rows(const struct part *p, const uint32_t *uids, size_t n, int64_t *out, struct error *err)
{
    const bool with_item = column_needs_item(p->column);

    for (size_t i = 0; i < n; i++) {
        struct column_row row;
        const int rc = column_row_load(p->t, p->folder, uids[i], with_item, &row, err);

        if (rc < 0)
            return rc;
        out[i] = rc ? column_row_value(&row, uids[i], p->column) : 0;
    }
    return BASE_OK;
}

static int read_values(struct mds_txn *t, uint32_t folder, enum mds_column column, const uint32_t *uids, size_t n,
                       int64_t *out, struct error *err)
{
    struct part p = {.t = t, .folder = folder, .column = column};

    for (size_t i = 0, packed, end; i < n; i = end) {
        const uint32_t block = column_block_of(uids[i]);
        int rc = part_get(&p, block, err);

        for (packed = i; packed < n && column_block_of(uids[packed]) == block && column_slot_of(uids[packed]) < p.n;)
            packed++;
        for (end = packed; end < n && column_block_of(uids[end]) == block && column_slot_of(uids[end]) >= p.n;)
            end++;
        if (rc == BASE_OK) {
            part_read_slots(&p, uids + i, packed - i, out + i);
            rc = part_read_rows(&p, uids + packed, end - packed, out + packed, err);
        }
        if (rc != BASE_OK)
            return rc;
    }
    return BASE_OK;
}

int mds_column_read(struct mds_txn *t, uint32_t folder, enum mds_column column, const uint32_t *uids, size_t n,
                    int64_t *out, struct error *err)
{
    ASSERT(column < MDS_COLUMN_COUNT);
    return read_values(t, folder, column, uids, n, out, err);
}

/* ---- ranges ---- */

struct range {
    int64_t min, max;
};

static void keep_slots(uint64_t masks[COLUMN_GROUPS], uint32_t from, uint32_t end)
{
    for (uint32_t g = 0; g < COLUMN_GROUPS; g++) {
        const uint32_t low = g * 64;

        if (low + 64 <= from || low >= end)
            masks[g] = 0;
        if (low < from && from < low + 64)
            masks[g] &= UINT64_MAX << (from % 64);
        if (low < end && end < low + 64)
            masks[g] &= UINT64_MAX >> (64 - end % 64);
    }
}

static int64_t saturated_sum(int64_t a, int64_t b)
{
    int64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? (b < 0 ? INT64_MIN : INT64_MAX) : sum;
}

/* As mds_column_select says, of the slots in `wanted` alone. */
static void clock_add_up(const struct part *p, const struct range *r, const uint64_t wanted[COLUMN_GROUPS],
                         uint64_t masks[COLUMN_GROUPS])
{
    for (uint32_t g = 0; g < COLUMN_GROUPS; g++) {
        for (uint64_t w = wanted[g]; w; w &= w - 1) {
            const uint32_t slot = g * 64 + (uint32_t)__builtin_ctzll(w);
            const int64_t v =
                part_value(p, column_block_value(&p->values, slot), column_block_value(&p->zones, slot), slot);

            if (v >= r->min && v <= r->max)
                masks[g] |= w & -w;
        }
    }
}

/* Zones of the block, in seconds: all lie between. */
static struct range zone_reach(const struct part *p)
{
    const int64_t low = p->zones.base, high = column_block_bound(&p->zones);

    if (p->column == MDS_COLUMN_INTERNAL_CLOCK)
        return (struct range){low * 60, high * 60};
    return (struct range){(low >> 1) * 60, (high >> 1) * 60}; /* 2 x zone + 1; 0 says less than nothing */
}

static void part_range_clock(const struct part *p, const struct range *r, uint64_t masks[COLUMN_GROUPS])
{
    const struct range zone = zone_reach(p);
    uint64_t sure[COLUMN_GROUPS], dated[COLUMN_GROUPS], open[COLUMN_GROUPS];

    /* Instants of years beyond 0 to 9999 are held to them, by as much as it takes: they are added up one by one. */
    const int64_t first = CLOCK_FIRST_S, last = CLOCK_LAST_S;
    uint64_t plain[COLUMN_GROUPS];

    column_block_range(&p->values, first, last, plain);
    column_block_range(&p->values, saturated_sum(r->min, -zone.min), saturated_sum(r->max, -zone.max), sure);
    column_block_range(&p->values, saturated_sum(r->min, -zone.max), saturated_sum(r->max, -zone.min), open);
    if (p->column == MDS_COLUMN_SENT_CLOCK)
        column_block_odd(&p->zones, dated);
    else
        memset(dated, 0xff, sizeof dated);
    for (uint32_t g = 0; g < COLUMN_GROUPS; g++) {
        masks[g] = sure[g] & plain[g] & dated[g];
        open[g] = ((open[g] & ~sure[g]) | ~plain[g]) & dated[g];
    }
    keep_slots(open, 0, p->n);
    clock_add_up(p, r, open, masks);
}

/* Differences are often all the same; then values go up with the UIDs. */
static void part_range_from_uid(const struct part *p, const struct range *r, uint64_t masks[COLUMN_GROUPS])
{
    const int64_t least = part_value(p, p->values.base, 0, 0);
    const int64_t most = part_value(p, column_block_bound(&p->values), 0, COLUMN_SLOTS - 1);
    int64_t values[COLUMN_SLOTS];

    memset(masks, 0, COLUMN_GROUPS * sizeof *masks);
    if (least <= most && (least > r->max || most < r->min))
        return;
    if (least <= most && least >= r->min && most <= r->max) {
        memset(masks, 0xff, COLUMN_GROUPS * sizeof *masks);
        keep_slots(masks, 0, p->n);
        return;
    }
    column_block_values(&p->values, values);
    for (uint32_t slot = 0; slot < p->n; slot++) {
        const int64_t v = part_value(p, values[slot], 0, slot);

        masks[slot / 64] |= (uint64_t)(v >= r->min && v <= r->max) << (slot % 64);
    }
}

static void part_range(const struct part *p, const struct range *r, uint64_t masks[COLUMN_GROUPS])
{
    if (sources[p->column].has_zones) {
        part_range_clock(p, r, masks);
    } else if (!sources[p->column].from_uid) {
        column_block_range(&p->values, r->min, r->max, masks);
    } else {
        part_range_from_uid(p, r, masks);
    }
}

/* The 65,536 UIDs in hand. */
struct selected {
    bool any;
    uint32_t high;
    struct set_bits bits;
    const roaring_bitmap_t *among;
    roaring_bitmap_t *into;
};

static void selected_flush(struct selected *s)
{
    struct set_builder builder = {0};
    struct buf container = {0};

    if (s->any && set_bits_count(&s->bits) > 0) {
        set_bits_encode(&s->bits, &container);
        const bool added = set_builder_add(&builder, (uint16_t)s->high, buf_bytes(&container));

        ASSERT(added);
        roaring_bitmap_t *found = set_builder_take(&builder);

        roaring_bitmap_and_inplace(found, s->among);
        roaring_bitmap_or_inplace(s->into, found);
        roaring_bitmap_free(found);
    }
    buf_release(&container);
    set_builder_release(&builder);
    s->any = false;
}

static uint64_t *selected_words(struct selected *s, uint32_t block)
{
    const uint32_t high = block >> (16 - COLUMN_SLOT_BITS);

    if (s->any && s->high != high)
        selected_flush(s);
    if (!s->any)
        memset(&s->bits, 0, sizeof s->bits);
    s->any = true;
    s->high = high;
    return s->bits.w + (size_t)(block % (65536u >> COLUMN_SLOT_BITS)) * COLUMN_GROUPS;
}

/* The part of a block, in first..last, that the iterator stands in; leaves it on the first member behind. */
static int select_block(struct part *p, const struct range *r, uint32_t last, roaring_uint32_iterator_t *it,
                        struct selected *s, struct error *err)
{
    const bool with_item = column_needs_item(p->column);
    const uint32_t block = column_block_of(it->current_value), first_uid = block << COLUMN_SLOT_BITS;
    uint64_t *words = selected_words(s, block);
    int rc = part_get(p, block, err);

    if (rc != BASE_OK)
        return rc;
    if (p->n) {
        uint64_t masks[COLUMN_GROUPS];
        const uint32_t from = column_slot_of(it->current_value);
        const uint32_t end = last - first_uid < p->n ? last - first_uid + 1 : p->n;

        part_range(p, r, masks);
        keep_slots(masks, from, end); /* `among` may have members before first and behind last */
        for (uint32_t g = 0; g < COLUMN_GROUPS; g++)
            words[g] |= masks[g];
        if (p->n == COLUMN_SLOTS && first_uid > UINT32_MAX - COLUMN_SLOTS) {
            it->has_value = false;
            return BASE_OK;
        }
        if (it->current_value < first_uid + p->n) /* it would go back too */
            (void)roaring_move_uint32_iterator_equalorlarger(it, first_uid + p->n);
    }
    for (; it->has_value && it->current_value <= last && column_block_of(it->current_value) == block;
         roaring_advance_uint32_iterator(it)) {
        const uint32_t uid = it->current_value;
        struct column_row row;

        if ((rc = column_row_load(p->t, p->folder, uid, with_item, &row, err)) < 0)
            return rc;
        if (rc && column_row_matches(&row, uid, p->column, r->min, r->max))
            words[column_slot_of(uid) / 64] |= UINT64_C(1) << (uid % 64);
    }
    return BASE_OK;
}

static int select_values(struct mds_txn *t, uint32_t folder, enum mds_column column, int64_t min, int64_t max,
                         const roaring_bitmap_t *among, uint32_t first, uint32_t last, roaring_bitmap_t *into,
                         struct error *err)
{
    const struct range range = {min, max};
    struct part p = {.t = t, .folder = folder, .column = column};
    struct selected *s = calloc(1, sizeof *s);
    roaring_uint32_iterator_t it;
    int rc = BASE_OK;

    ASSERT(s);
    s->among = among;
    s->into = into;
    roaring_init_iterator(among, &it);
    if (min <= max && it.has_value && roaring_move_uint32_iterator_equalorlarger(&it, first)) {
        while (rc == BASE_OK && it.has_value && it.current_value <= last)
            rc = select_block(&p, &range, last, &it, s, err);
    }
    if (rc == BASE_OK)
        selected_flush(s);
    free(s);
    return rc;
}

int mds_column_select(struct mds_txn *t, uint32_t folder, enum mds_column column, int64_t min, int64_t max,
                      const roaring_bitmap_t *among, uint32_t first, uint32_t last, roaring_bitmap_t *into,
                      struct error *err)
{
    ASSERT(column < MDS_COLUMN_COUNT);
    return select_values(t, folder, column, min, max, among, first, last, into, err);
}

/* ---- modseqs ---- */

static int run_into_bitmap(const struct run *run, void *arg)
{
    roaring_bitmap_add_range(arg, run->uid, (uint64_t)run->uid + run->count);
    return BASE_OK;
}

int mds_modseq_select(struct mds_txn *t, uint32_t folder, uint64_t min, const roaring_bitmap_t *among, uint32_t first,
                      uint32_t last, roaring_bitmap_t *into, struct error *err)
{
    roaring_bitmap_t *rest = NULL, *logged = NULL;
    struct mds_folder f;
    int rc = BASE_OK;

    if (min > INT64_MAX) /* no modseq is */
        return BASE_OK;
    if ((rc = mds_folder_get(t, folder, &f, err)) != BASE_OK ||
        (rc = select_values(t, folder, COLUMN_MODSEQ, (int64_t)min, INT64_MAX, among, first, last, into, err)) !=
            BASE_OK)
        return rc;
    /* A packed modseq may be older than the log: whatever it says not to be, the log may. */
    const uint64_t after = min > f.changes_floor ? min - (min > 0) : f.changes_floor;

    rest = roaring_bitmap_andnot(among, into);
    if (first > 0)
        roaring_bitmap_remove_range(rest, 0, first);
    roaring_bitmap_remove_range(rest, (uint64_t)last + 1, UINT64_C(1) << 32);
    if (!roaring_bitmap_is_empty(rest)) {
        logged = roaring_bitmap_create();
        rc = log_walk(t, LOG_CHANGES, folder, after, run_into_bitmap, logged, err);
        roaring_bitmap_and_inplace(rest, logged);
        roaring_bitmap_or_inplace(into, rest);
        roaring_bitmap_free(logged);
    }
    roaring_bitmap_free(rest);
    return rc;
}

struct highest {
    const roaring_bitmap_t *among;
    uint64_t modseq;
};

/* Modseqs and UIDs of a run go up together, and the log is walked from its end: the first one met is the highest. */
static int run_highest(const struct run *run, void *arg)
{
    struct highest *h = arg;
    const uint64_t end = (uint64_t)run->uid + run->count;
    uint32_t uid = 0;

    if (roaring_bitmap_range_cardinality(h->among, run->uid, end) == 0)
        return 0;
    (void)roaring_bitmap_select(h->among, (uint32_t)(roaring_bitmap_rank(h->among, (uint32_t)(end - 1)) - 1), &uid);
    h->modseq = run->modseq + (uid - run->uid);
    return 1;
}

#define READ_AT_ONCE COLUMN_SLOTS

static int packed_highest(struct mds_txn *t, uint32_t folder, struct highest *h, struct error *err)
{
    uint32_t uids[READ_AT_ONCE];
    int64_t values[READ_AT_ONCE];
    roaring_uint32_iterator_t it;

    roaring_init_iterator(h->among, &it);
    for (uint32_t n; (n = roaring_read_uint32_iterator(&it, uids, READ_AT_ONCE)) > 0;) {
        const int rc = read_values(t, folder, COLUMN_MODSEQ, uids, n, values, err);

        if (rc != BASE_OK)
            return rc;
        for (uint32_t i = 0; i < n; i++)
            h->modseq = (uint64_t)values[i] > h->modseq ? (uint64_t)values[i] : h->modseq;
    }
    return BASE_OK;
}

int mds_modseq_highest(struct mds_txn *t, uint32_t folder, const roaring_bitmap_t *among, uint64_t *out,
                       struct error *err)
{
    struct highest h = {.among = among};
    struct mds_folder f;
    int rc = mds_folder_get(t, folder, &f, err);

    if (rc == BASE_OK)
        rc = log_walk_back(t, LOG_CHANGES, folder, f.changes_floor, run_highest, &h, err);
    if (rc == BASE_OK) /* none of them is in the log */
        rc = packed_highest(t, folder, &h, err);
    *out = h.modseq;
    return rc < 0 ? rc : BASE_OK;
}
