/* The caller's tree of keys, checked and copied. */
#include "search.h"

#include <glib.h>

struct copy {
    struct query_tree *tree;
    struct query_uids *all;
    struct query_leaves leaves; /* of any kind, in order */
    struct error *err;
};

static const struct {
    enum query_leaf leaf;
    const char *field; /* FIELD keys that name their field themselves */
} kinds[] = {
    [MDSQ_KEY_ALL] = {QUERY_LEAF_SET, NULL},        [MDSQ_KEY_AND] = {QUERY_LEAF_NONE, NULL},
    [MDSQ_KEY_OR] = {QUERY_LEAF_NONE, NULL},        [MDSQ_KEY_NOT] = {QUERY_LEAF_NONE, NULL},
    [MDSQ_KEY_FLAG] = {QUERY_LEAF_SET, NULL},       [MDSQ_KEY_KEYWORD] = {QUERY_LEAF_SET, NULL},
    [MDSQ_KEY_SEQ_SET] = {QUERY_LEAF_SET, NULL},    [MDSQ_KEY_UID_SET] = {QUERY_LEAF_SET, NULL},
    [MDSQ_KEY_BEFORE] = {QUERY_LEAF_COLUMN, NULL},  [MDSQ_KEY_ON] = {QUERY_LEAF_COLUMN, NULL},
    [MDSQ_KEY_SINCE] = {QUERY_LEAF_COLUMN, NULL},   [MDSQ_KEY_SENTBEFORE] = {QUERY_LEAF_COLUMN, NULL},
    [MDSQ_KEY_SENTON] = {QUERY_LEAF_COLUMN, NULL},  [MDSQ_KEY_SENTSINCE] = {QUERY_LEAF_COLUMN, NULL},
    [MDSQ_KEY_LARGER] = {QUERY_LEAF_COLUMN, NULL},  [MDSQ_KEY_SMALLER] = {QUERY_LEAF_COLUMN, NULL},
    [MDSQ_KEY_HEADER] = {QUERY_LEAF_FIELD, NULL},   [MDSQ_KEY_FROM] = {QUERY_LEAF_FIELD, "From"},
    [MDSQ_KEY_TO] = {QUERY_LEAF_FIELD, "To"},       [MDSQ_KEY_CC] = {QUERY_LEAF_FIELD, "Cc"},
    [MDSQ_KEY_BCC] = {QUERY_LEAF_FIELD, "Bcc"},     [MDSQ_KEY_SUBJECT] = {QUERY_LEAF_FIELD, "Subject"},
    [MDSQ_KEY_BODY] = {QUERY_LEAF_BODY, NULL},      [MDSQ_KEY_TEXT] = {QUERY_LEAF_BODY, NULL},
    [MDSQ_KEY_MODSEQ] = {QUERY_LEAF_COLUMN, NULL},  [MDSQ_KEY_NONE] = {QUERY_LEAF_SET, NULL},
    [MDSQ_KEY_SET] = {QUERY_LEAF_SET, NULL},        [MDSQ_KEY_OLDER] = {QUERY_LEAF_COLUMN, NULL},
    [MDSQ_KEY_YOUNGER] = {QUERY_LEAF_COLUMN, NULL}, [MDSQ_KEY_SAVEDBEFORE] = {QUERY_LEAF_COLUMN, NULL},
    [MDSQ_KEY_SAVEDON] = {QUERY_LEAF_COLUMN, NULL}, [MDSQ_KEY_SAVEDSINCE] = {QUERY_LEAF_COLUMN, NULL},
    [MDSQ_KEY_EMAILID] = {QUERY_LEAF_COLUMN, NULL}, [MDSQ_KEY_THREADID] = {QUERY_LEAF_COLUMN, NULL},
};

/* The form in which texts are compared: a line end is one blank, letters are casemapped. */
static struct bytes make_needle(struct arena *arena, struct bytes text)
{
    struct buf folded = {0};

    mime_texts_needle(text, &folded);

    const struct bytes needle = arena_dup(arena, buf_bytes(&folded));

    buf_release(&folded);
    return needle;
}

static int copy_leaf(struct copy *c, const struct mdsq_key *key, struct query_node *node)
{
    struct query_uids *uids = NULL;
    int rc;

    node->leaf = kinds[key->kind].leaf;
    node->number = key->number;
    node->text = arena_dup(c->tree->arena, bytes_of_query(key->text));
    node->needle = make_needle(c->tree->arena, node->text);
    node->field = arena_dup(c->tree->arena,
                            kinds[key->kind].field ? bytes_str(kinds[key->kind].field) : bytes_of_query(key->field));
    if (node->leaf == QUERY_LEAF_BODY && node->needle.n == 0) /* nothing stands in every text, and in none */
        node->kind = MDSQ_KEY_ALL;
    if (node->kind == MDSQ_KEY_ALL)
        node->leaf = QUERY_LEAF_SET;
    if (node->kind == MDSQ_KEY_HEADER && node->field.n == 0)
        return error_set(c->err, BASE_ERR_USAGE, 0, "a header key names its field");
    switch (node->kind) {
    case MDSQ_KEY_FLAG:
        if (key->number == 0 || key->number > MDS_FLAGS_ALL || key->number & (key->number - 1))
            return error_set(c->err, BASE_ERR_USAGE, 0, "a flag key names one flag");
        break;
    case MDSQ_KEY_SEQ_SET:
    case MDSQ_KEY_UID_SET:
        rc = query_set_parse(c->all, node->text, node->kind == MDSQ_KEY_UID_SET ? QUERY_UIDS : QUERY_SEQS_ANY, &uids,
                             c->err);
        if (rc < 0)
            return rc;
        node->set = roaring_bitmap_copy(uids->bitmap);
        query_uids_unref(&uids);
        break;
    case MDSQ_KEY_NONE: node->set = roaring_bitmap_create(); break;
    case MDSQ_KEY_SET:
        if (key->set == NULL)
            return error_set(c->err, BASE_ERR_USAGE, 0, "a set key has a set");
        node->set = roaring_bitmap_and(key->set->uids->bitmap, c->all->bitmap);
        break;
    default: break;
    }
    if (node->leaf == QUERY_LEAF_COLUMN)
        node->set = roaring_bitmap_create();
    return BASE_OK;
}

static int copy_node(struct copy *c, const struct mdsq_key *key, struct query_node *node, unsigned depth)
{
    *node = (struct query_node){.kind = key->kind};
    if (depth > MDSQ_KEY_DEPTH_MAX)
        return error_set(c->err, BASE_ERR_LIMIT, 0, "search keys nested deeper than %d", MDSQ_KEY_DEPTH_MAX);
    if ((unsigned)key->kind >= G_N_ELEMENTS(kinds))
        return error_set(c->err, BASE_ERR_USAGE, 0, "unknown search key %u", (unsigned)key->kind);
    if (kinds[key->kind].leaf != QUERY_LEAF_NONE) {
        c->leaves.v[c->leaves.n++] = node; /* before it can fail, so that its set is freed */
        return copy_leaf(c, key, node);
    }
    if (key->kind == MDSQ_KEY_NOT && key->children_n != 1)
        return error_set(c->err, BASE_ERR_USAGE, 0, "NOT has one key");
    if (key->children_n > QUERY_KEYS_MAX - c->tree->nodes)
        return error_set(c->err, BASE_ERR_LIMIT, 0, "more than %d search keys", QUERY_KEYS_MAX);
    c->tree->nodes += (uint32_t)key->children_n;
    node->children = arena_alloc(c->tree->arena, (key->children_n + 1) * sizeof *node->children);
    for (size_t i = 0; i < key->children_n; i++) {
        const int rc = copy_node(c, &key->children[i], &node->children[i], depth + 1);

        if (rc < 0)
            return rc;
        node->children_n++;
    }
    return BASE_OK;
}

static struct query_leaves pick(struct arena *arena, const struct query_leaves *from, enum query_leaf leaf)
{
    struct query_leaves out = {.v = arena_alloc(arena, (from->n + 1) * sizeof *out.v)};

    for (uint32_t i = 0; i < from->n; i++) {
        if (from->v[i]->leaf == leaf)
            out.v[out.n++] = from->v[i];
    }
    return out;
}

int query_tree_copy(const struct mdsq_key *key, struct query_uids *all, struct query_tree *out, struct error *err)
{
    struct copy c = {.tree = out, .all = all, .err = err};

    *out = (struct query_tree){.arena = arena_new(0), .nodes = 1};
    out->root = arena_alloc(out->arena, sizeof *out->root);
    c.leaves.v = g_new(struct query_node *, QUERY_KEYS_MAX + 1);

    const int rc = copy_node(&c, key, out->root, 0);

    if (rc >= 0) {
        out->columns = pick(out->arena, &c.leaves, QUERY_LEAF_COLUMN);
        out->fields = pick(out->arena, &c.leaves, QUERY_LEAF_FIELD);
        out->bodies = pick(out->arena, &c.leaves, QUERY_LEAF_BODY);
    } else {
        for (uint32_t i = 0; i < c.leaves.n; i++) {
            if (c.leaves.v[i]->set)
                roaring_bitmap_free(c.leaves.v[i]->set);
        }
        arena_free(&out->arena);
        *out = (struct query_tree){0};
    }
    g_free(c.leaves.v);
    return rc;
}

static void release_node(struct query_node *node)
{
    roaring_bitmap_t *const sets[] = {node->set, node->sure, node->maybe};

    for (size_t i = 0; i < G_N_ELEMENTS(sets); i++) {
        if (sets[i])
            roaring_bitmap_free(sets[i]);
    }
    for (uint32_t i = 0; i < node->children_n; i++)
        release_node(&node->children[i]);
}

void query_tree_release(struct query_tree *tree)
{
    if (tree->root)
        release_node(tree->root);
    arena_free(&tree->arena);
    *tree = (struct query_tree){0};
}
