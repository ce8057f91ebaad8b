/*
 * cursor: takes the tokens of RFC 3501's formal syntax from a complete command (framer.h), strictly.
 *
 *     struct imap_cursor c = imap_cursor_of(command, arena);
 *     if (imap_take_tag(&c, &tag) && imap_take_sp(&c) && imap_take_atom(&c, &name) && imap_take_sp(&c)
 *         && imap_take_astring(&c, &user) && imap_take_end(&c)) ...
 *     else the answer is BAD with c.why
 *
 * Each imap_take_x either takes one x and returns true, or returns false and leaves its reason in c.why (the
 * first stays): the command is then BAD, so callers do not look where the cursor stands. imap_at_x look and
 * take nothing.
 *
 * Lifetimes: tokens are views into the command or, where escapes had to be undone, into the arena. One
 * thread. One tolerance: quoted strings may hold bytes >= 0x80 (RFC 3501 wants a literal; passwords come so);
 * whoever needs ASCII or UTF-8 checks.
 */
#ifndef IMAP_WIRE_CURSOR_H
#define IMAP_WIRE_CURSOR_H

#include "base/bytes.h"

struct imap_cursor {
    const uint8_t *p, *end;
    struct arena *arena;
    const char *why; /* static text */
    bool utf8;       /* mailbox names are UTF-8 (RFC 6855, RFC 9051), not modified UTF-7 */
    /* NULL, or gives each mailbox name (UTF-8) the spelling to go by: name itself or a text in the arena; NULL: too large. */
    const char *(*spell)(void *arg, struct arena *arena, const char *name);
    void *spell_arg;
    const char *given; /* by imap_take_mailbox: the name as it was said, if it is spelled otherwise; else NULL */
};

static inline struct imap_cursor imap_cursor_of(struct bytes command, struct arena *arena)
{
    const uint8_t *p = command.n ? command.p : (const uint8_t *)""; /* moving NULL by 0 is undefined in C */
    return (struct imap_cursor){p, p + command.n, arena, NULL, false, NULL, NULL, NULL};
}

/* Sets why, if nothing did before; false, so `return imap_cursor_fail(c, "...")`. */
bool imap_cursor_fail(struct imap_cursor *c, const char *why);

bool imap_at_end(const struct imap_cursor *c);
bool imap_at_byte(const struct imap_cursor *c, char byte);
/* The next atom is this word, in any case, whole. */
bool imap_at_word(const struct imap_cursor *c, const char *word);

bool imap_take_end(struct imap_cursor *c); /* nothing is left */
bool imap_take_sp(struct imap_cursor *c);  /* exactly one space */
bool imap_take_byte(struct imap_cursor *c, char byte);
bool imap_take_word(struct imap_cursor *c, const char *word);
bool imap_take_tag(struct imap_cursor *c, struct bytes *out);
bool imap_take_atom(struct imap_cursor *c, struct bytes *out);
bool imap_take_string(struct imap_cursor *c, struct bytes *out);  /* quoted / literal */
bool imap_take_literal(struct imap_cursor *c, struct bytes *out); /* literal */
bool imap_take_astring(struct imap_cursor *c, struct bytes *out);
bool imap_take_nstring(struct imap_cursor *c, struct bytes *out, bool *nil_out);
bool imap_take_list_mailbox(struct imap_cursor *c, struct bytes *out);
/* mailbox = "INBOX" / astring, from modified UTF-7 (c->utf8: as it is) to UTF-8, NUL-terminated in the arena. */
bool imap_take_mailbox(struct imap_cursor *c, const char **out);
/* The same for a mailbox that must be there: a name that no mailbox can have is no error of syntax, but one that no
 * mailbox has. */
bool imap_take_old_mailbox(struct imap_cursor *c, const char **out);
bool imap_take_number(struct imap_cursor *c, uint32_t *out);
bool imap_take_nz_number(struct imap_cursor *c, uint32_t *out);
/* A mailbox name or pattern as UTF-8, NUL-terminated in the arena; NULL with why set if it is none. */
char *imap_cursor_name(struct imap_cursor *c, struct bytes raw);
/* number64 of RFC 9051: below 2^63 */
bool imap_take_number64(struct imap_cursor *c, uint64_t *out);
/* sequence-set, as text; "$" (RFC 5182) may stand for one. */
bool imap_take_sequence_set(struct imap_cursor *c, struct bytes *out);
/* date = date-text / DQUOTE date-text DQUOTE, as days since 1970-01-01. */
bool imap_take_date(struct imap_cursor *c, int64_t *days_out);
/* date-time, as seconds since 1970 and minutes east. */
bool imap_take_date_time(struct imap_cursor *c, int64_t *seconds_out, int16_t *zone_out);

/* Character classes of the formal syntax. */
bool imap_is_atom_char(uint8_t b);
bool imap_is_astring_char(uint8_t b);

#endif
