/* An archive's way out: folders and messages are read here, one message a snapshot; export_<kind>.c writes them. */
#include "backup_private.h"
#include "export_private.h"

#include "vault/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct export_form *const forms[] = {[INDEXER_EXPORT_MAILDIR] = &export_maildir,
                                                  [INDEXER_EXPORT_MBOX] = &export_mbox,
                                                  [INDEXER_EXPORT_EML] = &export_eml};

struct reading {
    struct mds_env *env;
    struct mds_txn *txn;
    struct vault *vaults[1024]; /* by source id; opened when they are needed */
    bool tried[1024];

    /* the message at hand, copied */
    struct export_message message;
    struct vault_locator locator;
    uint32_t source;
    struct buf words, names;
};

/* ---- names and files ---- */

void export_level(struct buf *out, struct bytes level)
{
    const size_t at = out->n;
    buf_append_bytes(out, bytes_slice(level, 0, 200));
    for (size_t i = at; i < out->n; i++)
        if (out->p[i] == '/' || out->p[i] == 0)
            out->p[i] = '_';
    if (out->n == at)
        buf_append_byte(out, '_');
    if (out->p[at] == '.')
        out->p[at] = '_';
}

void export_tree_name(struct buf *out, struct bytes full_name)
{
    buf_reset(out);
    while (full_name.n && !bytes_equal(full_name, BYTES_LIT("INBOX"))) {
        const uint8_t *slash = memchr(full_name.p, '/', full_name.n);
        const size_t n = slash ? (size_t)(slash - full_name.p) : full_name.n;
        if (out->n)
            buf_append_byte(out, '/');
        export_level(out, bytes_of(full_name.p, n));
        full_name = bytes_slice(full_name, n + 1, SIZE_MAX);
        if (!full_name.n)
            break;
        if (bytes_equal(full_name, BYTES_LIT("INBOX"))) { /* a level of that name, not the folder */
            buf_append_str(out, "/INBOX");
            break;
        }
    }
    buf_append_byte(out, 0);
}

char *export_path(struct export_out *x, const char *relative)
{
    char *path = *relative ? g_build_filename(x->e->to, relative, NULL) : g_strdup(x->e->to);
    for (unsigned i = 2; g_hash_table_contains(x->taken, path); i++) {
        g_free(path);
        path = g_strdup_printf("%s/%s~%u", x->e->to, relative, i);
    }
    g_hash_table_add(x->taken, g_strdup(path));
    return path;
}

static int write_body(struct export_out *x, int fd, const char *path, const struct export_message *m, struct error *why,
                      struct error *err)
{
    const uint64_t size = vault_item_size(m->body);
    for (uint64_t off = 0; off < size;) {
        size_t got = 0;
        int rc = vault_item_read(m->body, off, x->chunk, EXPORT_CHUNK, &got, why);
        if (rc < 0 || !got)
            return rc < 0 ? 1 : (error_set(why, BASE_ERR_GONE, 0, "it ended early"), 1);
        for (size_t at = 0; at < got;) {
            const ssize_t put = write(fd, x->chunk + at, got - at);
            if (put < 0 && errno != EINTR)
                return error_errno(err, "%s", path);
            at += put > 0 ? (size_t)put : 0;
        }
        off += got;
    }
    return 0;
}

int export_file(struct export_out *x, const char *path, const struct export_message *m, struct error *why,
                struct error *err)
{
    const struct timespec times[2] = {{.tv_sec = m->internal_date}, {.tv_sec = m->internal_date}};
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = fd < 0 ? error_errno(err, "%s", path) : write_body(x, fd, path, m, why, err);
    if (rc == 0)
        (void)futimens(fd, times); /* a file system that takes no such date still takes the mail */
    if (fd >= 0 && close(fd) < 0 && rc == 0)
        rc = error_errno(err, "%s", path);
    if (rc != 0 && fd >= 0)
        (void)unlink(path);
    return rc;
}

/* ---- reading ---- */

static struct vault *vault_of(struct reading *r, uint32_t source)
{
    struct vault_spec spec = {0};
    struct bytes name;
    if (source >= G_N_ELEMENTS(r->vaults))
        return NULL;
    if (r->tried[source])
        return r->vaults[source];
    r->tried[source] = true;
    if (mds_source_name(r->txn, source, &name, NULL) < 0)
        return NULL;
    if (bytes_equal(name, BYTES_LIT(MDS_SOURCE_OWN))) {
        if (segment_vault_open(mds_dir(r->env), &r->vaults[source], NULL) < 0)
            r->vaults[source] = NULL;
        return r->vaults[source];
    }
    char *text = g_strndup((const char *)name.p, name.n);
    if (vault_spec_parse(text, &spec, NULL) < 0 || vault_open(&spec, &r->vaults[source], NULL) < 0)
        r->vaults[source] = NULL;
    vault_spec_release(&spec);
    g_free(text);
    return r->vaults[source];
}

static int copy_words(struct reading *r, struct bytes ids, struct error *err)
{
    int rc = 0;
    buf_reset(&r->words);
    for (size_t i = 0; rc == 0 && i + 2 <= ids.n; i += 2) {
        struct bytes name;
        rc = mds_keyword_name(r->txn, (uint16_t)(ids.p[i] << 8 | ids.p[i + 1]), &name, err);
        if (rc == 0 && r->words.n)
            buf_append_byte(&r->words, ' ');
        if (rc == 0)
            buf_append_bytes(&r->words, name);
    }
    return rc;
}

static int copy_locator(struct reading *r, uint64_t id, struct error *err)
{
    struct mds_item item;
    struct mds_container c;
    int rc = mds_item_get(r->txn, id, &item, err);
    if (rc == 0)
        rc = mds_container_get(r->txn, item.locator.container, &c, err);
    if (rc < 0)
        return rc;
    buf_reset(&r->names);
    buf_append_bytes(&r->names, c.name);
    const size_t n = r->names.n;
    buf_append_bytes(&r->names, item.locator.name);
    r->locator = (struct vault_locator){.container = bytes_of(r->names.p, n),
                                        .name = bytes_of(r->names.p + n, r->names.n - n),
                                        .offset = item.locator.offset,
                                        .length = item.locator.length,
                                        .filter = item.locator.filter};
    r->source = c.source;
    return 0;
}

/* The first message with UID >= *uid, copied: 1, or 0 none. */
static int message_next(struct reading *r, uint32_t folder, uint32_t uid, struct error *err)
{
    struct mds_message m;
    int rc = mds_read_renew(r->txn, err);
    if (rc == 0)
        rc = mds_message_next(r->txn, folder, uid, &m, err);
    if (rc <= 0)
        return rc;
    rc = copy_words(r, m.keywords, err);
    if (rc == 0)
        rc = copy_locator(r, m.item, err);
    r->message = (struct export_message){.folder = folder,
                                         .uid = m.uid,
                                         .flags = m.flags,
                                         .keywords = buf_bytes(&r->words),
                                         .internal_date = m.internal_date};
    return rc < 0 ? rc : 1;
}

static void failed(struct export_out *x, const struct reading *r, const struct error *why)
{
    x->report->failed++;
    (void)snprintf(x->report->last_failure, sizeof x->report->last_failure, "UID %u: %.200s", r->message.uid,
                   why->text);
}

static int export_one(struct export_out *x, const struct export_form *form, struct reading *r, struct error *err)
{
    struct error why = {0};
    struct vault *v = vault_of(r, r->source);
    int rc = v ? vault_item_open(v, &r->locator, &r->message.body, &why)
               : error_set(&why, BASE_ERR_NOTFOUND, 0, "its vault cannot be opened");
    if (rc == 0)
        rc = form->message(x, &r->message, &why, err);
    else
        rc = 1;
    if (rc > 0)
        failed(x, r, &why);
    if (rc == 0) {
        x->report->messages++;
        x->report->bytes += vault_item_size(r->message.body);
    }
    vault_item_close(&r->message.body);
    return rc < 0 ? rc : 0;
}

static int export_folder(struct export_out *x, const struct export_form *form, struct reading *r, uint32_t folder,
                         struct bytes name, struct error *err)
{
    struct mds_folder f;
    uint32_t uid = 1;
    int rc = mds_read_renew(r->txn, err);
    if (rc == 0)
        rc = mds_folder_get(r->txn, folder, &f, err);
    const uint32_t end = rc == 0 ? f.uidnext : 0; /* what comes meanwhile is for the next export */
    if (rc == 0)
        rc = form->folder_begin(x, name, err);
    if (rc < 0)
        return rc;
    while ((rc = message_next(r, folder, uid, err)) > 0 && r->message.uid < end) {
        uid = r->message.uid + 1;
        rc = export_one(x, form, r, err);
        if (rc == 0)
            rc = archive_check_cancel(&x->e->at, err);
        if (rc < 0)
            break;
    }
    const int ended = form->folder_end(x, rc < 0 ? NULL : err);
    x->report->folders++;
    return rc < 0 ? rc : ended;
}

/* ---- which folders ---- */

struct wanted {
    uint32_t *ids;
    size_t n;
};

static void want(struct wanted *w, uint32_t id)
{
    w->ids = g_renew(uint32_t, w->ids, w->n + 1);
    w->ids[w->n++] = id;
}

static int all_folders(struct mds_txn *txn, uint32_t parent, unsigned depth, struct wanted *w, struct error *err)
{
    struct buf last = {0};
    struct mds_folder f;
    bool first = true;
    int rc;
    for (;;) {
        const struct bytes after = buf_bytes(&last);
        rc = mds_folder_next_child(txn, parent, first ? NULL : &after, &f, err);
        if (rc <= 0 || depth > VAULT_DEPTH_MAX)
            break;
        first = false;
        buf_reset(&last);
        buf_append_bytes(&last, f.name);
        if (f.selectable)
            want(w, f.id);
        rc = all_folders(txn, f.id, depth + 1, w, err);
        if (rc < 0)
            break;
    }
    buf_release(&last);
    return rc < 0 ? rc : 0;
}

static int named_folders(struct mds_txn *txn, const char *const *names, struct wanted *w, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && names[i]; i++) {
        struct mds_folder f;
        rc = mds_folder_find(txn, bytes_str(names[i]), &f, err);
        if (rc == 0)
            want(w, f.id);
    }
    return rc;
}

static int export_all(struct export_out *x, struct reading *r, struct error *err)
{
    struct wanted w = {0};
    struct buf name = {0};
    int rc = mds_read_begin(r->env, &r->txn, err);
    if (rc == 0)
        rc = x->e->folders ? named_folders(r->txn, x->e->folders, &w, err) : all_folders(r->txn, MDS_ROOT, 0, &w, err);
    if (rc == 0)
        rc = backup_make_dir(x->e->to, err);
    for (size_t i = 0; rc == 0 && i < w.n; i++) {
        buf_reset(&name);
        rc = mds_folder_full_name(r->txn, w.ids[i], &name, err);
        if (rc == 0)
            rc = export_folder(x, forms[x->e->kind], r, w.ids[i], buf_bytes(&name), err);
        else if (rc == BASE_ERR_NOTFOUND)
            rc = 0; /* removed meanwhile */
    }
    mds_read_end(&r->txn);
    buf_release(&name);
    g_free(w.ids);
    return rc;
}

static int sync_all(const char *to, struct error *err)
{
    const int fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || syncfs(fd) < 0 ? error_errno(err, "%s", to) : 0;
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

int indexer_export(const struct indexer_export *e, struct indexer_exported *out, struct error *err)
{
    struct reading *r = g_new0(struct reading, 1);
    struct export_out x = {.e = e, .report = out};
    *out = (struct indexer_exported){0};
    x.taken = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    x.chunk = g_malloc(EXPORT_CHUNK);
    int rc = archive_open(&e->at, false, &r->env, err);
    if (rc == 0)
        rc = export_all(&x, r, err);
    if (rc == 0)
        rc = sync_all(e->to, err);
    for (size_t i = 0; i < G_N_ELEMENTS(r->vaults); i++)
        vault_close(&r->vaults[i]);
    mds_close(&r->env);
    g_hash_table_destroy(x.taken);
    g_free(x.chunk);
    buf_release(&x.scratch);
    buf_release(&r->words);
    buf_release(&r->names);
    g_free(r);
    return rc;
}
