/* search_key: see search_key.h. A table says what follows each word; recursion is bounded by the depth. */
#include "search_key.h"

enum argument {
    ARG_NONE,
    ARG_TEXT,       /* astring */
    ARG_FIELD_TEXT, /* header-fld-name SP astring */
    ARG_DATE,
    ARG_NUMBER,
    ARG_KEYWORD, /* flag-keyword */
    ARG_UID_SET,
    ARG_NOT,
    ARG_OR,
    ARG_INTERVAL, /* seconds before now */
    ARG_RECENT,   /* none: what is \Recent */
    ARG_NEW,      /* none: what is \Recent and not \Seen */
    ARG_MODSEQ,   /* [SP entry-name SP entry-type-req] SP mod-sequence-valzer */
    ARG_OBJECT_ID,
    ARG_FUZZY, /* search-key */
};

enum { FLAG_SEEN = 1, FLAG_ANSWERED = 2, FLAG_FLAGGED = 4, FLAG_DELETED = 8, FLAG_DRAFT = 16 };

static const struct word {
    const char *name;
    enum argument argument;
    enum mdsq_key_kind kind;
    uint8_t flag;
    bool negated;
} words[] = {
    {"ALL", ARG_NONE, MDSQ_KEY_ALL, 0, false},
    {"ANSWERED", ARG_NONE, MDSQ_KEY_FLAG, FLAG_ANSWERED, false},
    {"BCC", ARG_TEXT, MDSQ_KEY_BCC, 0, false},
    {"BEFORE", ARG_DATE, MDSQ_KEY_BEFORE, 0, false},
    {"BODY", ARG_TEXT, MDSQ_KEY_BODY, 0, false},
    {"CC", ARG_TEXT, MDSQ_KEY_CC, 0, false},
    {"DELETED", ARG_NONE, MDSQ_KEY_FLAG, FLAG_DELETED, false},
    {"DRAFT", ARG_NONE, MDSQ_KEY_FLAG, FLAG_DRAFT, false},
    {"EMAILID", ARG_OBJECT_ID, MDSQ_KEY_EMAILID, 0, false},
    {"FLAGGED", ARG_NONE, MDSQ_KEY_FLAG, FLAG_FLAGGED, false},
    {"FROM", ARG_TEXT, MDSQ_KEY_FROM, 0, false},
    {"FUZZY", ARG_FUZZY, MDSQ_KEY_FUZZY, 0, false},
    {"HEADER", ARG_FIELD_TEXT, MDSQ_KEY_HEADER, 0, false},
    {"KEYWORD", ARG_KEYWORD, MDSQ_KEY_KEYWORD, 0, false},
    {"LARGER", ARG_NUMBER, MDSQ_KEY_LARGER, 0, false},
    {"MODSEQ", ARG_MODSEQ, MDSQ_KEY_MODSEQ, 0, false},
    {"NEW", ARG_NEW, MDSQ_KEY_AND, 0, false},
    {"NOT", ARG_NOT, MDSQ_KEY_NOT, 0, false},
    {"OLD", ARG_RECENT, MDSQ_KEY_NONE, 0, true},
    {"OLDER", ARG_INTERVAL, MDSQ_KEY_OLDER, 0, false},
    {"ON", ARG_DATE, MDSQ_KEY_ON, 0, false},
    {"OR", ARG_OR, MDSQ_KEY_OR, 0, false},
    {"RECENT", ARG_RECENT, MDSQ_KEY_NONE, 0, false},
    {"SAVEDATESUPPORTED", ARG_NONE, MDSQ_KEY_ALL, 0, false},
    {"SAVEDBEFORE", ARG_DATE, MDSQ_KEY_SAVEDBEFORE, 0, false},
    {"SAVEDON", ARG_DATE, MDSQ_KEY_SAVEDON, 0, false},
    {"SAVEDSINCE", ARG_DATE, MDSQ_KEY_SAVEDSINCE, 0, false},
    {"SEEN", ARG_NONE, MDSQ_KEY_FLAG, FLAG_SEEN, false},
    {"SENTBEFORE", ARG_DATE, MDSQ_KEY_SENTBEFORE, 0, false},
    {"SENTON", ARG_DATE, MDSQ_KEY_SENTON, 0, false},
    {"SENTSINCE", ARG_DATE, MDSQ_KEY_SENTSINCE, 0, false},
    {"SINCE", ARG_DATE, MDSQ_KEY_SINCE, 0, false},
    {"SMALLER", ARG_NUMBER, MDSQ_KEY_SMALLER, 0, false},
    {"SUBJECT", ARG_TEXT, MDSQ_KEY_SUBJECT, 0, false},
    {"TEXT", ARG_TEXT, MDSQ_KEY_TEXT, 0, false},
    {"THREADID", ARG_OBJECT_ID, MDSQ_KEY_THREADID, 0, false},
    {"TO", ARG_TEXT, MDSQ_KEY_TO, 0, false},
    {"UID", ARG_UID_SET, MDSQ_KEY_UID_SET, 0, false},
    {"UNANSWERED", ARG_NONE, MDSQ_KEY_FLAG, FLAG_ANSWERED, true},
    {"UNDELETED", ARG_NONE, MDSQ_KEY_FLAG, FLAG_DELETED, true},
    {"UNDRAFT", ARG_NONE, MDSQ_KEY_FLAG, FLAG_DRAFT, true},
    {"UNFLAGGED", ARG_NONE, MDSQ_KEY_FLAG, FLAG_FLAGGED, true},
    {"UNKEYWORD", ARG_KEYWORD, MDSQ_KEY_KEYWORD, 0, true},
    {"UNSEEN", ARG_NONE, MDSQ_KEY_FLAG, FLAG_SEEN, true},
    {"YOUNGER", ARG_INTERVAL, MDSQ_KEY_YOUNGER, 0, false},
};

enum charset { CHARSET_NONE, CHARSET_ASCII, CHARSET_UTF8 };

struct parser {
    struct imap_cursor *at;
    unsigned depth_max;
    enum charset charset;
    struct imap_search_program *program;
};

static bool take_key(struct parser *p, unsigned depth, struct mdsq_key *out);

/* Well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
static bool is_utf8(struct bytes v, bool *ascii_out)
{
    size_t i = 0;
    *ascii_out = true;
    while (i < v.n) {
        uint8_t b = v.p[i];
        if (b < 0x80) {
            i++;
            continue;
        }
        *ascii_out = false;
        size_t more = b >= 0xc2 && b <= 0xdf ? 1 : b >= 0xe0 && b <= 0xef ? 2 : b >= 0xf0 && b <= 0xf4 ? 3 : 0;
        if (more == 0 || more >= v.n - i)
            return false;
        uint8_t second = v.p[i + 1];
        if ((b == 0xe0 && second < 0xa0) || (b == 0xed && second > 0x9f) || (b == 0xf0 && second < 0x90) ||
            (b == 0xf4 && second > 0x8f))
            return false;
        for (size_t k = 1; k <= more; k++)
            if ((v.p[i + k] & 0xc0) != 0x80)
                return false;
        i += more + 1;
    }
    return true;
}

/* Without CHARSET, UTF-8 is taken for what it is: clients send it so. */
static bool take_text(struct parser *p, struct mdsq_bytes *out)
{
    struct bytes v;
    bool ascii;
    if (!imap_take_sp(p->at) || !imap_take_astring(p->at, &v))
        return false;
    if (!is_utf8(v, &ascii) || (p->charset == CHARSET_ASCII && !ascii))
        return imap_cursor_fail(p->at, "search text is not in its charset");
    *out = (struct mdsq_bytes){v.p, v.n};
    return true;
}

static struct mdsq_key *new_keys(struct parser *p, size_t n)
{
    struct mdsq_key *keys = arena_alloc(p->at->arena, n * sizeof *keys);
    if (!keys)
        imap_cursor_fail(p->at, "search too large");
    else
        memset(keys, 0, n * sizeof *keys);
    return keys;
}

/* n operands, each behind a space */
static bool take_operands(struct parser *p, unsigned depth, size_t n, struct mdsq_key *out)
{
    struct mdsq_key *children = new_keys(p, n);
    if (!children)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!imap_take_sp(p->at) || !take_key(p, depth + 1, &children[i]))
            return false;
    out->children = children;
    out->children_n = n;
    return true;
}

/* search-key *(SP search-key) up to `end` (')' or the command's end, 0), ANDed */
static bool take_all(struct parser *p, unsigned depth, char end, struct mdsq_key *out)
{
    struct mdsq_key *keys = NULL;
    size_t n = 0, room = 0;
    do {
        if (n > 0 && !imap_take_sp(p->at))
            return false;
        if (n == room) {
            room = room ? room * 2 : 4;
            struct mdsq_key *grown = new_keys(p, room);
            if (!grown)
                return false;
            if (n)
                memcpy(grown, keys, n * sizeof *keys);
            keys = grown;
        }
        if (!take_key(p, depth + 1, &keys[n++]))
            return false;
    } while (end ? !imap_at_byte(p->at, end) : !imap_at_end(p->at));
    if (n == 1)
        *out = keys[0];
    else
        *out = (struct mdsq_key){.kind = MDSQ_KEY_AND, .children = keys, .children_n = n};
    return true;
}

/* entry-name = DQUOTE "/flags/" attr-flag DQUOTE: metadata items have no modseqs of their own here, the message's
 * counts. */
static bool take_modseq(struct parser *p, uint64_t *out)
{
    struct bytes name, type;
    p->program->has_modseq = true;
    if (!imap_take_sp(p->at))
        return false;
    if (imap_at_byte(p->at, '"')) {
        if (!imap_take_string(p->at, &name) || !imap_take_sp(p->at) || !imap_take_atom(p->at, &type) ||
            !imap_take_sp(p->at))
            return false;
        if (name.n < 7 || !bytes_equal_nocase(bytes_of(name.p, 7), BYTES_LIT("/flags/")) ||
            !(bytes_equal_nocase(type, BYTES_LIT("all")) || bytes_equal_nocase(type, BYTES_LIT("priv")) ||
              bytes_equal_nocase(type, BYTES_LIT("shared"))))
            return imap_cursor_fail(p->at, "unknown entry");
    }
    return imap_take_number64(p->at, out);
}

static bool take_interval(struct parser *p, uint64_t *out)
{
    uint32_t seconds;
    if (!imap_take_sp(p->at) || !imap_take_nz_number(p->at, &seconds))
        return false;
    *out = (uint64_t)(p->program->now_s - seconds);
    return true;
}

/* A sequence set, or what the last SEARCH saved. */
static bool take_set(struct parser *p, enum mdsq_key_kind kind, struct mdsq_key *out)
{
    struct bytes set;
    if (!imap_take_sequence_set(p->at, &set))
        return false;
    if (set.p[0] != '$') {
        out->kind = kind;
        out->text = (struct mdsq_bytes){set.p, set.n};
        return true;
    }
    out->kind = p->program->saved ? MDSQ_KEY_SET : MDSQ_KEY_NONE;
    out->set = p->program->saved;
    return true;
}

static void recent_key(struct parser *p, struct mdsq_key *out)
{
    *out = (struct mdsq_key){.kind = p->program->recent ? MDSQ_KEY_SET : MDSQ_KEY_NONE, .set = p->program->recent};
}

/* RECENT UNSEEN */
static bool new_key(struct parser *p, struct mdsq_key *out)
{
    struct mdsq_key *both = new_keys(p, 2), *seen = new_keys(p, 1);
    if (!both || !seen)
        return false;
    *seen = (struct mdsq_key){.kind = MDSQ_KEY_FLAG, .number = FLAG_SEEN};
    recent_key(p, &both[0]);
    both[1] = (struct mdsq_key){.kind = MDSQ_KEY_NOT, .children = seen, .children_n = 1};
    *out = (struct mdsq_key){.kind = MDSQ_KEY_AND, .children = both, .children_n = 2};
    return true;
}

static bool take_argument(struct parser *p, const struct word *word, unsigned depth, struct mdsq_key *out)
{
    struct bytes v;
    int64_t days;
    switch (word->argument) {
    case ARG_NONE: return true;
    case ARG_RECENT: recent_key(p, out); return true;
    case ARG_NEW: return new_key(p, out);
    case ARG_TEXT: return take_text(p, &out->text);
    case ARG_FIELD_TEXT: return take_text(p, &out->field) && take_text(p, &out->text);
    case ARG_NOT: return take_operands(p, depth, 1, out);
    case ARG_FUZZY: p->program->has_fuzzy = true; return take_operands(p, depth, 1, out);
    case ARG_OR: return take_operands(p, depth, 2, out);
    case ARG_DATE:
        if (!imap_take_sp(p->at) || !imap_take_date(p->at, &days))
            return false;
        out->number = (uint64_t)days; /* an int64_t for query/: mail may be older than 1970 */
        return true;
    case ARG_NUMBER: return imap_take_sp(p->at) && imap_take_number64(p->at, &out->number);
    case ARG_INTERVAL: return take_interval(p, &out->number);
    case ARG_MODSEQ: return take_modseq(p, &out->number);
    case ARG_OBJECT_ID:
        if (!imap_take_sp(p->at) || !imap_take_atom(p->at, &v))
            return false;
        out->text = (struct mdsq_bytes){v.p, v.n};
        return true;
    case ARG_KEYWORD:
        if (!imap_take_sp(p->at) || !imap_take_atom(p->at, &v))
            return false;
        out->text = (struct mdsq_bytes){v.p, v.n};
        return true;
    case ARG_UID_SET: return imap_take_sp(p->at) && take_set(p, MDSQ_KEY_UID_SET, out);
    }
    return false;
}

static bool take_word_key(struct parser *p, unsigned depth, struct mdsq_key *out)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!imap_at_word(p->at, words[i].name))
            continue;
        p->at->p += strlen(words[i].name);
        struct mdsq_key key = {.kind = words[i].kind, .number = words[i].flag};
        if (!take_argument(p, &words[i], depth, &key))
            return false;
        *out = key;
        if (!words[i].negated)
            return true;
        struct mdsq_key *child = new_keys(p, 1);
        if (!child)
            return false;
        *child = key;
        *out = (struct mdsq_key){.kind = MDSQ_KEY_NOT, .children = child, .children_n = 1};
        return true;
    }
    return imap_cursor_fail(p->at, "unknown search key");
}

static bool take_key(struct parser *p, unsigned depth, struct mdsq_key *out)
{
    struct imap_cursor *at = p->at;
    if (depth >= p->depth_max)
        return imap_cursor_fail(at, "search too deep");
    if (imap_at_byte(at, '(')) {
        at->p++;
        return take_all(p, depth, ')', out) && imap_take_byte(at, ')');
    }
    if (at->p < at->end && (*at->p == '*' || *at->p == '$' || (*at->p >= '0' && *at->p <= '9')))
        return take_set(p, MDSQ_KEY_SEQ_SET, out);
    return take_word_key(p, depth, out);
}

/* astring SP */
static bool take_charset_name(struct parser *p, bool *known_out)
{
    struct bytes name;
    *known_out = true;
    p->program->has_charset = true;
    if (!imap_take_astring(p->at, &name))
        return false;
    if (bytes_equal_nocase(name, BYTES_LIT("UTF-8")))
        p->charset = CHARSET_UTF8;
    else if (bytes_equal_nocase(name, BYTES_LIT("US-ASCII")) || bytes_equal_nocase(name, BYTES_LIT("ASCII")))
        p->charset = CHARSET_ASCII;
    else
        *known_out = false;
    return imap_take_sp(p->at);
}

/* CHARSET SP astring SP */
static bool take_charset(struct parser *p, bool *known_out)
{
    *known_out = true;
    if (!imap_at_word(p->at, "CHARSET"))
        return true;
    return imap_take_word(p->at, "CHARSET") && imap_take_sp(p->at) && take_charset_name(p, known_out);
}

/* ["-"] nz-number; both ends have the "-" or none. */
static bool take_partial_end(struct imap_cursor *at, bool *minus, uint32_t *out)
{
    *minus = imap_at_byte(at, '-');
    at->p += *minus;
    return imap_take_nz_number(at, out);
}

bool imap_take_partial(struct imap_cursor *at, struct imap_partial *out)
{
    bool minus;
    if (!take_partial_end(at, &out->from_end, &out->first) || !imap_take_byte(at, ':') ||
        !take_partial_end(at, &minus, &out->last))
        return false;
    if (minus != out->from_end)
        return imap_cursor_fail(at, "a partial range counts from one end");
    out->is_swapped = out->first > out->last;
    if (out->is_swapped) {
        const uint32_t last = out->first;
        out->first = out->last;
        out->last = last;
    }
    return true;
}

void imap_put_partial(const struct imap_partial *p, struct buf *out)
{
    if (p->from_end && p->is_swapped)
        buf_printf(out, "-%u:-%u", p->last, p->first);
    else
        buf_printf(out, p->from_end ? "-%u:-%u" : "%u:%u", p->first, p->last);
}

static bool take_return_option(struct imap_cursor *at, struct imap_search_program *out)
{
    static const char *const names[] = {"MIN",    "MAX",     "ALL",     "COUNT",    "SAVE",
                                        "UPDATE", "CONTEXT", "PARTIAL", "RELEVANCY"};
    const unsigned both = IMAP_SEARCH_ALL | IMAP_SEARCH_PARTIAL;
    struct bytes name;
    size_t k = 0;
    if (!imap_take_atom(at, &name))
        return false;
    while (k < sizeof names / sizeof names[0] && !bytes_equal_nocase(name, bytes_str(names[k])))
        k++;
    if (k == sizeof names / sizeof names[0])
        return imap_cursor_fail(at, "unknown RETURN option");
    if ((1u << k) == IMAP_SEARCH_PARTIAL &&
        (out->returns & IMAP_SEARCH_PARTIAL || !imap_take_sp(at) || !imap_take_partial(at, &out->partial)))
        return imap_cursor_fail(at, "PARTIAL twice");
    out->returns |= 1u << k;
    return (out->returns & both) != both || imap_cursor_fail(at, "ALL and PARTIAL exclude each other");
}

/* "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")" SP */
static bool take_return(struct imap_cursor *at, struct imap_search_program *out)
{
    if (!imap_at_word(at, "RETURN"))
        return true;
    out->has_return = true;
    if (!imap_take_word(at, "RETURN") || !imap_take_sp(at) || !imap_take_byte(at, '('))
        return false;
    for (bool first = true; !imap_at_byte(at, ')'); first = false)
        if ((!first && !imap_take_sp(at)) || !take_return_option(at, out))
            return false;
    if (out->returns == 0)
        out->returns = IMAP_SEARCH_ALL;
    return imap_take_byte(at, ')') && imap_take_sp(at);
}

/* search-key *(SP search-key), to the end of the command. */
static bool take_program(struct parser *p, bool charset_known)
{
    if (!charset_known) {
        p->program->bad_charset = true;
        p->at->p = p->at->end;
        return true;
    }
    struct mdsq_key *key = new_keys(p, 1);
    if (!key || !take_all(p, 0, 0, key))
        return false;
    p->program->key = key;
    if (p->program->returns & IMAP_SEARCH_RELEVANCY && !p->program->has_fuzzy)
        return imap_cursor_fail(p->at, "RELEVANCY without FUZZY");
    return true;
}

static struct parser begin(struct imap_cursor *at, unsigned depth_max, struct imap_search_program *out)
{
    /* A negated flag and the list that holds it are levels of the tree that take_key does not count. */
    const unsigned deepest = MDSQ_KEY_DEPTH_MAX - 2;
    *out = (struct imap_search_program){.now_s = out->now_s, .saved = out->saved, .recent = out->recent};
    return (struct parser){.at = at, .depth_max = depth_max < deepest ? depth_max : deepest, .program = out};
}

bool imap_take_search_rest(struct imap_cursor *at, unsigned depth_max, struct imap_search_program *out)
{
    struct parser p = begin(at, depth_max, out);
    bool known;
    return take_return(at, out) && take_charset(&p, &known) && take_program(&p, known);
}

bool imap_take_search(struct imap_cursor *at, unsigned depth_max, struct imap_search_program *out)
{
    return imap_take_sp(at) && imap_take_search_rest(at, depth_max, out);
}

/* sort-criteria = "(" sort-criterion *(SP sort-criterion) ")"; sort-criterion = ["REVERSE" SP] sort-key */
static bool take_criteria(struct imap_cursor *at, struct imap_sort_order *out)
{
    static const char *const names[] = {
        [MDSQ_SORT_ARRIVAL] = "ARRIVAL",
        [MDSQ_SORT_CC] = "CC",
        [MDSQ_SORT_DATE] = "DATE",
        [MDSQ_SORT_FROM] = "FROM",
        [MDSQ_SORT_SIZE] = "SIZE",
        [MDSQ_SORT_SUBJECT] = "SUBJECT",
        [MDSQ_SORT_TO] = "TO",
        [MDSQ_SORT_DISPLAYFROM] = "DISPLAYFROM",
        [MDSQ_SORT_DISPLAYTO] = "DISPLAYTO",
        [MDSQ_SORT_RELEVANCE] = "RELEVANCY",
    };
    if (!imap_take_byte(at, '('))
        return false;
    for (out->n = 0; out->n == 0 || !imap_at_byte(at, ')'); out->n++) {
        struct mdsq_sort_criterion *by = &out->by[out->n];
        struct bytes name;
        size_t k = 0;
        if (out->n == MDSQ_SORT_MAX)
            return imap_cursor_fail(at, "too many sort criteria");
        if (out->n && !imap_take_sp(at))
            return false;
        by->reverse = imap_at_word(at, "REVERSE");
        if ((by->reverse && (!imap_take_word(at, "REVERSE") || !imap_take_sp(at))) || !imap_take_atom(at, &name))
            return false;
        while (k < sizeof names / sizeof names[0] && !bytes_equal_nocase(name, bytes_str(names[k])))
            k++;
        if (k == sizeof names / sizeof names[0])
            return imap_cursor_fail(at, "unknown sort criterion");
        by->key = (enum mdsq_sort_key)k;
        out->by_relevance |= by->key == MDSQ_SORT_RELEVANCE;
    }
    return imap_take_byte(at, ')') && imap_take_sp(at);
}

bool imap_take_sort(struct imap_cursor *at, unsigned depth_max, struct imap_sort_order *order,
                    struct imap_search_program *out)
{
    struct parser p = begin(at, depth_max, out);
    bool known;
    if (!imap_take_sp(at) || !take_return(at, out) || !take_criteria(at, order) || !take_charset_name(&p, &known) ||
        !take_program(&p, known))
        return false;
    if (order->by_relevance && known && !out->has_fuzzy)
        return imap_cursor_fail(at, "RELEVANCY without FUZZY");
    return true;
}

bool imap_take_thread(struct imap_cursor *at, unsigned depth_max, enum mdsq_thread_algorithm *algorithm,
                      struct imap_search_program *out)
{
    static const char *const names[] = {
        [MDSQ_THREAD_ORDEREDSUBJECT] = "ORDEREDSUBJECT",
        [MDSQ_THREAD_REFERENCES] = "REFERENCES",
        [MDSQ_THREAD_REFS] = "REFS",
    };
    struct parser p = begin(at, depth_max, out);
    struct bytes name;
    size_t k = 0;
    bool known;
    if (!imap_take_sp(at) || !imap_take_atom(at, &name))
        return false;
    while (k < sizeof names / sizeof names[0] && !bytes_equal_nocase(name, bytes_str(names[k])))
        k++;
    if (k == sizeof names / sizeof names[0])
        return imap_cursor_fail(at, "unknown thread algorithm");
    *algorithm = (enum mdsq_thread_algorithm)k;
    return imap_take_sp(at) && take_charset_name(&p, &known) && take_program(&p, known);
}
