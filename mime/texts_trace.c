/*
 * texts_trace: fields that machines write for machines.
 *
 * Of the headers of 12,000 messages of a kernel list (2019 to 2026, 4.6 KB each) these are 73 % of the bytes, of a list
 * of users 70 %, of mail of 2002 to 2010 54 %: routes, signatures, verdicts of filters. No other field has more
 * than 6.4 % (Cc). What a person may look for stays: addresses (Return-Path, Delivered-To), identifiers, lists,
 * mailers.
 */
#include "mime/texts.h"

#include <glib.h>

const char mime_texts_trace_default[] =
    /* the way, hop by hop */
    "Received X-Received "
    /* signatures, and keys that travel along */
    "DKIM-Signature DomainKey-Signature X-Google-DKIM-Signature X-Developer-Signature ARC-* Autocrypt Face X-Face "
    /* verdicts: RFC 8601, SPF, and what filters and large providers say to themselves */
    "Authentication-Results X-Authentication-Results Received-SPF X-MS-Exchange-* X-Microsoft-Antispam* "
    "X-Forefront-Antispam* "
    "X-Forefront-PRVS X-Exchange-Antispam* X-Gm-* X-Google-Smtp-Source X-Forwarded-Encrypted X-Spam* X-Barracuda-* "
    "X-Brightmail-* "
    "X-Proofpoint-* X-IronPort-* IronPort-* X-YMail-* X-Mailman-Rule-Misses X-Policyd-Weight X-CSE-* X-Mimecast-* "
    "X-SES-*";

struct mime_trace {
    char **names; /* lower case, sorted; a "*" at the end stands for anything */
    guint n;
    guint begin[256], end[256]; /* of the names by their first byte */
    char *text;
};

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct mime_trace *mime_trace_new(struct bytes list)
{
    struct mime_trace *t = g_new0(struct mime_trace, 1);
    char *lower = g_ascii_strdown((const char *)(list.n ? list.p : (const uint8_t *)""), (gssize)list.n);
    char **words = g_strsplit_set(lower, " ,\t\r\n", -1);
    const guint words_n = g_strv_length(words);
    qsort(words, words_n, sizeof(*words), compare);
    t->names = g_new0(char *, words_n + 1);
    for (guint i = 0; i < words_n; i++) {
        if (words[i][0] && (t->n == 0 || strcmp(words[i], t->names[t->n - 1]) != 0))
            t->names[t->n++] = g_strdup(words[i]);
    }
    for (guint i = t->n; i-- > 0;)
        t->begin[(uint8_t)t->names[i][0]] = i;
    for (guint i = 0; i < t->n; i++)
        t->end[(uint8_t)t->names[i][0]] = i + 1;
    t->text = g_strjoinv(" ", t->names);
    g_strfreev(words);
    g_free(lower);
    return t;
}

void mime_trace_free(struct mime_trace **t)
{
    if (*t) {
        g_strfreev((*t)->names);
        g_free((*t)->text);
        g_free(*t);
    }
    *t = NULL;
}

static bool matches(const char *pattern, struct bytes name)
{
    size_t i = 0;
    while (i < name.n && pattern[i] && (uint8_t)pattern[i] == bytes_lower(name.p[i]))
        i++;
    return (pattern[i] == '*' && pattern[i + 1] == 0) || (i == name.n && pattern[i] == 0);
}

static bool has_by_first(const struct mime_trace *t, uint8_t first, struct bytes name)
{
    for (guint i = t->begin[first]; i < t->end[first]; i++) {
        if (matches(t->names[i], name))
            return true;
    }
    return false;
}

bool mime_trace_has(const struct mime_trace *t, struct bytes name)
{
    return (name.n && has_by_first(t, bytes_lower(name.p[0]), name)) || has_by_first(t, '*', name);
}

struct bytes mime_trace_text(const struct mime_trace *t)
{
    return bytes_str(t->text);
}
