/*
 * gen_body: MIME trees. A tree is one row of a table (share, builder) for each profile; the builders write parts one
 * after another into the message, so a body is made in one pass without a tree in memory.
 *
 * Sizes: text is lognormal, attachments are lognormal with a longer tail and take about a quarter of all bytes, as in
 * the corpus. The medians follow from the wanted mean: see text_median.
 */
#include "gen_message.h"

#include "base/error.h"
#include "gen_plant.h"

#include <glib.h>

struct body {
    const struct gen_plan *plan;
    uint64_t index;
    enum gen_profile profile;
    enum gen_charset cs;
    bool answer;
    struct gen_random r;
    struct gen_scratch *s;
    struct buf *out;
    unsigned boundaries; /* made so far */
};

#define HEADER_MEAN_BYTES   1750u  /* measured over 100,000 messages, with the MIME structure around the text */
#define TEXT_SIGMA          104000 /* 1.1 natural, base 2 in 16.16 */
#define ATTACHMENT_PERMILLE 18u
#define POOL                400u    /* attachments that recur */
#define LOG2_POOL           566491u /* log2 of it in 16.16 */

/*
 * Median bytes of a text, in 16.16 log2. What the mean leaves after header and attachments is text; HTML beside it and
 * encodings make 1.78 of each byte (measured), a lognormal's mean is exp(sigma^2 / 2) = 1.83 of its median.
 */
static int64_t log2_fixed(uint64_t v)
{
    int64_t whole = 63 - __builtin_clzll(v | 1);
    uint64_t f =
        (v << 16 >> whole) - 65536; /* linear between powers of two: 6 % at most, the mean's tolerance is wider */
    return whole * 65536 + (int64_t)f;
}

static int64_t text_median(const struct gen_plan *plan)
{
    uint64_t mean = plan->mean_bytes;
    uint64_t text = mean * 73 / 100 > HEADER_MEAN_BYTES + 200 ? mean * 73 / 100 - HEADER_MEAN_BYTES : 200;
    return log2_fixed(text * 100 / 178 * 100 / 183);
}

static size_t text_bytes(struct body *b)
{
    uint64_t n = gen_lognormal(&b->r, text_median(b->plan), TEXT_SIGMA);
    return (size_t)MIN(n, 1u << 20) + 20;
}

/* Mean bytes of an attachment message are 0.27 * mean / 0.018; sigma 1.7 natural. */
static size_t attachment_bytes(const struct gen_plan *plan, struct gen_random *r)
{
    int64_t mu = log2_fixed((uint64_t)plan->mean_bytes * 23 / 10);
    uint64_t n = gen_lognormal(r, mu, 160700);
    return (size_t)MIN(n, 3u << 20) + 40;
}

static void boundary_new(struct body *b, char out[64])
{
    static const char *const shapes[] = {"------------%016" G_GINT64_MODIFIER "X",
                                         "----=_NextPart_000_%016" G_GINT64_MODIFIER "X",
                                         "%016" G_GINT64_MODIFIER "x00", "_000_%016" G_GINT64_MODIFIER "x_"};
    const char *shape = shapes[b->index % G_N_ELEMENTS(shapes)];
    uint64_t x = gen_mix(gen_hash(b->plan->seed, b->index, GEN_FOR_BODY) + b->boundaries++);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    g_snprintf(out, 64, shape, x);
#pragma GCC diagnostic pop
}

static void multipart(struct body *b, const char *subtype, const char *parameters, const char *boundary)
{
    buf_printf(b->out, "Content-Type: multipart/%s;%s\n\tboundary=\"%s\"\n\n", subtype, parameters, boundary);
    if (b->boundaries == 1 && b->index % 3 == 0)
        buf_append_str(b->out, "This is a multi-part message in MIME format.\n");
}

static void part_begin(struct body *b, const char *boundary)
{
    buf_printf(b->out, "--%s\n", boundary);
}

static void part_end(struct body *b, const char *boundary)
{
    buf_printf(b->out, "--%s--\n\n", boundary);
}

enum encoding { ENC_NONE, ENC_7BIT, ENC_8BIT, ENC_QP, ENC_BASE64 };

static enum encoding pick_encoding(struct body *b)
{
    uint32_t x = gen_below(&b->r, 100);
    if (b->cs == GEN_ASCII || b->cs == GEN_ISO_2022_JP)
        return x < 40 ? ENC_NONE : x < 80 ? ENC_7BIT : x < 96 ? ENC_QP : ENC_BASE64;
    return x < 50 ? ENC_8BIT : x < 82 ? ENC_QP : x < 97 ? ENC_BASE64 : ENC_NONE;
}

static void put_encoded(struct body *b, enum encoding enc)
{
    struct bytes text = buf_bytes(&b->s->text);
    if (enc == ENC_QP)
        gen_quoted_printable(text, b->out);
    else if (enc == ENC_BASE64)
        gen_base64(text, b->out);
    else
        buf_append_bytes(b->out, text);
}

static void put_encoding_field(struct body *b, enum encoding enc)
{
    static const char *const names[] = {
        [ENC_7BIT] = "7bit", [ENC_8BIT] = "8bit", [ENC_QP] = "quoted-printable", [ENC_BASE64] = "base64"};
    if (enc != ENC_NONE)
        buf_printf(b->out, "Content-Transfer-Encoding: %s\n", names[enc]);
}

static void plain_text(struct body *b, size_t n, struct buf *text)
{
    const struct gen_words *w = b->plan->words;
    if (b->answer && gen_permille(&b->r, 800)) {
        buf_append_str(text, "On ");
        gen_date(gen_time(b->plan, b->index) - 86400, 0, text);
        buf_append_str(text, ", someone wrote:\n\n");
        gen_paragraphs(w, b->cs, &b->r, n / 2, (struct gen_text_style){.prefix = "> ", .columns = 68}, text);
        n -= n / 2;
    }
    gen_paragraphs(w, b->cs, &b->r, n, (struct gen_text_style){.columns = 70}, text);
    gen_plant_line(b->plan, b->index, b->cs, NULL, NULL, text);
    if (gen_permille(&b->r, 10))
        buf_append_str(text, "From here on it is only a footer.\n"); /* what an mbox has to quote */
    if (gen_permille(&b->r, 300)) {
        buf_append_str(text, "-- \n");
        gen_mailbox(b->plan, gen_author(b->plan, b->index), text);
        buf_append_byte(text, '\n');
    }
}

static void html_text(struct body *b, size_t n, struct buf *text)
{
    buf_printf(text,
               "<!DOCTYPE html>\n<html><head>\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=%s\">\n"
               "<style type=\"text/css\">p {margin: 0 0 1em 0; font-family: Arial, sans-serif; font-size: "
               "11pt}</style>\n</head>\n<body>\n",
               gen_charset_name(b->cs));
    gen_paragraphs(b->plan->words, b->cs, &b->r, n * 5 / 4,
                   (struct gen_text_style){.columns = gen_permille(&b->r, 300) ? 900 : 90,
                                           .open = "<p class=\"MsoNormal\"><span style=\"color:#1f2937\">",
                                           .close = "</span></p>"},
                   text);
    gen_plant_line(b->plan, b->index, b->cs, "<p>", "</p>", text);
    buf_append_str(text, "</body></html>\n");
}

enum text_kind { TEXT_PLAIN, TEXT_HTML };

/* A leaf with its header fields; bare: no MIME field at all, as a tenth of old mail has it. */
static void text_leaf(struct body *b, enum text_kind kind, size_t n, bool bare)
{
    enum encoding enc = pick_encoding(b);
    buf_reset(&b->s->text);
    if (kind == TEXT_PLAIN)
        plain_text(b, n, &b->s->text);
    else
        html_text(b, n, &b->s->text);
    if (bare) {
        enc = ENC_NONE;
    } else {
        const char *quote = gen_permille(&b->r, 500) ? "\"" : "";
        buf_printf(b->out, "Content-Type: text/%s; charset=%s%s%s%s\n", kind == TEXT_PLAIN ? "plain" : "html", quote,
                   gen_charset_name(b->cs), quote,
                   kind == TEXT_PLAIN && gen_permille(&b->r, 100) ? "; format=flowed" : "");
        put_encoding_field(b, enc);
        if (gen_permille(&b->r, 150))
            buf_append_str(b->out, "Content-Disposition: inline\n");
    }
    buf_append_byte(b->out, '\n');
    put_encoded(b, enc);
}

static void alternative(struct body *b, size_t n)
{
    char boundary[64];
    boundary_new(b, boundary);
    multipart(b, "alternative", "", boundary);
    part_begin(b, boundary);
    text_leaf(b, TEXT_PLAIN, n, false);
    part_begin(b, boundary);
    text_leaf(b, TEXT_HTML, n, false);
    part_end(b, boundary);
}

/* Base64 of what these files begin with. */
static const struct {
    const char *type, *extension, *magic;
    uint16_t weight; /* of 1000, after the corpus */
} attachments[] = {
    {"image/png", "png", "iVBORw0KGgoAAAANSUhEUgAA", 330},
    {"image/jpeg", "jpg", "/9j/4AAQSkZJRgABAQEASABI", 140},
    {"application/pdf", "pdf", "JVBERi0xLjQKJcOkw7zDtsOf", 140},
    {"application/gzip", "gz", "H4sIAAAAAAAA", 80},
    {"application/octet-stream", "bin", "", 80},
    {"application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx", "UEsDBBQABgAIAAAAIQ", 90},
    {"application/zip", "zip", "UEsDBBQAAAAIA", 60},
    {"image/gif", "gif", "R0lGODlhAQABAIAA", 20},
    {"application/ms-tnef", "dat", "eJ8+Ig", 20},
    {"text/x-patch", "patch", NULL, 40},
};

static void attachment_name(struct body *b, struct gen_random *r, const char *extension)
{
    struct buf *name = &b->s->line;
    buf_reset(name);
    bool strange = gen_permille(r, 120);
    gen_phrase(b->plan->words, strange ? GEN_UTF8_CJK : GEN_ASCII, r, 6 + gen_below(r, 16), name);
    if (!strange) {
        buf_printf(b->out, "filename=\"%.*s.%s\"\n", (int)name->n, (const char *)name->p, extension);
        return;
    }
    buf_append_str(b->out, "filename*=UTF-8''");
    for (size_t i = 0; i < name->n; i++)
        buf_printf(b->out, g_ascii_isalnum(name->p[i]) ? "%c" : "%%%02X", name->p[i]);
    buf_printf(b->out, ".%s\n", extension);
}

/* One that recurs has its own source of random numbers: the same bytes wherever it is attached. */
static void attachment(struct body *b, const char *disposition, bool image)
{
    struct gen_random own = {gen_next(&b->r)};
    bool recurs = own.state % 5 < 2;
    if (recurs)
        own = gen_random_of(b->plan->seed, gen_zipf(&own, POOL, LOG2_POOL), GEN_FOR_ATTACHMENT);
    uint32_t x = gen_below(&own, image ? 470 : 1000);
    size_t k = 0;
    while (x >= attachments[k].weight)
        x -= attachments[k++].weight;
    size_t n = attachment_bytes(b->plan, &own);
    if (recurs) /* a large one would make the mean depend on the seed */
        n = MIN(n, (size_t)b->plan->mean_bytes * 16);
    buf_printf(b->out, "Content-Type: %s\n%sContent-Disposition: %s;\n\t", attachments[k].type,
               attachments[k].magic ? "Content-Transfer-Encoding: base64\n" : "", disposition);
    attachment_name(b, &own, attachments[k].extension);
    if (image)
        buf_printf(b->out, "Content-ID: <image%03u@%08x>\n", b->boundaries, (unsigned)own.state);
    buf_append_byte(b->out, '\n');
    if (attachments[k].magic)
        gen_base64_random(&own, attachments[k].magic, n, b->out);
    else
        gen_paragraphs(b->plan->words, GEN_ASCII, &own, MIN(n, (size_t)65536),
                       (struct gen_text_style){.prefix = "+", .columns = 76}, b->out);
}

static void build_plain(struct body *b)
{
    bool bare = (b->cs == GEN_ASCII && gen_permille(&b->r, 250));
    if (!bare)
        buf_append_str(b->out, "MIME-Version: 1.0\n");
    text_leaf(b, TEXT_PLAIN, text_bytes(b), bare);
}

static void build_html(struct body *b)
{
    buf_append_str(b->out, "MIME-Version: 1.0\n");
    text_leaf(b, TEXT_HTML, text_bytes(b), false);
}

static void build_alternative(struct body *b)
{
    buf_append_str(b->out, "MIME-Version: 1.0\n");
    alternative(b, text_bytes(b));
}

static void build_mixed(struct body *b)
{
    static const uint16_t more[] = {732, 851, 912, 975, 985, 1000}; /* number of attachments, summed shares */
    char boundary[64];
    boundary_new(b, boundary);
    buf_append_str(b->out, "MIME-Version: 1.0\n");
    multipart(b, "mixed", "", boundary);
    part_begin(b, boundary);
    if (gen_permille(&b->r, 500))
        alternative(b, text_bytes(b));
    else
        text_leaf(b, TEXT_PLAIN, text_bytes(b), false);
    uint32_t x = gen_below(&b->r, 1000);
    for (size_t k = 0; k < G_N_ELEMENTS(more) && (k == 0 || x >= more[k - 1]); k++) {
        part_begin(b, boundary);
        attachment(b, "attachment", false);
    }
    part_end(b, boundary);
}

static void build_related(struct body *b)
{
    char boundary[64];
    boundary_new(b, boundary);
    buf_append_str(b->out, "MIME-Version: 1.0\n");
    multipart(b, "related", " type=\"multipart/alternative\";", boundary);
    part_begin(b, boundary);
    alternative(b, text_bytes(b));
    part_begin(b, boundary);
    attachment(b, "inline", true);
    part_end(b, boundary);
}

static void build_footer(struct body *b)
{
    char boundary[64];
    boundary_new(b, boundary);
    buf_append_str(b->out, "MIME-Version: 1.0\n");
    multipart(b, "mixed", "", boundary);
    part_begin(b, boundary);
    alternative(b, text_bytes(b));
    part_begin(b, boundary);
    buf_append_str(
        b->out, "Content-Type: text/plain; charset=\"us-ascii\"\nMIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n"
                "Content-Disposition: inline\n\n_______________________________________________\n"
                "Discussions mailing list\nlist@lists.example.org\n");
    part_end(b, boundary);
}

static void build_signed(struct body *b)
{
    char boundary[64];
    boundary_new(b, boundary);
    buf_append_str(b->out, "MIME-Version: 1.0\n");
    multipart(b, "signed", " micalg=pgp-sha512;\n\tprotocol=\"application/pgp-signature\";", boundary);
    part_begin(b, boundary);
    text_leaf(b, TEXT_PLAIN, text_bytes(b), false);
    part_begin(b, boundary);
    buf_append_str(b->out, "Content-Type: application/pgp-signature; name=\"signature.asc\"\nContent-Description: "
                           "OpenPGP digital signature\n\n"
                           "-----BEGIN PGP SIGNATURE-----\n\n");
    gen_base64_random(&b->r, "iQIzBAEB", 560, b->out);
    buf_append_str(b->out, "=aB3d\n-----END PGP SIGNATURE-----\n\n");
    part_end(b, boundary);
}

static void build_forward(struct body *b)
{
    char boundary[64];
    boundary_new(b, boundary);
    buf_append_str(b->out, "MIME-Version: 1.0\n");
    multipart(b, "mixed", "", boundary);
    part_begin(b, boundary);
    text_leaf(b, TEXT_PLAIN, 80, false);
    part_begin(b, boundary);
    buf_append_str(b->out, "Content-Type: message/rfc822\nContent-Disposition: inline\n\nFrom: ");
    gen_mailbox(b->plan, gen_person(&b->r), b->out);
    buf_append_str(b->out, "\nTo: archive@example.com\nSubject: ");
    gen_phrase(b->plan->words, GEN_ASCII, &b->r, 30, b->out);
    buf_append_str(b->out, "\nDate: ");
    gen_date(gen_time(b->plan, b->index) - 9000, 60, b->out);
    buf_printf(b->out, "\nMessage-ID: <forwarded.%08x@example.com>\nMIME-Version: 1.0\n", gen_below(&b->r, 1u << 31));
    alternative(b, text_bytes(b));
    part_end(b, boundary);
}

static void build_report(struct body *b)
{
    char boundary[64];
    boundary_new(b, boundary);
    buf_append_str(b->out, "MIME-Version: 1.0\n");
    multipart(b, "report", " report-type=delivery-status;", boundary);
    part_begin(b, boundary);
    b->cs = GEN_ASCII;
    text_leaf(b, TEXT_PLAIN, 300, false);
    part_begin(b, boundary);
    buf_append_str(b->out, "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx1.example.net\n\n"
                           "Final-Recipient: rfc822; nobody@example.org\nAction: failed\nStatus: 5.1.1\n"
                           "Diagnostic-Code: smtp; 550 5.1.1 no such user\n\n");
    part_begin(b, boundary);
    buf_append_str(b->out,
                   "Content-Type: text/rfc822-headers\n\nFrom: someone@example.com\nTo: nobody@example.org\nSubject: ");
    gen_phrase(b->plan->words, GEN_ASCII, &b->r, 30, b->out);
    buf_append_str(b->out, "\n\n");
    part_end(b, boundary);
}

static void build_invitation(struct body *b)
{
    char boundary[64];
    boundary_new(b, boundary);
    buf_append_str(b->out, "MIME-Version: 1.0\n");
    multipart(b, "alternative", "", boundary);
    part_begin(b, boundary);
    text_leaf(b, TEXT_PLAIN, 200, false);
    part_begin(b, boundary);
    buf_printf(
        b->out,
        "Content-Type: text/calendar; charset=UTF-8; method=REQUEST\n\nBEGIN:VCALENDAR\nVERSION:2.0\nMETHOD:REQUEST\n"
        "BEGIN:VEVENT\nUID:%016" G_GINT64_MODIFIER "x\nDTSTART:20040301T090000Z\nDTEND:20040301T100000Z\nSUMMARY:",
        gen_next(&b->r));
    gen_phrase(b->plan->words, GEN_ASCII, &b->r, 20, b->out);
    buf_append_str(b->out, "\nEND:VEVENT\nEND:VCALENDAR\n");
    part_end(b, boundary);
}

struct shape {
    uint16_t permille; /* share in the profile; each profile's rows end with what fills the 1000 */
    void (*build)(struct body *b);
};

static const struct shape list_shapes[] = {{ATTACHMENT_PERMILLE / 2, build_mixed},
                                           {30, build_signed},
                                           {40, build_footer},
                                           {2, build_forward},
                                           {20, build_alternative},
                                           {1000, build_plain}};
static const struct shape user_shapes[] = {{ATTACHMENT_PERMILLE + 14, build_mixed},
                                           {8, build_related},
                                           {10, build_signed},
                                           {10, build_forward},
                                           {380, build_alternative},
                                           {60, build_html},
                                           {1000, build_plain}};
static const struct shape office_shapes[] = {{ATTACHMENT_PERMILLE + 14, build_mixed},
                                             {12, build_related},
                                             {40, build_invitation},
                                             {10, build_forward},
                                             {600, build_alternative},
                                             {1000, build_plain}};
static const struct shape bulk_shapes[] = {
    {2, build_mixed}, {20, build_report}, {400, build_alternative}, {1000, build_html}};
static const struct shape *const shapes_of[GEN_PROFILES] = {
    [GEN_LIST] = list_shapes, [GEN_USER] = user_shapes, [GEN_OFFICE] = office_shapes, [GEN_BULK] = bulk_shapes};

void gen_body(const struct gen_plan *plan, uint64_t i, struct gen_scratch *s, struct buf *out)
{
    uint64_t parent;
    struct body b = {
        .plan = plan,
        .index = i,
        .profile = gen_profile_of(plan, i),
        .cs = gen_charset_of(plan, i),
        .answer = gen_parent(plan, i, &parent),
        .r = gen_random_of(plan->seed, i, GEN_FOR_BODY),
        .s = s,
        .out = out,
    };
    const struct shape *shape = shapes_of[b.profile];
    for (uint32_t x = gen_below(&b.r, 1000); x >= shape->permille; shape++)
        x -= shape->permille;
    shape->build(&b);
}
