/*
 * worker: the process that opens, hashes and parses items.
 *
 * It may die at any instruction: an entry counts only once `done` has passed it, and everything else it holds
 * (descriptors, heap, mappings) dies with it.
 */
#include "ingest_private.h"

#include "system.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define AHEAD_ITEMS       14u  /* of a slot opened before their turn, so that the disk works while we parse */
#define HINTED_ITEMS      512u /* once a read waits, so many are announced to the kernel */
#define READ_WAITS_NS     ((uint64_t)100 * 1000) /* copying the largest item that is copied takes less */
#define CHECK_EVERY_ITEMS 4096u
#define BIG_ITEM_BYTES    ((uint64_t)4 << 20)       /* after one of these the heap is looked at */
#define UNSENT_NS         ((uint64_t)100 * 1000000) /* a death does not cost much more work than this of other items */

/* What the slot at work has not sent yet. Static, as tests reach it from a parser. Layout: that of the result area. */
static struct {
    uint8_t *area;       /* AREA_BYTES */
    size_t from, used;   /* records at [from, used) are not sent, nor are */
    uint32_t first, end; /* entries [first, end) */
    uint64_t since_ns;   /* begun before or with the first of them */
} batch;

struct worker {
    /* permanent */
    const struct crew *crew;
    const struct region *region;
    struct worker_line *line;
    struct mime_parser *parser;
    uint64_t born_private_bytes;
    /* the slot at work */
    struct vault_body *ahead[AHEAD_ITEMS]; /* of task i at i % AHEAD_ITEMS, NULL: not open */
    uint32_t ahead_next;                   /* first task not yet looked at */
    uint32_t hints;                        /* items still to announce: a call each, for nothing if they are in memory */
    /* scratch of one item */
    struct buf encoded;
    struct error reason;
    /* since the last look at the heap */
    uint32_t items;
    bool had_big;
};

/* One item's way through do_item. */
struct item_job {
    struct bytes container, name;
    const struct shared_task *task;
    uint64_t seq;            /* of the item, in order of submission */
    struct vault_body *body; /* opened ahead, or NULL; do_item closes it */
    enum item_mode mode;
    struct bytes record; /* out: what goes behind the entry */
};

/* A signal handler has no other way to its data. Written by this single-threaded process only. */
static struct {
    const uint8_t *p;
    size_t n;
} mapped_item;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
    (void)context;
    const uint8_t *at = info->si_addr;
    if (mapped_item.p && at >= mapped_item.p && (size_t)(at - mapped_item.p) < mapped_item.n)
        _exit(WORKER_EXIT_SHRANK);
    signal(sig, SIG_DFL); /* ours: the instruction repeats and kills */
}

static int64_t seconds_floor(int64_t ns)
{
    const int64_t second = 1000000000;
    return ns / second - (ns % second < 0);
}

/* The rule of docs/FORMAT.md; `r` may be NULL (nothing was parsed). */
static void set_internal_date(struct entry *e, const struct shared_task *t, const struct mime_record *r)
{
    e->zone = 0;
    e->date = seconds_floor(e->mtime_ns);
    if (t->has_date) {
        e->date = t->date;
    } else if (t->date_from_file || !r) {
        return;
    } else if (r->has_received_date) {
        e->date = r->received_date;
        e->zone = r->received_zone;
    } else if (r->has_sent_date) {
        e->date = r->sent_date;
        e->zone = r->sent_zone;
    }
}

/* The header with its blank line. */
static struct bytes header_of(struct bytes item)
{
    size_t pos = 0;
    while (pos < item.n) {
        const uint8_t *lf = memchr(item.p + pos, '\n', item.n - pos);
        if (!lf)
            return item;
        pos = (size_t)(lf - item.p) + 1;
        if (pos < item.n && item.p[pos] == '\n')
            return bytes_slice(item, 0, pos + 1);
        if (pos + 1 < item.n && item.p[pos] == '\r' && item.p[pos + 1] == '\n')
            return bytes_slice(item, 0, pos + 2);
    }
    return item;
}

static void parse_item(struct worker *w, enum item_mode mode, struct bytes item, struct mime_record *out)
{
    if (mode == MODE_OPAQUE_CRASHED)
        mime_parse_opaque(w->parser, item, MIME_DEFECT(PARSER_CRASHED), out);
    else if (mode == MODE_OPAQUE_HUNG)
        mime_parse_opaque(w->parser, item, MIME_DEFECT(PARSER_HUNG), out);
    else
        w->crew->settings.parse(w->parser, item, out);
}

static void fail(struct worker *w, struct item_job *job, struct entry *e)
{
    e->status = INGEST_FAILED;
    e->code = w->reason.code;
    e->sys = w->reason.sys;
    job->record = bytes_str(w->reason.text);
}

/* Past the mode in which even the opaque record killed a worker. */
static void fail_untouched(struct worker *w, struct item_job *job, struct entry *e)
{
    w->reason = (struct error){0};
    if (job->mode == MODE_FAIL_SHRANK)
        error_set(&w->reason, BASE_ERR_GONE, 0, "the file shrank while it was read");
    else if (job->mode == MODE_FAIL_HUNG)
        error_set(&w->reason, BASE_ERR_IO, 0, "reading it takes too long");
    else
        error_set(&w->reason, BASE_ERR_IO, 0, "a process died each time it read it");
    fail(w, job, e);
}

static void do_mapped(struct worker *w, struct item_job *job, struct bytes item, struct entry *e)
{
    const struct ingest_settings *s = &w->crew->settings;
    const struct shared_task *t = job->task;
    struct mime_record r = {0};
    e->hash = hash128_of(item); /* touches all of a mapped file */
    atomic_store_explicit(&w->line->is_parsing, 1, memory_order_relaxed);
    if (s->known && !t->force_parse &&
        (ingest_known_has(s->known, &e->hash) || !ingest_claim(w->region, &e->hash, job->seq))) {
        e->status = INGEST_KNOWN;
        bool needs_header = !t->has_date && !t->date_from_file;
        if (needs_header)
            parse_item(w, job->mode, header_of(item), &r);
        set_internal_date(e, t, needs_header ? &r : NULL);
        return;
    }
    e->status = INGEST_PARSED;
    parse_item(w, job->mode, item, &r);
    mime_record_encode(&r, &w->encoded);
    if (w->encoded.n > JUMBO_BYTES) {
        buf_reset(&w->encoded);
        mime_parse_opaque(w->parser, item, 0, &r);
        mime_record_encode(&r, &w->encoded);
    }
    set_internal_date(e, t, &r);
    job->record = buf_bytes(&w->encoded);
}

static void announce(const struct worker *w)
{
    for (uint32_t i = 0; i < AHEAD_ITEMS; i++)
        if (w->ahead[i])
            vault_item_will_read(w->ahead[i]);
}

static int map_item(struct worker *w, struct vault_body *body, struct bytes *out)
{
    const uint64_t began_ns = system_now_ns();
    int rc = vault_item_map(body, out, &w->reason);
    if (system_now_ns() - began_ns > READ_WAITS_NS) {
        if (!w->hints)
            announce(w);
        w->hints = HINTED_ITEMS;
    }
    return rc;
}

static uint32_t limit_ms(const struct ingest_settings *s, uint64_t size)
{
    uint64_t ms = s->item_ms + (size >> 24) * 1000;
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

static void do_item(struct worker *w, struct item_job *job, struct entry *e)
{
    const struct ingest_settings *s = &w->crew->settings;
    const struct shared_task *t = job->task;
    struct vault_body *body = job->body;
    struct bytes item = {0};
    struct vault_locator locator = {job->container, job->name, t->offset, t->length, t->filter};
    buf_reset(&w->encoded);
    w->reason = (struct error){0};
    if (job->mode >= MODE_FAIL_DIED) {
        fail_untouched(w, job, e);
        return;
    }
    if (!body && vault_item_open(s->vaults[t->vault], &locator, &body, &w->reason) != BASE_OK) {
        fail(w, job, e);
        return;
    }
    e->size = vault_item_size(body);
    e->mtime_ns = vault_item_mtime_ns(body);
    atomic_store_explicit(&w->line->limit_ms, limit_ms(s, e->size), memory_order_relaxed);
    w->had_big |= e->size >= BIG_ITEM_BYTES;
    if (map_item(w, body, &item) != BASE_OK) {
        fail(w, job, e);
    } else {
        mapped_item.p = item.p;
        mapped_item.n = item.n;
        do_mapped(w, job, item, e);
        mapped_item.p = NULL;
    }
    vault_item_close(&body);
}

uint8_t *ingest_worker_unsent(size_t *n)
{
    *n = batch.used - batch.from;
    return batch.area + batch.from;
}

/* Task k of the slot is the first of this batch. */
static void batch_begin(const struct slot_control *c, uint32_t k)
{
    bool is_sane = c->used >= AREA_RECORDS && c->used <= AREA_BYTES;
    /* Without sense, the area counts as full: the writer sees what is there. */
    batch.used = k == c->first ? AREA_RECORDS : is_sane ? c->used : AREA_BYTES;
    batch.from = batch.used;
    batch.first = batch.end = k;
    batch.since_ns = system_now_ns();
}

static void send_bytes(const struct region *r, const uint8_t *to, struct bytes from)
{
    while (from.n) {
        ssize_t n = pwrite(r->fd, from.p, from.n, to - r->base);
        if (n < 0 && errno == EINTR)
            continue;
        /* No memory for the pages: as if they could not be touched. The nursery says what an end costs. */
        ASSERT(n > 0);
        to += n;
        from = bytes_slice(from, (size_t)n, SIZE_MAX);
    }
}

/* Gives the batch to the slot: from now on its entries outlive this process. */
static void batch_send(struct worker *w, uint32_t slot)
{
    const struct region *r = w->region;
    struct slot_control *c = &r->slot[slot];
    const size_t entry = sizeof(struct entry);
    if (batch.first == batch.end)
        return;
    uint8_t *area = r->results + slot * AREA_BYTES;
    send_bytes(r, area + batch.from, bytes_of(batch.area + batch.from, batch.used - batch.from));
    send_bytes(r, area + batch.first * entry,
               bytes_of(batch.area + batch.first * entry, (batch.end - batch.first) * entry));
    c->used = (uint32_t)batch.used;
    /* release: whoever reads done sees the entries before it, also after our death */
    atomic_store_explicit(&c->done, batch.end, memory_order_release);
    atomic_fetch_add_explicit(&w->line->items, batch.end - batch.first, memory_order_relaxed);
    batch_begin(c, batch.end);
}

static enum slot_why store(struct worker *w, uint32_t slot, struct entry *e, struct bytes record)
{
    const struct slot_control *c = &w->region->slot[slot];
    const uint32_t k = batch.end;
    e->off = batch.used;
    if (c->jumbo) {
        ASSERT(record.n <= JUMBO_BYTES);
        e->off = 0;
        e->jumbo = 1;
    } else if (record.n > AREA_BYTES - batch.used) {
        return k == c->first ? WHY_JUMBO : WHY_FULL;
    }
    e->len = record.n;
    e->check = ingest_entry_check(e, record);
    if (c->jumbo) {
        send_bytes(w->region, w->region->jumbo, record);
    } else if (record.n) {
        memcpy(batch.area + e->off, record.p, record.n);
        batch.used += record.n;
    }
    memcpy(batch.area + k * sizeof *e, e, sizeof *e);
    batch.end++;
    return WHY_NOTHING;
}

/* From here on the nursery counts the time of task k, and blames it for our death. */
static void begin_item(struct worker *w, uint32_t slot, uint32_t k)
{
    const uint64_t now_ns = system_now_ns();
    if (now_ns - batch.since_ns > UNSENT_NS)
        batch_send(w, slot);
    atomic_store_explicit(&w->line->at, slot << 8 | k, memory_order_relaxed);
    atomic_store_explicit(&w->line->is_parsing, 0, memory_order_relaxed);
    atomic_store_explicit(&w->line->limit_ms, w->crew->settings.item_ms, memory_order_relaxed);
    /* release: a nursery that sees this start sees the item and limit that go with it */
    atomic_store_explicit(&w->line->start_ns, now_ns, memory_order_release);
}

/* Opens what comes behind task k. What cannot be opened is found so again in its turn; what is filtered is read as it
 * is opened, and what has done harm is not touched early. */
static void open_ahead(struct worker *w, uint32_t slot, uint32_t k, uint32_t end)
{
    const struct slot_control *c = &w->region->slot[slot];
    const struct shared_task *tasks = region_tasks(w->region, slot);
    const uint8_t *text = (const uint8_t *)tasks;
    for (; w->ahead_next < end && w->ahead_next < k + AHEAD_ITEMS; w->ahead_next++) {
        const uint32_t i = w->ahead_next;
        const struct shared_task *t = &tasks[i];
        struct vault_body **body = &w->ahead[i % AHEAD_ITEMS];
        if (i <= k || t->pass || t->filter || c->mode[i] != MODE_NORMAL)
            continue;
        begin_item(w, slot, i);
        const struct vault_locator locator = {.container = {text + t->container_off, t->container_n},
                                              .name = {text + t->name_off, t->name_n},
                                              .offset = t->offset,
                                              .length = t->length};
        if (vault_item_open(w->crew->settings.vaults[t->vault], &locator, body, NULL) != BASE_OK)
            continue;
        if (w->hints || vault_item_size(*body) >= BIG_ITEM_BYTES)
            vault_item_will_read(*body);
        w->hints -= w->hints > 0;
    }
}

static void close_ahead(struct worker *w)
{
    for (uint32_t i = 0; i < AHEAD_ITEMS; i++)
        vault_item_close(&w->ahead[i]);
}

static void do_slot(struct worker *w, uint32_t slot)
{
    const struct region *r = w->region;
    struct slot_control *c = &r->slot[slot];
    const struct shared_task *tasks = region_tasks(r, slot);
    const uint8_t *text = (const uint8_t *)tasks;
    /* The writer's own slot has no turn, and its tasks claim nothing. */
    uint64_t turn = atomic_load_explicit(&c->seq, memory_order_relaxed) - 1;
    uint32_t end = c->end;
    enum slot_why why = WHY_NOTHING;
    ASSERT(end <= INGEST_BATCH_ITEMS);
    w->ahead_next = 0;
    /* relaxed: the claim acquired the slot */
    uint32_t k = atomic_load_explicit(&c->done, memory_order_relaxed);
    batch_begin(c, k);
    for (; k < end && why == WHY_NOTHING; k++) {
        struct item_job job = {
            .task = &tasks[k],
            .container = {text + tasks[k].container_off, tasks[k].container_n},
            .name = {text + tasks[k].name_off, tasks[k].name_n},
            .seq = turn * INGEST_BATCH_ITEMS + k,
            .mode = c->mode[k],
        };
        struct entry e = {.index = k, .status = INGEST_PASSED};
        if (!tasks[k].pass) {
            open_ahead(w, slot, k, end);
            job.body = w->ahead[k % AHEAD_ITEMS];
            w->ahead[k % AHEAD_ITEMS] = NULL;
            begin_item(w, slot, k);
            do_item(w, &job, &e);
            w->items++;
        }
        why = store(w, slot, &e, job.record);
    }
    batch_send(w, slot);
    atomic_store_explicit(&w->line->start_ns, 0, memory_order_release);
    close_ahead(w);
    c->why = why;
}

/* Takes the oldest queued slot. -1: there is none. */
static int64_t claim(const struct region *r, uint32_t me)
{
    for (;;) {
        int64_t best = -1;
        uint64_t best_seq = UINT64_MAX;
        for (uint32_t s = 0; s <= r->slots; s++) {
            struct slot_control *c = &r->slot[s];
            /* acquire: seq belongs to this queueing */
            if (atomic_load_explicit(&c->state, memory_order_acquire) != SLOT_QUEUED)
                continue;
            uint64_t seq = atomic_load_explicit(&c->seq, memory_order_relaxed);
            if (best < 0 || seq < best_seq) {
                best = s;
                best_seq = seq;
            }
        }
        if (best < 0)
            return -1;
        uint32_t queued = SLOT_QUEUED;
        /* acquire: the tasks and what workers before us did. A lost race means another worker got it: look again. */
        if (atomic_compare_exchange_strong_explicit(&r->slot[best].state, &queued, slot_claimed_by(me),
                                                    memory_order_acquire, memory_order_relaxed))
            return best;
    }
}

/* GMime 3.2.13 leaks a little for some addresses and encoded words: a process that has grown is replaced between slots.
 */
static void look_at_heap(struct worker *w)
{
    if (w->items < CHECK_EVERY_ITEMS && !w->had_big)
        return;
    w->items = 0;
    w->had_big = false;
    if (w->encoded.cap > AREA_BYTES)
        buf_release(&w->encoded);
    uint64_t limit = w->crew->settings.recycle_bytes;
    if (limit == UINT64_MAX || system_private_bytes() <= w->born_private_bytes + limit)
        return;
#ifdef __GLIBC__
    malloc_trim(0);
#endif
    if (system_private_bytes() > w->born_private_bytes + limit)
        _exit(WORKER_EXIT_RECYCLE);
}

static void enter_sandbox(const struct crew *crew, uint32_t index)
{
    const struct region *r = &crew->region;
    const int keep[] = {crew->work_fd, crew->done_fd, r->fd};
    char name[16];
    snprintf(name, sizeof name, "mds-parse-%u", index);
    system_name(name);
    system_reset_signals();
    struct sigaction bus = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
    sigaction(SIGBUS, &bus, NULL);
    system_close_foreign(keep, sizeof keep / sizeof keep[0]);
    system_no_core();
    if (crew->settings.io_idle)
        system_idle_priority();
    ASSERT(mprotect(r->tasks, (r->slots + 1) * TASK_AREA_BYTES, PROT_READ) == 0);
    ASSERT(ingest_region_unmap_results(r) == 0);
    if (crew->settings.known)
        ingest_known_seal(crew->settings.known);
    system_limit_data(crew->settings.worker_bytes);
}

_Noreturn void ingest_worker_main(const struct crew *crew, uint32_t index)
{
    enter_sandbox(crew, index);
    struct worker w = {
        .crew = crew,
        .region = &crew->region,
        .line = &crew->region.worker[index],
        .parser = mime_parser_new(&crew->settings.mime),
        .hints = HINTED_ITEMS,
    };
    batch.area = malloc(AREA_BYTES);
    ASSERT(batch.area);
    w.born_private_bytes = system_private_bytes();
    for (;;) {
        system_wait(crew->work_fd);
        int64_t slot = claim(w.region, index);
        if (slot < 0)
            continue;
        struct slot_control *c = &w.region->slot[slot];
        do_slot(&w, (uint32_t)slot);
        /* release: entries, records and `why` before it */
        atomic_store_explicit(&c->state, SLOT_RETURNED, memory_order_release);
        system_post(crew->done_fd);
        look_at_heap(&w);
    }
}
