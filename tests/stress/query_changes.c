/*
 * query_changes: sessions of one process that file, flag, copy, move and expunge in two archives, others that follow along,
 * watches that come and go, and a writer of its own (as a build in the same archive) between them.
 *
 *     stress_query_changes [rounds]        SEED= repeats
 *
 * A plain main, so that it runs under TSan too. Checks: every change has one outcome, done callbacks come in the order of
 * submission, a follower's view is the folder's, every message has its own bytes, and mds_verify finds nothing at the end.
 */
#include "mds/mds.h"
#include "mds/query.h"
#include "test_support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SESSIONS = 6, FOLLOWERS = 2, ARCHIVES = 2, ROUNDS = 150, PIPELINE = 5 };

#define CHECK(c, ...)                                                                                                  \
    do {                                                                                                               \
        if (!(c)) {                                                                                                    \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #c);                                                    \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        struct mdsq_error err = {0};                                                                                   \
        const int rc_ = (call);                                                                                        \
        CHECK(rc_ >= 0, "%s", err.text);                                                                               \
    } while (0)

static const char *const folders[] = {"INBOX", "Work", "Work/Old", "Trash"};
enum { FOLDERS = sizeof folders / sizeof folders[0] };

struct stress {
    struct mdsq_store *store;
    const char *store_dir;
    unsigned rounds;
    atomic_bool is_over;
    atomic_uint told;
};

struct session {
    struct stress *stress;
    struct mdsq_archive *archive;
    struct mdsq_reader *reader;
    struct rng rng;
    unsigned number, filed;
    atomic_uint done; /* callbacks so far */
    uint64_t changed;
};

/* One change under way. */
struct job {
    struct session *session;
    struct mdsq_change *change;
    unsigned number; /* of its session's */
    unsigned done_at;
};

static unsigned below(struct session *s, unsigned n)
{
    return (unsigned)rng_below(&s->rng, n);
}

static void on_done(void *arg)
{
    struct job *job = arg;

    job->done_at = atomic_fetch_add(&job->session->done, 1);
}

/* ---- sessions that change ------------------------------------------------------------------------ */

static struct mdsq_change *make_append(struct session *s)
{
    struct mdsq_append message = {.flags = {.flags = below(s, 32)}};
    struct mdsq_change *change = NULL;
    char text[120];
    /* One in four was filed before, by somebody. */
    const unsigned body = below(s, 4) ? s->number * 100000 + s->filed++ : below(s, 20);
    const int n = snprintf(text, sizeof text, "Subject: m%u\r\n\r\nbody %u\r\n", body, body);

    OK(mdsq_draft_new(s->archive, &message.draft, &err));
    OK(mdsq_draft_write(message.draft, text, (size_t)n, &err));
    if (below(s, 2))
        OK(mdsq_draft_finish(message.draft, &err));
    OK(mdsq_change_append(s->archive, folders[below(s, FOLDERS)], &message, 1, &change, &err));
    return change;
}

static struct mdsq_change *make_of_view(struct session *s, unsigned kind)
{
    static const struct mdsq_bytes word = {(const uint8_t *)"Work", 4};
    const char *to = folders[below(s, FOLDERS)];
    struct mdsq_change *change = NULL;
    struct mdsq_view *view = NULL;
    struct mdsq_set *set = NULL;
    char text[40];

    OK(mdsq_view_open(s->reader, folders[below(s, FOLDERS)], &view, &err));

    const uint32_t count = mdsq_view_count(view);
    const uint32_t first = count ? mdsq_view_uid(view, 1 + below(s, count)) : 1;
    const int n = snprintf(text, sizeof text, "%u:%u", first, first + below(s, 5));
    const struct mdsq_flags flags = {.flags = kind == 0 ? 8 : below(s, 8), .keywords = &word, .keywords_n = below(s, 2)};

    OK(mdsq_set_parse(view, text, (size_t)n, true, &set, &err));
    if (kind < 2)
        OK(mdsq_change_store(s->archive, view, set, below(s, 3), &flags, NULL, &change, &err));
    else if (kind == 2)
        OK(mdsq_change_expunge(s->archive, view, set, &change, &err));
    else if (kind == 3)
        OK(mdsq_change_copy(s->archive, view, set, to, &change, &err));
    else
        OK(mdsq_change_move(s->archive, view, set, to, &change, &err));
    mdsq_set_free(&set);
    mdsq_view_close(&view);
    return change;
}

static struct mdsq_change *make_of_folder(struct session *s)
{
    struct mdsq_change *change = NULL;
    char name[40], to[40];

    (void)snprintf(name, sizeof name, "tmp/%u", below(s, 4));
    (void)snprintf(to, sizeof to, "tmp%u/%u", below(s, 2), below(s, 4));
    switch (below(s, 4)) {
    case 0:
        OK(mdsq_change_create(s->archive, name, 0, &change, &err));
        break;
    case 1:
        OK(mdsq_change_delete(s->archive, below(s, 2) ? name : to, &change, &err));
        break;
    case 2:
        OK(mdsq_change_rename(s->archive, name, to, &change, &err));
        break;
    default:
        OK(mdsq_change_subscribe(s->archive, name, below(s, 2), &change, &err));
    }
    return change;
}

static void check_outcome(struct session *s, const struct mdsq_change *change)
{
    struct mdsq_outcome o;
    struct mdsq_error err = {0};
    const int rc = mdsq_change_outcome(change, &o, &err);

    /* Only folders below tmp come and go. */
    CHECK(rc == 0 || rc == MDSQ_ERR_NOTFOUND || rc == MDSQ_ERR_EXISTS || rc == MDSQ_ERR_USAGE, "%d %s", rc, err.text);
    if (rc == 0 && o.source)
        CHECK(mdsq_set_count(o.source) == mdsq_set_count(o.dest), "copied and new differ");
    if (rc == 0 && o.changed)
        s->changed += mdsq_set_count(o.changed);
}

static void run_some(struct session *s)
{
    struct job jobs[PIPELINE];
    const unsigned n = 1 + below(s, PIPELINE), before = atomic_load(&s->done);

    OK(mdsq_reader_renew(s->reader, &err));
    for (unsigned i = 0; i < n; i++) {
        const unsigned kind = below(s, 10);

        jobs[i] = (struct job){.session = s, .number = before + i};
        jobs[i].change = kind < 4 ? make_append(s) : kind < 9 ? make_of_view(s, kind - 4) : make_of_folder(s);
    }
    for (unsigned i = 0; i < n; i++)
        CHECK(mdsq_change_submit(jobs[i].change, on_done, &jobs[i]) == 0, "submit");
    if (below(s, 2)) {
        while (atomic_load(&s->done) < before + n)
            usleep(50);
    }
    for (unsigned i = 0; i < n; i++) {
        const struct mdsq_change *change = jobs[i].change;

        while (atomic_load(&s->done) <= jobs[i].number) /* freeing would wait too */
            usleep(50);
        check_outcome(s, change);
        mdsq_change_free(&jobs[i].change);
        CHECK(jobs[i].done_at == jobs[i].number, "%u was done as number %u", jobs[i].number, jobs[i].done_at);
    }
}

static void *session_main(void *arg)
{
    struct session *s = arg;

    for (unsigned i = 0; i < s->stress->rounds; i++)
        run_some(s);
    return NULL;
}

/* ---- sessions that follow ---------------------------------------------------------------------------- */

static void check_bodies(struct session *s, const struct mdsq_view *view)
{
    const struct mdsq_section text = {.kind = MDSQ_SECTION_TEXT}, header = {.kind = MDSQ_SECTION_HEADER};
    const uint32_t count = mdsq_view_count(view);

    for (unsigned i = 0; i < 3 && count; i++) {
        const uint32_t uid = mdsq_view_uid(view, 1 + below(s, count));
        struct mdsq_body *a = NULL, *b = NULL;
        char head[100] = "", body[100] = "";
        unsigned x = 0, y = 1;
        size_t got;

        OK(mdsq_body_open(s->reader, view, uid, &header, &a, &err));
        OK(mdsq_body_open(s->reader, view, uid, &text, &b, &err));
        OK(mdsq_body_read(a, 0, head, sizeof head - 1, &got, &err));
        OK(mdsq_body_read(b, 0, body, sizeof body - 1, &got, &err));
        CHECK(sscanf(head, "Subject: m%u", &x) == 1 && sscanf(body, "body %u", &y) == 1 && x == y, "'%s' '%s'", head, body);
        mdsq_body_close(&a);
        mdsq_body_close(&b);
    }
}

static void on_watch(void *arg)
{
    atomic_fetch_add((atomic_uint *)arg, 1);
}

static void *follower_main(void *arg)
{
    struct session *s = arg;
    struct mdsq_view *view = NULL, *fresh = NULL;
    struct mdsq_watch *watch = NULL;

    OK(mdsq_view_open(s->reader, "Work", &view, &err));
    while (!atomic_load(&s->stress->is_over)) {
        OK(mdsq_watch_new(s->archive, on_watch, &s->stress->told, &watch, &err));
        OK(mdsq_reader_renew(s->reader, &err));
        OK(mdsq_view_advance(s->reader, view, below(s, 3) != 0, NULL, &err));
        OK(mdsq_view_advance(s->reader, view, true, NULL, &err));
        OK(mdsq_view_open(s->reader, "Work", &fresh, &err));
        CHECK(mdsq_view_count(view) == mdsq_view_count(fresh), "%u %u", mdsq_view_count(view), mdsq_view_count(fresh));
        for (unsigned i = 1; i <= mdsq_view_count(view); i += 7)
            CHECK(mdsq_view_uid(view, i) == mdsq_view_uid(fresh, i), "number %u", i);
        check_bodies(s, view);
        mdsq_view_close(&fresh);
        usleep(below(s, 2000));
        mdsq_watch_free(&watch);
    }
    mdsq_view_close(&view);
    return NULL;
}

/* A build's writer: transactions of its own on the first archive. */
static void *builder_main(void *arg)
{
    struct stress *s = arg;
    char dir[1200];
    struct mds_env *env = NULL;
    struct error err;

    (void)snprintf(dir, sizeof dir, "%s/archives/a00000001", s->store_dir);
    CHECK(mds_open(dir, &(struct mds_options){.relaxed = true}, &env, &err) == 0, "%s", err.text);
    for (unsigned i = 0; !atomic_load(&s->is_over); i++) {
        struct mds_txn *txn = NULL;

        CHECK(mds_write_begin(env, &txn, &err) == 0, "%s", err.text);
        CHECK(mds_meta_put(txn, "stress", bytes_of(&i, sizeof i), true, &err) == 0, "%s", err.text);
        usleep(500);
        CHECK(mds_write_commit(&txn, &err) == 0, "%s", err.text);
        usleep(500);
    }
    mds_close(&env);
    return NULL;
}

/* ---- main ------------------------------------------------------------------------------------------------ */

static void on_finding(const char *text, void *arg)
{
    (void)arg;
    fprintf(stderr, "%s\n", text);
}

static void verify(const char *store_dir, unsigned archive)
{
    char dir[1200];
    struct mds_env *env = NULL;
    struct mds_txn *txn = NULL;
    struct error err;

    (void)snprintf(dir, sizeof dir, "%s/archives/a%08u", store_dir, archive);
    CHECK(mds_open(dir, &(struct mds_options){.read_only = true}, &env, &err) == 0, "%s", err.text);
    CHECK(mds_read_begin(env, &txn, &err) == 0, "%s", err.text);
    CHECK(mds_verify(txn, on_finding, NULL, &err) == 0, "archive %u", archive);
    mds_read_end(&txn);
    mds_close(&env);
}

static void prepare(struct stress *s)
{
    OK(mdsq_store_open(s->store_dir, MDSQ_STORE_WRITE | MDSQ_STORE_CREATE | MDSQ_STORE_RELAXED, &s->store, &err));
    for (unsigned i = 0; i < ARCHIVES; i++) {
        char name[20];
        struct mdsq_archive *archive = NULL;

        (void)snprintf(name, sizeof name, "a%u", i);
        OK(mdsq_archive_add(s->store, name, &err));
        OK(mdsq_archive_open(s->store, name, &archive, &err));
        for (unsigned f = 1; f < FOLDERS; f++) {
            struct mdsq_change *change = NULL;

            OK(mdsq_change_create(archive, folders[f], 0, &change, &err));
            OK(mdsq_change_wait(change, &err));
            mdsq_change_free(&change);
        }
        mdsq_archive_close(&archive);
    }
}

static void session_open(struct session *s, unsigned number, uint64_t seed)
{
    char name[20];

    s->number = number;
    s->rng = rng_of(seed);
    (void)snprintf(name, sizeof name, "a%u", number % ARCHIVES);
    OK(mdsq_archive_open(s->stress->store, name, &s->archive, &err));
    OK(mdsq_reader_begin(s->archive, &s->reader, &err));
}

int main(int argc, char **argv)
{
    struct rng rng = rng_start("query_changes");
    struct stress stress = {.rounds = argc > 1 ? (unsigned)atoi(argv[1]) : ROUNDS};
    struct session sessions[SESSIONS + FOLLOWERS] = {{0}};
    pthread_t threads[SESSIONS + FOLLOWERS], builder;
    uint64_t changed = 0;

    stress.store_dir = path_join(TEMP_DIR(), "store");
    prepare(&stress);
    for (unsigned i = 0; i < SESSIONS + FOLLOWERS; i++) {
        sessions[i].stress = &stress;
        session_open(&sessions[i], i, rng_u64(&rng));
    }
    CHECK(pthread_create(&builder, NULL, builder_main, &stress) == 0, "thread");
    for (unsigned i = 0; i < SESSIONS + FOLLOWERS; i++)
        CHECK(pthread_create(&threads[i], NULL, i < SESSIONS ? session_main : follower_main, &sessions[i]) == 0, "thread");
    for (unsigned i = 0; i < SESSIONS; i++)
        (void)pthread_join(threads[i], NULL);
    atomic_store(&stress.is_over, true);
    for (unsigned i = SESSIONS; i < SESSIONS + FOLLOWERS; i++)
        (void)pthread_join(threads[i], NULL);
    (void)pthread_join(builder, NULL);
    for (unsigned i = 0; i < SESSIONS + FOLLOWERS; i++) {
        changed += sessions[i].changed;
        mdsq_reader_end(&sessions[i].reader);
        mdsq_archive_close(&sessions[i].archive);
    }
    mdsq_store_close(&stress.store);
    for (unsigned i = 1; i <= ARCHIVES; i++)
        verify(stress.store_dir, i);
    CHECK(changed > 0 && stress.told > 0, "nothing happened");
    printf("query_changes: %u sessions, %llu messages changed, watches told %u times\n", (unsigned)SESSIONS,
           (unsigned long long)changed, (unsigned)stress.told);
    return 0;
}
