/* cmd_cancelupdate: CANCELUPDATE (RFC 5267 4.3.5). */
#include "context.h"

struct cancel_args {
    struct bytes *tags;
    size_t n;
};

/* "CANCELUPDATE" 1*(SP quoted) */
IMAP_PARSE(imap_parse_cancelupdate)
{
    enum { TAGS_MAX = 64 };
    struct cancel_args *a = imap_command_args(c, sizeof *a);
    (void)s;
    if (!a || !(a->tags = arena_alloc(c->arena, TAGS_MAX * sizeof *a->tags)))
        return false;
    do {
        if (a->n == TAGS_MAX)
            return imap_cursor_fail(at, "too many tags");
        if (!imap_take_sp(at) || !imap_take_string(at, &a->tags[a->n++]))
            return false;
    } while (!imap_at_end(at));
    return true;
}

IMAP_RUN(imap_cmd_cancelupdate)
{
    const struct cancel_args *a = c->args;
    for (size_t i = 0; i < a->n; i++)
        imap_context_cancel(s, a->tags[i]);
    return imap_reply(c, IMAP_OK, NULL, "CANCELUPDATE completed");
}
