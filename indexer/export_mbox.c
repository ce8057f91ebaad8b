/*
 * mboxrd: one file a folder, "From " lines quoted by one '>' more, flags and keywords in the writer's fields, the
 * internal date in the separator. What mbox cannot say: whether an item ended without a line end, and fields Status and
 * the like of its own.
 */
#include "export_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*
 * A file cannot be a directory too: beside the file A the folders below A stand in "A~", and where a directory stands
 * already the file gets the '~'.
 */
static char *free_path(const char *to, const char *relative)
{
    GString *path = g_string_new(to);
    gchar **levels = g_strsplit(relative, "/", -1);
    for (unsigned i = 0; levels[i]; i++) {
        g_string_append_c(path, '/');
        g_string_append(path, levels[i]);
        while (g_file_test(path->str, levels[i + 1] ? G_FILE_TEST_IS_REGULAR : G_FILE_TEST_EXISTS))
            g_string_append_c(path, '~');
    }
    g_strfreev(levels);
    return g_string_free(path, FALSE);
}

static int folder_begin(struct export_out *x, struct bytes full_name, struct error *err)
{
    (void)err;
    export_tree_name(&x->scratch, full_name);
    x->path = free_path(x->e->to, x->scratch.n > 1 ? (const char *)x->scratch.p : "INBOX");
    return 0; /* the file is made with the first message: a folder above others may have none */
}

static int file_open(struct export_out *x, struct error *err)
{
    char *parent = g_path_get_dirname(x->path);
    int rc = g_mkdir_with_parents(parent, 0700) < 0 ? error_errno(err, "%s", parent) : 0;
    g_free(parent);
    if (rc == 0)
        x->file = fopen(x->path, "wxe");
    if (rc == 0 && !x->file)
        rc = error_errno(err, "%s", x->path);
    return rc;
}

static void put_separator(FILE *f, int64_t date)
{
    const time_t t = (time_t)date;
    struct tm tm;
    char text[64] = "Thu Jan  1 00:00:00 1970";
    if (gmtime_r(&t, &tm) && tm.tm_year >= 0 && tm.tm_year < 8000)
        (void)strftime(text, sizeof text, "%a %b %e %H:%M:%S %Y", &tm);
    fprintf(f, "From MAILER-DAEMON %s\n", text);
}

static void put_fields(FILE *f, const struct export_message *m)
{
    const uint32_t fl = m->flags;
    fprintf(f, "Status: %sO\n", fl & VAULT_FLAG_SEEN ? "R" : "");
    if (fl & (VAULT_FLAG_ANSWERED | VAULT_FLAG_FLAGGED | VAULT_FLAG_DELETED | VAULT_FLAG_DRAFT))
        fprintf(f, "X-Status: %s%s%s%s\n", fl & VAULT_FLAG_ANSWERED ? "A" : "", fl & VAULT_FLAG_FLAGGED ? "F" : "",
                fl & VAULT_FLAG_DRAFT ? "T" : "", fl & VAULT_FLAG_DELETED ? "D" : "");
    if (m->keywords.n || (fl & VAULT_FLAG_FORWARDED))
        fprintf(f, "X-Keywords: %s%s%.*s\n", fl & VAULT_FLAG_FORWARDED ? "$Forwarded" : "",
                (fl & VAULT_FLAG_FORWARDED) && m->keywords.n ? " " : "", (int)m->keywords.n,
                m->keywords.n ? (const char *)m->keywords.p : "");
}

/* Is this line ">...>From "? It may be cut by the end of the chunk: more says that bytes follow. -1: not known yet. */
static int is_quotable(const uint8_t *p, size_t n, bool more)
{
    size_t q = 0;
    while (q < n && p[q] == '>')
        q++;
    const size_t have = n - q < 5 ? n - q : 5;
    if (memcmp(p + q, "From ", have) != 0)
        return 0;
    return have == 5 ? 1 : more ? -1 : 0;
}

/* Lines of the chunk; returns how many bytes were taken. */
static size_t put_lines(FILE *f, const uint8_t *p, size_t n, bool more, bool *mid_line)
{
    size_t at = 0;
    while (at < n) {
        if (!*mid_line) {
            const int quote = is_quotable(p + at, n - at, more);
            if (quote < 0 && at > 0)
                return at;
            if (quote > 0)
                fputc('>', f);
        }
        const uint8_t *newline = memchr(p + at, '\n', n - at);
        const size_t end = newline ? (size_t)(newline - p) + 1 : n;
        (void)fwrite(p + at, 1, end - at, f);
        *mid_line = !newline;
        at = end;
    }
    return n;
}

static int put_item(struct export_out *x, const struct export_message *m, struct error *why)
{
    const uint64_t size = vault_item_size(m->body);
    bool mid_line = false;
    for (uint64_t off = 0; off < size;) {
        size_t got = 0;
        int rc = vault_item_read(m->body, off, x->chunk, EXPORT_CHUNK, &got, why);
        if (rc < 0 || !got)
            return 1;
        if (off == 0 && x->chunk[0] != ' ' &&
            x->chunk[0] != '\t') /* else it would be taken for the end of such a field */
            put_fields(x->file, m);
        off += put_lines(x->file, x->chunk, got, off + got < size, &mid_line);
    }
    if (size == 0)
        put_fields(x->file, m);
    fputs(mid_line ? "\n\n" : "\n", x->file);
    return 0;
}

static int message(struct export_out *x, const struct export_message *m, struct error *why, struct error *err)
{
    int rc = x->file ? 0 : file_open(x, err);
    if (rc < 0)
        return rc;
    const off_t begin = ftello(x->file);
    put_separator(x->file, m->internal_date);
    rc = put_item(x, m, why);
    if (rc > 0 &&
        (fflush(x->file) != 0 || ftruncate(fileno(x->file), begin) < 0 || fseeko(x->file, begin, SEEK_SET) < 0))
        rc = error_errno(err, "%s", x->path);
    return rc >= 0 && ferror(x->file) ? error_errno(err, "%s", x->path) : rc;
}

static int folder_end(struct export_out *x, struct error *err)
{
    int rc = x->file && fclose(x->file) != 0 ? error_errno(err, "%s", x->path) : 0;
    x->file = NULL;
    g_clear_pointer(&x->path, g_free);
    return rc;
}

const struct export_form export_mbox = {folder_begin, message, folder_end};
