/* A record of mime/ as an item of mds/. */
#include "filing/filing.h"

#include <stdio.h>

/* RFC 5256's thread algorithms want the ids of References, else of In-Reply-To; only whether two are equal matters. */
static void reference_hashes(const struct mime_record *r, struct buf *out)
{
    struct bytes rest = r->references;

    while (rest.n) {
        const uint8_t *end = memchr(rest.p, 0, rest.n);
        const size_t n = end ? (size_t)(end - rest.p) : rest.n;

        buf_put_u64(out, hash64_of(bytes_of(rest.p, n)));
        rest = bytes_slice(rest, n + 1, SIZE_MAX);
    }
    if (!r->references.n && r->in_reply_to.n)
        buf_put_u64(out, hash64_of(r->in_reply_to));
}

void filing_sort(const struct mime_record *r, struct buf *out)
{
    struct buf references = {0};

    reference_hashes(r, &references);

    const struct mds_sort columns = {
        .base_subject = r->base_subject,
        .subject_is_reply = r->subject_is_reply,
        .sort_from = r->sort_from,
        .sort_to = r->sort_to,
        .sort_cc = r->sort_cc,
        .display_from = r->display_from,
        .display_to = r->display_to,
        .reference_hashes = buf_bytes(&references),
        .address_hashes = r->address_hashes,
        .preview = r->preview,
        .has_received_date = r->has_received_date,
        .received_date = r->received_date,
        .received_zone = r->received_zone,
    };

    mds_sort_encode(&columns, out);
    buf_release(&references);
}

void filing_item(const struct mime_record *r, const struct hash128 *hash, const struct mds_locator *locator,
                 struct buf *sort, struct mds_item *item, struct mds_item_words *words)
{
    buf_reset(sort);
    filing_sort(r, sort);
    *item = (struct mds_item){
        .hash = *hash,
        .size = r->size,
        .size_crlf = r->size_crlf,
        .defects = r->defects,
        .thread_id = r->thread_id,
        .has_sent_date = r->has_sent_date,
        .sent_date = r->sent_date,
        .sent_zone = r->sent_zone,
        .msgid_hash = r->message_id.n ? hash64_of(r->message_id) : 0,
        .locator = *locator,
        .parts = r->parts,
        .crlf_map = r->crlf_map,
    };
    *words = (struct mds_item_words){
        .envelope = r->envelope,
        .bodystructure = r->bodystructure,
        .headers = r->headers,
        .headers_complete = r->headers_complete,
        .sort = buf_bytes(sort),
    };
}

int filing_own_place(struct mds_txn *txn, uint32_t segment, struct mds_locator *l, struct error *err)
{
    struct mds_container container;
    char name[16];
    int rc;

    (void)snprintf(name, sizeof name, "%08u", segment);
    rc = mds_source_id(txn, BYTES_LIT(MDS_SOURCE_OWN), true, &l->source, err);
    if (rc == BASE_OK)
        rc = mds_container_find(txn, l->source, bytes_str(name), true, &container, err);
    if (rc == BASE_OK)
        l->container = container.id;
    return rc;
}
