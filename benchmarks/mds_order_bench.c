/*
 * SORT and THREAD over one large folder: the first time, when columns are read from the store, and again, when they are
 * in memory. The store is filled through mds/ with columns as mail has them (a third of all subjects new, the others
 * replies; threads with References; authors by a power law); no mail is read or parsed.
 *
 *     mds-order-bench DIR [MESSAGES [RUNS [NAME]]]      DIR is made if it is not there, and kept for the next time;
 * NAME: a part of it
 *
 * Wall time and CPU time of the only thread: on a machine with other work the latter is the better measure.
 */
#include "base/hash.h"
#include "mds/mds.h"
#include "mds/query.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

enum { BATCH = 20000, RUNS_MAX = 50, REFERENCES_MAX = 8 };

static double clock_s(clockid_t id)
{
    struct timespec t;

    (void)clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Below n, small numbers more often. */
static uint64_t power_law(uint64_t *random, uint64_t n)
{
    const double u = (double)(next_random(random) >> 11) / 9007199254740992.0;

    return (uint64_t)(pow((double)n, u)) - 1;
}

static void must(int rc, const char *text)
{
    if (rc >= 0)
        return;
    (void)fprintf(stderr, "mds-order-bench: %s\n", text);
    exit(1);
}

/* ---- the store -------------------------------------------------------------------------------- */

struct mail {
    uint64_t subject; /* the number that its words are made of */
    uint64_t references[REFERENCES_MAX];
    unsigned references_n;
};

static void put_subject(uint64_t subject, struct buf *out)
{
    static const char *const words[] = {"meeting", "report",   "invoice", "server", "patch",   "release", "question",
                                        "about",   "update",   "new",     "driver", "linux",   "fix",     "usb",
                                        "order",   "customer", "draft",   "plan",   "minutes", "lunch"};
    uint64_t random = subject;
    const unsigned n = 2 + (unsigned)(next_random(&random) % 5);

    for (unsigned i = 0; i < n; i++)
        buf_printf(out, i ? " %s" : "%s", words[next_random(&random) % (sizeof words / sizeof words[0])]);
    buf_printf(out, " %u", (unsigned)(next_random(&random) % 100000));
}

static uint64_t id_of(uint64_t i)
{
    uint64_t random = i;

    return next_random(&random);
}

/* A new thread, or a reply to one of the last thousand. */
static void make_mail(struct mail *mails, uint64_t i, uint64_t *random)
{
    struct mail *m = &mails[i % 1024];
    const uint64_t back = 1 + power_law(random, 1000);

    if (i < 1024 || next_random(random) % 3 == 0) {
        *m = (struct mail){.subject = next_random(random)};
        return;
    }
    const struct mail parent = mails[(i - back) % 1024];

    *m = parent;
    if (m->references_n == REFERENCES_MAX)
        memmove(m->references + 1, m->references + 2, sizeof m->references[0] * (size_t)(--m->references_n - 1));
    m->references[m->references_n++] = id_of(i - back);
}

static void add(struct mds_txn *txn, uint32_t folder, const struct mail *m, uint64_t i, uint64_t *random)
{
    struct error e;
    struct buf subject = {0}, refs = {0}, sort = {0};
    char from[64], display[64], preview[200];
    const uint64_t author = power_law(random, 20000);

    memset(preview, 'x', sizeof preview);
    put_subject(m->subject, &subject);
    for (unsigned r = 0; r < m->references_n; r++)
        buf_put_u64(&refs, m->references[r]);
    (void)snprintf(from, sizeof from, "user%llu", (unsigned long long)author);
    (void)snprintf(display, sizeof display, "Some Name %llu", (unsigned long long)author);

    const struct mds_sort columns = {.base_subject = buf_bytes(&subject),
                                     .subject_is_reply = m->references_n > 0,
                                     .sort_from = bytes_str(from),
                                     .sort_to = BYTES_LIT("list"),
                                     .display_from = bytes_str(display),
                                     .display_to = BYTES_LIT("The list"),
                                     .reference_hashes = buf_bytes(&refs),
                                     .preview = bytes_of((const uint8_t *)preview, sizeof preview)};
    struct mds_item item = {
        .size = 6000, .size_crlf = 6100, .has_sent_date = true, .sent_date = (int64_t)(i * 60), .msgid_hash = id_of(i)};

    memcpy(item.hash.b, &item.msgid_hash, 8);
    item.sent_date += (int64_t)(next_random(random) % 36000);
    mds_sort_encode(&columns, &sort);

    const struct mds_item_words words = {.sort = buf_bytes(&sort)};

    must(mds_item_add(txn, &item, &words, &e), e.text);

    struct mds_message message = {.folder = folder,
                                  .item = item.id,
                                  .internal_date = (int64_t)(i * 60),
                                  .sent_date = item.sent_date,
                                  .size_crlf = 1000 + next_random(random) % 100000,
                                  .saved_date = 1};

    must(mds_message_add(txn, &message, &e), e.text);
    buf_release(&subject);
    buf_release(&refs);
    buf_release(&sort);
}

static void fill(const char *dir, uint64_t n)
{
    struct mds_archive_info info;
    const struct mds_options options = {.create = true, .archive_name = "bench"};
    struct mds_catalogue *catalogue = NULL;
    struct mail *mails = calloc(1024, sizeof *mails);
    struct mds_env *env = NULL;
    struct mds_folder folder;
    uint64_t random = 1;
    struct error e;

    must(mds_catalogue_open(dir, true, false, &catalogue, &e), e.text);
    must(mds_catalogue_archive_find(catalogue, "bench", true, &info, &e), e.text);
    must(mds_open(info.dir, &options, &env, &e), e.text);
    must(mds_catalogue_archive_made(catalogue, "bench", &e), e.text);
    for (uint64_t i = 0; i < n;) {
        struct mds_txn *txn = NULL;

        must(mds_write_begin(env, &txn, &e), e.text);
        must(mds_folder_find(txn, BYTES_LIT("INBOX"), &folder, &e), e.text);
        for (uint64_t end = i + BATCH < n ? i + BATCH : n; i < end; i++) {
            make_mail(mails, i, &random);
            add(txn, folder.id, &mails[i % 1024], i, &random);
        }
        must(mds_write_commit(&txn, &e), e.text);
    }
    free(mails);
    mds_close(&env);
    mds_catalogue_close(&catalogue);
}

/* ---- measuring ------------------------------------------------------------------------------------ */

struct bench {
    struct mdsq_archive *archive;
    struct mdsq_view *view;
    unsigned runs;
};

struct what {
    const char *name;
    struct mdsq_sort_criterion by;
    int algorithm; /* -1: sorts */
};

static void run(struct bench *b, const struct what *w, struct mdsq_reader *reader)
{
    struct mdsq_error e;
    struct mdsq_sort *sort = NULL;
    struct mdsq_thread *thread = NULL;
    struct mdsq_thread_member member;
    uint32_t uid, n = 0;
    int rc;

    if (w->algorithm < 0) {
        must(mdsq_sort_new(b->view, NULL, &w->by, 1, &sort, &e), e.text);
        while ((rc = mdsq_sort_run(sort, reader, 20, &e)) > 0)
            ;
        must(rc, e.text);
        while (mdsq_sort_next(sort, &uid))
            n++;
    } else {
        must(mdsq_thread_new(b->view, NULL, (enum mdsq_thread_algorithm)w->algorithm, &thread, &e), e.text);
        while ((rc = mdsq_thread_run(thread, reader, 20, &e)) > 0)
            ;
        must(rc, e.text);
        while (mdsq_thread_next(thread, &member))
            n += member.uid != 0;
    }
    if (n != mdsq_view_count(b->view))
        must(-1, "messages are missing in the answer");
    mdsq_sort_free(&sort);
    mdsq_thread_free(&thread);
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void measure(struct bench *b, const struct what *w, struct mdsq_reader *reader)
{
    double wall[RUNS_MAX], cpu[RUNS_MAX], first_wall = 0, first_cpu = 0;

    for (unsigned i = 0; i <= b->runs; i++) {
        const double began = clock_s(CLOCK_MONOTONIC), cpu_began = clock_s(CLOCK_THREAD_CPUTIME_ID);

        run(b, w, reader);

        const double took = (clock_s(CLOCK_MONOTONIC) - began) * 1000,
                     cpu_took = (clock_s(CLOCK_THREAD_CPUTIME_ID) - cpu_began) * 1000;

        if (i == 0) {
            first_wall = took;
            first_cpu = cpu_took;
        } else {
            wall[i - 1] = took;
            cpu[i - 1] = cpu_took;
        }
    }
    qsort(wall, b->runs, sizeof wall[0], compare_doubles);
    qsort(cpu, b->runs, sizeof cpu[0], compare_doubles);
    (void)printf("%-22s %9.1f %9.1f %9.1f %9.1f %9.1f\n", w->name, first_wall, first_cpu, wall[0], wall[b->runs / 2],
                 cpu[b->runs / 2]);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct what whats[] = {
        {"SORT (DATE)", {MDSQ_SORT_DATE, false}, -1},
        {"SORT (SUBJECT)", {MDSQ_SORT_SUBJECT, false}, -1},
        {"SORT (FROM)", {MDSQ_SORT_FROM, false}, -1},
        {"SORT (DISPLAYFROM)", {MDSQ_SORT_DISPLAYFROM, false}, -1},
        {"THREAD REFERENCES", {MDSQ_SORT_DATE, false}, MDSQ_THREAD_REFERENCES},
        {"THREAD REFS", {MDSQ_SORT_DATE, false}, MDSQ_THREAD_REFS},
        {"THREAD ORDEREDSUBJECT", {MDSQ_SORT_DATE, false}, MDSQ_THREAD_ORDEREDSUBJECT},
    };
    struct bench b = {.runs = 5};
    struct mdsq_store *store = NULL;
    struct mdsq_reader *reader = NULL;
    struct mdsq_error e;

    if (argc < 2 || argv[1][0] == '-') { /* no option becomes a store's name */
        (void)fprintf(stderr, "usage: mds-order-bench DIR [MESSAGES [RUNS [NAME]]]\n");
        return 2;
    }
    if (argc > 3 && strtoul(argv[3], NULL, 10) > 0 && strtoul(argv[3], NULL, 10) <= RUNS_MAX)
        b.runs = (unsigned)strtoul(argv[3], NULL, 10);
    if (mdsq_store_open(argv[1], 0, &store, &e) < 0) {
        fill(argv[1], argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000);
        must(mdsq_store_open(argv[1], 0, &store, &e), e.text);
    }
    must(mdsq_archive_open(store, "bench", &b.archive, &e), e.text);
    must(mdsq_reader_begin(b.archive, &reader, &e), e.text);
    must(mdsq_view_open(reader, "INBOX", &b.view, &e), e.text);
    (void)printf("%u messages; ms: first (wall, CPU), then of %u runs best, median, median CPU\n",
                 mdsq_view_count(b.view), b.runs);
    for (size_t i = 0; i < sizeof whats / sizeof whats[0]; i++)
        if (argc < 5 || strstr(whats[i].name, argv[4]))
            measure(&b, &whats[i], reader);
    mdsq_view_close(&b.view);
    mdsq_reader_end(&reader);
    mdsq_archive_close(&b.archive);
    mdsq_store_close(&store);
    return 0;
}
