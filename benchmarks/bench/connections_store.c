/*
 * The store of connections.c: items that are filed as clients file them, and folders full of messages of theirs. Those
 * are rows written below query/, as a copy of 10,000,000 messages would take longer than what is measured, and as only
 * there UIDs can be given with gaps between them.
 */
#include "connections_private.h"

#include "mds/mds.h"
#include "mds/query.h"

#include <string.h>

#define ARCHIVE     "bench"
#define ITEMS       "items" /* the folder that keeps one message of each */
#define ITEMS_MAX   10000
#define AT_ONCE     1000  /* messages of a change */
#define ROWS_A_TURN 50000 /* of a transaction */
#define GAP_MAX     20    /* from a UID to the next, if they are scattered */

static int file_some(struct mdsq_archive *archive, int first, int n, struct mdsq_error *why)
{
    struct mdsq_append *messages = g_new0(struct mdsq_append, n);
    struct mdsq_change *change = NULL;
    int rc = 0;
    for (int i = 0; i < n && rc >= 0; i++) {
        char *text = g_strdup_printf(
            "From: Ann Author %d <ann%d@example.com>\r\nTo: Bob <bob@example.com>, Cid <cid@example.net>\r\n"
            "Subject: message %d of a long thread\r\nDate: Mon, 2 Jan 2023 03:04:05 +0000\r\n"
            "Message-ID: <%d@bench>\r\n\r\ntext %d\r\n",
            (first + i) % 97, (first + i) % 97, first + i, first + i, first + i);
        rc = mdsq_draft_new(archive, &messages[i].draft, why);
        rc = rc < 0 ? rc : mdsq_draft_write(messages[i].draft, text, strlen(text), why);
        g_free(text);
    }
    rc = rc < 0 ? rc : mdsq_change_append(archive, ITEMS, messages, (size_t)n, &change, why);
    rc = rc < 0 ? rc : mdsq_change_wait(change, why);
    mdsq_change_free(&change);
    g_free(messages);
    return rc;
}

static int make_folder(struct mdsq_archive *archive, const char *name, struct mdsq_error *why)
{
    struct mdsq_change *change = NULL;
    int rc = mdsq_change_create(archive, name, 0, &change, why);
    rc = rc < 0 ? rc : mdsq_change_wait(change, why);
    mdsq_change_free(&change);
    return rc;
}

static int file_items(const struct connections_options *o, const char *dir, struct error *err)
{
    const int items = MIN(o->messages, ITEMS_MAX);
    struct mdsq_store *store = NULL;
    struct mdsq_archive *archive = NULL;
    struct mdsq_error why = {0};
    int rc = mdsq_store_open(dir, MDSQ_STORE_WRITE | MDSQ_STORE_CREATE | MDSQ_STORE_RELAXED, &store, &why);
    rc = rc < 0 ? rc : mdsq_archive_add(store, ARCHIVE, &why);
    rc = rc < 0 ? rc : mdsq_archive_open(store, ARCHIVE, &archive, &why);
    rc = rc < 0 ? rc : make_folder(archive, ITEMS, &why);
    for (int i = 0; i < items && rc >= 0; i += AT_ONCE)
        rc = file_some(archive, i, MIN(AT_ONCE, items - i), &why);
    rc = rc < 0 ? rc : mdsq_user_add(store, CONNECTIONS_USER, CONNECTIONS_PASSWORD, ARCHIVE, false, &why);
    mdsq_archive_close(&archive);
    mdsq_store_close(&store);
    return rc < 0 ? error_set(err, BASE_ERR_IO, 0, "%s: %s", dir, why.text) : 0;
}

/* ---- folders ---- */

void connections_folder(const struct connections_options *o, unsigned number, char out[CONNECTIONS_FOLDER_BYTES])
{
    if (o->folders == 1)
        g_strlcpy(out, "INBOX", CONNECTIONS_FOLDER_BYTES);
    else
        g_snprintf(out, CONNECTIONS_FOLDER_BYTES, "f%u", number % (unsigned)o->folders);
}

struct filler {
    const struct connections_options *o;
    struct mds_env *env;
    struct mds_txn *txn;
    struct mds_message *messages; /* one of each item */
    size_t n, rows;
};

static int read_items(struct filler *f, struct error *err)
{
    struct mds_folder items;
    struct mds_message m;
    uint32_t uid = 1;
    int rc = mds_folder_find(f->txn, BYTES_LIT(ITEMS), &items, err);
    f->messages = g_new0(struct mds_message, ITEMS_MAX);
    while (rc >= 0 && f->n < ITEMS_MAX && (rc = mds_message_next(f->txn, items.id, uid, &m, err)) > 0) {
        uid = m.uid + 1;
        m.keywords = (struct bytes){0};
        f->messages[f->n++] = m;
    }
    return rc < 0 ? rc : f->n ? 0 : error_set(err, BASE_ERR_NOTFOUND, 0, "there are no items");
}

static int next_row(struct filler *f, struct error *err)
{
    if (++f->rows % ROWS_A_TURN != 0)
        return 0;
    int rc = mds_write_commit(&f->txn, err);
    return rc == 0 ? mds_write_begin(f->env, &f->txn, err) : rc;
}

static int fill_folder(struct filler *f, unsigned number, struct error *err)
{
    const int n = f->o->messages;
    char name[CONNECTIONS_FOLDER_BYTES];
    GRand *gaps = g_rand_new_with_seed(number + 1);
    uint32_t id = 0, uid = 0;
    connections_folder(f->o, number, name);
    int rc = mds_folder_create(f->txn, bytes_str(name), &id, err);
    if (rc == BASE_ERR_EXISTS)
        rc = 0;
    if (rc == 0) /* UIDs may be given up to there */
        rc = mds_folder_outlive(f->txn, id, (uint32_t)n * (f->o->scattered ? GAP_MAX : 1) + 1, 0, err);
    for (int i = 0; i < n && rc == 0; i++) {
        struct mds_message m = f->messages[(size_t)i % f->n];
        uid += f->o->scattered ? (uint32_t)g_rand_int_range(gaps, 1, GAP_MAX + 1) : 1;
        m.folder = id;
        m.uid = uid;
        rc = mds_message_restore(f->txn, &m, err);
        if (rc == 0)
            rc = next_row(f, err);
    }
    g_rand_free(gaps);
    return rc;
}

static int archive_open(const char *dir, struct mds_env **out, struct error *err)
{
    struct mds_catalogue *catalogue = NULL;
    struct mds_archive_info *info = g_new0(struct mds_archive_info, 1);
    const struct mds_options opts = {.archive_name = ARCHIVE, .relaxed = true};
    int rc = mds_catalogue_open(dir, false, true, &catalogue, err);
    if (rc == 0)
        rc = mds_catalogue_archive_find(catalogue, ARCHIVE, false, info, err);
    if (rc == 0)
        rc = mds_open(info->dir, &opts, out, err);
    mds_catalogue_close(&catalogue);
    g_free(info);
    return rc;
}

int connections_store(const struct connections_options *o, const char *dir, struct error *err)
{
    struct filler f = {.o = o};
    int rc = file_items(o, dir, err);
    if (rc == 0)
        rc = archive_open(dir, &f.env, err);
    if (rc == 0)
        rc = mds_write_begin(f.env, &f.txn, err);
    if (rc == 0)
        rc = read_items(&f, err);
    for (int i = 0; i < o->folders && rc == 0; i++)
        rc = fill_folder(&f, (unsigned)i, err);
    if (rc == 0)
        rc = mds_write_commit(&f.txn, err);
    mds_write_abort(&f.txn);
    mds_close(&f.env);
    g_free(f.messages);
    return rc;
}
