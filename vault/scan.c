/*
 * A scan: containers in the order of their folders, items in the vault's order.
 *
 * Names of a directory go through base/sorter with a key that bytes_compare puts in the
 * vault's order, so a directory of any size costs bounded memory:
 *
 *     Maildir   be64(time prefix) base name      value: 'n' or 'c', rest of the name from ':' on
 *     MH        be64(number) file name
 *     eml-tree  file name
 *
 * Maildirs are alive. new/ is read before cur/, so a message on its way is seen in at
 * least one; a cur/ that changed while it was read is read again, as a rename
 * (a flag set) may hide a name from the first reading. Of equal keys the last pushed wins: cur/
 * before new/, the later reading before the earlier.
 */
#include "vault_private.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <glib.h>
#include <locale.h>
#include <time.h>
#include <unistd.h>

#define SORTER_BYTES ((size_t)32 << 20)
#define REREADS_MAX 3
#define ESTIMATE_NS INT64_C(500000000)
#define ESTIMATE_CLOCK 1024u /* names between two looks at the clock */
#define ESTIMATE_MBOX_ITEM 8192u

struct vault_scan {
    /* permanent */
    struct vault *v;
    char *tmpdir;
    struct vault_places places;
    size_t at; /* of the next container */
    uint64_t skipped;
    char reason[256];
    bool counted; /* vault_scan_estimate has looked */
    uint64_t later; /* items expected in places.at[at..] */

    /* the current container */
    struct bytes name;
    bool open, begun;
    bool unsettled; /* it changed while it was listed */
    struct vault_stamp stamp;
    int dir_fd; /* eml-tree, MH: for lstat of single names; else -1 */
    struct sorter *sorter;
    uint64_t taken;    /* records out of the sorter, items out of the mbox */
    uint64_t mbox_end; /* of the last item */
    struct vault_mbox *mbox;
    struct vault_keywords keywords;
    struct vault_mh_sequences sequences;
    struct vault_eml_flags eml;

    /* the current item, and the one read ahead */
    struct buf path, key, words;
    struct buf ahead_key, ahead_value;
    bool has_ahead;
};

void vault_scan_skip(struct vault_scan *s, struct bytes path, const char *what)
{
    s->skipped++;
    (void)snprintf(s->reason, sizeof s->reason, "%.*s: %s", (int)(path.n > 180 ? 180 : path.n),
                   path.n ? (const char *)path.p : "", what);
    for (char *c = s->reason; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
}

int vault_scan_new(struct vault *v, const char *tmpdir, struct vault_scan **out, struct error *err)
{
    if (v->kind == VAULT_KIND_SEGMENTS)
        return error_set(err, BASE_ERR_USAGE, 0, "the own vault has no folders to scan");
    struct vault_scan *s = g_new0(struct vault_scan, 1);
    int rc;

    s->v = v;
    s->dir_fd = -1;
    s->tmpdir = g_strdup(tmpdir ? tmpdir : g_get_tmp_dir());
    s->places.arena = arena_new(0);
    rc = vault_walk(v, s, &s->places, err);
    if (rc != BASE_OK)
        vault_scan_free(&s);
    else
        *out = s;
    return rc;
}

static void container_close(struct vault_scan *s)
{
    sorter_free(&s->sorter);
    vault_mbox_free(&s->mbox);
    vault_keywords_release(&s->keywords);
    vault_mh_release(&s->sequences);
    vault_eml_release(&s->eml);
    if (s->dir_fd >= 0)
        (void)close(s->dir_fd);
    s->dir_fd = -1;
    s->open = s->begun = s->has_ahead = s->unsettled = false;
    s->taken = s->mbox_end = 0;
}

void vault_scan_free(struct vault_scan **sp)
{
    struct vault_scan *s = *sp;

    if (!s)
        return;
    container_close(s);
    arena_free(&s->places.arena);
    g_free(s->places.at);
    g_free(s->tmpdir);
    buf_release(&s->path);
    buf_release(&s->key);
    buf_release(&s->words);
    buf_release(&s->ahead_key);
    buf_release(&s->ahead_value);
    g_free(s);
    *sp = NULL;
}

uint64_t vault_scan_skipped(const struct vault_scan *s)
{
    return s->skipped;
}

const char *vault_scan_skip_reason(const struct vault_scan *s)
{
    return s->reason;
}

/* --- containers --- */

static bool is_maildir(const struct vault *v)
{
    return v->kind == VAULT_KIND_MAILDIR || v->kind == VAULT_KIND_MAILDIRPP || v->kind == VAULT_KIND_MAILDIR_FS;
}

static bool is_mbox(const struct vault *v)
{
    return v->kind == VAULT_KIND_MBOX || v->kind == VAULT_KIND_MBOX_TREE;
}

static int open_in(struct vault_scan *s, struct bytes dir, struct bytes name, int flags)
{
    char path[VAULT_PATH_BYTES];

    return vault_os_path(path, dir, name) ? vault_os_open(s->v, path, flags) : -ENAMETOOLONG;
}

static struct bytes container_file(const struct vault_scan *s)
{
    return s->v->file ? bytes_str(s->v->file) : s->name;
}

static void stamp_join(struct vault_stamp *stamp, const struct stat *st)
{
    const int64_t mtime_ns = vault_os_mtime_ns(st);

    if (mtime_ns > stamp->mtime_ns)
        stamp->mtime_ns = mtime_ns;
}

/* A directory whose content counts; `needed` ones make the container unreadable if they cannot be opened. */
static int stamp_dir(struct vault_scan *s, struct bytes sub, struct vault_stamp *stamp)
{
    struct stat st;
    const int fd = open_in(s, s->name, sub, O_DIRECTORY);

    if (fd < 0)
        return fd;
    const int rc = fstat(fd, &st) < 0 ? -errno : 0;

    (void)close(fd);
    if (rc == 0) {
        stamp_join(stamp, &st);
        if (!stamp->inode)
            stamp->inode = (uint64_t)st.st_ino;
    }
    return rc;
}

/* A file beside the items that changes their flags. */
static void stamp_file(struct vault_scan *s, const char *file, struct vault_stamp *stamp)
{
    char path[VAULT_PATH_BYTES];
    struct stat st;

    if (vault_os_path(path, s->name, bytes_str(file)) && vault_os_lstat(s->v, path, &st) == 0 && S_ISREG(st.st_mode))
        stamp_join(stamp, &st);
}

static int stamp_maildir(struct vault_scan *s, struct vault_stamp *stamp)
{
    const int cur = stamp_dir(s, BYTES_LIT("cur"), stamp);
    const int fresh = stamp_dir(s, BYTES_LIT("new"), stamp);

    stamp_file(s, "dovecot-keywords", stamp);
    /* One of the two may lack; both gone, or one forbidden, is no statement about the items. */
    if (cur < 0 && cur != -ENOENT)
        return cur;
    if (fresh < 0 && fresh != -ENOENT)
        return fresh;
    return cur < 0 ? fresh : 0;
}

static int stamp_mbox(struct vault_scan *s, struct vault_stamp *stamp)
{
    struct stat st;
    const int fd = open_in(s, container_file(s), (struct bytes){0}, 0);

    if (fd < 0)
        return fd;
    const int rc = fstat(fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -EINVAL;

    (void)close(fd);
    if (rc == 0)
        *stamp = (struct vault_stamp){vault_os_mtime_ns(&st), (uint64_t)st.st_size, (uint64_t)st.st_ino};
    return rc;
}

int vault_scan_next_container(struct vault_scan *s, struct vault_container *out, struct error *err)
{
    int rc = 0;

    (void)err;
    container_close(s);
    if (s->at == s->places.n)
        return VAULT_DONE;
    const struct vault_place *place = &s->places.at[s->at++];

    s->name = place->name;
    s->later -= place->expected;
    *out = (struct vault_container){.name = place->name, .folder = place->folder, .unreadable = place->unreadable};
    if (place->unreadable)
        return VAULT_MORE;
    if (is_maildir(s->v)) {
        rc = stamp_maildir(s, &out->stamp);
    } else if (is_mbox(s->v)) {
        rc = stamp_mbox(s, &out->stamp);
    } else {
        rc = stamp_dir(s, (struct bytes){0}, &out->stamp);
        stamp_file(s, s->v->kind == VAULT_KIND_MH ? ".mh_sequences" : VAULT_EML_FLAGS, &out->stamp);
    }
    if (rc < 0) {
        vault_scan_skip(s, s->v->file ? bytes_str(s->v->file) : s->name, g_strerror(-rc));
        out->unreadable = true;
        return VAULT_MORE;
    }
    s->open = true;
    s->stamp = out->stamp;
    return VAULT_MORE;
}

bool vault_scan_is_settled(const struct vault_scan *s)
{
    return !s->unsettled;
}

/* --- names into the sorter --- */

static int push_maildir(struct vault_scan *s, struct bytes name, uint8_t sub, struct error *err)
{
    const struct bytes base = vault_maildir_base(name);

    buf_reset(&s->key);
    buf_put_u64(&s->key, vault_maildir_time(name));
    buf_append_bytes(&s->key, base);
    buf_reset(&s->path);
    buf_append_byte(&s->path, sub);
    buf_append(&s->path, name.p + base.n, name.n - base.n);
    return sorter_push(s->sorter, buf_bytes(&s->key), buf_bytes(&s->path), err);
}

static int push_entry(struct vault_scan *s, struct bytes name, uint8_t sub, struct error *err)
{
    uint64_t number;

    if (is_maildir(s->v))
        return push_maildir(s, name, sub, err);
    if (s->v->kind == VAULT_KIND_EML_TREE)
        return sorter_push(s->sorter, name, (struct bytes){0}, err);
    buf_reset(&s->key);
    (void)vault_mh_number(name, &number);
    buf_put_u64(&s->key, number);
    buf_append_bytes(&s->key, name);
    return sorter_push(s->sorter, buf_bytes(&s->key), (struct bytes){0}, err);
}

/* Is this name an item's, if it is a regular file? */
static bool is_item_name(const struct vault_scan *s, struct bytes name)
{
    uint64_t number;

    switch (s->v->kind) {
    case VAULT_KIND_EML_TREE:
        return fnmatch(s->v->match, (const char *)name.p, FNM_CASEFOLD | FNM_PERIOD) == 0;
    case VAULT_KIND_MH:
        return vault_mh_number(name, &number);
    default:
        return name.p[0] != '.' && name.p[0] != ':';
    }
}

/* Pushes the items of one directory. `changed_out` (may be NULL): it was written to while we read. */
static int list_dir(struct vault_scan *s, struct bytes sub, uint8_t mark, bool *changed_out, struct error *err)
{
    struct stat before = {0}, after = {0};
    struct vault_dir entries;
    enum vault_entry_type type;
    struct bytes name;
    int rc;
    const int fd = open_in(s, s->name, sub, O_DIRECTORY);

    if (fd == -ENOENT && sub.n)
        return BASE_OK; /* a Maildir without new/ */
    if (fd < 0) {
        errno = -fd;
        return error_errno(err, "%.*s", (int)s->name.n, s->name.n ? (const char *)s->name.p : "");
    }
    (void)fstat(fd, &before);
    vault_dir_init(&entries, fd);
    while ((rc = vault_dir_next(&entries, &name, &type)) == VAULT_MORE) {
        if (!is_item_name(s, name) || (type == VAULT_ENTRY_DIR && sub.n == 0))
            continue;
        if (type != VAULT_ENTRY_FILE) {
            vault_scan_skip(s, name, type == VAULT_ENTRY_LINK ? "symbolic link" : "no regular file");
            continue;
        }
        if ((rc = push_entry(s, name, mark, err)) != BASE_OK)
            goto out;
    }
    if (rc < 0) {
        errno = -rc;
        rc = error_errno(err, "reading directory %.*s", (int)s->name.n, s->name.n ? (const char *)s->name.p : "");
    }
    if (changed_out)
        *changed_out = fstat(fd, &after) == 0 && vault_os_mtime_ns(&after) != vault_os_mtime_ns(&before);
out:
    vault_dir_release(&entries);
    (void)close(fd);
    return rc;
}

static int list_maildir(struct vault_scan *s, struct error *err)
{
    int rc = BASE_OK;
    bool changed = true;

    vault_keywords_load(s->v, s->name, &s->keywords);
    for (int i = 0; rc == BASE_OK && changed && i < REREADS_MAX; i++) {
        rc = list_dir(s, BYTES_LIT("new"), 'n', NULL, err);
        if (rc == BASE_OK)
            changed = false;
        if (rc == BASE_OK)
            rc = list_dir(s, BYTES_LIT("cur"), 'c', &changed, err);
    }
    s->unsettled = changed;
    return rc;
}

static int items_begin(struct vault_scan *s, struct error *err)
{
    int rc;

    s->begun = true;
    if (is_mbox(s->v)) {
        const int fd = open_in(s, container_file(s), (struct bytes){0}, 0);

        if (fd < 0) {
            errno = -fd;
            return error_errno(err, "%s", (const char *)container_file(s).p);
        }
        s->mbox = vault_mbox_new(fd, s->v->variant);
        return BASE_OK;
    }
    rc = sorter_new(s->tmpdir, SORTER_BYTES, &s->sorter, err);
    if (rc == BASE_OK && is_maildir(s->v)) {
        rc = list_maildir(s, err);
    } else if (rc == BASE_OK) {
        /* Names are bytes: the pattern must not depend on the caller's locale. */
        locale_t bytewise = newlocale(LC_ALL_MASK, "C", NULL);
        locale_t before = uselocale(bytewise);

        if (s->v->kind == VAULT_KIND_MH)
            vault_mh_load(s->v, s->name, &s->sequences);
        else if (!vault_eml_load(s->v, s->name, &s->eml))
            vault_scan_skip(s, BYTES_LIT(VAULT_EML_FLAGS), "not a list of flags by mds export");
        rc = list_dir(s, (struct bytes){0}, 0, NULL, err);
        (void)uselocale(before);
        freelocale(bytewise);
        s->dir_fd = open_in(s, s->name, (struct bytes){0}, O_DIRECTORY | O_PATH);
    }
    return rc == BASE_OK ? sorter_finish(s->sorter, err) : rc;
}

/* --- items --- */

static int mbox_item(struct vault_scan *s, struct vault_item *out, struct error *err)
{
    struct vault_mbox_item m;
    const int rc = vault_mbox_next(s->mbox, &m, err);

    if (rc == VAULT_DONE) {
        struct vault_stamp now = {0};

        if (vault_mbox_ignored_bytes(s->mbox))
            vault_scan_skip(s, container_file(s), "bytes before the first \"From \" line");
        s->unsettled = stamp_mbox(s, &now) < 0 || now.mtime_ns != s->stamp.mtime_ns || now.size != s->stamp.size ||
                       now.inode != s->stamp.inode;
    }
    if (rc != VAULT_MORE)
        return rc;
    s->taken++;
    s->mbox_end = m.offset + m.length;
    *out = (struct vault_item){
        .locator = {.container = s->name, .offset = m.offset, .length = m.length, .filter = m.filter},
        .flags = m.flags,
        .keywords = m.keywords,
        .has_date = m.has_date,
        .date = m.date,
    };
    return VAULT_MORE;
}

static int take(struct vault_scan *s, struct bytes *key, struct bytes *value, struct error *err)
{
    const int rc = sorter_next(s->sorter, key, value, err);

    s->taken += rc == SORTER_MORE;
    return rc;
}

static void keep(struct buf *to, struct bytes v)
{
    buf_reset(to);
    buf_append_bytes(to, v);
}

/* The next key with the last of its values, in s->key and s->ahead_value's former content (s->words). */
static int unique_next(struct vault_scan *s, struct error *err)
{
    struct bytes key, value;
    int rc;

    if (!s->has_ahead) {
        rc = take(s, &key, &value, err);
        if (rc != SORTER_MORE)
            return rc;
        keep(&s->ahead_key, key);
        keep(&s->ahead_value, value);
    }
    const struct buf spare = s->key;

    s->key = s->ahead_key;
    s->ahead_key = spare;
    keep(&s->path, buf_bytes(&s->ahead_value));
    while ((rc = take(s, &key, &value, err)) == SORTER_MORE) {
        if (!bytes_equal(key, buf_bytes(&s->key)))
            break;
        keep(&s->path, value);
    }
    s->has_ahead = rc == SORTER_MORE;
    if (s->has_ahead) {
        keep(&s->ahead_key, key);
        keep(&s->ahead_value, value);
    }
    return rc < 0 ? rc : SORTER_MORE;
}

static int maildir_item(struct vault_scan *s, struct vault_item *out, struct error *err)
{
    const int rc = unique_next(s, err);
    uint8_t where;

    if (rc != SORTER_MORE)
        return rc;
    const struct bytes base = bytes_slice(buf_bytes(&s->key), 8, SIZE_MAX);

    /* s->path holds the mark and the suffix; make it "cur/" base suffix. */
    where = s->path.p[0];
    keep(&s->words, bytes_slice(buf_bytes(&s->path), 1, SIZE_MAX));
    buf_reset(&s->path);
    buf_append_str(&s->path, where == 'c' ? "cur/" : "new/");
    buf_append_bytes(&s->path, base);
    buf_append_bytes(&s->path, buf_bytes(&s->words));
    buf_reset(&s->words);
    *out = (struct vault_item){
        .identity = base,
        .locator = {.container = s->name, .name = buf_bytes(&s->path)},
    };
    out->flags = vault_maildir_flags(bytes_slice(buf_bytes(&s->path), 4, SIZE_MAX), &s->keywords, &s->words);
    out->keywords = buf_bytes(&s->words);
    return VAULT_MORE;
}

static int file_item(struct vault_scan *s, struct vault_item *out, struct error *err)
{
    const bool mh = s->v->kind == VAULT_KIND_MH;
    struct bytes key, value;
    struct stat st;
    int rc;

    while ((rc = take(s, &key, &value, err)) == SORTER_MORE) {
        const struct bytes name = mh ? bytes_slice(key, 8, SIZE_MAX) : key;

        if (s->name.n + name.n + 2 > VAULT_PATH_BYTES) {
            vault_scan_skip(s, name, "path too long");
            continue;
        }
        keep(&s->path, name);
        buf_append_byte(&s->path, 0);
        /* A single name of an open directory: there is no path that could lead elsewhere. */
        const bool known = fstatat(s->dir_fd, (const char *)s->path.p, &st, AT_SYMLINK_NOFOLLOW) == 0;

        if (known && !S_ISREG(st.st_mode)) {
            vault_scan_skip(s, name, "no regular file");
            continue;
        }
        *out = (struct vault_item){
            .identity = name,
            .locator = {.container = s->name, .name = name},
            .flags = mh ? vault_mh_flags(&s->sequences, get_be64(key.p)) : 0,
        };
        if (known) { /* else it vanished, and reading it will say so */
            out->has_stat = true;
            out->size = (uint64_t)st.st_size;
            out->mtime_ns = vault_os_mtime_ns(&st);
        }
        if (!mh)
            vault_eml_apply(&s->eml, out, &s->words);
        return VAULT_MORE;
    }
    return rc;
}

int vault_scan_next_item(struct vault_scan *s, struct vault_item *out, struct error *err)
{
    int rc;

    if (!s->open)
        return VAULT_DONE;
    if (!s->begun && (rc = items_begin(s, err)) != BASE_OK) {
        s->open = false;
        return rc;
    }
    if (s->mbox)
        rc = mbox_item(s, out, err);
    else if (is_maildir(s->v))
        rc = maildir_item(s, out, err);
    else
        rc = file_item(s, out, err);
    if (rc != VAULT_MORE)
        s->open = false;
    return rc;
}

/* --- how much is to come --- */

uint64_t vault_scan_pending(const struct vault_scan *s)
{
    if (!s->open || !s->begun)
        return 0;
    if (s->mbox) {
        if (!s->taken || s->mbox_end >= s->stamp.size)
            return 0;
        const uint64_t mean = s->mbox_end / s->taken + 1;

        return (s->stamp.size - s->mbox_end + mean - 1) / mean;
    }
    return sorter_count(s->sorter) - s->taken + s->has_ahead;
}

static int64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Item names of one directory; what cannot be read counts as nothing here and is reported when its turn comes. */
static uint64_t count_dir(struct vault_scan *s, struct bytes container, struct bytes sub, int64_t until_ns)
{
    struct vault_dir entries;
    enum vault_entry_type type;
    struct bytes name;
    uint64_t n = 0;
    char path[VAULT_PATH_BYTES];
    const int fd = vault_os_path(path, container, sub) ? vault_os_open(s->v, path, O_DIRECTORY) : -ENAMETOOLONG;

    if (fd < 0)
        return 0;
    vault_dir_init(&entries, fd);
    while (vault_dir_next(&entries, &name, &type) == VAULT_MORE) {
        if (type == VAULT_ENTRY_FILE && is_item_name(s, name) && ++n % ESTIMATE_CLOCK == 0 && now_ns() > until_ns)
            break;
    }
    vault_dir_release(&entries);
    (void)close(fd);
    return n;
}

static uint64_t count_place(struct vault_scan *s, const struct vault_place *place, int64_t until_ns)
{
    char path[VAULT_PATH_BYTES];
    struct stat st;

    if (place->unreadable)
        return 0;
    if (is_maildir(s->v))
        return count_dir(s, place->name, BYTES_LIT("new"), until_ns) +
               count_dir(s, place->name, BYTES_LIT("cur"), until_ns);
    if (!is_mbox(s->v))
        return count_dir(s, place->name, (struct bytes){0}, until_ns);
    if (!vault_os_path(path, s->v->file ? bytes_str(s->v->file) : place->name, (struct bytes){0}) ||
        vault_os_lstat(s->v, path, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    return ((uint64_t)st.st_size + ESTIMATE_MBOX_ITEM - 1) / ESTIMATE_MBOX_ITEM;
}

uint64_t vault_scan_estimate(struct vault_scan *s)
{
    const int64_t until_ns = s->counted ? 0 : now_ns() + ESTIMATE_NS;

    for (size_t i = s->at; !s->counted && i < s->places.n && now_ns() <= until_ns; i++) {
        s->places.at[i].expected = count_place(s, &s->places.at[i], until_ns);
        s->later += s->places.at[i].expected;
    }
    s->counted = true;
    return s->later;
}
