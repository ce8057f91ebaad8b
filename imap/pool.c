/* pool: see pool.h. libuv's own pool is global, four threads, and shared with whoever else uses libuv in the
 * process. */
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

struct imap_pool {
    pthread_mutex_t lock; /* guards all below but threads */
    pthread_cond_t more;
    struct imap_job *first, *last;
    bool ending;
    unsigned threads_n;
    pthread_t *threads;
};

static void *work(void *arg)
{
    struct imap_pool *p = arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->first && !p->ending)
            pthread_cond_wait(&p->more, &p->lock);
        struct imap_job *job = p->first;
        if (!job)
            break;
        p->first = job->next;
        if (!p->first)
            p->last = NULL;
        pthread_mutex_unlock(&p->lock);
        job->next = NULL;
        job->run(job);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

int imap_pool_new(unsigned threads, struct imap_pool **out, struct error *err)
{
    struct imap_pool *p = calloc(1, sizeof *p);
    ASSERT(p);
    p->threads = calloc(threads ? threads : 1, sizeof *p->threads);
    ASSERT(p->threads);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->more, NULL);
    for (unsigned i = 0; i < threads; i++) {
        int rc = pthread_create(&p->threads[i], NULL, work, p);
        if (rc != 0) {
            imap_pool_free(&p);
            errno = rc;
            return error_errno(err, "cannot start a thread");
        }
        pthread_setname_np(p->threads[i], "imap-work");
        p->threads_n++;
    }
    *out = p;
    return 0;
}

void imap_pool_submit(struct imap_pool *p, struct imap_job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&p->lock);
    if (p->last)
        p->last->next = job;
    else
        p->first = job;
    p->last = job;
    pthread_cond_signal(&p->more);
    pthread_mutex_unlock(&p->lock);
}

void imap_pool_free(struct imap_pool **pool)
{
    struct imap_pool *p = *pool;
    if (!p)
        return;
    *pool = NULL;
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    pthread_cond_broadcast(&p->more);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->threads_n; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->more);
    pthread_mutex_destroy(&p->lock);
    free(p->threads);
    free(p);
}
