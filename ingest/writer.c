/*
 * writer: the side that takes results in order.
 *
 * Nothing a worker wrote is believed before its checksum and its bounds are: a result that fails them counts as a crash
 * of its item, which is then done again by the same rule (ingest_blame).
 */
#include "pipeline.h"

#include "system.h"

#include <string.h>

#define IDLE_ROUNDS_MAX 64u /* rounds without a result: ingest_blame ends sooner, unless control memory is damaged */

static void add_stat(_Atomic uint64_t *counter, uint64_t n)
{
    /* relaxed, and no read-modify-write: the writer alone changes it */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

static void move_mean(_Atomic uint64_t *mean, uint64_t v)
{
    uint64_t old = atomic_load_explicit(mean, memory_order_relaxed);
    if (v > UINT64_C(1) << 40)
        v = UINT64_C(1) << 40;
    atomic_store_explicit(mean, old - old / 16 + v / 16, memory_order_relaxed);
}

static void drop_jumbo(struct ingest *ing)
{
    ingest_region_drop(ing->crew.region.jumbo, 0, ing->jumbo_bytes);
    ing->jumbo_bytes = 0;
}

static void drop_area(struct ingest *ing, uint32_t slot)
{
    uint8_t *area = ing->crew.region.results + slot * AREA_BYTES;
    if (ing->area_high > AREA_KEEP_BYTES)
        ingest_region_drop(area, AREA_KEEP_BYTES, AREA_BYTES);
    ing->area_high = 0;
}

static int wait_returned(struct ingest *ing, uint32_t slot, struct error *err)
{
    const struct slot_control *c = &ing->crew.region.slot[slot];
    /* acquire: entries and records of the worker */
    while (atomic_load_explicit(&c->state, memory_order_acquire) != SLOT_RETURNED) {
        int rc = ingest_wait(ing, ing->crew.done_fd, err);
        if (rc != BASE_OK)
            return rc;
    }
    return BASE_OK;
}

/* Entry i of the present round, if it and its record are whole. */
static bool read_entry(const struct ingest *ing, uint32_t slot, uint32_t i, bool jumbo, struct entry *e,
                       struct bytes *record)
{
    const struct region *r = &ing->crew.region;
    *e = region_entries(r, slot)[i];
    size_t from = jumbo ? 0 : AREA_RECORDS, bound = jumbo ? JUMBO_BYTES : AREA_BYTES;
    if (e->index != i || e->jumbo != jumbo || e->off < from || e->off > bound || e->len > bound - e->off)
        return false;
    *record = bytes_of((jumbo ? r->jumbo : r->results + slot * AREA_BYTES) + e->off, e->len);
    return e->check == ingest_entry_check(e, *record);
}

static bool fill_result(const struct entry *e, struct bytes record, struct ingest_result *out)
{
    switch (e->status) {
    case INGEST_PARSED:
        if (mime_record_decode(record, &out->record, NULL) != BASE_OK || out->record.size != e->size)
            return false;
        break;
    case INGEST_KNOWN: break;
    case INGEST_FAILED:
        if (e->code >= BASE_OK || e->code < BASE_ERR_AGAIN || record.n >= sizeof out->reason.text)
            return false;
        out->reason.code = e->code;
        out->reason.sys = e->sys;
        if (record.n)
            memcpy(out->reason.text, record.p, record.n);
        out->status = INGEST_FAILED;
        return true;
    default: return false;
    }
    out->status = e->status;
    out->hash = e->hash;
    out->size = e->size;
    out->mtime_ns = e->mtime_ns;
    out->internal_date = e->date;
    out->internal_zone = e->zone;
    return true;
}

static void fill_note(const struct slot_notes *notes, uint32_t i, struct ingest_result *out)
{
    const struct note *note = &notes->note[i];
    const uint8_t *text = notes->text.p;
    const struct shared_task *t = &note->task;
    *out = (struct ingest_result){
        .status = INGEST_PASSED,
        .tag = bytes_slice(buf_bytes(&notes->text), note->tag_off, note->tag_n),
        .vault = t->vault,
        .locator = {.container = {text ? text + note->container_off : NULL, t->container_n},
                    .name = {text ? text + note->name_off : NULL, t->name_n},
                    .offset = t->offset,
                    .length = t->length,
                    .filter = t->filter},
    };
}

static void count(struct ingest *ing, const struct ingest_result *r, uint8_t mode, uint64_t record_bytes)
{
    add_stat(&ing->parsed, r->status == INGEST_PARSED);
    add_stat(&ing->known, r->status == INGEST_KNOWN);
    add_stat(&ing->failed, r->status == INGEST_FAILED);
    add_stat(&ing->crashed, mode == MODE_OPAQUE_CRASHED || mode == MODE_FAIL_DIED);
    add_stat(&ing->hung, mode == MODE_OPAQUE_HUNG || mode == MODE_FAIL_HUNG);
    add_stat(&ing->bytes, r->size);
    move_mean(&ing->mean_item, r->size);
    if (r->status == INGEST_PARSED)
        move_mean(&ing->mean_record, record_bytes);
}

/* A slot, seen by the writer, at one of its tasks. */
struct turn {
    uint32_t slot;
    uint32_t i, n;       /* task, of how many */
    struct round *round; /* its present one */
};

/* Is there an entry for task t->i, whole or not? The slot has come back. */
static bool has_entry(const struct ingest *ing, const struct turn *t)
{
    uint32_t done =
        atomic_load_explicit(&ing->crew.region.slot[t->slot].done, memory_order_relaxed); /* `state` acquired it */
    return t->i < done && done <= t->n;
}

static bool read_result(struct ingest *ing, const struct turn *t, struct ingest_result *out)
{
    struct entry e;
    struct bytes record;
    if (!has_entry(ing, t) || !read_entry(ing, t->slot, t->i, t->round->jumbo, &e, &record) ||
        !fill_result(&e, record, out))
        return false;
    if (t->round->jumbo)
        ing->jumbo_bytes = e.len;
    else if (e.off + e.len > ing->area_high)
        ing->area_high = (size_t)(e.off + e.len);
    count(ing, out, ing->crew.region.slot[t->slot].mode[t->i], e.len);
    return true;
}

/* The slot has come back without a good result for task t->i: the next round begins there. */
static void begin_round(struct ingest *ing, const struct turn *t)
{
    struct slot_control *c = &ing->crew.region.slot[t->slot];
    bool is_first = t->i == t->round->first;
    bool wants_jumbo = !has_entry(ing, t) && is_first && !t->round->jumbo && c->why == WHY_JUMBO;
    bool is_damaged = has_entry(ing, t) || (is_first && !wants_jumbo);
    if (is_damaged)
        ingest_blame(&c->mode[t->i], &c->tries[t->i], DEATH_CRASHED);
    /* Alone if it was damaged: an item after it in the same round may have done that, and would again. */
    *t->round = (struct round){t->i, is_damaged || wants_jumbo ? t->i + 1 : t->n, wants_jumbo};
    ing->rounds++;
    ingest_queue_slot(ing, t->slot, t->round);
}

/* Waits until task t->i has a good result, for as many rounds as that takes. */
static int take(struct ingest *ing, const struct turn *t, struct ingest_result *out, struct error *err)
{
    for (; ing->rounds < IDLE_ROUNDS_MAX; begin_round(ing, t)) {
        int rc = wait_returned(ing, t->slot, err);
        if (rc != BASE_OK)
            return rc;
        if (read_result(ing, t, out)) {
            ing->rounds = 0;
            return BASE_OK;
        }
    }
    return error_set(err, BASE_ERR_CORRUPT, 0,
                     "ingest: workers return no result for an item; shared memory is damaged");
}

static void free_slot(struct ingest *ing, uint32_t slot)
{
    uint64_t head = atomic_load_explicit(&ing->head, memory_order_relaxed); /* ours */
    drop_area(ing, slot);
    ing->at = 0;
    ing->round = (struct round){0};
    atomic_store_explicit(&ing->crew.region.slot[slot].state, SLOT_FREE, memory_order_relaxed);
    /* release: we are through with the slot's notes and its state */
    atomic_store_explicit(&ing->head, head + 1, memory_order_release);
    /* The planner waits only while all slots are taken, so that the next multiple is sure to come: to be woken for
     * every slot would cost it more than to fill it. */
    if ((head + 1) % (ing->crew.region.slots / 4 + 1) == 0)
        system_post(ing->space_fd);
}

/* Gives back the head slot if all of it was taken. */
static void free_finished(struct ingest *ing)
{
    uint64_t head = atomic_load_explicit(&ing->head, memory_order_relaxed); /* ours */
    /* acquire: the notes */
    if (head < atomic_load_explicit(&ing->tail, memory_order_acquire)) {
        uint32_t slot = (uint32_t)(head % ing->crew.region.slots);
        if (ing->at >= ing->notes[slot].n)
            free_slot(ing, slot);
    }
}

/* The slot whose turn it is, or the end. */
static int head_slot(struct ingest *ing, uint32_t *slot_out, struct error *err)
{
    for (;;) {
        uint64_t head = atomic_load_explicit(&ing->head, memory_order_relaxed);
        /* acquire, and before tail: a closed pipeline's tail is final */
        bool closed = atomic_load_explicit(&ing->closed, memory_order_acquire);
        /* acquire: the notes */
        if (head < atomic_load_explicit(&ing->tail, memory_order_acquire)) {
            *slot_out = (uint32_t)(head % ing->crew.region.slots);
            if (ing->at < ing->notes[*slot_out].n)
                return INGEST_MORE;
            free_slot(ing, *slot_out);
            continue;
        }
        if (closed)
            return INGEST_DONE;
        int rc = ingest_wait(ing, ing->crew.done_fd, err);
        if (rc != BASE_OK)
            return rc;
    }
}

int ingest_next(struct ingest *ing, struct ingest_result *out, struct error *err)
{
    uint32_t slot = 0;
    ing->can_redo = false;
    if (ing->jumbo_bytes)
        drop_jumbo(ing);
    if (ingest_is_cancelled(ing))
        return error_set(err, BASE_ERR_CANCELLED, 0, "ingest: cancelled");
    int rc = head_slot(ing, &slot, err);
    if (rc <= 0)
        return rc;
    const struct slot_notes *notes = &ing->notes[slot];
    fill_note(notes, ing->at, out);
    if (notes->note[ing->at].task.pass) {
        /* It needs no result, but the slot must not be given back while a worker has it. */
        rc = ing->at + 1 == notes->n ? wait_returned(ing, slot, err) : BASE_OK;
    } else {
        struct turn turn = {slot, ing->at, notes->n, &ing->round};
        rc = take(ing, &turn, out, err);
    }
    if (rc != BASE_OK)
        return rc;
    ing->can_redo = out->status == INGEST_KNOWN;
    add_stat(&ing->delivered, !notes->note[ing->at].task.pass);
    ing->at++;
    return INGEST_MORE;
}

/* Would ingest_next find what it needs? A slot that came back short of its next task is sent out again. */
static bool is_ready(struct ingest *ing)
{
    uint64_t head = atomic_load_explicit(&ing->head, memory_order_relaxed); /* ours */
    /* acquire, and before tail: a closed pipeline's tail is final */
    bool closed = atomic_load_explicit(&ing->closed, memory_order_acquire);
    /* acquire: the notes */
    if (head >= atomic_load_explicit(&ing->tail, memory_order_acquire))
        return closed;
    uint32_t slot = (uint32_t)(head % ing->crew.region.slots);
    const struct slot_notes *notes = &ing->notes[slot];
    struct turn turn = {slot, ing->at, notes->n, &ing->round};
    bool pass = notes->note[ing->at].task.pass;
    if (pass && ing->at + 1 < notes->n)
        return true;
    /* acquire: entries and records of the worker */
    if (atomic_load_explicit(&ing->crew.region.slot[slot].state, memory_order_acquire) != SLOT_RETURNED)
        return false;
    if (pass || has_entry(ing, &turn) || ing->rounds >= IDLE_ROUNDS_MAX)
        return true;
    begin_round(ing, &turn);
    return false;
}

int ingest_ready(struct ingest *ing, int timeout_ms, struct error *err)
{
    uint64_t until_ns = system_now_ns() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) * 1000000;
    ing->can_redo = false;
    if (ing->jumbo_bytes)
        drop_jumbo(ing);
    for (;;) {
        if (ingest_is_cancelled(ing))
            return error_set(err, BASE_ERR_CANCELLED, 0, "ingest: cancelled");
        free_finished(ing);
        if (is_ready(ing))
            return 1;
        uint64_t now_ns = system_now_ns();
        if (now_ns >= until_ns)
            return 0;
        int rc = ingest_wait_ms(ing, ing->crew.done_fd, (int)((until_ns - now_ns + 999999) / 1000000), err);
        if (rc < 0)
            return rc;
    }
}

int ingest_redo(struct ingest *ing, struct ingest_result *out, struct error *err)
{
    if (!ing->can_redo)
        return error_set(err, BASE_ERR_USAGE, 0, "ingest: the last result was not one of a known hash");
    ing->can_redo = false;
    const struct region *r = &ing->crew.region;
    uint32_t from = (uint32_t)(atomic_load_explicit(&ing->head, memory_order_relaxed) % r->slots);
    uint32_t own = ingest_own_slot(ing), i = ing->at - 1;
    const struct slot_notes *notes = &ing->notes[from];
    struct shared_task *task = &region_tasks(r, own)[0];
    fill_note(notes, i, out);

    *task = notes->note[i].task;
    task->force_parse = 1;
    task->container_off = sizeof *task;
    task->name_off = task->container_off + task->container_n;
    uint8_t *text = (uint8_t *)task;
    if (out->locator.container.n)
        memcpy(text + task->container_off, out->locator.container.p, out->locator.container.n);
    if (out->locator.name.n)
        memcpy(text + task->name_off, out->locator.name.p, out->locator.name.n);
    struct slot_control *c = &r->slot[own];
    c->mode[0] = r->slot[from].mode[i];
    c->tries[0] = 0;
    atomic_store_explicit(&c->seq, 0, memory_order_relaxed);

    struct round round = {.end = 1};
    ingest_queue_slot(ing, own, &round);
    struct turn turn = {own, 0, 1, &round};
    int rc = take(ing, &turn, out, err);
    return rc == BASE_OK ? INGEST_MORE : rc;
}
