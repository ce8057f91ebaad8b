/* Keys that the store answers: sets, rows, and the algebra over them. */
#include "search.h"

/* ---- flags and keywords --------------------------------------------------------------------------- */

static int add_set(struct mds_txn *txn, uint32_t folder, uint32_t set, roaring_bitmap_t *into, struct error *err)
{
    roaring_bitmap_t *loaded = NULL;
    const int rc = mds_set_load(txn, folder, set, &loaded, err);

    if (rc < 0)
        return rc;
    roaring_bitmap_or_inplace(into, loaded);
    roaring_bitmap_free(loaded);
    return BASE_OK;
}

/* Keywords compare as they are shown: two that are shown alike are one to a client. */
static int add_keyword(struct mds_txn *txn, uint32_t folder, struct bytes keyword, roaring_bitmap_t *into,
                       struct error *err)
{
    const uint16_t n = mds_keyword_count(txn);
    struct buf shown = {0};
    int rc = BASE_OK;

    if (bytes_equal_nocase(keyword, BYTES_LIT("$Forwarded")))
        rc = add_set(txn, folder, MDS_SET_FLAG(5), into, err);
    for (uint32_t id = 0; id < n && rc >= 0; id++) {
        struct bytes name;

        rc = mds_keyword_name(txn, (uint16_t)id, &name, err);
        if (rc < 0)
            break;
        buf_reset(&shown);
        query_keyword_show(name, &shown);
        if (bytes_equal_nocase(keyword, buf_bytes(&shown)))
            rc = add_set(txn, folder, MDS_SET_KEYWORD(id), into, err);
    }
    buf_release(&shown);
    return rc;
}

static int load_sets(struct query_node *node, struct mds_txn *txn, uint32_t folder, const struct query_uids *all,
                     struct error *err)
{
    int rc = BASE_OK;

    for (uint32_t i = 0; i < node->children_n && rc >= 0; i++)
        rc = load_sets(&node->children[i], txn, folder, all, err);
    if (node->kind != MDSQ_KEY_FLAG && node->kind != MDSQ_KEY_KEYWORD)
        return rc;
    if (node->set)
        roaring_bitmap_free(node->set);
    node->set = roaring_bitmap_create();
    if (node->kind == MDSQ_KEY_FLAG)
        rc = add_set(txn, folder, MDS_SET_FLAG((uint32_t)__builtin_ctzll(node->number)), node->set, err);
    else
        rc = add_keyword(txn, folder, node->text, node->set, err);
    roaring_bitmap_and_inplace(node->set, all->bitmap);
    return rc;
}

int query_tree_load_sets(struct query_tree *tree, struct mds_txn *txn, uint32_t folder, const struct query_uids *all,
                         struct error *err)
{
    return load_sets(tree->root, txn, folder, all, err);
}

/* ---- rows --------------------------------------------------------------------------------------------- */

static bool compare_day(enum mdsq_key_kind kind, int64_t day, int64_t wanted)
{
    switch (kind) {
    case MDSQ_KEY_BEFORE:
    case MDSQ_KEY_SAVEDBEFORE:
    case MDSQ_KEY_SENTBEFORE: return day < wanted;
    case MDSQ_KEY_SINCE:
    case MDSQ_KEY_SAVEDSINCE:
    case MDSQ_KEY_SENTSINCE: return day >= wanted;
    default: return day == wanted;
    }
}

/*
 * The row has the instant of the Date field (or the internal date's, if there is none), not its zone. A zone
 * moves the day by some hours: only near the wanted day, or where the two dates are one, the item's row must be asked.
 */
static int sent_matches(const struct query_node *node, struct mds_txn *txn, const struct mds_message *m, bool *yes,
                        struct error *err)
{
    const int64_t wanted = (int64_t)node->number;
    const int64_t earliest = query_date_day(m->sent_date, -5999);
    const int64_t latest = query_date_day(m->sent_date, 5999);
    struct mds_item item;
    int rc;

    if (m->sent_date != m->internal_date && (latest < wanted || earliest > wanted)) {
        *yes = compare_day(node->kind, earliest, wanted);
        return BASE_OK;
    }
    rc = mds_item_get(txn, m->item, &item, err);
    if (rc < 0)
        return rc;
    *yes = item.has_sent_date && compare_day(node->kind, query_date_day(item.sent_date, item.sent_zone), wanted);
    return BASE_OK;
}

/* RFC 8474: ids compare byte by byte. */
static int id_matches(const struct query_node *node, struct mds_txn *txn, const struct mds_message *m, bool *yes,
                      struct error *err)
{
    char email[34], thread[18];
    struct mds_item item;
    const int rc = mds_item_get(txn, m->item, &item, err);

    if (rc < 0)
        return rc;
    query_item_ids(&item, email, thread);
    *yes = bytes_equal(node->text, bytes_str(node->kind == MDSQ_KEY_EMAILID ? email : thread));
    return BASE_OK;
}

static int row_matches(const struct query_node *node, struct mds_txn *txn, const struct mds_message *m, bool *yes,
                       struct error *err)
{
    switch (node->kind) {
    case MDSQ_KEY_BEFORE:
    case MDSQ_KEY_ON:
    case MDSQ_KEY_SINCE:
        *yes = compare_day(node->kind, query_date_day(m->internal_date, m->internal_zone), (int64_t)node->number);
        return BASE_OK;
    case MDSQ_KEY_LARGER: *yes = m->size_crlf > node->number; return BASE_OK;
    case MDSQ_KEY_SMALLER: *yes = m->size_crlf < node->number; return BASE_OK;
    case MDSQ_KEY_OLDER: *yes = m->internal_date <= (int64_t)node->number; return BASE_OK;
    case MDSQ_KEY_YOUNGER: *yes = m->internal_date >= (int64_t)node->number; return BASE_OK;
    case MDSQ_KEY_SAVEDBEFORE:
    case MDSQ_KEY_SAVEDON:
    case MDSQ_KEY_SAVEDSINCE:
        *yes = compare_day(node->kind, query_date_day(m->saved_date, 0), (int64_t)node->number);
        return BASE_OK;
    case MDSQ_KEY_EMAILID:
    case MDSQ_KEY_THREADID: return id_matches(node, txn, m, yes, err);
    case MDSQ_KEY_MODSEQ: *yes = m->modseq >= node->number; return BASE_OK;
    default: return sent_matches(node, txn, m, yes, err);
    }
}

static void flush(struct query_node *node)
{
    roaring_bitmap_add_many(node->set, node->pending_n, node->pending);
    node->pending_n = 0;
}

int query_tree_see_row(struct query_tree *tree, struct mds_txn *txn, const struct mds_message *m, struct error *err)
{
    for (uint32_t i = 0; i < tree->rows.n; i++) {
        struct query_node *node = tree->rows.v[i];
        bool yes = false;
        const int rc = row_matches(node, txn, m, &yes, err);

        if (rc < 0)
            return rc;
        if (!yes)
            continue;
        if (node->pending_n == QUERY_PENDING_MAX)
            flush(node);
        node->pending[node->pending_n++] = m->uid;
    }
    return BASE_OK;
}

void query_tree_flush_rows(struct query_tree *tree)
{
    for (uint32_t i = 0; i < tree->rows.n; i++)
        flush(tree->rows.v[i]);
}

/* ---- algebra -------------------------------------------------------------------------------------------- */

struct bounds {
    roaring_bitmap_t *sure, *maybe; /* sure is a subset of maybe */
};

static void bounds_release(struct bounds *b)
{
    roaring_bitmap_free(b->sure);
    roaring_bitmap_free(b->maybe);
}

static struct bounds bounds_of(const struct query_node *node, const roaring_bitmap_t *all, bool rows_known);

static struct bounds bounds_of_many(const struct query_node *node, const roaring_bitmap_t *all, bool rows_known)
{
    const bool is_and = node->kind == MDSQ_KEY_AND;
    struct bounds out = {is_and ? roaring_bitmap_copy(all) : roaring_bitmap_create(),
                         is_and ? roaring_bitmap_copy(all) : roaring_bitmap_create()};

    for (uint32_t i = 0; i < node->children_n; i++) {
        struct bounds child = bounds_of(&node->children[i], all, rows_known);

        if (is_and) {
            roaring_bitmap_and_inplace(out.sure, child.sure);
            roaring_bitmap_and_inplace(out.maybe, child.maybe);
        } else {
            roaring_bitmap_or_inplace(out.sure, child.sure);
            roaring_bitmap_or_inplace(out.maybe, child.maybe);
        }
        bounds_release(&child);
    }
    return out;
}

static struct bounds bounds_of(const struct query_node *node, const roaring_bitmap_t *all, bool rows_known)
{
    const roaring_bitmap_t *set = node->kind == MDSQ_KEY_ALL ? all : node->set;

    switch (node->leaf) {
    case QUERY_LEAF_ROW:
        if (!rows_known)
            break;
        return (struct bounds){roaring_bitmap_copy(set), roaring_bitmap_copy(set)};
    case QUERY_LEAF_SET: return (struct bounds){roaring_bitmap_copy(set), roaring_bitmap_copy(set)};
    case QUERY_LEAF_NONE: {
        if (node->kind != MDSQ_KEY_NOT)
            return bounds_of_many(node, all, rows_known);

        struct bounds child = bounds_of(&node->children[0], all, rows_known);
        const struct bounds out = {roaring_bitmap_andnot(all, child.maybe), roaring_bitmap_andnot(all, child.sure)};

        bounds_release(&child);
        return out;
    }
    case QUERY_LEAF_FIELD:
    case QUERY_LEAF_BODY: break;
    }
    return (struct bounds){roaring_bitmap_create(), roaring_bitmap_copy(all)};
}

void query_tree_bounds(const struct query_tree *tree, const struct query_uids *all, bool rows_known,
                       roaring_bitmap_t **sure_out, roaring_bitmap_t **maybe_out)
{
    const struct bounds b = bounds_of(tree->root, all->bitmap, rows_known);

    *sure_out = b.sure;
    *maybe_out = b.maybe;
}
