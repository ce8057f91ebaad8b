/*
 * What is gone from the vault. Missing places are written to a spool while the source is scanned; at its end it is
 * decided whether so much may be gone, and only then something is removed. A container with missing places gets its
 * stamp after that, so that a killed build finds them missing again.
 */
#include "indexer_private.h"
#include "system.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Fewer items than this may go one by one without anybody being asked. */
#define SMALL_SOURCE 10u

struct indexer_spool {
    FILE *file;
    uint64_t n;
};

struct spooled {
    uint32_t container;
    uint16_t identity_n;
    uint8_t whole; /* the container itself */
    uint8_t unused;
};

static int spool_new(const char *dir, struct indexer_spool **out, struct error *err)
{
    int fd = indexer_temp_file(dir, err);
    if (fd < 0)
        return fd;
    struct indexer_spool *s = calloc(1, sizeof *s);
    ASSERT(s);
    s->file = fdopen(fd, "w+");
    if (!s->file) {
        free(s);
        close(fd);
        return error_errno(err, "%s: temporary file", dir);
    }
    *out = s;
    return 0;
}

void indexer_spool_free(struct indexer_spool **s)
{
    if (!*s)
        return;
    fclose((*s)->file);
    free(*s);
    *s = NULL;
}

static int spool_add(struct indexer_writer *w, const struct spooled *head, struct bytes identity, struct error *err)
{
    if (!w->spool) {
        int rc = spool_new(w->run->tmp, &w->spool, err);
        if (rc < 0)
            return rc;
    }
    w->spool->n++;
    if (fwrite(head, sizeof *head, 1, w->spool->file) != 1 ||
        (identity.n && fwrite(identity.p, identity.n, 1, w->spool->file) != 1))
        return error_errno(err, "%s: temporary file", w->run->tmp);
    return 0;
}

int indexer_missing_add(struct indexer_writer *w, uint32_t container, struct bytes identity, struct error *err)
{
    ASSERT(identity.n <= MDS_NAME_MAX);
    struct spooled head = {.container = container, .identity_n = (uint16_t)identity.n};
    return spool_add(w, &head, identity, err);
}

int indexer_missing_container(struct indexer_writer *w, uint32_t container, uint64_t rows, struct error *err)
{
    (void)rows; /* its messages were counted by the planner */
    struct spooled head = {.container = container, .whole = 1};
    return spool_add(w, &head, (struct bytes){0}, err);
}

/* Is this the place that the locator reads from? */
static bool is_read_from(const struct mds_locator *l, uint32_t container, struct bytes identity)
{
    if (l->container != container)
        return false;
    if (!l->name.n) /* mbox: offsets */
        return identity.n >= INDEXER_MBOX_KEY && get_be64(identity.p) == l->offset;
    const uint8_t *slash = memrchr(l->name.p, '/', l->name.n);
    struct bytes base = slash ? bytes_slice(l->name, (size_t)(slash - l->name.p) + 1, l->name.n) : l->name;
    return base.n >= identity.n && memcmp(base.p, identity.p, identity.n) == 0 &&
           (base.n == identity.n || base.p[identity.n] == ':');
}

int indexer_place_expunge(struct indexer_writer *w, uint32_t container, const struct mds_place *place,
                          struct error *err)
{
    bool item_gone = false;
    struct mds_item item;
    if (!place->uid)
        return 0;
    uint64_t id = place->item;
    int rc = mds_message_remove(w->txn, place->folder, place->uid, &item_gone, err);
    if (rc < 0 && rc != BASE_ERR_NOTFOUND)
        return rc;
    /* Not found: a client let it go before, but may have copied it, or it is kept aside. */
    w->report->messages_expunged += rc == 0;
    if (item_gone || w->relocate)
        return 0;
    rc = mds_item_get(w->txn, id, &item, err);
    if (rc == 0 && is_read_from(&item.locator, container, place->identity))
        return indexer_relocate_mark(w, err);
    return rc == BASE_ERR_NOTFOUND ? 0 : rc;
}

static int remove_place(struct indexer_writer *w, uint32_t container, struct bytes identity, struct error *err)
{
    struct mds_place place;
    int rc = indexer_writer_txn(w, err);
    if (rc == 0)
        rc = mds_place_get(w->txn, container, identity, &place, err);
    if (rc < 0)
        return rc == BASE_ERR_NOTFOUND ? 0 : rc;
    place.identity = identity;
    rc = indexer_place_expunge(w, container, &place, err);
    if (rc == 0)
        rc = mds_place_remove(w->txn, container, identity, err);
    return rc < 0 ? rc : indexer_writer_breathe(w, err);
}

static int remove_container(struct indexer_writer *w, uint32_t container, struct error *err)
{
    struct buf identity = {0};
    int rc = 0;
    for (;;) {
        struct mds_place place;
        rc = indexer_writer_txn(w, err);
        if (rc == 0)
            rc = mds_place_next(w->txn, container, NULL, &place, err);
        if (rc <= 0)
            break;
        buf_reset(&identity);
        buf_append_bytes(&identity, place.identity);
        rc = remove_place(w, container, buf_bytes(&identity), err);
        if (rc < 0)
            break;
    }
    buf_release(&identity);
    if (rc == 0)
        rc = mds_container_remove(w->txn, container, err);
    return rc == BASE_ERR_NOTFOUND ? 0 : rc;
}

static int spool_replay(struct indexer_writer *w, struct error *err)
{
    FILE *f = w->spool->file;
    uint8_t identity[MDS_NAME_MAX];
    int rc = 0;
    if (fflush(f) != 0 || fseeko(f, 0, SEEK_SET) != 0)
        return error_errno(err, "%s: temporary file", w->run->tmp);
    for (uint64_t i = 0; rc == 0 && i < w->spool->n; i++) {
        struct spooled head;
        if (fread(&head, sizeof head, 1, f) != 1 || head.identity_n > sizeof identity ||
            (head.identity_n && fread(identity, head.identity_n, 1, f) != 1))
            return error_set(err, BASE_ERR_IO, 0, "%s: a temporary file could not be read back", w->run->tmp);
        rc = head.whole ? remove_container(w, head.container, err)
                        : remove_place(w, head.container, bytes_of(identity, head.identity_n), err);
    }
    return rc;
}

static int stamp_pending(struct indexer_writer *w, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < w->pending_n; i++) {
        const struct indexer_pending *p = &w->pending[i];
        struct mds_container c;
        struct buf name = {0};
        if (p->gone)
            continue;
        rc = indexer_writer_txn(w, err);
        if (rc == 0)
            rc = mds_container_get(w->txn, p->container, &c, err);
        if (rc < 0)
            break;
        buf_append_bytes(&name, c.name);
        c.name = buf_bytes(&name);
        c.mtime_ns = p->stamp.mtime_ns;
        c.size = p->stamp.size;
        c.inode = p->stamp.inode;
        c.scanned_ns = p->scanned_ns;
        rc = mds_container_put(w->txn, &c, err);
        buf_release(&name);
    }
    return rc;
}

bool indexer_is_suspicious(uint64_t lacking, uint64_t total)
{
    return lacking && (lacking >= total || (total >= SMALL_SOURCE && lacking > total / 10));
}

int indexer_source_finish(struct indexer_writer *w, const struct op *op, struct error *err)
{
    struct indexer_report *r = w->report;
    uint64_t missing = op->rows + w->missing;
    uint64_t lacking = missing > op->moved ? missing - op->moved : 0;
    int rc = 0;
    if (w->run->build->import) {
        rc = stamp_pending(w, err); /* what is gone from a source that was copied stays here */
    } else if (w->spool && op->complete) {
        if (!w->run->build->allow_removals && indexer_is_suspicious(lacking, w->source_rows)) {
            r->removals_refused++;
            snprintf(r->refused_source, sizeof r->refused_source, "%.150s: lacks %llu of %llu items", w->source->name,
                     (unsigned long long)lacking, (unsigned long long)w->source_rows);
        } else {
            r->moved += op->moved < missing ? op->moved : missing;
            rc = spool_replay(w, err);
            if (rc == 0)
                rc = stamp_pending(w, err);
        }
    }
    indexer_spool_free(&w->spool);
    w->pending_n = 0;
    w->missing = 0;
    buf_reset(&w->container_name);
    return rc;
}
