/*
 * known: an open-addressed table in an unlinked file, in generations.
 *
 *     file:  page 0  struct known_head       then generation 0 (2^k slots), generation 1 (2^(k+1) slots), ...
 *
 * The whole address range that the file may ever take is mapped once, before any fork. So a new generation is at the
 * same address in every process as soon as the file has grown: readers need no descriptor, no system call and no lock.
 * A slot's place is given by the top bits of the hash: growing walks the old table in order and writes
 * the new one in order. Old generations are punched out of the file.
 */
#include "ingest_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define HEAD_BYTES        4096u
#define FIRST_LOG2        15u
#define RESERVE_MAX_BYTES ((size_t)64 << 30) /* the last generation may take half: 2^31 slots */
#define RESERVE_MIN_BYTES ((size_t)64 << 20)

struct known_slot {
    _Atomic uint64_t prefix;
    _Atomic uint64_t id; /* item id + 1; 0: empty */
};

struct known_head {
    _Atomic uint64_t
        generation; /* file offset of the table, its log2 of slots in the low bits: offsets are multiples of 4096 */
    _Atomic uint64_t count;
};

struct ingest_known {
    uint8_t *base; /* the same in all processes */
    size_t reserve_bytes;
    int fd; /* of the writer's process */
};

struct known_table {
    struct known_slot *slot;
    uint32_t log2;
    uint64_t mask;
};

static struct known_head *head_of(const struct ingest_known *k)
{
    return (struct known_head *)(void *)k->base;
}

static struct known_table table_at(const struct ingest_known *k, uint64_t generation)
{
    uint32_t log2 = (uint32_t)(generation % HEAD_BYTES);
    return (struct known_table){
        .slot = (struct known_slot *)(void *)(k->base + generation / HEAD_BYTES * HEAD_BYTES),
        .log2 = log2,
        .mask = (UINT64_C(1) << log2) - 1,
    };
}

static uint64_t table_bytes(uint32_t log2)
{
    return sizeof(struct known_slot) << log2;
}

static uint64_t prefix_of(const struct hash128 *hash)
{
    return get_be64(hash->b);
}

static uint64_t home_of(const struct known_table *t, uint64_t prefix)
{
    return prefix >> (64 - t->log2);
}

static int extend(struct ingest_known *k, uint64_t off, uint64_t n, struct error *err)
{
    if (off + n > k->reserve_bytes)
        return error_set(err, BASE_ERR_LIMIT, 0, "known hashes: no address space for %llu bytes more",
                         (unsigned long long)n);
    /* Blocks now or an error now: a hole that the disk cannot fill later would be a SIGBUS. */
    int rc;
    do
        rc = fallocate(k->fd, 0, (off_t)off, (off_t)n);
    while (rc != 0 && errno == EINTR);
    if (rc != 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
        rc = ftruncate(k->fd, (off_t)(off + n));
    if (rc != 0)
        return error_errno(err, "known hashes: cannot take %llu bytes of temporary space", (unsigned long long)n);
    return BASE_OK;
}

static int open_unlinked(const char *dir, struct error *err)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    char path[4200];
    int n = snprintf(path, sizeof path, "%s/mds-known-XXXXXX", dir);
    if (n < 0 || (size_t)n >= sizeof path)
        return error_set(err, BASE_ERR_LIMIT, 0, "known hashes: the path of the temporary directory is too long");
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, "known hashes: cannot make a temporary file in %s", dir);
    unlink(path);
    return fd;
}

int ingest_known_new(const char *dir, struct ingest_known **out, struct error *err)
{
    struct ingest_known *k = calloc(1, sizeof *k);
    if (!k)
        return error_set(err, BASE_ERR_NOMEM, 0, "known hashes: no memory");
    k->fd = open_unlinked(dir, err);
    if (k->fd < 0) {
        int rc = k->fd;
        free(k);
        return rc;
    }
    void *base = MAP_FAILED;
    for (size_t n = RESERVE_MAX_BYTES; base == MAP_FAILED && n >= RESERVE_MIN_BYTES; n /= 2) {
        base = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, k->fd, 0);
        k->reserve_bytes = n;
    }
    int rc = BASE_OK;
    if (base == MAP_FAILED)
        rc = error_errno(err, "known hashes: cannot map a file in %s", dir);
    else
        k->base = base;
    if (rc == BASE_OK)
        rc = extend(k, 0, HEAD_BYTES + table_bytes(FIRST_LOG2), err);
    if (rc != BASE_OK) {
        ingest_known_free(&k);
        return rc;
    }
    atomic_store_explicit(&head_of(k)->generation, HEAD_BYTES | FIRST_LOG2, memory_order_release);
    *out = k;
    return BASE_OK;
}

static void insert(const struct known_table *t, uint64_t prefix, uint64_t id)
{
    uint64_t at = home_of(t, prefix);
    /* relaxed: only this process writes. Ends: the table is never more than five eighths full. */
    while (atomic_load_explicit(&t->slot[at].id, memory_order_relaxed) != 0)
        at = (at + 1) & t->mask;
    atomic_store_explicit(&t->slot[at].prefix, prefix, memory_order_relaxed);
    /* release: a reader that sees the id sees the prefix */
    atomic_store_explicit(&t->slot[at].id, id, memory_order_release);
}

/* Entries of one prefix lie in insertion order after their home; beginning behind an empty slot keeps that across the
 * wrap. */
static void copy_table(const struct known_table *from, const struct known_table *to)
{
    uint64_t start = 0;
    while (atomic_load_explicit(&from->slot[start].id, memory_order_relaxed) != 0)
        start++;
    for (uint64_t i = 0; i <= from->mask; i++) {
        const struct known_slot *s = &from->slot[(start + i) & from->mask];
        uint64_t id = atomic_load_explicit(&s->id, memory_order_relaxed);
        if (id != 0)
            insert(to, atomic_load_explicit(&s->prefix, memory_order_relaxed), id);
    }
}

static int grow(struct ingest_known *k, uint64_t generation, struct error *err)
{
    struct known_table old = table_at(k, generation);
    uint64_t old_off = generation / HEAD_BYTES * HEAD_BYTES;
    uint64_t off = old_off + table_bytes(old.log2);
    int rc = extend(k, off, table_bytes(old.log2 + 1), err);
    if (rc != BASE_OK)
        return rc;
    uint64_t next = off | (old.log2 + 1);
    struct known_table table = table_at(k, next);
    copy_table(&old, &table);
    /* The table is whole. An exchange in sequential order, so that it is seen before the hole is: a reader that meets
     * the hole finds the new generation and looks again. That punching fails only costs space. */
    atomic_exchange_explicit(&head_of(k)->generation, next, memory_order_seq_cst);
    fallocate(k->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)old_off, (off_t)table_bytes(old.log2));
    return BASE_OK;
}

int ingest_known_add(struct ingest_known *k, const struct hash128 *hash, uint64_t item_id, struct error *err)
{
    struct known_head *h = head_of(k);
    uint64_t count = atomic_load_explicit(&h->count, memory_order_relaxed);
    uint64_t generation = atomic_load_explicit(&h->generation, memory_order_relaxed);
    ASSERT(item_id != UINT64_MAX);
    if (count >= (UINT64_C(5) << (generation % HEAD_BYTES)) / 8) {
        int rc = grow(k, generation, err);
        if (rc != BASE_OK)
            return rc;
        generation = atomic_load_explicit(&h->generation, memory_order_relaxed);
    }
    struct known_table t = table_at(k, generation);
    insert(&t, prefix_of(hash), item_id + 1);
    atomic_store_explicit(&h->count, count + 1, memory_order_relaxed);
    return BASE_OK;
}

bool ingest_known_next(const struct ingest_known *k, const struct hash128 *hash, uint64_t *pos, uint64_t *item_id_out)
{
    struct known_head *h = head_of(k);
    uint64_t prefix = prefix_of(hash);
    for (;;) {
        /* acquire: the table that goes with it */
        uint64_t generation = atomic_load_explicit(&h->generation, memory_order_acquire);
        struct known_table t = table_at(k, generation);
        uint64_t id = 0, i = *pos;
        for (; i <= t.mask; i++) {
            const struct known_slot *s = &t.slot[(home_of(&t, prefix) + i) & t.mask];
            /* acquire: the prefix; and both before the second look at the generation */
            id = atomic_load_explicit(&s->id, memory_order_acquire);
            if (id == 0 || atomic_load_explicit(&s->prefix, memory_order_acquire) == prefix)
                break;
        }
        /* A table replaced under us may already be a hole: what was read counts only if it was still the one. */
        if (atomic_load_explicit(&h->generation, memory_order_relaxed) != generation)
            continue;
        if (id == 0 || i > t.mask)
            return false;
        *pos = i + 1;
        *item_id_out = id - 1;
        return true;
    }
}

bool ingest_known_has(const struct ingest_known *k, const struct hash128 *hash)
{
    uint64_t pos = 0, id;
    return ingest_known_next(k, hash, &pos, &id);
}

int ingest_known_clear(struct ingest_known *k, struct error *err)
{
    struct known_head *h = head_of(k);
    uint64_t first = HEAD_BYTES | FIRST_LOG2;
    /* relaxed throughout: whoever reads next has been told so by other means (a task) */
    if (atomic_load_explicit(&h->count, memory_order_relaxed) == 0)
        return BASE_OK;
    if (atomic_load_explicit(&h->generation, memory_order_relaxed) == first) {
        memset(k->base + HEAD_BYTES, 0, table_bytes(FIRST_LOG2));
    } else {
        /* Cut off and taken again: the way to zeros that every file system has. */
        if (ftruncate(k->fd, HEAD_BYTES) != 0)
            return error_errno(err, "known hashes: cannot cut a temporary file");
        int rc = extend(k, HEAD_BYTES, table_bytes(FIRST_LOG2), err);
        if (rc != BASE_OK)
            return rc;
        atomic_store_explicit(&h->generation, first, memory_order_release);
    }
    atomic_store_explicit(&h->count, 0, memory_order_relaxed);
    return BASE_OK;
}

void ingest_known_seal(const struct ingest_known *k)
{
    mprotect(k->base, k->reserve_bytes, PROT_READ);
}

uint64_t ingest_known_count(const struct ingest_known *k)
{
    return atomic_load_explicit(&head_of(k)->count, memory_order_relaxed);
}

void ingest_known_free(struct ingest_known **pointer)
{
    struct ingest_known *k = *pointer;
    if (!k)
        return;
    *pointer = NULL;
    if (k->base)
        munmap(k->base, k->reserve_bytes);
    if (k->fd >= 0)
        close(k->fd);
    free(k);
}
