/* pieces: see pieces.h. */
#include "pieces.h"

#include "base/bytes.h"

int imap_pieces_next(struct imap_pieces *pieces, struct mdsq_set **out, struct mdsq_error *err)
{
    struct buf text = {0};
    uint32_t n = 0;
    *out = NULL;
    while (n < IMAP_PIECE_MSGS) {
        if (pieces->first == 0 && !mdsq_set_next_range(pieces->set, NULL, &pieces->pos, &pieces->first, &pieces->last))
            break;
        uint32_t take =
            pieces->last - pieces->first < IMAP_PIECE_MSGS - n ? pieces->last - pieces->first + 1 : IMAP_PIECE_MSGS - n;
        buf_printf(&text, "%s%u:%u", n ? "," : "", pieces->first, pieces->first + (take - 1));
        n += take;
        /* A UID is below UINT32_MAX, so that the next one is no 0. */
        pieces->first = pieces->first + (take - 1) == pieces->last ? 0 : pieces->first + take;
    }
    int rc = n ? mdsq_set_numbers((const char *)text.p, text.n, 0, out, err) : 0;
    buf_release(&text);
    return rc < 0 ? rc : n > 0;
}
