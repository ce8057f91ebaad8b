/*
 * Flags and keywords of a STORE or an APPEND.
 *
 * A client sees a stored keyword with bytes that are no atom as '_' (query_keyword_show), so that two stored names may be
 * one to it: a name that it gives stands for all that it sees so.
 */
#include "change.h"

#include <glib.h>

#define FORWARDED_BIT 32u

int change_flags_init(struct change_flags *f, const struct mdsq_flags *flags, struct error *err)
{
    size_t at = 0;

    *f = (struct change_flags){0};
    if (flags == NULL)
        return BASE_OK;
    if (flags->flags & ~MDS_FLAGS_ALL)
        return error_set(err, BASE_ERR_USAGE, 0, "there are no such flags");
    if (flags->keywords_n > MDS_KEYWORDS_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "more keywords than an archive can have");
    f->bits = flags->flags;
    f->names = g_new0(struct bytes, flags->keywords_n + 1);
    for (size_t i = 0; i < flags->keywords_n; i++)
        buf_append_bytes(&f->text, bytes_of_query(flags->keywords[i]));
    for (size_t i = 0; i < flags->keywords_n; i++) {
        const struct bytes name = bytes_slice(buf_bytes(&f->text), at, flags->keywords[i].n);

        at += name.n;
        if (name.n == 0 || memchr(name.p, 0, name.n))
            return error_set(err, BASE_ERR_USAGE, 0, "a keyword is an atom");
        if (bytes_equal_nocase(name, BYTES_LIT("$Forwarded")))
            f->bits |= FORWARDED_BIT;
        else
            f->names[f->names_n++] = name;
    }
    return BASE_OK;
}

void change_flags_release(struct change_flags *f)
{
    g_free(f->names);
    buf_release(&f->text);
    *f = (struct change_flags){0};
}

/* ---- names to ids --------------------------------------------------------------------------- */

static void more_add(struct keyword_class *k, uint16_t id)
{
    if (k->more == NULL)
        k->more = g_new0(uint64_t, MDS_KEYWORDS_MAX / 64);
    k->more[id / 64] |= UINT64_C(1) << (id % 64);
}

/* Other stored names that are shown as this one. Only a name with a '_' can have such. */
static int class_widen(struct turn *t, struct bytes name, struct keyword_class *k, struct error *err)
{
    const uint16_t n = mds_keyword_count(t->txn);
    struct buf shown = {0};
    int rc = BASE_OK;

    for (uint16_t id = 0; id < n && id < MDS_KEYWORDS_MAX && rc >= 0; id++) {
        struct bytes stored;

        rc = mds_keyword_name(t->txn, id, &stored, err);
        if (rc < 0)
            break;
        buf_reset(&shown);
        query_keyword_show(stored, &shown);
        if (!bytes_equal_nocase(buf_bytes(&shown), name))
            continue;
        if (!k->is_known)
            k->first = id;
        k->is_known = true;
        more_add(k, id);
    }
    buf_release(&shown);
    return rc;
}

static int class_resolve(struct turn *t, struct bytes name, bool create, struct keyword_class *k, struct error *err)
{
    int rc = mds_keyword_id(t->txn, name, false, &k->first, err);

    k->is_known = rc >= 0;
    if (rc == BASE_ERR_NOTFOUND)
        rc = BASE_OK;
    if (rc >= 0 && memchr(name.p, '_', name.n))
        rc = class_widen(t, name, k, err);
    if (rc >= 0 && !k->is_known && create) {
        t->is_mutated = true;
        rc = mds_keyword_id(t->txn, name, true, &k->first, err);
        k->is_known = rc >= 0;
    }
    return rc;
}

int change_keywords_resolve(struct turn *t, const struct change_flags *f, bool create, struct keyword_classes *out,
                            struct error *err)
{
    int rc = BASE_OK;

    *out = (struct keyword_classes){.bits = f->bits, .n = f->names_n};
    out->v = g_new0(struct keyword_class, f->names_n + 1);
    for (size_t i = 0; i < f->names_n && rc >= 0; i++)
        rc = class_resolve(t, f->names[i], create, &out->v[i], err);
    if (rc < 0)
        change_keywords_release(out);
    return rc;
}

void change_keywords_release(struct keyword_classes *k)
{
    for (size_t i = 0; i < k->n && k->v; i++)
        g_free(k->v[i].more);
    g_free(k->v);
    *k = (struct keyword_classes){0};
}

/* ---- one message ------------------------------------------------------------------------------ */

static bool class_has(const struct keyword_class *k, uint16_t id)
{
    if (!k->is_known)
        return false;
    return k->first == id || (k->more && id < MDS_KEYWORDS_MAX && k->more[id / 64] >> (id % 64) & 1);
}

static bool any_class_has(const struct keyword_classes *k, uint16_t id)
{
    for (size_t i = 0; i < k->n; i++) {
        if (class_has(&k->v[i], id))
            return true;
    }
    return false;
}

static uint16_t id_at(struct bytes ids, size_t i)
{
    return (uint16_t)(ids.p[2 * i] << 8 | ids.p[2 * i + 1]);
}

static bool message_has(const struct keyword_class *k, struct bytes ids)
{
    for (size_t i = 0; i < ids.n / 2; i++) {
        if (class_has(k, id_at(ids, i)))
            return true;
    }
    return false;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, 2);
}

/* Ascending, none twice. */
static void ids_normalise(struct buf *out, size_t begin)
{
    const size_t n = (out->n - begin) / 2;
    size_t kept = 0;

    if (n == 0)
        return;

    uint8_t *p = out->p + begin;

    qsort(p, n, 2, compare_ids);
    for (size_t i = 0; i < n; i++) {
        if (kept && memcmp(p + 2 * (kept - 1), p + 2 * i, 2) == 0)
            continue;
        memmove(p + 2 * kept++, p + 2 * i, 2);
    }
    out->n = begin + 2 * kept;
}

uint32_t change_keywords_apply(const struct keyword_classes *k, enum mdsq_store_mode mode, uint32_t flags,
                               struct bytes ids, struct buf *out)
{
    const size_t begin = out->n;

    for (size_t i = 0; i < ids.n / 2; i++) {
        const bool named = mode != MDSQ_STORE_ADD && any_class_has(k, id_at(ids, i));

        if (mode == MDSQ_STORE_ADD || named == (mode == MDSQ_STORE_REPLACE))
            buf_put_u16(out, id_at(ids, i));
    }
    for (size_t i = 0; i < k->n && mode != MDSQ_STORE_REMOVE; i++) {
        if (k->v[i].is_known && !message_has(&k->v[i], ids))
            buf_put_u16(out, k->v[i].first);
    }
    ids_normalise(out, begin);
    if (mode == MDSQ_STORE_REPLACE)
        return k->bits;
    return mode == MDSQ_STORE_ADD ? flags | k->bits : flags & ~k->bits;
}
