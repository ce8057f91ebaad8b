/*
 * gen_message: the header block. Order and share of the fields follow the corpus ("Header field names"), kept to some
 * twenty fields: a mailing list's thirty-five are mostly ARC and spam reports, which cost a parser the same as any
 * other.
 */
#include "gen_message.h"

#include "base/error.h"
#include "gen_plant.h"

#include <glib.h>

void gen_scratch_release(struct gen_scratch *s)
{
    buf_release(&s->text);
    buf_release(&s->line);
    buf_release(&s->message);
}

static int zone_of(uint32_t person)
{
    static const int zones[] = {0, 60, 120, -300, -480, 480, 540, 330, 60, 120, -420, 0};
    return zones[person % G_N_ELEMENTS(zones)];
}

static void put_received(struct gen_random *r, int64_t when, unsigned hop, struct buf *out)
{
    uint64_t x = gen_next(r);
    buf_printf(out,
               "Received: from mx%u.example.net (mx%u.example.net [192.0.2.%u])\n"
               "\tby in%u.example.com (Postfix) with ESMTP%s id %08X%03X\n"
               "\tfor <archive@example.com>; ",
               hop, hop, (unsigned)(x & 255), (unsigned)(x >> 8 & 7), (x >> 11 & 1) ? "S" : "", (unsigned)(x >> 32),
               (unsigned)(x >> 12 & 0xfff));
    gen_date(when - (int64_t)hop * 2, hop < 2 ? 0 : zone_of((uint32_t)(x >> 20)), out);
    if ((x >> 16 & 3) == 0)
        buf_append_str(out, " (UTC)");
    buf_append_byte(out, '\n');
}

static void put_dkim(struct gen_random *r, int64_t when, struct buf *out)
{
    buf_printf(out,
               "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net;\n"
               "\ts=s%u; t=%" G_GINT64_FORMAT "; h=from:to:cc:subject:date:message-id;\n\tbh=",
               2000 + gen_below(r, 30), when);
    gen_base64_random(r, "", 32, out);
    out->n--; /* the field goes on */
    buf_append_str(out, ";\n\tb=");
    size_t at = out->n;
    gen_base64_random(r, "", 192, out);
    out->n--;
    for (size_t i = at; i < out->n;
         i++) /* folded base64: lines continue with a tab, so two passes in place would not do */
        if (out->p[i] == '\n') {
            buf_append_byte(out, 0);
            memmove(out->p + i + 2, out->p + i + 1, out->n - i - 2);
            out->p[i + 1] = '\t';
        }
    buf_append_byte(out, '\n');
}

static void put_recipients(const struct gen_plan *plan, const char *name, const uint32_t *people, unsigned n,
                           struct buf *out)
{
    size_t line = out->n;
    buf_append_str(out, name);
    for (unsigned k = 0; k < n; k++) {
        buf_append_byte(out, ' ');
        gen_mailbox(plan, people[k], out);
        if (k + 1 < n) {
            buf_append_byte(out, ',');
            if (out->n - line > 50) {
                buf_append_byte(out, '\n');
                line = out->n;
            }
        }
    }
    buf_append_byte(out, '\n');
}

#define RECIPIENTS_MAX 120u

static void put_people(const struct gen_plan *plan, uint64_t i, enum gen_profile profile, const uint64_t *chain,
                       unsigned depth, struct gen_random *r, struct buf *out)
{
    uint32_t people[RECIPIENTS_MAX];
    unsigned n = 0;
    put_recipients(plan, "From:", (uint32_t[]){gen_author(plan, i)}, 1, out);
    if (profile == GEN_BULK) {
        buf_append_str(out, "Reply-To: no-reply@news.example.com\nTo: archive@example.com\n");
        return;
    }
    people[n++] = depth > 0 ? gen_author(plan, chain[depth - 1]) : gen_person(r);
    put_recipients(plan, "To:", people, n, out);
    uint64_t cc = profile == GEN_LIST ? gen_lognormal(r, 2 * 65536, 80000) : gen_lognormal(r, 0, 90000);
    for (n = 0; n < MIN(cc, RECIPIENTS_MAX); n++)
        people[n] = gen_person(r);
    if (n > 0)
        put_recipients(plan, "Cc:", people, n, out);
}

static void put_subject(const struct gen_plan *plan, uint64_t i, bool answer, struct gen_scratch *s,
                        struct gen_random *r, struct buf *out)
{
    static const char *const re[] = {"Re: ", "Re: ", "Re: ", "RE: ", "AW: ", "Fwd: "};
    const char *prefix = answer ? re[gen_below(r, G_N_ELEMENTS(re))] : "";
    buf_reset(&s->line);
    gen_subject(plan, i, &s->line);
    gen_plant_subject(plan, i, &s->line);
    buf_printf(out, "Subject: %s", prefix);
    gen_header_text(buf_bytes(&s->line), gen_charset_of(plan, i), gen_permille(r, 400), 9 + strlen(prefix), out);
    buf_append_byte(out, '\n');
}

static void put_thread(const struct gen_plan *plan, const uint64_t *chain, unsigned depth, struct gen_random *r,
                       struct buf *out)
{
    if (depth == 0)
        return;
    buf_append_str(out, "In-Reply-To: ");
    gen_message_id(plan, chain[depth - 1], out);
    buf_append_byte(out, '\n');
    if (gen_permille(r, 50))
        return; /* some programs know In-Reply-To only */
    buf_append_str(out, "References:");
    for (unsigned k = 0; k < depth; k++) {
        buf_append_str(out, k == 0 ? " " : "\n\t");
        gen_message_id(plan, chain[k], out);
    }
    buf_append_byte(out, '\n');
}

static void put_list(struct gen_random *r, uint64_t thread, struct buf *out)
{
    unsigned list = (unsigned)(thread % 7);
    buf_printf(out, "Precedence: bulk\nList-Id: Discussions <list%u.lists.example.org>\n", list);
    if (gen_permille(r, 600))
        buf_printf(out,
                   "List-Unsubscribe: <https://lists.example.org/%u>,\n\t<mailto:list%u-leave@lists.example.org>\n",
                   list, list);
    if (gen_permille(r, 300))
        buf_printf(out, "List-Post: <mailto:list%u@lists.example.org>\nSender: list%u-bounces@lists.example.org\n",
                   list, list);
}

static void put_office(struct gen_random *r, struct buf *out)
{
    uint64_t x = gen_next(r), y = gen_next(r);
    buf_printf(out,
               "Thread-Topic: %08X\nThread-Index: AdX%08X%08XQA==\nAccept-Language: en-US\nContent-Language: en-US\n"
               "X-MS-Has-Attach:\nX-MS-TNEF-Correlator:\nx-originating-ip: [198.51.100.%u]\n"
               "X-MS-Exchange-CrossTenant-Network-Message-Id: %08x-%04x-%04x-%04x-%012" G_GINT64_MODIFIER "x\n",
               (unsigned)x, (unsigned)(x >> 32), (unsigned)y, (unsigned)(y >> 32 & 255), (unsigned)x,
               (unsigned)(x >> 32 & 0xffff), (unsigned)(x >> 48), (unsigned)(y & 0xffff), y >> 16);
}

static void put_header(const struct gen_plan *plan, uint64_t i, struct gen_scratch *s, struct buf *out)
{
    static const char *const agents[] = {
        "User-Agent: Mutt/1.5.20 (2009-06-14)", "User-Agent: Mozilla Thunderbird",
        "X-Mailer: git-send-email 2.39.2",      "X-Mailer: Microsoft Outlook 16.0",
        "User-Agent: NeoMutt/20220429",         "X-Mailer: Apple Mail (2.3696.120.41.1.1)",
    };
    struct gen_random r = gen_random_of(plan->seed, i, GEN_FOR_HEADER);
    enum gen_profile profile = gen_profile_of(plan, i);
    uint64_t chain[GEN_CHAIN_MAX];
    unsigned depth = gen_chain(plan, i, chain);
    uint32_t author = gen_author(plan, i);
    int64_t when = gen_time(plan, i);

    buf_append_str(out, "Return-Path: <");
    gen_address(plan, author, out);
    buf_append_str(out, ">\nDelivered-To: archive@example.com\n");
    if (gen_permille(&r, 500))
        buf_append_str(out, "X-Original-To: archive@example.com\n");
    unsigned hops = 2 + gen_below(&r, 3) + (gen_permille(&r, 100) ? 5 : 0);
    for (unsigned hop = 0; hop < hops; hop++)
        put_received(&r, when, hop, out);
    if (gen_permille(&r, 350))
        put_dkim(&r, when, out);
    if (gen_permille(&r, 300))
        buf_append_str(out, "Authentication-Results: in.example.com;\n\tdkim=pass header.d=example.net; spf=pass\n"
                            " smtp.mailfrom=example.net; dmarc=none\n");
    if (gen_permille(&r, 250)) {
        uint32_t score = gen_below(&r, 40);
        buf_printf(out,
                   "X-Spam-Status: No, score=-%u.%u required=5.0 tests=BAYES_00,\n\tHTML_MESSAGE autolearn=ham "
                   "version=3.4.6\n",
                   score / 10, score % 10);
    }
    if (profile == GEN_LIST)
        put_list(&r, gen_root(plan, i), out);
    put_people(plan, i, profile, chain, depth, &r, out);
    put_subject(plan, i, depth > 0, s, &r, out);
    buf_append_str(out, "Date: ");
    gen_date(when - gen_below(&r, 120), zone_of(author), out);
    buf_append_str(out, "\nMessage-ID: ");
    gen_message_id(plan, i, out);
    buf_append_byte(out, '\n');
    put_thread(plan, chain, depth, &r, out);
    if (gen_permille(&r, 600))
        buf_printf(out, "%s\n", agents[author % G_N_ELEMENTS(agents)]);
    if (profile == GEN_OFFICE)
        put_office(&r, out);
    if (gen_permille(&r, 30))
        buf_append_str(out, "Importance: high\nX-Priority: 1\n");
}

static void to_crlf(struct bytes v, struct buf *out)
{
    buf_reset(out);
    while (v.n > 0) {
        const uint8_t *end = memchr(v.p, '\n', v.n);
        size_t n = end ? (size_t)(end - v.p) : v.n;
        buf_append(out, v.p, n);
        if (end) {
            buf_append(out, "\r\n", 2);
            n++;
        }
        v = bytes_slice(v, n, v.n - n);
    }
}

void gen_message(const struct gen_plan *plan, uint64_t i, struct gen_scratch *s, struct buf *out)
{
    i = gen_original(plan, i);
    struct gen_random r = gen_random_of(plan->seed, i, GEN_FOR_TORTURE);
    buf_reset(out);
    if (plan->torture && gen_permille(&r, 20)) {
        gen_torture(plan, i, s, out);
        return;
    }
    bool crlf = gen_permille(&r, 30);
    struct buf *b = crlf ? &s->message : out;
    buf_reset(b);
    put_header(plan, i, s, b);
    gen_body(plan, i, s, b);
    if (crlf)
        to_crlf(buf_bytes(b), out);
}
