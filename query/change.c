/*
 * Changes: made here, on the caller's thread, from copies of what they need. What can be refused without the store is
 * refused here.
 */
#include "change.h"

#include <glib.h>

/* ---- making ------------------------------------------------------------------------------ */

static int change_new(struct mdsq_archive *archive, enum change_kind kind, struct mdsq_change **out, struct error *err)
{
    if (!mdsq_archive_writable(archive))
        return error_set(err, BASE_ERR_READONLY, 0, "the store was opened for reading");

    struct mdsq_change *c = g_new0(struct mdsq_change, 1);

    c->kind = kind;
    c->archive = query_archive_ref(archive);
    *out = c;
    return BASE_OK;
}

/* A change of messages of a view. */
static int change_of_view(struct mdsq_archive *archive, enum change_kind kind, const struct mdsq_view *view,
                          const struct mdsq_set *set, struct mdsq_change **out, struct error *err)
{
    const int rc = change_new(archive, kind, out, err);

    if (rc < 0)
        return rc;
    (*out)->folder = view->folder;
    (*out)->uidvalidity = view->uidvalidity;
    if (set == NULL || set->uids == view->uids)
        (*out)->uids = query_uids_ref(view->uids);
    else
        (*out)->uids = query_uids_take(roaring_bitmap_and(set->uids->bitmap, view->uids->bitmap));
    return BASE_OK;
}

/* "a//b", "/a", "a/": a vault may have such, a person makes none. */
static bool has_empty_level(struct bytes name)
{
    return name.p[0] == '/' || name.p[name.n - 1] == '/' || memmem(name.p, name.n, "//", 2) != NULL;
}

/* A folder's name as it is stored. A name that no folder can have is NOTFOUND when it must exist, else USAGE. */
static int name_take(const char *shown, bool must_exist, struct buf *out, struct error *err)
{
    const struct bytes name = bytes_str(shown);
    int rc = BASE_OK;

    if (name.n == 0)
        rc = error_set(err, BASE_ERR_NOTFOUND, 0, "a folder has a name");
    else
        rc = query_name_store(name, out, err);
    if (rc == BASE_ERR_NOTFOUND && !must_exist)
        rc = BASE_ERR_USAGE;
    if (rc >= 0 && !must_exist && has_empty_level(buf_bytes(out)))
        rc = error_set(err, BASE_ERR_USAGE, 0, "a level of a folder's name is empty");
    if (rc >= 0 && out->n > MDS_NAME_MAX)
        rc = error_set(err, BASE_ERR_LIMIT, 0, "a folder's name has at most %u bytes", MDS_NAME_MAX);
    return rc;
}

/* The end of every maker: gives the change away or frees it. */
static int made(int rc, const struct error *e, struct mdsq_change *c, struct mdsq_change **out, struct mdsq_error *err)
{
    if (rc >= 0)
        *out = c;
    else
        mdsq_change_free(&c);
    return query_result(rc < 0 ? rc : MDSQ_OK, e, err);
}

int mdsq_change_store(struct mdsq_archive *archive, const struct mdsq_view *view, const struct mdsq_set *set,
                      enum mdsq_store_mode mode, const struct mdsq_flags *flags, const uint64_t *unchanged_since,
                      struct mdsq_change **out, struct mdsq_error *err)
{
    struct mdsq_change *c = NULL;
    struct error e;

    query_error_init(&e);
    *out = NULL;

    int rc = change_of_view(archive, CHANGE_STORE, view, set, &c, &e);

    if (rc >= 0 && (unsigned)mode > MDSQ_STORE_REMOVE)
        rc = error_set(&e, BASE_ERR_USAGE, 0, "there is no such way to store flags");
    if (rc >= 0) {
        c->mode = mode;
        c->is_conditional = unchanged_since != NULL;
        c->unchanged_since = unchanged_since ? *unchanged_since : 0;
        rc = change_flags_init(&c->flags, flags, &e);
    }
    return made(rc, &e, c, out, err);
}

int mdsq_change_expunge(struct mdsq_archive *archive, const struct mdsq_view *view, const struct mdsq_set *set,
                        struct mdsq_change **out, struct mdsq_error *err)
{
    struct mdsq_change *c = NULL;
    struct error e;

    query_error_init(&e);
    *out = NULL;

    const int rc = change_of_view(archive, CHANGE_EXPUNGE, view, set, &c, &e);

    return made(rc, &e, c, out, err);
}

static int copy_or_move(struct mdsq_archive *archive, enum change_kind kind, const struct mdsq_view *view,
                        const struct mdsq_set *set, const char *to, struct mdsq_change **out, struct mdsq_error *err)
{
    struct mdsq_change *c = NULL;
    struct error e;

    query_error_init(&e);
    *out = NULL;

    int rc = change_of_view(archive, kind, view, set, &c, &e);

    if (rc >= 0)
        rc = name_take(to, true, &c->to, &e);
    return made(rc, &e, c, out, err);
}

int mdsq_change_copy(struct mdsq_archive *archive, const struct mdsq_view *view, const struct mdsq_set *set,
                     const char *to, struct mdsq_change **out, struct mdsq_error *err)
{
    return copy_or_move(archive, CHANGE_COPY, view, set, to, out, err);
}

int mdsq_change_move(struct mdsq_archive *archive, const struct mdsq_view *view, const struct mdsq_set *set,
                     const char *to, struct mdsq_change **out, struct mdsq_error *err)
{
    return copy_or_move(archive, CHANGE_MOVE, view, set, to, out, err);
}

static int message_init(struct mdsq_change *c, const struct mdsq_append *a, struct change_message *m, struct error *err)
{
    m->draft = a->draft; /* the change's from here on, whatever happens */
    m->internal_date = a->has_date ? a->internal_date : query_os_now();
    m->internal_zone = a->has_date ? a->internal_zone : 0;
    if (m->draft->archive != c->archive)
        return error_set(err, BASE_ERR_USAGE, 0, "a draft of another archive");

    const int rc = change_flags_init(&m->flags, &a->flags, err);

    return rc < 0 ? rc : draft_finish(m->draft, err);
}

/* All drafts move into the change, also if one of them fails. */
static int messages_init(struct mdsq_change *c, const struct mdsq_append *messages, size_t n, struct error *err)
{
    int rc = BASE_OK;

    c->messages = g_new0(struct change_message, n);
    c->messages_n = n;
    for (size_t i = 0; i < n; i++)
        c->messages[i].draft = messages[i].draft;
    for (size_t i = 0; i < n && rc >= 0; i++)
        rc = message_init(c, &messages[i], &c->messages[i], err);
    return rc;
}

static void drafts_free(const struct mdsq_append *messages, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct mdsq_draft *draft = messages[i].draft;

        mdsq_draft_free(&draft);
    }
}

int mdsq_change_append(struct mdsq_archive *archive, const char *folder, const struct mdsq_append *messages, size_t n,
                       struct mdsq_change **out, struct mdsq_error *err)
{
    struct mdsq_change *c = NULL;
    struct error e;

    query_error_init(&e);
    *out = NULL;

    int rc = change_new(archive, CHANGE_APPEND, &c, &e);

    if (rc < 0)
        drafts_free(messages, n);
    if (rc >= 0)
        rc = messages_init(c, messages, n, &e);
    if (rc >= 0)
        rc = name_take(folder, true, &c->to, &e);
    if (rc >= 0 && n == 0)
        rc = error_set(&e, BASE_ERR_USAGE, 0, "nothing to append");
    return made(rc, &e, c, out, err);
}

int mdsq_change_replace(struct mdsq_archive *archive, const struct mdsq_view *view, uint32_t uid, const char *folder,
                        const struct mdsq_append *message, struct mdsq_change **out, struct mdsq_error *err)
{
    struct mdsq_change *c = NULL;
    struct error e;

    query_error_init(&e);
    *out = NULL;

    int rc = change_of_view(archive, CHANGE_REPLACE, view, NULL, &c, &e);

    if (rc < 0)
        drafts_free(message, 1);
    if (rc >= 0) {
        query_uids_unref(&c->uids);
        c->uids = query_uids_take(roaring_bitmap_of(1, uid));
        rc = messages_init(c, message, 1, &e);
    }
    if (rc >= 0)
        rc = name_take(folder, true, &c->to, &e);
    return made(rc, &e, c, out, err);
}

int mdsq_change_create(struct mdsq_archive *archive, const char *folder, uint8_t special_use, struct mdsq_change **out,
                       struct mdsq_error *err)
{
    struct mdsq_change *c = NULL;
    struct error e;

    query_error_init(&e);
    *out = NULL;

    int rc = change_new(archive, CHANGE_CREATE, &c, &e);

    if (rc >= 0)
        rc = name_take(folder, false, &c->name, &e);
    if (rc >= 0 && special_use > MDS_USE_TRASH)
        rc = error_set(&e, BASE_ERR_USAGE, 0, "there is no such special use");
    if (rc >= 0)
        c->special_use = special_use;
    return made(rc, &e, c, out, err);
}

int mdsq_change_delete(struct mdsq_archive *archive, const char *folder, struct mdsq_change **out,
                       struct mdsq_error *err)
{
    struct mdsq_change *c = NULL;
    struct error e;

    query_error_init(&e);
    *out = NULL;

    int rc = change_new(archive, CHANGE_DELETE, &c, &e);

    if (rc >= 0)
        rc = name_take(folder, true, &c->name, &e);
    return made(rc, &e, c, out, err);
}

int mdsq_change_rename(struct mdsq_archive *archive, const char *from, const char *to, struct mdsq_change **out,
                       struct mdsq_error *err)
{
    struct mdsq_change *c = NULL;
    struct error e;

    query_error_init(&e);
    *out = NULL;

    int rc = change_new(archive, CHANGE_RENAME, &c, &e);

    if (rc >= 0)
        rc = name_take(from, true, &c->name, &e);
    if (rc >= 0)
        rc = name_take(to, false, &c->to, &e);
    return made(rc, &e, c, out, err);
}

int mdsq_change_subscribe(struct mdsq_archive *archive, const char *folder, bool subscribe, struct mdsq_change **out,
                          struct mdsq_error *err)
{
    struct mdsq_change *c = NULL;
    struct error e;

    query_error_init(&e);
    *out = NULL;

    int rc = change_new(archive, CHANGE_SUBSCRIBE, &c, &e);

    if (rc >= 0)
        rc = name_take(folder, !subscribe, &c->name, &e);
    if (rc >= 0)
        c->subscribe = subscribe;
    return made(rc, &e, c, out, err);
}

/* ---- applying ------------------------------------------------------------------------------ */

int change_apply(struct turn *t, struct mdsq_change *c, struct error *err)
{
    static int (*const apply[CHANGE_KINDS])(struct turn *, struct mdsq_change *, struct error *) = {
        [CHANGE_STORE] = change_store,     [CHANGE_EXPUNGE] = change_expunge, [CHANGE_COPY] = change_copy,
        [CHANGE_MOVE] = change_move,       [CHANGE_APPEND] = change_append,   [CHANGE_REPLACE] = change_replace,
        [CHANGE_CREATE] = change_create,   [CHANGE_DELETE] = change_delete,   [CHANGE_RENAME] = change_rename,
        [CHANGE_SUBSCRIBE] = change_subscribe,
    };

    return apply[c->kind](t, c, err);
}

int change_view_folder(struct turn *t, const struct mdsq_change *c, struct mds_folder *out, struct error *err)
{
    const int rc = mds_folder_get(t->txn, c->folder, out, err);

    if (rc < 0)
        return rc;
    if (!out->selectable || out->uidvalidity != c->uidvalidity)
        return error_set(err, BASE_ERR_NOTFOUND, 0, "the folder was deleted");
    return BASE_OK;
}

int change_destination(struct turn *t, struct mdsq_change *c, struct bytes name, struct mds_folder *out,
                       struct error *err)
{
    int rc = mds_folder_find(t->txn, name, out, err);

    if (rc == BASE_ERR_SYNTAX || rc == BASE_ERR_LIMIT) /* a name that no folder can have */
        rc = BASE_ERR_NOTFOUND;
    if (rc >= 0 && !out->selectable)
        rc = error_set(err, BASE_ERR_NOTFOUND, 0, "the folder is only a level on the way to others");
    c->result.no_destination = rc == BASE_ERR_NOTFOUND;
    if (rc >= 0)
        c->result.uidvalidity = out->uidvalidity;
    return rc;
}

/* ---- outcome ---------------------------------------------------------------------------------- */

void change_result_reset(struct change_result *r)
{
    const bool no_destination = r->no_destination;

    mdsq_set_free(&r->changed);
    mdsq_set_free(&r->modified);
    mdsq_set_free(&r->source);
    mdsq_set_free(&r->dest);
    *r = (struct change_result){.no_destination = no_destination};
}

int mdsq_change_outcome(const struct mdsq_change *c, struct mdsq_outcome *out, struct mdsq_error *err)
{
    const struct change_result *r = &c->result;

    *out = (struct mdsq_outcome){.uidvalidity = r->uidvalidity,
                                 .changed = r->changed,
                                 .modified = r->modified,
                                 .source = r->source,
                                 .dest = r->dest,
                                 .modseq_first = r->modseq_first,
                                 .modseq_last = r->modseq_last,
                                 .no_destination = c->rc < 0 && r->no_destination};
    memcpy(out->mailbox_id, r->mailbox_id, sizeof out->mailbox_id);
    return query_result(c->rc, &c->error, err);
}
