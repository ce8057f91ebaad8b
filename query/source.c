/*
 * Vaults of an archive, opened when an item's bytes are first asked for and kept. A vault that failed is
 * opened anew at the next use, so that a file system that comes back is found.
 */
#include "query_private.h"

#include "vault/segment.h"

#include <glib.h>

static void vault_free(struct query_vault *v)
{
    vault_close(&v->vault);
    g_free(v);
}

void query_vault_unref(struct query_vault **v)
{
    struct query_vault *dead = *v;

    *v = NULL;
    if (dead && atomic_fetch_sub_explicit(&dead->refs, 1, memory_order_acq_rel) == 1)
        vault_free(dead);
}

static struct query_vault *vault_ref(struct query_vault *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    return v;
}

void query_vaults_release(struct mdsq_archive *archive)
{
    while (archive->vaults) {
        struct query_vault *v = archive->vaults;

        archive->vaults = v->next;
        query_vault_unref(&v);
    }
}

void query_vault_forget(struct mdsq_archive *archive, const struct query_vault *v)
{
    struct query_vault *found = NULL;

    (void)pthread_mutex_lock(&archive->lock);
    for (struct query_vault **at = &archive->vaults; *at && !found; at = &(*at)->next) {
        if (*at == v) {
            found = *at;
            *at = found->next;
            break;
        }
    }
    (void)pthread_mutex_unlock(&archive->lock);
    query_vault_unref(&found);
}

static struct query_vault *vault_find(struct mdsq_archive *archive, uint32_t source)
{
    for (struct query_vault *v = archive->vaults; v; v = v->next) {
        if (v->source == source)
            return vault_ref(v);
    }
    return NULL;
}

static int vault_open_source(struct mdsq_archive *archive, struct mds_txn *txn, uint32_t source, struct vault **out,
                             struct error *err)
{
    struct vault_spec spec = {0};
    struct bytes name;
    char *text = NULL;
    int rc = mds_source_name(txn, source, &name, err);

    if (rc < 0)
        return rc;
    if (bytes_equal(name, BYTES_LIT(MDS_SOURCE_OWN))) {
        rc = segment_vault_open(mds_dir(archive->env), out, err);
        return rc == BASE_ERR_NOTFOUND ? BASE_ERR_GONE : rc;
    }
    text = g_strndup((const char *)name.p, name.n);
    rc = vault_spec_parse(text, &spec, err);
    if (rc >= 0)
        rc = vault_open(&spec, out, err);
    if (rc == BASE_ERR_NOTFOUND) /* for who asks for an item, a missing vault is a missing item */
        rc = BASE_ERR_GONE;
    vault_spec_release(&spec);
    g_free(text);
    return rc;
}

int query_vault_get(struct mdsq_archive *archive, struct mds_txn *txn, uint32_t source, struct query_vault **out,
                    struct error *err)
{
    struct query_vault *v, *mine;

    (void)pthread_mutex_lock(&archive->lock);
    v = vault_find(archive, source);
    (void)pthread_mutex_unlock(&archive->lock);
    if (v) {
        *out = v;
        return BASE_OK;
    }

    mine = g_new0(struct query_vault, 1);
    atomic_init(&mine->refs, 1);
    mine->source = source;

    const int rc = vault_open_source(archive, txn, source, &mine->vault, err);

    if (rc < 0) {
        vault_free(mine);
        return rc;
    }
    (void)pthread_mutex_lock(&archive->lock);
    v = vault_find(archive, source); /* another thread may have been faster */
    if (v == NULL) {
        mine->next = archive->vaults;
        archive->vaults = mine;
        v = vault_ref(mine);
        mine = NULL;
    }
    (void)pthread_mutex_unlock(&archive->lock);
    query_vault_unref(&mine);
    *out = v;
    return BASE_OK;
}
