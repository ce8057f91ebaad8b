/* gen_plant: see the header. */
#include "gen_plant.h"

#include <glib.h>
#include <stdio.h>

#define LONE           0 /* in place of one_in */
#define COPIES_WITHIN  1000u
#define SUBJECT_WORD   "xoqumefi"
#define SUBJECT_ONE_IN 150u
#define PERSON         20u /* writes half a per cent of all messages */

/* In bodies. A message holds string k if the k-th mix of its draw is divisible by one_in. */
static const struct plant {
    const char *class;
    const char *utf8, *latin1; /* latin1: also in charsets that are made from it; NULL: ASCII, in every charset */
    uint32_t one_in;
} plants[] = {
    {"word-10%", "oxaqi", NULL, 10},
    {"word-1%", "xelodaquny", NULL, 100},
    {"word-0.1%", "zqumarotiv", NULL, 1000},
    {"word-0.01%", "taxoqelim", NULL, 10000},
    {"word-one", "quzixobary", NULL, LONE},
    {"phrase-0.1%", "vexaqoti of the marizquo", NULL, 1000},
    {"separators-0.1%", "xq-foramiz/urexq@dapiqx.example", NULL, 1000},
    {"accents-0.2%", "fr\xc3\xa4q\xc3\xbcxal", "fr\xe4q\xfcxal", 160},
    {"two-characters-0.5%", "~|", NULL, 200},
};

/* What the file asks for beside whole planted strings: a piece of one, and strings that occur nowhere or anyhow. */
static const struct {
    const char *class, *of, *string; /* of: the plant's class, NULL: none has it; "": not known */
} more[] = {
    {"word-piece-0.1%", "word-0.1%", "qumarot"},
    {"phrase-piece-0.1%", "phrase-0.1%", "qoti of the mari"},
    {"upper-case-0.1%", "word-0.1%", "ZQUMAROTIV"},
    {"accents-upper-case-0.2%", "accents-0.2%", "FR\xc3\x84Q\xc3\x9cXAL"},
    {"one-character-0.5%", "two-characters-0.5%", "|"},
    {"absent", NULL, "zzqqxxjjkkvv"},
    {"absent-frequent-pieces", NULL, "serverkernelinvoicebudget"},
    {"absent-one-letter-off", NULL, "zqumarotix"},
    {"absent-phrase", NULL, "vexaqoti of the zqumarotiv"},
    {"absent-characters", NULL, "\xe5\xb3\xa0\xe8\xbe\xbb\xe3\x80\x87"},
    {"one-character", "", "e"},
    {"two-characters", "", "th"},
    {"two-characters-rare", "", "zq"},
    {"stop-words-4", "", "of the to and"},
    {"stop-words-3", "", "is the in"},
};

static uint64_t draw(const struct gen_plan *plan, uint64_t i)
{
    return gen_hash(plan->seed, i, GEN_FOR_PLANT);
}

static bool has_latin(enum gen_charset cs)
{
    return cs == GEN_UTF8_LATIN || cs == GEN_LATIN1 || cs == GEN_WINDOWS_1252;
}

/* The k-th string is original i's. Bulk mail has none with accents: some of it is ASCII whatever its charset. */
static bool holds(const struct gen_plan *plan, uint64_t i, uint64_t x, size_t k)
{
    if (plants[k].one_in == LONE)
        return i == plan->lone;
    if (gen_mix(x + k) % plants[k].one_in != 0)
        return false;
    return !plants[k].latin1 || (has_latin(gen_charset_of(plan, i)) && gen_profile_of(plan, i) != GEN_BULK);
}

uint64_t gen_plant_lone(const struct gen_plan *plan)
{
    for (uint64_t i = 0;; i++) {
        bool copied = gen_original(plan, i) != i;
        for (uint64_t k = i + 1; k <= i + COPIES_WITHIN && !copied; k++)
            copied = gen_original(plan, k) == i;
        if (!copied)
            return i;
    }
}

void gen_plant_line(const struct gen_plan *plan, uint64_t i, enum gen_charset cs, const char *open, const char *close,
                    struct buf *out)
{
    const uint64_t x = draw(plan, i);
    bool any = false;
    for (size_t k = 0; k < G_N_ELEMENTS(plants); k++) {
        if (!holds(plan, i, x, k))
            continue;
        if (any)
            buf_append_str(out, ", ");
        else
            buf_append_str(out, open ? open : "");
        any = true;
        const bool as_latin1 = plants[k].latin1 && cs != GEN_UTF8_LATIN;
        buf_append_str(out, as_latin1 ? plants[k].latin1 : plants[k].utf8);
    }
    if (any) {
        buf_append_str(out, close ? close : "");
        buf_append_byte(out, '\n');
    }
}

static bool has_subject(const struct gen_plan *plan, uint64_t i)
{
    return draw(plan, gen_root(plan, i)) % SUBJECT_ONE_IN == 0;
}

void gen_plant_subject(const struct gen_plan *plan, uint64_t i, struct buf *out)
{
    if (has_subject(plan, i))
        buf_append_str(out, " " SUBJECT_WORD);
}

/* ---- answers ---------------------------------------------------------------------------------------------- */

struct counts {
    uint64_t plants[G_N_ELEMENTS(plants)];
    uint64_t subject, from;
};

static void count(const struct gen_plan *plan, uint64_t n, struct counts *out)
{
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t original = gen_original(plan, i), x = draw(plan, original);
        for (size_t k = 0; k < G_N_ELEMENTS(plants); k++)
            out->plants[k] += holds(plan, original, x, k);
        out->subject += has_subject(plan, original);
        out->from += gen_author(plan, original) == PERSON;
    }
}

static void put_count(const struct counts *counts, const char *class, struct buf *out)
{
    if (!class) {
        buf_append_str(out, "0");
        return;
    }
    for (size_t k = 0; k < G_N_ELEMENTS(plants); k++)
        if (strcmp(plants[k].class, class) == 0) {
            buf_printf(out, "%" G_GUINT64_FORMAT, counts->plants[k]);
            return;
        }
    buf_append_str(out, "-");
}

static void put_answers(const struct gen_plan *plan, const struct counts *counts, struct buf *out)
{
    static const char *const keys[] = {"BODY", "TEXT"};
    for (size_t key = 0; key < G_N_ELEMENTS(keys); key++) {
        for (size_t k = 0; k < G_N_ELEMENTS(plants); k++)
            buf_printf(out, "%s\t%s\t%" G_GUINT64_FORMAT "\t%s\n", plants[k].class, keys[key], counts->plants[k],
                       plants[k].utf8);
        for (size_t k = 0; k < G_N_ELEMENTS(more); k++) {
            buf_printf(out, "%s\t%s\t", more[k].class, keys[key]);
            put_count(counts, more[k].of, out);
            buf_printf(out, "\t%s\n", more[k].string);
        }
    }
    buf_printf(out,
               "header-0.7%%\tSUBJECT\t%" G_GUINT64_FORMAT "\t" SUBJECT_WORD
               "\nheader-piece-0.7%%\tSUBJECT\t%" G_GUINT64_FORMAT "\tqumef\nheader-absent\tSUBJECT\t0\txoqumefa\n",
               counts->subject, counts->subject);
    struct buf address = {0};
    gen_address(plan, PERSON, &address);
    buf_printf(out, "header-0.5%%\tFROM\t%" G_GUINT64_FORMAT "\t%.*s\n", counts->from, (int)address.n,
               (const char *)address.p);
    buf_release(&address);
}

int gen_answers_write(const struct gen_plan *plan, uint64_t n, const char *arguments, const char *file,
                      struct error *err)
{
    struct counts counts = {0};
    struct buf text = {0};
    count(plan, n, &counts);
    buf_printf(&text, "# mds-gen answers 1: %s\n", arguments);
    put_answers(plan, &counts, &text);
    FILE *f = fopen(file, "we");
    bool written = f && fwrite(text.p, 1, text.n, f) == text.n;
    if (f && fclose(f) != 0)
        written = false;
    buf_release(&text);
    return written ? 0 : error_errno(err, "cannot write %s", file);
}
