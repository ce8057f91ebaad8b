/*
 * capability: what the server says it can do, and what it hides from a client.
 *
 * One row a capability; whoever makes one work adds its row, in the order in which they are told. A client whose software is
 * known to enable what it does not honour is given a mask: what is in it is not said and not enabled.
 */
#include "sasl.h"

#include <ctype.h>
#include <stdio.h>

enum when { ALWAYS, BEFORE_LOGIN, AFTER_LOGIN };

static const struct {
    const char *name;
    enum when when;
} rows[] = {
    {"IMAP4rev1", ALWAYS},   {"IMAP4rev2", ALWAYS}, {"LITERAL+", ALWAYS}, {"SASL-IR", ALWAYS},  {"ID", ALWAYS},
    {"ENABLE", ALWAYS},      {"NAMESPACE", ALWAYS}, {"UNSELECT", ALWAYS}, {"CHILDREN", ALWAYS},
    {"SPECIAL-USE", ALWAYS},
    {"ESEARCH", AFTER_LOGIN},       {"SEARCHRES", AFTER_LOGIN},   {"WITHIN", AFTER_LOGIN},
    {"LIST-EXTENDED", AFTER_LOGIN}, {"LIST-STATUS", AFTER_LOGIN}, {"STATUS=SIZE", AFTER_LOGIN},
    {"SAVEDATE", AFTER_LOGIN},      {"PREVIEW", AFTER_LOGIN},     {"CONDSTORE", AFTER_LOGIN},
    {"QRESYNC", AFTER_LOGIN},       {"OBJECTID", AFTER_LOGIN},    {"NOTIFY", AFTER_LOGIN},
    {"UTF8=ACCEPT", AFTER_LOGIN},
    {"UIDPLUS", AFTER_LOGIN},       {"MOVE", AFTER_LOGIN},        {"IDLE", AFTER_LOGIN},
    {"MULTIAPPEND", AFTER_LOGIN},   {"CATENATE", AFTER_LOGIN},    {"BINARY", AFTER_LOGIN},
    {"SORT", AFTER_LOGIN},          {"SORT=DISPLAY", AFTER_LOGIN}, {"ESORT", AFTER_LOGIN},
    {"THREAD=ORDEREDSUBJECT", AFTER_LOGIN}, {"THREAD=REFERENCES", AFTER_LOGIN}, {"THREAD=REFS", AFTER_LOGIN},
    {"I18NLEVEL=1", AFTER_LOGIN},   {"CONTEXT=SEARCH", AFTER_LOGIN}, {"CONTEXT=SORT", AFTER_LOGIN},
    {"PARTIAL", AFTER_LOGIN},       {"MULTISEARCH", AFTER_LOGIN},    {"SEARCH=FUZZY", AFTER_LOGIN},
    {"REPLACE", AFTER_LOGIN},       {"CREATE-SPECIAL-USE", AFTER_LOGIN}, {"INPROGRESS", AFTER_LOGIN},
};

void imap_session_mask(struct imap_session *s, const char *names)
{
    free(s->mask);
    s->mask = NULL;
    if (!names)
        return;
    /* " A B ": each name stands between blanks, in capitals. */
    struct buf mask = {0};
    buf_append_byte(&mask, ' ');
    for (const char *p = names; *p; p++)
        buf_append_byte(&mask, *p == ',' || *p == ';' || isspace((unsigned char)*p) ? ' '
                                                                                    : (uint8_t)toupper((unsigned char)*p));
    buf_append_byte(&mask, ' ');
    s->mask = strndup((const char *)mask.p, mask.n);
    ASSERT(s->mask);
    buf_release(&mask);
}

/* What is told besides the rows. */
static const char *const others[] = {"STARTTLS", "COMPRESS=DEFLATE", "APPENDLIMIT"};

static bool is_known(struct bytes name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (bytes_equal_nocase(name, bytes_str(rows[i].name)))
            return true;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (bytes_equal_nocase(name, bytes_str(others[i])))
            return true;
    return name.n > 5 && bytes_equal_nocase(bytes_of(name.p, 5), BYTES_LIT("AUTH=")) &&
           imap_sasl_knows(bytes_of(name.p + 5, name.n - 5));
}

int imap_mask_check(const char *names, struct error *err)
{
    static const char blanks[] = " \t\r\n\v\f,;";
    for (const char *p = names + strspn(names, blanks); *p;) {
        const size_t n = strcspn(p, blanks);
        if (!is_known(bytes_of(p, n)))
            return error_set(err, BASE_ERR_USAGE, 0, "'%.*s' is no capability of this server", n < 60 ? (int)n : 60, p);
        p += n + strspn(p + n, blanks);
    }
    return 0;
}

bool imap_session_offers(const struct imap_session *s, const char *capability)
{
    struct buf word = {0};
    if (!s->mask)
        return true;
    buf_append_byte(&word, ' ');
    for (const char *p = capability; *p; p++)
        buf_append_byte(&word, (uint8_t)toupper((unsigned char)*p));
    buf_append(&word, " ", 2); /* with its end */
    bool hidden = strstr(s->mask, (const char *)word.p) != NULL;
    buf_release(&word);
    return !hidden;
}

static void say(const struct imap_session *s, struct buf *out, size_t begin, const char *name)
{
    if (!imap_session_offers(s, name))
        return;
    if (out->n > begin)
        buf_append_byte(out, ' ');
    buf_append_str(out, name);
}

void imap_session_capabilities(const struct imap_session *s, struct buf *out)
{
    const enum when other = s->archive ? BEFORE_LOGIN : AFTER_LOGIN;
    const size_t begin = out->n;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].when != other)
            say(s, out, begin, rows[i].name);
    if (s->transport && s->transport->starttls && !s->archive)
        say(s, out, begin, "STARTTLS");
    if (s->transport && s->transport->compress && s->archive)
        say(s, out, begin, "COMPRESS=DEFLATE");
    if (s->archive && imap_session_offers(s, "APPENDLIMIT")) {
        char limit[32];
        snprintf(limit, sizeof limit, "APPENDLIMIT=%u", s->limits.append_bytes);
        say(s, out, begin, limit);
    }
    if (!s->archive)
        imap_sasl_say_mechanisms(s, out, begin);
}
