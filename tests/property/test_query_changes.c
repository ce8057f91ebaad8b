/*
 * Random changes of eight sessions at once against a naive mailbox in memory. Done callbacks come in the order in which
 * changes were applied, so that the model can do the same one after another: every outcome must be the model's, and at each
 * checkpoint every folder, with UIDs, flags, modseqs and items, must be too. Views that follow along hold the same picture.
 */
#include "mds/mds.h"
#include "mds/query.h"
#include "test_support.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>

enum { THREADS = 8, CHECKPOINTS = 6, CHANGES = 40, FOLDERS_MAX = 4000, UIDS_MAX = 4000, SET_MAX = 12 };

/* ---- the model --------------------------------------------------------------------------------- */

struct message {
    uint32_t uid;
    unsigned body;
    uint32_t flags;   /* 64: the keyword "Work" */
    uint64_t modseq;
};

struct folder {
    char id[33]; /* MAILBOXID */
    char name[40];
    bool there;
    uint32_t uidnext;
    uint64_t modseq;
    struct message *v;
    size_t n, cap;
};

static struct {
    struct folder folders[FOLDERS_MAX];
    size_t n;
} model;

static struct folder *by_name(const char *name)
{
    for (size_t i = 0; i < model.n; i++) {
        if (model.folders[i].there && strcmp(model.folders[i].name, name) == 0)
            return &model.folders[i];
    }
    return NULL;
}

static struct folder *by_id(const char *id)
{
    for (size_t i = 0; i < model.n; i++) {
        if (model.folders[i].there && strcmp(model.folders[i].id, id) == 0)
            return &model.folders[i];
    }
    return NULL;
}

static struct message *message_of(struct folder *f, uint32_t uid)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->v[i].uid == uid)
            return &f->v[i];
    }
    return NULL;
}

static uint32_t message_put(struct folder *f, unsigned body, uint32_t flags)
{
    if (f->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 16;
        f->v = realloc(f->v, f->cap * sizeof *f->v);
    }
    f->v[f->n++] = (struct message){f->uidnext++, body, flags, ++f->modseq};
    return f->uidnext - 1;
}

static void message_drop(struct folder *f, uint32_t uid)
{
    struct message *m = message_of(f, uid);
    const size_t i = (size_t)(m - f->v);

    memmove(m, m + 1, (f->n - i - 1) * sizeof *m);
    f->n--;
    f->modseq++;
}

/* ---- operations ------------------------------------------------------------------------------------ */

enum kind { STORE, EXPUNGE, COPY, MOVE, APPEND, REPLACE, CREATE, DELETE, RENAME, KINDS };
static const char *const kind_names[KINDS] = {"store", "expunge", "copy", "move", "append", "replace", "create", "delete", "rename"};

struct op {
    enum kind kind;
    char folder[33];      /* the view's, by MAILBOXID */
    uint32_t uids[SET_MAX];
    size_t uids_n;
    enum mdsq_store_mode mode;
    uint32_t flags;
    bool has_since;
    uint64_t since;
    char name[40], to[40];
    unsigned body;
    struct mdsq_change *change;
    size_t position; /* in the order of being done */
};

static struct {
    struct mdsq_store *store;
    struct mdsq_archive *archive;
    struct op *done[THREADS * CHANGES];
    size_t done_n; /* written by the library's writer thread of the archive, one at a time */
} bed;

static struct mdsq_error e;

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        struct mdsq_error err = {0};                                                                                   \
        cr_assert_geq((call), 0, "%s: %s", #call, err.text);                                                           \
    } while (0)

static void on_done(void *arg)
{
    bed.done[bed.done_n++] = arg;
}

struct expected {
    int rc;
    uint32_t changed[UIDS_MAX], modified[SET_MAX], source[SET_MAX], dest[SET_MAX];
    size_t changed_n, modified_n, source_n, dest_n;
};

static uint32_t new_flags(const struct op *op, uint32_t flags)
{
    if (op->mode == MDSQ_STORE_REPLACE)
        return op->flags;
    return op->mode == MDSQ_STORE_ADD ? flags | op->flags : flags & ~op->flags;
}

static void model_messages(const struct op *op, struct folder *f, struct expected *x)
{
    struct folder *to = op->kind == COPY || op->kind == MOVE ? by_name(op->to) : NULL;

    if ((op->kind == COPY || op->kind == MOVE) && to == NULL) {
        x->rc = MDSQ_ERR_NOTFOUND;
        return;
    }
    for (size_t i = 0; i < op->uids_n; i++) {
        struct message *m = message_of(f, op->uids[i]);

        if (m == NULL)
            continue;
        if (op->kind == STORE && op->has_since && m->modseq > op->since) {
            x->modified[x->modified_n++] = m->uid;
            continue;
        }
        if (op->kind == EXPUNGE && !(m->flags & 8))
            continue;
        if (op->kind != COPY)
            x->changed[x->changed_n++] = m->uid;
        if (op->kind == STORE && new_flags(op, m->flags) != m->flags) {
            m->flags = new_flags(op, m->flags);
            m->modseq = ++f->modseq;
        } else if (op->kind == EXPUNGE) {
            message_drop(f, m->uid);
        } else if (op->kind == COPY || op->kind == MOVE) {
            const uint32_t uid = m->uid, flags = m->flags;
            const unsigned body = m->body;

            x->source[x->source_n++] = uid;
            x->dest[x->dest_n++] = message_put(to, body, flags);
            if (op->kind == MOVE)
                message_drop(f, uid);
        }
    }
}

static void model_append(const struct op *op, struct expected *x)
{
    struct folder *f = op->kind == REPLACE ? by_id(op->folder) : NULL, *to = by_name(op->to);

    if (to == NULL || (op->kind == REPLACE && (f == NULL || op->uids_n == 0 || message_of(f, op->uids[0]) == NULL))) {
        x->rc = MDSQ_ERR_NOTFOUND;
        return;
    }
    x->dest[x->dest_n++] = message_put(to, op->body, op->flags);
    if (op->kind == REPLACE) {
        x->changed[x->changed_n++] = op->uids[0];
        message_drop(f, op->uids[0]);
    }
}

static void model_folder(const struct op *op, const struct mdsq_outcome *o, struct expected *x)
{
    struct folder *f = by_name(op->name);

    if (op->kind == CREATE) {
        x->rc = f ? MDSQ_ERR_EXISTS : 0;
        if (f)
            return;
        cr_assert_lt(model.n, FOLDERS_MAX);
        f = &model.folders[model.n++];
        *f = (struct folder){.there = true, .uidnext = 1, .modseq = 1};
        snprintf(f->name, sizeof f->name, "%s", op->name);
        snprintf(f->id, sizeof f->id, "%s", o->mailbox_id);
    } else if (f == NULL) {
        x->rc = MDSQ_ERR_NOTFOUND;
    } else if (op->kind == DELETE) {
        f->there = false;
    } else if (by_name(op->to)) {
        x->rc = MDSQ_ERR_EXISTS;
    } else {
        snprintf(f->name, sizeof f->name, "%s", op->to);
    }
}

static void compare_set(const char *what, const struct op *op, const struct mdsq_set *set, const uint32_t *v, size_t n)
{
    cr_assert_eq(set ? mdsq_set_count(set) : 0, n, "change %zu, %s: %s has %zu, not %zu", op->position, kind_names[op->kind],
                 what, set ? (size_t)mdsq_set_count(set) : 0, n);
    for (size_t i = 0; i < n; i++)
        cr_assert(mdsq_set_has(set, v[i]), "change %zu, %s: %s has not %u", op->position, kind_names[op->kind], what, v[i]);
}

/* Does to the model what was done to the archive, and compares what was said of it. */
static void model_apply(const struct op *op)
{
    static struct expected x;
    struct mdsq_outcome o;
    const int rc = mdsq_change_outcome(op->change, &o, &e);

    x = (struct expected){0};
    if (op->kind >= CREATE)
        model_folder(op, &o, &x);
    else if (op->kind >= APPEND)
        model_append(op, &x);
    else if (by_id(op->folder) == NULL)
        x.rc = MDSQ_ERR_NOTFOUND;
    else
        model_messages(op, by_id(op->folder), &x);
    cr_assert_eq(rc, x.rc, "change %zu, %s %s %s: %d %s, not %d", op->position, kind_names[op->kind], op->name, op->to, rc, e.text,
                 x.rc);
    if (rc < 0)
        return;
    compare_set("changed", op, o.changed, x.changed, x.changed_n);
    compare_set("modified", op, o.modified, x.modified, x.modified_n);
    compare_set("source", op, o.source, x.source, x.source_n);
    compare_set("dest", op, o.dest, x.dest, x.dest_n);
}

/* ---- sessions ---------------------------------------------------------------------------------------- */

struct session {
    struct rng rng;
    struct mdsq_reader *reader;
    struct mdsq_view *inbox; /* follows along */
    struct op ops[CHANGES];
};

static const char *random_name(struct session *s)
{
    static const char *const names[] = {"INBOX", "a", "b", "c", "d"};

    return names[rng_below(&s->rng, 5)];
}

/* A view of some folder, or none; and some of its UIDs, and one that is not. */
static struct mdsq_view *random_view(struct session *s, struct op *op, struct mdsq_set **set_out)
{
    struct mdsq_view *view = NULL;
    struct mdsq_view_info info;
    char text[SET_MAX * 12] = "";

    if (mdsq_view_open(s->reader, random_name(s), &view, &e) < 0)
        OK(mdsq_view_open(s->reader, "INBOX", &view, &err));
    OK(mdsq_view_get_info(s->reader, view, &info, &err));
    snprintf(op->folder, sizeof op->folder, "%s", info.mailbox_id);

    const uint32_t count = mdsq_view_count(view);
    uint32_t seq = 1 + (uint32_t)rng_below(&s->rng, count + 1);

    for (; seq <= count && op->uids_n < SET_MAX; seq += 1 + (uint32_t)rng_below(&s->rng, 3)) {
        op->uids[op->uids_n++] = mdsq_view_uid(view, seq);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%u", *text ? "," : "", op->uids[op->uids_n - 1]);
    }
    OK(mdsq_set_numbers(text, strlen(text), 0, set_out, &err));
    op->since = info.highestmodseq - rng_below(&s->rng, 3);
    return view;
}

static struct mdsq_append random_message(struct session *s, struct op *op, const struct mdsq_bytes *word)
{
    struct mdsq_append out = {0};
    char text[80];

    op->body = (unsigned)rng_below(&s->rng, 200);
    op->flags = (uint32_t)rng_below(&s->rng, 128);

    const int n = snprintf(text, sizeof text, "Subject: m%u\r\n\r\nx\r\n", op->body);

    OK(mdsq_draft_new(bed.archive, &out.draft, &err));
    OK(mdsq_draft_write(out.draft, text, (size_t)n, &err));
    out.flags = (struct mdsq_flags){op->flags & 63, word, op->flags & 64 ? 1 : 0};
    return out;
}

static void make(struct session *s, struct op *op)
{
    static const struct mdsq_bytes word = {(const uint8_t *)"Work", 4};
    struct mdsq_view *view = NULL;
    struct mdsq_set *set = NULL;
    struct mdsq_append message;
    struct mdsq_flags flags;

    *op = (struct op){.kind = (enum kind)rng_below(&s->rng, rng_once_in(&s->rng, 5) ? KINDS : CREATE)};
    if (op->kind == EXPUNGE && rng_below(&s->rng, 2))
        op->kind = STORE; /* so that there is something to expunge */
    snprintf(op->to, sizeof op->to, "%s", random_name(s));
    do
        snprintf(op->name, sizeof op->name, "%s", random_name(s));
    while (op->kind >= DELETE && strcmp(op->name, "INBOX") == 0);
    if (op->kind < CREATE && op->kind != APPEND)
        view = random_view(s, op, &set);
    switch (op->kind) {
    case STORE:
        op->mode = (enum mdsq_store_mode)rng_below(&s->rng, 3);
        op->flags = (uint32_t)rng_below(&s->rng, 128);
        op->has_since = rng_once_in(&s->rng, 3);
        flags = (struct mdsq_flags){op->flags & 63, &word, op->flags & 64 ? 1 : 0};
        OK(mdsq_change_store(bed.archive, view, set, op->mode, &flags, op->has_since ? &op->since : NULL, &op->change, &err));
        break;
    case EXPUNGE:
        OK(mdsq_change_expunge(bed.archive, view, set, &op->change, &err));
        break;
    case COPY:
        OK(mdsq_change_copy(bed.archive, view, set, op->to, &op->change, &err));
        break;
    case MOVE:
        OK(mdsq_change_move(bed.archive, view, set, op->to, &op->change, &err));
        break;
    case APPEND:
        message = random_message(s, op, &word);
        OK(mdsq_change_append(bed.archive, op->to, &message, 1, &op->change, &err));
        break;
    case REPLACE:
        message = random_message(s, op, &word);
        OK(mdsq_change_replace(bed.archive, view, op->uids_n ? op->uids[0] : 4000000, op->to, &message, &op->change, &err));
        break;
    case CREATE:
        OK(mdsq_change_create(bed.archive, op->name, 0, &op->change, &err));
        break;
    case DELETE:
        OK(mdsq_change_delete(bed.archive, op->name, &op->change, &err));
        break;
    case RENAME:
    default:
        OK(mdsq_change_rename(bed.archive, op->name, op->to, &op->change, &err));
    }
    mdsq_set_free(&set);
    if (view)
        mdsq_view_close(&view);
}

static void *session_main(void *arg)
{
    struct session *s = arg;

    for (size_t i = 0; i < CHANGES; i++) {
        if (rng_once_in(&s->rng, 3)) {
            OK(mdsq_reader_renew(s->reader, &err));
            OK(mdsq_view_advance(s->reader, s->inbox, rng_below(&s->rng, 2), NULL, &err));
        }
        make(s, &s->ops[i]);
        cr_assert_eq(mdsq_change_submit(s->ops[i].change, on_done, &s->ops[i]), 0);
    }
    return NULL;
}

/* ---- checkpoints -------------------------------------------------------------------------------------- */

static uint32_t flags_of(struct mdsq_bytes text)
{
    static const char *const names[] = {"\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Forwarded", "Work"};
    uint32_t out = 0;

    for (unsigned i = 0; i < 7; i++)
        out |= memmem(text.p, text.n, names[i], strlen(names[i])) ? 1u << i : 0;
    return out;
}

static void compare_folder(struct mdsq_reader *reader, const struct folder *f)
{
    struct mdsq_view *view = NULL;
    struct mdsq_fetch *fetch = NULL;
    struct mdsq_message m;
    size_t i = 0;

    OK(mdsq_view_open(reader, f->name, &view, &err));
    cr_assert_eq(mdsq_view_modseq(view), f->modseq, "%s: modseq %llu, not %llu", f->name,
                 (unsigned long long)mdsq_view_modseq(view), (unsigned long long)f->modseq);
    OK(mdsq_fetch_new(reader, view, NULL, MDSQ_FETCH_FLAGS | MDSQ_FETCH_MODSEQ | MDSQ_FETCH_ENVELOPE, &fetch, &err));
    for (; mdsq_fetch_next(fetch, &m, &e) > 0; i++) {
        char subject[20];

        cr_assert_lt(i, f->n, "%s has more than %zu messages", f->name, f->n);
        cr_assert_eq(m.uid, f->v[i].uid, "%s: number %zu is %u, not %u", f->name, i + 1, m.uid, f->v[i].uid);
        cr_assert_eq(flags_of(m.flags), f->v[i].flags, "%s %u: %.*s", f->name, m.uid, (int)m.flags.n, (const char *)m.flags.p);
        cr_assert_eq(m.modseq, f->v[i].modseq, "%s %u: modseq %llu, not %llu", f->name, m.uid,
                     (unsigned long long)m.modseq, (unsigned long long)f->v[i].modseq);
        snprintf(subject, sizeof subject, "\"m%u\"", f->v[i].body);
        cr_assert(memmem(m.envelope.p, m.envelope.n, subject, strlen(subject)), "%s %u is not %s", f->name, m.uid, subject);
    }
    cr_assert_eq(i, f->n, "%s has %zu messages, not %zu", f->name, i, f->n);
    mdsq_fetch_free(&fetch);
    mdsq_view_close(&view);
}

static void compare_follower(struct session *s)
{
    const struct folder *f = by_name("INBOX");

    OK(mdsq_reader_renew(s->reader, &err));
    OK(mdsq_view_advance(s->reader, s->inbox, true, NULL, &err));
    cr_assert_eq(mdsq_view_count(s->inbox), f->n);
    for (size_t i = 0; i < f->n; i++)
        cr_assert_eq(mdsq_view_uid(s->inbox, (uint32_t)i + 1), f->v[i].uid);
}

static void on_finding(const char *text, void *arg)
{
    (void)arg;
    fprintf(stderr, "%s\n", text);
}

static void verify(const char *store_dir)
{
    struct mds_env *env = NULL;
    struct mds_txn *txn = NULL;
    struct error err;

    cr_assert_eq(mds_open(path_join(store_dir, "archives/a00000001"), &(struct mds_options){.relaxed = true}, &env, &err), 0, "%s",
                 err.text);
    cr_assert_eq(mds_read_begin(env, &txn, &err), 0);
    cr_expect_eq(mds_verify(txn, on_finding, NULL, &err), 0);
    mds_read_end(&txn);
    mds_close(&env);
}

static void round_of(struct session *sessions)
{
    pthread_t threads[THREADS];

    bed.done_n = 0;
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, session_main, &sessions[i]), 0);
    for (unsigned i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);

    /* One more, behind all of them. */
    struct mdsq_change *last = NULL;

    OK(mdsq_change_subscribe(bed.archive, "INBOX", true, &last, &err));
    OK(mdsq_change_wait(last, &err));
    mdsq_change_free(&last);
    cr_assert_eq(bed.done_n, THREADS * CHANGES);
    for (size_t i = 0; i < bed.done_n; i++) {
        bed.done[i]->position = i;
        model_apply(bed.done[i]);
        mdsq_change_free(&bed.done[i]->change);
    }
}

Test(query_changes, eight_sessions_do_what_the_model_does)
{
    struct rng rng = rng_start("query_changes");
    const char *store_dir = path_join(TEMP_DIR(), "store");
    struct session *sessions = calloc(THREADS, sizeof *sessions);
    struct mdsq_reader *reader = NULL;
    struct mdsq_status status;

    OK(mdsq_store_open(store_dir, MDSQ_STORE_WRITE | MDSQ_STORE_CREATE | MDSQ_STORE_RELAXED, &bed.store, &err));
    OK(mdsq_archive_add(bed.store, "ann", &err));
    OK(mdsq_archive_open(bed.store, "ann", &bed.archive, &err));
    OK(mdsq_reader_begin(bed.archive, &reader, &err));
    OK(mdsq_status(reader, "INBOX", &status, &err));
    model.folders[model.n++] = (struct folder){.name = "INBOX", .there = true, .uidnext = 1, .modseq = status.highestmodseq};
    snprintf(model.folders[0].id, sizeof model.folders[0].id, "%s", status.mailbox_id);
    for (unsigned i = 0; i < THREADS; i++) {
        sessions[i].rng = rng_of(rng_u64(&rng));
        OK(mdsq_reader_begin(bed.archive, &sessions[i].reader, &err));
        OK(mdsq_view_open(sessions[i].reader, "INBOX", &sessions[i].inbox, &err));
    }
    for (unsigned round = 0; round < CHECKPOINTS; round++) {
        round_of(sessions);
        OK(mdsq_reader_renew(reader, &err));
        for (size_t i = 0; i < model.n; i++) {
            if (model.folders[i].there)
                compare_folder(reader, &model.folders[i]);
        }
        for (unsigned i = 0; i < THREADS; i++)
            compare_follower(&sessions[i]);
        verify(store_dir);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        mdsq_view_close(&sessions[i].inbox);
        mdsq_reader_end(&sessions[i].reader);
    }
    for (size_t i = 0; i < model.n; i++)
        free(model.folders[i].v);
    free(sessions);
    mdsq_reader_end(&reader);
    mdsq_archive_close(&bed.archive);
    mdsq_store_close(&bed.store);
}
