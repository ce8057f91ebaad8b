/* search_keep: a search key that outlives its command and what it was said of (RFC 5267 4.3). */
#include "search_key.h"

#include <stdio.h>
#include <stdlib.h>

struct keep {
    struct arena *arena;
    const struct mdsq_view *view;
    struct mdsq_reader *reader;
    struct mdsq_set ***sets;
    size_t *sets_n;
    struct mdsq_error *err;
};

static bool fail(const struct keep *k, int code, const char *text)
{
    *k->err = (struct mdsq_error){.code = code};
    snprintf(k->err->text, sizeof k->err->text, "%s", text);
    return false;
}

static struct mdsq_bytes dup_bytes(const struct keep *k, struct mdsq_bytes v)
{
    const struct bytes copy = arena_dup(k->arena, bytes_of(v.p, v.n));
    return (struct mdsq_bytes){copy.p, copy.n};
}

/* What one key matches now. A key of numbers looks at nothing but the view. */
static bool keep_members(const struct keep *k, const struct mdsq_key *key, struct mdsq_key *out)
{
    struct mdsq_search *search = NULL;
    struct mdsq_set *set = NULL;
    int rc = mdsq_search_new(k->view, key, &search, k->err);
    while (rc >= 0 && (rc = mdsq_search_run(search, k->reader, 1000, k->err)) > 0)
        ;
    if (rc >= 0)
        rc = mdsq_search_take(search, &set, NULL, k->err);
    mdsq_search_free(&search);
    if (rc < 0)
        return false;
    struct mdsq_set **sets = realloc(*k->sets, (*k->sets_n + 1) * sizeof *sets);
    if (!sets) {
        mdsq_set_free(&set);
        return fail(k, MDSQ_ERR_NOMEM, "no memory for a context");
    }
    *k->sets = sets;
    sets[(*k->sets_n)++] = set;
    *out = (struct mdsq_key){.kind = MDSQ_KEY_SET, .set = set};
    return true;
}

/* Depth is bounded: the parser refused deeper ones. */
static bool keep_key(const struct keep *k, const struct mdsq_key *key, struct mdsq_key *out)
{
    if (key->kind == MDSQ_KEY_SEQ_SET || key->kind == MDSQ_KEY_SET)
        return keep_members(k, key, out);
    *out = *key;
    out->text = dup_bytes(k, key->text);
    out->field = dup_bytes(k, key->field);
    if (key->children_n == 0)
        return true;
    struct mdsq_key *children = arena_alloc(k->arena, key->children_n * sizeof *children);
    if (!children)
        return fail(k, MDSQ_ERR_LIMIT, "the context is too large");
    for (size_t i = 0; i < key->children_n; i++)
        if (!keep_key(k, &key->children[i], &children[i]))
            return false;
    out->children = children;
    return true;
}

const struct mdsq_key *imap_search_key_keep(struct arena *arena, const struct mdsq_key *key,
                                            const struct mdsq_view *view, struct mdsq_reader *reader,
                                            struct mdsq_set ***sets, size_t *sets_n, struct mdsq_error *err)
{
    const struct keep k = {arena, view, reader, sets, sets_n, err};
    struct mdsq_key *copy = arena_alloc(arena, sizeof *copy);
    if (!copy) {
        (void)fail(&k, MDSQ_ERR_LIMIT, "the context is too large");
        return NULL;
    }
    return keep_key(&k, key, copy) ? copy : NULL;
}
