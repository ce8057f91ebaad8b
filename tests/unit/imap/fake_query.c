/* fake_query: see fake_query.h. */
#include "fake_query.h"

#include "fake_clock.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>

struct fake fake;

struct mdsq_store {
    int unused;
};
struct mdsq_archive {
    int unused;
};
struct mdsq_reader {
    int unused;
};
struct mdsq_view {
    uint32_t *uids;
    uint32_t n;
    uint64_t modseq;
    bool untold;
    char name[128];
};
struct mdsq_set {
    uint32_t *uids;
    uint32_t n;
};
struct mdsq_fetch {
    const struct mdsq_view *view;
    const struct mdsq_set *set;
    struct mdsq_reader *reader;
    uint32_t at;
};
struct mdsq_body {
    const struct fake_message *m;
    size_t begin, end;
};
struct mdsq_search {
    const struct mdsq_view *view;
    unsigned slices, done;
};

static const char raw_one[] = "From: A <a@example.org>\r\nSubject: one\r\n\r\nHello\r\n";
static const char raw_two[] = "Subject: two\r\nX-Y: z\r\n\r\nSecond text, a little longer\r\n";

void fake_add(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct fake_message *m = &fake.messages[fake.n++];
        *m = (struct fake_message){.uid = fake.n * 10, .modseq = ++fake.modseq, .flags = "(\\Seen)", .raw = fake.n % 2 ? raw_one : raw_two};
    }
    fake.tick++;
}

void fake_reset(void)
{
    fake = (struct fake){.modseq = 2};
    fake_add(3);
    fake.messages[1].flags = "()";
}

static struct fake_message *find(uint32_t uid)
{
    return uid % 10 == 0 && uid / 10 >= 1 && uid / 10 <= fake.n ? &fake.messages[uid / 10 - 1] : NULL;
}

void fake_expunge(uint32_t uid)
{
    find(uid)->expunged = true;
    fake.modseq++;
    fake.tick++;
}

void fake_flag(uint32_t uid, const char *flags)
{
    find(uid)->flags = flags;
    find(uid)->changed = true;
    find(uid)->modseq = ++fake.modseq;
    fake.tick++;
}

static int fail(struct mdsq_error *err, int code)
{
    if (err) {
        err->code = code;
        snprintf(err->text, sizeof err->text, "/a/secret/path: code %d", code);
    }
    return code;
}

int mdsq_login(struct mdsq_store *store, const char *user, const char *password, char archive_out[256],
               struct mdsq_error *err)
{
    (void)store;
    if (fake.login_result)
        return fail(err, fake.login_result);
    if (strcmp(user, "me") != 0 || strcmp(password, "secret\"\\") != 0)
        return fail(err, MDSQ_ERR_AUTH);
    strcpy(archive_out, "mail");
    return 0;
}

struct mdsq_attempt {
    char user[300];
    bool decided;
};

int mdsq_attempt_new(struct mdsq_store *store, const char *user, const char *address, struct mdsq_attempt **out,
                     struct mdsq_error *err)
{
    (void)store, (void)address, (void)err;
    *out = calloc(1, sizeof **out);
    snprintf((*out)->user, sizeof (*out)->user, "%s", user);
    fake.objects++;
    return 0;
}

static int hold_back(struct mdsq_error *err)
{
    if (fake.login_waits == 0)
        return 0;
    fake.login_waits--;
    return fail(err, MDSQ_ERR_AGAIN);
}

static bool is_me(const struct mdsq_attempt *attempt)
{
    return strcmp(attempt->user, "me") == 0 || strcmp(attempt->user, "me\\mail") == 0;
}

int mdsq_attempt_password(struct mdsq_attempt *attempt, const char *password, struct mdsq_error *err)
{
    if (hold_back(err) < 0)
        return MDSQ_ERR_AGAIN;
    if (fake.login_result)
        return fail(err, fake.login_result);
    return is_me(attempt) && strcmp(password, "secret\"\\") == 0 ? 0 : fail(err, MDSQ_ERR_AUTH);
}

int mdsq_attempt_admit(struct mdsq_attempt *attempt, struct mdsq_error *err)
{
    (void)attempt;
    return hold_back(err);
}

void mdsq_attempt_scram(struct mdsq_attempt *attempt, struct mdsq_scram *out)
{
    *out = fake.scram;
    if (!is_me(attempt))
        memset(out->stored_key, 1, sizeof out->stored_key);
}

int mdsq_attempt_accept(struct mdsq_attempt *attempt, bool right, struct mdsq_error *err)
{
    const bool ok = right && is_me(attempt) && !attempt->decided;
    attempt->decided = true;
    return ok ? 0 : fail(err, MDSQ_ERR_AUTH);
}

uint32_t mdsq_attempt_wait_ms(const struct mdsq_attempt *attempt)
{
    (void)attempt;
    return 700;
}

const char *mdsq_attempt_account(const struct mdsq_attempt *attempt)
{
    return is_me(attempt) ? "me" : attempt->user;
}

const char *mdsq_attempt_archive(const struct mdsq_attempt *attempt)
{
    return is_me(attempt) ? "mail" : "";
}

bool mdsq_attempt_remembered(const struct mdsq_attempt *attempt)
{
    (void)attempt;
    return false;
}

void mdsq_attempt_free(struct mdsq_attempt **attempt)
{
    if (!*attempt)
        return;
    free(*attempt);
    *attempt = NULL;
    fake.objects--;
}

int mdsq_archive_open(struct mdsq_store *store, const char *name, struct mdsq_archive **out, struct mdsq_error *err)
{
    (void)store;
    *out = NULL;
    if (fake.open_result || strcmp(name, "mail") != 0)
        return fail(err, fake.open_result ? fake.open_result : MDSQ_ERR_NOTFOUND);
    *out = calloc(1, sizeof **out);
    fake.objects++;
    return 0;
}

#define FREE(type)                                                                                                     \
    if (*type) {                                                                                                       \
        free(*type);                                                                                                   \
        *type = NULL;                                                                                                  \
        fake.objects--;                                                                                                \
    }

void mdsq_archive_close(struct mdsq_archive **archive){FREE(archive)}

uint64_t mdsq_archive_tick(struct mdsq_archive *archive)
{
    (void)archive;
    return fake.tick;
}

uint64_t mdsq_reader_tick(const struct mdsq_reader *reader)
{
    (void)reader;
    return fake.tick;
}

bool mdsq_archive_writable(const struct mdsq_archive *archive)
{
    (void)archive;
    return fake.writable;
}

bool mdsq_archive_is_there(struct mdsq_archive *archive)
{
    (void)archive;
    return !fake.archive_is_gone;
}

int mdsq_reader_begin(struct mdsq_archive *archive, struct mdsq_reader **out, struct mdsq_error *err)
{
    (void)archive, (void)err;
    *out = calloc(1, sizeof **out);
    fake.readers++;
    if (fake.readers > fake.readers_max)
        fake.readers_max = fake.readers;
    return 0;
}

int mdsq_reader_renew(struct mdsq_reader *reader, struct mdsq_error *err)
{
    (void)reader, (void)err;
    return 0;
}

void mdsq_reader_end(struct mdsq_reader **reader)
{
    if (*reader) {
        free(*reader);
        *reader = NULL;
        fake.readers--;
    }
}

/* ---- folders --------------------------------------------------------------------------- */

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
        return fail(err, MDSQ_ERR_NOTFOUND);
    *out = (struct mdsq_status){.messages = alive(), .unseen = 1, .uidnext = fake.n * 10 + 1, .uidvalidity = 77,
                                .size = 5000000000, .deleted = 1, .highestmodseq = 5, .mailbox_id = "Fbox"};
    return 0;
}

int mdsq_view_open(struct mdsq_reader *reader, const char *folder, struct mdsq_view **out, struct mdsq_error *err)
{
    (void)reader;
    *out = NULL;
    if (!exists(folder))
        return fail(err, MDSQ_ERR_NOTFOUND);
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
        return fail(err, fake.advance_result);
    for (uint32_t i = view->n; i > 0 && allow_expunge; i--) {
        if (!find(view->uids[i - 1])->expunged)
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
        view->untold |= find(view->uids[i])->expunged;
    return any;
}

/* ---- sets ---------------------------------------------------------------------------------- */

static uint32_t number(const char **p, const char *end, uint32_t star)
{
    uint32_t v = 0;
    if (*p < end && **p == '*') {
        (*p)++;
        return star;
    }
    while (*p < end && **p >= '0' && **p <= '9')
        v = v * 10 + (uint32_t)(*(*p)++ - '0');
    return v;
}

int mdsq_set_parse(const struct mdsq_view *view, const char *text, size_t n, bool is_uid, struct mdsq_set **out,
                   struct mdsq_error *err)
{
    bool *in = calloc(view->n + 1, sizeof *in);
    const char *p = text, *end = text + n;
    uint32_t star = is_uid ? (view->n ? view->uids[view->n - 1] : 0) : view->n;
    *out = NULL;
    while (p < end) {
        uint32_t a = number(&p, end, star), b = a;
        if (p < end && *p == ':') {
            p++;
            b = number(&p, end, star);
        }
        if (!is_uid && (a > view->n || b > view->n || a == 0 || b == 0)) {
            free(in);
            return fail(err, MDSQ_ERR_USAGE);
        }
        for (uint32_t i = 0; i < view->n; i++) {
            uint32_t v = is_uid ? view->uids[i] : i + 1;
            in[i] |= v >= (a < b ? a : b) && v <= (a < b ? b : a);
        }
        if (p < end)
            p++;
    }
    struct mdsq_set *s = calloc(1, sizeof *s);
    s->uids = calloc(view->n + 1, sizeof *s->uids);
    for (uint32_t i = 0; i < view->n; i++)
        if (in[i])
            s->uids[s->n++] = view->uids[i];
    free(in);
    fake.objects++;
    *out = s;
    return 0;
}

void mdsq_set_free(struct mdsq_set **set)
{
    if (*set)
        free((*set)->uids);
    FREE(set)
}

bool mdsq_set_next_range(const struct mdsq_set *set, const struct mdsq_view *as_seq_of, uint64_t *pos,
                         uint32_t *first_out, uint32_t *last_out)
{
    if (*pos >= set->n)
        return false;
    uint32_t uid = set->uids[*pos];
    *first_out = *last_out = as_seq_of ? mdsq_view_seq(as_seq_of, uid) : uid;
    for ((*pos)++; as_seq_of && *pos < set->n && mdsq_view_seq(as_seq_of, set->uids[*pos]) == *last_out + 1; (*pos)++)
        ++*last_out;
    return true;
}

uint64_t mdsq_set_count(const struct mdsq_set *set)
{
    return set->n;
}

bool mdsq_set_has(const struct mdsq_set *set, uint32_t uid)
{
    for (uint32_t i = 0; i < set->n; i++)
        if (set->uids[i] == uid)
            return true;
    return false;
}

uint32_t mdsq_set_last(const struct mdsq_set *set)
{
    return set->n ? set->uids[set->n - 1] : 0;
}

static struct mdsq_set *set_new(uint32_t room)
{
    struct mdsq_set *s = calloc(1, sizeof *s);
    s->uids = calloc(room + 1, sizeof *s->uids);
    fake.objects++;
    return s;
}

int mdsq_set_in_view(const struct mdsq_set *set, const struct mdsq_view *view, struct mdsq_set **out,
                     struct mdsq_error *err)
{
    (void)err;
    *out = set_new(set->n);
    for (uint32_t i = 0; i < set->n; i++)
        if (mdsq_view_seq(view, set->uids[i]))
            (*out)->uids[(*out)->n++] = set->uids[i];
    return 0;
}

int mdsq_set_and(const struct mdsq_set *a, const struct mdsq_set *b, struct mdsq_set **out, struct mdsq_error *err)
{
    (void)err;
    *out = set_new(a->n);
    for (uint32_t i = 0; i < a->n; i++)
        if (mdsq_set_has(b, a->uids[i]))
            (*out)->uids[(*out)->n++] = a->uids[i];
    return 0;
}

int mdsq_set_minus(const struct mdsq_set *a, const struct mdsq_set *b, struct mdsq_set **out, struct mdsq_error *err)
{
    (void)err;
    *out = set_new(a->n);
    for (uint32_t i = 0; i < a->n; i++)
        if (!mdsq_set_has(b, a->uids[i]))
            (*out)->uids[(*out)->n++] = a->uids[i];
    return 0;
}

int mdsq_set_or(const struct mdsq_set *a, const struct mdsq_set *b, struct mdsq_set **out, struct mdsq_error *err)
{
    (void)err;
    *out = set_new(a->n + b->n);
    for (uint32_t i = 0, k = 0; i < a->n || k < b->n;) {
        const uint32_t x = i < a->n ? a->uids[i] : UINT32_MAX, y = k < b->n ? b->uids[k] : UINT32_MAX;
        (*out)->uids[(*out)->n++] = x < y ? x : y;
        i += x <= y;
        k += y <= x;
    }
    return 0;
}

int mdsq_set_part(const struct mdsq_set *set, uint32_t first, uint32_t last, bool from_end, struct mdsq_set **out,
                  struct mdsq_error *err)
{
    (void)err;
    *out = set_new(set->n);
    for (uint32_t i = 0; i < set->n; i++) {
        const uint32_t place = from_end ? set->n - i : i + 1;
        if ((place >= first && place <= last) || (place >= last && place <= first))
            (*out)->uids[(*out)->n++] = set->uids[i];
    }
    return 0;
}

int mdsq_set_of(const uint32_t *uids, size_t n, struct mdsq_set **out, struct mdsq_error *err)
{
    struct mdsq_set *one = NULL, *sum = NULL;
    *out = set_new(0);
    for (size_t i = 0; i < n; i++) {
        one = set_new(1);
        one->uids[one->n++] = uids[i];
        mdsq_set_or(*out, one, &sum, err);
        mdsq_set_free(&one);
        mdsq_set_free(out);
        *out = sum;
    }
    return 0;
}

/* Numbers up to the star, or the largest UID that there can be. */
int mdsq_set_numbers(const char *text, size_t n, uint32_t star, struct mdsq_set **out, struct mdsq_error *err)
{
    const uint32_t max = star ? star : FAKE_MESSAGES * 10;
    const char *p = text, *end = text + n;
    bool *in = calloc(max + 1, sizeof *in);
    (void)err;
    while (p < end) {
        uint32_t a = number(&p, end, star), b = a;
        if (p < end && *p == ':') {
            p++;
            b = number(&p, end, star);
        }
        for (uint32_t v = a < b ? a : b; v <= (a < b ? b : a) && v <= max; v++)
            in[v] = true;
        if (p < end)
            p++;
    }
    *out = set_new(max);
    for (uint32_t v = 1; v <= max; v++)
        if (in[v])
            (*out)->uids[(*out)->n++] = v;
    free(in);
    return 0;
}

int mdsq_keywords(struct mdsq_reader *reader, mdsq_keyword_fn *fn, void *arg, uint32_t *n_out, struct mdsq_error *err)
{
    (void)reader, (void)err;
    *n_out = 1 + fake.keywords_n;
    if (fn && fn("$Forwarded", arg))
        return 0;
    for (unsigned i = 0; fn && i < fake.keywords_n; i++)
        if (fn(fake.keywords[i], arg))
            break;
    return 0;
}

int mdsq_view_changes(struct mdsq_reader *reader, const struct mdsq_view *view, uint64_t modseq,
                      struct mdsq_set **changed_out, struct mdsq_set **expunged_out, bool *complete_out,
                      struct mdsq_error *err)
{
    (void)reader, (void)modseq, (void)err;
    *changed_out = set_new(view->n);
    *expunged_out = set_new(fake.n);
    *complete_out = true;
    for (unsigned i = 0; i < fake.n; i++) {
        struct mdsq_set *to = fake.messages[i].expunged ? *expunged_out : *changed_out;
        if (to == *expunged_out || mdsq_view_seq(view, fake.messages[i].uid))
            to->uids[to->n++] = fake.messages[i].uid;
    }
    return 0;
}

int mdsq_view_highest(struct mdsq_reader *reader, const struct mdsq_view *view, const struct mdsq_set *set,
                      uint64_t *modseq_out, struct mdsq_error *err)
{
    reader->unused++; /* ASan sees a reader that has ended */
    *modseq_out = 0;
    for (uint32_t i = 0; i < (set ? set->n : view->n); i++) {
        const struct fake_message *m = find(set ? set->uids[i] : view->uids[i]);
        if (!m->expunged && m->modseq > *modseq_out)
            *modseq_out = m->modseq;
    }
    return fake.highest_result ? fail(err, fake.highest_result) : 0;
}

/* ---- fetch ------------------------------------------------------------------------------------ */

int mdsq_fetch_new(struct mdsq_reader *reader, const struct mdsq_view *view, const struct mdsq_set *set, unsigned attrs,
                   struct mdsq_fetch **out, struct mdsq_error *err)
{
    (void)attrs, (void)err;
    struct mdsq_fetch *f = calloc(1, sizeof *f);
    *f = (struct mdsq_fetch){view, set, reader, 0};
    fake.objects++;
    *out = f;
    return 0;
}

void mdsq_fetch_rebind(struct mdsq_fetch *fetch, struct mdsq_reader *reader)
{
    fetch->reader = reader;
}

void mdsq_fetch_free(struct mdsq_fetch **fetch)
{
    FREE(fetch)
}

static struct mdsq_bytes text(const char *s)
{
    return (struct mdsq_bytes){(const uint8_t *)s, strlen(s)};
}

int mdsq_fetch_next(struct mdsq_fetch *f, struct mdsq_message *out, struct mdsq_error *err)
{
    f->reader->unused++; /* ASan sees a reader that has ended */
    if (f->at >= f->set->n)
        return 0;
    const struct fake_message *m = find(f->set->uids[f->at++]);
    *out = (struct mdsq_message){
        .uid = m->uid, .seq = mdsq_view_seq(f->view, m->uid), .gone = m->expunged, .modseq = m->modseq};
    if (m->corrupt)
        return fail(err, MDSQ_ERR_CORRUPT);
    out->flags = text(m->flags);
    strcpy(out->internal_date, "17-Jul-1996 02:44:25 -0700");
    out->size = strlen(m->raw);
    out->envelope = text("(NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL)");
    out->bodystructure = text("(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 7 1 NIL NIL NIL NIL)");
    out->body = text("(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 7 1)");
    return 1;
}

int mdsq_body_open(struct mdsq_reader *reader, const struct mdsq_view *view, uint32_t uid,
                   const struct mdsq_section *section, struct mdsq_body **out, struct mdsq_error *err)
{
    const struct fake_message *m = find(uid);
    const size_t head = (size_t)(strstr(m->raw, "\r\n\r\n") - m->raw) + 4;
    (void)view;
    reader->unused++;
    *out = NULL;
    if (m->vault_gone || m->expunged)
        return fail(err, MDSQ_ERR_GONE);
    if (section->path_n > 1 || (section->path_n == 1 && section->path[0] != 1))
        return fail(err, MDSQ_ERR_NOTFOUND);
    struct mdsq_body *b = calloc(1, sizeof *b);
    *b = (struct mdsq_body){m, 0, strlen(m->raw)};
    if (section->path_n == 1 || section->kind == MDSQ_SECTION_TEXT)
        b->begin = head;
    else if (section->kind != MDSQ_SECTION_ALL)
        b->end = head;
    fake.objects++;
    *out = b;
    return 0;
}

uint64_t mdsq_body_size(const struct mdsq_body *body)
{
    return body->end - body->begin;
}

int mdsq_body_read(struct mdsq_body *body, uint64_t off, void *dst, size_t n, size_t *got_out, struct mdsq_error *err)
{
    size_t size = body->end - body->begin;
    size_t take = off < size ? (n < size - off ? n : size - (size_t)off) : 0;
    if (body->m->break_at && off + take > body->m->break_at)
        return fail(err, MDSQ_ERR_GONE);
    memcpy(dst, body->m->raw + body->begin + off, take);
    *got_out = take;
    return 0;
}

void mdsq_body_close(struct mdsq_body **body)
{
    FREE(body)
}

/* ---- search: what it was asked is kept as text; it finds what is in the first set of the tree, or all --------------
 */

static void describe(const struct mdsq_key *k, char **to)
{
    static const char *const names[] = {"ALL",     "AND",     "OR",     "NOT",    "FLAG",       "KEYWORD", "SEQ",
                                        "UID",     "BEFORE",  "ON",     "SINCE",  "SENTBEFORE", "SENTON",  "SENTSINCE",
                                        "LARGER",  "SMALLER", "HEADER", "FROM",   "TO",         "CC",      "BCC",
                                        "SUBJECT", "BODY",    "TEXT",   "MODSEQ", "NONE",       "SET",     "OLDER",
                                        "YOUNGER", "SAVEDBEFORE", "SAVEDON", "SAVEDSINCE", "EMAILID", "THREADID"};
    *to += sprintf(*to, "%s", names[k->kind]);
    if (k->number)
        *to += sprintf(*to, "=%llu", (unsigned long long)k->number);
    if (k->field.p)
        *to += sprintf(*to, "<%.*s>", (int)k->field.n, (const char *)k->field.p);
    if (k->text.p)
        *to += sprintf(*to, "'%.*s'", (int)k->text.n, (const char *)k->text.p);
    if (k->children_n == 0)
        return;
    for (size_t i = 0; i < k->children_n; i++) {
        *to += sprintf(*to, i ? " " : "(");
        describe(&k->children[i], to);
    }
    *to += sprintf(*to, ")");
}

static bool all_sets_valid(const struct mdsq_view *view, const struct mdsq_key *k)
{
    struct mdsq_set *set = NULL;
    if (k->kind == MDSQ_KEY_SEQ_SET) {
        int rc = mdsq_set_parse(view, (const char *)k->text.p, k->text.n, false, &set, NULL);
        mdsq_set_free(&set);
        return rc == 0;
    }
    for (size_t i = 0; i < k->children_n; i++)
        if (!all_sets_valid(view, &k->children[i]))
            return false;
    return true;
}

int mdsq_search_new(const struct mdsq_view *view, const struct mdsq_key *key, struct mdsq_search **out,
                    struct mdsq_error *err)
{
    char *to = fake.last_key.text;
    describe(key, &to);
    *out = NULL;
    if (!all_sets_valid(view, key))
        return fail(err, MDSQ_ERR_USAGE);
    struct mdsq_search *s = calloc(1, sizeof *s);
    *s = (struct mdsq_search){view, fake.search_slices, 0};
    fake.objects++;
    *out = s;
    return 0;
}

int mdsq_search_run(struct mdsq_search *search, struct mdsq_reader *reader, unsigned budget_ms, struct mdsq_error *err)
{
    (void)budget_ms;
    reader->unused++;
    if (fake.search_result)
        return fail(err, fake.search_result);
    fake_clock_ahead_ms += fake.search_ms;
    search->done++;
    return search->slices > 0 && search->slices--;
}

void mdsq_search_progress(const struct mdsq_search *search, uint64_t *done_out, uint64_t *total_out)
{
    *done_out = search->done;
    *total_out = (uint64_t)search->done + search->slices;
}

void mdsq_search_explain(const struct mdsq_search *search, mdsq_line_fn *line, void *arg)
{
    (void)search;
    line("explained", arg);
}

int mdsq_search_take(struct mdsq_search *search, struct mdsq_set **out, uint64_t *unreadable_out,
                     struct mdsq_error *err)
{
    bool none = strcmp(fake.last_key.text, "NONE") == 0;
    if (unreadable_out)
        *unreadable_out = 0;
    return mdsq_set_parse(search->view, none ? "99999" : "1:*", none ? 5 : 3, true, out, err);
}

void mdsq_search_free(struct mdsq_search **search)
{
    FREE(search)
}

/* Highest UID first, whatever is asked for. */
struct mdsq_sort {
    struct mdsq_set *set;
    uint32_t next;
    unsigned slices;
};

int mdsq_sort_new(const struct mdsq_view *view, const struct mdsq_set *set, const struct mdsq_sort_criterion *by, size_t by_n,
                  struct mdsq_sort **out, struct mdsq_error *err)
{
    (void)by;
    (void)by_n;
    *out = calloc(1, sizeof **out);
    (*out)->slices = fake.order_slices;
    fake.objects++;
    return mdsq_set_in_view(set, view, &(*out)->set, err);
}

void mdsq_sort_by_relevance(struct mdsq_sort *sort, const struct mdsq_fuzzy *fuzzy)
{
    (void)sort, (void)fuzzy;
}

/* A message's score is its UID. */
struct mdsq_fuzzy {
    const struct mdsq_key *key;
    unsigned slices;
};

int mdsq_fuzzy_new(const struct mdsq_key *key, struct mdsq_fuzzy **out, struct mdsq_error *err)
{
    (void)err;
    *out = calloc(1, sizeof **out);
    fake.objects++;
    (*out)->key = key->kind == MDSQ_KEY_FUZZY ? key->children : key;
    (*out)->slices = 2 + fake.order_slices;
    return 0;
}

const struct mdsq_key *mdsq_fuzzy_key(const struct mdsq_fuzzy *fuzzy)
{
    return fuzzy->key;
}

int mdsq_fuzzy_rank(struct mdsq_fuzzy *fuzzy, const struct mdsq_view *view, const struct mdsq_set *result,
                    struct mdsq_reader *reader, unsigned budget_ms, struct mdsq_error *err)
{
    (void)view, (void)result, (void)reader, (void)budget_ms, (void)err;
    fake_clock_ahead_ms += fake.search_ms;
    return fuzzy->slices > 0 && fuzzy->slices--;
}

unsigned mdsq_fuzzy_score(const struct mdsq_fuzzy *fuzzy, uint32_t uid)
{
    (void)fuzzy;
    return uid;
}

void mdsq_fuzzy_free(struct mdsq_fuzzy **fuzzy)
{
    FREE(fuzzy)
}

int mdsq_sort_run(struct mdsq_sort *sort, struct mdsq_reader *reader, unsigned budget_ms, struct mdsq_error *err)
{
    (void)reader;
    (void)budget_ms;
    (void)err;
    fake_clock_ahead_ms += fake.search_ms;
    sort->next = mdsq_set_last(sort->set);
    return sort->slices > 0 && sort->slices--;
}

bool mdsq_sort_next(struct mdsq_sort *sort, uint32_t *uid_out)
{
    while (sort->next && !mdsq_set_has(sort->set, sort->next))
        sort->next--;
    *uid_out = sort->next;
    return sort->next && sort->next--;
}

void mdsq_sort_seek(struct mdsq_sort *sort, uint32_t place)
{
    uint32_t uid;
    sort->next = mdsq_set_last(sort->set);
    while (place-- && mdsq_sort_next(sort, &uid))
        ;
}

uint32_t mdsq_sort_last(const struct mdsq_sort *sort)
{
    uint64_t at = 0;
    uint32_t first = 0, last = 0;
    return mdsq_set_next_range(sort->set, NULL, &at, &first, &last) ? first : 0;
}

void mdsq_sort_free(struct mdsq_sort **sort)
{
    if (*sort)
        mdsq_set_free(&(*sort)->set);
    FREE(sort)
}

/* ((1 2)(3 ...)): a message that is not there, then members in pairs, whatever is asked for. */
struct mdsq_thread {
    struct mdsq_set *set;
    uint32_t next, last, nth;
    unsigned slices;
};

int mdsq_thread_new(const struct mdsq_view *view, const struct mdsq_set *set, enum mdsq_thread_algorithm algorithm,
                    struct mdsq_thread **out, struct mdsq_error *err)
{
    (void)algorithm;
    *out = calloc(1, sizeof **out);
    (*out)->slices = 1 + fake.order_slices;
    fake.objects++;
    return mdsq_set_in_view(set, view, &(*out)->set, err);
}

int mdsq_thread_run(struct mdsq_thread *thread, struct mdsq_reader *reader, unsigned budget_ms, struct mdsq_error *err)
{
    (void)reader;
    (void)budget_ms;
    if (fake.thread_result)
        return fail(err, fake.thread_result);
    fake_clock_ahead_ms += fake.search_ms;
    if (thread->slices > 0 && thread->slices--)
        return 1;
    thread->last = mdsq_set_last(thread->set);
    return 0;
}

bool mdsq_thread_next(struct mdsq_thread *thread, struct mdsq_thread_member *out)
{
    *out = (struct mdsq_thread_member){.opens = true};
    if (thread->last == 0)
        return false;
    if (thread->nth++ == 0)
        return true;
    while (thread->next <= thread->last && !mdsq_set_has(thread->set, thread->next))
        thread->next++;
    if (thread->next > thread->last)
        return false;
    *out = (struct mdsq_thread_member){.uid = thread->next++, .depth = 1 + (thread->nth & 1), .opens = (thread->nth & 1) == 0};
    const bool is_last = out->uid == thread->last;
    out->closes = (!out->opens || is_last) + is_last;
    return true;
}

void mdsq_thread_free(struct mdsq_thread **thread)
{
    if (*thread)
        mdsq_set_free(&(*thread)->set);
    FREE(thread)
}
