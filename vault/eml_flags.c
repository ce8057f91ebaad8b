/*
 * flags.txt beside .eml files, as mds export writes it:
 *
 *     0000000007 TAB 1700000000 TAB \Seen \Flagged TAB $Work        of 0000000007.eml
 *
 * UIDs go up. The file is believed as a whole or not at all: one line that is none of these makes it somebody else's,
 * and the items are read as if it were not there.
 */
#include "vault_private.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <unistd.h>

#define FLAGS_FILE_MAX ((size_t)128 << 20) /* some two million messages */
#define FLAGS_LINE_MAX ((size_t)64 << 10)
#define UID_DIGITS     10u

struct vault_eml_row {
    uint32_t uid, flags;
    int64_t date;
    struct bytes keywords; /* view of the text */
};

/* The part up to `end`, and what follows it. */
static bool cut(struct bytes *rest, uint8_t end, struct bytes *out)
{
    const uint8_t *at = rest->n ? memchr(rest->p, end, rest->n) : NULL;

    if (!at)
        return false;
    *out = bytes_of(rest->p, (size_t)(at - rest->p));
    *rest = bytes_slice(*rest, out->n + 1, SIZE_MAX);
    return true;
}

static bool uid_parse(struct bytes text, uint32_t *out)
{
    uint64_t n;

    if (text.n != UID_DIGITS || !vault_mh_number(text, &n) || n == 0 || n > UINT32_MAX)
        return false;
    *out = (uint32_t)n;
    return true;
}

static bool date_parse(struct bytes text, int64_t *out)
{
    const bool minus = text.n && text.p[0] == '-';
    uint64_t n;

    if (!vault_mh_number(bytes_slice(text, minus, SIZE_MAX), &n) || n > INT64_MAX / 4)
        return false;
    *out = minus ? -(int64_t)n : (int64_t)n;
    return true;
}

static bool is_plain(struct bytes word)
{
    for (size_t i = 0; i < word.n; i++) {
        if (word.p[i] < 0x20 || word.p[i] == 0x7f)
            return false;
    }
    return true;
}

/* Words with one blank between them: names of flags alone, or (keywords) any that hold no control characters. */
static bool words_parse(struct bytes text, bool keywords, uint32_t *flags_out, struct buf *scratch)
{
    *flags_out = 0;
    while (text.n) {
        struct bytes word = text;

        if (!cut(&text, ' ', &word))
            text = (struct bytes){0};
        else if (!text.n)
            return false;
        buf_reset(scratch);
        const uint32_t flag = vault_keyword_add(scratch, word);

        if (word.n == 0 || (keywords ? !is_plain(word) : flag == 0))
            return false;
        *flags_out |= flag;
    }
    return true;
}

static bool row_parse(struct bytes line, struct vault_eml_row *out, struct buf *scratch)
{
    struct bytes uid, date, flags;
    uint32_t more;

    if (line.n > FLAGS_LINE_MAX || !cut(&line, '\t', &uid) || !cut(&line, '\t', &date) || !cut(&line, '\t', &flags))
        return false;
    out->keywords = line;
    return uid_parse(uid, &out->uid) && date_parse(date, &out->date) &&
           words_parse(flags, false, &out->flags, scratch) && words_parse(line, true, &more, scratch);
}

bool vault_eml_parse(struct bytes text, struct vault_eml_flags *out)
{
    GArray *rows = g_array_new(FALSE, FALSE, sizeof(struct vault_eml_row));
    struct vault_eml_row row = {0};
    struct buf scratch = {0};
    struct bytes line;
    uint32_t last = 0;
    bool ours = true;

    while (ours && text.n) {
        ours = cut(&text, '\n', &line) && row_parse(line, &row, &scratch) && row.uid > last;
        last = row.uid;
        if (ours)
            g_array_append_val(rows, row);
    }
    buf_release(&scratch);
    out->n = ours ? rows->len : 0;
    out->at = (struct vault_eml_row *)(void *)g_array_free(rows, !ours);
    return ours;
}

static bool file_read(int fd, struct buf *out)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 0 || (uint64_t)st.st_size > FLAGS_FILE_MAX)
        return false;
    const size_t n = (size_t)st.st_size;
    const ssize_t got = vault_os_pread(fd, buf_reserve(out, n + 1), n, 0);

    out->n = got > 0 ? (size_t)got : 0;
    return got == (ssize_t)n;
}

bool vault_eml_load(struct vault *v, struct bytes container, struct vault_eml_flags *out)
{
    char path[VAULT_PATH_BYTES];

    vault_eml_release(out);
    if (!vault_os_path(path, container, BYTES_LIT(VAULT_EML_FLAGS)))
        return true;
    const int fd = vault_os_open(v, path, 0);

    if (fd < 0)
        return fd == -ENOENT;
    const bool ours = file_read(fd, &out->text) && vault_eml_parse(buf_bytes(&out->text), out);

    (void)close(fd);
    if (!ours)
        vault_eml_release(out);
    return ours;
}

static int row_compare(const void *key, const void *row)
{
    const uint32_t uid = *(const uint32_t *)key, other = ((const struct vault_eml_row *)row)->uid;

    return (uid > other) - (uid < other);
}

void vault_eml_apply(const struct vault_eml_flags *f, struct vault_item *item, struct buf *words)
{
    const struct bytes name = item->identity;
    const struct vault_eml_row *row = NULL;
    uint32_t uid;

    if (f->n && name.n == UID_DIGITS + 4 && bytes_equal(bytes_slice(name, UID_DIGITS, 4), BYTES_LIT(".eml")) &&
        uid_parse(bytes_slice(name, 0, UID_DIGITS), &uid))
        row = bsearch(&uid, f->at, f->n, sizeof *f->at, row_compare);
    if (!row)
        return;
    struct bytes rest = row->keywords;

    item->flags = row->flags;
    item->has_date = true;
    item->date = row->date;
    buf_reset(words);
    while (rest.n) {
        struct bytes word = rest;

        if (!cut(&rest, ' ', &word))
            rest = (struct bytes){0};
        item->flags |= vault_keyword_add(words, word);
    }
    item->keywords = buf_bytes(words);
}

void vault_eml_release(struct vault_eml_flags *f)
{
    g_free(f->at);
    buf_release(&f->text);
    *f = (struct vault_eml_flags){0};
}
