/*
 * mds stat: counters, bytes a table, bytes an item, defects, and what could not be read.
 */
#include "cli.h"
#include "open.h"
#include "operator.h"
#include "progress.h"

#include "indexer/index.h"
#include "mime/defects.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#define FAILURES_SHOWN 100u

/* What could not be read at the last build. */
struct failures {
    uint64_t n;
    json_t *list; /* the first ones: {"container", "reason"} */
};

static json_t *text_of(struct bytes v)
{
    char *text = g_utf8_make_valid((const char *)v.p, v.p ? (gssize)v.n : 0);
    json_t *o = json_string(text);
    g_free(text);
    return o;
}

static int failures_of(struct mds_txn *txn, const struct mds_container *c, struct failures *f, struct error *err)
{
    struct mds_place p;
    struct bytes after = {0};
    struct buf last = {0};
    int rc = 0;
    while (json_array_size(f->list) < FAILURES_SHOWN &&
           (rc = mds_place_next(txn, c->id, last.n ? &after : NULL, &p, err)) > 0) {
        buf_reset(&last);
        buf_append_bytes(&last, p.identity);
        after = buf_bytes(&last);
        if (p.uid || !p.reason.n)
            continue;
        json_t *row = json_object();
        json_object_set_new(row, "container", text_of(c->name));
        json_object_set_new(row, "reason", text_of(p.reason));
        json_array_append_new(f->list, row);
    }
    buf_release(&last);
    return rc < 0 ? rc : 0;
}

static int failures_get(struct mds_txn *txn, struct failures *f, struct error *err)
{
    struct mds_container c = {0};
    int rc;
    f->list = json_array();
    while ((rc = mds_container_next(txn, c.id + 1, &c, err)) > 0) {
        f->n += c.failures;
        if (c.failures && (rc = failures_of(txn, &c, f, err)) < 0)
            break;
    }
    return rc;
}

static double per_item(const struct mds_stat *s, uint64_t bytes)
{
    return s->items ? (double)bytes / (double)s->items : 0;
}

static void print_failures(const struct failures *f)
{
    char n[32];
    size_t i;
    json_t *row;
    printf("\nnot readable  %s\n", progress_number(f->n, n));
    json_array_foreach(f->list, i, row)
    {
        char *reason = g_strdup(json_string_value(json_object_get(row, "reason")));
        for (char *c = reason; *c; c++) /* it may hold a name from the vault */
            if ((unsigned char)*c < 0x20 || *c == 0x7f)
                *c = '?';
        printf("  %s\n", reason);
        g_free(reason);
    }
    if (f->n > json_array_size(f->list))
        printf("  ...\n");
}

static void print_index(const struct indexer_indexed *r)
{
    char n[32], all[32];
    if (!r) {
        printf("content index none: mds index makes it\n");
        return;
    }
    printf("content index %s of %s items", progress_number(r->indexed, n), progress_number(r->archive_items, all));
    printf(", %s bytes", progress_number(r->used_bytes, n));
    printf(" in %" PRIu64 " segments, for %s bytes of text\n", r->segments, progress_number(r->indexed_text_bytes, n));
}

static void print_text(const char *archive, const struct mds_stat *s, const struct failures *f, const struct indexer_indexed *index)
{
    char n[32];
    printf("archive       %s\n", archive);
    printf("folders       %s\n", progress_number(s->folders, n));
    printf("messages      %s\n", progress_number(s->messages, n));
    printf("items         %s\n", progress_number(s->items, n));
    printf("file          %s bytes", progress_number(s->file_bytes, n));
    printf(", %.0f an item\n", per_item(s, s->file_bytes));
    printf("used          %s bytes", progress_number(s->used_bytes, n));
    printf(", free pages %s\n", progress_number(s->free_pages, n));
    printf("map           %s bytes\n", progress_number(s->map_bytes, n));
    printf("highestmodseq %s\n", progress_number(s->highestmodseq, n));
    printf("readers       %" PRIu32 "\n", s->readers);
    print_index(index);
    printf("\n%-12s %14s %10s %10s %16s %9s\n", "table", "entries", "pages", "overflow", "bytes", "an item");
    for (unsigned i = 0; i < s->tables_n; i++) {
        const struct mds_table_stat *t = &s->tables[i];
        char entries[32], bytes[32];
        printf("%-12s %14s %10" PRIu64 " %10" PRIu64 " %16s %9.1f\n", t->name, progress_number(t->entries, entries),
               t->pages, t->overflow_pages, progress_number(t->bytes, bytes), per_item(s, t->bytes));
    }
    printf("\n%-24s %14s\n", "defect", "items");
    for (const struct mime_defect_info *d = mime_defect_infos; d->key; d++)
        if (s->defects[d->bit])
            printf("%-24s %14s  %s\n", d->key, progress_number(s->defects[d->bit], n), d->text);
    if (f->n)
        print_failures(f);
}

static void set(json_t *o, const char *key, uint64_t v)
{
    json_object_set_new(o, key, json_integer((json_int_t)v));
}

static json_t *json_of_index(const struct indexer_indexed *r)
{
    json_t *o = json_object();
    set(o, "indexed", r->indexed);
    set(o, "segments", r->segments);
    set(o, "building_segments", r->building);
    set(o, "dead_segments", r->dead);
    set(o, "used_bytes", r->used_bytes);
    set(o, "text_bytes", r->indexed_text_bytes);
    return o;
}

static void print_json(const char *archive, const struct mds_stat *s, const struct failures *f, const struct indexer_indexed *index)
{
    json_t *o = json_object(), *tables = json_array(), *defects = json_object();
    json_object_set_new(o, "archive", json_string(archive));
    set(o, "folders", s->folders);
    set(o, "messages", s->messages);
    set(o, "items", s->items);
    set(o, "file_bytes", s->file_bytes);
    set(o, "used_bytes", s->used_bytes);
    set(o, "map_bytes", s->map_bytes);
    set(o, "free_pages", s->free_pages);
    set(o, "highestmodseq", s->highestmodseq);
    set(o, "readers", s->readers);
    json_object_set_new(o, "file_bytes_per_item", json_real(per_item(s, s->file_bytes)));
    for (unsigned i = 0; i < s->tables_n; i++) {
        const struct mds_table_stat *t = &s->tables[i];
        json_t *row = json_object();
        json_object_set_new(row, "name", json_string(t->name));
        set(row, "entries", t->entries);
        set(row, "pages", t->pages);
        set(row, "overflow_pages", t->overflow_pages);
        set(row, "bytes", t->bytes);
        json_array_append_new(tables, row);
    }
    for (const struct mime_defect_info *d = mime_defect_infos; d->key; d++)
        if (s->defects[d->bit])
            set(defects, d->key, s->defects[d->bit]);
    json_object_set_new(o, "index", index ? json_of_index(index) : json_null());
    json_object_set_new(o, "tables", tables);
    json_object_set_new(o, "defects", defects);
    set(o, "not_readable", f->n);
    json_object_set(o, "failures", f->list);
    json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(o);
}

int cmd_stat(int argc, char **argv)
{
    char *config = NULL, *store = NULL, *archive = NULL, *trace = NULL;
    gboolean json = FALSE;
    const GOptionEntry entries[] = {
        {"config", 'c', 0, G_OPTION_ARG_FILENAME, &config, "the server's, for its store and trace-fields, see mds.conf(5)", "FILE"},
        {"store", 's', 0, G_OPTION_ARG_FILENAME, &store, "the store's directory", "DIR"},
        {"archive", 'a', 0, G_OPTION_ARG_STRING, &archive, "the archive", "NAME"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &json, "as one JSON object", NULL},
        G_OPTION_ENTRY_NULL,
    };
    struct error err = {0};
    struct mds_env *env = NULL;
    struct mds_txn *txn = NULL;
    struct mds_stat *stat = g_new0(struct mds_stat, 1);
    struct failures failures = {0};
    struct indexer_indexed index = {0};
    struct error index_err = {0};
    int index_rc = 0;
    int status = cli_options(&argc, &argv, entries, "",
                             "Shows an archive's counters, the bytes of its tables and of an item, and what was strange.",
                             NULL);
    if (status < 0 && argc > 1)
        status = cli_usage("'%s' is not expected", argv[1]);
    if (status < 0 && operator_search(config, &store, &trace, NULL, &err) < 0)
        status = cli_fail(&err);
    if (status < 0 && (!store || !archive))
        status = cli_usage("--store DIR and --archive NAME are needed");
    if (status < 0) {
        int rc = open_archive(store, archive, &env, &err);
        if (rc == 0)
            rc = mds_read_begin(env, &txn, &err);
        if (rc == 0)
            rc = mds_stat(txn, stat, &err);
        if (rc == 0)
            rc = failures_get(txn, &failures, &err);
        if (rc == 0)
            index_rc = indexer_index_stat(&(struct indexer_archive){store, archive, NULL}, trace, &index, &index_err);
        if (rc == 0 && index_rc < 0 && index_rc != BASE_ERR_NOTFOUND)
            cli_note("content index: %s", index_err.text);
        if (rc == 0)
            (json ? print_json : print_text)(archive, stat, &failures, index_rc < 0 ? NULL : &index);
        json_decref(failures.list);
        mds_read_end(&txn);
        mds_close(&env);
        status = rc < 0 ? cli_fail(&err) : CLI_DONE;
    }
    g_free(stat);
    g_free(config);
    g_free(store);
    g_free(trace);
    g_free(archive);
    return status;
}
