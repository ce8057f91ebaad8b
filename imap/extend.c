/* extend: what the extensions give all commands: "$", names in UTF-8, keywords as they come up. */
#include "session_private.h"

#include "base/log.h"
#include "wire/writer.h"

#include <glib.h>

void imap_say_mailbox(struct imap_session *s, const char *utf8)
{
    if (imap_session_utf8(s))
        imap_write_mailbox_utf8(&s->out, utf8);
    else
        imap_write_mailbox(&s->out, utf8);
}

const char *imap_normal_name(struct arena *arena, const char *text)
{
    char *normal = NULL;
    const char *copy = text;
    if (!g_str_is_ascii(text))
        normal = g_utf8_normalize(text, -1, G_NORMALIZE_NFC);
    if (normal && strcmp(normal, text) != 0)
        copy = arena_strndup(arena, normal, strlen(normal));
    g_free(normal);
    return copy;
}

/* Such a folder or level is there, or the name is subscribed. */
static bool is_listed(struct imap_session *s, const char *name)
{
    enum { LOOKS_MAX = 100 }; /* as imap_say_its_list */
    const struct mdsq_list_options options = {"", &name, 1, MDSQ_LIST_NONEXISTENT};
    struct mdsq_lister *lister = NULL;
    struct mdsq_folder folder;
    bool found = false;
    int rc = imap_session_reader(s, NULL) ? mdsq_lister_new(&options, &lister, NULL) : -1;
    for (int i = 0; rc >= 0 && !found && i < LOOKS_MAX; i++) {
        rc = mdsq_lister_next(lister, s->reader, &folder, NULL);
        if (rc <= 0)
            break;
        found = rc == 1 && strcmp(folder.name, name) == 0;
    }
    mdsq_lister_free(&lister);
    return found;
}

const char *imap_spell_name(void *session, struct arena *arena, const char *name)
{
    enum { LEVELS_MAX = 32 };
    struct imap_session *s = session;
    const char *normal = imap_normal_name(arena, name);
    if (!normal || normal == name || !s->archive)
        return normal;
    /* The longest beginning that is there. */
    char *there = arena_strndup(arena, name, strlen(name));
    if (!there || is_listed(s, name))
        return there ? name : NULL;
    for (int i = 0; i < LEVELS_MAX; i++) {
        char *last = strrchr(there, '/');
        if (!last || last == there)
            break;
        *last = 0;
        if (!is_listed(s, there))
            continue;
        const size_t n = strlen(there);
        const char *below = imap_normal_name(arena, name + n);
        if (!below || below == name + n)
            return below ? name : NULL;
        struct buf joined = {0};
        buf_append(&joined, there, n);
        buf_append_str(&joined, below);
        const char *copy = arena_strndup(arena, joined.p, joined.n);
        buf_release(&joined);
        return copy;
    }
    return normal;
}

int imap_set_parse(struct imap_session *s, struct bytes text, bool is_uid, struct mdsq_set **out,
                   struct mdsq_error *err)
{
    if (text.n != 1 || text.p[0] != '$')
        return mdsq_set_parse(s->view, (const char *)text.p, text.n, is_uid, out, err);
    /* What was expunged since is not in the view any more (RFC 5182 2.1: it is removed from the result). */
    if (s->saved)
        return mdsq_set_in_view(s->saved, s->view, out, err);
    return mdsq_set_numbers("", 0, 0, out, err);
}

/* A keyword a client has not been told of yet: RFC 3501 7.2.6 has FLAGS say what may come. */
static int say_keyword(const char *name, void *arg)
{
    struct buf *out = arg;
    enum { LINE_MAX_BYTES = 32 << 10 };
    if (out->n + strlen(name) > LINE_MAX_BYTES)
        return 1;
    buf_append_byte(out, ' ');
    buf_append_str(out, name);
    return 0;
}

static void say_permanent(struct imap_session *s, struct bytes keywords)
{
    if (s->read_only) {
        buf_append_str(&s->out, "* OK [PERMANENTFLAGS ()] Read-only\r\n");
        return;
    }
    buf_append_str(&s->out, "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft");
    buf_append_bytes(&s->out, keywords);
    buf_append_str(&s->out, " \\*)] Flags permitted\r\n");
}

void imap_say_keywords(struct imap_session *s)
{
    struct mdsq_error err = {0};
    struct buf names = {0};
    uint32_t n = 0;
    /* Without the store the five are all that is known: FLAGS is told in any case. */
    if (imap_session_reader(s, &err) && mdsq_keywords(s->reader, NULL, NULL, &n, &err) >= 0 && n <= s->told_keywords)
        return;
    if (!s->reader || mdsq_keywords(s->reader, say_keyword, &names, &n, &err) < 0)
        log_to(LOG_LEVEL_WARN, "imap: cannot tell keywords: code=%d error=%s", err.code, err.text);
    buf_append_str(&s->out, "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft");
    buf_append_bytes(&s->out, buf_bytes(&names));
    buf_append_str(&s->out, ")\r\n");
    say_permanent(s, buf_bytes(&names));
    s->told_keywords = n;
    buf_release(&names);
}

void imap_enable_condstore(struct imap_session *s)
{
    if (s->enabled & IMAP_ENABLED_CONDSTORE)
        return;
    s->enabled |= IMAP_ENABLED_CONDSTORE;
    if (!s->view)
        return;
    buf_append_str(&s->out, "* OK [HIGHESTMODSEQ ");
    buf_append_u64_dec(&s->out, s->told_modseq);
    buf_append_str(&s->out, "] Now told with flags\r\n");
}

bool imap_say_vanished_earlier(struct imap_session *s, const struct mdsq_set *set, uint64_t *pos)
{
    enum { RANGES_A_LINE = 500 };
    uint32_t first, last;
    for (;;) {
        size_t n = 0;
        for (; n < RANGES_A_LINE && mdsq_set_next_range(set, NULL, pos, &first, &last); n++) {
            buf_append_str(&s->out, n ? "," : "* VANISHED (EARLIER) ");
            imap_write_range(&s->out, first, last);
        }
        if (n > 0)
            buf_append_str(&s->out, "\r\n");
        if (n < RANGES_A_LINE)
            return true;
        if (imap_session_should_yield(s))
            return false;
    }
}
