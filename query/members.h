/*
 * members: the UIDs of a set and columns of their messages, read in slices: what SORT and THREAD begin with.
 *
 *     struct query_members m;
 *     query_members_init(&m, view->folder, uids, (enum mds_column[]){MDS_COLUMN_ITEM}, 1);
 *     while ((rc = query_members_run(&m, reader, until_us, &err)) > 0)
 *         ...                               // time for others
 *     ... m.uid[i], m.value[0][i], i < m.n ...
 *     query_members_release(&m);
 *
 * Of a message that is gone the values are 0 or what it had.
 */
#ifndef QUERY_MEMBERS_H
#define QUERY_MEMBERS_H

#include "query_private.h"

#include "mds/columns.h"

#define QUERY_MEMBERS_COLUMNS (MDSQ_SORT_MAX + 1)

struct query_members {
    uint32_t folder;
    struct query_uids *uids; /* a reference */
    uint32_t n;              /* read so far */
    uint32_t *uid;           /* [n], ascending */
    size_t columns_n;
    enum mds_column column[QUERY_MEMBERS_COLUMNS];
    int64_t *value[QUERY_MEMBERS_COLUMNS]; /* [n] of each column */
};

void query_members_init(struct query_members *m, uint32_t folder, struct query_uids *uids,
                        const enum mds_column *columns, size_t columns_n);
void query_members_release(struct query_members *m);
/* 1 the time is up, 0 all are read. */
int query_members_run(struct query_members *m, struct mdsq_reader *reader, uint64_t until_us, struct error *err);

#endif
