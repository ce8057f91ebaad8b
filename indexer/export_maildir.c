/*
 * Maildir++: ".A.B" is folder A/B. A name begins with a time that never goes down, so that Maildir's order is that of
 * the UIDs, and holds folder and UID, so that no two are the same: "1700000000.F3U0000000012.mds:2,FS". The internal
 * date is the file's time.
 */
#include "export_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void maildir_name(struct buf *out, struct bytes full_name)
{
    buf_reset(out);
    while (full_name.n && !bytes_equal(full_name, BYTES_LIT("INBOX"))) {
        const uint8_t *slash = memchr(full_name.p, '/', full_name.n);
        const struct bytes level = bytes_of(full_name.p, slash ? (size_t)(slash - full_name.p) : full_name.n);
        buf_append_byte(out, '.');
        const size_t at = out->n;
        if (g_utf8_validate((const char *)level.p, (gssize)level.n, NULL))
            vault_utf7_encode(level, out);
        else
            buf_append_bytes(out, level);
        for (size_t i = at; i < out->n; i++)
            if (out->p[i] == '.') /* it would be two levels */
                out->p[i] = '_';
        full_name = bytes_slice(full_name, level.n + 1, SIZE_MAX);
        if (bytes_equal(full_name, BYTES_LIT("INBOX"))) {
            buf_append_str(out, ".INBOX");
            break;
        }
    }
    buf_append_byte(out, 0);
}

static int folder_begin(struct export_out *x, struct bytes full_name, struct error *err)
{
    static const char *const subs[] = {"cur", "new", "tmp"};
    maildir_name(&x->scratch, full_name);
    x->path = export_path(x, (const char *)x->scratch.p);
    x->last_time = 0;
    x->keywords_n = 0;
    if (mkdir(x->path, 0700) < 0 && errno != EEXIST)
        return error_errno(err, "%s", x->path);
    for (size_t i = 0; i < G_N_ELEMENTS(subs); i++) {
        char *sub = g_build_filename(x->path, subs[i], NULL);
        int rc = mkdir(sub, 0700) < 0 && errno != EEXIST ? error_errno(err, "%s", sub) : 0;
        g_free(sub);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Its letter; 0 when all 26 are taken: then the keyword is left out. */
static char letter_of(struct export_out *x, struct bytes word)
{
    for (unsigned i = 0; i < x->keywords_n; i++)
        if (bytes_equal_nocase(bytes_str(x->keyword[i]), word))
            return (char)('a' + i);
    if (x->keywords_n == G_N_ELEMENTS(x->keyword))
        return 0;
    x->keyword[x->keywords_n] = g_strndup((const char *)word.p, word.n);
    return (char)('a' + x->keywords_n++);
}

static void put_flags(struct export_out *x, const struct export_message *m, struct buf *out)
{
    static const struct {
        uint32_t flag;
        char letter;
    } flags[] = {{VAULT_FLAG_DRAFT, 'D'},    {VAULT_FLAG_FLAGGED, 'F'}, {VAULT_FLAG_FORWARDED, 'P'},
                 {VAULT_FLAG_ANSWERED, 'R'}, {VAULT_FLAG_SEEN, 'S'},    {VAULT_FLAG_DELETED, 'T'}};
    struct bytes rest = m->keywords;
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++)
        if (m->flags & flags[i].flag)
            buf_append_byte(out, (uint8_t)flags[i].letter);
    while (rest.n) {
        const uint8_t *space = memchr(rest.p, ' ', rest.n);
        const struct bytes word = bytes_of(rest.p, space ? (size_t)(space - rest.p) : rest.n);
        const char letter = letter_of(x, word);
        if (letter)
            buf_append_byte(out, (uint8_t)letter);
        rest = bytes_slice(rest, word.n + 1, SIZE_MAX);
    }
}

static int message(struct export_out *x, const struct export_message *m, struct error *why, struct error *err)
{
    struct buf name = {0};
    if (m->internal_date > x->last_time)
        x->last_time = m->internal_date;
    buf_printf(&name, "%s/cur/%lld.F%uU%010u.mds:2,", x->path, (long long)x->last_time, m->folder, m->uid);
    put_flags(x, m, &name);
    buf_append_byte(&name, 0);
    int rc = export_file(x, (const char *)name.p, m, why, err);
    buf_release(&name);
    return rc;
}

static int keywords_write(const struct export_out *x, struct error *err)
{
    char *path = g_build_filename(x->path, "dovecot-keywords", NULL);
    FILE *f = x->keywords_n ? fopen(path, "we") : NULL;
    int rc = x->keywords_n && !f ? error_errno(err, "%s", path) : 0;
    for (unsigned i = 0; f && i < x->keywords_n; i++)
        fprintf(f, "%u %s\n", i, x->keyword[i]);
    if (f && fclose(f) != 0)
        rc = error_errno(err, "%s", path);
    g_free(path);
    return rc;
}

static int folder_end(struct export_out *x, struct error *err)
{
    int rc = x->path ? keywords_write(x, err) : 0;
    for (unsigned i = 0; i < x->keywords_n; i++)
        g_clear_pointer(&x->keyword[i], g_free);
    x->keywords_n = 0;
    g_clear_pointer(&x->path, g_free);
    return rc;
}

const struct export_form export_maildir = {folder_begin, message, folder_end};
