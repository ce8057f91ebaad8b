/*
 * gen_sink: nothing is synced, and file names are made from the message's number, so that two threads never meet.
 */
#include "gen_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MBOX_BUFFER_BYTES (256u << 10) /* a folder's pending bytes, */
#define MBOX_ALL_BYTES    (64u << 20)  /* and about those of all */
#define PATH_BYTES        1024

struct folder {
    char *path;                          /* relative to the vault */
    struct buf pending;                  /* mbox: not yet written */
    struct buf unseen, flagged, replied; /* mh: " 1 5 9" */
};

struct gen_sink {
    const struct gen_plan *plan;
    enum gen_kind kind;
    char *dir;
    int root; /* descriptor of dir, -1 none */
    struct folder *folders;
};

enum gen_kind gen_kind_of(const char *name)
{
    static const char *const names[GEN_KINDS] = {"maildir", "mbox", "eml", "mh"};
    unsigned k = 0;
    while (k < GEN_KINDS && strcmp(name, names[k]) != 0)
        k++;
    return (enum gen_kind)k;
}

/* RFC 3501 5.1.3: modified UTF-7, as Maildir++ spells folder names; '/' becomes '.'. */
static void maildir_name(const char *utf8, struct buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";
    uint32_t bits = 0;
    int n = 0;
    bool shifted = false;
    for (const char *p = utf8; *p; p = g_utf8_find_next_char(p, NULL)) {
        gunichar c = g_utf8_get_char(p);
        ASSERT(c < 0x10000); /* our table of names has no surrogates */
        if (c >= 0x20 && c < 0x7f) {
            if (shifted) {
                if (n > 0)
                    buf_append_byte(out, (uint8_t)digits[bits << (6 - n) & 63]);
                buf_append_byte(out, '-');
            }
            shifted = false;
            buf_append_byte(out, c == '/' ? '.' : (uint8_t)c);
            if (c == '&')
                buf_append_byte(out, '-');
            continue;
        }
        if (!shifted) {
            buf_append_byte(out, '&');
            shifted = true;
            bits = 0;
            n = 0;
        }
        bits = bits << 16 | c;
        for (n += 16; n >= 6; n -= 6)
            buf_append_byte(out, (uint8_t)digits[bits >> (n - 6) & 63]);
        bits &= (1u << n) - 1;
    }
    if (shifted) {
        if (n > 0)
            buf_append_byte(out, (uint8_t)digits[bits << (6 - n) & 63]);
        buf_append_byte(out, '-');
    }
}

static char *folder_path(const struct gen_sink *s, unsigned k)
{
    struct buf name = {0}, path = {0};
    gen_folder_name(k, &name);
    buf_append_byte(&name, 0);
    if (s->kind == GEN_MAILDIR) {
        buf_append_str(&path, k == 0 ? "." : "./."); /* a dot folder below the root */
        if (k > 0)
            maildir_name((char *)name.p, &path);
    } else if (k == 0 && (s->kind == GEN_EML || s->kind == GEN_MH)) {
        buf_append_byte(&path, '.'); /* the tree's root is the inbox */
    } else {
        buf_append_str(&path, (char *)name.p);
    }
    buf_append_byte(&path, 0);
    buf_release(&name);
    return (char *)path.p;
}

/* Makes path and its parents below the root. */
static int make_directory(const struct gen_sink *s, const char *path, struct error *err)
{
    char *full = g_build_filename(s->dir, path, NULL);
    int rc = g_mkdir_with_parents(full, 0777) == 0 ? 0 : error_errno(err, "cannot make %s", full);
    g_free(full);
    return rc;
}

static int make_folder(struct gen_sink *s, unsigned k, struct error *err)
{
    static const char *const maildir[] = {"cur", "new", "tmp"};
    struct folder *f = &s->folders[k];
    f->path = folder_path(s, k);
    if (s->kind == GEN_MBOX) {
        char *parent = g_path_get_dirname(f->path);
        int rc = make_directory(s, parent, err);
        g_free(parent);
        return rc;
    }
    if (s->kind != GEN_MAILDIR)
        return make_directory(s, f->path, err);
    for (size_t i = 0; i < G_N_ELEMENTS(maildir); i++) {
        char *path = g_build_filename(f->path, maildir[i], NULL);
        int rc = make_directory(s, path, err);
        g_free(path);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static bool is_empty(const char *dir)
{
    GDir *d = g_dir_open(dir, 0, NULL);
    bool empty = !d || !g_dir_read_name(d);
    g_clear_pointer(&d, g_dir_close);
    return empty;
}

int gen_sink_open(const char *dir, enum gen_kind kind, const struct gen_plan *plan, bool append, struct gen_sink **out,
                  struct error *err)
{
    if (!append && !is_empty(dir))
        return error_set(err, BASE_ERR_EXISTS, 0, "%s is not empty", dir);
    struct gen_sink *s = g_new0(struct gen_sink, 1);
    s->plan = plan;
    s->kind = kind;
    s->dir = g_strdup(dir);
    s->root = -1;
    s->folders = g_new0(struct folder, plan->folders);
    int rc = make_directory(s, ".", err);
    if (rc == 0 && (s->root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        rc = error_errno(err, "cannot open %s", dir);
    for (unsigned k = 0; rc == 0 && k < plan->folders; k++)
        rc = make_folder(s, k, err);
    if (rc != 0) {
        gen_sink_close(&s, NULL);
        return rc;
    }
    *out = s;
    return 0;
}

static int write_all(int fd, struct bytes v)
{
    while (v.n > 0) {
        ssize_t n = write(fd, v.p, v.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        v = bytes_slice(v, (size_t)n, v.n - (size_t)n);
    }
    return 0;
}

/* when: the file's times, 0 leaves them. */
static int write_at(const struct gen_sink *s, const char *path, int flags, struct bytes v, int64_t when,
                    struct error *err)
{
    int fd = openat(s->root, path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666), rc = 0;
    struct timespec times[2] = {{.tv_sec = when}, {.tv_sec = when}};
    if (fd < 0 || write_all(fd, v) != 0 || (when != 0 && futimens(fd, times) != 0))
        rc = error_errno(err, "cannot write %s/%s", s->dir, path);
    if (fd >= 0 && close(fd) != 0 && rc == 0)
        rc = error_errno(err, "cannot write %s/%s", s->dir, path);
    return rc;
}

static int put_maildir(const struct gen_sink *s, uint64_t i, struct bytes v, const char *flags, bool is_new,
                       struct error *err)
{
    char path[PATH_BYTES];
    int64_t when = gen_time(s->plan, i);
    uint64_t x = gen_mix(i + s->plan->seed);
    g_snprintf(path, sizeof path, "%s/%s/%" G_GINT64_FORMAT ".M%06uP%u_%" G_GUINT64_FORMAT ".mail%u,S=%zu%s%s",
               s->folders[gen_folder(s->plan, i)].path, is_new ? "new" : "cur", when, (unsigned)(x % 1000000),
               1000 + (unsigned)(i >> 10 & 0x7fff), i, (unsigned)(i >> 16 & 3), v.n, is_new ? "" : ":2,",
               is_new ? "" : flags);
    return write_at(s, path, O_EXCL, v, when, err);
}

static int flush_mbox(const struct gen_sink *s, struct folder *f, struct error *err)
{
    int rc = f->pending.n ? write_at(s, f->path, O_APPEND, buf_bytes(&f->pending), 0, err) : 0;
    buf_reset(&f->pending);
    return rc;
}

/* Where the header ends: the offset of its blank line, v.n if there is none. */
static size_t header_end(struct bytes v)
{
    for (size_t at = 0; at < v.n;) {
        const uint8_t *p = v.p + at, *end = memchr(p, '\n', v.n - at);
        if (!end)
            break;
        if (end == p || (end == p + 1 && *p == '\r'))
            return at;
        at = (size_t)(end - v.p) + 1;
    }
    return v.n;
}

/* mboxrd: a line of any number of '>' and "From " gets one '>' more. */
static void put_quoted(struct bytes v, struct buf *out)
{
    while (v.n > 0) {
        const uint8_t *end = memchr(v.p, '\n', v.n);
        size_t n = end ? (size_t)(end - v.p) + 1 : v.n, quotes = 0;
        while (quotes < n && v.p[quotes] == '>')
            quotes++;
        if (n - quotes >= 5 && memcmp(v.p + quotes, "From ", 5) == 0)
            buf_append_byte(out, '>');
        buf_append(out, v.p, n);
        v = bytes_slice(v, n, v.n - n);
    }
}

static int put_mbox(const struct gen_sink *s, uint64_t i, struct bytes v, const char *flags, bool is_new,
                    struct error *err)
{
    struct folder *f = &s->folders[gen_folder(s->plan, i)];
    struct buf *out = &f->pending, date = {0};
    gen_date(gen_time(s->plan, i), 0, &date);
    int day, year;
    char week[4], month[4], clock[9];
    buf_append_byte(&date, 0);
    int fields = sscanf((char *)date.p, "%3s, %d %3s %d %8s", week, &day, month, &year, clock);
    ASSERT(fields == 5);
    buf_release(&date);
    buf_append_str(out, "From ");
    gen_address(s->plan, gen_author(s->plan, gen_original(s->plan, i)), out);
    buf_printf(out, " %s %s %2d %s %d\n", week, month, day, clock, year);
    size_t end = header_end(v);
    put_quoted(bytes_slice(v, 0, end), out);
    if (end < v.n && !is_new) {
        const char *eol = v.p[end] == '\r' ? "\r\n" : "\n";
        buf_printf(out, "Status: %s%s", strchr(flags, 'S') ? "RO" : "O", eol);
        if (strpbrk(flags, "RFTD"))
            buf_printf(out, "X-Status: %s%s%s%s%s", strchr(flags, 'R') ? "A" : "", strchr(flags, 'F') ? "F" : "",
                       strchr(flags, 'D') ? "T" : "", strchr(flags, 'T') ? "D" : "", eol);
    }
    put_quoted(bytes_slice(v, end, v.n - end), out);
    if (v.n == 0 || v.p[v.n - 1] != '\n')
        buf_append_byte(out, '\n');
    buf_append_byte(out, '\n');
    return out->n >= MIN(MBOX_BUFFER_BYTES, MBOX_ALL_BYTES / s->plan->folders) ? flush_mbox(s, f, err) : 0;
}

static int put_numbered(const struct gen_sink *s, uint64_t i, struct bytes v, const char *flags, struct error *err)
{
    char path[PATH_BYTES];
    struct folder *f = &s->folders[gen_folder(s->plan, i)];
    if (s->kind == GEN_EML) {
        g_snprintf(path, sizeof path, "%s/%010" G_GUINT64_FORMAT ".eml", f->path, i);
    } else {
        g_snprintf(path, sizeof path, "%s/%" G_GUINT64_FORMAT, f->path, i + 1);
        if (!strchr(flags, 'S'))
            buf_printf(&f->unseen, " %" G_GUINT64_FORMAT, i + 1);
        if (strchr(flags, 'F'))
            buf_printf(&f->flagged, " %" G_GUINT64_FORMAT, i + 1);
        if (strchr(flags, 'R'))
            buf_printf(&f->replied, " %" G_GUINT64_FORMAT, i + 1);
    }
    return write_at(s, path, O_EXCL, v, gen_time(s->plan, i), err);
}

int gen_sink_put(struct gen_sink *s, uint64_t i, struct bytes message, struct error *err)
{
    char flags[8];
    bool is_new;
    gen_flags(s->plan, i, flags, &is_new);
    switch (s->kind) {
    case GEN_MAILDIR: return put_maildir(s, i, message, flags, is_new, err);
    case GEN_MBOX: return put_mbox(s, i, message, flags, is_new, err);
    case GEN_EML:
    case GEN_MH: return put_numbered(s, i, message, flags, err);
    case GEN_KINDS: break;
    }
    return error_set(err, BASE_ERR_USAGE, 0, "no such kind");
}

static int write_sequences(const struct gen_sink *s, const struct folder *f, struct error *err)
{
    const struct {
        const char *name;
        const struct buf *numbers;
    } sequences[] = {{"unseen", &f->unseen}, {"flagged", &f->flagged}, {"replied", &f->replied}};
    struct buf text = {0};
    for (size_t k = 0; k < G_N_ELEMENTS(sequences); k++)
        if (sequences[k].numbers->n > 0)
            buf_printf(&text, "%s:%.*s\n", sequences[k].name, (int)sequences[k].numbers->n,
                       (const char *)sequences[k].numbers->p);
    char path[PATH_BYTES];
    g_snprintf(path, sizeof path, "%s/.mh_sequences", f->path);
    int rc = write_at(s, path, O_TRUNC, buf_bytes(&text), 0, err);
    buf_release(&text);
    return rc;
}

int gen_sink_close(struct gen_sink **sink, struct error *err)
{
    struct gen_sink *s = *sink;
    int rc = 0;
    if (!s)
        return 0;
    for (unsigned k = 0; k < s->plan->folders; k++) {
        struct folder *f = &s->folders[k];
        if (rc == 0 && f->path && s->kind == GEN_MBOX)
            rc = flush_mbox(s, f, err);
        if (rc == 0 && f->path && s->kind == GEN_MH)
            rc = write_sequences(s, f, err);
        buf_release(&f->pending);
        buf_release(&f->unseen);
        buf_release(&f->flagged);
        buf_release(&f->replied);
        g_free(f->path);
    }
    if (s->root >= 0)
        close(s->root);
    g_free(s->folders);
    g_free(s->dir);
    g_free(s);
    *sink = NULL;
    return rc;
}
