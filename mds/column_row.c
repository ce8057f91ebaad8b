/* What the rows of a message and of its item say, as columns hold it. */
#include "columns_private.h"

#define MINUTE_S 60

struct item_facts item_facts_of(const struct mds_item *it)
{
    return (struct item_facts){
        .has_sent_date = it->has_sent_date, .sent_zone = it->sent_zone, .thread_id = it->thread_id};
}

void column_row_of(const struct mds_message *m, const struct item_facts *facts, struct column_row *out)
{
    *out = (struct column_row){.v = {
                                   [STORED_ITEM] = (int64_t)(m->item - m->uid),
                                   [STORED_MODSEQ] = (int64_t)(m->modseq - m->uid),
                                   [STORED_SIZE] = (int64_t)m->size_crlf,
                                   [STORED_INTERNAL] = m->internal_date,
                                   [STORED_INTERNAL_ZONE] = m->internal_zone,
                                   [STORED_SAVED] = m->saved_date,
                                   [STORED_SENT] = m->sent_date,
                                   [STORED_SENT_ZONE] = facts->has_sent_date ? 2 * (int64_t)facts->sent_zone + 1 : 0,
                                   [STORED_THREAD] = (int64_t)facts->thread_id,
                               }};
}

int64_t column_clock(int64_t instant, int64_t zone_minutes)
{
    const int64_t held = instant < CLOCK_FIRST_S ? CLOCK_FIRST_S : instant > CLOCK_LAST_S ? CLOCK_LAST_S : instant;

    return held + zone_minutes * MINUTE_S;
}

int64_t column_row_value(const struct column_row *row, uint32_t uid, enum mds_column column)
{
    const int64_t *v = row->v;

    switch (column) {
    case MDS_COLUMN_ITEM: return (int64_t)((uint64_t)v[STORED_ITEM] + uid);
    case MDS_COLUMN_SIZE: return v[STORED_SIZE];
    case MDS_COLUMN_INTERNAL: return v[STORED_INTERNAL];
    case MDS_COLUMN_INTERNAL_CLOCK: return column_clock(v[STORED_INTERNAL], v[STORED_INTERNAL_ZONE]);
    case MDS_COLUMN_SAVED: return v[STORED_SAVED];
    case MDS_COLUMN_SENT: return v[STORED_SENT];
    case MDS_COLUMN_SENT_CLOCK:
        return v[STORED_SENT_ZONE] & 1 ? column_clock(v[STORED_SENT], (v[STORED_SENT_ZONE] - 1) / 2)
                                       : MDS_COLUMN_NOTHING;
    case MDS_COLUMN_THREAD: return v[STORED_THREAD];
    case MDS_COLUMN_COUNT: break; /* COLUMN_MODSEQ */
    }
    return (int64_t)((uint64_t)v[STORED_MODSEQ] + uid);
}

bool column_needs_item(enum mds_column column)
{
    return column == MDS_COLUMN_SENT_CLOCK || column == MDS_COLUMN_THREAD;
}

bool column_row_matches(const struct column_row *row, uint32_t uid, enum mds_column column, int64_t min, int64_t max)
{
    const int64_t v = column_row_value(row, uid, column);

    return v >= min && v <= max && (column != MDS_COLUMN_SENT_CLOCK || v != MDS_COLUMN_NOTHING);
}

int column_row_load(struct mds_txn *t, uint32_t folder, uint32_t uid, bool with_item, struct column_row *out,
                    struct error *err)
{
    struct item_facts facts = {0};
    struct mds_message m;
    struct mds_item item;
    int rc = mds_message_next(t, folder, uid, &m, err);

    if (rc != 1 || m.uid != uid)
        return rc < 0 ? rc : 0;
    if (with_item) {
        if ((rc = item_row(t, m.item, &item, err)) != BASE_OK)
            return rc;
        facts = item_facts_of(&item);
    }
    column_row_of(&m, &facts, out);
    return 1;
}
