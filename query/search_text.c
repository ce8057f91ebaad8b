/*
 * Text keys of one message: read, decode, casemap, look for the needle.
 *
 *   FIELD keys  the decoded value of every field of that name in the message's header; kept fields suffice. FROM, TO,
 *               CC and BCC also find an address that stands there with comments and blanks in it
 *   BODY        the decoded text of each text part, and the header fields of attached messages
 *   TEXT        that, the message's own header fields (of trace fields the name alone, unless the settings are
 * literal), and the MIME header fields of its parts
 *
 * A field is matched as "Name: value" by BODY and TEXT, as its value by the others. The walk is mime/texts.h: texts are
 * looked at one by one, until the tree's answer is known.
 */
#include "search.h"

int query_text_init(struct query_text *text, struct mdsq_reader *reader, struct error *err)
{
    const struct mdsq_store *store = reader->archive->store;

    *text = (struct query_text){.reader = reader, .trace = store->text_literal ? NULL : store->trace};
    mime_texts_init(&text->texts);
    return query_reader_words(reader, &text->words, err);
}

void query_text_release(struct query_text *text)
{
    mime_texts_release(&text->texts);
    buf_release(&text->raw);
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
    else if (node->maybe && roaring_bitmap_contains(node->sure, uid))
        node->answer = QUERY_YES;
    else
        node->answer = node->maybe && !roaring_bitmap_contains(node->maybe, uid) ? QUERY_NO : QUERY_UNKNOWN;
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

/* ---- texts -------------------------------------------------------------------------------------------- */

static bool is_address_key(enum mdsq_key_kind kind)
{
    return kind == MDSQ_KEY_FROM || kind == MDSQ_KEY_TO || kind == MDSQ_KEY_CC || kind == MDSQ_KEY_BCC;
}

static void match_field_keys(struct query_text *t, struct query_tree *tree, const struct mime_text *text)
{
    for (uint32_t i = 0; i < tree->fields.n; i++) {
        struct query_node *node = tree->fields.v[i];
        struct bytes bare;

        if (node->answer != QUERY_UNKNOWN || !bytes_equal_nocase(node->field, text->name))
            continue;
        if (node->needle.n == 0 || holds(mime_texts_value(&t->texts, text), node->needle) ||
            (is_address_key(node->kind) && mime_texts_bare(&t->texts, text, &bare) && holds(bare, node->needle)))
            node->answer = QUERY_YES;
    }
}

/* The text as BODY and TEXT see it. */
static struct bytes shown(struct query_text *t, const struct mime_text *text)
{
    if (text->kind == MIME_TEXT_BODY)
        return mime_texts_body(&t->texts, text);
    if (text->kind == MIME_TEXT_OWN && t->trace && mime_trace_has(t->trace, text->name))
        return mime_texts_name(&t->texts, text);
    return mime_texts_whole(&t->texts, text);
}

static void match_body_keys(struct query_text *t, struct query_tree *tree, const struct mime_text *text)
{
    const bool text_only = text->kind == MIME_TEXT_OWN || text->kind == MIME_TEXT_PART;
    struct bytes s = {0};
    bool is_shown = false;

    for (uint32_t i = 0; i < tree->bodies.n; i++) {
        struct query_node *node = tree->bodies.v[i];

        if (node->answer != QUERY_UNKNOWN || (text_only && node->kind == MDSQ_KEY_BODY))
            continue;
        if (!is_shown)
            s = shown(t, text);
        is_shown = true;
        if (holds(s, node->needle))
            node->answer = QUERY_YES;
    }
}

/* Fields of a block that the walk stands on. */
static void match_kept_fields(struct query_text *t, struct query_tree *tree, struct bytes block)
{
    struct mime_text text;

    mime_texts_begin_block(&t->texts, block);
    while (mime_texts_next(&t->texts, &text, NULL) > 0)
        match_field_keys(t, tree, &text);
    end_answers(&tree->fields);
}

/* Goes on past a text that cannot be read, so that what matches elsewhere is found; returns the first failure. */
static int match_texts(struct query_text *t, struct query_tree *tree, struct query_item *item, struct error *err)
{
    const enum mime_texts_what what = tree->bodies.n ? MIME_TEXTS_ALL : MIME_TEXTS_OWN;
    struct query_item_view view = {.item = item, .scratch = &t->raw};
    uint32_t part = 0;
    int result = BASE_OK, rc;
    struct mime_text text;

    mime_texts_begin(&t->texts, &item->parts, what, query_item_view, &view);
    while ((rc = mime_texts_next(&t->texts, &text, result < 0 ? NULL : err)) != 0) {
        if (rc < 0) {
            result = result < 0 ? result : rc;
            continue;
        }
        if (text.kind == MIME_TEXT_OWN)
            match_field_keys(t, tree, &text);
        else if (tree->fields.n)
            end_answers(&tree->fields);
        if (text.part != part || text.kind == MIME_TEXT_BODY) {
            if (answer_of(tree->root) != QUERY_UNKNOWN)
                break;
            part = text.part;
        }
        match_body_keys(t, tree, &text);
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
    int rc = mds_words_item(t->words, item, &row, err);

    if (rc >= 0)
        rc = mds_words_headers(t->words, item, &headers, &complete, err);
    if (rc < 0)
        return rc;
    enough = query_fields_were_seen(&row);
    for (uint32_t i = 0; i < tree->fields.n && enough && !complete; i++) {
        const struct mdsq_bytes name = query_bytes(tree->fields.v[i]->field);

        enough = query_fields_are_kept(&name, 1, query_reader_kept(t->reader));
    }
    if (!enough)
        return 0;
    match_kept_fields(t, tree, headers);
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
    const int rc = query_item_open_bytes(t->reader, item, err);

    return rc < 0 ? rc : match_texts(t, tree, item, err);
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
