/*
 * commit: a command's change on its way into the archive.
 *
 * No thread of the pool waits for a disk: the change is submitted, the session parks, and the library's thread that
 * has committed it sets one atomic and wakes the session. Without a wake (tests, `mds fetch`) the commit is waited for
 * here.
 */
#include "session_private.h"

/* On a thread of the library. The session lives until mdsq_change_free has seen this return. */
static void on_done(void *arg)
{
    struct imap_session *s = arg;
    imap_wake_fn *wake = s->wake;
    void *wake_arg = s->wake_arg;
    atomic_store_explicit(&s->commit_done, true, memory_order_release);
    wake(wake_arg);
}

static void fail_to_submit(struct imap_session *s)
{
    /* The outcome tells why. */
    atomic_store_explicit(&s->commit_done, true, memory_order_relaxed);
}

enum imap_step imap_commit(struct imap_session *s, struct imap_command *c)
{
    ASSERT(c->change);
    if (!c->submitted) {
        /* A reader kept over the commit would hold its pages. */
        mdsq_reader_end(&s->reader);
        c->submitted = true;
        atomic_store_explicit(&s->commit_done, false, memory_order_relaxed);
        if (!s->wake) {
            mdsq_change_wait(c->change, NULL);
            return IMAP_STEP_DONE;
        }
        if (mdsq_change_submit(c->change, on_done, s) < 0)
            fail_to_submit(s);
    }
    if (s->wake && !atomic_load_explicit(&s->commit_done, memory_order_acquire))
        return IMAP_STEP_PARK;
    return IMAP_STEP_DONE;
}

void imap_commit_drop(struct imap_command *c)
{
    mdsq_change_free(&c->change);
    c->submitted = false;
}
