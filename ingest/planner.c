/*
 * planner: the side that submits tasks: fills batches and hands them out.
 */
#include "pipeline.h"

#include "system.h"

#include <string.h>

#define TASKS_BYTES (sizeof(struct shared_task) * INGEST_BATCH_ITEMS)
#define LINGER_NS   UINT64_C(1000000) /* a part-filled batch waits this long for idle workers to matter */

_Static_assert(TASKS_BYTES + 2 * VAULT_NAME_MAX <= TASK_AREA_BYTES, "one task always fits");

static uint32_t slot_of(const struct ingest *ing, uint64_t turn)
{
    return (uint32_t)(turn % ing->crew.region.slots);
}

/* How many tasks make a batch: few if they or their records are large, so that a round fills no area and takes no age.
 */
static uint32_t batch_target(const struct ingest *ing)
{
    uint64_t record = atomic_load_explicit(&ing->mean_record, memory_order_relaxed);
    uint64_t item = atomic_load_explicit(&ing->mean_item, memory_order_relaxed);
    uint64_t target = INGEST_BATCH_ITEMS;
    if (record * target > AREA_BYTES / 2)
        target = AREA_BYTES / 2 / record;
    if (item * target > BATCH_ITEM_BYTES)
        target = BATCH_ITEM_BYTES / item;
    return target < 1 ? 1 : (uint32_t)target;
}

static int begin_batch(struct ingest *ing, struct error *err)
{
    uint64_t tail = atomic_load_explicit(&ing->tail, memory_order_relaxed); /* ours */
    /* acquire: the writer is through with the notes of a slot that head has passed */
    while (tail - atomic_load_explicit(&ing->head, memory_order_acquire) >= ing->crew.region.slots) {
        int rc = ingest_wait(ing, ing->space_fd, err);
        if (rc != BASE_OK)
            return rc;
    }
    struct slot_notes *notes = &ing->notes[slot_of(ing, tail)];
    notes->n = 0;
    buf_reset(&notes->text);
    ing->shared_text = TASKS_BYTES;
    ing->began_ns = system_now_ns();
    return BASE_OK;
}

static void hand_out(struct ingest *ing)
{
    uint64_t tail = atomic_load_explicit(&ing->tail, memory_order_relaxed);
    uint32_t slot = slot_of(ing, tail);
    struct slot_control *c = &ing->crew.region.slot[slot];
    const struct round round = {.end = ing->filling};
    memset(c->mode, MODE_NORMAL, sizeof c->mode);
    memset(c->tries, 0, sizeof c->tries);
    atomic_store_explicit(&c->seq, tail + 1, memory_order_relaxed); /* 0 is the writer's own slot: first of all */
    bool has_items = ing->has_items;
    ing->filling = 0;
    ing->has_items = false;
    /* release: the notes. Before the slot is queued, so that no result can come back of a slot the writer does not know
     * of. */
    atomic_store_explicit(&ing->tail, tail + 1, memory_order_release);
    if (has_items) {
        ingest_queue_slot(ing, slot, &round);
        return;
    }
    /* Passes only: nothing for workers to do. release: as if one had come back with it. */
    atomic_store_explicit(&c->state, SLOT_RETURNED, memory_order_release);
    system_post(ing->crew.done_fd);
}

/* Are there workers without a slot to take? */
static bool is_starving(const struct ingest *ing)
{
    const struct region *r = &ing->crew.region;
    uint64_t tail = atomic_load_explicit(&ing->tail, memory_order_relaxed);
    uint32_t busy = 0;
    /* relaxed: a guess that moves only the moment of handing out */
    for (uint64_t turn = atomic_load_explicit(&ing->head, memory_order_relaxed); turn < tail; turn++)
        if (atomic_load_explicit(&r->slot[slot_of(ing, turn)].state, memory_order_relaxed) != SLOT_RETURNED)
            busy++;
    return busy < r->workers;
}

static bool is_ready(const struct ingest *ing)
{
    const struct slot_notes *notes = &ing->notes[slot_of(ing, atomic_load_explicit(&ing->tail, memory_order_relaxed))];
    if (ing->filling >= batch_target(ing) || notes->text.n >= SLOT_TEXT_BYTES)
        return true;
    if (ing->filling % 8 != 0 && system_now_ns() - ing->began_ns < LINGER_NS)
        return false;
    return ing->has_items ? is_starving(ing) : system_now_ns() - ing->began_ns >= LINGER_NS;
}

static uint32_t put_shared(struct ingest *ing, uint32_t slot, struct bytes v)
{
    uint32_t off = ing->shared_text;
    if (v.n)
        memcpy(ing->crew.region.tasks + slot * TASK_AREA_BYTES + off, v.p, v.n);
    ing->shared_text += (uint32_t)v.n;
    return off;
}

static uint32_t put_note(struct buf *text, struct bytes v)
{
    uint32_t off = (uint32_t)text->n;
    buf_append_bytes(text, v);
    return off;
}

/* The common way of submit and pass. Lengths have been checked. */
static int add(struct ingest *ing, const struct ingest_task *t, bool pass, struct error *err)
{
    if (ingest_is_cancelled(ing))
        return error_set(err, BASE_ERR_CANCELLED, 0, "ingest: cancelled");
    ASSERT(!atomic_load_explicit(&ing->closed, memory_order_relaxed));
    size_t names = t->locator.container.n + t->locator.name.n;
    if (ing->filling > 0 && names > TASK_AREA_BYTES - ing->shared_text)
        hand_out(ing);
    int rc = ing->filling == 0 ? begin_batch(ing, err) : BASE_OK;
    if (rc != BASE_OK)
        return rc;

    uint32_t slot = slot_of(ing, atomic_load_explicit(&ing->tail, memory_order_relaxed));
    struct slot_notes *notes = &ing->notes[slot];
    struct note *note = &notes->note[ing->filling];
    *note = (struct note){
        .task = {.offset = t->locator.offset,
                 .length = t->locator.length,
                 .date = t->date,
                 .vault = t->vault,
                 .filter = t->locator.filter,
                 .container_off = put_shared(ing, slot, t->locator.container),
                 .container_n = (uint32_t)t->locator.container.n,
                 .name_off = put_shared(ing, slot, t->locator.name),
                 .name_n = (uint32_t)t->locator.name.n,
                 .pass = pass,
                 .has_date = t->has_date,
                 .date_from_file = t->date_from_file,
                 .force_parse = t->force_parse},
        .tag_off = put_note(&notes->text, t->tag),
        .tag_n = (uint32_t)t->tag.n,
        .container_off = put_note(&notes->text, t->locator.container),
        .name_off = put_note(&notes->text, t->locator.name),
    };
    region_tasks(&ing->crew.region, slot)[ing->filling] = note->task;
    notes->n = ++ing->filling;
    ing->has_items |= !pass;
    atomic_fetch_add_explicit(&ing->submitted, !pass, memory_order_relaxed);
    if (is_ready(ing))
        hand_out(ing);
    return BASE_OK;
}

int ingest_submit(struct ingest *ing, const struct ingest_task *t, struct error *err)
{
    if (t->vault >= ing->crew.settings.vaults_n)
        return error_set(err, BASE_ERR_USAGE, 0, "ingest: no vault %u", t->vault);
    if (t->tag.n > INGEST_TAG_MAX || t->locator.container.n > VAULT_NAME_MAX || t->locator.name.n > VAULT_NAME_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "ingest: a tag of %zu or names of %zu and %zu bytes are too long",
                         t->tag.n, t->locator.container.n, t->locator.name.n);
    return add(ing, t, false, err);
}

int ingest_pass(struct ingest *ing, struct bytes tag, struct error *err)
{
    const struct ingest_task t = {.tag = tag};
    if (tag.n > INGEST_TAG_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "ingest: a tag of %zu bytes is too long", tag.n);
    return add(ing, &t, true, err);
}

int ingest_flush(struct ingest *ing, struct error *err)
{
    if (ingest_is_cancelled(ing))
        return error_set(err, BASE_ERR_CANCELLED, 0, "ingest: cancelled");
    if (ing->filling > 0)
        hand_out(ing);
    return BASE_OK;
}

void ingest_close(struct ingest *ing)
{
    if (ing->filling > 0)
        hand_out(ing);
    /* release: the last tail before it */
    atomic_store_explicit(&ing->closed, true, memory_order_release);
    system_post(ing->crew.done_fd); /* a writer that waits for a slot that will not come */
}
