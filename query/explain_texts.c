/* The texts that SEARCH sees of one message. */
#include "search.h"

static void tell(struct mime_texts *texts, const struct mime_text *text, mdsq_text_fn *fn, void *arg)
{
    static const char *const kinds[] = {"own", "attached", "part", "body"};
    struct bytes bare;

    if (text->kind == MIME_TEXT_BODY) {
        fn(kinds[text->kind], (struct mdsq_bytes){0}, query_bytes(mime_texts_body(texts, text)), arg);
        return;
    }
    fn(kinds[text->kind], query_bytes(text->name), query_bytes(mime_texts_value(texts, text)), arg);
    if (text->kind == MIME_TEXT_OWN && mime_texts_bare(texts, text, &bare))
        fn("bare", query_bytes(text->name), query_bytes(bare), arg);
}

static int explain(struct mdsq_reader *reader, uint64_t id, mdsq_text_fn *fn, void *arg, struct error *err)
{
    struct query_item item = {0};
    struct buf scratch = {0};
    struct query_item_view view = {.item = &item, .scratch = &scratch};
    struct mime_texts texts;
    struct mime_text text;
    int result = query_item_load(reader, id, &item, err), rc;

    if (result >= 0)
        result = query_item_open_bytes(reader, &item, err);
    if (result >= 0) {
        mime_texts_init(&texts);
        mime_texts_begin(&texts, &item.parts, MIME_TEXTS_ALL, query_item_view, &view);
        while ((rc = mime_texts_next(&texts, &text, result < 0 ? NULL : err)) != 0) {
            if (rc > 0)
                tell(&texts, &text, fn, arg);
            else
                result = result < 0 ? result : rc;
        }
        mime_texts_release(&texts);
    }
    query_item_release(&item);
    buf_release(&scratch);
    return result;
}

int mdsq_explain_texts(struct mdsq_reader *reader, const struct mdsq_view *view, uint32_t uid, mdsq_text_fn *fn,
                       void *arg, struct mdsq_error *err)
{
    struct mds_message m;
    struct error e;
    int rc;

    query_error_init(&e);
    rc = mds_message_next(reader->txn, view->folder, uid, &m, &e);
    if (rc >= 0 && (rc == 0 || m.uid != uid))
        rc = error_set(&e, BASE_ERR_NOTFOUND, 0, "the folder has no message with UID %u", uid);
    if (rc >= 0)
        rc = explain(reader, m.item, fn, arg, &e);
    return query_result(rc < 0 ? rc : MDSQ_OK, &e, err);
}
