/*
 * MH: numbers as names, .mh_sequences as flags.
 *
 *     unseen: 3 7-9
 *     flagged: 2
 *     replied: 1-2
 *
 * A message that is not in `unseen` has been seen: that is how MH programs read it,
 * also where the file is missing. Other sequences (`cur`, the user's own) are not flags.
 */
#include "vault_private.h"

#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <unistd.h>

#define SEQUENCES_FILE_MAX ((size_t)16 << 20)

bool vault_mh_number(struct bytes name, uint64_t *out)
{
    uint64_t v = 0;

    if (name.n == 0 || name.n > 19)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        if (!g_ascii_isdigit(name.p[i]))
            return false;
        v = v * 10 + (uint64_t)(name.p[i] - '0');
    }
    *out = v;
    return true;
}

static uint32_t sequence_flag(struct bytes name)
{
    if (bytes_equal(name, BYTES_LIT("unseen")))
        return VAULT_FLAG_SEEN;
    if (bytes_equal(name, BYTES_LIT("flagged")))
        return VAULT_FLAG_FLAGGED;
    if (bytes_equal(name, BYTES_LIT("replied")))
        return VAULT_FLAG_ANSWERED;
    return 0;
}

static void ranges_parse(struct bytes text, uint32_t flag, GArray *out)
{
    size_t at = 0;

    while (at < text.n) {
        size_t end = at;

        while (end < text.n && !g_ascii_isspace(text.p[end]))
            end++;
        const struct bytes word = bytes_slice(text, at, end - at);
        const uint8_t *dash = word.n ? memchr(word.p, '-', word.n) : NULL;
        const size_t first_n = dash ? (size_t)(dash - word.p) : word.n;
        struct vault_mh_range r = {.flag = flag};

        if (vault_mh_number(bytes_slice(word, 0, first_n), &r.first)) {
            r.last = r.first;
            if (!dash || (vault_mh_number(bytes_slice(word, first_n + 1, SIZE_MAX), &r.last) && r.last >= r.first))
                g_array_append_val(out, r);
        }
        at = end + 1;
    }
}

static int range_compare(const void *x, const void *y)
{
    const struct vault_mh_range *a = x, *b = y;

    if (a->flag != b->flag)
        return a->flag < b->flag ? -1 : 1;
    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    return (a->last > b->last) - (a->last < b->last);
}

/* Overlapping ranges of one flag become one, so that a binary search finds the only candidate. */
static void ranges_join(struct vault_mh_sequences *s)
{
    size_t kept = 0;

    if (s->n == 0)
        return;
    qsort(s->at, s->n, sizeof *s->at, range_compare);
    for (size_t i = 1; i < s->n; i++) {
        if (s->at[i].flag == s->at[kept].flag && s->at[i].first <= s->at[kept].last) {
            if (s->at[i].last > s->at[kept].last)
                s->at[kept].last = s->at[i].last;
        } else {
            s->at[++kept] = s->at[i];
        }
    }
    s->n = kept + 1;
}

void vault_mh_parse(struct bytes text, struct vault_mh_sequences *out)
{
    GArray *ranges = g_array_new(FALSE, FALSE, sizeof(struct vault_mh_range));
    size_t at = 0;

    while (at < text.n) {
        const uint8_t *newline = memchr(text.p + at, '\n', text.n - at);
        const size_t end = newline ? (size_t)(newline - text.p) : text.n;
        const struct bytes line = bytes_slice(text, at, end - at);
        const uint8_t *colon = line.n ? memchr(line.p, ':', line.n) : NULL;

        if (colon) {
            const size_t name_n = (size_t)(colon - line.p);
            const uint32_t flag = sequence_flag(bytes_slice(line, 0, name_n));

            if (flag)
                ranges_parse(bytes_slice(line, name_n + 1, SIZE_MAX), flag, ranges);
        }
        at = end + 1;
    }
    out->n = ranges->len;
    out->at = (struct vault_mh_range *)(void *)g_array_free(ranges, FALSE);
    ranges_join(out);
}

void vault_mh_load(struct vault *v, struct bytes container, struct vault_mh_sequences *out)
{
    char path[VAULT_PATH_BYTES];
    struct stat st;

    vault_mh_release(out);
    if (!vault_os_path(path, container, BYTES_LIT(".mh_sequences")))
        return;
    const int fd = vault_os_open(v, path, 0);

    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        const size_t n = (uint64_t)st.st_size < SEQUENCES_FILE_MAX ? (size_t)st.st_size : SEQUENCES_FILE_MAX;
        uint8_t *text = g_malloc(n + 1);
        const ssize_t got = vault_os_pread(fd, text, n, 0);

        if (got > 0)
            vault_mh_parse(bytes_of(text, (size_t)got), out);
        g_free(text);
    }
    (void)close(fd);
}

static bool has(const struct vault_mh_sequences *s, uint32_t flag, uint64_t number)
{
    size_t low = 0, high = s->n;

    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        const struct vault_mh_range *r = &s->at[mid];

        if (r->flag < flag || (r->flag == flag && r->last < number))
            low = mid + 1;
        else
            high = mid;
    }
    return low < s->n && s->at[low].flag == flag && s->at[low].first <= number;
}

uint32_t vault_mh_flags(const struct vault_mh_sequences *s, uint64_t number)
{
    uint32_t flags = 0;

    if (!has(s, VAULT_FLAG_SEEN, number))
        flags |= VAULT_FLAG_SEEN;
    if (has(s, VAULT_FLAG_FLAGGED, number))
        flags |= VAULT_FLAG_FLAGGED;
    if (has(s, VAULT_FLAG_ANSWERED, number))
        flags |= VAULT_FLAG_ANSWERED;
    return flags;
}

void vault_mh_release(struct vault_mh_sequences *s)
{
    g_free(s->at);
    *s = (struct vault_mh_sequences){0};
}
