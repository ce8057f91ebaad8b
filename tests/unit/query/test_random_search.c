/*
 * Random messages, random trees of keys: the answers must be those of an evaluator that knows the decoded texts because it
 * made them up, folds case by a table of its own, and looks at every message.
 */
#include "fixture.h"

#include "filing/text.h"
#include "mime/words.h"
#include "test_support.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define MESSAGES 60
#define TEXTS_MAX 24
#define QUERIES 600

enum where { IN_HEADER, IN_PART_HEADER, IN_NESTED_HEADER, IN_BODY };

struct text {
    enum where where;
    const char *name;  /* of a field, NULL for a part's text */
    const char *value; /* decoded, a line end as a blank */
};

struct message {
    struct text texts[TEXTS_MAX];
    size_t n;
    uint32_t flags;
    int64_t day; /* internal date */
    uint64_t size;
    struct buf raw;
};

static const char *const words[] = {"alpha", "Beta", "GAMMA", "caf\xc3\xa9", "\xc3\x89" "cole", "stra\xc3\x9f" "e", "\xd0\xb6\xd1\x83\xd0\xba",
                                    "\xe6\x97\xa5\xe6\x9c\xac", "a-b", "x", "delta.eps", "1234"};

static const char *random_words(struct rng *rng, unsigned max)
{
    const char *out = "";
    for (uint64_t n = 1 + rng_below(rng, max); n > 0; n--)
        out = textf("%s%s%s", out, out[0] ? " " : "", words[rng_below(rng, sizeof words / sizeof words[0])]);
    return out;
}

static void remember(struct message *m, enum where where, const char *name, const char *value)
{
    cr_assert_lt(m->n, TEXTS_MAX);
    m->texts[m->n++] = (struct text){where, name, value};
}

static void put_base64(struct buf *out, const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const size_t n = strlen(text);

    for (size_t i = 0; i < n; i += 3) {
        const uint32_t v = (uint32_t)(uint8_t)text[i] << 16 | (i + 1 < n ? (uint32_t)(uint8_t)text[i + 1] << 8 : 0) |
                           (i + 2 < n ? (uint8_t)text[i + 2] : 0u);
        buf_append_byte(out, (uint8_t)digits[v >> 18]);
        buf_append_byte(out, (uint8_t)digits[v >> 12 & 63]);
        buf_append_byte(out, i + 1 < n ? (uint8_t)digits[v >> 6 & 63] : '=');
        buf_append_byte(out, i + 2 < n ? (uint8_t)digits[v & 63] : '=');
    }
}

static void put_field(struct rng *rng, struct message *m, enum where where, const char *name)
{
    const char *value = random_words(rng, 4);

    buf_printf(&m->raw, "%s: ", name);
    switch (rng_below(rng, 3)) {
    case 0:
        buf_append_str(&m->raw, "=?utf-8?b?");
        put_base64(&m->raw, value);
        buf_append_str(&m->raw, "?=");
        break;
    case 1: /* folded at each blank */
        for (const char *c = value; *c; c++)
            buf_append_str(&m->raw, *c == ' ' ? "\n " : textf("%c", *c));
        break;
    default: buf_append_str(&m->raw, value);
    }
    buf_append_str(&m->raw, "\n");
    remember(m, where, name, value);
}

static void put_literal_field(struct message *m, enum where where, const char *name, const char *value)
{
    buf_printf(&m->raw, "%s: %s\n", name, value);
    remember(m, where, name, value);
}

static void put_text(struct rng *rng, struct message *m, enum where where)
{
    const char *value = random_words(rng, 30);
    const uint64_t encoding = rng_below(rng, 3);
    struct buf body = {0};

    put_literal_field(m, where, "Content-Type", "text/plain; charset=utf-8");
    put_literal_field(m, where, "Content-Transfer-Encoding", encoding == 0 ? "base64" : encoding == 1 ? "quoted-printable" : "8bit");
    buf_append_str(&m->raw, "\n");
    for (const char *c = value; *c; c++) { /* some blanks are line ends */
        const bool end = *c == ' ' && rng_once_in(rng, 4);
        if (encoding == 1 && ((uint8_t)*c >= 0x80 || *c == '='))
            buf_printf(&body, "=%02X", (uint8_t)*c);
        else
            buf_append_str(&body, end ? (rng_once_in(rng, 2) ? "\r\n" : "\n") : textf("%c", *c));
        if (encoding == 1 && rng_once_in(rng, 20))
            buf_append_str(&body, "=\n");
    }
    if (encoding == 0) {
        buf_append_byte(&body, 0);
        put_base64(&m->raw, (const char *)body.p);
    } else {
        buf_append_bytes(&m->raw, buf_bytes(&body));
    }
    buf_release(&body);
    remember(m, IN_BODY, NULL, value);
}

static void make_message(struct rng *rng, struct message *m)
{
    *m = (struct message){.flags = (uint32_t)rng_below(rng, 64), .day = 11000 + (int64_t)rng_below(rng, 6)};
    put_field(rng, m, IN_HEADER, "Subject");
    if (rng_once_in(rng, 2))
        put_field(rng, m, IN_HEADER, "X-Odd");
    if (rng_once_in(rng, 2))
        put_field(rng, m, IN_HEADER, "From");
    if (rng_once_in(rng, 2)) {
        put_text(rng, m, IN_HEADER);
    } else {
        put_literal_field(m, IN_HEADER, "Content-Type", "multipart/mixed; boundary=qq");
        buf_append_str(&m->raw, "\nalpha preamble\n--qq\n");
        put_text(rng, m, IN_PART_HEADER);
        buf_append_str(&m->raw, "\n--qq\n");
        put_literal_field(m, IN_PART_HEADER, "Content-Type", "image/png");
        buf_append_str(&m->raw, "\nalpha beta gamma\n--qq\n");
        put_literal_field(m, IN_PART_HEADER, "Content-Type", "message/rfc822");
        buf_append_str(&m->raw, "\n");
        put_field(rng, m, IN_NESTED_HEADER, "Subject");
        put_text(rng, m, IN_NESTED_HEADER);
        buf_append_str(&m->raw, "\n--qq--\n");
    }
}

/* Upper case and decomposition of the letters that the words have. */
static const char *fold(const char *s)
{
    static const char *const table[][2] = {
        {"\xc3\xa9", "E\xcc\x81"}, {"\xc3\x89", "E\xcc\x81"}, {"\xd0\xb6", "\xd0\x96"}, {"\xd1\x83", "\xd0\xa3"}, {"\xd0\xba", "\xd0\x9a"},
    };
    struct buf out = {0};

    while (*s) {
        size_t i = 0;
        while (i < sizeof table / sizeof table[0] && strncmp(s, table[i][0], 2) != 0)
            i++;
        if (i < sizeof table / sizeof table[0]) {
            buf_append_str(&out, table[i][1]);
            s += 2;
        } else {
            buf_append_byte(&out, *s >= 'a' && *s <= 'z' ? (uint8_t)(*s - 32) : (uint8_t)*s);
            s++;
        }
    }
    const char *kept = textf("%.*s", (int)out.n, (const char *)out.p);
    buf_release(&out);
    return kept;
}

static bool holds(const char *value, const char *folded_needle)
{
    return strstr(fold(value), folded_needle) != NULL;
}

static bool text_matches(const struct mdsq_key *key, const struct text *t, const char *needle)
{
    const char *name = key->kind == MDSQ_KEY_SUBJECT ? "Subject" : key->kind == MDSQ_KEY_FROM ? "From" : "X-Odd";

    switch (key->kind) {
    case MDSQ_KEY_SUBJECT:
    case MDSQ_KEY_FROM:
    case MDSQ_KEY_HEADER: return t->where == IN_HEADER && strcmp(t->name, name) == 0 && holds(t->value, needle);
    case MDSQ_KEY_BODY:
        if (t->where == IN_HEADER || t->where == IN_PART_HEADER)
            return false;
        break;
    default: break;
    }
    return holds(t->name ? textf("%s: %s", t->name, t->value) : t->value, needle);
}

static bool naive(const struct mdsq_key *key, const struct message *m, uint32_t uid)
{
    switch (key->kind) {
    case MDSQ_KEY_ALL: return true;
    case MDSQ_KEY_FLAG: return m->flags & key->number;
    case MDSQ_KEY_SINCE: return m->day >= (int64_t)key->number;
    case MDSQ_KEY_BEFORE: return m->day < (int64_t)key->number;
    case MDSQ_KEY_LARGER: return m->size > key->number;
    case MDSQ_KEY_UID_SET: return uid <= (uint32_t)atoi((const char *)key->text.p + 2); /* "1:n" */
    case MDSQ_KEY_NOT: return !naive(key->children, m, uid);
    case MDSQ_KEY_AND:
    case MDSQ_KEY_OR:
        for (size_t i = 0; i < key->children_n; i++) {
            if (naive(&key->children[i], m, uid) != (key->kind == MDSQ_KEY_AND))
                return key->kind == MDSQ_KEY_OR;
        }
        return key->kind == MDSQ_KEY_AND;
    default: break;
    }
    if (key->text.n == 0 && (key->kind == MDSQ_KEY_BODY || key->kind == MDSQ_KEY_TEXT))
        return true;
    const char *needle = fold(textf("%.*s", (int)key->text.n, (const char *)key->text.p));
    for (size_t i = 0; i < m->n; i++) {
        if (text_matches(key, &m->texts[i], needle))
            return true;
    }
    return false;
}

/* A piece of some message's text, cut anywhere between characters, in any case; sometimes of nothing. */
static struct mdsq_bytes random_needle(struct rng *rng, const struct message *all)
{
    const struct message *m = &all[rng_below(rng, MESSAGES)];
    const char *value = rng_once_in(rng, 10) ? "nowhere" : m->texts[rng_below(rng, m->n)].value;
    size_t begin = (size_t)rng_below(rng, strlen(value)), n = (size_t)rng_below(rng, 12);

    while (begin > 0 && ((uint8_t)value[begin] & 0xc0) == 0x80)
        begin--;
    n = n < strlen(value + begin) ? n : strlen(value + begin);
    while (((uint8_t)value[begin + n] & 0xc0) == 0x80)
        n++;
    char *needle = (char *)(uintptr_t)textf("%.*s", (int)n, value + begin);
    for (char *c = needle; *c; c++) {
        if (*c >= 'a' && *c <= 'z' && rng_once_in(rng, 3))
            *c = (char)(*c - 32);
    }
    return (struct mdsq_bytes){(const uint8_t *)needle, n};
}

static struct mdsq_key random_key(struct rng *rng, const struct message *all, unsigned depth)
{
    static const enum mdsq_key_kind leaves[] = {MDSQ_KEY_FLAG, MDSQ_KEY_SINCE, MDSQ_KEY_BEFORE, MDSQ_KEY_LARGER, MDSQ_KEY_UID_SET,
                                                MDSQ_KEY_SUBJECT, MDSQ_KEY_FROM, MDSQ_KEY_HEADER, MDSQ_KEY_BODY, MDSQ_KEY_TEXT,
                                                MDSQ_KEY_BODY, MDSQ_KEY_TEXT, MDSQ_KEY_ALL};
    struct mdsq_key key = {.kind = leaves[rng_below(rng, sizeof leaves / sizeof leaves[0])]};

    if (depth < 4 && rng_once_in(rng, 2)) {
        struct mdsq_key *children;

        key.kind = rng_once_in(rng, 3) ? MDSQ_KEY_NOT : rng_once_in(rng, 2) ? MDSQ_KEY_AND : MDSQ_KEY_OR;
        key.children_n = key.kind == MDSQ_KEY_NOT ? 1 : 1 + (size_t)rng_below(rng, 3);
        key.children = children = calloc(key.children_n, sizeof *children);
        for (size_t i = 0; i < key.children_n; i++)
            children[i] = random_key(rng, all, depth + 1);
        return key;
    }
    switch (key.kind) {
    case MDSQ_KEY_FLAG: key.number = UINT64_C(1) << rng_below(rng, 6); break;
    case MDSQ_KEY_SINCE:
    case MDSQ_KEY_BEFORE: key.number = 11000 + rng_below(rng, 7); break;
    case MDSQ_KEY_LARGER: key.number = rng_below(rng, 1500); break;
    case MDSQ_KEY_UID_SET: {
        const char *set = textf("1:%llu", (unsigned long long)(1 + rng_below(rng, MESSAGES)));
        key.text = (struct mdsq_bytes){(const uint8_t *)set, strlen(set)};
        break;
    }
    default:
        if (key.kind == MDSQ_KEY_HEADER)
            key.field = (struct mdsq_bytes){(const uint8_t *)"x-oDD", 5};
        key.text = random_needle(rng, all);
    }
    return key;
}

static void free_key(const struct mdsq_key *key)
{
    for (size_t i = 0; i < key->children_n; i++)
        free_key(&key->children[i]);
    free((void *)(uintptr_t)key->children);
}

static void describe(const struct mdsq_key *key, struct buf *out)
{
    buf_printf(out, "(%d %llu \"%.*s\"", key->kind, (unsigned long long)key->number, (int)key->text.n, (const char *)key->text.p);
    for (size_t i = 0; i < key->children_n; i++)
        describe(&key->children[i], out);
    buf_append_byte(out, ')');
}

static unsigned check(struct fixture *f, const struct mdsq_view *view, const struct mdsq_key *key, const struct message *all)
{
    struct mdsq_error e = {0};
    struct mdsq_search *s = NULL;
    struct mdsq_set *set = NULL;
    struct buf text = {0};
    uint64_t unreadable = 0;
    unsigned hits = 0;

    describe(key, &text);
    buf_append_byte(&text, 0);
    cr_assert_eq(mdsq_search_new(view, key, &s, &e), 0, "%s: %s", (char *)text.p, e.text);
    while (mdsq_search_run(s, f->reader, 5, &e) > 0)
        ;
    cr_assert_eq(mdsq_search_take(s, &set, &unreadable, &e), 0, "%s", e.text);
    cr_assert_eq(unreadable, 0);
    for (uint32_t uid = 1; uid <= MESSAGES; uid++) {
        cr_assert_eq(mdsq_set_has(set, uid), naive(key, &all[uid - 1], uid), "%s, message %u: %d\n%.*s", (char *)text.p, uid,
                     mdsq_set_has(set, uid), (int)all[uid - 1].raw.n, (const char *)all[uid - 1].raw.p);
        hits += mdsq_set_has(set, uid);
    }
    mdsq_set_free(&set);
    mdsq_search_free(&s);
    buf_release(&text);
    return hits;
}

/* ---- with an index of some of the items ---- */

struct indexing {
    struct mime_trace *trace;
    struct mds_text *text;
    struct mds_text_batch *batch;
};

static void index_begin(struct fixture *f, struct indexing *ix)
{
    struct error e = {0};

    ix->trace = mime_trace_new(bytes_str(mime_texts_trace_default));
    ix->batch = mds_text_batch_new();
    const struct filing_text_settings settings = {.trace = ix->trace, .words = mime_words_fingerprint()};

    cr_assert_eq(filing_text_make(f->env, &settings, &ix->text, &e), 0, "%s", e.text);
}

static void index_end(struct indexing *ix)
{
    mds_text_batch_free(&ix->batch);
    mds_text_close(&ix->text);
    mime_trace_free(&ix->trace);
}

static int read_raw(void *arg, uint64_t off, uint64_t len, struct bytes *out, struct error *err)
{
    (void)err;
    *out = bytes_slice(*(const struct bytes *)arg, (size_t)off, (size_t)len);
    return 0;
}

static void add_term(enum mds_text_class c, struct bytes term, void *arg)
{
    mds_text_batch_add(arg, c, term);
}

static void index_item(struct indexing *ix, const struct mds_item *item, struct bytes raw)
{
    struct mime_parts parts;
    struct filing_text_pairs pairs = {0};
    struct mime_texts texts;
    struct mime_text text;

    cr_assert_eq(mime_parts_decode(item->parts, item->size, &parts, NULL), 0);
    mime_texts_init(&texts);
    mime_texts_begin(&texts, &parts, MIME_TEXTS_ALL, read_raw, &raw);
    mds_text_batch_begin(ix->batch, item->id, filing_text_tag(&item->hash));
    while (mime_texts_next(&texts, &text, NULL) > 0)
        (void)filing_text_terms(&texts, &text, ix->trace, &pairs, add_term, ix->batch);
    filing_text_pairs_batch(&pairs, ix->batch);
    mime_texts_release(&texts);
    mime_parts_release(&parts);
}

/* Of the messages whose items are not indexed, each one in `of`. */
static void index_some(struct fixture *f, struct indexing *ix, struct rng *rng, const struct message *all, unsigned of)
{
    struct mds_txn *txn = NULL;
    struct mds_text_reader *r = NULL;
    struct mds_folder folder;
    struct error e = {0};
    uint64_t last = 0;

    cr_assert_eq(mds_read_begin(f->env, &txn, &e), 0);
    cr_assert_eq(mds_text_read_begin(ix->text, &r, &e), 0, "%s", e.text);
    cr_assert_eq(mds_folder_find(txn, BYTES_LIT("INBOX"), &folder, &e), 0);
    for (uint32_t uid = 1; uid <= MESSAGES; uid++) {
        struct mds_message m;
        struct mds_item item;

        cr_assert_eq(mds_message_next(txn, folder.id, uid, &m, &e), 1);
        cr_assert_eq(mds_item_get(txn, m.item, &item, &e), 0);
        if (m.item > last && rng_below(rng, of) == 0 && !roaring_bitmap_contains(mds_text_items(r), (uint32_t)m.item))
            index_item(ix, &item, buf_bytes(&all[uid - 1].raw));
        last = m.item > last ? m.item : last;
    }
    mds_text_read_end(&r);
    mds_read_end(&txn);
    cr_assert_eq(mds_text_commit(ix->text, ix->batch, &e), 0, "%s", e.text);
}

static unsigned ask_many(struct fixture *f, const struct mdsq_view *view, struct rng *rng, const struct message *all, int n)
{
    unsigned some = 0;

    for (int i = 0; i < n; i++) {
        const struct mdsq_key key = random_key(rng, all, 0);
        const unsigned hits = check(f, view, &key, all);

        some += hits > 0 && hits < MESSAGES;
        free_key(&key);
    }
    return some;
}

static void find_words(const char *line, void *arg)
{
    *(bool *)arg |= strstr(line, ": index, ") != NULL;
}

/* Is the index really asked? */
static bool asks_index(struct fixture *f, const struct mdsq_view *view)
{
    const struct mdsq_key key = {.kind = MDSQ_KEY_BODY, .text = {(const uint8_t *)"alpha", 5}};
    struct mdsq_search *s = NULL;
    struct mdsq_error e = {0};
    bool asked = false;

    cr_assert_eq(mdsq_search_new(view, &key, &s, &e), 0);
    while (mdsq_search_run(s, f->reader, 5, &e) > 0)
        ;
    mdsq_search_explain(s, find_words, &asked);
    mdsq_search_free(&s);
    return asked;
}

Test(random_search, equals_a_plain_evaluator)
{
    struct rng rng = rng_start("random_search");
    struct fixture *f = fixture_new(TEMP_DIR());
    struct message *all = calloc(MESSAGES, sizeof *all);
    struct mdsq_message m;
    struct mdsq_fetch *fetch = NULL;
    struct mdsq_error e;
    unsigned some = 0;

    for (size_t i = 0; i < MESSAGES; i++) {
        make_message(&rng, &all[i]);
        fixture_add(f, "INBOX", buf_bytes(&all[i].raw), &(struct filing){.flags = all[i].flags, .internal_date = all[i].day * 86400 + 7});
    }
    struct mdsq_view *view = fixture_view(f, "INBOX");
    cr_assert_eq(mdsq_fetch_new(f->reader, view, NULL, MDSQ_FETCH_SIZE, &fetch, &e), 0);
    while (mdsq_fetch_next(fetch, &m, &e) > 0)
        all[m.uid - 1].size = m.size;
    mdsq_fetch_free(&fetch);
    struct indexing ix = {0};

    index_begin(f, &ix);
    fixture_open(f); /* a snapshot that knows of it */
    for (unsigned of = 3; of > 0; of--) { /* nothing is indexed, some is, more, all */
        some += ask_many(f, view, &rng, all, QUERIES / 4);
        index_some(f, &ix, &rng, all, of);
    }
    cr_expect(asks_index(f, view));
    some += ask_many(f, view, &rng, all, QUERIES / 4);
    index_end(&ix);
    cr_expect_gt(some, QUERIES / 4, "most queries should tell messages apart: %u", some);
    mdsq_view_close(&view);
    for (size_t i = 0; i < MESSAGES; i++)
        buf_release(&all[i].raw);
    free(all);
    fixture_free(&f);
}
