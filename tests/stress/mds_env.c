/*
 * One environment under threads: a writer whose tiny map grows again and again, readers that renew, others that open
 * and close the same store, one that files, moves and renames as a client does, one that copies the store, and writers
 * that wait for their turn. Each view must be of one commit. Run in normal and TSan builds.
 */
#include "mds/mds.h"
#include "test_support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BATCHES   60
#define PER_BATCH 50
#define READERS   3

struct stress {
    const char *dir;
    struct mds_env *env;
    atomic_bool done;
    atomic_uint seen_waiting, grown, views;
};

static void must(int rc, const struct error *err)
{
    if (rc >= 0)
        return;
    (void)fprintf(stderr, "stress mds_env: %s: %s\n", base_err_name((enum base_err)rc), err->text);
    abort();
}

static int batch(struct stress *s, uint32_t folder, struct error *err)
{
    static const uint8_t text[2000] = {0};
    struct mds_txn *t = NULL;
    int rc = mds_write_begin(s->env, &t, err);

    must(rc, err);
    for (int i = 0; i < PER_BATCH && rc == BASE_OK; i++) {
        struct mds_item it = {.size = 1};
        const struct mds_item_words words = {.envelope = bytes_of(text, sizeof text)};

        if ((rc = mds_item_add(t, &it, &words, err)) == BASE_OK) {
            struct mds_message m = {.folder = folder, .item = it.id, .flags = 1};

            rc = mds_message_add(t, &m, err);
        }
    }
    if (rc == BASE_OK) {
        if (mds_writer_waiting(s->env))
            atomic_fetch_add(&s->seen_waiting, 1);
        return mds_write_commit(&t, err);
    }
    mds_write_abort(&t);
    return rc;
}

static void *write_batches(void *arg)
{
    struct stress *s = arg;
    struct error err;

    for (int done = 0; done < BATCHES;) {
        const int rc = batch(s, 1, &err);

        if (rc == BASE_ERR_AGAIN) {
            atomic_fetch_add(&s->grown, 1);
            continue;
        }
        must(rc, &err);
        done++;
    }
    return NULL;
}

static void view(struct stress *s, struct mds_txn *t)
{
    roaring_bitmap_t *uids = NULL;
    struct mds_folder f;
    struct mds_message m;
    struct error err;
    uint32_t n = 0;

    must(mds_folder_find(t, BYTES_LIT("INBOX"), &f, &err), &err);
    must(mds_set_load(t, f.id, MDS_SET_FLAG(0), &uids, &err), &err);
    if (f.exists % PER_BATCH || roaring_bitmap_get_cardinality(uids) != f.exists)
        abort();
    roaring_bitmap_free(uids);
    for (uint32_t uid = 1; n < 500 && mds_message_next(t, f.id, uid, &m, &err) == 1; uid = m.uid + 1)
        n++;
    if (n != (f.exists < 500 ? f.exists : 500))
        abort();
    atomic_fetch_add(&s->views, 1);
}

static void *read_views(void *arg)
{
    struct stress *s = arg;

    while (!atomic_load(&s->done)) {
        struct mds_txn *t = NULL;
        struct error err;

        must(mds_read_begin(s->env, &t, &err), &err);
        for (int i = 0; i < 10; i++) {
            view(s, t);
            must(mds_read_renew(t, &err), &err);
        }
        mds_read_end(&t);
        (void)mds_last_txnid(s->env);
    }
    return NULL;
}

static void *open_and_close(void *arg)
{
    struct stress *s = arg;

    while (!atomic_load(&s->done)) {
        const struct mds_options opts = {.read_only = true};
        struct mds_env *env = NULL;
        struct error err;

        must(mds_open(s->dir, &opts, &env, &err), &err);
        if (env != s->env)
            abort();
        mds_readers_clear(env);
        mds_close(&env);
    }
    return NULL;
}

/* A client: files, moves, expunges, renames, in folders of its own. AGAIN: the map has to grow, all is done anew. */
static int live_change(struct mds_txn *t, int round, struct error *err)
{
    const char *name = round % 2 ? "live/a" : "live/b", *other = round % 2 ? "live/b" : "live/a";
    struct mds_item it = {.size = 1};
    const struct mds_item_words words = {.envelope = BYTES_LIT("(e)")};
    struct mds_removed removed;
    struct mds_folder f;
    uint32_t id, uid;
    int rc = mds_folder_find(t, bytes_str(name), &f, err);

    id = f.id;
    if (rc == BASE_ERR_NOTFOUND)
        rc = mds_folder_create(t, bytes_str(name), &id, err);
    if (rc != BASE_OK || (rc = mds_item_add(t, &it, &words, err)) != BASE_OK)
        return rc;
    struct mds_message m = {.folder = id, .item = it.id};

    if ((rc = mds_message_add(t, &m, err)) != BASE_OK ||
        (rc = mds_message_copy(t, id, m.uid, id, 1, &uid, err)) != BASE_OK ||
        (rc = mds_message_expunge(t, id, m.uid, round, err)) != BASE_OK ||
        (rc = mds_removed_next(t, 0, 0, &removed, err)) < 0)
        return rc;
    if (round % 3 == 0 && (rc = mds_removed_purge(t, removed.folder, removed.uid, NULL, err)) != BASE_OK)
        return rc;
    if ((rc = mds_log_prune(t, id, 20, 10, err)) < 0)
        return rc;
    rc = mds_folder_find(t, bytes_str(other), &f, err);
    return rc == BASE_ERR_NOTFOUND ? mds_folder_rename(t, id, bytes_str(other), err) : rc;
}

static void *live_on(void *arg)
{
    struct stress *s = arg;

    for (int round = 0; !atomic_load(&s->done);) {
        struct mds_txn *t = NULL;
        struct error err;
        int rc;

        must(mds_write_begin(s->env, &t, &err), &err);
        if ((rc = live_change(t, round, &err)) == BASE_OK)
            rc = mds_write_commit(&t, &err);
        else
            mds_write_abort(&t);
        if (rc != BASE_ERR_AGAIN)
            must(rc, &err);
        round += rc == BASE_OK;
    }
    return NULL;
}

static void *copy_on(void *arg)
{
    struct stress *s = arg;

    for (unsigned n = 0; !atomic_load(&s->done); n++) {
        const char *dir = path_join(s->dir, textf("copy%u", n));
        struct mds_segments segments;
        struct mds_txn *t = NULL;
        struct mds_env *copy = NULL;
        const struct mds_options opts = {.read_only = true};
        struct error err;

        mkpath(dir);
        must(mds_copy(s->env, dir, &segments, &err), &err);
        must(mds_open(dir, &opts, &copy, &err), &err);
        must(mds_read_begin(copy, &t, &err), &err);
        view(s, t);
        mds_read_end(&t);
        mds_close(&copy);
        remove_tree(dir);
    }
    return NULL;
}

int main(void)
{
    struct stress s = {.dir = path_join(TEMP_DIR(), "a")};
    const struct mds_options opts = {.create = true, .archive_name = "stress", .map_bytes = 256 << 10};
    pthread_t writers[2], readers[READERS], opener, live, copier;
    struct mds_txn *t = NULL;
    struct mds_folder f;
    struct error err;

    must(mds_open(s.dir, &opts, &s.env, &err), &err);
    for (int i = 0; i < READERS; i++)
        must(-pthread_create(&readers[i], NULL, read_views, &s), &err);
    must(-pthread_create(&opener, NULL, open_and_close, &s), &err);
    must(-pthread_create(&live, NULL, live_on, &s), &err);
    must(-pthread_create(&copier, NULL, copy_on, &s), &err);
    for (int i = 0; i < 2; i++)
        must(-pthread_create(&writers[i], NULL, write_batches, &s), &err);
    for (int i = 0; i < 2; i++)
        (void)pthread_join(writers[i], NULL);
    atomic_store(&s.done, true);
    for (int i = 0; i < READERS; i++)
        (void)pthread_join(readers[i], NULL);
    (void)pthread_join(opener, NULL);
    (void)pthread_join(live, NULL);
    (void)pthread_join(copier, NULL);
    must(mds_read_begin(s.env, &t, &err), &err);
    must(mds_folder_get(t, 1, &f, &err), &err);
    const int findings = mds_verify(t, NULL, NULL, &err);

    mds_read_end(&t);
    mds_close(&s.env);
    printf("mds_env: %u messages, %u views, the map grew %u times, %u batches saw another writer wait, %d findings\n",
           f.exists, atomic_load(&s.views), atomic_load(&s.grown), atomic_load(&s.seen_waiting), findings);
    return f.exists == 2 * BATCHES * PER_BATCH && findings == 0 && atomic_load(&s.grown) > 0 &&
                   atomic_load(&s.seen_waiting) > 0
               ? 0
               : 1;
}
