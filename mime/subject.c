/*
 * subject: the base subject (RFC 5256 2.1).
 *
 *   subj-leader  = (*subj-blob subj-refwd) / WSP
 *   subj-blob    = "[" *BLOBCHAR "]" *WSP
 *   subj-refwd   = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"
 *   subj-trailer = "(fwd)" / WSP
 *   subj-fwd     = "[fwd:" subject "]"
 *
 * A run of blobs is measured once: if no subj-refwd follows it, dropping blobs
 * from its front changes nothing about that. So this is linear.
 */
#include "mime_private.h"

static struct bytes from(struct bytes v, size_t n)
{
    return bytes_slice(v, n, SIZE_MAX);
}

static size_t wsp_length(struct bytes v)
{
    size_t n = 0;
    while (n < v.n && (v.p[n] == ' ' || v.p[n] == '\t'))
        n++;
    return n;
}

static bool begins(struct bytes v, const char *word)
{
    const struct bytes w = bytes_str(word);
    return v.n >= w.n && bytes_equal_nocase(bytes_slice(v, 0, w.n), w);
}

/* Length of the subj-blob that v begins with, or 0. */
static size_t blob_length(struct bytes v)
{
    if (v.n < 2 || v.p[0] != '[')
        return 0;
    for (size_t i = 1; i < v.n; i++) {
        if (v.p[i] == '[')
            return 0;
        if (v.p[i] == ']')
            return i + 1 + wsp_length(from(v, i + 1));
    }
    return 0;
}

static size_t refwd_length(struct bytes v)
{
    size_t n = begins(v, "re") ? 2 : begins(v, "fwd") ? 3 : begins(v, "fw") ? 2 : 0;
    if (n == 0)
        return 0;
    n += wsp_length(from(v, n));
    n += blob_length(from(v, n));
    return n < v.n && v.p[n] == ':' ? n + 1 : 0;
}

/* Steps 3 to 5. */
static struct bytes strip_leaders(struct bytes v, bool *reply)
{
    for (;;) {
        v = from(v, wsp_length(v));
        size_t run = 0, last = 0, blob;
        while ((blob = blob_length(from(v, run))) != 0) {
            last = run;
            run += blob;
        }
        const size_t refwd = refwd_length(from(v, run));
        if (refwd) {
            *reply = true;
            v = from(v, run + refwd);
            continue;
        }
        /* No reply follows: the blobs go, unless that left nothing. */
        return from(v, run < v.n ? run : last);
    }
}

static struct bytes strip_trailers(struct bytes v, bool *reply)
{
    for (;;) {
        while (v.n && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t'))
            v.n--;
        if (v.n < 5 || !begins(from(v, v.n - 5), "(fwd)"))
            return v;
        *reply = true;
        v.n -= 5;
    }
}

bool mime_base_subject(struct bytes subject, struct buf *out)
{
    /* Step 1: white space runs become one space. */
    const size_t start = out->n;
    uint8_t *q = buf_reserve(out, subject.n);
    size_t n = 0;
    for (size_t i = 0; i < subject.n; i++) {
        const uint8_t c = subject.p[i];
        const bool space = c == ' ' || c == '\t' || c == '\r' || c == '\n';
        if (!space)
            q[n++] = c;
        else if (n == 0 || q[n - 1] != ' ')
            q[n++] = ' ';
    }
    struct bytes v = bytes_of(q, n);
    bool reply = false;
    for (;;) {
        v = strip_leaders(strip_trailers(v, &reply), &reply);
        if (v.n < 6 || !begins(v, "[fwd:") || v.p[v.n - 1] != ']')
            break;
        reply = true;
        v = bytes_slice(v, 5, v.n - 6);
    }
    memmove(q, v.p, v.n);
    out->n = start + v.n;
    return reply;
}
