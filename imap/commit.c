/*
 * commit: a command's change on its way into the archive.
 *
 * No thread of the pool waits for a disk: the change is submitted, the session parks, and the library's thread that
 * has committed it sets one atomic and wakes the session. Without a wake (tests, `mds fetch`) the commit is waited for
 * here.
 */
#include "session_private.h"

#include "notify.h"

/* On a thread of the library. The session lives until mdsq_change_free has seen this return. */
static void on_done(void *arg)
{
    struct imap_session *s = arg;
    imap_wake_fn *wake = s->wake;
    void *wake_arg = s->wake_arg;
    atomic_store_explicit(&s->commit_done, true, memory_order_release);
    wake(wake_arg);
}

/* What was done to mail and folders, for the audit log; flags and subscriptions are not. */
static void audit_change(struct imap_session *s, const struct imap_command *c)
{
    static const struct {
        const char *command, *action;
        bool of_folder; /* no messages are meant */
    } actions[] = {{"EXPUNGE", "expunge", false}, {"CLOSE", "expunge", false}, {"MOVE", "move", false},
                   {"COPY", "copy", false},       {"APPEND", "append", false}, {"REPLACE", "replace", false},
                   {"CREATE", "create", true},    {"DELETE", "delete", true},  {"RENAME", "rename", true}};
    struct mdsq_outcome out = {0};
    const char *name = c->row ? c->row->name : "";
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(actions[i].command, name) != 0 || c->submit_code < 0 ||
            mdsq_change_outcome(c->change, &out, NULL) < 0)
            continue;
        const struct mdsq_set *uids = out.changed ? out.changed : out.source ? out.source : out.dest;
        const uint32_t count = uids ? (uint32_t)mdsq_set_count(uids) : 0;
        if (actions[i].of_folder || count)
            imap_session_audit(s, actions[i].action, c->audit_name ? c->audit_name : s->folder, c->audit_to, uids,
                               count);
    }
}

static void after_change(struct imap_session *s, const struct imap_command *c)
{
    struct mdsq_outcome out = {0};
    audit_change(s, c);
    if (s->notify && c->row && c->submit_code >= 0 && mdsq_change_outcome(c->change, &out, NULL) >= 0)
        imap_notify_own(s, c, &out);
}

enum imap_step imap_commit(struct imap_session *s, struct imap_command *c)
{
    ASSERT(c->change);
    if (!c->submitted) {
        /* A reader kept over the commit would hold its pages. */
        mdsq_reader_end(&s->reader);
        c->submitted = true;
        c->submit_code = 0;
        atomic_store_explicit(&s->commit_done, false, memory_order_relaxed);
        if (!s->wake) {
            c->submit_code = mdsq_change_wait(c->change, NULL);
            after_change(s, c);
            return IMAP_STEP_DONE;
        }
        c->submit_code = mdsq_change_submit(c->change, on_done, s);
        if (c->submit_code < 0)
            return IMAP_STEP_DONE;
    }
    if (s->wake && c->submit_code == 0 && !atomic_load_explicit(&s->commit_done, memory_order_acquire))
        return IMAP_STEP_PARK;
    if (c->submit_code == 0)
        after_change(s, c);
    return IMAP_STEP_DONE;
}

int imap_outcome(const struct imap_command *c, struct mdsq_outcome *out, struct mdsq_error *err)
{
    int rc = mdsq_change_outcome(c->change, out, err);
    if (rc >= 0 && c->submit_code < 0) {
        /* It never got as far as an outcome. */
        *err = (struct mdsq_error){.code = c->submit_code, .text = "a change cannot be submitted"};
        rc = c->submit_code;
    }
    return rc;
}

void imap_commit_drop(struct imap_command *c)
{
    mdsq_change_free(&c->change);
    c->submitted = false;
}
