/* fake_change: query/'s API for changing an archive, over the arrays of fake_query. What was committed is in fake.log.
 */
#include "fake_query.h"

#include "base/bytes.h"
#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>

enum kind { STORE, EXPUNGE, COPY, MOVE, APPEND, REPLACE, CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE };

struct mdsq_draft {
    struct buf text;
    bool finished;
};

struct mdsq_change {
    enum kind kind;
    struct buf line; /* of the log */
    char folder[512];
    uint32_t uids[FAKE_MESSAGES];
    uint32_t uids_n;
    enum mdsq_store_mode mode;
    unsigned flags;
    char keywords[256];
    bool conditional;
    uint64_t unchanged_since;
    struct mdsq_draft *drafts[8];
    size_t drafts_n;
    /* outcome */
    bool done, no_destination;
    int code;
    struct mdsq_set *changed, *modified, *source, *dest;
    uint64_t first, last;
    mdsq_done_fn *done_fn;
    void *done_arg;
};

struct mdsq_watch {
    mdsq_watch_fn *fn;
    void *arg;
};

static struct mdsq_change *held;
static struct mdsq_watch *watch;

static int fail(struct mdsq_error *err, int code)
{
    if (err) {
        err->code = code;
        snprintf(err->text, sizeof err->text, "/a/secret/path: code %d", code);
    }
    return code;
}

static struct fake_message *find(uint32_t uid)
{
    return &fake.messages[uid / 10 - 1];
}

/* ---- drafts ---------------------------------------------------------------------------------- */

int mdsq_draft_new(struct mdsq_archive *archive, struct mdsq_draft **out, struct mdsq_error *err)
{
    (void)archive, (void)err;
    *out = calloc(1, sizeof **out);
    fake.objects++;
    return 0;
}

int mdsq_draft_write(struct mdsq_draft *draft, const void *p, size_t n, struct mdsq_error *err)
{
    if (fake.draft_room && draft->text.n + n > fake.draft_room)
        return fail(err, MDSQ_ERR_FULL);
    buf_append(&draft->text, p, n);
    return 0;
}

uint64_t mdsq_draft_size(const struct mdsq_draft *draft)
{
    return draft->text.n;
}

void mdsq_draft_free(struct mdsq_draft **draft)
{
    if (!*draft)
        return;
    buf_release(&(*draft)->text);
    free(*draft);
    *draft = NULL;
    fake.objects--;
}

int mdsq_draft_finish(struct mdsq_draft *draft, struct mdsq_error *err)
{
    (void)err;
    draft->finished = true;
    return 0;
}

/* ---- making ------------------------------------------------------------------------------------ */

static int make(enum kind kind, const char *folder, struct mdsq_change **out, struct mdsq_error *err)
{
    *out = NULL;
    if (!fake.writable)
        return fail(err, MDSQ_ERR_READONLY);
    struct mdsq_change *c = calloc(1, sizeof *c);
    c->kind = kind;
    snprintf(c->folder, sizeof c->folder, "%s", folder ? folder : "");
    fake.objects++;
    *out = c;
    return 0;
}

static int make_of_set(enum kind kind, const struct mdsq_view *view, const struct mdsq_set *set, const char *to,
                       struct mdsq_change **out, struct mdsq_error *err)
{
    int rc = make(kind, to, out, err);
    for (uint32_t seq = 1; rc == 0 && seq <= mdsq_view_count(view); seq++)
        if (!set || mdsq_set_has(set, mdsq_view_uid(view, seq)))
            (*out)->uids[(*out)->uids_n++] = mdsq_view_uid(view, seq);
    return rc;
}

int mdsq_change_store(struct mdsq_archive *archive, const struct mdsq_view *view, const struct mdsq_set *set,
                      enum mdsq_store_mode mode, const struct mdsq_flags *flags, const uint64_t *unchanged_since,
                      struct mdsq_change **out, struct mdsq_error *err)
{
    int rc = make_of_set(STORE, view, set, NULL, out, err);
    (void)archive;
    if (rc < 0)
        return rc;
    (*out)->mode = mode;
    (*out)->flags = flags->flags;
    for (size_t i = 0; i < flags->keywords_n; i++)
        sprintf((*out)->keywords + strlen((*out)->keywords), " %.*s", (int)flags->keywords[i].n,
                (const char *)flags->keywords[i].p);
    (*out)->conditional = unchanged_since;
    (*out)->unchanged_since = unchanged_since ? *unchanged_since : 0;
    return 0;
}

int mdsq_change_expunge(struct mdsq_archive *archive, const struct mdsq_view *view, const struct mdsq_set *set,
                        struct mdsq_change **out, struct mdsq_error *err)
{
    (void)archive;
    return make_of_set(EXPUNGE, view, set, NULL, out, err);
}

int mdsq_change_copy(struct mdsq_archive *archive, const struct mdsq_view *view, const struct mdsq_set *set,
                     const char *to, struct mdsq_change **out, struct mdsq_error *err)
{
    (void)archive;
    return make_of_set(COPY, view, set, to, out, err);
}

int mdsq_change_move(struct mdsq_archive *archive, const struct mdsq_view *view, const struct mdsq_set *set,
                     const char *to, struct mdsq_change **out, struct mdsq_error *err)
{
    (void)archive;
    return make_of_set(MOVE, view, set, to, out, err);
}

static int make_append(enum kind kind, const char *folder, const struct mdsq_append *messages, size_t n,
                       struct mdsq_change **out, struct mdsq_error *err)
{
    int rc = make(kind, folder, out, err);
    for (size_t i = 0; i < n; i++) {
        struct mdsq_draft *draft = messages[i].draft;
        if (rc < 0 || i >= 8) {
            mdsq_draft_free(&draft);
            continue;
        }
        (*out)->drafts[(*out)->drafts_n++] = draft;
        buf_printf(&(*out)->line, " [flags=%u", messages[i].flags.flags);
        for (size_t k = 0; k < messages[i].flags.keywords_n; k++)
            buf_printf(&(*out)->line, " %.*s", (int)messages[i].flags.keywords[k].n,
                       (const char *)messages[i].flags.keywords[k].p);
        if (messages[i].has_date)
            buf_printf(&(*out)->line, " date=%lld%+d", (long long)messages[i].internal_date, messages[i].internal_zone);
        buf_printf(&(*out)->line, "]%s", draft->finished ? "" : " unfinished");
    }
    return rc;
}

int mdsq_change_append(struct mdsq_archive *archive, const char *folder, const struct mdsq_append *messages, size_t n,
                       struct mdsq_change **out, struct mdsq_error *err)
{
    (void)archive;
    return make_append(APPEND, folder, messages, n, out, err);
}

int mdsq_change_replace(struct mdsq_archive *archive, const struct mdsq_view *view, uint32_t uid, const char *folder,
                        const struct mdsq_append *message, struct mdsq_change **out, struct mdsq_error *err)
{
    int rc = make_append(REPLACE, folder, message, 1, out, err);
    (void)archive, (void)view;
    if (rc == 0)
        (*out)->uids[(*out)->uids_n++] = uid;
    return rc;
}

int mdsq_change_create(struct mdsq_archive *archive, const char *folder, uint8_t special_use, struct mdsq_change **out,
                       struct mdsq_error *err)
{
    int rc = make(CREATE, folder, out, err);
    (void)archive;
    if (rc == 0 && special_use)
        buf_printf(&(*out)->line, " use=%u", special_use);
    return rc;
}

int mdsq_change_delete(struct mdsq_archive *archive, const char *folder, struct mdsq_change **out,
                       struct mdsq_error *err)
{
    (void)archive;
    return make(DELETE, folder, out, err);
}

int mdsq_change_rename(struct mdsq_archive *archive, const char *from, const char *to, struct mdsq_change **out,
                       struct mdsq_error *err)
{
    int rc = make(RENAME, from, out, err);
    (void)archive;
    if (rc == 0)
        buf_printf(&(*out)->line, " %s", to);
    return rc;
}

int mdsq_change_subscribe(struct mdsq_archive *archive, const char *folder, bool subscribe, struct mdsq_change **out,
                          struct mdsq_error *err)
{
    (void)archive;
    return make(subscribe ? SUBSCRIBE : UNSUBSCRIBE, folder, out, err);
}

/* ---- applying ---------------------------------------------------------------------------------- */

static const char *const system_flags[] = {"\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"};

static bool has_word(const char *list, const char *word)
{
    const size_t n = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at++)
        if ((at == list || strchr(" (", at[-1])) && strchr(" )", at[n]))
            return true;
    return false;
}

/* The message's flags after the change, in a pool of their own. */
static const char *flags_after(const struct mdsq_change *c, const char *old)
{
    static char pool[65536];
    static size_t used;
    char *to = pool + used, *at = to;
    at += sprintf(at, "(");
    for (unsigned i = 0; i < 5; i++) {
        bool named = c->flags & (1u << i), was = has_word(old, system_flags[i]);
        if (c->mode == MDSQ_STORE_REPLACE ? named : c->mode == MDSQ_STORE_ADD ? named || was : was && !named)
            at += sprintf(at, "%s%s", at > to + 1 ? " " : "", system_flags[i]);
    }
    if (c->keywords[0] && c->mode != MDSQ_STORE_REMOVE)
        at += sprintf(at, "%s", at > to + 1 ? c->keywords : c->keywords + 1);
    at += sprintf(at, ")");
    used = used + (size_t)(at - to) + 1 > sizeof pool - 512 ? 0 : used + (size_t)(at - to) + 1;
    return to;
}

static struct mdsq_set *set_of(const uint32_t *uids, uint32_t n)
{
    struct mdsq_set *set = NULL;
    struct buf text = {0};
    for (uint32_t i = 0; i < n; i++)
        buf_printf(&text, "%s%u", i ? "," : "", uids[i]);
    mdsq_set_numbers(text.n ? (const char *)text.p : "", text.n, 0, &set, NULL);
    buf_release(&text);
    return set;
}

static void took(struct mdsq_change *c, uint64_t modseq)
{
    c->first = c->first ? c->first : modseq;
    c->last = modseq;
}

static void apply_store(struct mdsq_change *c)
{
    uint32_t changed[FAKE_MESSAGES], modified[FAKE_MESSAGES], n = 0, m = 0;
    for (uint32_t i = 0; i < c->uids_n; i++) {
        struct fake_message *at = find(c->uids[i]);
        if (at->expunged)
            continue;
        if (c->conditional && at->modseq > c->unchanged_since) {
            modified[m++] = at->uid;
            continue;
        }
        const char *flags = flags_after(c, at->flags);
        changed[n++] = at->uid;
        if (strcmp(flags, at->flags) != 0) {
            fake_flag(at->uid, flags);
            took(c, fake.modseq);
        }
    }
    c->changed = set_of(changed, n);
    c->modified = set_of(modified, m);
}

static void add_message(struct mdsq_change *c, const char *raw, uint32_t *uid_out)
{
    (void)c;
    fake_add(1);
    fake.messages[fake.n - 1].raw = raw;
    *uid_out = fake.messages[fake.n - 1].uid;
}

static void apply_append(struct mdsq_change *c)
{
    static char pool[1 << 20];
    static size_t used;
    uint32_t uids[8];
    for (size_t i = 0; i < c->drafts_n; i++) {
        const struct buf *text = &c->drafts[i]->text;
        char *copy = pool + used;
        ASSERT(used + text->n + 1 < sizeof pool);
        memcpy(copy, text->p, text->n);
        copy[text->n] = 0;
        used += text->n + 1;
        buf_printf(&c->line, " %zu bytes", text->n);
        if (bytes_equal_nocase(bytes_str(c->folder), BYTES_LIT("INBOX")))
            add_message(c, copy, &uids[i]);
        else
            uids[i] = (uint32_t)(1001 + i);
    }
    c->dest = set_of(uids, (uint32_t)c->drafts_n);
}

static void expunge(struct mdsq_change *c, bool deleted_only)
{
    uint32_t gone[FAKE_MESSAGES], n = 0;
    for (uint32_t i = 0; i < c->uids_n; i++) {
        struct fake_message *at = find(c->uids[i]);
        if (at->expunged || (deleted_only && !has_word(at->flags, "\\Deleted")))
            continue;
        fake_expunge(at->uid);
        took(c, fake.modseq);
        gone[n++] = at->uid;
    }
    c->changed = set_of(gone, n);
}

static void apply_copy(struct mdsq_change *c)
{
    uint32_t from[FAKE_MESSAGES], to[FAKE_MESSAGES], n = 0;
    for (uint32_t i = 0; i < c->uids_n; i++) {
        if (find(c->uids[i])->expunged)
            continue;
        from[n] = c->uids[i];
        to[n] = 1001 + n;
        n++;
    }
    c->source = set_of(from, n);
    c->dest = set_of(to, n);
}

static int apply(struct mdsq_change *c)
{
    struct mdsq_status status;
    const bool to = c->kind == COPY || c->kind == MOVE || c->kind == APPEND || c->kind == REPLACE;
    const bool there = mdsq_status(NULL, c->folder, &status, NULL) == 0;
    c->no_destination = to && !there;
    if (c->no_destination)
        return MDSQ_ERR_NOTFOUND;
    switch (c->kind) {
    case STORE: apply_store(c); return 0;
    case EXPUNGE: expunge(c, true); return 0;
    case COPY: apply_copy(c); return 0;
    case MOVE:
        apply_copy(c);
        expunge(c, false);
        return 0;
    case APPEND: apply_append(c); return 0;
    case REPLACE:
        if (find(c->uids[0])->expunged)
            return MDSQ_ERR_NOTFOUND;
        expunge(c, false);
        apply_append(c);
        return 0;
    case CREATE: return there ? MDSQ_ERR_EXISTS : 0;
    case DELETE:
        if (there)
            fake.advance_result = fake.delete_selected ? MDSQ_ERR_NOTFOUND : 0;
        fake.tick++;
        return there ? 0 : MDSQ_ERR_NOTFOUND;
    case RENAME: return there ? 0 : MDSQ_ERR_NOTFOUND;
    default: return 0;
    }
}

static void put_log(const struct mdsq_change *c)
{
    static const char *const names[] = {"STORE",  "EXPUNGE", "COPY",   "MOVE",      "APPEND",     "REPLACE",
                                        "CREATE", "DELETE",  "RENAME", "SUBSCRIBE", "UNSUBSCRIBE"};
    char *to = fake.log + strlen(fake.log);
    to += sprintf(to, "%s", names[c->kind]);
    if (c->folder[0])
        to += sprintf(to, " %s", c->folder);
    for (uint32_t i = 0; i < c->uids_n && i < 20; i++)
        to += sprintf(to, "%s%u", i ? "," : " ", c->uids[i]);
    if (c->kind == STORE)
        to += sprintf(to, " %s%u%s",
                      c->mode == MDSQ_STORE_ADD      ? "+"
                      : c->mode == MDSQ_STORE_REMOVE ? "-"
                                                     : "=",
                      c->flags, c->keywords);
    if (c->conditional)
        to += sprintf(to, " unless>%llu", (unsigned long long)c->unchanged_since);
    sprintf(to, "%.*s\n", (int)c->line.n, c->line.n ? (const char *)c->line.p : "");
}

static void commit(struct mdsq_change *c)
{
    if (fake.in_commit)
        fake.in_commit();
    c->code = fake.change_result ? fake.change_result : apply(c);
    c->done = true;
    if (c->code < 0)
        return;
    fake.commits++;
    if (strlen(fake.log) + c->line.n + 1000 < sizeof fake.log)
        put_log(c);
}

int mdsq_change_submit(struct mdsq_change *change, mdsq_done_fn *done, void *arg)
{
    ASSERT(!change->done && !change->done_fn);
    change->done_fn = done;
    change->done_arg = arg;
    held = change;
    if (!fake.hold)
        fake_done();
    return 0;
}

void fake_done(void)
{
    struct mdsq_change *c = held;
    ASSERT(c);
    held = NULL;
    commit(c);
    c->done_fn(c->done_arg);
}

int mdsq_change_wait(struct mdsq_change *change, struct mdsq_error *err)
{
    commit(change);
    return change->code < 0 ? fail(err, change->code) : 0;
}

int mdsq_change_outcome(const struct mdsq_change *change, struct mdsq_outcome *out, struct mdsq_error *err)
{
    ASSERT(change->done);
    *out = (struct mdsq_outcome){.uidvalidity = 77,
                                 .changed = change->changed,
                                 .modified = change->modified,
                                 .source = change->source,
                                 .dest = change->dest,
                                 .modseq_first = change->first,
                                 .modseq_last = change->last,
                                 .no_destination = change->no_destination};
    if (change->kind == CREATE)
        strcpy(out->mailbox_id, "Fnew");
    return change->code < 0 ? fail(err, change->code) : 0;
}

void mdsq_change_free(struct mdsq_change **change)
{
    struct mdsq_change *c = *change;
    if (!c)
        return;
    if (c == held)
        fake_done(); /* waits for it */
    *change = NULL;
    mdsq_set_free(&c->changed);
    mdsq_set_free(&c->modified);
    mdsq_set_free(&c->source);
    mdsq_set_free(&c->dest);
    for (size_t i = 0; i < c->drafts_n; i++)
        mdsq_draft_free(&c->drafts[i]);
    buf_release(&c->line);
    free(c);
    fake.objects--;
}

/* ---- watches ------------------------------------------------------------------------------------- */

int mdsq_watch_new(struct mdsq_archive *archive, mdsq_watch_fn *fn, void *arg, struct mdsq_watch **out,
                   struct mdsq_error *err)
{
    (void)archive;
    *out = NULL;
    if (fake.watch_result)
        return fail(err, fake.watch_result);
    ASSERT(!watch);
    watch = calloc(1, sizeof *watch);
    *watch = (struct mdsq_watch){fn, arg};
    fake.objects++;
    *out = watch;
    return 0;
}

void mdsq_watch_free(struct mdsq_watch **w)
{
    if (!*w)
        return;
    free(*w);
    *w = watch = NULL;
    fake.objects--;
}

void fake_stir(void)
{
    if (watch)
        watch->fn(watch->arg);
}
