/* The archive's keywords, as a client is told of them. */
#include "query_private.h"

#include <glib.h>

static gboolean same_name(gconstpointer a, gconstpointer b)
{
    return g_ascii_strcasecmp(a, b) == 0;
}

static guint hash_name(gconstpointer name)
{
    guint h = 5381;

    for (const char *p = name; *p; p++)
        h = h * 33 + (guint)g_ascii_tolower(*p);
    return h;
}

/* Two stored names may be shown alike: such are one to a client. */
static int tell(struct mds_txn *txn, uint16_t n, mdsq_keyword_fn *fn, void *arg, struct error *err)
{
    GHashTable *told = g_hash_table_new_full(hash_name, same_name, g_free, NULL);
    struct buf shown = {0};
    bool stop = fn("$Forwarded", arg) != 0;
    int rc = BASE_OK;

    (void)g_hash_table_add(told, g_strdup("$Forwarded"));
    for (uint16_t id = 0; id < n && rc >= 0 && !stop; id++) {
        struct bytes name;

        rc = mds_keyword_name(txn, id, &name, err);
        if (rc < 0)
            break;
        buf_reset(&shown);
        query_keyword_show(name, &shown);

        char *text = g_strndup((const char *)shown.p, shown.n);

        if (g_hash_table_contains(told, text)) {
            g_free(text);
            continue;
        }
        (void)g_hash_table_add(told, text);
        stop = fn(text, arg) != 0;
    }
    buf_release(&shown);
    g_hash_table_destroy(told);
    return rc;
}

int mdsq_keywords(struct mdsq_reader *reader, mdsq_keyword_fn *fn, void *arg, uint32_t *n_out, struct mdsq_error *err)
{
    const uint16_t n = mds_keyword_count(reader->txn);
    struct error e;

    query_error_init(&e);
    *n_out = n + 1u; /* $Forwarded is a flag of the store's */
    return query_result(fn ? tell(reader->txn, n, fn, arg, &e) : BASE_OK, &e, err);
}
