/*
 * LIST and LSUB: a walk over the tree of names with the pattern's automaton carried down, so that a subtree
 * that cannot match is not entered.
 */
#include "query_private.h"

#include <glib.h>

struct walk {
    struct mds_txn *txn;
    struct query_pattern pattern;
    bool subscribed_only;
    mdsq_folder_fn *fn;
    void *arg;
    struct buf name;  /* stored bytes of the full name */
    struct buf shown;
    bool stopped;
    struct error *err;
};

/* 1 if some folder below id is subscribed, 0 if none. */
static int has_subscribed_below(struct walk *w, uint32_t id, unsigned depth)
{
    struct mds_folder child;
    struct buf after = {0};
    int rc = 0, more;

    if (depth > MDS_NAME_MAX / 2)
        return error_set(w->err, BASE_ERR_CORRUPT, 0, "folder %u: the tree of names is too deep", id);
    for (more = mds_folder_next_child(w->txn, id, NULL, &child, w->err); more > 0 && rc == 0;) {
        rc = child.subscribed && child.selectable ? 1 : has_subscribed_below(w, child.id, depth + 1);
        buf_reset(&after);
        buf_append_bytes(&after, child.name);

        const struct bytes from = buf_bytes(&after);

        if (rc == 0)
            more = mds_folder_next_child(w->txn, id, &from, &child, w->err);
    }
    buf_release(&after);
    return more < 0 ? more : rc;
}

static int tell(struct walk *w, const struct mds_folder *folder)
{
    struct mdsq_folder out = {.special_use = folder->special_use};
    struct mds_folder child;
    const bool subscribed = folder->subscribed && folder->selectable;
    bool select = folder->selectable;

    if (w->subscribed_only && !subscribed) {
        /* RFC 3501 6.3.9: with "%", the parent of a subscribed name stands for it. */
        const int below = w->pattern.has_percent ? has_subscribed_below(w, folder->id, 0) : 0;

        if (below <= 0)
            return below;
        select = false;
    }

    const int children = mds_folder_next_child(w->txn, folder->id, NULL, &child, w->err);

    if (children < 0)
        return children;
    out.attrs = (select ? 0u : (unsigned)MDSQ_FOLDER_NOSELECT) |
                (children ? (unsigned)MDSQ_FOLDER_HAS_CHILDREN : 0u) |
                (subscribed ? (unsigned)MDSQ_FOLDER_SUBSCRIBED : 0u);
    buf_append_byte(&w->shown, 0);
    w->shown.n--;
    out.name = (const char *)w->shown.p;
    w->stopped = w->fn(&out, w->arg) != 0;
    return BASE_OK;
}

static bool is_inbox(struct bytes level, uint32_t parent)
{
    return parent == MDS_ROOT && bytes_equal_nocase(level, BYTES_LIT("INBOX"));
}

/* Children of `parent`; row: the pattern's state behind the parent's name and its "/". */
static int walk_level(struct walk *w, uint32_t parent, const uint8_t *row)
{
    const size_t row_bytes = query_pattern_row_bytes(&w->pattern);
    const size_t name_n = w->name.n, shown_n = w->shown.n;
    uint8_t *mine = g_malloc(row_bytes);
    struct buf after = {0};
    struct mds_folder folder;
    int rc;

    while ((rc = mds_folder_next_child(w->txn, parent, after.n ? &(struct bytes){after.p, after.n} : NULL, &folder,
                                       w->err)) > 0) {
        buf_reset(&after);
        buf_append_bytes(&after, folder.name);
        if (folder.name.n == 0 || w->name.n + folder.name.n > MDS_NAME_MAX) {
            rc = error_set(w->err, BASE_ERR_CORRUPT, 0, "folder %u: name of %zu bytes", folder.id, folder.name.n);
            break;
        }
        buf_append_bytes(&w->name, folder.name);
        query_name_show(folder.name, &w->shown);
        memcpy(mine, row, row_bytes);

        const struct bytes level = bytes_of(w->shown.p + shown_n, w->shown.n - shown_n);
        bool alive = query_pattern_feed(&w->pattern, mine, level, is_inbox(level, parent));

        rc = BASE_OK;
        if (alive && query_pattern_accepts(&w->pattern, mine))
            rc = tell(w, &folder);
        if (rc >= 0 && !w->stopped && alive && query_pattern_feed(&w->pattern, mine, BYTES_LIT("/"), false)) {
            buf_append_byte(&w->name, '/');
            buf_append_byte(&w->shown, '/');
            rc = walk_level(w, folder.id, mine);
        }
        w->name.n = name_n;
        w->shown.n = shown_n;
        if (rc < 0 || w->stopped)
            break;
    }
    buf_release(&after);
    g_free(mine);
    return rc < 0 ? rc : BASE_OK;
}

int mdsq_list(struct mdsq_reader *reader, const char *reference, const char *pattern, bool subscribed_only,
              mdsq_folder_fn *fn, void *arg, struct mdsq_error *err)
{
    struct error e;
    struct walk w = {.txn = reader->txn, .subscribed_only = subscribed_only, .fn = fn, .arg = arg, .err = &e};
    int rc;

    query_error_init(&e);
    if (strlen(reference) + strlen(pattern) > MDSQ_PATTERN_MAX)
        return query_result(error_set(&e, BASE_ERR_LIMIT, 0, "a pattern of more than %d bytes", MDSQ_PATTERN_MAX),
                            &e, err);
    query_pattern_init(&w.pattern, reference, pattern);

    uint8_t *row = g_malloc(query_pattern_row_bytes(&w.pattern));

    query_pattern_start(&w.pattern, row);
    rc = walk_level(&w, MDS_ROOT, row);
    g_free(row);
    query_pattern_release(&w.pattern);
    buf_release(&w.name);
    buf_release(&w.shown);
    return query_result(rc, &e, err);
}
