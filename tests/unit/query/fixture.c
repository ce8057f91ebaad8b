#include "fixture.h"

#include "test_support.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define OK(call) cr_assert_geq((call), 0, "%s: %s", #call, err.text)

static struct error err;

struct fixture *fixture_new(const char *dir)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct mds_archive_info info;
    const struct mds_options options = {.create = true, .archive_name = "ann"};

    mime_init();
    f->dir = dir;
    f->store_dir = path_join(dir, "store");
    f->vault_dir = path_join(dir, "vault");
    mkpath(f->vault_dir);
    OK(mds_catalogue_open(f->store_dir, true, false, &f->catalogue, &err));
    OK(mds_catalogue_archive_find(f->catalogue, "ann", true, &info, &err));
    OK(mds_open(info.dir, &options, &f->env, &err));
    f->parser = mime_parser_new(NULL);
    return f;
}

void fixture_free(struct fixture **fp)
{
    struct fixture *f = *fp;

    *fp = NULL;
    mdsq_reader_end(&f->reader);
    mdsq_archive_close(&f->archive);
    mdsq_store_close(&f->store);
    mime_parser_free(&f->parser);
    mds_close(&f->env);
    mds_catalogue_close(&f->catalogue);
    free(f);
}

static uint32_t make_folder(struct mds_txn *txn, struct bytes name)
{
    struct mds_folder folder;
    uint32_t id = 0;

    if (mds_folder_find(txn, name, &folder, NULL) == 0 && folder.selectable)
        return folder.id;
    OK(mds_folder_create(txn, name, &id, &err));
    return id;
}

void fixture_folder(struct fixture *f, struct bytes name, bool subscribed)
{
    struct mds_txn *txn = NULL;

    OK(mds_write_begin(f->env, &txn, &err));
    OK(mds_folder_set_subscribed(txn, make_folder(txn, name), subscribed, &err));
    OK(mds_write_commit(&txn, &err));
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, 2);
}

static void add_keywords(struct mds_txn *txn, const char *keywords, struct buf *out)
{
    char *copy = strdup(keywords), *rest = copy, *word;

    while ((word = strsep(&rest, " ")) != NULL) {
        uint16_t id;

        if (*word == 0)
            continue;
        OK(mds_keyword_id(txn, bytes_str(word), true, &id, &err));
        buf_put_u16(out, id);
    }
    if (out->n)
        qsort(out->p, out->n / 2, 2, compare_ids); /* as they are stored */
    free(copy);
}

/* Puts the bytes into the vault and says where they are. */
static struct mds_locator write_bytes(struct fixture *f, struct bytes raw, bool in_mbox)
{
    const char *name = in_mbox ? "box" : textf("%u.eml", ++f->files);
    const char *path = path_join(f->vault_dir, name);

    (void)snprintf(f->last_file, sizeof f->last_file, "%s", name);
    if (!in_mbox) {
        write_file(path, raw);
        return (struct mds_locator){.name = bytes_str(name)};
    }
    const struct bytes from_line = BYTES_LIT("From a@b Thu Jan  1 00:00:00 1970\n");
    const struct mds_locator locator = {.offset = f->mbox_bytes + from_line.n, .length = raw.n};

    append_file(path, from_line);
    append_file(path, raw);
    append_file(path, BYTES_LIT("\n"));
    f->mbox_bytes += from_line.n + raw.n + 1;
    return locator;
}

static void put_references(const struct mime_record *record, struct buf *out)
{
    const char *id = (const char *)record->references.p, *end = id + record->references.n;

    for (; id < end; id += strlen(id) + 1)
        buf_put_u64(out, hash64_of(bytes_str(id)));
    if (out->n == 0 && record->in_reply_to.n)
        buf_put_u64(out, hash64_of(record->in_reply_to));
}

static uint64_t add_item(struct fixture *f, struct mds_txn *txn, struct bytes raw, const struct filing *how,
                         struct mime_record *record)
{
    const bool all_headers = how->all_headers;
    struct bytes source_name = bytes_str(textf(how->in_mbox ? "mboxo:%s/box" : "eml-tree:%s", f->vault_dir));
    struct mds_locator locator = write_bytes(f, raw, how->in_mbox);
    struct mds_container container;
    struct buf sort = {0}, references = {0};
    uint32_t source;

    if (all_headers) {
        const struct mime_settings settings = {.all_headers = true};

        mime_parser_free(&f->parser);
        f->parser = mime_parser_new(&settings);
    }
    mime_parse(f->parser, raw, record);
    OK(mds_source_id(txn, source_name, true, &source, &err));
    OK(mds_container_find(txn, source, BYTES_LIT(""), true, &container, &err));

    locator.source = source;
    locator.container = container.id;

    struct mds_item item = {
        .hash = hash128_of(raw), .size = record->size, .size_crlf = record->size_crlf, .defects = record->defects,
        .thread_id = record->thread_id, .has_sent_date = record->has_sent_date, .sent_date = record->sent_date,
        .sent_zone = record->sent_zone, .parts = record->parts, .crlf_map = record->crlf_map,
        .msgid_hash = record->message_id.n ? hash64_of(record->message_id) : 0, .locator = locator,
    };
    put_references(record, &references);

    const struct mds_sort columns = {
        .subject_is_reply = record->subject_is_reply, .reference_hashes = buf_bytes(&references),
        .base_subject = record->base_subject, .preview = record->preview, .sort_from = record->sort_from,
        .sort_to = record->sort_to, .sort_cc = record->sort_cc, .display_from = record->display_from,
        .display_to = record->display_to};

    mds_sort_encode(&columns, &sort);

    const struct mds_item_words words = {.envelope = record->envelope, .bodystructure = record->bodystructure,
        .headers = record->headers, .headers_complete = record->headers_complete, .sort = buf_bytes(&sort)};

    OK(mds_item_add(txn, &item, &words, &err));
    buf_release(&sort);
    buf_release(&references);
    return item.id;
}

uint32_t fixture_add(struct fixture *f, const char *folder, struct bytes raw, const struct filing *how)
{
    static const struct filing plain;
    struct mds_txn *txn = NULL;
    struct mime_record record;
    struct buf keywords = {0};

    how = how ? how : &plain;
    OK(mds_write_begin(f->env, &txn, &err));
    if (how->keywords)
        add_keywords(txn, how->keywords, &keywords);

    struct mds_message m = {.folder = make_folder(txn, bytes_str(folder)), .flags = how->flags,
        .keywords = buf_bytes(&keywords), .internal_date = how->internal_date, .internal_zone = how->internal_zone,
        .saved_date = how->saved_date ? how->saved_date : 1000};

    m.item = add_item(f, txn, raw, how, &record);
    m.size_crlf = record.size_crlf;
    m.sent_date = record.has_sent_date ? record.sent_date : how->internal_date;
    OK(mds_message_add(txn, &m, &err));
    OK(mds_write_commit(&txn, &err));
    buf_release(&keywords);
    return m.uid;
}

static void change(struct fixture *f, const char *folder, uint32_t uid, bool remove, uint32_t flags)
{
    struct mds_txn *txn = NULL;
    struct mds_folder row;

    OK(mds_write_begin(f->env, &txn, &err));
    OK(mds_folder_find(txn, bytes_str(folder), &row, &err));
    if (remove)
        OK(mds_message_remove(txn, row.id, uid, NULL, &err));
    else
        OK(mds_message_set_flags(txn, row.id, uid, flags, (struct bytes){0}, &err));
    OK(mds_write_commit(&txn, &err));
}

void fixture_remove(struct fixture *f, const char *folder, uint32_t uid)
{
    change(f, folder, uid, true, 0);
}

void fixture_flag(struct fixture *f, const char *folder, uint32_t uid, uint32_t flags)
{
    change(f, folder, uid, false, flags);
}

void fixture_open(struct fixture *f)
{
    struct mdsq_error e = {0};

    if (f->reader) {
        cr_assert_eq(mdsq_reader_renew(f->reader, &e), 0, "%s", e.text);
        return;
    }
    cr_assert_eq(mdsq_store_open(f->store_dir, 0, &f->store, &e), 0, "%s", e.text);
    cr_assert_eq(mdsq_archive_open(f->store, "ann", &f->archive, &e), 0, "%s", e.text);
    cr_assert_eq(mdsq_reader_begin(f->archive, &f->reader, &e), 0, "%s", e.text);
}

struct mdsq_view *fixture_view(struct fixture *f, const char *folder)
{
    struct mdsq_error e = {0};
    struct mdsq_view *view = NULL;

    fixture_open(f);
    cr_assert_eq(mdsq_view_open(f->reader, folder, &view, &e), 0, "%s: %s", folder, e.text);
    return view;
}

struct bytes fixture_body(struct fixture *f, const struct mdsq_view *view, uint32_t uid,
                          const struct mdsq_section *section, int *rc_out)
{
    struct mdsq_error e = {0};
    struct mdsq_body *body = NULL;
    size_t got = 0;

    *rc_out = mdsq_body_open(f->reader, view, uid, section, &body, &e);
    if (*rc_out < 0)
        return (struct bytes){0};

    const size_t n = (size_t)mdsq_body_size(body);
    /* textf keeps it until exit; one byte more than needed, so that the end is seen */
    uint8_t *p = (uint8_t *)(uintptr_t)textf("%*s", (int)n + 1, "");

    cr_assert_eq(mdsq_body_read(body, 0, p, n + 1, &got, &e), 0, "%s", e.text);
    cr_assert_eq(got, n);
    p[n] = 0;
    mdsq_body_close(&body);
    return bytes_of(p, n);
}
