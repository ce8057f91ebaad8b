/*
 * The logical store as text. Only what the store means: no packs, no seals, no page numbers, nothing that depends on
 * when or in which batches it was written.
 */
#include "mds_private.h"

struct dump {
    struct mds_txn *t;
    FILE *out;
    struct error *err;
};

static void put_escaped(FILE *out, struct bytes v)
{
    (void)fputc('"', out);
    for (size_t i = 0; i < v.n; i++) {
        const uint8_t c = v.p[i];

        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            (void)fprintf(out, "\\x%02x", c);
        else
            (void)fputc(c, out);
    }
    (void)fputc('"', out);
}

static void put_hex(FILE *out, struct bytes v)
{
    for (size_t i = 0; i < v.n; i++)
        (void)fprintf(out, "%02x", v.p[i]);
}

static void put_field(FILE *out, const char *name, struct bytes v)
{
    (void)fprintf(out, " %s=", name);
    put_escaped(out, v);
}

static void put_number(FILE *out, const char *name, uint64_t v)
{
    (void)fprintf(out, " %s=%llu", name, (unsigned long long)v);
}

static void put_signed(FILE *out, const char *name, int64_t v)
{
    (void)fprintf(out, " %s=%lld", name, (long long)v);
}

/* ---- small tables ---- */

static int dump_meta(struct dump *d)
{
    struct bytes key = {0}, row;
    int rc;

    for (rc = row_seek(d->t, TABLE_META, MDB_FIRST, &key, &row, d->err); rc == 1;
         rc = row_seek(d->t, TABLE_META, MDB_NEXT, &key, &row, d->err)) {
        if (key.n < 2 || key.p[0] != META_GLOBAL)
            continue;
        (void)fputs("meta", d->out);
        put_field(d->out, "name", bytes_slice(key, 1, SIZE_MAX));
        put_field(d->out, "value", row);
        (void)fputc('\n', d->out);
    }
    return rc;
}

static int dump_counters(struct dump *d)
{
    struct counters c;
    struct bytes archive;
    int rc = meta_own_get(d->t, META_ARCHIVE, &archive, d->err);

    if (rc == BASE_OK && d->t->w)
        c = d->t->w->counters;
    else if (rc == BASE_OK)
        rc = meta_load_counters(d->t, &c, d->err);
    if (rc != BASE_OK)
        return rc;
    (void)fprintf(d->out, "archive");
    put_field(d->out, "name", archive);
    put_number(d->out, "items", c.items);
    put_number(d->out, "messages", c.messages);
    put_number(d->out, "folders", c.folders);
    put_number(d->out, "next_item", c.next_item);
    put_number(d->out, "next_folder", c.next_folder);
    put_number(d->out, "next_container", c.next_container);
    put_number(d->out, "hashes_complete", mds_hashes_complete(d->t));
    for (unsigned i = 0; i < 64; i++) {
        if (c.defects[i])
            (void)fprintf(d->out, " defect%u=%llu", i, (unsigned long long)c.defects[i]);
    }
    (void)fputc('\n', d->out);
    return BASE_OK;
}

static int dump_keywords(struct dump *d)
{
    const int rc = keywords_load(d->t, d->err);

    for (uint16_t i = 0; rc == BASE_OK && i < d->t->keywords.n; i++) {
        struct bytes name;

        (void)mds_keyword_name(d->t, i, &name, NULL);
        (void)fprintf(d->out, "keyword id=%u", i);
        put_field(d->out, "name", name);
        (void)fputc('\n', d->out);
    }
    return rc;
}

/* ---- folders ---- */

static int dump_run(const struct run *run, void *arg)
{
    FILE *out = arg;

    (void)fprintf(out, " %llu:%u", (unsigned long long)run->modseq, run->uid);
    if (run->count > 1)
        (void)fprintf(out, "+%u", run->count);
    return BASE_OK;
}

static int dump_logs(struct dump *d, uint32_t folder)
{
    static const char *const names[2] = {"changes", "expunged"};
    int rc = BASE_OK;

    for (int kind = 0; kind < 2 && rc == BASE_OK; kind++) {
        (void)fprintf(d->out, "%s folder=%u", names[kind], folder);
        rc = log_walk(d->t, (enum log_kind)kind, folder, 0, dump_run, d->out, d->err);
        (void)fputc('\n', d->out);
    }
    return rc;
}

static void dump_ranges(FILE *out, const roaring_bitmap_t *set)
{
    roaring_uint32_iterator_t it;
    uint32_t from = 0, last = 0;
    bool open = false;

    roaring_init_iterator(set, &it);
    for (; it.has_value; roaring_advance_uint32_iterator(&it)) {
        if (open && it.current_value == last + 1) {
            last++;
            continue;
        }
        if (open)
            (void)fprintf(out, last > from ? " %u-%u" : " %u", from, last);
        from = last = it.current_value;
        open = true;
    }
    if (open)
        (void)fprintf(out, last > from ? " %u-%u" : " %u", from, last);
}

static int dump_set(struct dump *d, uint32_t folder, uint32_t set)
{
    roaring_bitmap_t *uids = NULL;
    const int rc = mds_set_load(d->t, folder, set, &uids, d->err);

    if (rc != BASE_OK)
        return rc;
    if (!roaring_bitmap_is_empty(uids)) {
        (void)fprintf(d->out, "set folder=%u set=%u", folder, set);
        dump_ranges(d->out, uids);
        (void)fputc('\n', d->out);
    }
    roaring_bitmap_free(uids);
    return BASE_OK;
}

static int dump_sets(struct dump *d, uint32_t folder)
{
    int rc = dump_set(d, folder, MDS_SET_EXISTS);

    for (uint32_t bit = 0; bit < FLAG_BITS && rc == BASE_OK; bit++)
        rc = dump_set(d, folder, MDS_SET_FLAG(bit));
    for (uint32_t id = 0; id < d->t->keywords.n && rc == BASE_OK; id++)
        rc = dump_set(d, folder, MDS_SET_KEYWORD(id));
    return rc;
}

static void put_message(FILE *out, const struct mds_message *m)
{
    put_number(out, "item", m->item);
    put_number(out, "flags", m->flags);
    put_number(out, "modseq", m->modseq);
    put_signed(out, "internal", m->internal_date);
    put_signed(out, "zone", m->internal_zone);
    put_signed(out, "sent", m->sent_date);
    put_number(out, "size", m->size_crlf);
    if (m->keywords.n) {
        (void)fputs(" keywords=", out);
        put_hex(out, m->keywords);
    }
}

static int dump_messages(struct dump *d, uint32_t folder)
{
    struct mds_message m;
    int rc;

    for (uint32_t uid = 1; (rc = mds_message_next(d->t, folder, uid, &m, d->err)) == 1; uid = m.uid + 1) {
        (void)fprintf(d->out, "message folder=%u uid=%u", folder, m.uid);
        put_message(d->out, &m);
        (void)fputc('\n', d->out);
    }
    return rc;
}

static int dump_folder(struct dump *d, const struct mds_folder *f)
{
    struct buf full = {0};
    const uint32_t id = f->id;
    int rc = mds_folder_full_name(d->t, id, &full, d->err);

    if (rc == BASE_OK) {
        (void)fprintf(d->out, "folder id=%u parent=%u", id, f->parent);
        put_field(d->out, "name", buf_bytes(&full));
        (void)fprintf(d->out, " selectable=%d subscribed=%d use=%u", f->selectable, f->subscribed, f->special_use);
        put_number(d->out, "uidvalidity", f->uidvalidity);
        put_number(d->out, "uidnext", f->uidnext);
        put_number(d->out, "highestmodseq", f->highestmodseq);
        put_number(d->out, "floor", f->changes_floor);
        put_number(d->out, "exists", f->exists);
        put_number(d->out, "unseen", f->unseen);
        put_number(d->out, "deleted", f->deleted);
        put_number(d->out, "bytes", f->bytes);
        (void)fputs(" object=", d->out);
        put_hex(d->out, bytes_of(f->object_id, sizeof f->object_id));
        (void)fputc('\n', d->out);
        if ((rc = dump_logs(d, id)) == BASE_OK && (rc = dump_sets(d, id)) == BASE_OK)
            rc = dump_messages(d, id);
    }
    buf_release(&full);
    return rc;
}

static int dump_folders(struct dump *d)
{
    struct mds_folder f;
    int rc;

    for (uint32_t id = 0; (rc = folder_next_id(d->t, id, &f, d->err)) == 1; id = f.id) {
        if ((rc = dump_folder(d, &f)) != BASE_OK)
            return rc;
    }
    return rc;
}

/* The names as LIST walks them; each folder's own place in it is checked by mds_verify. */
static int dump_names(struct dump *d)
{
    struct bytes key = {0}, row, text;
    uint32_t id;
    int rc;

    for (rc = row_seek(d->t, TABLE_NAMES, MDB_FIRST, &key, &row, d->err); rc == 1;
         rc = row_seek(d->t, TABLE_NAMES, MDB_NEXT, &key, &row, d->err)) {
        if (key.n < 4 || !name_decode(row, key.n == KEY_MAX, &id, &text))
            return row_corrupt(d->t, TABLE_NAMES, key, "it does not decode", d->err);
        (void)fprintf(d->out, "name parent=%u id=%u\n", get_be32(key.p), id);
    }
    return rc;
}

static int dump_floors(struct dump *d)
{
    struct bytes key = {0}, row;
    int rc;

    for (rc = row_seek(d->t, TABLE_FLOORS, MDB_FIRST, &key, &row, d->err); rc == 1;
         rc = row_seek(d->t, TABLE_FLOORS, MDB_NEXT, &key, &row, d->err)) {
        (void)fputs("floor name=", d->out);
        put_hex(d->out, key);
        (void)fputs(" uidvalidity=", d->out);
        put_hex(d->out, row);
        (void)fputc('\n', d->out);
    }
    return rc;
}

static int dump_renames(struct dump *d)
{
    struct renames r;
    const int rc = renames_get(d->t, &r, d->err);

    if (rc == BASE_OK && r.uidvalidity)
        (void)fprintf(d->out, "renames uidvalidity=%u\n", r.uidvalidity);
    return rc;
}

static int dump_removed(struct dump *d)
{
    struct mds_removed r = {0};
    int rc;

    while ((rc = mds_removed_next(d->t, r.folder, r.uid, &r, d->err)) == 1) {
        const struct mds_message *m = &r.message;

        (void)fprintf(d->out, "removed folder=%u uid=%u", r.folder, r.uid);
        put_field(d->out, "name", r.folder_name);
        put_message(d->out, m);
        (void)fputc('\n', d->out);
    }
    return rc;
}

/* ---- items ---- */

static int dump_filings(struct dump *d, uint64_t item)
{
    uint64_t pos = 0;
    uint32_t folder, uid;
    int rc;

    (void)fputs(" filed=", d->out);
    while ((rc = mds_item_messages(d->t, item, &pos, &folder, &uid, d->err)) == 1)
        (void)fprintf(d->out, "%u/%u,", folder, uid);
    return rc;
}

static int dump_words(struct dump *d, struct mds_words *w, uint64_t item)
{
    struct bytes envelope, bodystructure, headers;
    struct mds_sort s;
    bool complete;
    int rc;

    if ((rc = mds_words_wire(w, item, &envelope, &bodystructure, d->err)) != BASE_OK)
        return rc;
    (void)fprintf(d->out, "words item=%llu", (unsigned long long)item);
    put_field(d->out, "envelope", envelope);
    put_field(d->out, "bodystructure", bodystructure);
    if ((rc = mds_words_headers(w, item, &headers, &complete, d->err)) != BASE_OK)
        return rc;
    (void)fprintf(d->out, " complete=%d", complete);
    put_field(d->out, "headers", headers);
    if ((rc = mds_words_sort(w, item, &s, d->err)) != BASE_OK)
        return rc;
    (void)fprintf(d->out, " reply=%d received=%d", s.subject_is_reply, s.has_received_date);
    put_signed(d->out, "received_date", s.received_date);
    put_signed(d->out, "received_zone", s.received_zone);
    put_field(d->out, "subject", s.base_subject);
    put_field(d->out, "from", s.sort_from);
    put_field(d->out, "to", s.sort_to);
    put_field(d->out, "cc", s.sort_cc);
    put_field(d->out, "display_from", s.display_from);
    put_field(d->out, "display_to", s.display_to);
    put_field(d->out, "references", s.reference_hashes);
    put_field(d->out, "addresses", s.address_hashes);
    put_field(d->out, "preview", s.preview);
    (void)fputc('\n', d->out);
    return BASE_OK;
}

static int dump_item(struct dump *d, const struct mds_item *it)
{
    (void)fprintf(d->out, "item id=%llu hash=", (unsigned long long)it->id);
    put_hex(d->out, bytes_of(it->hash.b, sizeof it->hash.b));
    put_number(d->out, "size", it->size);
    put_number(d->out, "crlf", it->size_crlf);
    put_number(d->out, "defects", it->defects);
    put_number(d->out, "thread", it->thread_id);
    if (it->has_sent_date) {
        put_signed(d->out, "sent", it->sent_date);
        put_signed(d->out, "zone", it->sent_zone);
    }
    put_number(d->out, "msgid", it->msgid_hash);
    put_number(d->out, "refs", it->refs);
    put_number(d->out, "source", it->locator.source);
    put_number(d->out, "container", it->locator.container);
    put_number(d->out, "offset", it->locator.offset);
    put_number(d->out, "length", it->locator.length);
    put_number(d->out, "filter", it->locator.filter);
    put_field(d->out, "name", it->locator.name);
    put_field(d->out, "parts", it->parts);
    put_field(d->out, "map", it->crlf_map);
    const int rc = dump_filings(d, it->id);

    (void)fputc('\n', d->out);
    return rc;
}

static int dump_items(struct dump *d)
{
    struct mds_words *w = NULL;
    struct mds_item it;
    int rc = mds_words_new(d->t, &w, d->err);

    for (uint64_t from = 1; rc == BASE_OK; from = it.id + 1) {
        if ((rc = mds_item_next(d->t, from, &it, d->err)) != 1)
            break;
        if ((rc = dump_item(d, &it)) == BASE_OK)
            rc = dump_words(d, w, it.id);
    }
    mds_words_free(&w);
    return rc;
}

/* ---- sources ---- */

static int dump_places(struct dump *d, uint32_t container)
{
    struct buf last = {0};
    struct mds_place p;
    struct bytes after;
    int rc = mds_place_next(d->t, container, NULL, &p, d->err);

    for (; rc == 1; rc = mds_place_next(d->t, container, &after, &p, d->err)) {
        (void)fprintf(d->out, "place container=%u", container);
        put_field(d->out, "identity", p.identity);
        put_number(d->out, "item", p.item);
        put_number(d->out, "folder", p.folder);
        put_number(d->out, "uid", p.uid);
        put_number(d->out, "flags", p.flags);
        put_number(d->out, "keywords", p.keywords_hash);
        put_number(d->out, "size", p.size);
        put_field(d->out, "reason", p.reason);
        (void)fputc('\n', d->out);
        buf_reset(&last);
        buf_append_bytes(&last, p.identity);
        after = buf_bytes(&last);
    }
    buf_release(&last);
    return rc;
}

static int dump_sources(struct dump *d)
{
    struct bytes key = {0}, row;
    struct mds_container c;
    int rc;

    for (rc = row_seek(d->t, TABLE_SOURCES, MDB_FIRST, &key, &row, d->err); rc == 1;
         rc = row_seek(d->t, TABLE_SOURCES, MDB_NEXT, &key, &row, d->err)) {
        (void)fprintf(d->out, "source id=%u", key.n == 4 ? get_be32(key.p) : 0);
        put_field(d->out, "name", row);
        (void)fputc('\n', d->out);
    }
    for (uint32_t id = 1; rc == BASE_OK && (rc = mds_container_next(d->t, id, &c, d->err)) == 1; id = c.id + 1) {
        (void)fprintf(d->out, "container id=%u source=%u folder=%u rows=%u failures=%u", c.id, c.source, c.folder,
                      c.rows, c.failures);
        put_field(d->out, "name", c.name);
        (void)fputc('\n', d->out);
        if ((rc = dump_places(d, c.id)) != BASE_OK || c.id == UINT32_MAX)
            break;
    }
    return rc;
}

int mds_dump(struct mds_txn *t, FILE *out, struct error *err)
{
    static int (*const parts[])(struct dump *) = {
        dump_counters, dump_meta,    dump_keywords, dump_folders, dump_names,
        dump_floors,   dump_renames, dump_removed,  dump_sources, dump_items,
    };
    struct dump d = {t, out, err};
    int rc = BASE_OK;

    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && rc == BASE_OK; i++)
        rc = parts[i](&d);
    if (rc == BASE_OK && (fflush(out) != 0 || ferror(out)))
        rc = error_errno(err, "writing the dump");
    return rc;
}
