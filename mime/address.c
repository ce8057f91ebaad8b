/*
 * address: address lists (RFC 5322 3.4, with what mailers really write).
 *
 * Ours rather than GMime's for four reasons, all reached by hostile mail in
 * GMime 3.2.13: groups in groups recurse without a bound, "a b, c d, ..." is
 * quadratic, failing addresses leak, and names and domains come back decoded
 * where ENVELOPE wants them raw. GMime is the referee in the tests.
 *
 * One pass over the value; a piece is what stands between commas:
 *
 *   words <addr>          name and address; the name may have commas or "@" without quotes ("Last, First <a@b>")
 *   addr (comment)        the comment is the name, as before RFC 822
 *   words addr            as if there were brackets
 *   addr addr             as if there were a comma
 *   words: pieces ;       group (not nested: an inner "words:" is dropped)
 *   words                 one word is a mailbox without host, more are a name without address
 */
#include "mime_private.h"

#define LITERAL_MAX 256 /* bytes of a domain literal */

struct cursor {
    struct mime_addresses *list;
    struct bytes v;
    size_t pos;
    uint32_t max;
    bool in_group;
    bool open_quote, open_comment; /* one that is never closed was met */
    /* Pieces without "@" that may turn out to be the begin of a name: the first one's start, and its place in the list.
     */
    bool pending;
    size_t pending_off;
    uint32_t pending_first;
};

/* What was seen of one piece up to its special. */
struct piece {
    size_t start, end;         /* without white space around */
    size_t at;                 /* last "@" outside quotes, SIZE_MAX if none */
    size_t comment, comment_n; /* last comment's inside */
    unsigned words;
};

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* These begin at the opening character and end behind the closing one; 0 if there is none. */
static size_t skip_quoted(struct bytes v, size_t i)
{
    for (i++; i < v.n && v.p[i] != '"'; i++) {
        if (v.p[i] == '\\')
            i++;
    }
    return i < v.n ? i + 1 : 0;
}

static size_t skip_comment(struct bytes v, size_t i)
{
    unsigned depth = 0;
    for (; i < v.n; i++) {
        if (v.p[i] == '\\')
            i++;
        else if (v.p[i] == '(')
            depth++;
        else if (v.p[i] == ')' && --depth == 0)
            return i + 1;
    }
    return 0;
}

static size_t skip_literal(struct bytes v, size_t i)
{
    const size_t reach = v.n - i < LITERAL_MAX ? v.n - i : LITERAL_MAX;
    const uint8_t *end = memchr(v.p + i, ']', reach);
    return end ? (size_t)(end - v.p) + 1 : 0;
}

/*
 * Behind the construct that begins at i, or behind the one character if it is
 * never closed. An open quote or comment reaches the value's end, so after the
 * first failure of a kind the others are not looked for: linear.
 */
static size_t skip_one(struct cursor *c, size_t i)
{
    size_t end = 0;
    switch (c->v.p[i]) {
    case '"':
        end = c->open_quote ? 0 : skip_quoted(c->v, i);
        c->open_quote = end == 0;
        break;
    case '(':
        end = c->open_comment ? 0 : skip_comment(c->v, i);
        c->open_comment = end == 0;
        break;
    case '[': end = skip_literal(c->v, i); break;
    default: return i + 1;
    }
    if (end)
        return end;
    c->list->bad = true;
    return i + 1;
}

enum clean_as { AS_NAME, AS_ADDRESS, AS_REMARK };

/* The text of a range without quotes, comments (but in a comment) and, in an address, white space. A view if nothing is
 * to be taken out. */
static struct bytes clean(struct mime_addresses *list, struct bytes v, enum clean_as as)
{
    const bool squeeze = as == AS_ADDRESS;
    v = mime_trim(v);
    bool copy = false;
    for (size_t i = 0; i < v.n && !copy; i++)
        copy = v.p[i] == '"' || v.p[i] == '\\' || v.p[i] == '(' || (squeeze && is_space(v.p[i]));
    if (!copy)
        return v;
    const size_t start = list->text.n;
    ASSERT(list->text.cap - start >= v.n); /* reserved by mime_addresses_parse */
    uint8_t *out = list->text.p + start;
    size_t n = 0;
    bool quoted = false;
    for (size_t i = 0; i < v.n; i++) {
        const uint8_t c = v.p[i];
        if (c == '"') {
            quoted = !quoted;
        } else if (c == '\\' && i + 1 < v.n) {
            out[n++] = v.p[++i];
        } else if (c == '(' && !quoted && as != AS_REMARK) {
            const size_t end = skip_comment(v, i);
            i = (end ? end : v.n) - 1;
        } else if (quoted || !squeeze || !is_space(c)) {
            out[n++] = c;
        }
    }
    list->text.n += n;
    return mime_trim(bytes_of(out, n));
}

static bool add(struct cursor *c, struct mime_address a)
{
    struct mime_addresses *list = c->list;
    if (list->n >= c->max && a.kind != ADDRESS_GROUP_END) {
        list->cut = true;
        c->pos = c->v.n;
        return false;
    }
    if (list->n == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 16;
        struct mime_address *v = realloc(list->v, list->cap * sizeof(*v));
        ASSERT(v); /* max bounds it */
        list->v = v;
    }
    list->v[list->n++] = a;
    return true;
}

static const bool is_special[256] = {
    ['('] = true, [')'] = true, ['<'] = true,  ['>'] = true, ['['] = true, [']'] = true, [':'] = true,
    [';'] = true, ['@'] = true, ['\\'] = true, [','] = true, ['.'] = true, ['"'] = true, [0x7f] = true};

/*
 * Words with dots between them, as RFC 5322 has a mailbox (atoms and quoted
 * strings) and a host (atoms, or a literal; a last dot is let pass). 8-bit
 * bytes are atoms' characters (RFC 6532).
 */
static bool is_dotted(struct bytes v, bool is_host)
{
    enum { START, ATOM, WORD, DOT } last = START;
    if (is_host && v.n && v.p[0] == '[')
        return true;
    for (size_t i = 0; i < v.n; i++) {
        const uint8_t c = v.p[i];
        if (is_space(c) || c == '(') {
            const size_t end = c == '(' ? skip_comment(v, i) : i + 1;
            if (end == 0)
                return false;
            last = last == ATOM ? WORD : last;
            i = end - 1;
        } else if (c == '"' && !is_host && last != ATOM && last != WORD) {
            const size_t end = skip_quoted(v, i);
            if (end == 0)
                return false;
            last = WORD;
            i = end - 1;
        } else if (c == '.' && last != START && last != DOT) {
            last = DOT;
        } else if (c > ' ' && last != WORD && !is_special[c]) {
            last = ATOM;
        } else {
            return false;
        }
    }
    return last == ATOM || last == WORD || (is_host && last == DOT);
}

/* Splits an addr-spec at `at` (relative to v; SIZE_MAX: no host). */
static void set_addr(struct cursor *c, struct mime_address *a, struct bytes v, size_t at)
{
    if (at == SIZE_MAX) {
        a->mailbox = clean(c->list, v, AS_ADDRESS);
        a->host = bytes_of("", 0);
        c->list->bad = true;
        return;
    }
    while (v.n > at + 1 && v.p[v.n - 1] == '>') { /* it was never opened */
        c->list->bad = true;
        v.n--;
    }
    a->mailbox = clean(c->list, bytes_slice(v, 0, at), AS_ADDRESS);
    a->host = clean(c->list, bytes_slice(v, at + 1, SIZE_MAX), AS_ADDRESS);
    while (a->host.n && a->host.p[a->host.n - 1] == '.')
        a->host.n--;
    if (a->mailbox.n == 0 || a->host.n == 0 || !is_dotted(bytes_slice(v, 0, at), false) ||
        !is_dotted(mime_trim(bytes_slice(v, at + 1, SIZE_MAX)), true))
        c->list->bad = true;
}

/* c->pos is behind "<". Leaves it behind ">" (or where the address ends without one). */
static void angle(struct cursor *c, struct mime_address *a)
{
    const struct bytes v = c->v;
    size_t i = c->pos, at = SIZE_MAX;
    while (i < v.n && (v.p[i] == '<' || is_space(v.p[i])))
        i++;
    size_t start = i;
    if (i < v.n && v.p[i] == '@') {
        size_t j = i;
        while (j < v.n && v.p[j] != ':' && v.p[j] != '>' && v.p[j] != '<')
            j++;
        if (j < v.n && v.p[j] == ':') {
            a->route = clean(c->list, bytes_slice(v, i, j - i), AS_ADDRESS);
            a->has_route = true;
            start = i = j + 1;
        }
    }
    while (i < v.n && v.p[i] != '>' && v.p[i] != ',' && v.p[i] != ';') {
        switch (v.p[i]) {
        case '@': at = i++ - start; break;
        default: i = skip_one(c, i); break;
        }
    }
    set_addr(c, a, bytes_slice(v, start, i - start), at);
    if (i == v.n || v.p[i] != '>')
        c->list->bad = true;
    while (i < v.n && v.p[i] == '>')
        i++;
    c->pos = i;
}

/* Reads up to a special: '<', ',', ';', ':', ' ' for a forgotten comma, or the end (0). ':' counts only where a group
 * may begin. */
static uint8_t piece_read(struct cursor *c, struct piece *out)
{
    const struct bytes v = c->v;
    size_t i = c->pos;
    *out = (struct piece){.start = i, .end = i, .at = SIZE_MAX};
    uint8_t special = 0;
    bool in_word = false, open = true;
    while (i < v.n) {
        const uint8_t b = v.p[i];
        if (b == ',' || b == ';' || b == '<' || (b == ':' && out->at == SIZE_MAX)) {
            special = b;
            break;
        }
        if (b == ':')
            c->list->bad = true;
        if (b == '(') {
            const size_t end = skip_one(c, i);
            if (end > i + 1) {
                out->comment = i + 1;
                out->comment_n = end - i - 2;
                i = end;
                in_word = false;
                continue;
            }
        }
        if (is_space(b)) {
            in_word = false;
            i++;
            continue;
        }
        if (!in_word && out->at != SIZE_MAX && b != '.' && b != '@' && v.p[out->end - 1] != '.' &&
            v.p[out->end - 1] != '@') {
            special = ' '; /* a comma was forgotten */
            c->list->bad = true;
            break;
        }
        if (open) {
            out->start = i;
            open = false;
        }
        out->words += !in_word;
        in_word = true;
        if (b == '@')
            out->at = i;
        i = b == '"' || (b == '[' && out->at != SIZE_MAX) ? skip_one(c, i) : i + 1;
        out->end = i;
    }
    if (open)
        out->start = out->end = i;
    c->pos = i;
    return special;
}

/* Where the address begins in "words addr": behind the last white space that is not around "." or "@". */
static size_t addr_start(struct bytes v, const struct piece *p)
{
    uint8_t next = '@';
    for (size_t i = p->at; i > p->start && v.p[i - 1] != '"' && v.p[i - 1] != ')'; i--) {
        const uint8_t b = v.p[i - 1];
        if (!is_space(b)) {
            next = b;
            continue;
        }
        size_t before = i - 1;
        while (before > p->start && is_space(v.p[before - 1]))
            before--;
        if (next != '@' && next != '.' && before > p->start && v.p[before - 1] != '.')
            return i;
    }
    return p->start;
}

static void add_bare(struct cursor *c, const struct piece *p)
{
    struct mime_address a = {.kind = ADDRESS_MAILBOX};
    const size_t start = p->at != SIZE_MAX && p->words > 1 ? addr_start(c->v, p) : p->start;
    const struct bytes text = bytes_slice(c->v, start, p->end - start);
    if (p->comment_n) {
        a.name = clean(c->list, bytes_slice(c->v, p->comment, p->comment_n), AS_REMARK);
        a.has_name = true;
    }
    if (text.n == 0)
        return;
    if (p->at == SIZE_MAX && p->words > 1) {
        a.name = clean(c->list, text, AS_NAME);
        a.has_name = true;
        a.mailbox = a.host = bytes_of("", 0);
        c->list->bad = true;
    } else {
        set_addr(c, &a, text, p->at == SIZE_MAX ? SIZE_MAX : p->at - start);
    }
    if (start > p->start) {
        a.name = clean(c->list, bytes_slice(c->v, p->start, start - p->start), AS_NAME);
        a.has_name = c->list->bad = true;
    }
    if (a.mailbox.n || a.host.n || a.name.n)
        add(c, a);
}

static void group_end(struct cursor *c)
{
    if (c->in_group)
        add(c, (struct mime_address){.kind = ADDRESS_GROUP_END});
    c->in_group = false;
}

static void take_angle(struct cursor *c, const struct piece *p)
{
    struct mime_address a = {.kind = ADDRESS_MAILBOX};
    size_t start = p->start;
    if (c->pending) {
        c->list->n = c->pending_first;
        start = c->pending_off;
    }
    c->pos++;
    a.name = clean(c->list, bytes_slice(c->v, start, p->end > start ? p->end - start : 0), AS_NAME);
    a.has_name = a.name.n != 0;
    angle(c, &a);
    add(c, a);
}

void mime_addresses_parse(struct mime_addresses *list, struct bytes value, uint32_t max)
{
    list->n = 0;
    list->bad = list->cut = false;
    buf_reset(&list->text);
    /* Every byte is copied at most as a pending piece, as its comment and as part of a name or address. */
    buf_reserve(&list->text, 3 * value.n + 1);
    struct cursor c = {.list = list, .v = value, .max = max};
    while (c.pos < value.n) {
        struct piece p;
        const uint8_t special = piece_read(&c, &p);
        switch (special) {
        case '<':
            take_angle(&c, &p);
            c.pending = false;
            continue;
        case ':':
            c.pos++;
            c.pending = false;
            if (c.in_group) {
                list->bad = true;
                continue;
            }
            c.in_group = add(&c, (struct mime_address){
                                     .kind = ADDRESS_GROUP_START,
                                     .has_name = true,
                                     .name = clean(list, bytes_slice(value, p.start, p.end - p.start), AS_NAME),
                                 });
            continue;
        default: break;
        }
        if (special == ',' && p.at == SIZE_MAX && p.words && !c.pending) {
            c.pending = true;
            c.pending_off = p.start;
            c.pending_first = list->n;
        } else if (p.at != SIZE_MAX || p.words == 0) {
            c.pending = false;
        }
        add_bare(&c, &p);
        if (special == ';') {
            list->bad = list->bad || !c.in_group;
            group_end(&c);
            c.pending = false;
        }
        if (special && special != ' ')
            c.pos++;
    }
    if (c.in_group) {
        list->bad = true;
        group_end(&c);
    }
}

void mime_addresses_release(struct mime_addresses *list)
{
    free(list->v);
    buf_release(&list->text);
    *list = (struct mime_addresses){0};
}
