/*
 * Rows of folders, messages, containers, places, logs and counters. The layout is that of docs/FORMAT.md; every decoder
 * accepts exactly what its encoder writes, so that a row has one form and equal stores have equal rows.
 */
#include "mds_private.h"

#define FOLDER_SELECTABLE 0x01u
#define FOLDER_SUBSCRIBED 0x02u
#define FOLDER_KNOWN      0x03u

#define PLACE_KEYWORDS    0x01u
#define PLACE_STAT        0x02u
#define PLACE_REASON      0x04u
#define PLACE_KNOWN       0x07u

#define MESSAGE_KEYWORDS  0x40u

/* Differences wrap, so that any pair of times goes through them. */
static void put_difference(struct buf *out, int64_t v, int64_t base)
{
    buf_put_zigzag(out, (int64_t)((uint64_t)v - (uint64_t)base));
}

static int64_t read_difference(struct reader *r, int64_t base)
{
    return (int64_t)((uint64_t)reader_zigzag(r) + (uint64_t)base);
}

/* ---- meta ---- */

void counters_encode(const struct counters *c, struct buf *out)
{
    buf_put_varint(out, c->next_item);
    buf_put_varint(out, c->next_folder);
    buf_put_varint(out, c->next_container);
    buf_put_varint(out, c->next_source);
    buf_put_varint(out, c->items);
    buf_put_varint(out, c->messages);
    buf_put_varint(out, c->folders);
    buf_put_varint(out, c->items_removed);
    for (unsigned i = 0; i < 64; i++)
        buf_put_varint(out, c->defects[i]);
}

bool counters_decode(struct bytes in, struct counters *out)
{
    struct reader r = reader_of(in);

    *out = (struct counters){0};
    out->next_item = reader_varint(&r);
    out->next_folder = read_u32(&r);
    out->next_container = read_u32(&r);
    out->next_source = read_u32(&r);
    out->items = reader_varint(&r);
    out->messages = reader_varint(&r);
    out->folders = reader_varint(&r);
    out->items_removed = reader_varint(&r);
    for (unsigned i = 0; i < 64; i++)
        out->defects[i] = reader_varint(&r);
    return reader_done(&r) && out->next_item > 0 && out->next_folder > 0 && out->next_container > 0 &&
           out->next_source > 0;
}

void sums_encode(const struct table_sums *s, unsigned tables, struct buf *out)
{
    buf_put_varint(out, s->txnid);
    buf_put_varint(out, tables);
    for (unsigned i = 0; i < tables; i++) {
        buf_put_varint(out, s->rows[i]);
        buf_put_varint(out, s->sum[i]);
    }
}

bool sums_decode(struct bytes in, struct table_sums *out)
{
    struct reader r = reader_of(in);

    *out = (struct table_sums){0};
    out->txnid = reader_varint(&r);
    const uint64_t tables = reader_varint(&r);

    if (tables < TABLES_FIRST || tables > TABLE_COUNT)
        return false;
    for (unsigned i = 0; i < tables; i++) {
        out->rows[i] = reader_varint(&r);
        out->sum[i] = reader_varint(&r);
    }
    return reader_done(&r);
}

/* ---- folders and names ---- */

void folder_encode(const struct mds_folder *f, struct buf *out)
{
    buf_put_varint(out, f->parent);
    buf_put_u8(out, (uint8_t)((f->selectable ? FOLDER_SELECTABLE : 0u) | (f->subscribed ? FOLDER_SUBSCRIBED : 0u)));
    buf_put_u8(out, f->special_use);
    buf_put_varint(out, f->uidvalidity);
    buf_put_varint(out, f->uidnext);
    buf_put_varint(out, f->highestmodseq);
    buf_put_varint(out, f->changes_floor);
    buf_put_varint(out, f->exists);
    buf_put_varint(out, f->unseen);
    buf_put_varint(out, f->deleted);
    buf_put_varint(out, f->bytes);
    buf_append(out, f->object_id, sizeof f->object_id);
    buf_append_bytes(out, f->name);
}

bool folder_decode(uint32_t id, struct bytes in, struct mds_folder *out)
{
    struct reader r = reader_of(in);

    *out = (struct mds_folder){.id = id};
    out->parent = read_u32(&r);
    const uint8_t bits = reader_u8(&r);

    out->selectable = bits & FOLDER_SELECTABLE;
    out->subscribed = bits & FOLDER_SUBSCRIBED;
    out->special_use = reader_u8(&r);
    out->uidvalidity = read_u32(&r);
    out->uidnext = read_u32(&r);
    out->highestmodseq = reader_varint(&r);
    out->changes_floor = reader_varint(&r);
    out->exists = read_u32(&r);
    out->unseen = read_u32(&r);
    out->deleted = read_u32(&r);
    out->bytes = reader_varint(&r);
    const struct bytes object = reader_bytes(&r, sizeof out->object_id);

    if (object.n)
        memcpy(out->object_id, object.p, sizeof out->object_id);
    out->name = read_rest(&r);
    return reader_done(&r) && !(bits & ~FOLDER_KNOWN) && out->special_use <= MDS_USE_TRASH && id > 0 &&
           out->parent != id && out->uidvalidity > 0 && out->uidnext > 0 && out->highestmodseq > 0 &&
           out->exists < out->uidnext && out->unseen <= out->exists && out->deleted <= out->exists &&
           out->name.n <= MDS_NAME_MAX;
}

void renames_encode(const struct renames *r, struct buf *out)
{
    buf_put_varint(out, r->uidvalidity);
    buf_put_varint(out, r->name_bytes);
}

bool renames_decode(struct bytes in, struct renames *out)
{
    struct reader r = reader_of(in);

    *out = (struct renames){0};
    out->uidvalidity = read_u32(&r);
    out->name_bytes = read_u32(&r);
    return reader_done(&r) && out->uidvalidity > 0 && out->name_bytes <= MDS_NAME_MAX;
}

void segments_encode(const struct mds_segments *s, struct buf *out)
{
    buf_put_varint(out, s->active);
    buf_put_varint(out, s->tail);
}

bool segments_decode(struct bytes in, struct mds_segments *out)
{
    struct reader r = reader_of(in);

    *out = (struct mds_segments){0};
    out->active = read_u32(&r);
    out->tail = reader_varint(&r);
    return reader_done(&r) && out->active > 0;
}

void name_encode(uint32_t id, bool hashed, struct bytes text, struct buf *out)
{
    buf_put_varint(out, id);
    if (hashed)
        buf_append_bytes(out, text);
}

bool name_decode(struct bytes in, bool hashed, uint32_t *id_out, struct bytes *text_out)
{
    struct reader r = reader_of(in);

    *id_out = read_u32(&r);
    *text_out = read_rest(&r);
    return reader_done(&r) && *id_out > 0 &&
           (hashed ? text_out->n > 0 && text_out->n <= MDS_NAME_MAX : text_out->n == 0);
}

/* ---- messages ---- */

bool keywords_valid(struct bytes ids)
{
    int32_t last = -1;

    if (ids.n % 2 || ids.n / 2 > MDS_KEYWORDS_MAX)
        return false;
    for (size_t i = 0; i < ids.n; i += 2) {
        const int32_t id = ids.p[i] << 8 | ids.p[i + 1];

        if (id <= last || id >= (int32_t)MDS_KEYWORDS_MAX)
            return false;
        last = id;
    }
    return true;
}

void message_encode(const struct mds_message *m, struct buf *out)
{
    buf_put_u8(out, (uint8_t)(m->flags | (m->keywords.n ? MESSAGE_KEYWORDS : 0u)));
    buf_put_varint(out, m->item);
    buf_put_varint(out, m->modseq);
    buf_put_zigzag(out, m->internal_date);
    buf_put_zigzag(out, m->internal_zone);
    put_difference(out, m->saved_date, m->internal_date);
    buf_put_varint(out, m->size_crlf);
    put_difference(out, m->sent_date, m->internal_date);
    buf_append_bytes(out, m->keywords);
}

bool message_decode(uint32_t folder, uint32_t uid, struct bytes in, struct mds_message *out)
{
    struct reader r = reader_of(in);
    const uint8_t bits = reader_u8(&r);

    *out = (struct mds_message){.folder = folder, .uid = uid, .flags = bits & MDS_FLAGS_ALL};
    out->item = reader_varint(&r);
    out->modseq = reader_varint(&r);
    out->internal_date = reader_zigzag(&r);
    out->internal_zone = read_zone(&r);
    out->saved_date = read_difference(&r, out->internal_date);
    out->size_crlf = reader_varint(&r);
    out->sent_date = read_difference(&r, out->internal_date);
    out->keywords = read_rest(&r);
    return reader_done(&r) && !(bits & ~(MDS_FLAGS_ALL | MESSAGE_KEYWORDS)) && folder > 0 && uid > 0 && out->item > 0 &&
           out->modseq > 0 && (out->keywords.n > 0) == !!(bits & MESSAGE_KEYWORDS) && keywords_valid(out->keywords);
}

void removed_encode(const struct mds_removed *removed, struct buf *out)
{
    buf_put_zigzag(out, removed->removed_at);
    buf_put_blob(out, removed->folder_name);
    message_encode(&removed->message, out);
}

bool removed_decode(uint32_t folder, uint32_t uid, struct bytes in, struct mds_removed *out)
{
    struct reader r = reader_of(in);

    *out = (struct mds_removed){.folder = folder, .uid = uid};
    out->removed_at = reader_zigzag(&r);
    out->folder_name = reader_blob(&r);
    const struct bytes message = read_rest(&r);

    return reader_done(&r) && message_decode(folder, uid, message, &out->message);
}

#define FILING_ASIDE 0x01u

void filing_encode(bool aside, struct buf *out)
{
    if (aside)
        buf_put_u8(out, FILING_ASIDE);
}

bool filing_decode(struct bytes in, bool *aside_out)
{
    *aside_out = in.n == 1 && in.p[0] == FILING_ASIDE;
    return in.n == 0 || *aside_out;
}

/* ---- containers and places ---- */

void container_encode(const struct mds_container *c, struct buf *out)
{
    buf_put_varint(out, c->source);
    buf_put_varint(out, c->folder);
    buf_put_zigzag(out, c->mtime_ns);
    buf_put_varint(out, c->size);
    buf_put_varint(out, c->inode);
    buf_put_zigzag(out, c->scanned_ns);
    buf_put_varint(out, c->rows);
    buf_put_varint(out, c->failures);
    buf_append_bytes(out, c->name);
}

bool container_decode(uint32_t id, struct bytes in, struct mds_container *out)
{
    struct reader r = reader_of(in);

    *out = (struct mds_container){.id = id};
    out->source = read_u32(&r);
    out->folder = read_u32(&r);
    out->mtime_ns = reader_zigzag(&r);
    out->size = reader_varint(&r);
    out->inode = reader_varint(&r);
    out->scanned_ns = reader_zigzag(&r);
    out->rows = read_u32(&r);
    out->failures = read_u32(&r);
    out->name = read_rest(&r);
    return reader_done(&r) && id > 0 && out->source > 0 && out->failures <= out->rows && out->name.n <= MDS_NAME_MAX;
}

void place_encode(const struct mds_place *p, bool hashed, struct buf *out)
{
    const bool stat = p->size || p->mtime_ns;

    buf_put_u8(out, (uint8_t)((p->keywords_hash ? PLACE_KEYWORDS : 0u) | (stat ? PLACE_STAT : 0u) |
                              (p->reason.n ? PLACE_REASON : 0u)));
    buf_put_varint(out, p->item);
    buf_put_varint(out, p->folder);
    buf_put_varint(out, p->uid);
    buf_put_varint(out, p->flags);
    if (p->keywords_hash)
        buf_put_u64(out, p->keywords_hash);
    if (stat) {
        buf_put_varint(out, p->size);
        buf_put_zigzag(out, p->mtime_ns);
    }
    if (p->reason.n)
        buf_put_blob(out, p->reason);
    if (hashed)
        buf_append_bytes(out, p->identity);
}

bool place_decode(struct bytes in, bool hashed, struct mds_place *out)
{
    struct reader r = reader_of(in);
    const uint8_t bits = reader_u8(&r);

    *out = (struct mds_place){0};
    out->item = reader_varint(&r);
    out->folder = read_u32(&r);
    out->uid = read_u32(&r);
    out->flags = read_u32(&r);
    if (bits & PLACE_KEYWORDS) {
        out->keywords_hash = reader_u64(&r);
        r.ok = r.ok && out->keywords_hash;
    }
    if (bits & PLACE_STAT) {
        out->size = reader_varint(&r);
        out->mtime_ns = reader_zigzag(&r);
        r.ok = r.ok && (out->size || out->mtime_ns);
    }
    if (bits & PLACE_REASON) {
        out->reason = reader_blob(&r);
        r.ok = r.ok && out->reason.n;
    }
    out->identity = read_rest(&r);
    return reader_done(&r) && !(bits & ~PLACE_KNOWN) &&
           (hashed ? out->identity.n > 0 && out->identity.n <= MDS_NAME_MAX : out->identity.n == 0);
}

/* ---- logs ---- */

void run_encode(const struct run *run, struct buf *out)
{
    buf_put_varint(out, run->uid);
    buf_put_varint(out, run->count);
}

bool run_decode(uint64_t modseq, struct bytes in, struct run *out)
{
    struct reader r = reader_of(in);

    *out = (struct run){.modseq = modseq};
    out->uid = read_u32(&r);
    out->count = read_u32(&r);
    return reader_done(&r) && modseq > 0 && out->uid > 0 && out->count > 0 && out->count - 1 <= UINT32_MAX - out->uid &&
           out->count - 1 <= UINT64_MAX - modseq;
}

/* ---- catalogue ---- */

enum { ARCHIVE_ENABLED = 1, ARCHIVE_MADE = 2 };

void archive_encode(const struct mds_archive_info *info, struct buf *out)
{
    buf_put_varint(out, info->id);
    buf_put_u8(out, (uint8_t)((info->enabled ? ARCHIVE_ENABLED : 0) | (info->made ? ARCHIVE_MADE : 0)));
}

bool archive_decode(struct bytes in, struct mds_archive_info *out)
{
    struct reader r = reader_of(in);

    out->id = read_u32(&r);
    const uint8_t bits = reader_u8(&r);

    out->enabled = bits & ARCHIVE_ENABLED;
    out->made = bits & ARCHIVE_MADE;
    return reader_done(&r) && out->id > 0 && bits <= (ARCHIVE_ENABLED | ARCHIVE_MADE);
}

void user_encode(const struct mds_user *u, struct buf *out)
{
    buf_put_blob(out, bytes_str(u->archive));
    buf_put_blob(out, bytes_str(u->verifier));
    buf_put_varint(out, u->has_scram ? u->scram_iterations : 0);
    if (u->has_scram) {
        buf_append(out, u->scram_salt, sizeof u->scram_salt);
        buf_append(out, u->scram_stored_key, sizeof u->scram_stored_key);
        buf_append(out, u->scram_server_key, sizeof u->scram_server_key);
    }
    /* Only where there are any: the row of a user of one archive is what it was before there were grants. */
    if (u->grants_n)
        buf_put_varint(out, u->grants_n);
    for (uint32_t i = 0; i < u->grants_n; i++)
        buf_put_blob(out, bytes_str(u->grants[i]));
}

static bool text_take(struct bytes v, char *out, size_t out_n)
{
    if (v.n >= out_n || (v.n && memchr(v.p, 0, v.n)))
        return false;
    if (v.n)
        memcpy(out, v.p, v.n);
    out[v.n] = 0;
    return true;
}

static void read_fixed(struct reader *r, uint8_t *out, size_t n)
{
    const struct bytes v = reader_bytes(r, n);

    if (v.n)
        memcpy(out, v.p, n);
}

static bool grants_take(struct reader *r, struct mds_user *out)
{
    out->grants_n = read_u32(r);
    if (!r->ok || out->grants_n == 0 || out->grants_n > MDS_USER_GRANTS_MAX)
        return false;
    for (uint32_t i = 0; i < out->grants_n; i++) {
        if (!text_take(reader_blob(r), out->grants[i], sizeof out->grants[i]) || !out->grants[i][0])
            return false;
    }
    return true;
}

bool user_decode(struct bytes name, struct bytes in, struct mds_user *out)
{
    struct reader r = reader_of(in);

    *out = (struct mds_user){0};
    const bool fits = text_take(name, out->name, sizeof out->name) &&
                      text_take(reader_blob(&r), out->archive, sizeof out->archive) &&
                      text_take(reader_blob(&r), out->verifier, sizeof out->verifier);

    out->scram_iterations = read_u32(&r);
    out->has_scram = out->scram_iterations > 0;
    if (out->has_scram) {
        read_fixed(&r, out->scram_salt, sizeof out->scram_salt);
        read_fixed(&r, out->scram_stored_key, sizeof out->scram_stored_key);
        read_fixed(&r, out->scram_server_key, sizeof out->scram_server_key);
    }
    return fits && (reader_done(&r) || grants_take(&r, out)) && reader_done(&r);
}
