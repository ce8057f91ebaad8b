/*
 * mime_bench: what parsing costs per message, against bare GMime.
 *
 *     mds-parse-bench [--once] DIR-OR-FILE...      every regular file is one message; read once, then timed in memory
 *
 * Prints, CPU time, best of ROUNDS: XXH3 alone, GMime's g_mime_parser_construct_message
 * alone (the floor of the build), mime_parse with the record's encoding by
 * either parser.
 */
#include "base/hash.h"
#include "mime/mime.h"

#include <ftw.h>
#include <gmime/gmime.h>
#include <stdio.h>
#include <time.h>

#define ROUNDS 5

static struct bytes *items;
static size_t n_items, cap_items, n_bytes;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    gchar *text = NULL;
    gsize size = 0;
    if (type != FTW_F || !g_file_get_contents(path, &text, &size, NULL))
        return 0;
    if (n_items == cap_items) {
        cap_items = cap_items ? cap_items * 2 : 1024;
        items = g_realloc_n(items, cap_items, sizeof(*items));
    }
    items[n_items++] = bytes_of(text, size);
    n_bytes += size;
    return 0;
}

static void run_hash(void)
{
    volatile uint8_t sink = 0;
    for (size_t i = 0; i < n_items; i++)
        sink = sink ^ hash128_of(items[i]).b[0];
}

static void run_gmime(void)
{
    GMimeParser *parser = g_mime_parser_new();
    for (size_t i = 0; i < n_items; i++) {
        GMimeStream *stream = g_mime_stream_mem_new();
        GByteArray *array = g_byte_array_new_take((guint8 *)(uintptr_t)items[i].p, items[i].n);
        g_mime_stream_mem_set_byte_array(GMIME_STREAM_MEM(stream), array);
        g_mime_parser_init_with_stream(parser, stream);
        GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);
        if (message)
            g_object_unref(message);
        g_object_unref(stream);
        g_byte_array_free(array, FALSE);
    }
    g_object_unref(parser);
}

static void run_parser(enum mime_parser_kind kind)
{
    struct mime_parser *p = mime_parser_new(&(struct mime_settings){.parser = kind});
    struct buf out = {0};
    for (size_t i = 0; i < n_items; i++) {
        struct mime_record r;
        mime_parse(p, items[i], &r);
        buf_reset(&out);
        mime_record_encode(&r, &out);
    }
    buf_release(&out);
    mime_parser_free(&p);
}

static void run_mime(void)
{
    run_parser(MIME_PARSER_SCAN);
}

static void run_mime_gmime(void)
{
    run_parser(MIME_PARSER_GMIME);
}

static double best_us(const char *name, void (*run)(void), int rounds)
{
    double best = 1e9;
    for (int i = 0; i < rounds; i++) {
        const double start = now_s();
        run();
        const double s = now_s() - start;
        best = s < best ? s : best;
    }
    const double us = best * 1e6 / (double)n_items;
    printf("%-12s %8.2f us/message %8.0f messages/s %8.1f MB/s\n", name, us, 1e6 / us, (double)n_bytes / best / 1e6);
    return us;
}

int main(int argc, char **argv)
{
    gboolean once = FALSE;
    const GOptionEntry entries[] = {
        {"once", 0, 0, G_OPTION_ARG_NONE, &once, "parse each message once, by the default parser alone", NULL},
        G_OPTION_ENTRY_NULL,
    };
    GOptionContext *context = g_option_context_new("DIR-OR-FILE... - time a message to parse, beside GMime's tree");
    GError *why = NULL;
    g_option_context_add_main_entries(context, entries, NULL);
    const bool fine = g_option_context_parse(context, &argc, &argv, &why);
    g_option_context_free(context);
    if (!fine) {
        fprintf(stderr, "mds-parse-bench: %s\n", why->message);
        g_error_free(why);
        return 2;
    }
    mime_init();
    for (int i = 1; i < argc; i++)
        nftw(argv[i], visit, 32, FTW_PHYS);
    if (n_items == 0) {
        fprintf(stderr, "mds-parse-bench: no message to parse: name files or folders of them (see --help)\n");
        return 2;
    }
    printf("%zu messages, mean %zu bytes\n", n_items, n_bytes / n_items);
    if (once) {
        best_us("mime_parse", run_mime, 1);
        return 0;
    }
    best_us("xxh3", run_hash, ROUNDS);
    const double floor_us = best_us("gmime", run_gmime, ROUNDS);
    const double ours_us = best_us("mime_parse", run_mime, ROUNDS);
    best_us("  by gmime", run_mime_gmime, ROUNDS);
    printf("mime_parse / gmime: %.2f of the time\n", ours_us / floor_us);
    return 0;
}
