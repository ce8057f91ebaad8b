/*
 * ingest_private: what the files of this room share: the memory that parent,
 * nursery and workers have in common, and the steps of an item that went wrong.
 *
 * The shared region, made by ingest_region_new before the nursery is forked:
 *
 *     control   struct worker_line[W], struct slot_control[S+1]     all may write
 *     tasks     TASK_AREA_BYTES a slot                                parent writes, workers read (mprotect)
 *     claims    8 bytes a cell: hashes of items in flight             all may write
 *     results   AREA_BYTES a slot: struct entry[64], then records     the worker that holds the slot writes (pwrite)
 *     jumbo     JUMBO_BYTES: one record that fits no slot             likewise
 *
 * Slot S is the writer's own, for ingest_redo. Workers have neither results nor jumbo in their memory: they collect a
 * slot's results in a private batch of the same layout and write it to the region's descriptor. So a wild write
 * costs at most what the slot has not sent yet, which the writer checks (entry.check, mime_record_decode), and no page
 * table changes while slots come and go.
 *
 * A slot goes out in rounds: mostly one, of all its tasks; more if their records do not fit at once, or one of them
 * came back damaged.
 *
 * A slot's way:  FREE -planner-> QUEUED -worker-> CLAIMED|w -worker-> RETURNED -writer-> QUEUED again or FREE
 *                                ^---- nursery, if w died ----'  (or RETURNED, if w had finished)
 * slot_control.state says who owns everything else of the slot: it is stored with release by whom gives and
 * loaded with acquire by whom takes. Wake-ups are eventfds and carry no data, so a process that is killed anywhere
 * loses nothing but a wake-up, which the nursery repeats for each death.
 *
 * Memory, 2 workers, 32 + 1 slots, as the sum of RssAnon and RssShmem over parent, nursery and workers. A shared page
 * counts in each process that touched it: parent and workers, W + 1 times, unless said otherwise.
 *
 *     results   33 x 384 KiB kept, mapped by the parent alone    12 MiB  (a batch of list mail takes 200 KiB: 7 MiB)
 *               33 x 1 MiB if every slot is full at once         33 MiB
 *     batches   2 x 1 MiB, private to the workers                 2 MiB
 *     tasks     33 x 64 KiB x 3                                   6 MiB
 *     claims    128 KiB x 3                                       0.4 MiB
 *     tags      33 x 320 KiB, private to the parent              10 MiB
 *     workers   2 x (RECYCLE_BYTES + what one batch adds)        48 MiB and more only for mail that is made for it
 *
 * The jumbo area adds one record, twice, given back at once. Measured: 22 MiB in all on list mail, 48 MiB with
 * records of 0.1 to 1.3 MB throughout and a slow writer (tests/stress/ingest_chaos.c).
 */
#ifndef INGEST_PRIVATE_H
#define INGEST_PRIVATE_H

#include "ingest/ingest.h"

#include <stdatomic.h>
#include <sys/types.h>

#define AREA_BYTES       ((size_t)1 << 20)
#define AREA_KEEP_BYTES  ((size_t)384 << 10) /* pages beyond are given back when the slot is free again */
#define TASK_AREA_BYTES  ((size_t)64 << 10)
#define JUMBO_BYTES      ((size_t)64 << 20)   /* a record over this is replaced by the opaque one */
#define SLOT_TEXT_BYTES  ((size_t)256 << 10)  /* tags and names of a slot: a batch ends when it has passed this */
#define BATCH_ITEM_BYTES ((uint64_t)64 << 20) /* wanted items' bytes in a batch */
#define RECYCLE_BYTES    ((uint64_t)24 << 20)
#define SLOTS_MAX        1024u
#define WORKERS_MAX      256u

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INGEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define INGEST_SANITIZED 1
#endif
#endif
#ifndef INGEST_SANITIZED
#define INGEST_SANITIZED 0
#endif

enum slot_state { SLOT_FREE = 0, SLOT_QUEUED, SLOT_CLAIMED, SLOT_RETURNED };

static inline uint32_t slot_claimed_by(uint32_t worker)
{
    return SLOT_CLAIMED | worker << 8;
}

/* Why a slot came back before its last task. */
enum slot_why {
    WHY_NOTHING = 0, /* all done */
    WHY_FULL,        /* the next record does not fit behind the others */
    WHY_JUMBO,       /* the next record does not even fit alone */
};

/* How to treat an item, by what it has done to workers. Set by nursery and writer. */
enum item_mode {
    MODE_NORMAL = 0,
    MODE_OPAQUE_CRASHED, /* mime_parse_opaque instead of the parser */
    MODE_OPAQUE_HUNG,
    MODE_FAIL_DIED, /* do not touch it: FAILED with a reason */
    MODE_FAIL_HUNG,
    MODE_FAIL_SHRANK,
};

enum item_death {
    DEATH_CRASHED,
    DEATH_KILLED,  /* SIGKILL, not from us */
    DEATH_HUNG,    /* ours, for its parser took too long */
    DEATH_STALLED, /* ours, while it was still being read: nobody's parser is at fault, and the next build may have
                      better luck */
    DEATH_SHRANK,
};

/*
 * The next way to treat an item during which a worker died. A crash may be the late damage of an item before it, so the
 * first one is repeated in another process; a SIGKILL from outside is likely no fault of the item and is repeated three
 * times.
 */
void ingest_blame(uint8_t *mode, uint8_t *tries, enum item_death how);

/* Written by one worker (pid: by the nursery); read by the nursery. */
struct worker_line {
    _Alignas(128) _Atomic int32_t pid; /* 0: none */
    _Atomic uint32_t at;               /* slot << 8 | item, valid if start_ns is not 0 */
    _Atomic uint64_t start_ns;         /* CLOCK_MONOTONIC when the item was begun, 0: between items */
    _Atomic uint32_t limit_ms;         /* what it may take */
    _Atomic uint32_t is_parsing;       /* its bytes have been read */
    _Atomic uint64_t items;            /* finished since the pipeline began: progress */
};

struct slot_control {
    _Alignas(128) _Atomic uint32_t state; /* enum slot_state, for CLAIMED with worker << 8 */
    _Atomic uint32_t done; /* tasks [first, done) have entries; release after each, as a kill may follow */
    /* The rest belongs to the slot's owner by `state`. */
    uint32_t why;                      /* enum slot_why */
    uint32_t first, end;               /* tasks of the present round; the result area holds entries from `first` on */
    uint32_t jumbo;                    /* a round of one task, whose record goes into the jumbo area */
    uint32_t used;                     /* bytes of the result area up to the record of entry done - 1, if done > first */
    _Atomic uint64_t seq;              /* submission order; workers take the lowest */
    uint8_t mode[INGEST_BATCH_ITEMS];  /* enum item_mode */
    uint8_t tries[INGEST_BATCH_ITEMS]; /* deaths in this mode */
};

/* A task as workers see it. Names lie behind the array of tasks. */
struct shared_task {
    uint64_t offset, length;
    int64_t date;
    uint32_t vault, filter;
    uint32_t container_off, container_n, name_off, name_n; /* in the task area */
    uint8_t pass, has_date, date_from_file, force_parse;
};

/* One result. No padding: `check` covers it as bytes. */
struct entry {
    uint64_t check;    /* of this struct with check 0 and of the record bytes */
    uint64_t off, len; /* record (PARSED) or reason's text (FAILED), in the result area or the jumbo area */
    uint64_t size;
    int64_t mtime_ns;
    int64_t date;
    struct hash128 hash;
    int32_t code, sys; /* FAILED: enum base_err, errno */
    int16_t zone;
    uint8_t status; /* enum ingest_status */
    uint8_t jumbo;
    uint32_t index; /* of the task */
};
_Static_assert(sizeof(struct entry) == 80, "no padding");

struct region {
    int fd; /* of the whole, a memfd: byte i of it is base[i] */
    uint8_t *base;
    size_t bytes;
    uint32_t slots, workers; /* slots without the writer's own */
    struct worker_line *worker;
    struct slot_control *slot; /* [slots + 1] */
    uint8_t *tasks, *results, *jumbo;
    _Atomic uint64_t *claims; /* [claims_cells], a power of two */
    uint32_t claims_cells;
};

int ingest_region_new(uint32_t slots, uint32_t workers, struct region *out, struct error *err);
void ingest_region_release(struct region *r);
static inline struct shared_task *region_tasks(const struct region *r, uint32_t slot)
{
    return (struct shared_task *)(void *)(r->tasks + slot * TASK_AREA_BYTES);
}
static inline struct entry *region_entries(const struct region *r, uint32_t slot)
{
    return (struct entry *)(void *)(r->results + slot * AREA_BYTES);
}
#define AREA_RECORDS (sizeof(struct entry) * INGEST_BATCH_ITEMS) /* where records begin in a result area */
/* Takes results and jumbo out of the calling process (a worker), which writes them by `fd` from then on. */
int ingest_region_unmap_results(const struct region *r);
/* Gives the pages of [off, end) of a shared area back to the system, whoever has mapped them. */
void ingest_region_drop(uint8_t *area, size_t off, size_t end);
uint64_t ingest_entry_check(const struct entry *e, struct bytes record);

uint32_t ingest_claims_cells(uint32_t slots);
/*
 * Is the item with this hash and sequence number to be parsed? No: an item in flight with the same hash and a smaller
 * number is. A hint, any process.
 */
bool ingest_claim(const struct region *r, const struct hash128 *hash, uint64_t seq);

/* What nursery and workers get over fork. */
struct crew {
    struct region region;
    struct ingest_settings settings; /* defaults filled in */
    int work_fd;                     /* eventfd semaphore: a slot may be queued */
    int done_fd;                     /* eventfd: a slot may have been returned */
    int parent_fd;                   /* nursery: end of file when the parent is gone or wants the end */
    int life_fd;                     /* nursery: its end closes when the nursery dies */
};

enum {
    NURSERY_EXIT_OK = 0,
    NURSERY_EXIT_NO_FORK = 3,
    NURSERY_EXIT_NO_PROGRESS = 4, /* workers die again and again without an item to blame */
    WORKER_EXIT_RECYCLE = 10,     /* has grown: replace me */
    WORKER_EXIT_SHRANK = 11,      /* SIGBUS inside the mapped item */
};

_Noreturn void ingest_nursery_main(const struct crew *crew);
_Noreturn void ingest_worker_main(const struct crew *crew, uint32_t index);

/* Takes the right to write from the calling process (a worker). */
void ingest_known_seal(const struct ingest_known *k);

/* For tests, in a worker: the records of its slot that it has not sent yet. */
uint8_t *ingest_worker_unsent(size_t *n);
/* For tests. */
pid_t ingest_nursery_pid(const struct ingest *ing);
pid_t ingest_worker_pid(const struct ingest *ing, uint32_t index); /* 0 while it is replaced */

#endif
