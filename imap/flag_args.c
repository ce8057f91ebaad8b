/* flag_args: see flag_args.h. */
#include "flag_args.h"

struct names {
    struct mdsq_bytes v[IMAP_FLAGS_MAX];
    size_t n;
    unsigned flags;
};

static bool take_system(struct imap_cursor *at, struct names *to)
{
    static const char *const names[] = {"Seen", "Answered", "Flagged", "Deleted", "Draft"}; /* bits from 1 on */
    struct bytes name;
    at->p++;
    if (!imap_take_atom(at, &name))
        return false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (bytes_equal_nocase(name, bytes_str(names[i]))) {
            to->flags |= 1u << i;
            return true;
        }
    }
    return imap_cursor_fail(at, bytes_equal_nocase(name, BYTES_LIT("Recent")) ? "\\Recent cannot be set"
                                                                              : "Unknown system flag");
}

static bool take_flag(struct imap_cursor *at, struct names *to)
{
    struct bytes name;
    if (imap_at_byte(at, '\\'))
        return take_system(at, to);
    if (!imap_take_atom(at, &name))
        return false;
    if (to->n == IMAP_FLAGS_MAX)
        return imap_cursor_fail(at, "Too many flags");
    name = arena_dup(at->arena, name);
    if (name.n == 0)
        return imap_cursor_fail(at, "Command too large");
    to->v[to->n++] = (struct mdsq_bytes){name.p, name.n};
    return true;
}

static bool keep(struct imap_cursor *at, const struct names *names, struct mdsq_flags *out)
{
    *out = (struct mdsq_flags){.flags = names->flags, .keywords_n = names->n};
    if (names->n == 0)
        return true;
    struct mdsq_bytes *v = arena_alloc(at->arena, names->n * sizeof *v);
    if (!v)
        return imap_cursor_fail(at, "Command too large");
    memcpy(v, names->v, names->n * sizeof *v);
    out->keywords = v;
    return true;
}

static bool take_flags(struct imap_cursor *at, struct names *names)
{
    if (!take_flag(at, names))
        return false;
    while (imap_at_byte(at, ' ')) {
        at->p++;
        if (!take_flag(at, names))
            return false;
    }
    return true;
}

bool imap_take_flag_args(struct imap_cursor *at, struct mdsq_flags *out)
{
    struct names names = {.n = 0};
    if (!imap_take_byte(at, '('))
        return false;
    if (!imap_at_byte(at, ')') && !take_flags(at, &names))
        return false;
    return imap_take_byte(at, ')') && keep(at, &names, out);
}

bool imap_take_store_flags(struct imap_cursor *at, struct mdsq_flags *out)
{
    struct names names = {.n = 0};
    if (imap_at_byte(at, '('))
        return imap_take_flag_args(at, out);
    return take_flags(at, &names) && keep(at, &names, out);
}
