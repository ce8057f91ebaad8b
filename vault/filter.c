/*
 * From stored mbox bytes to item bytes: the writer's own fields leave the header,
 * ">From " loses one '>'. One pass, line by line, resumable at any line start or
 * inside a line, so that body.c can keep checkpoints of it.
 */
#include "vault_private.h"

static const struct bytes writers_fields[] = {
    {(const uint8_t *)"Status", 6}, {(const uint8_t *)"X-Status", 8},    {(const uint8_t *)"X-Keywords", 10},
    {(const uint8_t *)"X-UID", 5},  {(const uint8_t *)"X-IMAPbase", 10}, {(const uint8_t *)"X-IMAP", 6},
    {(const uint8_t *)"Content-Length", 14},
};

bool vault_filter_is_writers_field(struct bytes line)
{
    for (size_t i = 0; i < sizeof writers_fields / sizeof writers_fields[0]; i++) {
        const size_t n = writers_fields[i].n;

        if (line.n > n && line.p[n] == ':' && bytes_equal_nocase(bytes_of(line.p, n), writers_fields[i]))
            return true;
    }
    return false;
}

size_t vault_filter_quotes(const uint8_t *p, size_t n)
{
    size_t q = 0;

    while (q < n && q <= VAULT_QUOTES_MAX && p[q] == '>')
        q++;
    return q > 0 && q <= VAULT_QUOTES_MAX && n - q >= 5 && memcmp(p + q, "From ", 5) == 0 ? q : 0;
}

void vault_filter_start(struct vault_filter_state *s)
{
    *s = (struct vault_filter_state){.header = true};
}

/* Decides about the line that begins at p: what becomes of it, and whether its first byte goes. */
static size_t line_begin(struct vault_filter_state *s, uint32_t filter, const uint8_t *p, size_t n)
{
    if (s->header) {
        const bool blank = p[0] == '\n' || (p[0] == '\r' && n > 1 && p[1] == '\n');

        if (blank || s->raw_off >= VAULT_HEADER_MAX) {
            s->header = false;
            s->dropping = false;
        } else if (p[0] != ' ' && p[0] != '\t') {
            s->dropping = (filter & VAULT_FILTER_STRIP) && vault_filter_is_writers_field(bytes_of(p, n));
        }
    }
    if (s->dropping || !(filter & VAULT_FILTER_UNQUOTE))
        return 0;
    return vault_filter_quotes(p, n) ? 1 : 0;
}

size_t vault_filter_run(struct vault_filter_state *s, uint32_t filter, const uint8_t *in, size_t n, bool last, uint8_t *out,
                        size_t *out_n)
{
    size_t at = 0, made = 0;

    while (at < n) {
        size_t skip = 0;

        if (!s->mid_line) {
            if (!last && n - at < VAULT_FILTER_LOOK)
                break;
            skip = line_begin(s, filter, in + at, n - at);
        }
        const uint8_t *newline = memchr(in + at, '\n', n - at);
        const size_t end = newline ? (size_t)(newline - in) + 1 : n;
        const size_t keep = s->dropping ? 0 : end - at - skip;

        if (keep)
            memmove(out + made, in + at + skip, keep);
        made += keep;
        s->raw_off += end - at;
        s->mid_line = newline == NULL;
        at = end;
    }
    s->out_off += made;
    *out_n = made;
    return at;
}
