/* fake_folder: folders and views of fake_query. */
#include "fake_private.h"

#include <stdio.h>
#include <stdlib.h>

static const struct mdsq_folder folders[] = {
    {"INBOX", MDSQ_FOLDER_SUBSCRIBED, 0},
    {"A&B", 0, 0},
    {"Gr\xc3\xbc\xc3\x9f"
     "e",
     MDSQ_FOLDER_HAS_CHILDREN, 0},
    {"Gr\xc3\xbc\xc3\x9f"
     "e/x \"q\"",
     MDSQ_FOLDER_SUBSCRIBED, 6},
    {"nil", MDSQ_FOLDER_NOSELECT, 0},
};

struct mdsq_lister {
    char wholes[8][512];
    size_t n, at;
    unsigned select;
};

int mdsq_lister_new(const struct mdsq_list_options *options, struct mdsq_lister **out, struct mdsq_error *err)
{
    (void)err;
    struct mdsq_lister *l = calloc(1, sizeof *l);
    for (size_t i = 0; i < options->patterns_n && i < 8; i++)
        snprintf(l->wholes[l->n++], sizeof l->wholes[0], "%s%s", options->reference, options->patterns[i]);
    l->select = options->select;
    fake.objects++;
    *out = l;
    return 0;
}

int mdsq_lister_next(struct mdsq_lister *l, struct mdsq_reader *reader, struct mdsq_folder *out, struct mdsq_error *err)
{
    (void)err;
    reader->unused++; /* ASan sees a reader that has ended */
    while (l->at < sizeof folders / sizeof folders[0]) {
        const struct mdsq_folder *f = &folders[l->at++];
        bool match = false;
        for (size_t i = 0; i < l->n; i++)
            match |= strcmp(l->wholes[i], "*") == 0 || strcmp(l->wholes[i], f->name) == 0;
        if (!match || (l->select & (MDSQ_LIST_SUBSCRIBED | MDSQ_LIST_LSUB) && !(f->attrs & MDSQ_FOLDER_SUBSCRIBED)) ||
            (l->select & MDSQ_LIST_SPECIAL_USE && !f->special_use))
            continue;
        *out = *f;
        return 1;
    }
    return 0;
}

void mdsq_lister_status(const struct mdsq_lister *lister, struct mdsq_status *out)
{
    *out = (struct mdsq_status){.uidvalidity = 77};
    snprintf(out->mailbox_id, sizeof out->mailbox_id, "F%zu", lister->at);
}

void mdsq_lister_free(struct mdsq_lister **lister)
{
    FREE(lister)
}

static uint32_t alive(void)
{
    uint32_t n = 0;
    for (unsigned i = 0; i < fake.n; i++)
        n += !fake.messages[i].expunged;
    return n;
}

static bool exists(const char *folder)
{
    return bytes_equal_nocase(bytes_str(folder), BYTES_LIT("INBOX")) || strcmp(folder, folders[2].name) == 0;
}

int mdsq_status(struct mdsq_reader *reader, const char *folder, struct mdsq_status *out, struct mdsq_error *err)
{
    (void)reader;
    if (!exists(folder))
        return fake_fail(err, MDSQ_ERR_NOTFOUND);
    *out = (struct mdsq_status){.messages = alive(),
                                .unseen = 1,
                                .uidnext = fake.n * 10 + 1,
                                .uidvalidity = 77,
                                .size = 5000000000,
                                .deleted = 1,
                                .highestmodseq = 5,
                                .mailbox_id = "Fbox"};
    return 0;
}

int mdsq_view_open(struct mdsq_reader *reader, const char *folder, struct mdsq_view **out, struct mdsq_error *err)
{
    (void)reader;
    *out = NULL;
    if (!exists(folder))
        return fake_fail(err, MDSQ_ERR_NOTFOUND);
    struct mdsq_view *v = calloc(1, sizeof *v);
    v->uids = calloc(FAKE_MESSAGES, sizeof *v->uids);
    for (unsigned i = 0; i < fake.n; i++)
        if (!fake.messages[i].expunged)
            v->uids[v->n++] = fake.messages[i].uid;
    v->modseq = fake.modseq;
    fake.objects++;
    *out = v;
    return 0;
}

int mdsq_view_recent(struct mdsq_reader *reader, const struct mdsq_view *view, bool take, uint32_t *first_out,
                     uint32_t *last_out, struct mdsq_error *err)
{
    (void)reader;
    (void)err;
    *first_out = *last_out = 0;
    if (fake.recent_from && view->n && view->uids[view->n - 1] >= fake.recent_from) {
        *first_out = fake.recent_from;
        *last_out = view->uids[view->n - 1];
        if (take)
            fake.recent_from = *last_out + 1;
    }
    return 0;
}

void mdsq_view_close(struct mdsq_view **view)
{
    if (*view)
        free((*view)->uids);
    FREE(view)
}

uint32_t mdsq_view_count(const struct mdsq_view *view)
{
    return view->n;
}

int mdsq_view_get_info(struct mdsq_reader *reader, struct mdsq_view *view, struct mdsq_view_info *out,
                       struct mdsq_error *err)
{
    (void)reader, (void)err;
    *out = (struct mdsq_view_info){.uidvalidity = 77,
                                   .uidnext = fake.n * 10 + 1,
                                   .first_unseen = view->n >= 2 ? 2 : 0,
                                   .highestmodseq = 5,
                                   .mailbox_id = "Fbox"};
    return 0;
}

uint64_t mdsq_view_modseq(const struct mdsq_view *view)
{
    return view->modseq;
}

bool mdsq_view_has_untold(const struct mdsq_view *view)
{
    return view->untold;
}

uint32_t mdsq_view_uid(const struct mdsq_view *view, uint32_t seq)
{
    return seq >= 1 && seq <= view->n ? view->uids[seq - 1] : 0;
}

uint32_t mdsq_view_seq(const struct mdsq_view *view, uint32_t uid)
{
    for (uint32_t i = 0; i < view->n; i++)
        if (view->uids[i] == uid)
            return i + 1;
    return 0;
}

int mdsq_view_advance(struct mdsq_reader *reader, struct mdsq_view *view, bool allow_expunge,
                      const struct mdsq_news *news, struct mdsq_error *err)
{
    int any = 0;
    (void)reader;
    if (fake.advance_result)
        return fake_fail(err, fake.advance_result);
    for (uint32_t i = view->n; i > 0 && allow_expunge; i--) {
        if (!fake_find(view->uids[i - 1])->expunged)
            continue;
        news->expunged(i, view->uids[i - 1], news->arg);
        memmove(view->uids + i - 1, view->uids + i, (view->n - i) * sizeof *view->uids);
        view->n--;
        any = 1;
    }
    uint32_t last = view->n ? view->uids[view->n - 1] : 0;
    for (unsigned i = 0; i < fake.n; i++) {
        struct fake_message *m = &fake.messages[i];
        if (m->uid > last && !m->expunged) {
            view->uids[view->n++] = m->uid;
            any = 1;
        } else if (m->changed && mdsq_view_seq(view, m->uid)) {
            news->changed(mdsq_view_seq(view, m->uid), m->uid, news->arg);
            any = 1;
        }
        m->changed = false;
    }
    view->modseq = fake.modseq;
    view->untold = false;
    for (uint32_t i = 0; i < view->n && !allow_expunge; i++)
        view->untold |= fake_find(view->uids[i])->expunged;
    return any;
}
