/*
 * The UID sets that views hold, found again by folder.
 *
 * UIDs are never given twice: what is added raises UIDNEXT, and at one UIDNEXT the set only shrinks. So UIDNEXT and the
 * number of messages name a folder's set, and it outlives changes of flags, which a modseq would not.
 *
 * The table holds no references. A set whose last reference goes leaves the table under its lock; until then it may
 * still be met there with no references, and is then passed over as if it had left.
 */
#include "query_private.h"

#include <glib.h>

struct query_states {
    atomic_uint refs; /* the archive's, and one a set in the table or about to leave it */
    pthread_mutex_t lock;
    GHashTable *sets; /* struct query_uids, each its own key */
};

static guint hash(gconstpointer key)
{
    const struct query_uids *u = key;

    return u->folder * 2654435761u ^ u->uidvalidity ^ u->uidnext * 40503u ^ u->count * 2246822519u;
}

static gboolean is_same(gconstpointer a, gconstpointer b)
{
    const struct query_uids *x = a, *y = b;

    return x->folder == y->folder && x->uidvalidity == y->uidvalidity && x->uidnext == y->uidnext &&
           x->count == y->count;
}

static void set_folder(struct query_uids *u, const struct mds_folder *folder)
{
    u->folder = folder->id;
    u->uidvalidity = folder->uidvalidity;
    u->uidnext = folder->uidnext;
}

struct query_states *query_states_new(void)
{
    struct query_states *states = g_new0(struct query_states, 1);

    atomic_init(&states->refs, 1);
    ASSERT(pthread_mutex_init(&states->lock, NULL) == 0);
    states->sets = g_hash_table_new(hash, is_same);
    return states;
}

void query_states_unref(struct query_states **states)
{
    struct query_states *dead = *states;

    *states = NULL;
    /* acq_rel: the last one must see what every other thread did to the table. */
    if (dead == NULL || atomic_fetch_sub_explicit(&dead->refs, 1, memory_order_acq_rel) != 1)
        return;
    g_hash_table_destroy(dead->sets);
    (void)pthread_mutex_destroy(&dead->lock);
    g_free(dead);
}

/* Under the lock. A set without references stays so. */
static struct query_uids *find(const struct query_states *states, const struct query_uids *key)
{
    struct query_uids *u = g_hash_table_lookup(states->sets, key);
    unsigned refs = u ? atomic_load_explicit(&u->refs, memory_order_relaxed) : 0;

    while (refs > 0)
        if (atomic_compare_exchange_weak_explicit(&u->refs, &refs, refs + 1, memory_order_relaxed,
                                                  memory_order_relaxed))
            return u;
    return NULL;
}

struct query_uids *query_states_find(struct query_states *states, const struct mds_folder *folder)
{
    struct query_uids key, *u;

    set_folder(&key, folder);
    key.count = (uint32_t)folder->exists;
    (void)pthread_mutex_lock(&states->lock);
    u = find(states, &key);
    (void)pthread_mutex_unlock(&states->lock);
    return u;
}

struct query_uids *query_states_add(struct query_states *states, const struct mds_folder *folder, struct query_uids *u)
{
    struct query_uids *first;

    set_folder(u, folder);
    (void)pthread_mutex_lock(&states->lock);
    first = find(states, u);
    if (first == NULL) {
        atomic_fetch_add_explicit(&states->refs, 1, memory_order_relaxed);
        u->states = states;
        (void)g_hash_table_add(states->sets, u); /* also in the place of one that is about to leave */
    }
    (void)pthread_mutex_unlock(&states->lock);
    if (first == NULL)
        return u;
    query_uids_unref(&u);
    return first;
}

void query_states_leave(struct query_uids *u)
{
    (void)pthread_mutex_lock(&u->states->lock);
    if (g_hash_table_lookup(u->states->sets, u) == u)
        (void)g_hash_table_remove(u->states->sets, u);
    (void)pthread_mutex_unlock(&u->states->lock);
    query_states_unref(&u->states);
}
