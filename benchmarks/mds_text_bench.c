/*
 * mds-text-bench: the content index alone. Texts of real mail, made to grow, without the reading of a vault.
 *
 *     mds-text-bench [--items N] [--dir TMP] [--batch MIB] [--seed S] DIR-OR-FILE...      every regular file
 * is one message
 *
 * Prints what terms, batches, commits and merges cost, the index's size as a share of the text, and what finding takes.
 * Where N is beyond the number of messages they come again, but not the same: a term that stands in one message only is
 * another one then, new with a probability that falls as Heaps' law says (exponent measured on the messages
 * themselves), else one of those that it was before.
 */
#include "base/error.h"
#include "mds/text.h"
#include "mime/mime.h"
#include "mime/parts.h"
#include "mime/words.h"

#include <ftw.h>
#include <glib.h>
#include <math.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

struct source_text {
    enum mds_text_class class;
    uint32_t item;
    size_t at, n; /* in `texts` */
};

static struct {
    struct buf texts;
    GArray *list; /* struct source_text, in order of item */
    uint32_t items;
    struct mime_parser *parser;
    struct buf scratch, mapped;
} source;

static double now_s(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void must(int rc, const struct error *err)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "mds-text-bench: %s\n", err->text);
    exit(1);
}

/* ---- texts of a message ---- */

static void text_keep(enum mds_text_class class, struct bytes utf8)
{
    buf_reset(&source.mapped);
    mime_casemap(utf8, &source.mapped);
    for (size_t i = 0; i < source.mapped.n; i++) {
        if (source.mapped.p[i] == '\n' || source.mapped.p[i] == '\r')
            source.mapped.p[i] = ' ';
    }
    const struct source_text t = {class, source.items, source.texts.n, source.mapped.n};

    buf_append_bytes(&source.texts, buf_bytes(&source.mapped));
    g_array_append_val(source.list, t);
}

#define LEFT_OUT MDS_TEXT_CLASSES /* values of trace fields */

static const struct {
    const char *prefix;
    enum mds_text_class class;
} fields[] = {
    {"subject", MDS_TEXT_SUBJECT}, {"from", MDS_TEXT_FROM},
    {"to", MDS_TEXT_TO},           {"cc", MDS_TEXT_CC},
    {"bcc", MDS_TEXT_BCC},         {"dkim-", LEFT_OUT},
    {"domainkey-", LEFT_OUT},      {"arc-", LEFT_OUT},
    {"received", LEFT_OUT},        {"authentication-results", LEFT_OUT},
    {"x-ms-", LEFT_OUT},           {"x-microsoft-", LEFT_OUT},
    {"x-google-", LEFT_OUT},       {"x-gm-", LEFT_OUT},
    {"x-spam-", LEFT_OUT},         {"x-received", LEFT_OUT},
    {"x-forefront-", LEFT_OUT},
};

static enum mds_text_class class_of(struct bytes name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
        const struct bytes prefix = bytes_str(fields[i].prefix);
        const bool whole = fields[i].class != LEFT_OUT;

        if ((whole ? name.n == prefix.n : name.n >= prefix.n) &&
            bytes_equal_nocase(bytes_slice(name, 0, prefix.n), prefix))
            return fields[i].class;
    }
    return MDS_TEXT_HEADER;
}

static void header_texts(struct bytes block, bool own)
{
    struct bytes name, value, field;
    size_t pos = 0;

    while (mime_header_next(block, &pos, &name, &value, &field)) {
        const enum mds_text_class class = own ? class_of(name) : MDS_TEXT_BODY;

        text_keep(own ? MDS_TEXT_HEADER : MDS_TEXT_BODY, name);
        if (class == LEFT_OUT)
            continue;
        buf_reset(&source.scratch);
        mime_decode_header(value, &source.scratch);
        text_keep(class, buf_bytes(&source.scratch));
    }
}

static void message_texts(struct bytes item)
{
    struct mime_record r;
    struct mime_parts parts;
    struct error err;

    mime_parse(source.parser, item, &r);
    if (mime_parts_decode(r.parts, item.n, &parts, &err) != BASE_OK)
        return;
    for (uint32_t i = 0; i < parts.n; i++) {
        const struct mime_part *p = &parts.v[i];

        header_texts(bytes_slice(item, p->header_off, p->header_len), i == 0);
        if (p->kind == MIME_PART_TEXT || (p->kind == MIME_PART_MESSAGE_ROOT && p->root_kind == MIME_PART_TEXT)) {
            char charset[80];

            (void)snprintf(charset, sizeof charset, "%.*s", (int)p->charset.n, (const char *)p->charset.p);
            buf_reset(&source.scratch);
            mime_decode_text(bytes_slice(item, p->body_off, p->body_len), p->encoding, charset, &source.scratch);
            text_keep(MDS_TEXT_BODY, buf_bytes(&source.scratch));
        }
    }
    mime_parts_release(&parts);
    source.items++;
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    gchar *text = NULL;
    gsize size = 0;

    (void)st;
    (void)ftw;
    if (type == FTW_F && g_file_get_contents(path, &text, &size, NULL))
        message_texts(bytes_of(text, size));
    g_free(text);
    return 0;
}

static struct bytes text_of(const struct source_text *t)
{
    return bytes_of(source.texts.p + t->at, t->n);
}

/* ---- growth ---- */

struct word {
    uint32_t item; /* the first that has it */
    uint32_t variants;
    bool several, even; /* stands in several items; in one of an even number */
};

static struct {
    GHashTable *words; /* text to struct word */
    double exponent;
    uint64_t rng;
} growth;

static uint64_t mix(uint64_t v)
{
    v += UINT64_C(0x9e3779b97f4a7c15);
    v = (v ^ v >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    v = (v ^ v >> 27) * UINT64_C(0x94d049bb133111eb);
    return v ^ v >> 31;
}

static double chance(void)
{
    growth.rng = mix(growth.rng);
    return (double)(growth.rng >> 11) / (double)(UINT64_C(1) << 53);
}

static void growth_learn(void)
{
    uint64_t half = 0, all = 0;

    growth.words = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (guint i = 0; i < source.list->len; i++) {
        const struct source_text *t = &g_array_index(source.list, struct source_text, i);
        struct mime_words w;
        struct bytes term;

        mime_words_init(&w, text_of(t));
        while (mime_words_next(&w, &term)) {
            char *key = g_strndup((const char *)term.p, term.n);
            struct word *word = g_hash_table_lookup(growth.words, key);

            if (word) {
                g_free(key);
            } else {
                word = g_new0(struct word, 1);
                word->item = t->item;
                g_hash_table_insert(growth.words, key, word);
                all++;
            }
            word->several |= word->item != t->item;
            half += t->item % 2 == 0 && !word->even;
            word->even |= t->item % 2 == 0;
        }
    }
    growth.exponent = half ? log2((double)all / (double)half) : 0.6;
    printf("terms of the messages: %llu, of every other one %llu: Heaps' exponent %.3f\n", (unsigned long long)all,
           (unsigned long long)half, growth.exponent);
}

/* Letters and digits stay such, so that the needles that look for them keep their meaning. */
static struct bytes variant(struct bytes term, uint32_t number, uint8_t *out)
{
    const uint64_t seed = mix(number);
    static const char often[] = "EEEEAAAIIINNNRRRSSSTTTOOOLLDDUCMPGHBFYWKV";

    for (size_t i = 0; i < term.n; i++) {
        const uint64_t r = mix(seed + i + term.p[i]);

        out[i] = term.p[i] >= 'A' && term.p[i] <= 'Z' && number   ? (uint8_t)often[r % (sizeof often - 1)]
                 : term.p[i] >= '0' && term.p[i] <= '9' && number ? (uint8_t)('0' + r % 10)
                                                                  : term.p[i];
    }
    return bytes_of(out, term.n);
}

static struct bytes grown(struct bytes term, uint32_t item, uint8_t *out)
{
    char key[MDS_TEXT_TERM_MAX + 1];

    memcpy(key, term.p, term.n);
    key[term.n] = 0;
    struct word *w = g_hash_table_lookup(growth.words, key);

    if (!w || w->several)
        return term;
    if (chance() < pow((double)item / source.items, growth.exponent - 1))
        return variant(term, ++w->variants, out);
    return variant(term, (uint32_t)(chance() * (w->variants + 1)), out);
}

/* ---- building ---- */

struct bench {
    struct mds_text *text;
    size_t batch_bytes;
    uint32_t items;
    uint64_t text_bytes;
    double commit_s, merge_s;
    struct error err;
};

struct pair_to {
    struct mds_text_batch *b;
    enum mds_text_class class;
};

static void pair_add(struct bytes term, void *arg)
{
    const struct pair_to *to = arg;

    mds_text_batch_add(to->b, to->class, term);
}

static void item_add(struct mds_text_batch *b, guint *at, uint32_t item, uint64_t *text_bytes)
{
    const uint32_t from = item % source.items;
    struct mime_pairs pairs[MDS_TEXT_CLASSES] = {0};
    uint8_t room[MDS_TEXT_TERM_MAX];
    uint64_t bytes = 0;

    if (from == 0)
        *at = 0;
    mds_text_batch_begin(b, item + 1, item);
    for (; *at < source.list->len; (*at)++) {
        const struct source_text *t = &g_array_index(source.list, struct source_text, *at);
        struct mime_words w;
        struct bytes term;

        if (t->item != from)
            break;
        bytes += t->n;
        mime_words_init(&w, text_of(t));
        while (mime_words_next(&w, &term))
            mds_text_batch_add(b, t->class, item < source.items ? term : grown(term, item, room));
        mime_pairs_add(&pairs[t->class], text_of(t));
    }
    for (unsigned c = 0; c < MDS_TEXT_CLASSES; c++) {
        mime_pairs_each(&pairs[c], pair_add, &(struct pair_to){b, (enum mds_text_class)c});
    }
    mds_text_batch_text(b, bytes);
    *text_bytes += bytes;
}

static void commit(struct bench *bench, struct mds_text_batch *b)
{
    const double from = now_s(CLOCK_THREAD_CPUTIME_ID);

    must(mds_text_commit(bench->text, b, &bench->err), &bench->err);
    bench->commit_s += now_s(CLOCK_THREAD_CPUTIME_ID) - from;
}

static void merge(struct bench *bench, bool all)
{
    const struct mds_text_merge_options opts = {.all = all};
    const double from = now_s(CLOCK_THREAD_CPUTIME_ID);
    bool more = true;

    while (more)
        must(mds_text_merge(bench->text, &opts, &more, &bench->err), &bench->err);
    bench->merge_s += now_s(CLOCK_THREAD_CPUTIME_ID) - from;
}

static void bench_terms(void)
{
    struct mime_pairs pairs[MDS_TEXT_CLASSES] = {0};
    volatile uint64_t sink = 0;
    const double from = now_s(CLOCK_THREAD_CPUTIME_ID);
    uint64_t n = 0;

    for (guint i = 0; i < source.list->len; i++) {
        const struct source_text *t = &g_array_index(source.list, struct source_text, i);
        struct mime_words w;
        struct bytes term;

        mime_pairs_add(&pairs[t->class], text_of(t));
        mime_words_init(&w, text_of(t));
        for (; mime_words_next(&w, &term); n++)
            sink = sink + term.n;
    }
    printf("terms alone: %.0f MB/s (%.1f M terms of %.2f bytes)\n",
           (double)source.texts.n / 1e6 / (now_s(CLOCK_THREAD_CPUTIME_ID) - from), (double)n / 1e6,
           (double)sink / (double)n);
}

static void bench_build(struct bench *bench)
{
    struct mds_text_batch *b = mds_text_batch_new();
    double add_s = 0, from = now_s(CLOCK_THREAD_CPUTIME_ID);
    guint at = 0;
    size_t peak = 0;

    for (uint32_t i = 0; i < bench->items; i++) {
        item_add(b, &at, i, &bench->text_bytes);
        if (i + 1 == source.items || i + 1 == bench->items || mds_text_batch_bytes(b) > bench->batch_bytes) {
            if (i < source.items)
                add_s += now_s(CLOCK_THREAD_CPUTIME_ID) - from;
            peak = mds_text_batch_bytes(b) > peak ? mds_text_batch_bytes(b) : peak;
            commit(bench, b);
            merge(bench, false);
            from = now_s(CLOCK_THREAD_CPUTIME_ID);
        }
    }
    mds_text_batch_free(&b);
    const uint64_t plain = bench->items < source.items ? bench->text_bytes : source.texts.n;
    struct mds_text_stat st;
    struct mds_text_reader *r = NULL;

    must(mds_text_read_begin(bench->text, &r, &bench->err), &bench->err);
    must(mds_text_stat(r, &st, &bench->err), &bench->err);
    mds_text_read_end(&r);
    printf("terms and batch: %.0f MB/s; commits %.1f s, %.0f MB/s; merges %.1f s, %.0f MB/s; batches to %zu MiB; %llu "
           "segments left\n",
           (double)plain / 1e6 / add_s, bench->commit_s, (double)bench->text_bytes / 1e6 / bench->commit_s,
           bench->merge_s, (double)bench->text_bytes / 1e6 / bench->merge_s, peak >> 20,
           (unsigned long long)st.segments);
    bench->merge_s = 0;
    merge(bench, true);
    printf("to one segment: %.1f s, %.0f MB/s\n", bench->merge_s, (double)bench->text_bytes / 1e6 / bench->merge_s);
}

static void bench_size(struct bench *bench)
{
    struct mds_text_reader *r = NULL;
    struct mds_text_stat st;
    struct rusage use;

    must(mds_text_read_begin(bench->text, &r, &bench->err), &bench->err);
    must(mds_text_stat(r, &st, &bench->err), &bench->err);
    mds_text_read_end(&r);
    const double items = (double)st.items;

    printf("items %llu, text %.1f MB (%.0f bytes each), terms %llu, postings %.1f an item\n",
           (unsigned long long)st.items, (double)st.text_bytes / 1e6, (double)st.text_bytes / items,
           (unsigned long long)st.terms, (double)st.postings / items);
    printf("bytes an item: dictionary %.1f, postings %.1f, grams %.1f, pages in use %.1f: %.2f %% of the text; file "
           "%.1f MB\n",
           (double)st.dictionary_bytes / items, (double)st.postings_bytes / items, (double)st.grams_bytes / items,
           (double)st.used_bytes / items, 100.0 * (double)st.used_bytes / (double)st.text_bytes,
           (double)st.file_bytes / 1e6);
    getrusage(RUSAGE_SELF, &use);
    printf("resident at most: %.0f MB, of which texts %.0f MB\n", (double)use.ru_maxrss / 1e3,
           (double)source.texts.n / 1e6);
}

/* ---- finding ---- */

static int by_double(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void find_time(struct bench *bench, struct mds_text_reader *r, const char *needle, enum mds_match match,
                      uint32_t classes)
{
    static const char *const names[] = {"contains", "prefix", "suffix", "whole"};
    struct mds_text_cost cost;
    double ms[9], cpu[9];
    uint64_t hits = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(ms); i++) {
        const double from = now_s(CLOCK_MONOTONIC), cpu_from = now_s(CLOCK_THREAD_CPUTIME_ID);
        roaring_bitmap_t *out = NULL;

        must(mds_text_find(r, bytes_str(needle), match, classes, NULL, &out, &bench->err), &bench->err);
        ms[i] = (now_s(CLOCK_MONOTONIC) - from) * 1e3;
        cpu[i] = (now_s(CLOCK_THREAD_CPUTIME_ID) - cpu_from) * 1e3;
        hits = roaring_bitmap_get_cardinality(out);
        roaring_bitmap_free(out);
    }
    must(mds_text_count(r, bytes_str(needle), match, &cost, &bench->err), &bench->err);
    const double first = ms[0];

    qsort(ms, G_N_ELEMENTS(ms), sizeof *ms, by_double);
    qsort(cpu, G_N_ELEMENTS(cpu), sizeof *cpu, by_double);
    printf("  %-8s %-24s %s %9llu items, %8llu terms, %9llu bytes: first %8.2f ms, median %8.2f ms (CPU %.2f), max "
           "%8.2f ms\n",
           names[match], needle,
           classes == MDS_TEXT_MASK_TEXT             ? "text   "
           : classes == MDS_TEXT_MASK(MDS_TEXT_BODY) ? "body   "
                                                     : "subject",
           (unsigned long long)hits, (unsigned long long)cost.terms, (unsigned long long)cost.bytes, first,
           ms[G_N_ELEMENTS(ms) / 2], cpu[G_N_ELEMENTS(cpu) / 2], ms[G_N_ELEMENTS(ms) - 1]);
}

static void bench_find(struct bench *bench)
{
    static const struct {
        const char *needle;
        enum mds_match match;
    } finds[] = {
        {"QXZVQJ", MDS_MATCH_CONTAINS},    {"NOSUCHWORDANYWHERE", MDS_MATCH_CONTAINS},
        {"ZZQ", MDS_MATCH_CONTAINS},       {"UNIVERS", MDS_MATCH_CONTAINS},
        {"WEDNESDAY", MDS_MATCH_CONTAINS}, {"HANDSHAKE", MDS_MATCH_CONTAINS},
        {"PLEASE", MDS_MATCH_CONTAINS},    {"ING", MDS_MATCH_CONTAINS},
        {"THE", MDS_MATCH_CONTAINS},       {"ERS", MDS_MATCH_CONTAINS},
        {"2019", MDS_MATCH_CONTAINS},      {"ER", MDS_MATCH_CONTAINS},
        {"QX", MDS_MATCH_CONTAINS},        {"E", MDS_MATCH_CONTAINS},
        {"7", MDS_MATCH_CONTAINS},         {"\xd0\x96", MDS_MATCH_CONTAINS},
        {"PLEASE", MDS_MATCH_WHOLE},       {"HANDSHAKE", MDS_MATCH_WHOLE},
        {"NOSUCHWORD", MDS_MATCH_WHOLE},   {"UNIVERS", MDS_MATCH_PREFIX},
        {"S", MDS_MATCH_PREFIX},           {"TION", MDS_MATCH_SUFFIX},
        {"S", MDS_MATCH_SUFFIX},
    };
    struct mds_text_reader *r = NULL;

    must(mds_text_read_begin(bench->text, &r, &bench->err), &bench->err);
    for (size_t i = 0; i < G_N_ELEMENTS(finds); i++)
        find_time(bench, r, finds[i].needle, finds[i].match, MDS_TEXT_MASK_TEXT);
    find_time(bench, r, "ER", MDS_MATCH_CONTAINS, MDS_TEXT_MASK(MDS_TEXT_SUBJECT));
    find_time(bench, r, "ING", MDS_MATCH_CONTAINS, MDS_TEXT_MASK(MDS_TEXT_SUBJECT));
    mds_text_read_end(&r);
}

int main(int argc, char **argv)
{
    gint items = 0, batch = 64;
    gchar *dir = NULL;
    gint64 seed = 1;
    const GOptionEntry entries[] = {
        {"items", 0, 0, G_OPTION_ARG_INT, &items, "how many items (default: the messages, once)", "N"},
        {"batch", 0, 0, G_OPTION_ARG_INT, &batch, "MiB of a batch in memory (64)", "MIB"},
        {"dir", 0, 0, G_OPTION_ARG_FILENAME, &dir, "where the index is made (removed and made anew: DIR/text)", "DIR"},
        {"seed", 0, 0, G_OPTION_ARG_INT64, &seed, "of the growth", "S"},
        {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL},
    };
    GOptionContext *context = g_option_context_new("DIR-OR-FILE...");
    GError *error = NULL;
    struct bench bench = {0};

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || argc < 2 || !dir) {
        fprintf(stderr, "mds-text-bench: %s\n", error ? error->message : "--dir and messages are needed");
        return 2;
    }
    mime_init();
    growth.rng = (uint64_t)seed;
    source.parser = mime_parser_new(&(struct mime_settings){0});
    source.list = g_array_new(FALSE, FALSE, sizeof(struct source_text));
    for (int i = 1; i < argc; i++)
        (void)nftw(argv[i], visit, 32, FTW_PHYS);
    if (source.items == 0) {
        fprintf(stderr, "mds-text-bench: no messages there\n");
        return 2;
    }
    printf("messages %u, text %.1f MB\n", source.items, (double)source.texts.n / 1e6);
    growth_learn();
    bench_terms();
    bench.items = items > 0 ? (uint32_t)items : source.items;
    bench.batch_bytes = (size_t)batch << 20;
    must(mds_text_open(dir, &(struct mds_text_options){.create = true, .identity = BYTES_LIT("bench")}, &bench.text,
                       &bench.err),
         &bench.err);
    must(mds_text_drop(bench.text, &bench.err), &bench.err);
    bench_build(&bench);
    bench_size(&bench);
    bench_find(&bench);
    mds_text_close(&bench.text);
    return 0;
}
