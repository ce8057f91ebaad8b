/*
 * pool: threads that run jobs in the order they were given, for work that may block on a disk.
 *
 *     struct imap_job { .run = fn }  embedded in the caller's struct; imap_pool_submit(pool, &x->job);
 *
 * A job belongs to the pool from submit until its run is called; run may submit it again. Jobs are few (one a
 * session), so the queue needs no bound. Thread rule: submit from any thread; free after the last submit.
 */
#ifndef IMAP_POOL_H
#define IMAP_POOL_H

#include "base/error.h"

struct imap_job {
    struct imap_job *next; /* the pool's */
    void (*run)(struct imap_job *job);
};

struct imap_pool;
int imap_pool_new(unsigned threads, struct imap_pool **out, struct error *err);
void imap_pool_submit(struct imap_pool *pool, struct imap_job *job);
/* Runs what is queued, joins the threads. */
void imap_pool_free(struct imap_pool **pool);

#endif
