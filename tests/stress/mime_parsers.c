/*
 * Parsers in several threads over the same items give the same records as one
 * alone: the room has no shared state (GLib's and iconv's own must hold).
 *
 * stress_mime_parsers                 the test
 * stress_mime_parsers --dump FILE...  a record as text, for the golden tests and the independent check
 * stress_mime_parsers --dump-small FILE...    the same with limits so small that a fixture meets them
 * stress_mime_parsers --dump-opaque FILE...   the same for an item that killed a parser
 */
#include "mime/mime.h"

#include "base/hash.h"
#include "mime/parts.h"

#include <glib.h>
#include <pthread.h>
#include <stdio.h>

#define THREADS 4
#define ROUNDS  300

static void print_escaped(const char *key, struct bytes v)
{
    printf("%s: ", key);
    for (size_t i = 0; i < v.n; i++) {
        const uint8_t c = v.p[i];
        if (c == '\\' || c < ' ' || c >= 0x7f)
            printf("\\x%02x", c);
        else
            putchar(c);
    }
    putchar('\n');
}

static void print_part(const struct mime_parts *t, uint32_t i)
{
    static const char *const kinds[] = {"leaf", "text", "multipart", "message", "root"};
    static const char *const encodings[] = {"7bit",     "8bit",   "binary", "base64", "quoted-printable",
                                            "uuencode", "unknown"};
    const struct mime_part *p = &t->v[i];
    printf("part %u: %s", i, kinds[p->kind]);
    if (p->kind == MIME_PART_MESSAGE_ROOT)
        printf("/%s", kinds[p->root_kind]);
    printf(" parent=%u children=%u encoding=%s header=%llu+%llu(%llu) body=%llu+%llu(%llu) lines=%llu decoded=%llu",
           p->parent, p->children, encodings[p->encoding], (unsigned long long)p->header_off,
           (unsigned long long)p->header_len, (unsigned long long)p->header_crlf, (unsigned long long)p->body_off,
           (unsigned long long)p->body_len, (unsigned long long)p->body_crlf, (unsigned long long)p->lines,
           (unsigned long long)p->decoded_len);
    if (p->charset.n)
        print_escaped(" charset", p->charset);
    else
        putchar('\n');
}

static void dump(const struct mime_record *r)
{
    printf("size: %llu\nsize_crlf: %llu\ndefects:", (unsigned long long)r->size, (unsigned long long)r->size_crlf);
    for (const struct mime_defect_info *d = mime_defect_infos; d->key; d++) {
        if (r->defects >> d->bit & 1)
            printf(" %s", d->key);
    }
    putchar('\n');
    print_escaped("envelope", r->envelope);
    print_escaped("bodystructure", r->bodystructure);
    if (r->has_sent_date)
        printf("sent: %lld %d\n", (long long)r->sent_date, r->sent_zone);
    if (r->has_received_date)
        printf("received: %lld %d\n", (long long)r->received_date, r->received_zone);
    print_escaped("message_id", r->message_id);
    print_escaped("in_reply_to", r->in_reply_to);
    print_escaped("references", r->references);
    printf("thread: %016llx\n", (unsigned long long)r->thread_id);
    print_escaped("subject", r->subject);
    print_escaped("base_subject", r->base_subject);
    printf("reply: %d\n", r->subject_is_reply);
    print_escaped("display_from", r->display_from);
    print_escaped("display_to", r->display_to);
    print_escaped("sort_from", r->sort_from);
    print_escaped("sort_to", r->sort_to);
    print_escaped("sort_cc", r->sort_cc);
    printf("addresses: %zu\nheaders: %zu\n", r->address_hashes.n / 9, r->headers.n);
    print_escaped("preview", r->preview);
    struct mime_parts t;
    struct error err = {0};
    if (mime_parts_decode(r->parts, r->size, &t, &err) != BASE_OK) {
        printf("parts: %s\n", err.text);
        return;
    }
    for (uint32_t i = 0; i < t.n; i++)
        print_part(&t, i);
    mime_parts_release(&t);
}

static int dump_files(const char *how, int n, char **names)
{
    static const struct mime_settings small = {
        .max_header_bytes = 500, .max_parts = 4, .max_depth = 3, .max_addresses = 3, .max_references = 2};
    const bool opaque = strcmp(how, "--dump-opaque") == 0;
    struct mime_parser *p = mime_parser_new(strcmp(how, "--dump-small") == 0 ? &small : NULL);
    int status = 0;
    for (int i = 0; i < n; i++) {
        gchar *text = NULL;
        gsize size = 0;
        if (!g_file_get_contents(names[i], &text, &size, NULL)) {
            fprintf(stderr, "%s: cannot be read\n", names[i]);
            status = 1;
            continue;
        }
        struct mime_record r;
        if (opaque)
            mime_parse_opaque(p, bytes_of(text, size), MIME_DEFECT(PARSER_CRASHED) | MIME_DEFECT(PARSER_HUNG), &r);
        else
            mime_parse(p, bytes_of(text, size), &r);
        printf("file: %s\n", names[i]);
        dump(&r);
        putchar('\n');
        g_free(text);
    }
    mime_parser_free(&p);
    return status;
}

static const char *const items[] = {
    "From: =?iso-2022-jp?B?GyRCRnxLXBsoQg==?= <a@example.org>\nSubject: Re: [x] one\nDate: Sat, 21 Nov 2026 00:01:10 "
    "+0100\n"
    "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html; "
    "charset=koi8-r\n\n<p>\xc1\xc2</p>\n--b--\n",
    "From: x@example.org\nDate: 21 November 2026 around noon EST\nContent-Type: text/plain; charset=gb2312\n"
    "Content-Transfer-Encoding: base64\n\n1tDOxA==\n",
    "Received: from a by b; Sat, 21 Nov 2026 00:01:10 WEST\nTo: a:b@c,d@e;\nContent-Type: message/rfc822\n\nSubject: "
    "y\n\nz\n",
};

struct run {
    uint64_t hash;
    bool wrong;
};

static uint64_t parse_all(struct mime_parser *p)
{
    struct buf all = {0};
    for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
        struct mime_record r;
        mime_parse(p, bytes_str(items[i]), &r);
        mime_record_encode(&r, &all);
        mime_casemap(r.subject, &all);
    }
    const uint64_t hash = hash64_of(buf_bytes(&all));
    buf_release(&all);
    return hash;
}

static void *thread_run(void *arg)
{
    struct run *run = arg;
    struct mime_parser *p = mime_parser_new(NULL);
    for (int i = 0; i < ROUNDS; i++)
        run->wrong = run->wrong || parse_all(p) != run->hash;
    mime_parser_free(&p);
    return NULL;
}

/*
 * glibc loads and drops its converters under a lock of its own, in code that
 * TSan does not see into: held open here, they are not loaded by the threads.
 */
static void hold_converters(GIConv held[3])
{
    static const char *const names[] = {"ISO-2022-JP-3", "KOI8-R", "GB18030"};
    for (int i = 0; i < 3; i++) {
        held[i] = g_iconv_open("UTF-8", names[i]);
        ASSERT(held[i] != (GIConv)-1);
    }
}

static int stress(void)
{
    GIConv held[3];
    hold_converters(held);
    struct mime_parser *p = mime_parser_new(NULL);
    const uint64_t hash = parse_all(p);
    mime_parser_free(&p);
    pthread_t threads[THREADS];
    struct run runs[THREADS];
    int wrong = 0;
    for (int i = 0; i < THREADS; i++) {
        runs[i] = (struct run){.hash = hash};
        ASSERT(pthread_create(&threads[i], NULL, thread_run, &runs[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        wrong += runs[i].wrong;
    }
    for (int i = 0; i < 3; i++)
        g_iconv_close(held[i]);
    printf("mime_parsers: %d threads, %d rounds each, %d differ\n", THREADS, ROUNDS, wrong);
    return wrong != 0;
}

int main(int argc, char **argv)
{
    mime_init();
    if (argc > 2 && strncmp(argv[1], "--dump", 6) == 0)
        return dump_files(argv[1], argc - 2, argv + 2);
    return stress();
}
