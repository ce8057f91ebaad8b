/* What a search did, as text for a person: mds search --explain. */
#include "search.h"

#include <glib.h>

static const char *const step_names[] = {"sets", "columns", "index", "items"};

static const char *const key_names[] = {
    [MDSQ_KEY_ALL] = "ALL",         [MDSQ_KEY_AND] = "AND",
    [MDSQ_KEY_OR] = "OR",           [MDSQ_KEY_NOT] = "NOT",
    [MDSQ_KEY_FLAG] = "flag",       [MDSQ_KEY_KEYWORD] = "KEYWORD",
    [MDSQ_KEY_SEQ_SET] = "numbers", [MDSQ_KEY_UID_SET] = "UID",
    [MDSQ_KEY_BEFORE] = "BEFORE",   [MDSQ_KEY_ON] = "ON",
    [MDSQ_KEY_SINCE] = "SINCE",     [MDSQ_KEY_SENTBEFORE] = "SENTBEFORE",
    [MDSQ_KEY_SENTON] = "SENTON",   [MDSQ_KEY_SENTSINCE] = "SENTSINCE",
    [MDSQ_KEY_LARGER] = "LARGER",   [MDSQ_KEY_SMALLER] = "SMALLER",
    [MDSQ_KEY_HEADER] = "HEADER",   [MDSQ_KEY_FROM] = "FROM",
    [MDSQ_KEY_TO] = "TO",           [MDSQ_KEY_CC] = "CC",
    [MDSQ_KEY_BCC] = "BCC",         [MDSQ_KEY_SUBJECT] = "SUBJECT",
    [MDSQ_KEY_BODY] = "BODY",       [MDSQ_KEY_TEXT] = "TEXT",
    [MDSQ_KEY_MODSEQ] = "MODSEQ",   [MDSQ_KEY_NONE] = "none",
    [MDSQ_KEY_SET] = "$",           [MDSQ_KEY_OLDER] = "OLDER",
    [MDSQ_KEY_YOUNGER] = "YOUNGER", [MDSQ_KEY_SAVEDBEFORE] = "SAVEDBEFORE",
    [MDSQ_KEY_SAVEDON] = "SAVEDON", [MDSQ_KEY_SAVEDSINCE] = "SAVEDSINCE",
    [MDSQ_KEY_EMAILID] = "EMAILID", [MDSQ_KEY_THREADID] = "THREADID",
};

static const char *const lacks[] = {
    [QUERY_LACK_NOTHING] = "",
    [QUERY_LACK_INDEX] = "there is no content index: mds index makes it\n",
    [QUERY_LACK_OTHER] =
        "the content index was not asked: it was made with other trace-fields, by another version, or of "
        "another state of the archive; give --config or --trace-fields as it was made\n",
    [QUERY_LACK_DAMAGED] = "the content index is damaged and was not asked: mds index --rebuild\n",
    [QUERY_LACK_WISH] = "the content index was not asked, as was wished\n",
};

static void write_text(struct bytes text, struct buf *out)
{
    enum { SHOWN_MAX = 60 };
    char *valid = g_utf8_make_valid((const char *)(text.n ? text.p : (const uint8_t *)""), (gssize)text.n);
    char *shown = g_utf8_strlen(valid, -1) > SHOWN_MAX ? g_utf8_substring(valid, 0, SHOWN_MAX) : g_strdup(valid);

    for (char *c = shown; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    }
    buf_printf(out, " \"%s\"%s", shown, strlen(shown) < strlen(valid) ? "..." : "");
    g_free(shown);
    g_free(valid);
}

static uint64_t members(const roaring_bitmap_t *set)
{
    return set ? roaring_bitmap_get_cardinality(set) : 0;
}

static void write_leaf(const struct query_node *node, struct buf *out)
{
    switch (node->leaf) {
    case QUERY_LEAF_SET: buf_append_str(out, ": a set of the store\n"); return;
    case QUERY_LEAF_COLUMN: buf_append_str(out, ": a column of the store\n"); return;
    default: break;
    }
    if (!node->asked) {
        buf_append_str(out, node->has_no_terms ? ": nothing in it to look up, every open item is read\n"
                                               : ": items are read\n");
        return;
    }
    buf_printf(out, ": index, %" G_GUINT64_FORMAT " items in %.3f ms", node->candidates, (double)node->asked_us / 1000);
    if (node->asked_exact)
        buf_printf(out, ", %" G_GUINT64_FORMAT " messages match", members(node->sure));
    buf_printf(out, ", %" G_GUINT64_FORMAT " may match%s\n", members(node->maybe) - members(node->sure),
               node->has_no_terms ? ": nothing in it to look up, only the field" : "");
}

static void write_node(const struct query_node *node, unsigned depth, struct buf *out)
{
    buf_printf(out, "%*s%s", (int)(depth * 2), "", key_names[node->kind]);
    if (node->leaf == QUERY_LEAF_NONE) {
        buf_append_str(out, "\n");
        for (uint32_t i = 0; i < node->children_n; i++)
            write_node(&node->children[i], depth + 1, out);
        return;
    }
    if (node->kind == MDSQ_KEY_HEADER)
        write_text(node->field, out);
    if (node->leaf == QUERY_LEAF_FIELD || node->leaf == QUERY_LEAF_BODY || node->kind == MDSQ_KEY_KEYWORD)
        write_text(node->text, out);
    write_leaf(node, out);
}

void query_plan_write(const struct query_tree *tree, const struct query_index *ix, const struct query_cost *cost,
                      uint64_t unreadable, struct buf *out)
{
    write_node(tree->root, 0, out);
    for (unsigned i = 0; i < QUERY_STEP_DONE; i++) {
        if (cost->was[i])
            buf_printf(out, "step %-7s: %" G_GUINT64_FORMAT " messages, %.3f ms\n", step_names[i], cost->open[i],
                       (double)cost->us[i] / 1000);
    }
    buf_append_str(out, lacks[ix->lack]);
    if (unreadable)
        buf_printf(out, "%" G_GUINT64_FORMAT " items could not be read\n", unreadable);
}
