/*
 * Fuzzy keys and relevance (RFC 6203): mds/query.h.
 *
 * A fuzzy text becomes its words: a message matches if it has one of them. Its relevance is the sum of what the words
 * are worth that it has, rare ones more than frequent ones, and of a premium for the text as a whole. What is worth
 * what is counted among the matches, by one search a word, which the content index answers where it can.
 */
#include "change.h"

#include <glib.h>
#include <math.h>

#define WORDS_MAX     32u /* of a tree that count; further ones match nothing by themselves */
#define WHOLE_PREMIUM 2.0 /* of a text's words together */
#define AT_ONCE       4096u

struct fuzzy_term {
    struct mdsq_key key; /* a word, or a text as a whole */
    bool is_whole;       /* worth WHOLE_PREMIUM times the words since the last whole one */
    struct mdsq_set *set;
    double worth;
};

struct mdsq_fuzzy {
    struct arena *arena;
    const struct mdsq_key *key; /* spread */
    struct fuzzy_term terms[2 * WORDS_MAX];
    uint32_t terms_n, words_n;
    /* while relevance is found out */
    struct query_uids *result;
    struct mdsq_set *among; /* the same */
    uint32_t term, scored;
    struct mdsq_search *search;
    float *sums; /* [result->count] */
    float best;
};

/* ---- spreading ---------------------------------------------------------------------------------- */

static bool is_text(enum mdsq_key_kind kind)
{
    switch (kind) {
    case MDSQ_KEY_HEADER:
    case MDSQ_KEY_FROM:
    case MDSQ_KEY_TO:
    case MDSQ_KEY_CC:
    case MDSQ_KEY_BCC:
    case MDSQ_KEY_SUBJECT:
    case MDSQ_KEY_BODY:
    case MDSQ_KEY_TEXT: return true;
    default: return false;
    }
}

static bool is_word_byte(uint8_t c)
{
    return c >= 0x80 || g_ascii_isalnum((char)c);
}

/* The next word of rest; false: there is none. */
static bool next_word(struct bytes *rest, struct bytes *word)
{
    size_t begin = 0, end;

    while (begin < rest->n && !is_word_byte(rest->p[begin]))
        begin++;
    for (end = begin; end < rest->n && is_word_byte(rest->p[end]); end++)
        ;
    *word = bytes_slice(*rest, begin, end - begin);
    *rest = bytes_slice(*rest, end, SIZE_MAX);
    return word->n > 0;
}

static struct mdsq_bytes dup_text(struct mdsq_fuzzy *f, struct mdsq_bytes text)
{
    return query_bytes(arena_dup(f->arena, bytes_of_query(text)));
}

static void add_term(struct mdsq_fuzzy *f, const struct mdsq_key *key, bool is_whole)
{
    f->terms[f->terms_n++] = (struct fuzzy_term){.key = *key, .is_whole = is_whole};
    f->words_n += !is_whole;
}

/* A text as any of its words. matters: it is not negated. */
static void spread_text(struct mdsq_fuzzy *f, const struct mdsq_key *key, bool matters, struct mdsq_key *out)
{
    struct bytes rest = bytes_of_query(key->text), word;
    struct mdsq_key *words = arena_alloc(f->arena, WORDS_MAX * sizeof *words);
    size_t n = 0;

    while (n < WORDS_MAX && next_word(&rest, &word)) {
        words[n] = *key;
        words[n].text = query_bytes(word);
        n++;
    }
    *out = *key;
    if (n == 0)
        return;
    for (size_t i = 0; matters && i < n && f->words_n < WORDS_MAX; i++)
        add_term(f, &words[i], false);
    if (matters && n > 1 && f->terms_n < G_N_ELEMENTS(f->terms))
        add_term(f, key, true);
    *out = n == 1 ? words[0] : (struct mdsq_key){.kind = MDSQ_KEY_OR, .children = words, .children_n = n};
}

/* Depth and number of keys are checked before. */
static void spread(struct mdsq_fuzzy *f, const struct mdsq_key *key, bool fuzzy, bool matters, struct mdsq_key *out)
{
    struct mdsq_key copy = *key;

    copy.text = dup_text(f, key->text);
    copy.field = dup_text(f, key->field);
    if (key->kind == MDSQ_KEY_FUZZY) {
        spread(f, key->children, true, matters, out);
    } else if (fuzzy && is_text(key->kind)) {
        spread_text(f, &copy, matters, out);
    } else if (key->children_n) {
        struct mdsq_key *children = arena_alloc(f->arena, key->children_n * sizeof *children);

        for (size_t i = 0; i < key->children_n; i++)
            spread(f, &key->children[i], fuzzy, matters && key->kind != MDSQ_KEY_NOT, &children[i]);
        *out = copy;
        out->children = children;
    } else {
        *out = copy;
    }
}

static int check(const struct mdsq_key *key, unsigned depth, size_t *keys, struct error *err)
{
    if (depth > MDSQ_KEY_DEPTH_MAX || ++*keys > MDSQ_KEY_COUNT_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "too many search keys, or too deep ones");
    if ((key->kind == MDSQ_KEY_FUZZY || key->kind == MDSQ_KEY_NOT) && key->children_n != 1)
        return error_set(err, BASE_ERR_USAGE, 0, "FUZZY and NOT have one key");
    for (size_t i = 0; i < key->children_n; i++) {
        const int rc = check(&key->children[i], depth + 1, keys, err);

        if (rc < 0)
            return rc;
    }
    return BASE_OK;
}

int mdsq_fuzzy_new(const struct mdsq_key *key, struct mdsq_fuzzy **out, struct mdsq_error *err)
{
    struct error e;
    size_t keys = 0;

    query_error_init(&e);
    *out = NULL;

    const int rc = check(key, 0, &keys, &e);

    if (rc < 0)
        return query_result(rc, &e, err);

    struct mdsq_fuzzy *f = g_new0(struct mdsq_fuzzy, 1);

    f->arena = arena_new(0);

    struct mdsq_key *root = arena_alloc(f->arena, sizeof *root);

    spread(f, key, false, true, root);
    f->key = root;
    *out = f;
    return MDSQ_OK;
}

const struct mdsq_key *mdsq_fuzzy_key(const struct mdsq_fuzzy *fuzzy)
{
    return fuzzy->key;
}

void mdsq_fuzzy_free(struct mdsq_fuzzy **fuzzy)
{
    struct mdsq_fuzzy *f = *fuzzy;

    *fuzzy = NULL;
    if (f == NULL)
        return;
    for (uint32_t i = 0; i < f->terms_n; i++)
        mdsq_set_free(&f->terms[i].set);
    mdsq_search_free(&f->search);
    mdsq_set_free(&f->among);
    query_uids_unref(&f->result);
    g_free(f->sums);
    arena_free(&f->arena);
    g_free(f);
}

/* ---- relevance -------------------------------------------------------------------------------------- */

/* 1 the time is up: which of the matches have the term. */
static int find_term(struct mdsq_fuzzy *f, const struct mdsq_view *view, struct mdsq_reader *reader, unsigned budget_ms,
                     struct mdsq_error *err)
{
    struct fuzzy_term *term = &f->terms[f->term];
    int rc = MDSQ_OK;

    if (f->search == NULL) {
        const struct mdsq_key both[] = {{.kind = MDSQ_KEY_SET, .set = f->among}, term->key};
        const struct mdsq_key key = {.kind = MDSQ_KEY_AND, .children = both, .children_n = 2};

        rc = mdsq_search_new(view, &key, &f->search, err);
    }
    if (rc >= 0)
        rc = mdsq_search_run(f->search, reader, budget_ms, err);
    if (rc != 0)
        return rc;
    rc = mdsq_search_take(f->search, &term->set, NULL, err);
    mdsq_search_free(&f->search);
    f->term++;
    return rc;
}

/* Rare words are worth more. */
static void value_terms(struct mdsq_fuzzy *f)
{
    double since = 0;

    for (uint32_t i = 0; i < f->terms_n; i++) {
        struct fuzzy_term *term = &f->terms[i];

        if (term->is_whole) {
            term->worth = since * WHOLE_PREMIUM;
            since = 0;
        } else {
            term->worth = 0.1 + log((1.0 + f->result->count) / (1.0 + (double)mdsq_set_count(term->set)));
            since += term->worth;
        }
    }
    f->sums = g_new0(float, (size_t)f->result->count + 1);
}

/* Sums of the next matches. */
static void sum_some(struct mdsq_fuzzy *f)
{
    uint32_t uids[AT_ONCE], first = 0;
    roaring_uint32_iterator_t it;

    roaring_init_iterator(f->result->bitmap, &it);
    if (f->scored && roaring_bitmap_select(f->result->bitmap, f->scored, &first))
        (void)roaring_move_uint32_iterator_equalorlarger(&it, first);

    const uint32_t n = roaring_read_uint32_iterator(&it, uids, AT_ONCE);

    for (uint32_t i = 0; i < n; i++) {
        double sum = 0;

        for (uint32_t k = 0; k < f->terms_n; k++)
            sum += mdsq_set_has(f->terms[k].set, uids[i]) ? f->terms[k].worth : 0;
        f->sums[f->scored + i] = (float)sum;
        if (f->best < (float)sum)
            f->best = (float)sum;
    }
    f->scored += n;
}

int mdsq_fuzzy_rank(struct mdsq_fuzzy *fuzzy, const struct mdsq_view *view, const struct mdsq_set *result,
                    struct mdsq_reader *reader, unsigned budget_ms, struct mdsq_error *err)
{
    const uint64_t until_us = query_os_monotonic_us() + (uint64_t)budget_ms * 1000;
    struct mdsq_fuzzy *f = fuzzy;

    if (f->result == NULL) {
        f->result = query_uids_ref(result->uids);
        f->among = query_set_of(f->result);
    }
    while (f->term < f->terms_n) {
        const int rc = find_term(f, view, reader, budget_ms, err);

        if (rc != 0)
            return rc;
        if (query_os_monotonic_us() >= until_us)
            return 1;
    }
    if (f->sums == NULL)
        value_terms(f);
    while (f->scored < f->result->count) {
        sum_some(f);
        if (f->scored < f->result->count && query_os_monotonic_us() >= until_us)
            return 1;
    }
    return 0;
}

unsigned mdsq_fuzzy_score(const struct mdsq_fuzzy *fuzzy, uint32_t uid)
{
    enum { SCORE_MAX = 100 };

    if (fuzzy->sums == NULL || !roaring_bitmap_contains(fuzzy->result->bitmap, uid))
        return 1;
    if (fuzzy->best <= 0)
        return SCORE_MAX; /* nothing tells them apart */

    const float sum = fuzzy->sums[roaring_bitmap_rank(fuzzy->result->bitmap, uid) - 1];
    const unsigned score = (unsigned)lroundf(sum / fuzzy->best * SCORE_MAX);

    return score ? score : 1;
}
