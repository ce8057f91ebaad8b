/* search_result: see search_result.h. */
#include "search_result.h"

#include "system.h"
#include "wire/writer.h"

#include <inttypes.h>

enum { PROGRESS_FIRST_MS = 1000, PROGRESS_AGAIN_MS = 5000 };

/* inprogress-state = nil SP nil / number SP nil / number SP nz-number; the goal is more than what is done */
static void put_state(struct buf *out, const struct imap_progress *p, const struct mdsq_search *search)
{
    uint64_t done = 0, total = 0;
    if (search)
        mdsq_search_progress(search, &done, &total);
    if (p->is_part && p->before + done > 0)
        buf_printf(out, "%" PRIu64 " NIL", p->before + done);
    else if (!p->is_part && total > 0)
        buf_printf(out, "%" PRIu64 " %" PRIu64, done < total ? done : total - 1, total);
    else
        buf_append_str(out, "NIL NIL");
}

/* response-code =/ "INPROGRESS" [ SP "(" inprogress-tag SP inprogress-state ")" ] */
void imap_say_progress(struct imap_session *s, const struct imap_command *c, struct imap_progress *p,
                       const struct mdsq_search *search)
{
    const int64_t now = imap_system_now_ms();
    if (p->told_ms == 0)
        p->told_ms = now;
    if (now - p->told_ms < (p->was_told ? PROGRESS_AGAIN_MS : PROGRESS_FIRST_MS))
        return;
    p->told_ms = now;
    p->was_told = true;
    buf_append_str(&s->out, "* OK [INPROGRESS (");
    imap_write_string(&s->out, c->tag);
    buf_append_byte(&s->out, ' ');
    put_state(&s->out, p, search);
    buf_append_str(&s->out, ")] Still searching\r\n");
}

void imap_progress_pass(struct imap_progress *p, const struct mdsq_search *search)
{
    uint64_t done = 0, total = 0;
    if (search)
        mdsq_search_progress(search, &done, &total);
    p->before += done;
}

uint32_t imap_set_first(const struct mdsq_set *set)
{
    uint64_t at = 0;
    uint32_t first = 0, last = 0;
    return mdsq_set_next_range(set, NULL, &at, &first, &last) ? first : 0;
}

int imap_search_chosen(unsigned returns, uint32_t first, uint32_t last, const struct mdsq_set *part,
                       struct mdsq_set **out, struct mdsq_error *err)
{
    struct mdsq_set *ends = NULL;
    uint32_t v[2];
    size_t n = 0;
    *out = NULL;
    if (returns & (IMAP_SEARCH_ALL | IMAP_SEARCH_COUNT) ||
        !(returns & (IMAP_SEARCH_MIN | IMAP_SEARCH_MAX | IMAP_SEARCH_PARTIAL)))
        return 0;
    if (returns & IMAP_SEARCH_MIN && first)
        v[n++] = first;
    if (returns & IMAP_SEARCH_MAX && last)
        v[n++] = last;
    int rc = mdsq_set_of(v, n, &ends, err);
    if (rc >= 0)
        rc = mdsq_set_or(ends, part ? part : ends, out, err);
    mdsq_set_free(&ends);
    return rc;
}
