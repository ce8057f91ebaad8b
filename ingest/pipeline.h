/*
 * pipeline: struct ingest, shared by the caller's two sides (planner.c, writer.c).
 *
 * Slots are used in a ring: the planner fills slot tail % slots, the writer empties slot head % slots. `tail` and
 * `head` hand a slot's notes over; slot_control.state hands over the shared half of it.
 */
#ifndef INGEST_PIPELINE_H
#define INGEST_PIPELINE_H

#include "ingest_private.h"

/* One task as the parent keeps it: nothing of it is within reach of a worker. */
struct note {
    struct shared_task task;
    uint32_t tag_off, tag_n, container_off, name_off; /* in slot_notes.text */
};

struct slot_notes {
    uint32_t n;
    struct note note[INGEST_BATCH_ITEMS];
    struct buf text; /* tags and names; memory is kept and bounded by SLOT_TEXT_BYTES + one task */
};

/* A round of a slot. */
struct round {
    uint32_t first, end; /* tasks */
    bool jumbo;
};

struct ingest {
    /* permanent */
    struct crew crew;
    pid_t nursery;
    int leash_fd;             /* written or closed: the nursery leaves */
    int life_read_fd;         /* end of file: the nursery is dead */
    int cancel_fd;            /* eventfd, never read: readable for good once cancelled */
    int space_fd;             /* eventfd: the writer freed a slot */
    struct slot_notes *notes; /* [slots], of slot `s` by planner or writer as head and tail say */
    _Atomic bool cancelled, closed;
    _Atomic uint64_t submitted;
    _Atomic uint64_t delivered, parsed, known, failed, crashed, hung, bytes; /* writer writes, any reads */
    _Atomic uint64_t mean_record, mean_item; /* bytes, moving; writer writes, planner reads: how full a batch may be */

    /* planner */
    _Alignas(128) _Atomic uint64_t tail; /* slots handed to the writer */
    uint32_t filling;                    /* tasks in the slot `tail`, 0: none begun */
    bool has_items;                      /* of which not all are passes */
    uint32_t shared_text;                /* bytes used in its task area */
    uint64_t began_ns;

    /* writer */
    _Alignas(128) _Atomic uint64_t head; /* slots given back to the planner */
    uint32_t at;                         /* next task of the head slot */
    struct round round;                  /* the head slot's present one; end 0: the planner's, of all tasks */
    uint64_t jumbo_bytes;                /* to give back before the next step */
    size_t area_high;                    /* most bytes of the head slot's area seen in use */
    unsigned rounds;                     /* begun since the last result: an end to damage that blaming does not end */
    bool can_redo;                       /* the last result was KNOWN and task `at` - 1 */
};

static inline uint32_t ingest_own_slot(const struct ingest *ing)
{
    return ing->crew.region.slots;
}

/* Waits for `fd` (an eventfd, drained), cancellation (BASE_ERR_CANCELLED) or the nursery's death (BASE_ERR_IO). */
int ingest_wait(struct ingest *ing, int fd, struct error *err);
/* The same for at most timeout_ms: 1 it was posted, 0 time is up. */
int ingest_wait_ms(struct ingest *ing, int fd, int timeout_ms, struct error *err);
bool ingest_is_cancelled(const struct ingest *ing);
/* Publishes the slot to the workers. */
void ingest_queue_slot(struct ingest *ing, uint32_t slot, const struct round *round);

#endif
