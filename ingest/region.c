/*
 * region: the memory that parent, nursery and workers share.
 *
 * A file without a name or reservation: only touched pages cost anything, and nothing outlives the processes.
 */
#include "ingest_private.h"

#include <sys/mman.h>
#include <unistd.h>

static size_t page_up(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (n + page - 1) / page * page;
}

int ingest_region_new(uint32_t slots, uint32_t workers, struct region *out, struct error *err)
{
    ASSERT(slots <= SLOTS_MAX && workers <= WORKERS_MAX);
    size_t slots_off = workers * sizeof(struct worker_line);
    size_t tasks_off = page_up(slots_off + (slots + 1) * sizeof(struct slot_control));
    size_t claims_off = page_up(tasks_off + (slots + 1) * TASK_AREA_BYTES);
    uint32_t claims_cells = ingest_claims_cells(slots);
    size_t results_off = page_up(claims_off + claims_cells * sizeof(uint64_t));
    size_t jumbo_off = results_off + (slots + 1) * AREA_BYTES;
    size_t bytes = jumbo_off + JUMBO_BYTES;
    int fd = memfd_create("mds-ingest", MFD_CLOEXEC);
    void *base = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, (off_t)bytes) == 0)
        base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED) {
        int rc = error_errno(err, "ingest: cannot map %zu bytes of shared memory", bytes);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    uint8_t *p = base;
    *out = (struct region){
        .fd = fd,
        .base = p,
        .bytes = bytes,
        .slots = slots,
        .workers = workers,
        .worker = (struct worker_line *)base,
        .slot = (struct slot_control *)(void *)(p + slots_off),
        .tasks = p + tasks_off,
        .results = p + results_off,
        .jumbo = p + jumbo_off,
        .claims = (_Atomic uint64_t *)(void *)(p + claims_off),
        .claims_cells = claims_cells,
    };
    return BASE_OK;
}

void ingest_region_release(struct region *r)
{
    if (r->base) {
        munmap(r->base, r->bytes);
        close(r->fd);
    }
    *r = (struct region){0};
}

int ingest_region_unmap_results(const struct region *r)
{
    return munmap(r->results, r->bytes - (size_t)(r->results - r->base));
}

void ingest_region_drop(uint8_t *area, size_t off, size_t end)
{
    off = page_up(off);
    end = page_up(end);
    if (off < end)
        madvise(area + off, end - off, MADV_REMOVE); /* best effort: the bound is kept all the same by AREA_BYTES */
}

uint64_t ingest_entry_check(const struct entry *e, struct bytes record)
{
    struct entry zero = *e;
    zero.check = 0;
    return hash64_seeded(record, hash64_of(bytes_of(&zero, sizeof zero)));
}
