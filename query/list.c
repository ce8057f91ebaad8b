/*
 * LIST and LSUB: a walk over the tree of names with the patterns' automata carried down, so that a subtree that cannot
 * match is not entered.
 *
 * The walk keeps its own stack of levels, by folder ids, which are never given twice: it goes on under another reader
 * where it stood. A level knows the name it saw last; what is made or removed meanwhile behind or before it is seen or
 * not, but nothing twice.
 */
#include "query_private.h"

#include <glib.h>

#define LOOKS_A_CALL 1000

struct level {
    uint32_t parent;
    size_t name_n, shown_n; /* of the parent's full name with its "/" */
    uint8_t *rows;          /* the automata behind it, one after the other */
    struct buf after;       /* name seen last */
    bool barren;            /* nothing below the parent is selected */
    bool ended;
};

struct mdsq_lister {
    unsigned select;
    struct query_pattern *patterns;
    size_t patterns_n, rows_bytes;
    bool has_percent;
    bool are_names; /* several patterns, none with a wildcard */
    struct level *levels;
    size_t depth, room;
    struct buf name; /* stored bytes of the full name */
    struct buf shown;
    uint8_t *mine;          /* the automata behind the folder in hand */
    struct mds_folder told; /* without its name */
};

static bool is_inbox(struct bytes level, uint32_t parent)
{
    return parent == MDS_ROOT && bytes_equal_nocase(level, BYTES_LIT("INBOX"));
}

/* ---- what is below a folder ---------------------------------------------------------------------- */

enum wanted { WANT_REAL, WANT_SELECTED };

static bool is_selected(unsigned select, const struct mds_folder *f)
{
    if (select & MDSQ_LIST_SPECIAL_USE && (f->special_use == MDS_USE_NONE || !f->selectable))
        return false;
    return !(select & (MDSQ_LIST_SUBSCRIBED | MDSQ_LIST_LSUB)) || f->subscribed;
}

/* 1 if some folder below id is one that can be selected (WANT_REAL) or that the caller asks for, 0 if none. */
static int has_below(struct mds_txn *txn, unsigned select, uint32_t id, enum wanted wanted, unsigned depth,
                     struct error *err)
{
    struct mds_folder child;
    struct buf after = {0};
    int rc = 0, more;

    if (depth > MDS_NAME_MAX / 2)
        return error_set(err, BASE_ERR_CORRUPT, 0, "folder %u: the tree of names is too deep", id);
    for (more = mds_folder_next_child(txn, id, NULL, &child, err); more > 0 && rc == 0;) {
        const bool is = wanted == WANT_REAL ? child.selectable : is_selected(select, &child);
        const uint32_t child_id = child.id;

        buf_reset(&after);
        buf_append_bytes(&after, child.name);
        rc = is ? 1 : has_below(txn, select, child_id, wanted, depth + 1, err);

        const struct bytes from = buf_bytes(&after);

        if (rc == 0)
            more = mds_folder_next_child(txn, id, &from, &child, err);
    }
    buf_release(&after);
    return more < 0 ? more : rc;
}

static bool is_named(const struct mdsq_lister *l, struct bytes shown)
{
    for (size_t i = 0; i < l->patterns_n; i++) {
        if (bytes_equal(buf_bytes(&l->patterns[i].text), shown))
            return true;
    }
    return false;
}

/*
 * 1 if something selected is below the folder `shown` that no pattern names. Where patterns are names, what they name
 * is told by itself: a parent stands in for the rest only (RFC 5258 leaves that open; others do so).
 */
static int has_unnamed_below(const struct mdsq_lister *l, struct mds_txn *txn, uint32_t id, struct buf *shown,
                             unsigned depth, struct error *err)
{
    struct mds_folder child;
    struct buf after = {0};
    const size_t n = shown->n;
    int rc = 0, more;

    if (depth > MDS_NAME_MAX / 2)
        return error_set(err, BASE_ERR_CORRUPT, 0, "folder %u: the tree of names is too deep", id);
    for (more = mds_folder_next_child(txn, id, NULL, &child, err); more > 0 && rc == 0;) {
        const uint32_t child_id = child.id;
        const bool selected = is_selected(l->select, &child);

        buf_reset(&after);
        buf_append_bytes(&after, child.name);
        buf_append_byte(shown, '/');
        query_name_show(child.name, shown);
        rc =
            selected && !is_named(l, buf_bytes(shown)) ? 1 : has_unnamed_below(l, txn, child_id, shown, depth + 1, err);
        shown->n = n;

        const struct bytes from = buf_bytes(&after);

        if (rc == 0)
            more = mds_folder_next_child(txn, id, &from, &child, err);
    }
    buf_release(&after);
    return more < 0 ? more : rc;
}

/* ---- one folder ------------------------------------------------------------------------------------ */

/* 1 with its attributes if the folder, whose name matches, is to be told. *barren_out: that nothing below it is
 * selected came out; *leaf_out: nothing is below it. */
static int judge(const struct mdsq_lister *l, struct mds_txn *txn, const struct mds_folder *f,
                 const struct level *level, struct mdsq_folder *out, bool *barren_out, bool *leaf_out,
                 struct error *err)
{
    const bool lsub = l->select & MDSQ_LIST_LSUB;
    const bool recursive = l->select & MDSQ_LIST_RECURSIVE || (lsub && l->has_percent);
    const bool selected = is_selected(l->select, f);
    struct mds_folder child;
    int children = mds_folder_next_child(txn, f->id, NULL, &child, err), below = 0;

    *leaf_out = children == 0;
    if (children > 0 && !child.selectable)
        children = has_below(txn, 0, f->id, WANT_REAL, 0, err);
    if (children < 0)
        return children;
    if (recursive && !level->barren && !*leaf_out)
        below = has_below(txn, l->select, f->id, WANT_SELECTED, 0, err);
    if (below < 0)
        return below;
    *barren_out = recursive && below == 0;
    if (below && !selected && l->are_names) {
        struct buf shown = {0};

        buf_append_bytes(&shown, buf_bytes(&l->shown));
        below = has_unnamed_below(l, txn, f->id, &shown, 0, err);
        buf_release(&shown);
        if (below < 0)
            return below;
    }

    const bool exists = f->selectable || children;

    if (!selected && !below)
        return 0;
    if (!exists && !(l->select & (MDSQ_LIST_SUBSCRIBED | MDSQ_LIST_LSUB | MDSQ_LIST_NONEXISTENT)))
        return 0;
    *out = (struct mdsq_folder){.special_use = f->special_use};
    /* RFC 3501 6.3.9: in LSUB \Noselect says that the name itself is not subscribed. */
    if (lsub ? !selected : !f->selectable)
        out->attrs |= MDSQ_FOLDER_NOSELECT;
    if (!exists)
        out->attrs |= MDSQ_FOLDER_NONEXISTENT;
    if (children)
        out->attrs |= MDSQ_FOLDER_HAS_CHILDREN;
    if (f->subscribed)
        out->attrs |= MDSQ_FOLDER_SUBSCRIBED;
    if (below && l->select & MDSQ_LIST_RECURSIVE)
        out->attrs |= MDSQ_FOLDER_CHILD_SUBSCRIBED;
    return 1;
}

/* ---- the automata, all at once ------------------------------------------------------------------------- */

static bool feed(const struct mdsq_lister *l, uint8_t *rows, struct bytes text, bool nocase)
{
    bool alive = false;

    for (size_t i = 0; i < l->patterns_n; i++) {
        alive |= query_pattern_feed(&l->patterns[i], rows, text, nocase);
        rows += query_pattern_row_bytes(&l->patterns[i]);
    }
    return alive;
}

static bool accepts(const struct mdsq_lister *l, const uint8_t *rows)
{
    bool yes = false;

    for (size_t i = 0; i < l->patterns_n; i++) {
        yes |= query_pattern_accepts(&l->patterns[i], rows);
        rows += query_pattern_row_bytes(&l->patterns[i]);
    }
    return yes;
}

/* ---- the walk --------------------------------------------------------------------------------------------- */

static void push(struct mdsq_lister *l, uint32_t parent, const uint8_t *rows, bool barren)
{
    if (l->depth == l->room) {
        l->room = l->room ? l->room * 2 : 8;
        l->levels = g_renew(struct level, l->levels, l->room);
    }

    struct level *level = &l->levels[l->depth++];

    *level = (struct level){.parent = parent, .name_n = l->name.n, .shown_n = l->shown.n, .barren = barren};
    level->rows = g_malloc(l->rows_bytes);
    memcpy(level->rows, rows, l->rows_bytes);
}

static void pop(struct mdsq_lister *l)
{
    struct level *level = &l->levels[--l->depth];

    g_free(level->rows);
    buf_release(&level->after);
}

/* Looks at the next folder of the deepest level: 1 it is told, 2 not. */
static int look(struct mdsq_lister *l, struct mds_txn *txn, struct mdsq_folder *out, struct error *err)
{
    struct level *level = &l->levels[l->depth - 1];
    const struct bytes after = buf_bytes(&level->after);
    struct mds_folder f;
    int rc = mds_folder_next_child(txn, level->parent, after.n ? &after : NULL, &f, err);

    l->name.n = level->name_n;
    l->shown.n = level->shown_n;
    if (l->shown.n) /* where the parent's own text ended when it was told */
        l->shown.p[l->shown.n - 1] = '/';
    if (rc <= 0) {
        pop(l);
        return rc < 0 ? rc : 2;
    }
    if (f.name.n == 0 || l->name.n + f.name.n > MDS_NAME_MAX || l->depth > MDS_NAME_MAX / 2)
        return error_set(err, BASE_ERR_CORRUPT, 0, "folder %u: name of %zu bytes", f.id, f.name.n);
    buf_reset(&level->after);
    buf_append_bytes(&level->after, f.name);
    buf_append_bytes(&l->name, f.name);
    query_name_show(f.name, &l->shown);
    memcpy(l->mine, level->rows, l->rows_bytes);

    const struct bytes shown = bytes_of(l->shown.p + level->shown_n, l->shown.n - level->shown_n);

    if (!feed(l, l->mine, shown, is_inbox(shown, level->parent)))
        return 2;

    bool barren = level->barren, leaf = false;
    const int told = accepts(l, l->mine) ? judge(l, txn, &f, level, out, &barren, &leaf, err) : 0;

    if (told < 0)
        return told;
    if (!leaf && feed(l, l->mine, BYTES_LIT("/"), false)) {
        const size_t shown_n = l->shown.n;

        buf_append_byte(&l->name, '/');
        buf_append_byte(&l->shown, '/');
        push(l, f.id, l->mine, barren);
        l->shown.n = shown_n;
    }
    if (told) {
        l->told = f;
        buf_append_byte(&l->shown, 0);
        out->name = (const char *)l->shown.p;
    }
    return told ? 1 : 2;
}

int mdsq_lister_new(const struct mdsq_list_options *options, struct mdsq_lister **out, struct mdsq_error *err)
{
    struct error e;
    size_t bytes = 0;

    query_error_init(&e);
    *out = NULL;
    for (size_t i = 0; i < options->patterns_n && i < MDSQ_PATTERNS_MAX; i++)
        bytes += strlen(options->reference) + strlen(options->patterns[i]);
    if (bytes > MDSQ_PATTERN_MAX)
        return query_result(error_set(&e, BASE_ERR_LIMIT, 0, "a pattern of more than %d bytes", MDSQ_PATTERN_MAX), &e,
                            err);
    if (options->patterns_n > MDSQ_PATTERNS_MAX)
        return query_result(error_set(&e, BASE_ERR_LIMIT, 0, "more than %d patterns", MDSQ_PATTERNS_MAX), &e, err);

    struct mdsq_lister *l = g_new0(struct mdsq_lister, 1);

    l->select = options->select;
    l->patterns = g_new0(struct query_pattern, options->patterns_n + 1);
    l->patterns_n = options->patterns_n;
    for (size_t i = 0; i < l->patterns_n; i++) {
        query_pattern_init(&l->patterns[i], options->reference, options->patterns[i]);
        l->rows_bytes += query_pattern_row_bytes(&l->patterns[i]);
        l->has_percent |= l->patterns[i].has_percent;
    }
    l->are_names = l->patterns_n > 1 && !l->has_percent;
    for (size_t i = 0; i < l->patterns_n; i++) {
        const struct bytes text = buf_bytes(&l->patterns[i].text);

        l->are_names &= !text.n || !memchr(text.p, '*', text.n);
    }
    l->mine = g_malloc0(l->rows_bytes + 1);
    for (size_t i = 0, at = 0; i < l->patterns_n; at += query_pattern_row_bytes(&l->patterns[i++]))
        query_pattern_start(&l->patterns[i], l->mine + at);
    push(l, MDS_ROOT, l->mine, false);
    *out = l;
    return MDSQ_OK;
}

int mdsq_lister_next(struct mdsq_lister *lister, struct mdsq_reader *reader, struct mdsq_folder *out,
                     struct mdsq_error *err)
{
    struct error e;

    query_error_init(&e);
    for (unsigned i = 0; i < LOOKS_A_CALL; i++) {
        if (lister->depth == 0)
            return 0;

        const int rc = look(lister, reader->txn, out, &e);

        if (rc != 2)
            return query_result(rc, &e, err);
    }
    return 2;
}

void mdsq_lister_status(const struct mdsq_lister *lister, struct mdsq_status *out)
{
    query_status_of(&lister->told, out);
}

void mdsq_lister_free(struct mdsq_lister **lister)
{
    struct mdsq_lister *l = *lister;

    *lister = NULL;
    if (l == NULL)
        return;
    while (l->depth)
        pop(l);
    for (size_t i = 0; i < l->patterns_n; i++)
        query_pattern_release(&l->patterns[i]);
    g_free(l->patterns);
    g_free(l->levels);
    g_free(l->mine);
    buf_release(&l->name);
    buf_release(&l->shown);
    g_free(l);
}

int mdsq_list(struct mdsq_reader *reader, const char *reference, const char *pattern, bool subscribed_only,
              mdsq_folder_fn *fn, void *arg, struct mdsq_error *err)
{
    const struct mdsq_list_options options = {
        .reference = reference,
        .patterns = &pattern,
        .patterns_n = 1,
        .select = subscribed_only ? (unsigned)MDSQ_LIST_LSUB : 0,
    };
    struct mdsq_lister *lister = NULL;
    struct mdsq_folder folder;
    int rc = mdsq_lister_new(&options, &lister, err);

    while (rc >= 0 && (rc = mdsq_lister_next(lister, reader, &folder, err)) > 0)
        if (rc == 1 && fn(&folder, arg))
            break;
    mdsq_lister_free(&lister);
    return rc < 0 ? rc : MDSQ_OK;
}
