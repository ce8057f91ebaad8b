/*
 * Splitting an mbox into items with one forward pass over a sliding window.
 *
 * No mmap: the file belongs to others, and a file that shrinks under a map kills
 * the process. A search for "From " finds separators and quoted lines alike;
 * the few hits are looked at closely. The window keeps enough bytes before a hit to see
 * the blank line and the '>'s, and enough after it for the whole line.
 *
 *     "From " line | item: header, blank line, body | blank line | "From " line | ...
 *                  ^ offset                         ^ offset + length
 *
 * The pass ends at the size that the file had when it began, so that mail delivered
 * meanwhile is seen whole by the next scan and not in half by this one.
 */
#include "vault_private.h"

#include <errno.h>
#include <glib.h>
#include <unistd.h>

#define WINDOW_BYTES ((size_t)4 << 20)
#define LOOK_BACK ((uint64_t)VAULT_QUOTES_MAX + 8)
#define FIELD_NAME_MAX ((size_t)80)
#define LOOK_AHEAD ((size_t)VAULT_FROM_LINE_MAX + FIELD_NAME_MAX + 8)
/*
 * The variant is found out from the file's first bytes only: mail appended to a large mbox then never changes the
 * variant, and with it the bytes, of the items before it.
 */
#define DETECT_BYTES ((uint64_t)64 << 20)

struct vault_mbox {
    /* permanent */
    int fd;
    uint64_t end; /* size when the pass began */
    enum vault_mbox_variant variant;

    /* the window */
    uint8_t *window;
    size_t cap, n;
    uint64_t base; /* offset of window[0] */
    int failed;    /* errno of a failed read */

    /* the pass */
    bool started;
    uint64_t next; /* offset of the next "From " line; end: none */
    uint64_t ignored;
    struct buf words; /* keywords of the current item */
};

/* What stands in the lines of a stretch. */
struct seen {
    bool from, quoted, twice_quoted; /* "From ", ">From ", ">>From " at a line's start */
};

struct header {
    bool strip;
    bool has_length;
    uint64_t length;    /* Content-Length */
    uint64_t body;      /* offset of the first byte after the blank line */
    uint32_t flags;
};

/* The window from `off`, at least `want` bytes long unless the file ends; bytes from `keep` on stay readable before it. */
static struct bytes look(struct vault_mbox *m, uint64_t keep, uint64_t off, size_t want)
{
    const uint64_t have_end = m->base + m->n;

    if (off > m->end)
        off = m->end;
    if (want > m->end - off)
        want = (size_t)(m->end - off);
    if (keep < m->base || off + want > have_end) {
        if (keep >= m->base && keep < have_end) {
            m->n = (size_t)(have_end - keep);
            memmove(m->window, m->window + (keep - m->base), m->n);
        } else {
            m->n = 0;
        }
        m->base = keep;
        size_t room = m->cap - m->n;

        if (room > m->end - (m->base + m->n))
            room = (size_t)(m->end - (m->base + m->n));
        const ssize_t got = vault_os_pread(m->fd, m->window + m->n, room, m->base + m->n);

        if (got < 0)
            m->failed = (int)-got;
        else
            m->n += (size_t)got;
        if (got < 0 || (size_t)got < room)
            m->end = m->base + m->n; /* it shrank: this is all there is */
    }
    if (off > m->base + m->n)
        off = m->base + m->n;
    return bytes_of(m->window + (off - m->base), (size_t)(m->base + m->n - off));
}

static uint64_t back(uint64_t off)
{
    return off > LOOK_BACK ? off - LOOK_BACK : 0;
}

/* A byte of the window; only offsets that `look` has made readable. */
static uint8_t at(const struct vault_mbox *m, uint64_t off)
{
    return m->window[off - m->base];
}

/* Length of the blank line that ends just before `off` (line ends: 1 or 2), 0 if there is none at or after `floor`. */
static unsigned blank_before(const struct vault_mbox *m, uint64_t off, uint64_t floor)
{
    if (off < floor + 1 || at(m, off - 1) != '\n')
        return 0;
    if (off - 1 == 0 || at(m, off - 2) == '\n')
        return 1;
    if (off < floor + 2 || at(m, off - 2) != '\r')
        return 0;
    return off - 2 == 0 || at(m, off - 3) == '\n' ? 2 : 0;
}

static struct bytes line_of(struct bytes v)
{
    const uint8_t *newline;

    v = bytes_slice(v, 0, LOOK_AHEAD);
    newline = v.n ? memchr(v.p, '\n', v.n) : NULL;
    return newline ? bytes_of(v.p, (size_t)(newline - v.p)) : v;
}

/* Does a header field begin here? */
static bool field_begins(struct bytes v)
{
    size_t n = 0;

    while (n < v.n && n < FIELD_NAME_MAX && v.p[n] > 0x20 && v.p[n] < 0x7f && v.p[n] != ':')
        n++;
    return n > 0 && n < v.n && v.p[n] == ':';
}

/*
 * A separator has a blank line before it. Writers that forget it when a message does not end in a line end (Mailman's
 * archives do, once in forty messages) are believed if a header field follows at once.
 */
static bool is_separator(struct bytes v, bool after_blank)
{
    int64_t date;

    v = bytes_slice(v, 0, LOOK_AHEAD);
    const struct bytes line = line_of(v);

    return vault_from_line_parse(line, &date) && (after_blank || field_begins(bytes_slice(v, line.n + 1, SIZE_MAX)));
}

/* By its first letter, which is rare: memmem takes five instructions a byte. */
static const uint8_t *find_from(struct bytes v)
{
    while (v.n >= 5) {
        const uint8_t *f = memchr(v.p, 'F', v.n - 4);

        if (!f || memcmp(f, "From ", 5) == 0)
            return f;
        v = bytes_slice(v, (size_t)(f - v.p) + 1, SIZE_MAX);
    }
    return NULL;
}

/*
 * The next separator in [from, limit), or limit. `start` is where the item begins (its first byte begins a line and is no
 * separator). With `split` false separators are passed over: only what is seen counts.
 */
static uint64_t find(struct vault_mbox *m, uint64_t start, uint64_t from, uint64_t limit, bool split, struct seen *seen)
{
    uint64_t pos = from;

    while (pos + 5 <= limit) {
        const struct bytes v = look(m, back(pos), pos, LOOK_AHEAD);
        const uint8_t *hit = find_from(v);

        if (limit > m->end)
            limit = m->end;
        if (!hit) {
            if (pos + v.n >= m->end || v.n < 5)
                break;
            pos += v.n - 4;
            continue;
        }
        const uint64_t h = pos + (uint64_t)(hit - v.p);

        if (h + 5 > limit)
            break;
        pos = h + 5;
        const struct bytes here = look(m, back(h), h, LOOK_AHEAD);
        uint64_t line = h;

        while (line > start && h - line <= VAULT_QUOTES_MAX && at(m, line - 1) == '>')
            line--;
        if (h - line > VAULT_QUOTES_MAX || (line > start && at(m, line - 1) != '\n'))
            continue;
        seen->from |= line == h;
        seen->quoted |= h - line == 1;
        seen->twice_quoted |= h - line > 1;
        if (split && line == h && h > start && is_separator(here, blank_before(m, h, start) != 0))
            return h;
    }
    return limit;
}

/* --- the header's fields of ours --- */

static void status_parse(struct bytes value, uint32_t *flags)
{
    for (size_t i = 0; i < value.n; i++) {
        switch (value.p[i]) {
        case 'R':
            *flags |= VAULT_FLAG_SEEN;
            break;
        case 'A':
            *flags |= VAULT_FLAG_ANSWERED;
            break;
        case 'F':
            *flags |= VAULT_FLAG_FLAGGED;
            break;
        case 'D':
            *flags |= VAULT_FLAG_DELETED;
            break;
        case 'T':
            *flags |= VAULT_FLAG_DRAFT;
            break;
        default:
            break;
        }
    }
}

static void keywords_parse(struct vault_mbox *m, struct bytes value, uint32_t *flags)
{
    size_t from = 0;

    while (from < value.n) {
        size_t end = from;

        while (end < value.n && !g_ascii_isspace(value.p[end]) && value.p[end] != ',')
            end++;
        if (end > from)
            *flags |= vault_keyword_add(&m->words, bytes_slice(value, from, end - from));
        from = end + 1;
    }
}

static bool length_parse(struct bytes value, uint64_t *out)
{
    size_t from = 0, end;

    while (from < value.n && (value.p[from] == ' ' || value.p[from] == '\t'))
        from++;
    end = from;
    while (end < value.n && g_ascii_isdigit(value.p[end]))
        end++;
    if (!vault_mh_number(bytes_slice(value, from, end - from), out))
        return false;
    while (end < value.n && g_ascii_isspace(value.p[end]))
        end++;
    return end == value.n;
}

static void field_parse(struct vault_mbox *m, struct bytes field, struct header *h)
{
    const uint8_t *colon = memchr(field.p, ':', field.n);
    const struct bytes name = bytes_of(field.p, (size_t)(colon - field.p));
    const struct bytes value = bytes_slice(field, name.n + 1, SIZE_MAX);

    if (bytes_equal_nocase(name, BYTES_LIT("Status")) || bytes_equal_nocase(name, BYTES_LIT("X-Status")))
        status_parse(value, &h->flags);
    else if (bytes_equal_nocase(name, BYTES_LIT("X-Keywords")))
        keywords_parse(m, value, &h->flags);
    else if (bytes_equal_nocase(name, BYTES_LIT("Content-Length")) && !h->has_length)
        h->has_length = length_parse(value, &h->length);
}

/* Reads the header as filter.c will: the same lines, the same end. A separator ends it too, so that a file of headers
 * without bodies costs one pass and not one for each. */
static struct header header_parse(struct vault_mbox *m, uint64_t start)
{
    const struct bytes v = look(m, back(start), start, (size_t)VAULT_HEADER_MAX + LOOK_AHEAD);
    struct header h = {0};
    size_t pos = 0;

    buf_reset(&m->words);
    while (pos < v.n && pos < VAULT_HEADER_MAX) {
        const uint8_t *p = v.p + pos;
        const uint8_t *newline = memchr(p, '\n', v.n - pos);
        size_t end = newline ? (size_t)(newline - v.p) + 1 : v.n;

        if (p[0] == '\n' || (p[0] == '\r' && v.n - pos > 1 && p[1] == '\n')) {
            h.body = start + end;
            return h;
        }
        if (p[0] == 'F' && pos > 0 && is_separator(bytes_slice(v, pos, LOOK_AHEAD), false))
            break;
        if (p[0] != ' ' && p[0] != '\t' && vault_filter_is_writers_field(bytes_of(p, end - pos))) {
            h.strip = true;
            while (end < v.n && (v.p[end] == ' ' || v.p[end] == '\t')) {
                newline = memchr(v.p + end, '\n', v.n - end);
                end = newline ? (size_t)(newline - v.p) + 1 : v.n;
            }
            field_parse(m, bytes_of(p, end - pos), &h);
        }
        pos = end;
    }
    h.has_length = false; /* no body to measure */
    return h;
}

/* Does the body's Content-Length end at a separator or at the file's end? Then where the next "From " line is. */
static bool length_lands(struct vault_mbox *m, const struct header *h, uint64_t *next)
{
    if (!h->has_length || h->body > m->end || h->length > m->end - h->body)
        return false;
    const uint64_t end = h->body + h->length;
    uint8_t raw[LOOK_AHEAD + 4];
    int64_t date;
    const ssize_t got = vault_os_pread(m->fd, raw, end + sizeof raw > m->end ? (size_t)(m->end - end) : sizeof raw, end);

    if (got < 0)
        return false;
    struct bytes v = bytes_of(raw, (size_t)got);
    const size_t blank = v.n >= 1 && v.p[0] == '\n' ? 1 : v.n >= 2 && v.p[0] == '\r' && v.p[1] == '\n' ? 2 : 0;

    v = bytes_slice(v, blank, SIZE_MAX);
    *next = end + blank;
    return *next == m->end || (v.n && vault_from_line_parse(line_of(v), &date));
}

/* --- the variant --- */

static enum vault_mbox_variant detect(struct vault_mbox *m)
{
    const uint64_t limit = m->end < DETECT_BYTES ? m->end : DETECT_BYTES;
    bool lands = true, has_length = false;
    struct seen all = {0}, bodies = {0};
    uint64_t from = m->next;

    while (from < limit && !m->failed) {
        const struct bytes line = line_of(look(m, back(from), from, LOOK_AHEAD));
        const uint64_t start = from + line.n + 1;

        if (start >= limit)
            break;
        const struct header h = header_parse(m, start);
        uint64_t next = 0;

        has_length |= h.has_length;
        if (h.has_length && lands)
            lands = length_lands(m, &h, &next);
        if (h.has_length && lands) {
            struct seen seen = {0};

            (void)find(m, start, h.body, next < limit ? h.body + h.length : limit, false, &seen);
            bodies.from |= seen.from;
            bodies.quoted |= seen.quoted | seen.twice_quoted;
            all.twice_quoted |= seen.twice_quoted;
            from = next;
        } else {
            from = find(m, start, start, limit, true, &all);
        }
    }
    if (has_length && lands)
        return bodies.quoted && !bodies.from ? VAULT_MBOX_CL : VAULT_MBOX_CL2;
    return all.twice_quoted ? VAULT_MBOX_RD : VAULT_MBOX_O;
}

/* --- the pass --- */

struct vault_mbox *vault_mbox_new(int fd, enum vault_mbox_variant variant)
{
    struct vault_mbox *m = g_new0(struct vault_mbox, 1);
    struct stat st;

    m->fd = fd;
    m->variant = variant;
    if (fstat(fd, &st) == 0 && st.st_size > 0)
        m->end = (uint64_t)st.st_size;
    m->cap = m->end < WINDOW_BYTES ? (size_t)m->end + 1 : WINDOW_BYTES;
    m->window = g_malloc(m->cap);
    return m;
}

static void begin(struct vault_mbox *m)
{
    const struct bytes v = look(m, 0, 0, LOOK_AHEAD);
    struct seen seen = {0};

    m->started = true;
    /* At the file's very start any "From " line of a sane length will do: the file was given to us as an mbox. */
    if (v.n >= 5 && memcmp(v.p, "From ", 5) == 0 && line_of(v).n < LOOK_AHEAD)
        m->next = 0;
    else
        m->next = find(m, 0, 0, m->end, true, &seen);
    m->ignored = m->next;
    if (m->variant == VAULT_MBOX_DETECT)
        m->variant = detect(m);
}

/* Where the last item ends: without one blank line at the file's end. */
static uint64_t last_end(struct vault_mbox *m, uint64_t start)
{
    (void)look(m, back(m->end), m->end, 0);
    return m->end - blank_before(m, m->end, start);
}

int vault_mbox_next(struct vault_mbox *m, struct vault_mbox_item *out, struct error *err)
{
    struct seen seen = {0};
    uint64_t next = 0, end;

    if (!m->started)
        begin(m);
    if (m->failed) {
        errno = m->failed;
        return error_errno(err, "mbox: reading at offset %llu", (unsigned long long)(m->base + m->n));
    }
    if (m->next >= m->end)
        return VAULT_DONE;
    const struct bytes line = line_of(look(m, back(m->next), m->next, LOOK_AHEAD));
    uint64_t start = m->next + line.n + 1;

    *out = (struct vault_mbox_item){0};
    out->has_date = vault_from_line_parse(line, &out->date);
    if (start > m->end)
        start = m->end; /* the file ends inside its last "From " line: an empty item */
    const struct header h = header_parse(m, start);
    const bool by_length = (m->variant == VAULT_MBOX_CL || m->variant == VAULT_MBOX_CL2) && length_lands(m, &h, &next);

    if (by_length) {
        end = h.body + h.length;
        if (m->variant == VAULT_MBOX_CL)
            (void)find(m, start, start, end, false, &seen);
    } else {
        next = find(m, start, start, m->end, true, &seen);
        end = next < m->end ? next - blank_before(m, next, start) : start < m->end ? last_end(m, start) : start;
    }
    if (m->failed) {
        errno = m->failed;
        return error_errno(err, "mbox: reading at offset %llu", (unsigned long long)(m->base + m->n));
    }
    out->offset = start;
    out->length = end > start ? end - start : 0;
    out->flags = h.flags;
    out->keywords = buf_bytes(&m->words);
    out->filter = h.strip ? VAULT_FILTER_STRIP : VAULT_FILTER_NONE;
    if ((m->variant == VAULT_MBOX_RD || m->variant == VAULT_MBOX_CL) && (seen.quoted || seen.twice_quoted))
        out->filter |= VAULT_FILTER_UNQUOTE;
    m->next = next;
    return VAULT_MORE;
}

uint64_t vault_mbox_ignored_bytes(const struct vault_mbox *m)
{
    return m->ignored;
}

enum vault_mbox_variant vault_mbox_variant(const struct vault_mbox *m)
{
    return m->variant;
}

void vault_mbox_free(struct vault_mbox **mp)
{
    struct vault_mbox *m = *mp;

    if (!m)
        return;
    buf_release(&m->words);
    g_free(m->window);
    (void)close(m->fd);
    g_free(m);
    *mp = NULL;
}
