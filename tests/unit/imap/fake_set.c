/* fake_set: sets of fake_query, and what is told as sets. */
#include "fake_private.h"

#include <stdlib.h>

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
            return fake_fail(err, MDSQ_ERR_USAGE);
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

struct mdsq_set *fake_set_new(uint32_t room)
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
    *out = fake_set_new(set->n);
    for (uint32_t i = 0; i < set->n; i++)
        if (mdsq_view_seq(view, set->uids[i]))
            (*out)->uids[(*out)->n++] = set->uids[i];
    return 0;
}

int mdsq_set_and(const struct mdsq_set *a, const struct mdsq_set *b, struct mdsq_set **out, struct mdsq_error *err)
{
    (void)err;
    *out = fake_set_new(a->n);
    for (uint32_t i = 0; i < a->n; i++)
        if (mdsq_set_has(b, a->uids[i]))
            (*out)->uids[(*out)->n++] = a->uids[i];
    return 0;
}

int mdsq_set_minus(const struct mdsq_set *a, const struct mdsq_set *b, struct mdsq_set **out, struct mdsq_error *err)
{
    (void)err;
    *out = fake_set_new(a->n);
    for (uint32_t i = 0; i < a->n; i++)
        if (!mdsq_set_has(b, a->uids[i]))
            (*out)->uids[(*out)->n++] = a->uids[i];
    return 0;
}

int mdsq_set_or(const struct mdsq_set *a, const struct mdsq_set *b, struct mdsq_set **out, struct mdsq_error *err)
{
    (void)err;
    *out = fake_set_new(a->n + b->n);
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
    *out = fake_set_new(set->n);
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
    *out = fake_set_new(0);
    for (size_t i = 0; i < n; i++) {
        one = fake_set_new(1);
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
    *out = fake_set_new(max);
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
    *changed_out = fake_set_new(view->n);
    *expunged_out = fake_set_new(fake.n);
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
        const struct fake_message *m = fake_find(set ? set->uids[i] : view->uids[i]);
        if (!m->expunged && m->modseq > *modseq_out)
            *modseq_out = m->modseq;
    }
    return fake.highest_result ? fake_fail(err, fake.highest_result) : 0;
}
