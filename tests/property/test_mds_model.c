/*
 * The store against a naive model in memory: random operations, cut into batches of any size, some of them aborted and
 * done again, in a map so small that it has to grow under them. Afterwards every answer must be the model's, mds_verify
 * must find nothing, and the dump must not tell how the work was cut.
 */
#include "base/hash.h"
#include "mds/mds.h"
#include "test_support.h"

#include <criterion/criterion.h>

#define FOLDERS_MAX  16
#define MESSAGES_MAX 4000
#define ITEMS_MAX    4000
#define PLACES_MAX   64
#define KEYWORDS     5
#define OPS          3000

struct model_message {
    uint32_t uid; /* 0: expunged */
    uint64_t item;
    uint32_t flags;
    uint8_t keywords[2 * KEYWORDS];
    size_t keywords_n;
    uint64_t modseq, gone_modseq;
};

struct model_folder {
    struct bytes name;
    bool made;
    uint64_t highest;
    uint32_t n; /* UIDs given */
    struct model_message *messages;
};

struct model {
    struct model_folder folders[FOLDERS_MAX];
    uint32_t refs[ITEMS_MAX];    /* by item id */
    uint32_t version[ITEMS_MAX]; /* of its words */
    uint64_t next_item;
    uint64_t places[PLACES_MAX]; /* item, 0: none */
};

enum op_kind { OP_FOLDER, OP_ADD, OP_FLAGS, OP_REMOVE, OP_UPDATE, OP_PLACE, OP_META, OP_SUBSCRIBE, OP_KINDS };

/* Resolved against the model, so that it can be replayed. */
struct op {
    enum op_kind kind;
    unsigned folder;
    uint32_t uid;
    uint64_t item;
    bool new_item;
    uint32_t flags, version;
    uint8_t keywords[2 * KEYWORDS];
    size_t keywords_n;
    unsigned place;
};

static void must(int rc, const struct error *err)
{
    cr_assert_geq(rc, 0, "%s", err->text);
}

/* ---- what things look like, from their numbers alone ---- */

static struct bytes folder_name(unsigned i)
{
    static const char *const plain[] = {"Inbox", "a", "a/b", "a/-c", "\xff\xfe/x", "a/b/c/d"};
    /* Lengths around the limit of a key and of a name; two of each that differ in the last byte only. */
    static const size_t lengths[] = {506, 507, 511, 512, 4096};

    if (i < 6)
        return bytes_str(plain[i]);
    static char names[FOLDERS_MAX][4097];

    if (!names[i][0]) {
        const size_t n = lengths[(i - 6) / 2];

        memset(names[i], '0', n);
        names[i][n - 1] = (char)('a' + i % 2);
    }
    return bytes_str(names[i]);
}

static struct hash128 item_hash(uint64_t id)
{
    const uint64_t seed = id % 7 == 0 ? 7 : id; /* some share their hash */

    return hash128_of(bytes_of(&seed, sizeof seed));
}

static struct bytes item_text(uint64_t id, uint32_t version, unsigned what)
{
    static uint8_t pool[40000];
    struct rng r = rng_of(id * 31 + version * 1000003 + what);

    if (pool[0] == 0)
        memset(pool, 'x', sizeof pool);
    const size_t n = rng_once_in(&r, 50) ? 20000 + rng_below(&r, 20000) : rng_below(&r, 900);

    return bytes_of(pool, n);
}

static struct mds_item item_of(uint64_t id, uint32_t version)
{
    return (struct mds_item){
        .id = id,
        .hash = item_hash(id),
        .size = id * 3,
        .size_crlf = id * 3 + 1,
        .defects = id % 5 ? 0 : UINT64_C(1) << (id + version) % 64,
        .thread_id = id / 2 + 1,
        .msgid_hash = id % 3,
        .has_sent_date = id % 2,
        .sent_date = id % 2 ? -(int64_t)id * 1000 : 0,
        .locator = {.source = 1, .container = 1, .name = BYTES_LIT("cur/x"), .offset = id % 4 ? id : 0},
        .parts = item_text(id, 0, 9),
    };
}

static struct mds_item_words words_of(uint64_t id, uint32_t version, struct buf *sort)
{
    const struct mds_sort s = {
        .preview = item_text(id, version, 4), .has_received_date = true, .received_date = (int64_t)id};

    if (id % 11) /* the others have an empty entry */
        mds_sort_encode(&s, sort);
    return (struct mds_item_words){
        .envelope = item_text(id, version, 1),
        .bodystructure = item_text(id, version, 2),
        .headers = item_text(id, version, 3),
        .headers_complete = id % 2,
        .sort = buf_bytes(sort),
    };
}

static struct bytes place_identity(unsigned i)
{
    static char names[PLACES_MAX][601];

    if (!names[i][0])
        (void)snprintf(names[i], sizeof names[i], "%0*u", i % 3 == 0 ? 590 + (int)(i % 7) : 20, i);
    return bytes_str(names[i]);
}

/* ---- the model ---- */

static void model_init(struct model *m)
{
    memset(m, 0, sizeof *m);
    m->next_item = 1;
    for (unsigned i = 0; i < FOLDERS_MAX; i++) {
        m->folders[i].name = folder_name(i);
        m->folders[i].made = i == 0;
        m->folders[i].highest = 1;
        m->folders[i].messages = calloc(MESSAGES_MAX, sizeof *m->folders[i].messages);
    }
}

static struct model_message *model_pick(struct model_folder *f, struct rng *r)
{
    for (int tries = 0; f->n && tries < 20; tries++) {
        struct model_message *m = &f->messages[rng_below(r, f->n)];

        if (m->uid)
            return m;
    }
    return NULL;
}

static void keywords_pick(struct rng *r, uint8_t *out, size_t *n)
{
    *n = 0;
    for (unsigned id = 0; id < KEYWORDS; id++) {
        if (rng_once_in(r, 4)) {
            out[(*n)++] = 0;
            out[(*n)++] = (uint8_t)id;
        }
    }
}

static bool op_make(struct model *m, struct rng *r, struct op *op)
{
    static const enum op_kind mix[] = {OP_FOLDER, OP_ADD,    OP_ADD,    OP_ADD,   OP_ADD,  OP_ADD,      OP_FLAGS,
                                       OP_FLAGS,  OP_REMOVE, OP_UPDATE, OP_PLACE, OP_META, OP_SUBSCRIBE};
    struct model_folder *f;
    struct model_message *message;

    *op = (struct op){.kind = mix[rng_below(r, sizeof mix / sizeof mix[0])],
                      .folder = (unsigned)rng_below(r, FOLDERS_MAX)};
    f = &m->folders[op->folder];
    op->flags = (uint32_t)rng_below(r, 64);
    keywords_pick(r, op->keywords, &op->keywords_n);
    switch (op->kind) {
    case OP_FOLDER:
        if (f->made)
            return false;
        f->made = true;
        return true;
    case OP_ADD:
        if (!f->made || f->n >= MESSAGES_MAX || m->next_item >= ITEMS_MAX)
            return false;
        message = rng_once_in(r, 4) ? model_pick(&m->folders[rng_below(r, FOLDERS_MAX)], r) : NULL;
        op->new_item = message == NULL;
        op->item = message ? message->item : m->next_item++;
        op->uid = f->n + 1;
        message = &f->messages[f->n++];
        *message = (struct model_message){.uid = op->uid, .item = op->item, .modseq = ++f->highest};
        m->refs[op->item]++;
        break;
    case OP_FLAGS:
        if ((message = model_pick(f, r)) == NULL)
            return false;
        op->uid = message->uid;
        message->modseq = ++f->highest;
        break;
    case OP_REMOVE:
        if ((message = model_pick(f, r)) == NULL)
            return false;
        op->uid = message->uid;
        op->item = message->item;
        message->uid = 0;
        message->gone_modseq = ++f->highest;
        m->refs[op->item]--;
        return true;
    case OP_UPDATE:
        if ((message = model_pick(f, r)) == NULL)
            return false;
        op->item = message->item;
        op->version = ++m->version[op->item];
        return true;
    case OP_PLACE:
        op->place = (unsigned)rng_below(r, PLACES_MAX);
        op->item = m->places[op->place] ? 0 : 1 + rng_below(r, 1000);
        m->places[op->place] = op->item;
        return true;
    default: return f->made;
    }
    message->flags = op->flags;
    message->keywords_n = op->keywords_n;
    memcpy(message->keywords, op->keywords, op->keywords_n);
    return true;
}

/* ---- the store ---- */

static int folder_id(struct mds_txn *t, const struct model_folder *mf, uint32_t *id, struct error *err)
{
    struct mds_folder f;
    const int rc = mds_folder_find(t, mf->name, &f, err);

    *id = rc == BASE_OK ? f.id : 0;
    return rc;
}

static int apply_add(struct mds_txn *t, const struct op *op, uint32_t folder, struct error *err)
{
    struct mds_item it = item_of(op->item, 0);
    struct mds_message m = {
        .folder = folder,
        .item = op->item,
        .flags = op->flags,
        .keywords = bytes_of(op->keywords, op->keywords_n),
        .size_crlf = it.size_crlf,
        .internal_date = (int64_t)op->item * 100 - 5000,
        .internal_zone = -60,
        .saved_date = 7,
        .sent_date = (int64_t)op->uid,
    };
    int rc = BASE_OK;

    if (op->new_item) {
        struct buf sort = {0};
        const struct mds_item_words words = words_of(op->item, 0, &sort);

        rc = mds_item_add(t, &it, &words, err);
        cr_assert(rc != BASE_OK || it.id == op->item);
        buf_release(&sort);
    }
    if (rc == BASE_OK)
        rc = mds_message_add(t, &m, err);
    cr_assert(rc != BASE_OK || m.uid == op->uid);
    return rc;
}

static int apply_update(struct mds_txn *t, const struct op *op, struct error *err)
{
    struct buf sort = {0};
    const struct mds_item it = item_of(op->item, op->version);
    const struct mds_item_words words = words_of(op->item, op->version, &sort);
    const int rc = mds_item_update(t, &it, &words, err);

    buf_release(&sort);
    return rc;
}

static int apply_place(struct mds_txn *t, const struct op *op, struct error *err)
{
    struct mds_container c;
    uint32_t source;
    int rc;

    if ((rc = mds_source_id(t, BYTES_LIT("maildir:/m"), true, &source, err)) != BASE_OK ||
        (rc = mds_container_find(t, source, folder_name(op->place % 2 ? 12 : 1), true, &c, err)) != BASE_OK)
        return rc;
    if (op->item == 0)
        return mds_place_remove(t, c.id, place_identity(op->place), err);
    const struct mds_place p = {.identity = place_identity(op->place),
                                .item = op->item,
                                .reason = op->item % 5 ? (struct bytes){0} : BYTES_LIT("why")};

    return mds_place_put(t, c.id, &p, err);
}

static int apply(struct mds_txn *t, const struct model *m, const struct op *op, struct error *err)
{
    uint32_t folder = 0;
    bool gone;
    int rc = BASE_OK;

    for (unsigned id = 0; id < KEYWORDS && rc == BASE_OK; id++) {
        uint16_t keyword = 0;

        rc = mds_keyword_id(t, bytes_str(textf("%s%u", op->flags % 2 ? "key" : "KEY", id)), true, &keyword, err);
        cr_assert(rc != BASE_OK || keyword == id);
    }
    if (rc == BASE_OK && op->kind != OP_FOLDER && op->kind != OP_PLACE && op->kind != OP_META && op->kind != OP_UPDATE)
        rc = folder_id(t, &m->folders[op->folder], &folder, err);
    if (rc != BASE_OK)
        return rc;
    switch (op->kind) {
    case OP_FOLDER: return mds_folder_create(t, m->folders[op->folder].name, &folder, err);
    case OP_ADD: return apply_add(t, op, folder, err);
    case OP_FLAGS:
        return mds_message_set_flags(t, folder, op->uid, op->flags, bytes_of(op->keywords, op->keywords_n), err);
    case OP_REMOVE: return mds_message_remove(t, folder, op->uid, &gone, err);
    case OP_UPDATE: return apply_update(t, op, err);
    case OP_PLACE: return apply_place(t, op, err);
    case OP_META: return mds_meta_put(t, op->uid % 2 ? "one" : "two", bytes_of(&op->flags, 1), op->flags % 2, err);
    case OP_SUBSCRIBE: return mds_folder_set_subscribed(t, folder, op->flags % 2, err);
    default: return BASE_ERR_USAGE;
    }
}

/* A batch as a build does it: on AGAIN the map has to grow and all is replayed. Returns how often. */
static int run_batch(struct mds_env *env, const struct model *m, const struct op *ops, size_t n, bool abort_first)
{
    struct error err;
    int rc = BASE_ERR_AGAIN, grown = 0;
    bool aborted = false;

    for (int tries = 0; rc == BASE_ERR_AGAIN && tries < 40; tries++) {
        struct mds_txn *t = NULL;

        must(mds_write_begin(env, &t, &err), &err);
        rc = BASE_OK;
        for (size_t i = 0; i < n && rc == BASE_OK; i++)
            rc = apply(t, m, &ops[i], &err);
        if (rc == BASE_OK && abort_first) {
            mds_write_abort(&t);
            abort_first = false;
            aborted = true;
            rc = BASE_ERR_AGAIN;
        } else if (rc == BASE_OK) {
            rc = mds_write_commit(&t, &err);
        } else {
            mds_write_abort(&t);
        }
        grown += rc == BASE_ERR_AGAIN && t == NULL && !aborted;
        aborted = false;
    }
    must(rc, &err);
    return grown;
}

/* ---- comparing ---- */

static void check_set(struct mds_txn *t, uint32_t folder, uint32_t set, const roaring_bitmap_t *want)
{
    roaring_bitmap_t *have = NULL;
    struct error err;

    must(mds_set_load(t, folder, set, &have, &err), &err);
    cr_expect(roaring_bitmap_equals(have, want), "folder %u, set %u", folder, set);
    roaring_bitmap_free(have);
}

static void check_sets(struct mds_txn *t, uint32_t folder, const struct model_folder *mf)
{
    for (uint32_t set = 0; set < 7 + KEYWORDS; set++) {
        roaring_bitmap_t *want = roaring_bitmap_create();

        for (uint32_t i = 0; i < mf->n; i++) {
            const struct model_message *m = &mf->messages[i];
            bool in = m->uid && (set == 0 || (set < 7 && m->flags >> (set - 1) & 1));

            for (size_t k = 0; m->uid && set >= 7 && k < m->keywords_n; k += 2)
                in = in || m->keywords[k + 1] == set - 7;
            if (in)
                roaring_bitmap_add(want, i + 1);
        }
        check_set(t, folder, set < 7 ? set : MDS_SET_KEYWORD(set - 7), want);
        roaring_bitmap_free(want);
    }
}

static void check_news(struct mds_txn *t, uint32_t folder, const struct model_folder *mf, uint64_t since)
{
    roaring_bitmap_t *changed = roaring_bitmap_create(), *gone = roaring_bitmap_create();
    roaring_bitmap_t *want_changed = roaring_bitmap_create(), *want_gone = roaring_bitmap_create();
    struct error err;
    bool complete = false;

    for (uint32_t i = 0; i < mf->n; i++) {
        const struct model_message *m = &mf->messages[i];

        if (m->uid && m->modseq > since)
            roaring_bitmap_add(want_changed, i + 1);
        if (!m->uid && m->gone_modseq > since)
            roaring_bitmap_add(want_gone, i + 1);
    }
    must(mds_changes_since(t, folder, since, changed, gone, &complete, &err), &err);
    cr_expect(complete && roaring_bitmap_equals(changed, want_changed) && roaring_bitmap_equals(gone, want_gone),
              "news of folder %u since %llu", folder, (unsigned long long)since);
    roaring_bitmap_free(changed);
    roaring_bitmap_free(gone);
    roaring_bitmap_free(want_changed);
    roaring_bitmap_free(want_gone);
}

static void check_folder(struct mds_txn *t, const struct model_folder *mf)
{
    struct mds_folder f;
    struct mds_message m;
    struct error err;
    uint32_t exists = 0, unseen = 0, uid = 1;

    must(mds_folder_find(t, mf->name, &f, &err), &err);
    for (uint32_t i = 0; i < mf->n; i++) {
        const struct model_message *want = &mf->messages[i];

        if (!want->uid) {
            cr_expect_eq(mds_message_get(t, f.id, i + 1, &m, NULL), BASE_ERR_NOTFOUND);
            continue;
        }
        cr_assert_eq(mds_message_next(t, f.id, uid, &m, &err), 1, "%s", err.text);
        cr_expect(m.uid == want->uid && m.item == want->item && m.flags == want->flags && m.modseq == want->modseq &&
                      bytes_equal(m.keywords, bytes_of(want->keywords, want->keywords_n)) && m.saved_date == 7 &&
                      m.internal_zone == -60 && m.internal_date == (int64_t)want->item * 100 - 5000 &&
                      m.sent_date == (int64_t)m.uid,
                  "message %u of folder %u", m.uid, f.id);
        uid = m.uid + 1;
        exists++;
        unseen += !(want->flags & 1);
    }
    cr_expect_eq(mds_message_next(t, f.id, uid, &m, &err), 0);
    cr_expect(f.exists == exists && f.unseen == unseen && f.uidnext == mf->n + 1 && f.highestmodseq == mf->highest &&
                  f.selectable,
              "counters of folder %u", f.id);
    check_sets(t, f.id, mf);
    for (uint64_t since = 0; since <= mf->highest; since += 1 + mf->highest / 5)
        check_news(t, f.id, mf, since);
}

static void check_item(struct mds_txn *t, struct mds_words *w, const struct model *m, uint64_t id)
{
    struct mds_item it;
    struct bytes a, b;
    struct mds_sort s;
    struct error err;
    bool complete;
    const uint32_t v = m->version[id];
    const struct mds_item want = item_of(id, v);

    if (m->refs[id] == 0) {
        cr_expect_eq(mds_item_get(t, id, &it, NULL), BASE_ERR_NOTFOUND);
        cr_expect_eq(mds_words_item(w, id, &it, NULL), BASE_ERR_NOTFOUND);
        cr_expect_eq(mds_words_wire(w, id, &a, &b, NULL), BASE_ERR_NOTFOUND);
        return;
    }
    must(mds_words_item(w, id, &it, &err), &err);
    cr_expect(it.id == id && it.refs == 0 && it.size == want.size && it.defects == want.defects &&
                  bytes_equal(it.parts, want.parts),
              "row of %llu", (unsigned long long)id);
    must(mds_item_get(t, id, &it, &err), &err);
    cr_expect(it.refs == m->refs[id] && it.size == want.size && it.defects == want.defects &&
                  it.thread_id == want.thread_id && it.msgid_hash == want.msgid_hash &&
                  it.sent_date == want.sent_date && it.locator.offset == want.locator.offset &&
                  bytes_equal(it.parts, want.parts) && memcmp(&it.hash, &want.hash, sizeof it.hash) == 0,
              "item %llu", (unsigned long long)id);
    must(mds_words_wire(w, id, &a, &b, &err), &err);
    cr_expect(bytes_equal(a, item_text(id, v, 1)) && bytes_equal(b, item_text(id, v, 2)), "wire of %llu",
              (unsigned long long)id);
    must(mds_words_headers(w, id, &a, &complete, &err), &err);
    cr_expect(bytes_equal(a, item_text(id, v, 3)) && complete == id % 2, "headers of %llu", (unsigned long long)id);
    must(mds_words_sort(w, id, &s, &err), &err);
    cr_expect(id % 11 ? bytes_equal(s.preview, item_text(id, v, 4)) && s.received_date == (int64_t)id
                      : s.preview.n == 0,
              "sort of %llu", (unsigned long long)id);
}

static void check_hash(struct mds_txn *t, const struct model *m, uint64_t id)
{
    const struct hash128 hash = item_hash(id);
    uint64_t pos = 0, got, want = 0;
    struct error err;

    do {
        do
            want++;
        while (want < m->next_item && (m->refs[want] == 0 || hash128_compare(&hash, &(struct hash128){0}) == 0 ||
                                       memcmp(item_hash(want).b, hash.b, sizeof hash.b) != 0));
        const int rc = mds_item_by_hash(t, &hash, &pos, &got, &err);

        must(rc, &err);
        cr_assert(want < m->next_item ? rc == 1 && got == want : rc == 0, "candidates of item %llu",
                  (unsigned long long)id);
    } while (want < m->next_item);
}

static void say(const char *text, void *arg)
{
    (void)arg;
    (void)fprintf(stderr, "finding: %s\n", text);
}

static void check_all(struct mds_txn *t, const struct model *m)
{
    struct mds_words *w = NULL;
    struct mds_stat st;
    struct error err;
    uint64_t items = 0;

    for (unsigned i = 0; i < FOLDERS_MAX; i++)
        if (m->folders[i].made)
            check_folder(t, &m->folders[i]);
    must(mds_words_new(t, &w, &err), &err);
    for (uint64_t id = 1; id < m->next_item; id++) {
        check_item(t, w, m, id);
        items += m->refs[id] > 0;
        if (mds_hashes_complete(t) && id % 37 == 0)
            check_hash(t, m, id);
    }
    mds_words_free(&w);
    must(mds_stat(t, &st, &err), &err);
    cr_expect_eq(st.items, items);
}

static void check_store(struct mds_env *env, const struct model *m)
{
    struct mds_txn *t = NULL;
    struct error err;

    must(mds_read_begin(env, &t, &err), &err);
    check_all(t, m);
    cr_expect_eq(mds_verify(t, say, NULL, &err), 0);
    mds_read_end(&t);
    /* A write transaction must see what it has not yet written down. */
    must(mds_write_begin(env, &t, &err), &err);
    check_all(t, m);
    mds_write_abort(&t);
}

/* Text; the caller frees it. */
static char *dump_of(struct mds_env *env)
{
    struct mds_txn *t = NULL;
    struct error err;
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);

    must(mds_read_begin(env, &t, &err), &err);
    must(mds_dump(t, out, &err), &err);
    mds_read_end(&t);
    (void)fclose(out);
    return text;
}

/* ---- the runs ---- */

static char *run(uint64_t seed, size_t batch, uint64_t map_bytes)
{
    const char *dir = path_join(TEMP_DIR(), "a");
    const struct mds_options opts = {.create = true, .archive_name = "model", .map_bytes = map_bytes};
    struct rng r = rng_of(seed), chance = rng_of(seed + batch);
    static struct model m;
    static struct op ops[OPS];
    struct mds_env *env = NULL;
    struct error err;
    size_t n = 0;
    int grown = 0;

    model_init(&m);
    must(mds_open(dir, &opts, &env, &err), &err);
    for (size_t i = 0; i < OPS; i++) {
        if (op_make(&m, &r, &ops[n]))
            n++;
        if (n >= batch || i == OPS / 2 || i + 1 == OPS) {
            grown += run_batch(env, &m, ops, n, rng_once_in(&chance, 5));
            n = 0;
        }
        if (i == OPS / 2)
            must(mds_hashes_build(env, "/tmp", &err), &err);
        if (n == 0 && map_bytes == 0 && rng_once_in(&chance, batch < 10 ? 300 : 10)) {
            mds_close(&env);
            must(mds_open(dir, &opts, &env, &err), &err);
        }
        if (i == OPS / 3)
            n == 0 ? check_store(env, &m) : (void)0;
    }
    check_store(env, &m);
    char *dump = dump_of(env);

    cr_expect(map_bytes ? grown >= 3 : grown == 0, "the map grew %d times", grown);
    mds_close(&env);
    for (unsigned i = 0; i < FOLDERS_MAX; i++)
        free(m.folders[i].messages);
    return dump;
}

Test(mds_model, any_batch_size_gives_the_store_of_the_model, .timeout = 550)
{
    static const struct {
        const char *name;
        size_t batch;
        uint64_t map_bytes;
    } rows[] = {
        {"one batch", OPS, 0},
        {"batches of 100", 100, 0},
        {"batches of 7 in a tiny map", 7, 256 << 10},
        {"single operations", 1, 0},
    };
    const uint64_t seed = rng_start("mds_model").state;
    char *first = run(seed, rows[0].batch, rows[0].map_bytes);

    cr_expect_gt(strlen(first), 100000);
    for (size_t i = 1; i < sizeof rows / sizeof rows[0]; i++) {
        char *dump = run(seed, rows[i].batch, rows[i].map_bytes);

        cr_expect_eq(strcmp(first, dump), 0, "%s: the dump differs", rows[i].name);
        free(dump);
    }
    free(first);
}
