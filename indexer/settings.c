/*
 * Settings that must stay the same over an archive's life: which header fields are kept. Stored with the archive at its
 * first build; a later build that says nothing follows it, one that says something else is told to rebuild.
 */
#include "indexer_private.h"

#include <stdlib.h>
#include <string.h>

struct header_list {
    char *text; /* lines; names point into it */
    const char **names;
};

static void list_encode(const struct mime_settings *m, struct buf *out)
{
    const char *const *names = m->headers ? m->headers : mime_default_headers;
    if (m->all_headers) {
        buf_append_str(out, "*");
        return;
    }
    for (size_t i = 0; names[i]; i++) {
        if (i)
            buf_append_byte(out, '\n');
        buf_append_str(out, names[i]);
    }
}

static int list_decode(struct bytes in, struct indexer_run *run, struct error *err)
{
    if (memchr(in.p, 0, in.n))
        return error_set(err, BASE_ERR_CORRUPT, 0, "%s: the stored header list is damaged", run->dir);
    struct header_list *list = calloc(1, sizeof *list);
    ASSERT(list);
    size_t lines = 1, n = 0;
    list->text = strndup((const char *)in.p, in.n);
    ASSERT(list->text);
    for (const char *c = list->text; *c; c++)
        lines += *c == '\n';
    list->names = calloc(lines + 1, sizeof *list->names);
    ASSERT(list->names);
    char *save = NULL;
    for (char *name = strtok_r(list->text, "\n", &save); name; name = strtok_r(NULL, "\n", &save))
        list->names[n++] = name;
    run->headers = list;
    run->mime.headers = list->names;
    run->mime.all_headers = false;
    return 0;
}

void indexer_settings_release(struct indexer_run *run)
{
    if (!run->headers)
        return;
    free(run->headers->names);
    free(run->headers->text);
    free(run->headers);
    run->headers = NULL;
}

static int settings_follow(struct indexer_run *run, struct bytes stored, struct error *err)
{
    const struct mime_settings *asked = &run->build->mime;
    struct buf text = {0};
    int rc = 0;
    if (asked->headers || asked->all_headers) {
        list_encode(asked, &text);
        if (!bytes_equal(buf_bytes(&text), stored))
            rc = error_set(err, BASE_ERR_USAGE, 0,
                           "archive %s was built with another list of header fields; leave --headers away, or change it "
                           "with mds rebuild",
                           run->build->archive);
        buf_release(&text);
        return rc;
    }
    if (bytes_equal(stored, BYTES_LIT("*"))) {
        run->mime.all_headers = true;
        return 0;
    }
    return list_decode(stored, run, err);
}

int indexer_settings_load(struct indexer_run *run, struct error *err)
{
    struct mds_options opts = {
        .create = true, .archive_name = run->build->archive, .map_bytes = run->map_bytes};
    struct mds_env *env = NULL;
    struct mds_txn *txn = NULL;
    struct bytes stored;
    run->mime = run->build->mime;
    int rc = mds_open(run->dir, &opts, &env, err);
    if (rc == 0)
        rc = mds_build_lock(env, err);
    if (rc == 0)
        rc = indexer_archive_made(run->build, err);
    if (rc == 0)
        rc = mds_read_begin(env, &txn, err);
    if (rc == 0)
        rc = mds_meta_get(txn, INDEXER_META_HEADERS, &stored, err);
    if (rc == 0)
        rc = settings_follow(run, stored, err);
    mds_read_end(&txn);
    mds_close(&env);
    return rc == BASE_ERR_NOTFOUND ? 0 : rc;
}

int indexer_settings_read(struct indexer_run *run, struct error *err)
{
    struct mds_txn *txn = NULL;
    struct bytes stored;
    int rc = mds_read_begin(run->env, &txn, err);
    if (rc == 0)
        rc = mds_meta_get(txn, INDEXER_META_HEADERS, &stored, err);
    if (rc == 0)
        rc = settings_follow(run, stored, err);
    mds_read_end(&txn);
    return rc == BASE_ERR_NOTFOUND ? 0 : rc;
}

bool indexer_settings_same(const struct mime_settings *a, const struct mime_settings *b)
{
    struct buf text_a = {0}, text_b = {0};
    list_encode(a, &text_a);
    list_encode(b, &text_b);
    bool same = a->max_header_bytes == b->max_header_bytes && a->max_parts == b->max_parts &&
                a->max_depth == b->max_depth && a->max_addresses == b->max_addresses &&
                a->max_references == b->max_references && a->preview_chars == b->preview_chars &&
                a->parser == b->parser && bytes_equal(buf_bytes(&text_a), buf_bytes(&text_b));
    buf_release(&text_a);
    buf_release(&text_b);
    return same;
}

int indexer_settings_check(const struct indexer_run *run, struct error *err)
{
    struct mds_txn *txn = NULL;
    struct bytes stored;
    struct buf text = {0};
    int rc = mds_read_begin(run->env, &txn, err);
    if (rc < 0)
        return rc;
    rc = mds_meta_get(txn, INDEXER_META_HEADERS, &stored, err);
    list_encode(&run->mime, &text);
    if (rc == 0 && !bytes_equal(stored, buf_bytes(&text)))
        rc = error_set(err, BASE_ERR_LOCKED, 0, "its list of header fields was changed meanwhile; run again");
    mds_read_end(&txn);
    buf_release(&text);
    return rc == BASE_ERR_NOTFOUND ? 0 : rc;
}

int indexer_settings_store(struct indexer_run *run, struct mds_txn *txn, struct error *err)
{
    struct buf text = {0};
    list_encode(&run->mime, &text);
    int rc = mds_meta_put(txn, INDEXER_META_HEADERS, buf_bytes(&text), false, err);
    buf_release(&text);
    return rc;
}
