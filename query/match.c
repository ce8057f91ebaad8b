/*
 * LIST patterns. A set of live positions is carried along the name (Thompson's construction): time is
 * pattern times name at worst, however many wildcards there are, and a prefix that no longer matches
 * prunes its whole subtree.
 */
#include "query_private.h"

void query_pattern_init(struct query_pattern *p, const char *reference, const char *pattern)
{
    *p = (struct query_pattern){0};
    for (int part = 0; part < 2; part++) {
        for (const char *s = part == 0 ? reference : pattern; s && *s; s++) {
            const uint8_t last = p->text.n ? p->text.p[p->text.n - 1] : 0;

            p->has_percent |= *s == '%';
            /* "**", "%%", "*%" and "%*" mean no more than their strongest member. */
            if ((*s == '%' || *s == '*') && (last == '%' || last == '*')) {
                if (*s == '*')
                    p->text.p[p->text.n - 1] = '*';
            } else {
                buf_append_byte(&p->text, (uint8_t)*s);
            }
        }
    }
}

void query_pattern_release(struct query_pattern *p)
{
    buf_release(&p->text);
}

static bool is_wildcard(uint8_t c)
{
    return c == '*' || c == '%';
}

/* A wildcard may match nothing: the position behind it lives too. */
static void close_over_wildcards(const struct query_pattern *p, uint8_t *row)
{
    for (size_t i = 0; i < p->text.n; i++) {
        if (row[i] && is_wildcard(p->text.p[i]))
            row[i + 1] = 1;
    }
}

void query_pattern_start(const struct query_pattern *p, uint8_t *row)
{
    memset(row, 0, query_pattern_row_bytes(p));
    row[0] = 1;
    close_over_wildcards(p, row);
}

static uint8_t upper(uint8_t c)
{
    return c >= 'a' && c <= 'z' ? (uint8_t)(c - 0x20) : c;
}

bool query_pattern_feed(const struct query_pattern *p, uint8_t *row, struct bytes text, bool nocase)
{
    bool alive = memchr(row, 1, query_pattern_row_bytes(p)) != NULL;

    for (size_t k = 0; k < text.n && alive; k++) {
        const uint8_t c = text.p[k];

        alive = false;
        /* Downwards, so that a position is read before its predecessor overwrites it. */
        row[p->text.n] = 0;
        for (size_t i = p->text.n; i-- > 0;) {
            const uint8_t want = p->text.p[i];

            if (!row[i])
                continue;
            if (is_wildcard(want)) {
                row[i] = want == '*' || c != '/';
                alive |= row[i] != 0;
            } else {
                const bool same = nocase ? upper(want) == upper(c) : want == c;

                row[i] = 0;
                if (same) {
                    row[i + 1] = 1;
                    alive = true;
                }
            }
        }
        close_over_wildcards(p, row);
    }
    return alive;
}

bool query_pattern_accepts(const struct query_pattern *p, const uint8_t *row)
{
    return row[p->text.n] != 0;
}
