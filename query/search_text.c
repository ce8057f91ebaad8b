/*
 * Text keys of one message: read, decode, casemap, look for the needle.
 *
 *   FIELD keys  the decoded value of every field of that name in the message's header; kept fields suffice. FROM, TO,
 * CC and BCC also find an address that stands there with comments and blanks in it BODY        the decoded text of each
 * text part, and the header fields of attached messages TEXT        that, the message's own header fields, and the MIME
 * header fields of its parts
 *
 * A field is matched as "Name: value" by BODY and TEXT, as its value by the others. A line end is one blank. Texts are
 * looked at one by one, cheapest first, until the tree's answer is known.
 */
#include "search.h"

#define TEXT_PART_MAX_BYTES (UINT64_C(64) << 20) /* of a part as stored; a larger one counts as unreadable */

int query_text_init(struct query_text *text, struct mdsq_reader *reader, struct error *err)
{
    *text = (struct query_text){.reader = reader};
    return query_reader_words(reader, &text->words, err);
}

void query_text_release(struct query_text *text)
{
    buf_release(&text->raw);
    buf_release(&text->unfolded);
    buf_release(&text->decoded);
    buf_release(&text->folded);
}

/* ---- answers ---------------------------------------------------------------------------------------- */

static enum query_answer answer_of(const struct query_node *node)
{
    enum query_answer out;

    if (node->leaf != QUERY_LEAF_NONE)
        return node->answer;
    if (node->kind == MDSQ_KEY_NOT) {
        out = answer_of(&node->children[0]);
        return out == QUERY_UNKNOWN ? out : out == QUERY_YES ? QUERY_NO : QUERY_YES;
    }

    const enum query_answer decisive = node->kind == MDSQ_KEY_AND ? QUERY_NO : QUERY_YES;

    out = node->kind == MDSQ_KEY_AND ? QUERY_YES : QUERY_NO;
    for (uint32_t i = 0; i < node->children_n; i++) {
        const enum query_answer child = answer_of(&node->children[i]);

        if (child == decisive)
            return child;
        if (child == QUERY_UNKNOWN)
            out = QUERY_UNKNOWN;
    }
    return out;
}

static void begin_answers(struct query_node *node, uint32_t uid)
{
    if (node->kind == MDSQ_KEY_ALL)
        node->answer = QUERY_YES;
    else if (node->leaf == QUERY_LEAF_SET || node->leaf == QUERY_LEAF_COLUMN)
        node->answer = roaring_bitmap_contains(node->set, uid) ? QUERY_YES : QUERY_NO;
    else
        node->answer = QUERY_UNKNOWN;
    for (uint32_t i = 0; i < node->children_n; i++)
        begin_answers(&node->children[i], uid);
}

static void end_answers(const struct query_leaves *leaves)
{
    for (uint32_t i = 0; i < leaves->n; i++) {
        if (leaves->v[i]->answer == QUERY_UNKNOWN)
            leaves->v[i]->answer = QUERY_NO;
    }
}

static bool holds(struct bytes text, struct bytes needle)
{
    return needle.n == 0 || (text.n >= needle.n && memmem(text.p, text.n, needle.p, needle.n) != NULL);
}

/* ---- fields ------------------------------------------------------------------------------------------- */

/* RFC 5322 unfolding, with the fold's first blank as a space, so that a fold is one blank like any line end. */
static void unfold(struct bytes raw, struct buf *out)
{
    buf_reset(out);
    for (size_t i = 0; i < raw.n; i++) {
        const uint8_t c = raw.p[i];

        if (c == '\r' && i + 1 < raw.n && raw.p[i + 1] == '\n')
            continue;
        if (c != '\n') {
            buf_append_byte(out, c);
            continue;
        }
        buf_append_byte(out, ' ');
        if (i + 1 < raw.n && (raw.p[i + 1] == ' ' || raw.p[i + 1] == '\t'))
            i++;
    }
}

/* The casemapped text of a field; a view into text->folded. */
static struct bytes field_text(struct query_text *t, struct bytes name, struct bytes value, bool with_name)
{
    buf_reset(&t->decoded);
    buf_reset(&t->folded);
    if (with_name) {
        buf_append_bytes(&t->decoded, name);
        buf_append_str(&t->decoded, ": ");
    }
    unfold(value, &t->unfolded);
    mime_decode_header(buf_bytes(&t->unfolded), &t->decoded);
    mime_casemap(buf_bytes(&t->decoded), &t->folded);
    return buf_bytes(&t->folded);
}

static bool is_address_key(enum mdsq_key_kind kind)
{
    return kind == MDSQ_KEY_FROM || kind == MDSQ_KEY_TO || kind == MDSQ_KEY_CC || kind == MDSQ_KEY_BCC;
}

/* An address field without its comments, and without the blanks that RFC 5322 allows around "@" and ".", into
 * t->decoded: "ann (a.) @ example.org" is found by her address. False: it has none of these. */
static bool bare_addresses(struct query_text *t, struct bytes text, struct bytes *out)
{
    struct buf *to = &t->decoded;
    size_t depth = 0;
    bool quoted = false;

    buf_reset(to);
    for (size_t i = 0; i < text.n; i++) {
        const uint8_t c = text.p[i], last = to->n ? to->p[to->n - 1] : 0;

        if (c == '\\' && (quoted || depth) && i + 1 < text.n) {
            i++;
            if (!depth)
                buf_append(to, text.p + i - 1, 2);
            continue;
        }
        if (c == '"' && !depth)
            quoted = !quoted;
        if (!quoted && c == '(') {
            depth++;
        } else if (depth) {
            depth -= c == ')';
        } else if (!quoted && c == ' ' && (last == '@' || last == '.' || last == ' ')) {
            continue;
        } else {
            while (!quoted && (c == '@' || c == '.') && to->n && to->p[to->n - 1] == ' ')
                to->n--;
            buf_append_byte(to, c);
        }
    }
    *out = buf_bytes(to);
    return to->n != text.n;
}

static void match_fields(struct query_text *t, struct query_tree *tree, struct bytes block)
{
    struct bytes name, value, field;
    size_t pos = 0;

    while (mime_header_next(block, &pos, &name, &value, &field)) {
        struct bytes text = {0}, bare;
        bool has_text = false;

        for (uint32_t i = 0; i < tree->fields.n; i++) {
            struct query_node *node = tree->fields.v[i];

            if (node->answer != QUERY_UNKNOWN || !bytes_equal_nocase(node->field, name))
                continue;
            if (!has_text)
                text = field_text(t, name, value, false);
            has_text = true;
            if (holds(text, node->needle) ||
                (is_address_key(node->kind) && bare_addresses(t, text, &bare) && holds(bare, node->needle)))
                node->answer = QUERY_YES;
        }
    }
}

/* Each field as a text of its own. only_text: BODY keys do not see these fields. */
static void match_block(struct query_text *t, struct query_tree *tree, struct bytes block, bool only_text)
{
    struct bytes name, value, field;
    size_t pos = 0;

    while (mime_header_next(block, &pos, &name, &value, &field)) {
        const struct bytes text = field_text(t, name, value, true);

        for (uint32_t i = 0; i < tree->bodies.n; i++) {
            struct query_node *node = tree->bodies.v[i];

            if (node->answer == QUERY_UNKNOWN && !(only_text && node->kind == MDSQ_KEY_BODY) &&
                holds(text, node->needle))
                node->answer = QUERY_YES;
        }
    }
}

/* ---- parts ---------------------------------------------------------------------------------------------- */

static int read_raw(struct query_text *t, struct query_item *item, uint64_t off, uint64_t len, struct error *err)
{
    int rc;

    if (len > TEXT_PART_MAX_BYTES)
        return error_set(err, BASE_ERR_LIMIT, 0, "a text of %llu bytes is not searched", (unsigned long long)len);
    buf_reset(&t->raw);
    rc = query_item_read(item, off, buf_reserve(&t->raw, (size_t)len), (size_t)len, err);
    t->raw.n = rc < 0 ? 0 : (size_t)len;
    return rc;
}

static void flatten_lines(struct buf *b)
{
    size_t n = 0;

    for (size_t i = 0; i < b->n; i++) {
        if (b->p[i] == '\r' && i + 1 < b->n && b->p[i + 1] == '\n')
            continue;
        b->p[n++] = b->p[i] == '\n' ? ' ' : b->p[i];
    }
    b->n = n;
}

static int match_part_text(struct query_text *t, struct query_tree *tree, struct query_item *item,
                           const struct mime_part *part, struct error *err)
{
    char charset[65] = "";
    const int rc = read_raw(t, item, part->body_off, part->body_len, err);

    if (rc < 0)
        return rc;
    if (part->charset.n && part->charset.n < sizeof charset)
        memcpy(charset, part->charset.p, part->charset.n);
    buf_reset(&t->decoded);
    buf_reset(&t->folded);
    mime_decode_text(buf_bytes(&t->raw), part->encoding, charset, &t->decoded);
    flatten_lines(&t->decoded);
    mime_casemap(buf_bytes(&t->decoded), &t->folded);
    for (uint32_t i = 0; i < tree->bodies.n; i++) {
        struct query_node *node = tree->bodies.v[i];

        if (node->answer == QUERY_UNKNOWN && holds(buf_bytes(&t->folded), node->needle))
            node->answer = QUERY_YES;
    }
    return BASE_OK;
}

/* Goes on past a part that cannot be searched, so that what matches elsewhere is found; returns the first failure. */
static int match_parts(struct query_text *t, struct query_tree *tree, struct query_item *item, struct error *err)
{
    int result = BASE_OK;

    for (uint32_t i = 0; i < item->parts.n && answer_of(tree->root) == QUERY_UNKNOWN; i++) {
        const struct mime_part *part = &item->parts.v[i];
        const bool is_root = part->kind == MIME_PART_MESSAGE_ROOT;
        const bool is_text = (is_root ? part->root_kind : part->kind) == MIME_PART_TEXT;
        int rc = BASE_OK;

        if (part->header_len) {
            rc = read_raw(t, item, part->header_off, part->header_len, err);
            if (rc >= 0)
                match_block(t, tree, buf_bytes(&t->raw), i == 0 || !is_root);
        }
        if (rc >= 0 && is_text && answer_of(tree->root) == QUERY_UNKNOWN)
            rc = match_part_text(t, tree, item, part, err);
        if (rc < 0 && result >= 0)
            result = rc;
    }
    return result;
}

/* ---- one message ------------------------------------------------------------------------------------------ */

/* 1 if the store's kept fields answered all FIELD keys, 0 if the item must be read. */
static int match_kept(struct query_text *t, struct query_tree *tree, uint64_t item, struct error *err)
{
    struct mds_item row;
    struct bytes headers;
    bool complete = false, enough = true;
    int rc = mds_item_get(t->reader->txn, item, &row, err);

    if (rc >= 0)
        rc = mds_words_headers(t->words, item, &headers, &complete, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < tree->fields.n && enough; i++) {
        const struct mdsq_bytes name = query_bytes(tree->fields.v[i]->field);

        enough = query_fields_are_kept(&row, complete, &name, 1, query_reader_kept(t->reader));
    }
    if (!enough)
        return 0;
    match_fields(t, tree, headers);
    end_answers(&tree->fields);
    return 1;
}

/* True if the failure is the item's, not the store's. */
static bool is_items_own(int rc)
{
    return rc == BASE_ERR_GONE || rc == BASE_ERR_IO || rc == BASE_ERR_LIMIT || rc == BASE_ERR_NOTFOUND ||
           rc == BASE_ERR_FORMAT || rc == BASE_ERR_CORRUPT;
}

static int match_item(struct query_text *t, struct query_tree *tree, struct query_item *item, struct error *err)
{
    const struct mime_part *root;
    int rc = query_item_open_bytes(t->reader, item, err);

    if (rc < 0 || item->parts.n == 0)
        return rc;
    root = &item->parts.v[0];
    if (tree->fields.n) {
        rc = read_raw(t, item, root->header_off, root->header_len, err);
        if (rc < 0)
            return rc;
        match_fields(t, tree, buf_bytes(&t->raw));
        end_answers(&tree->fields);
    }
    return match_parts(t, tree, item, err);
}

int query_text_match(struct query_text *text, struct query_tree *tree, uint32_t uid, uint64_t item_id, bool *yes_out,
                     bool *unreadable_out, struct error *err)
{
    struct query_item item = {0};
    struct error mine;
    int rc = BASE_OK;

    query_error_init(&mine);
    *unreadable_out = false;
    begin_answers(tree->root, uid);
    if (tree->fields.n)
        rc = match_kept(text, tree, item_id, &mine);
    if (rc >= 0 && answer_of(tree->root) == QUERY_UNKNOWN) {
        rc = query_item_load(text->reader, item_id, &item, &mine);
        if (rc >= 0)
            rc = match_item(text, tree, &item, &mine);
        query_item_release(&item);
    }
    end_answers(&tree->fields);
    end_answers(&tree->bodies);
    *yes_out = answer_of(tree->root) == QUERY_YES;
    if (rc < 0 && is_items_own(rc)) {
        *unreadable_out = true;
        return BASE_OK;
    }
    if (rc < 0 && err)
        *err = mine;
    return rc < 0 ? rc : BASE_OK;
}
