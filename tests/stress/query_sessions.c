/*
 * query_sessions: sessions of one process over one archive while a writer adds, flags and expunges, another thread logs
 * in and changes passwords, and archives are opened and closed all the time.
 *
 *     stress_query_sessions [commits]        SEED= repeats
 *
 * A plain main, so that it runs under TSan too. Checks: a view's numbers and UIDs agree, news keep it equal to the
 * folder, every message that is there has its own bytes, a search finds what it must, an order is one.
 */
#include "mds/mds.h"
#include "mds/query.h"
#include "mime/mime.h"
#include "test_support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SESSIONS = 4, COMMITS = 250 };

#define CHECK(c, ...)                                                                                                  \
    do {                                                                                                               \
        if (!(c)) {                                                                                                    \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #c);                                                    \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

struct stress {
    const char *vault_dir;
    struct mds_env *env;
    struct mime_parser *parser; /* the writer's */
    struct mdsq_store *store;
    unsigned commits;
    uint64_t seed;
    atomic_bool is_over;
};

struct session {
    struct stress *stress;
    uint64_t seed;
    uint64_t fetched, bodies, searches, orders, told;
};

/* ---- the writer ------------------------------------------------------------------------------------ */

/* Message number k gets UID k: nothing else is filed. */
static void add_message(struct stress *s, struct mds_txn *txn, uint32_t folder, unsigned k)
{
    struct error err;
    struct mime_record record;
    struct mds_container container;
    uint32_t source = 0;
    char path[1024], name[32], raw[64], source_name[1024];
    const int n = snprintf(raw, sizeof raw, "Subject: m%u\n\nbody %u\n", k, k);

    snprintf(name, sizeof name, "%u.eml", k);
    snprintf(path, sizeof path, "%s/%s", s->vault_dir, name);
    FILE *file = fopen(path, "w");
    CHECK(file && fwrite(raw, 1, (size_t)n, file) == (size_t)n && fclose(file) == 0, "%s", path);
    mime_parse(s->parser, bytes_of(raw, (size_t)n), &record);
    snprintf(source_name, sizeof source_name, "eml-tree:%s", s->vault_dir);
    CHECK(mds_source_id(txn, bytes_str(source_name), true, &source, &err) == 0, "%s", err.text);
    CHECK(mds_container_find(txn, source, BYTES_LIT(""), true, &container, &err) == 0, "%s", err.text);

    struct mds_item item = {.hash = hash128_of(bytes_of(raw, (size_t)n)),
                            .size = record.size,
                            .size_crlf = record.size_crlf,
                            .defects = record.defects,
                            .parts = record.parts,
                            .locator = {.source = source, .container = container.id, .name = bytes_str(name)}};
    const struct mds_sort columns = {.base_subject = record.base_subject};
    struct buf sort = {0};

    mds_sort_encode(&columns, &sort);

    const struct mds_item_words words = {.envelope = record.envelope,
                                         .bodystructure = record.bodystructure,
                                         .headers = record.headers,
                                         .sort = buf_bytes(&sort)};
    struct mds_message m = {.folder = folder, .size_crlf = record.size_crlf};

    CHECK(mds_item_add(txn, &item, &words, &err) == 0, "%s", err.text);
    buf_release(&sort);
    m.item = item.id;
    CHECK(mds_message_add(txn, &m, &err) == 0, "%s", err.text);
    CHECK(m.uid == k, "%u, not %u", m.uid, k);
}

static void change_some(struct rng *rng, struct mds_txn *txn, uint32_t folder, unsigned last)
{
    struct error err;
    struct mds_message m;
    const uint32_t uid = 1 + (uint32_t)rng_below(rng, last);

    if (mds_message_next(txn, folder, uid, &m, &err) != 1)
        return;
    if (rng_once_in(rng, 3))
        CHECK(mds_message_remove(txn, folder, m.uid, NULL, &err) == 0, "%s", err.text);
    else
        CHECK(mds_message_set_flags(txn, folder, m.uid, (uint32_t)rng_below(rng, 64), (struct bytes){0}, &err) == 0,
              "%s", err.text);
}

static void *writer(void *arg)
{
    struct stress *s = arg;
    struct rng rng = rng_of(s->seed);
    struct error err;
    unsigned last = 0;

    for (unsigned i = 0; i < s->commits; i++) {
        struct mds_txn *txn = NULL;
        struct mds_folder inbox;

        CHECK(mds_write_begin(s->env, &txn, &err) == 0, "%s", err.text);
        CHECK(mds_folder_find(txn, BYTES_LIT("INBOX"), &inbox, &err) == 0, "%s", err.text);
        for (uint64_t n = 1 + rng_below(&rng, 4); n > 0; n--)
            add_message(s, txn, inbox.id, ++last);
        for (uint64_t n = rng_below(&rng, 4); n > 0; n--)
            change_some(&rng, txn, inbox.id, last);
        CHECK(mds_write_commit(&txn, &err) == 0, "%s", err.text);
    }
    atomic_store(&s->is_over, true);
    return NULL;
}

/* ---- a session -------------------------------------------------------------------------------------- */

static int on_news(uint32_t seq, uint32_t uid, void *arg)
{
    CHECK(seq > 0 && uid > 0, "news of nothing");
    ((struct session *)arg)->told++;
    return 0;
}

static void check_body(struct session *x, struct mdsq_reader *reader, const struct mdsq_view *view, uint32_t uid)
{
    const struct mdsq_section text = {.kind = MDSQ_SECTION_TEXT};
    struct mdsq_error e;
    struct mdsq_body *body = NULL;
    char got[64] = "", expect[64];
    size_t n = 0;
    const int rc = mdsq_body_open(reader, view, uid, &text, &body, &e);

    if (rc == MDSQ_ERR_GONE) /* expunged since the view was made */
        return;
    CHECK(rc == 0, "%s", e.text);
    CHECK(mdsq_body_read(body, 0, got, sizeof got - 1, &n, &e) == 0, "%s", e.text);
    snprintf(expect, sizeof expect, "body %u\r\n", uid);
    CHECK(strcmp(got, expect) == 0, "UID %u: %s", uid, got);
    mdsq_body_close(&body);
    x->bodies++;
}

static void check_fetch(struct session *x, struct mdsq_reader *reader, const struct mdsq_view *view)
{
    struct mdsq_error e;
    struct mdsq_fetch *fetch = NULL;
    struct mdsq_message m;
    char expect[64];
    uint32_t seq = 0;
    int rc;

    CHECK(mdsq_fetch_new(reader, view, NULL, MDSQ_FETCH_FLAGS | MDSQ_FETCH_ENVELOPE, &fetch, &e) == 0, "%s", e.text);
    while ((rc = mdsq_fetch_next(fetch, &m, &e)) > 0) {
        CHECK(m.seq == ++seq && mdsq_view_uid(view, seq) == m.uid, "number %u, UID %u", m.seq, m.uid);
        if (m.gone)
            continue;
        snprintf(expect, sizeof expect, "(NIL \"m%u\"", m.uid);
        CHECK(m.envelope.n > strlen(expect) && memcmp(m.envelope.p, expect, strlen(expect)) == 0, "UID %u", m.uid);
        x->fetched++;
    }
    CHECK(rc == 0, "%s", e.text);
    CHECK(seq == mdsq_view_count(view), "%u of %u", seq, mdsq_view_count(view));
    mdsq_fetch_free(&fetch);
}

static void check_search(struct session *x, struct mdsq_reader *reader, const struct mdsq_view *view, uint32_t uid)
{
    char needle[32];
    const int n = snprintf(needle, sizeof needle, "body %u", uid);
    const struct mdsq_key key = {.kind = MDSQ_KEY_BODY, .text = {(const uint8_t *)needle, (size_t)n}};
    struct mdsq_error e;
    struct mdsq_search *search = NULL;
    struct mdsq_set *set = NULL;
    int rc;

    CHECK(mdsq_search_new(view, &key, &search, &e) == 0, "%s", e.text);
    while ((rc = mdsq_search_run(search, reader, 2, &e)) > 0)
        ;
    CHECK(rc == 0, "%s", e.text);
    CHECK(mdsq_search_take(search, &set, NULL, &e) == 0, "%s", e.text);
    for (uint32_t seq = 1; seq <= mdsq_view_count(view); seq++) { /* nothing found but what begins with the number */
        const uint32_t found = mdsq_view_uid(view, seq);
        char text[32];

        snprintf(text, sizeof text, "body %u", found);
        CHECK(!mdsq_set_has(set, found) || strncmp(text, needle, (size_t)n) == 0, "%s found %u", needle, found);
    }
    mdsq_set_free(&set);
    mdsq_search_free(&search);
    x->searches++;
}

static int compare_subjects(uint32_t a, uint32_t b)
{
    char x[32], y[32];

    snprintf(x, sizeof x, "m%u", a);
    snprintf(y, sizeof y, "m%u", b);
    return strcmp(x, y);
}

/* Somebody who looks now does not see it any more: whoever was quicker has kept that it has no subject. */
static bool is_gone_by_now(struct session *x, uint32_t uid)
{
    struct mdsq_error e;
    struct mdsq_archive *archive = NULL;
    struct mdsq_reader *reader = NULL;
    struct mdsq_view *view = NULL;

    CHECK(mdsq_archive_open(x->stress->store, "ann", &archive, &e) == 0, "%s", e.text);
    CHECK(mdsq_reader_begin(archive, &reader, &e) == 0, "%s", e.text);
    CHECK(mdsq_view_open(reader, "INBOX", &view, &e) == 0, "%s", e.text);

    const bool gone = mdsq_view_seq(view, uid) == 0;

    mdsq_view_close(&view);
    mdsq_reader_end(&reader);
    mdsq_archive_close(&archive);
    return gone;
}

/* Columns that all sessions share: by subject ("m" and the UID), and each message alone in its thread. */
static void check_order(struct session *x, struct mdsq_reader *reader, const struct mdsq_view *view)
{
    const struct mdsq_sort_criterion by = {.key = MDSQ_SORT_SUBJECT};
    struct mdsq_error e;
    struct mdsq_sort *sort = NULL;
    struct mdsq_thread *thread = NULL;
    struct mdsq_thread_member m;
    uint32_t uid, before = 0, n = 0;
    int rc;

    CHECK(mdsq_sort_new(view, NULL, &by, 1, &sort, &e) == 0, "%s", e.text);
    while ((rc = mdsq_sort_run(sort, reader, 1, &e)) > 0)
        ;
    CHECK(rc == 0, "%s", e.text);
    for (; mdsq_sort_next(sort, &uid); n++) {
        if (before && compare_subjects(before, uid) >= 0)
            CHECK(is_gone_by_now(x, before) || is_gone_by_now(x, uid), "%u before %u", before, uid);
        before = uid;
    }
    CHECK(n == mdsq_view_count(view), "%u of %u", n, mdsq_view_count(view));
    mdsq_sort_free(&sort);

    CHECK(mdsq_thread_new(view, NULL, MDSQ_THREAD_REFERENCES, &thread, &e) == 0, "%s", e.text);
    while ((rc = mdsq_thread_run(thread, reader, 1, &e)) > 0)
        ;
    CHECK(rc == 0, "%s", e.text);
    for (n = 0; mdsq_thread_next(thread, &m); n++)
        CHECK(m.uid && m.opens && m.closes == 1, "UID %u in a thread with others", m.uid);
    CHECK(n == mdsq_view_count(view), "%u of %u", n, mdsq_view_count(view));
    mdsq_thread_free(&thread);
    x->orders++;
}

static void one_life(struct session *x, struct rng *rng)
{
    struct stress *s = x->stress;
    struct mdsq_error e;
    struct mdsq_archive *archive = NULL;
    struct mdsq_reader *reader = NULL;
    struct mdsq_view *view = NULL;
    struct mdsq_status status;
    const struct mdsq_news news = {on_news, on_news, x};

    CHECK(mdsq_archive_open(s->store, "ann", &archive, &e) == 0, "%s", e.text);
    CHECK(mdsq_reader_begin(archive, &reader, &e) == 0, "%s", e.text);
    CHECK(mdsq_view_open(reader, "INBOX", &view, &e) == 0, "%s", e.text);
    mdsq_archive_close(&archive); /* the reader holds it */
    for (int i = 0; i < 10; i++) {
        const bool expunge = !rng_once_in(rng, 3);
        const uint32_t n = mdsq_view_count(view);

        if (n) {
            check_body(x, reader, view, mdsq_view_uid(view, 1 + (uint32_t)rng_below(rng, n)));
            check_fetch(x, reader, view);
        }
        if (n && rng_once_in(rng, 3))
            check_order(x, reader, view);
        if (n && rng_once_in(rng, 10))
            check_search(x, reader, view, mdsq_view_uid(view, n));
        CHECK(mdsq_reader_renew(reader, &e) == 0, "%s", e.text);
        CHECK(mdsq_view_advance(reader, view, expunge, &news, &e) >= 0, "%s", e.text);
        CHECK(mdsq_status(reader, "INBOX", &status, &e) == 0, "%s", e.text);
        CHECK(expunge ? mdsq_view_count(view) == status.messages : mdsq_view_count(view) >= status.messages,
              "%u and %u", mdsq_view_count(view), status.messages);
    }
    mdsq_view_close(&view);
    mdsq_reader_end(&reader);
}

static void *session(void *arg)
{
    struct session *x = arg;
    struct rng rng = rng_of(x->seed);

    do
        one_life(x, &rng);
    while (!atomic_load(&x->stress->is_over));
    return NULL;
}

/* The catalogue is read and reopened for writing under the sessions' feet. */
static void *logins(void *arg)
{
    struct stress *s = arg;
    struct mdsq_error e;
    char archive[256], password[32] = "first";

    for (unsigned i = 0; i < 5 || !atomic_load(&s->is_over); i++) {
        if (i % 3 == 0) {
            snprintf(password, sizeof password, "word %u", i);
            CHECK(mdsq_user_add(s->store, "ann", password, "ann", false, &e) == 0, "%s", e.text);
        }
        CHECK(mdsq_login(s->store, "ann", password, archive, &e) == 0, "%s", e.text);
        CHECK(mdsq_login(s->store, "ann", "wrong", archive, &e) == MDSQ_ERR_AUTH, "let in");
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct rng rng = rng_start("query_sessions");
    struct stress s = {.commits = argc > 1 ? (unsigned)atoi(argv[1]) : COMMITS, .seed = rng_u64(&rng)};
    struct session sessions[SESSIONS] = {0};
    pthread_t threads[SESSIONS + 2];
    const struct mds_options options = {.create = true, .archive_name = "ann"};
    const char *dir = TEMP_DIR(), *store_dir = path_join(dir, "store");
    struct mds_catalogue *catalogue = NULL;
    struct mds_archive_info info;
    struct error err;
    struct mdsq_error e;

    mime_init();
    s.vault_dir = path_join(dir, "vault");
    mkpath(s.vault_dir);
    CHECK(mds_catalogue_open(store_dir, true, false, &catalogue, &err) == 0, "%s", err.text);
    CHECK(mds_catalogue_archive_find(catalogue, "ann", true, &info, &err) == 0, "%s", err.text);
    CHECK(mds_open(info.dir, &options, &s.env, &err) == 0, "%s", err.text);
    mds_catalogue_close(&catalogue);
    s.parser = mime_parser_new(NULL);
    CHECK(mdsq_store_open(store_dir, 0, &s.store, &e) == 0, "%s", e.text);

    pthread_create(&threads[0], NULL, writer, &s);
    pthread_create(&threads[1], NULL, logins, &s);
    for (int i = 0; i < SESSIONS; i++) {
        sessions[i] = (struct session){.stress = &s, .seed = rng_u64(&rng)};
        pthread_create(&threads[2 + i], NULL, session, &sessions[i]);
    }
    for (int i = 0; i < SESSIONS + 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < SESSIONS; i++) {
        printf("session %d: %llu rows, %llu bodies, %llu searches, %llu news\n", i,
               (unsigned long long)sessions[i].fetched, (unsigned long long)sessions[i].bodies,
               (unsigned long long)sessions[i].searches, (unsigned long long)sessions[i].told);
        CHECK(sessions[i].fetched && sessions[i].bodies, "session %d saw nothing", i);
    }
    mdsq_store_close(&s.store);
    mime_parser_free(&s.parser);
    mds_close(&s.env);
    return 0;
}
