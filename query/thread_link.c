/* thread_link: RFC 5256, REFERENCES, step 1. */
#include "big.h"
#include "change.h"
#include "thread.h"

#include <glib.h>

#define MEMBERS_BETWEEN_CLOCKS 256u
#define PREFETCH_MEMBERS       8u
#define NODES_MAX              (UINT32_C(1) << 31)

/* ---- ids ---------------------------------------------------------------------------------------- */

void thread_ids_init(struct thread_ids *ids, uint32_t n)
{
    uint32_t slots = 64;

    while (slots < NODES_MAX && slots / 2 < n)
        slots *= 2;
    *ids = (struct thread_ids){.slots = query_big_new0(slots, sizeof *ids->slots), .slots_n = slots};
}

struct thread_id *thread_ids_find(const struct thread_ids *ids, uint64_t hash)
{
    uint32_t i = (uint32_t)hash & (ids->slots_n - 1);

    while (ids->slots[i].hash && ids->slots[i].hash != hash)
        i = (i + 1) & (ids->slots_n - 1);
    return &ids->slots[i];
}

static void ids_grow(struct thread_ids *ids)
{
    struct thread_ids old = *ids;

    *ids = (struct thread_ids){.slots = query_big_new0((size_t)old.slots_n * 2, sizeof *ids->slots),
                               .slots_n = old.slots_n * 2,
                               .used = old.used};
    for (uint32_t i = 0; i < old.slots_n; i++) {
        if (old.slots[i].hash)
            *thread_ids_find(ids, old.slots[i].hash) = old.slots[i];
    }
    g_free(old.slots);
}

void thread_ids_put(struct thread_ids *ids, struct thread_id *slot, uint64_t hash, uint32_t node)
{
    *slot = (struct thread_id){.hash = hash, .node = node};
    if (++ids->used > ids->slots_n / 2)
        ids_grow(ids);
}

void thread_ids_begin(struct mdsq_thread *t)
{
    thread_ids_init(&t->ids, t->n);
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->id[i] == 0)
            continue;
        if (i + PREFETCH_MEMBERS < t->n)
            __builtin_prefetch(&t->ids.slots[(uint32_t)t->id[i + PREFETCH_MEMBERS] & (t->ids.slots_n - 1)]);

        struct thread_id *slot = thread_ids_find(&t->ids, t->id[i]);

        if (slot->hash == 0)
            thread_ids_put(&t->ids, slot, t->id[i], i);
    }
}

void thread_ids_release(struct thread_ids *ids)
{
    g_free(ids->slots);
    *ids = (struct thread_ids){0};
}

/* ---- nodes ---------------------------------------------------------------------------------------- */

static int node_new(struct mdsq_thread *t, uint32_t *out, struct error *err)
{
    const uint32_t strangers = t->nodes - t->n;

    if ((strangers >= MDSQ_THREAD_STRANGERS_MAX && strangers / 2 >= t->n) || t->nodes >= NODES_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "too many references to messages that are not there");
    if (t->nodes == t->nodes_cap) {
        const uint64_t cap = (uint64_t)t->nodes_cap + t->nodes_cap / 2 + 64;

        t->nodes_cap = cap < NODES_MAX ? (uint32_t)cap : NODES_MAX;
        t->parent = g_renew(uint32_t, t->parent, t->nodes_cap);
        t->children = g_renew(uint32_t, t->children, t->nodes_cap);
    }
    t->parent[t->nodes] = THREAD_NONE;
    t->children[t->nodes] = 0;
    *out = t->nodes++;
    return BASE_OK;
}

static int node_of(struct mdsq_thread *t, uint64_t id, uint32_t *out, struct error *err)
{
    struct thread_id *slot = thread_ids_find(&t->ids, id);

    if (slot->hash) {
        *out = slot->node;
        return BASE_OK;
    }

    const int rc = node_new(t, out, err);

    if (rc == BASE_OK)
        thread_ids_put(&t->ids, slot, id, *out);
    return rc;
}

/* ---- links ------------------------------------------------------------------------------------------ */

static bool is_descendant(const struct mdsq_thread *t, uint32_t node, uint32_t of)
{
    if (node == of)
        return true;
    if (t->children[of] == 0)
        return false;
    while (t->parent[node] != THREAD_NONE) {
        node = t->parent[node];
        if (node == of)
            return true;
    }
    return false;
}

static void unlink_node(struct mdsq_thread *t, uint32_t node)
{
    if (t->parent[node] == THREAD_NONE)
        return;
    t->children[t->parent[node]]--;
    t->parent[node] = THREAD_NONE;
}

static void link_node(struct mdsq_thread *t, uint32_t parent, uint32_t child)
{
    if (is_descendant(t, parent, child))
        return;
    t->parent[child] = parent;
    t->children[parent]++;
}

static uint64_t ref_at(const struct mdsq_thread *t, uint32_t i)
{
    uint64_t id;

    memcpy(&id, t->refs.p + (size_t)i * sizeof id, sizeof id);
    return id;
}

static int link_member(struct mdsq_thread *t, uint32_t member, struct error *err)
{
    uint32_t before = THREAD_NONE;

    /* (A) each reference is the parent of the next one, unless that has a parent. */
    for (uint32_t i = t->refs_at[member]; i < t->refs_at[member + 1]; i++) {
        uint32_t node = THREAD_NONE;
        const int rc = node_of(t, ref_at(t, i), &node, err);

        if (rc < 0)
            return rc;
        if (before != THREAD_NONE && t->parent[node] == THREAD_NONE)
            link_node(t, before, node);
        before = node;
    }
    /* (B) the last reference is the parent of the message, whatever was thought before. */
    if (t->parent[member] != before)
        unlink_node(t, member);
    if (before != THREAD_NONE && t->parent[member] == THREAD_NONE)
        link_node(t, before, member);
    return BASE_OK;
}

int thread_link(struct mdsq_thread *t, uint64_t until_us, struct error *err)
{
    while (t->at < t->n) {
        if (t->at + PREFETCH_MEMBERS < t->n) {
            for (uint32_t i = t->refs_at[t->at + PREFETCH_MEMBERS]; i < t->refs_at[t->at + PREFETCH_MEMBERS + 1]; i++)
                __builtin_prefetch(&t->ids.slots[(uint32_t)ref_at(t, i) & (t->ids.slots_n - 1)]);
        }

        const int rc = link_member(t, t->at++, err);

        if (rc < 0)
            return rc;
        if (t->at % MEMBERS_BETWEEN_CLOCKS == 0 && query_os_monotonic_us() >= until_us)
            return 1;
    }
    return BASE_OK;
}
