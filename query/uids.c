/* Immutable, shared sets of UIDs, and sequence numbers without ranking a row at a time. */
#include "query_private.h"

#include <glib.h>

#define WALK_MAX 512 /* steps of an iterator that cost about one rank */

struct query_uids *query_uids_take(roaring_bitmap_t *bitmap)
{
    struct query_uids *u = g_new0(struct query_uids, 1);
    const uint64_t count = roaring_bitmap_get_cardinality(bitmap);

    ASSERT(count <= UINT32_MAX);
    atomic_init(&u->refs, 1);
    u->bitmap = bitmap;
    u->count = (uint32_t)count;
    return u;
}

struct query_uids *query_uids_ref(struct query_uids *u)
{
    /* Relaxed: who takes a reference holds one already. */
    atomic_fetch_add_explicit(&u->refs, 1, memory_order_relaxed);
    return u;
}

void query_uids_unref(struct query_uids **u)
{
    struct query_uids *dead = *u;

    *u = NULL;
    /* acq_rel: the last one must see every other thread's reads as done. */
    if (dead == NULL || atomic_fetch_sub_explicit(&dead->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (dead->states)
        query_states_leave(dead);
    roaring_bitmap_free(dead->bitmap);
    g_free(dead);
}

void query_numberer_init(struct query_numberer *n, const struct query_uids *uids)
{
    n->uids = uids;
    n->seq = 1;
    roaring_init_iterator(uids->bitmap, &n->it);
}

uint32_t query_numberer_seq(struct query_numberer *n, uint32_t uid)
{
    for (unsigned i = 0; i < WALK_MAX && n->it.has_value; i++) {
        if (n->it.current_value == uid)
            return n->seq;
        if (n->it.current_value > uid)
            return 0;
        roaring_advance_uint32_iterator(&n->it);
        n->seq++;
    }
    if (!n->it.has_value || n->it.current_value > uid)
        return 0;
    if (!roaring_move_uint32_iterator_equalorlarger(&n->it, uid))
        return 0;
    n->seq = (uint32_t)roaring_bitmap_rank(n->uids->bitmap, n->it.current_value);
    return n->it.current_value == uid ? n->seq : 0;
}
