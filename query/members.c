/* members: see members.h. */
#include "members.h"
#include "big.h"
#include "change.h"

#include <glib.h>

#define AT_ONCE 8192u

void query_members_init(struct query_members *m, uint32_t folder, struct query_uids *uids,
                        const enum mds_column *columns, size_t columns_n)
{
    const size_t n = uids->count;

    ASSERT(columns_n <= QUERY_MEMBERS_COLUMNS);
    *m = (struct query_members){.folder = folder, .uids = query_uids_ref(uids), .columns_n = columns_n};
    m->uid = query_big_new(n, sizeof *m->uid);
    for (size_t i = 0; i < columns_n; i++) {
        m->column[i] = columns[i];
        m->value[i] = query_big_new(n, sizeof *m->value[i]);
    }
}

void query_members_release(struct query_members *m)
{
    query_uids_unref(&m->uids);
    g_free(m->uid);
    for (size_t i = 0; i < m->columns_n; i++)
        g_free(m->value[i]);
    *m = (struct query_members){0};
}

int query_members_run(struct query_members *m, struct mdsq_reader *reader, uint64_t until_us, struct error *err)
{
    roaring_uint32_iterator_t it;

    roaring_init_iterator(m->uids->bitmap, &it);
    if (m->n &&
        !(m->uid[m->n - 1] < UINT32_MAX && roaring_move_uint32_iterator_equalorlarger(&it, m->uid[m->n - 1] + 1)))
        return BASE_OK;
    for (;;) {
        const uint32_t room = m->uids->count - m->n,
                       got = roaring_read_uint32_iterator(&it, m->uid + m->n, room < AT_ONCE ? room : AT_ONCE);

        if (got == 0)
            return BASE_OK;
        for (size_t i = 0; i < m->columns_n; i++) {
            const int rc =
                mds_column_read(reader->txn, m->folder, m->column[i], m->uid + m->n, got, m->value[i] + m->n, err);

            if (rc < 0)
                return rc;
        }
        m->n += got;
        if (query_os_monotonic_us() >= until_us && m->n < m->uids->count)
            return 1;
    }
}
