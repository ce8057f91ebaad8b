/*
 * Keys that the store answers with sets, and the algebra over them. Sets are borrowed until they have to change: a key
 * that matches all messages, or none, costs nothing.
 */
#include "search.h"

/* ---- flags and keywords --------------------------------------------------------------------------- */

/* into: NULL as long as nothing was added. */
static int add_set(struct mds_txn *txn, uint32_t folder, uint32_t set, roaring_bitmap_t **into, struct error *err)
{
    roaring_bitmap_t *loaded = NULL;
    const int rc = mds_set_load(txn, folder, set, &loaded, err);

    if (rc < 0)
        return rc;
    if (*into) {
        roaring_bitmap_or_inplace(*into, loaded);
        roaring_bitmap_free(loaded);
    } else {
        *into = loaded;
    }
    return BASE_OK;
}

/* Keywords compare as they are shown: two that are shown alike are one to a client. */
static int add_keyword(struct mds_txn *txn, uint32_t folder, struct bytes keyword, roaring_bitmap_t **into,
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
    node->set = NULL;
    if (node->kind == MDSQ_KEY_FLAG)
        rc = add_set(txn, folder, MDS_SET_FLAG((uint32_t)__builtin_ctzll(node->number)), &node->set, err);
    else
        rc = add_keyword(txn, folder, node->text, &node->set, err);
    if (node->set)
        roaring_bitmap_and_inplace(node->set, all->bitmap);
    else
        node->set = roaring_bitmap_create();
    return rc;
}

int query_tree_load_sets(struct query_tree *tree, struct mds_txn *txn, uint32_t folder, const struct query_uids *all,
                         struct error *err)
{
    return load_sets(tree->root, txn, folder, all, err);
}

/* ---- algebra -------------------------------------------------------------------------------------------- */

/* A set that is somebody else's until it has to change. NULL: empty. */
struct lazy {
    roaring_bitmap_t *owned;
    const roaring_bitmap_t *b;
};

struct bounds {
    struct lazy sure, maybe; /* sure is a subset of maybe */
    bool is_known;           /* maybe is sure, and not given */
};

static struct lazy borrow(const roaring_bitmap_t *b)
{
    return (struct lazy){.b = b};
}

static struct lazy own(roaring_bitmap_t *b)
{
    return (struct lazy){.owned = b, .b = b};
}

static void lazy_release(struct lazy *l)
{
    if (l->owned)
        roaring_bitmap_free(l->owned);
    *l = (struct lazy){0};
}

static roaring_bitmap_t *lazy_take(struct lazy *l)
{
    roaring_bitmap_t *out = l->owned ? l->owned : l->b ? roaring_bitmap_copy(l->b) : roaring_bitmap_create();

    *l = (struct lazy){0};
    return out;
}

/* Another one of the same members, to be consumed while the first lives on. */
static struct lazy lazy_lend(const struct lazy *l)
{
    return l->owned ? own(roaring_bitmap_copy(l->owned)) : *l;
}

/* Both are consumed. */
static struct lazy lazy_and(struct lazy a, struct lazy b, const roaring_bitmap_t *all)
{
    struct lazy out = {0};

    if (a.b == all || b.b == NULL) {
        lazy_release(&a);
        return b;
    }
    if (b.b == all || a.b == NULL) {
        lazy_release(&b);
        return a;
    }
    if (a.owned) {
        roaring_bitmap_and_inplace(a.owned, b.b);
        out = a;
    } else {
        out = own(roaring_bitmap_and(a.b, b.b));
    }
    lazy_release(&b);
    return out;
}

static struct lazy lazy_or(struct lazy a, struct lazy b, const roaring_bitmap_t *all)
{
    struct lazy out = {0};

    if (a.b == NULL || b.b == all) {
        lazy_release(&a);
        return b;
    }
    if (b.b == NULL || a.b == all) {
        lazy_release(&b);
        return a;
    }
    if (a.owned) {
        roaring_bitmap_or_inplace(a.owned, b.b);
        out = a;
    } else {
        out = own(roaring_bitmap_or(a.b, b.b));
    }
    lazy_release(&b);
    return out;
}

static struct lazy lazy_not(struct lazy a, const roaring_bitmap_t *all)
{
    if (a.b == NULL)
        return borrow(all);

    const struct lazy out = a.b == all ? (struct lazy){0} : own(roaring_bitmap_andnot(all, a.b));

    lazy_release(&a);
    return out;
}

static struct bounds bounds_of(const struct query_node *node, const roaring_bitmap_t *all);

static struct bounds bounds_of_many(const struct query_node *node, const roaring_bitmap_t *all)
{
    struct lazy (*const combine)(struct lazy, struct lazy, const roaring_bitmap_t *) =
        node->kind == MDSQ_KEY_AND ? lazy_and : lazy_or;
    struct bounds out = {.sure = node->kind == MDSQ_KEY_AND ? borrow(all) : (struct lazy){0}, .is_known = true};

    for (uint32_t i = 0; i < node->children_n; i++) {
        struct bounds child = bounds_of(&node->children[i], all);

        if (out.is_known && !child.is_known) /* from here on they differ */
            out.maybe = lazy_lend(&out.sure);
        if (!out.is_known || !child.is_known)
            out.maybe = combine(out.maybe, child.is_known ? lazy_lend(&child.sure) : child.maybe, all);
        out.sure = combine(out.sure, child.sure, all);
        out.is_known = out.is_known && child.is_known;
    }
    return out;
}

static struct bounds bounds_of_not(const struct query_node *node, const roaring_bitmap_t *all)
{
    struct bounds child = bounds_of(&node->children[0], all);

    if (child.is_known)
        return (struct bounds){.sure = lazy_not(child.sure, all), .is_known = true};
    return (struct bounds){.sure = lazy_not(child.maybe, all), .maybe = lazy_not(child.sure, all)};
}

static struct bounds bounds_of(const struct query_node *node, const roaring_bitmap_t *all)
{
    if (node->kind == MDSQ_KEY_ALL)
        return (struct bounds){.sure = borrow(all), .is_known = true};
    switch (node->leaf) {
    case QUERY_LEAF_COLUMN:
        if (!node->is_known)
            break;
        return (struct bounds){.sure = borrow(node->set), .is_known = true};
    case QUERY_LEAF_SET: return (struct bounds){.sure = borrow(node->set), .is_known = true};
    case QUERY_LEAF_NONE: return node->kind == MDSQ_KEY_NOT ? bounds_of_not(node, all) : bounds_of_many(node, all);
    case QUERY_LEAF_FIELD:
    case QUERY_LEAF_BODY:
        if (node->maybe)
            return (struct bounds){.sure = borrow(node->sure), .maybe = borrow(node->maybe)};
        break;
    }
    return (struct bounds){.maybe = borrow(all)};
}

void query_tree_bounds(const struct query_tree *tree, const struct query_uids *all, roaring_bitmap_t **sure_out,
                       roaring_bitmap_t **open_out)
{
    struct bounds b = bounds_of(tree->root, all->bitmap);

    if (b.is_known || b.maybe.b == NULL)
        *open_out = roaring_bitmap_create();
    else
        *open_out = b.sure.b ? roaring_bitmap_andnot(b.maybe.b, b.sure.b) : roaring_bitmap_copy(b.maybe.b);
    *sure_out = lazy_take(&b.sure);
    lazy_release(&b.maybe);
}
