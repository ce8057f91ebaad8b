/* What a backup consists of, written and read, and the copying of one file. */
#include "backup_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MANIFEST_MAX  ((size_t)64 << 20)
#define MANIFEST_HEAD "mds-backup 1\n"
#define COPY_BYTES    ((size_t)1 << 20)

void backup_manifest_add(struct backup_manifest *m, const char *path, uint64_t bytes, const struct hash128 *hash)
{
    m->files = g_renew(struct backup_file, m->files, m->n + 1);
    m->files[m->n++] = (struct backup_file){.hash = *hash, .bytes = bytes, .path = g_strdup(path)};
}

void backup_manifest_release(struct backup_manifest *m)
{
    for (size_t i = 0; i < m->n; i++)
        g_free(m->files[i].path);
    g_free(m->files);
    g_free(m->archive);
    *m = (struct backup_manifest){0};
}

static void put_hash(struct buf *b, const struct hash128 *h)
{
    for (size_t i = 0; i < HASH128_BYTES; i++)
        buf_printf(b, "%02x", h->b[i]);
}

static int write_synced(const char *path, struct bytes text, struct error *err)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = fd < 0 ? error_errno(err, "%s", path) : 0;
    while (rc == 0 && text.n) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno != EINTR)
            rc = error_errno(err, "%s", path);
        text = bytes_slice(text, n > 0 ? (size_t)n : 0, SIZE_MAX);
    }
    if (rc == 0 && fsync(fd) < 0)
        rc = error_errno(err, "%s", path);
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

int backup_manifest_write(const struct backup_manifest *m, const char *dir, struct error *err)
{
    char *path = g_build_filename(dir, BACKUP_MANIFEST, NULL), *aside = g_strconcat(path, ".part", NULL);
    struct buf text = {0};
    buf_printf(&text, MANIFEST_HEAD "archive %s\ntaken %" PRId64 "\n", m->archive, m->taken);
    for (size_t i = 0; i < m->n; i++) {
        buf_append_str(&text, "file ");
        put_hash(&text, &m->files[i].hash);
        buf_printf(&text, " %" PRIu64 " %s\n", m->files[i].bytes, m->files[i].path);
    }
    const struct hash128 sum = hash128_of(buf_bytes(&text));
    buf_append_str(&text, "end ");
    put_hash(&text, &sum);
    buf_append_byte(&text, '\n');
    int rc = write_synced(aside, buf_bytes(&text), err);
    if (rc == 0 && rename(aside, path) < 0)
        rc = error_errno(err, "%s", path);
    if (rc == 0)
        rc = archive_sync_dir(dir, err);
    buf_release(&text);
    g_free(aside);
    g_free(path);
    return rc;
}

/* ---- reading ---- */

static bool parse_hash(const char *text, struct hash128 *out)
{
    for (size_t i = 0; i < HASH128_BYTES; i++) {
        const int high = g_ascii_xdigit_value(text[2 * i]), low = high < 0 ? -1 : g_ascii_xdigit_value(text[2 * i + 1]);
        if (low < 0)
            return false;
        out->b[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* "data.mdb" or "segments/NNNNNNNN.seg", nothing else. */
static bool is_path(const char *p)
{
    if (strcmp(p, "data.mdb") == 0)
        return true;
    return strlen(p) == 21 && strncmp(p, "segments/", 9) == 0 && strspn(p + 9, "0123456789") == 8 &&
           strcmp(p + 17, ".seg") == 0;
}

static bool parse_file(const char *line, struct backup_manifest *m)
{
    struct hash128 hash;
    char *end;
    if (strlen(line) < BACKUP_HEX + 2 || !parse_hash(line, &hash) || line[BACKUP_HEX] != ' ')
        return false;
    const uint64_t bytes = g_ascii_strtoull(line + BACKUP_HEX + 1, &end, 10);
    if (*end != ' ' || !is_path(end + 1))
        return false;
    backup_manifest_add(m, end + 1, bytes, &hash);
    return true;
}

static bool parse_lines(char *text, struct backup_manifest *m)
{
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, "archive ", 8) == 0 && !m->archive)
            m->archive = g_strdup(line + 8);
        else if (strncmp(line, "taken ", 6) == 0)
            m->taken = g_ascii_strtoll(line + 6, NULL, 10);
        else if (strncmp(line, "file ", 5) != 0 || !parse_file(line + 5, m))
            return false;
    }
    return m->archive && m->n > 0;
}

/* The text up to "end", if its sum is right; NULL otherwise. */
static char *checked_text(const char *text, size_t n)
{
    const size_t last = 4 + BACKUP_HEX + 1;
    struct hash128 said;
    if (n < last || text[n - 1] != '\n' || strncmp(text + n - last, "end ", 4) != 0 ||
        !parse_hash(text + n - last + 4, &said))
        return NULL;
    const struct hash128 is = hash128_of(bytes_of(text, n - last));
    if (hash128_compare(&is, &said) != 0)
        return NULL;
    return g_strndup(text + strlen(MANIFEST_HEAD), n - last - strlen(MANIFEST_HEAD));
}

int backup_manifest_read(const char *dir, struct backup_manifest *out, struct error *err)
{
    char *path = g_build_filename(dir, BACKUP_MANIFEST, NULL), *text = NULL, *lines = NULL;
    struct stat st;
    gsize n = 0;
    int rc = 0;
    *out = (struct backup_manifest){0};
    if (stat(path, &st) < 0)
        rc = errno == ENOENT || errno == ENOTDIR
                 ? error_set(err, BASE_ERR_NOTFOUND, errno,
                             "%s: no backup, or one that was not finished: it has no manifest", dir)
                 : error_errno(err, "%s", path);
    else if ((uint64_t)st.st_size > MANIFEST_MAX || !g_file_get_contents(path, &text, &n, NULL))
        rc = error_set(err, BASE_ERR_IO, 0, "%s: cannot be read", path);
    else if (strncmp(text, MANIFEST_HEAD, strlen(MANIFEST_HEAD)) != 0)
        rc = error_set(err, BASE_ERR_FORMAT, 0, "%s: not a manifest of this version", path);
    else if (!(lines = checked_text(text, n)) || !parse_lines(lines, out))
        rc = error_set(err, BASE_ERR_CORRUPT, 0, "%s: it is not as it was written", path);
    if (rc < 0)
        backup_manifest_release(out);
    g_free(lines);
    g_free(text);
    g_free(path);
    return rc;
}

/* ---- files ---- */

static int write_all(int fd, const uint8_t *p, size_t n, const char *path, struct error *err)
{
    while (n) {
        const ssize_t put = write(fd, p, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return error_errno(err, "%s", path);
        p += put;
        n -= (size_t)put;
    }
    return 0;
}

int backup_copy_file(const struct indexer_archive *a, const char *from, const char *to, uint64_t n,
                     struct hash128 *hash_out, uint64_t *bytes_out, struct error *err)
{
    struct hash128_state *state = hash128_new();
    uint8_t *chunk = g_malloc(COPY_BYTES);
    uint64_t done = 0;
    const int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    const int out = in >= 0 && to ? open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    int rc = in < 0 ? error_errno(err, "%s", from) : to && out < 0 ? error_errno(err, "%s", to) : 0;
    while (rc == 0 && done < n) {
        const size_t want = n - done < COPY_BYTES ? (size_t)(n - done) : COPY_BYTES;
        const ssize_t got = read(in, chunk, want);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            rc = error_errno(err, "%s", from);
        if (got <= 0)
            break;
        hash128_update(state, bytes_of(chunk, (size_t)got));
        rc = to ? write_all(out, chunk, (size_t)got, to, err) : 0;
        done += (uint64_t)got;
        if (rc == 0)
            rc = archive_check_cancel(a, err);
    }
    if (rc == 0 && n != UINT64_MAX && done < n)
        rc = error_set(err, BASE_ERR_CORRUPT, 0, "%s: has %" PRIu64 " bytes of %" PRIu64, from, done, n);
    if (rc == 0 && to && fsync(out) < 0)
        rc = error_errno(err, "%s", to);
    if (in >= 0)
        (void)close(in);
    if (out >= 0)
        (void)close(out);
    *hash_out = hash128_digest(state);
    *bytes_out = done;
    hash128_free(&state);
    g_free(chunk);
    return rc;
}

int backup_make_dir(const char *path, struct error *err)
{
    unsigned entries = 0;
    if (mkdir(path, 0700) == 0)
        return 0;
    if (errno != EEXIST)
        return error_errno(err, "%s", path);
    DIR *d = opendir(path);
    if (!d)
        return error_errno(err, "%s", path);
    while (entries < 3 && readdir(d))
        entries++;
    (void)closedir(d);
    return entries > 2
               ? error_set(err, BASE_ERR_EXISTS, 0, "%s: is there already and not empty; nothing was written", path)
               : 0;
}
