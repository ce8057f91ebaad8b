/*
 * The living archive against a naive model: folders that come, go and are renamed with all below them, messages that
 * are copied, moved, expunged, brought back and let go, logs that are pruned. Cut into batches of any size, some
 * aborted and done again, in a map so small that it has to grow under them; every answer must be the model's.
 */
#include "base/hash.h"
#include "mds/mds.h"
#include "test_support.h"

#include <criterion/criterion.h>

#define NODES       20
#define UIDS        400
#define MODSEQS     1600
#define ITEMS       3000
#define ASIDE       1500
#define GENERATIONS 300
#define KEYWORDS    3
#define OPS         3000
#define SEEN        20000

enum state { ABSENT, LEVEL, FOLDER };

struct message {
    uint32_t uid; /* 0: gone */
    uint64_t item;
    uint32_t flags, keywords; /* bits */
};

struct node {
    enum state state;
    const char *name;
    bool subscribed;
    uint32_t use, generation, life; /* generation: of the id; life: of the UIDVALIDITY */
    uint32_t n;                     /* UIDs given */
    uint64_t highest, floor;
    struct message messages[UIDS];
    struct {
        uint32_t uid;
        bool gone;
    } events[MODSEQS]; /* by modseq */
};

struct aside {
    bool there;
    unsigned node;
    uint32_t generation;
    const char *name;
    struct message m;
};

struct model {
    struct node nodes[NODES];
    struct aside aside[ASIDE];
    unsigned aside_n;
    uint32_t refs[ITEMS], kept[ITEMS];
    uint64_t next_item, tail;
};

enum op_kind {
    OP_CREATE,
    OP_REMOVE_FOLDER,
    OP_RENAME,
    OP_SUBSCRIBE_NAME,
    OP_SUBSCRIBE,
    OP_USE,
    OP_PRUNE,
    OP_SEGMENTS,
    OP_ADD,
    OP_FLAGS,
    OP_COPY,
    OP_MOVE,
    OP_EXPUNGE,
    OP_REMOVE,
    OP_RESTORE,
    OP_PURGE
};

struct op {
    enum op_kind kind;
    int expect;
    const char *name, *to; /* of the folder when it is done */
    unsigned node;
    uint32_t generation;
    uint32_t uid, new_uid, value, flags, keywords;
    uint64_t item;
};

/* Folder ids of the store, learnt as operations are applied: what was kept aside is found by them. */
static uint32_t ids[NODES][GENERATIONS];

static void must(int rc, const struct error *err)
{
    cr_assert_geq(rc, 0, "%s", err->text);
}

/* ---- names ---- */

static const char *name_pick(struct rng *r)
{
    static const char *const levels[] = {"a", "b", "c", "e"};
    static char long_level[2][701];
    const char *name = rng_once_in(r, 8) ? "INBOX" : "";

    for (int i = 0; i < 2; i++) {
        memset(long_level[i], 'x', 700);
        long_level[i][699] = (char)('0' + i);
    }
    for (unsigned depth = 1 + (unsigned)rng_below(r, 3); depth > 0; depth--) {
        const char *level = rng_once_in(r, 9) ? long_level[rng_below(r, 2)] : levels[rng_below(r, 4)];

        name = *name ? textf("%s/%s", name, level) : *level ? level : "d";
    }
    return name;
}

static bool is_below(const char *name, const char *top)
{
    const size_t n = strlen(top);

    return strncmp(name, top, n) == 0 && name[n] == '/';
}

/* ---- the model ---- */

static bool has_below(const struct model *m, const char *name)
{
    for (unsigned i = 0; i < NODES; i++)
        if (m->nodes[i].state != ABSENT && is_below(m->nodes[i].name, name))
            return true;
    return false;
}

static struct node *node_named(struct model *m, const char *name)
{
    for (unsigned i = 0; i < NODES; i++)
        if (m->nodes[i].state != ABSENT && strcmp(m->nodes[i].name, name) == 0)
            return &m->nodes[i];
    return NULL;
}

static struct node *node_absent(struct model *m)
{
    for (unsigned i = 0; i < NODES; i++)
        if (m->nodes[i].state == ABSENT && m->nodes[i].generation + 1 < GENERATIONS)
            return &m->nodes[i];
    return NULL;
}

static void node_begin(struct node *n, const char *name)
{
    const uint32_t generation = n->generation + 1, life = n->life;

    memset(n, 0, sizeof *n);
    n->name = name;
    n->generation = generation;
    n->life = life;
    n->highest = 1;
}

/* Levels that nothing keeps any more go, and then perhaps those above them. */
static void settle(struct model *m)
{
    bool again = true;

    while (again) {
        again = false;
        for (unsigned i = 0; i < NODES; i++) {
            struct node *n = &m->nodes[i];

            if (n->state == LEVEL && !n->subscribed && !has_below(m, n->name)) {
                n->state = ABSENT;
                again = true;
            }
        }
    }
}

static void event(struct node *n, uint32_t uid, bool gone)
{
    n->highest++;
    n->events[n->highest].uid = uid;
    n->events[n->highest].gone = gone;
}

static bool node_full(const struct node *n)
{
    return n->n + 1 >= UIDS || n->highest + UIDS + 2 >= MODSEQS;
}

static struct message *pick(struct node *n, struct rng *r)
{
    for (int tries = 0; n->n && tries < 20; tries++) {
        struct message *m = &n->messages[rng_below(r, n->n)];

        if (m->uid)
            return m;
    }
    return NULL;
}

static uint32_t file(struct node *n, const struct message *m)
{
    n->messages[n->n] = *m;
    n->messages[n->n].uid = n->n + 1;
    n->n++;
    event(n, n->n, false);
    return n->n;
}

static void take_out(struct node *n, struct message *m)
{
    event(n, m->uid, true);
    m->uid = 0;
}

/* Rows of the logs are runs; the oldest go first, whichever log they are in. */
static void model_prune(struct node *n, uint64_t keep, uint64_t limit)
{
    struct {
        uint64_t end;
        bool gone;
    } runs[MODSEQS];
    size_t runs_n = 0, last[2] = {SIZE_MAX, SIZE_MAX};
    uint64_t rows[2] = {0, 0};

    for (uint64_t at = n->floor > 1 ? n->floor + 1 : 2; at <= n->highest; at++) {
        const bool gone = n->events[at].gone;

        if (last[gone] != SIZE_MAX && runs[last[gone]].end + 1 == at &&
            n->events[at - 1].uid + 1 == n->events[at].uid) {
            runs[last[gone]].end = at;
            continue;
        }
        last[gone] = runs_n;
        runs[runs_n].end = at;
        runs[runs_n++].gone = gone;
        rows[gone]++;
    }
    for (size_t i = 0; i < runs_n && limit > 0 && (rows[0] > keep || rows[1] > keep); i++, limit--) {
        n->floor = runs[i].end;
        rows[runs[i].gone]--;
    }
}

/* ---- making operations, and doing them to the model ---- */

static bool make_create(struct model *m, struct op *op, struct rng *r)
{
    op->name = name_pick(r);
    struct node *n = node_named(m, op->name);

    if (n && n->state == FOLDER) {
        op->expect = BASE_ERR_EXISTS;
        return true;
    }
    if (!n && (n = node_absent(m)) == NULL)
        return false;
    if (n->state == ABSENT)
        node_begin(n, op->name);
    n->state = FOLDER;
    n->subscribed = true;
    n->life++;
    return true;
}

static bool make_remove_folder(struct model *m, struct op *op, struct node *n)
{
    if (n == &m->nodes[0] || n->state != FOLDER || n->n > 40)
        return false;
    for (uint32_t i = 0; i < n->n; i++) {
        if (!n->messages[i].uid)
            continue;
        m->refs[n->messages[i].item]--;
        take_out(n, &n->messages[i]);
    }
    n->state = LEVEL;
    n->floor = n->highest > 1 ? n->highest : 0;
    op->value = n->n;
    settle(m);
    return true;
}

static bool make_rename(struct model *m, struct op *op, struct node *n, struct rng *r)
{
    if (n->state != FOLDER)
        return false;
    op->to = name_pick(r);
    struct node *there = node_named(m, op->to);
    const bool below = has_below(m, op->to);

    if (n == &m->nodes[0] || is_below(op->to, op->name)) {
        op->expect = BASE_ERR_USAGE;
        return true;
    }
    if (strcmp(op->to, "INBOX") == 0 || below || (there && (there->state == FOLDER || !there->subscribed))) {
        op->expect = BASE_ERR_EXISTS;
        return true;
    }
    if (there) { /* only a subscription */
        there->state = ABSENT;
        n->subscribed = true;
    }
    const size_t old_n = strlen(op->name);

    for (unsigned i = 0; i < NODES; i++) { /* names are short enough to be always allowed */
        struct node *other = &m->nodes[i];

        if (other->state != ABSENT && other != n && is_below(other->name, op->name))
            other->name = textf("%s%s", op->to, other->name + old_n);
    }
    n->name = op->to;
    settle(m);
    return true;
}

static bool names_stay_short(const struct model *m)
{
    for (unsigned i = 0; i < NODES; i++)
        if (m->nodes[i].state != ABSENT && strlen(m->nodes[i].name) > 3000)
            return false;
    return true;
}

static bool make_subscription(struct model *m, struct op *op, struct node *n, struct rng *r)
{
    if (op->kind == OP_SUBSCRIBE) {
        if (n->state == ABSENT)
            return false;
        op->value = n->subscribed = rng_below(r, 2);
        settle(m);
        return true;
    }
    op->name = name_pick(r);
    n = node_named(m, op->name);
    if (!n) {
        if ((n = node_absent(m)) == NULL)
            return false;
        node_begin(n, op->name);
        n->state = LEVEL;
    }
    n->subscribed = true;
    return true;
}

static bool make_filing(struct model *m, struct op *op, struct node *n, struct rng *r)
{
    struct node *to = &m->nodes[rng_below(r, NODES)];
    struct message *message = NULL, add;

    if (op->kind == OP_ADD) {
        if (node_full(n) || m->next_item >= ITEMS)
            return false;
        op->item = m->next_item++;
        add = (struct message){.item = op->item, .flags = op->flags, .keywords = op->keywords};
        op->new_uid = file(n, &add);
        m->refs[op->item]++;
        return true;
    }
    if ((message = pick(n, r)) == NULL || to->state != FOLDER || node_full(to) || node_full(n))
        return false;
    op->uid = message->uid;
    op->to = to->name;
    add = *message;
    op->new_uid = file(to, &add);
    if (op->kind == OP_MOVE)
        take_out(n, message);
    else
        m->refs[add.item]++;
    return true;
}

static bool make_taking(struct model *m, struct op *op, struct node *n, struct rng *r)
{
    struct message *message = pick(n, r);

    if (!message || node_full(n))
        return false;
    op->uid = message->uid;
    if (op->kind == OP_FLAGS) {
        message->flags = op->flags;
        message->keywords = op->keywords;
        event(n, message->uid, false);
        return true;
    }
    m->refs[message->item]--;
    if (op->kind == OP_EXPUNGE) {
        if (m->aside_n >= ASIDE)
            return false;
        m->aside[m->aside_n++] = (struct aside){
            .there = true, .node = op->node, .generation = n->generation, .name = n->name, .m = *message};
        m->kept[message->item]++;
    }
    take_out(n, message);
    return true;
}

static bool make_aside(struct model *m, struct op *op, struct rng *r)
{
    struct aside *a = m->aside_n ? &m->aside[rng_below(r, m->aside_n)] : NULL;
    struct node *to = &m->nodes[rng_below(r, NODES)];

    if (!a || (op->kind == OP_RESTORE && (to->state != FOLDER || node_full(to))))
        return false;
    op->node = a->node;
    op->generation = a->generation;
    op->uid = a->m.uid;
    op->to = to->name;
    if (!a->there) {
        op->expect = BASE_ERR_NOTFOUND;
        return true;
    }
    a->there = false;
    m->kept[a->m.item]--;
    if (op->kind == OP_RESTORE) {
        struct message back = a->m;

        back.flags &= ~8u;
        op->new_uid = file(to, &back);
        m->refs[back.item]++;
    }
    return true;
}

static bool op_make(struct model *m, struct op *op, struct rng *r)
{
    static const enum op_kind mix[] = {
        OP_CREATE,    OP_CREATE,  OP_REMOVE_FOLDER, OP_RENAME,   OP_RENAME,  OP_SUBSCRIBE_NAME,
        OP_SUBSCRIBE, OP_USE,     OP_PRUNE,         OP_SEGMENTS, OP_ADD,     OP_ADD,
        OP_ADD,       OP_ADD,     OP_ADD,           OP_FLAGS,    OP_FLAGS,   OP_FLAGS,
        OP_COPY,      OP_COPY,    OP_MOVE,          OP_MOVE,     OP_EXPUNGE, OP_EXPUNGE,
        OP_REMOVE,    OP_RESTORE, OP_PURGE};

    *op = (struct op){.kind = mix[rng_below(r, sizeof mix / sizeof mix[0])],
                      .node = (unsigned)rng_below(r, NODES),
                      .flags = (uint32_t)rng_below(r, 64),
                      .keywords = (uint32_t)rng_below(r, 1 << KEYWORDS)};
    struct node *n = &m->nodes[op->node];

    op->name = n->name;
    op->generation = n->generation;
    switch (op->kind) {
    case OP_CREATE: return make_create(m, op, r);
    case OP_REMOVE_FOLDER: return make_remove_folder(m, op, n);
    case OP_RENAME: return names_stay_short(m) && make_rename(m, op, n, r);
    case OP_SUBSCRIBE_NAME:
    case OP_SUBSCRIBE: return make_subscription(m, op, n, r);
    case OP_RESTORE:
    case OP_PURGE: return make_aside(m, op, r);
    case OP_SEGMENTS:
        m->tail += rng_below(r, 1000);
        op->value = (uint32_t)m->tail;
        return true;
    default: break;
    }
    if (n->state != FOLDER)
        return false;
    switch (op->kind) {
    case OP_USE: op->value = n->use = (uint32_t)rng_below(r, MDS_USE_TRASH + 1); return true;
    case OP_PRUNE:
        op->value = (uint32_t)rng_below(r, 60);
        op->flags = 1 + (uint32_t)rng_below(r, 20);
        model_prune(n, op->value, op->flags);
        return true;
    case OP_ADD:
    case OP_COPY:
    case OP_MOVE: return make_filing(m, op, n, r);
    default: return make_taking(m, op, n, r);
    }
}

/* ---- doing them to the store ---- */

static int find(struct mds_txn *t, const char *name, uint32_t *id, struct error *err)
{
    struct mds_folder f = {0};
    const int rc = mds_folder_find(t, bytes_str(name), &f, err);

    *id = f.id;
    return rc;
}

static struct bytes keyword_ids(uint32_t mask, uint8_t *room)
{
    size_t n = 0;

    for (uint8_t id = 0; id < KEYWORDS; id++) {
        if (mask >> id & 1) {
            room[n++] = 0;
            room[n++] = id;
        }
    }
    return bytes_of(room, n);
}

static int apply_add(struct mds_txn *t, const struct op *op, uint32_t folder, struct error *err)
{
    uint8_t room[2 * KEYWORDS];
    struct mds_item it = {.size = 5, .hash = hash128_of(bytes_of(&op->item, sizeof op->item)), .msgid_hash = op->item};
    const struct mds_item_words words = {.envelope = BYTES_LIT("(e)"), .headers = BYTES_LIT("h")};
    struct mds_message m = {.folder = folder,
                            .flags = op->flags,
                            .keywords = keyword_ids(op->keywords, room),
                            .size_crlf = op->item % 100,
                            .internal_date = (int64_t)op->item};
    int rc = mds_item_add(t, &it, &words, err);

    cr_assert(rc != BASE_OK || it.id == op->item);
    m.item = it.id;
    if (rc == BASE_OK)
        rc = mds_message_add(t, &m, err);
    cr_assert(rc != BASE_OK || m.uid == op->new_uid);
    return rc;
}

static int apply_remove_folder(struct mds_txn *t, const struct op *op, uint32_t folder, struct error *err)
{
    struct mds_message m;
    int rc = BASE_OK;

    for (uint32_t uid = 1; uid <= op->value && (rc = mds_message_next(t, folder, uid, &m, err)) == 1; uid = m.uid + 1)
        if ((rc = mds_message_remove(t, folder, m.uid, NULL, err)) != BASE_OK)
            return rc;
    return rc < 0 ? rc : mds_folder_remove(t, folder, err);
}

static int apply_one(struct mds_txn *t, const struct op *op, struct error *err)
{
    uint8_t room[2 * KEYWORDS];
    uint32_t folder = ids[op->node][op->generation], to = 0, uid = op->new_uid;
    int rc = BASE_OK;

    if (op->kind == OP_CREATE)
        return mds_folder_create(t, bytes_str(op->name), &folder, err);
    if (op->kind == OP_SUBSCRIBE_NAME)
        return mds_folder_subscribe_name(t, bytes_str(op->name), err);
    if (op->kind == OP_SEGMENTS)
        return mds_segments_put(t, &(struct mds_segments){1, op->value}, err);
    if (op->kind != OP_RESTORE && op->kind != OP_PURGE) {
        if ((rc = find(t, op->name, &folder, err)) != BASE_OK)
            return rc;
        ids[op->node][op->generation] = folder;
    }
    if (op->to && op->kind != OP_RENAME && op->kind != OP_PURGE && (rc = find(t, op->to, &to, err)) != BASE_OK)
        return rc;
    switch (op->kind) {
    case OP_REMOVE_FOLDER: return apply_remove_folder(t, op, folder, err);
    case OP_RENAME: return mds_folder_rename(t, folder, bytes_str(op->to), err);
    case OP_SUBSCRIBE: return mds_folder_set_subscribed(t, folder, op->value, err);
    case OP_USE: return mds_folder_set_special_use(t, folder, (enum mds_special_use)op->value, err);
    case OP_PRUNE:
        rc = mds_log_prune(t, folder, op->value, op->flags, err);
        cr_assert_leq(rc, (int)op->flags);
        return rc < 0 ? rc : BASE_OK;
    case OP_ADD: return apply_add(t, op, folder, err);
    case OP_FLAGS: return mds_message_set_flags(t, folder, op->uid, op->flags, keyword_ids(op->keywords, room), err);
    case OP_COPY: rc = mds_message_copy(t, folder, op->uid, to, 9, &uid, err); break;
    case OP_MOVE: rc = mds_message_move(t, folder, op->uid, to, 9, &uid, err); break;
    case OP_EXPUNGE: return mds_message_expunge(t, folder, op->uid, 123, err);
    case OP_REMOVE: return mds_message_remove(t, folder, op->uid, NULL, err);
    case OP_RESTORE: rc = mds_removed_restore(t, folder, op->uid, to, 9, &uid, err); break;
    default: return mds_removed_purge(t, folder, op->uid, NULL, err);
    }
    cr_assert(rc != BASE_OK || uid == op->new_uid);
    return rc;
}

static int apply(struct mds_txn *t, const struct op *op, struct error *err)
{
    uint16_t id;
    int rc = BASE_OK;

    for (unsigned i = 0; i < KEYWORDS && rc == BASE_OK; i++)
        rc = mds_keyword_id(t, bytes_str(textf("k%u", i)), true, &id, err);
    if (rc != BASE_OK)
        return rc;
    rc = apply_one(t, op, err);
    if (rc == BASE_ERR_AGAIN)
        return rc;
    cr_assert_eq(rc, op->expect, "operation %d on '%.60s' to '%.60s': %s", op->kind, op->name ? op->name : "",
                 op->to ? op->to : "", rc < 0 ? err->text : "");
    return BASE_OK;
}

static int run_batch(struct mds_env *env, const struct op *ops, size_t n, bool abort_first)
{
    struct error err;
    int rc = BASE_ERR_AGAIN, grown = 0;

    for (int tries = 0; rc == BASE_ERR_AGAIN && tries < 40; tries++) {
        struct mds_txn *t = NULL;

        must(mds_write_begin(env, &t, &err), &err);
        rc = BASE_OK;
        for (size_t i = 0; i < n && rc == BASE_OK; i++)
            rc = apply(t, &ops[i], &err);
        if (rc == BASE_OK && !abort_first) {
            rc = mds_write_commit(&t, &err);
        } else {
            mds_write_abort(&t);
            rc = BASE_ERR_AGAIN;
        }
        grown += rc == BASE_ERR_AGAIN && !abort_first;
        abort_first = false;
    }
    must(rc, &err);
    return grown;
}

/* ---- comparing ---- */

static void check_news(struct mds_txn *t, const struct mds_folder *f, const struct node *n, uint64_t since)
{
    roaring_bitmap_t *changed = roaring_bitmap_create(), *gone = roaring_bitmap_create();
    roaring_bitmap_t *want_changed = roaring_bitmap_create(), *want_gone = roaring_bitmap_create();
    const bool logged = since >= n->floor;
    struct error err;
    bool complete = false;

    for (uint64_t at = since + 1; logged && at <= n->highest; at++)
        if (at >= 2)
            roaring_bitmap_add(n->events[at].gone ? want_gone : want_changed, n->events[at].uid);
    for (uint32_t i = 0; i < n->n; i++) {
        if (!n->messages[i].uid)
            roaring_bitmap_remove(want_changed, i + 1);
        if (!logged)
            roaring_bitmap_add(n->messages[i].uid ? want_changed : want_gone, i + 1);
    }
    must(mds_changes_since(t, f->id, since, changed, gone, &complete, &err), &err);
    cr_expect(complete == logged && roaring_bitmap_equals(changed, want_changed) &&
                  roaring_bitmap_equals(gone, want_gone),
              "news of '%.60s' since %llu, floor %llu, highest %llu", n->name, (unsigned long long)since,
              (unsigned long long)n->floor, (unsigned long long)n->highest);
    roaring_bitmap_free(changed);
    roaring_bitmap_free(gone);
    roaring_bitmap_free(want_changed);
    roaring_bitmap_free(want_gone);
}

static void check_node(struct mds_txn *t, const struct node *n)
{
    struct mds_folder f;
    struct error err;
    uint8_t room[2 * KEYWORDS];
    uint32_t exists = 0;

    must(mds_folder_find(t, bytes_str(n->name), &f, &err), &err);
    for (uint32_t i = 0; i < n->n; i++) {
        const struct message *want = &n->messages[i];
        struct mds_message m;
        const int rc = mds_message_get(t, f.id, i + 1, &m, &err);

        cr_expect_eq(rc, want->uid ? BASE_OK : BASE_ERR_NOTFOUND, "'%.60s' %u", n->name, i + 1);
        if (rc != BASE_OK || !want->uid)
            continue;
        exists++;
        cr_expect(m.item == want->item && m.flags == want->flags && m.internal_date == (int64_t)want->item &&
                      bytes_equal(m.keywords, keyword_ids(want->keywords, room)),
                  "'%.60s' %u", n->name, i + 1);
    }
    cr_expect(f.selectable == (n->state == FOLDER) && f.subscribed == n->subscribed && f.special_use == n->use,
              "'%.60s'", n->name);
    cr_expect(f.exists == exists && f.uidnext == n->n + 1 && f.highestmodseq == n->highest &&
                  f.changes_floor == n->floor,
              "'%.60s': %u exist of %u, uidnext %u of %u, highest %llu of %llu, floor %llu of %llu", n->name, f.exists,
              exists, f.uidnext, n->n + 1, (unsigned long long)f.highestmodseq, (unsigned long long)n->highest,
              (unsigned long long)f.changes_floor, (unsigned long long)n->floor);
    if (n->state == FOLDER) {
        const uint64_t some[] = {0, n->floor ? n->floor - 1 : 0, n->floor, (n->floor + n->highest) / 2, n->highest};

        for (size_t i = 0; i < sizeof some / sizeof some[0]; i++)
            check_news(t, &f, n, some[i]);
    }
}

/* Levels that only lead to others, each once. */
static unsigned levels_between(struct model *m)
{
    const char *seen[NODES * 64];
    unsigned n = 0;

    for (unsigned i = 0; i < NODES; i++) {
        const char *name = m->nodes[i].name;

        for (const char *slash = m->nodes[i].state != ABSENT ? strchr(name, '/') : NULL; slash;
             slash = strchr(slash + 1, '/')) {
            const char *top = textf("%.*s", (int)(slash - name), name);
            bool known = node_named(m, top) != NULL;

            for (unsigned k = 0; k < n && !known; k++)
                known = strcmp(seen[k], top) == 0;
            if (!known && n < sizeof seen / sizeof seen[0])
                seen[n++] = top;
        }
    }
    return n;
}

static void check_aside(struct mds_txn *t, const struct model *m)
{
    struct mds_removed r = {0};
    struct error err;
    uint8_t room[2 * KEYWORDS];
    unsigned there = 0, found = 0;
    int rc;

    for (unsigned i = 0; i < m->aside_n; i++)
        there += m->aside[i].there;
    while ((rc = mds_removed_next(t, r.folder, r.uid, &r, &err)) == 1) {
        const struct aside *a = NULL;

        for (unsigned i = 0; i < m->aside_n && !a; i++)
            if (m->aside[i].there && m->aside[i].m.uid == r.uid &&
                ids[m->aside[i].node][m->aside[i].generation] == r.folder)
                a = &m->aside[i];
        cr_assert(a, "removed %u/%u", r.folder, r.uid);
        found++;
        cr_expect(r.removed_at == 123 && bytes_equal(r.folder_name, bytes_str(a->name)) &&
                      r.message.item == a->m.item && r.message.flags == a->m.flags &&
                      bytes_equal(r.message.keywords, keyword_ids(a->m.keywords, room)),
                  "removed %u/%u", r.folder, r.uid);
    }
    must(rc, &err);
    cr_expect_eq(found, there);
}

static void check_items(struct mds_txn *t, const struct model *m)
{
    struct mds_item it;
    struct error err;

    for (uint64_t id = 1; id < m->next_item; id++) {
        const int rc = mds_item_get(t, id, &it, &err);

        cr_expect_eq(rc, m->refs[id] || m->kept[id] ? BASE_OK : BASE_ERR_NOTFOUND, "item %llu", (unsigned long long)id);
        cr_expect(rc != BASE_OK || it.refs == m->refs[id], "item %llu", (unsigned long long)id);
    }
}

/* A client that finds the UIDVALIDITY it knows under a name must have found the mailbox it knows. */
static void check_uidvalidities(struct mds_txn *t, const struct model *m, bool begin)
{
    static struct {
        uint64_t name;
        uint32_t uidvalidity, life;
        unsigned node;
    } seen[SEEN];
    static size_t seen_n;

    seen_n = begin ? 0 : seen_n;
    for (unsigned i = 0; i < NODES; i++) {
        const struct node *n = &m->nodes[i];
        struct mds_folder f;
        struct error err;

        if (n->state != FOLDER || seen_n >= SEEN)
            continue;
        must(mds_folder_find(t, bytes_str(n->name), &f, &err), &err);
        const uint64_t name = hash64_of(bytes_str(n->name));

        for (size_t k = 0; k < seen_n; k++)
            cr_expect(seen[k].name != name || seen[k].uidvalidity != f.uidvalidity ||
                          (seen[k].node == i && seen[k].life == n->life),
                      "'%.60s' has a UIDVALIDITY again", n->name);
        seen[seen_n].name = name;
        seen[seen_n].uidvalidity = f.uidvalidity;
        seen[seen_n].node = i;
        seen[seen_n++].life = n->life;
    }
}

static void say(const char *text, void *arg)
{
    (void)arg;
    (void)fprintf(stderr, "finding: %s\n", text);
}

static void check_all(struct mds_txn *t, struct model *m)
{
    struct mds_segments s;
    struct mds_stat st;
    struct error err;
    unsigned folders = 0;

    for (unsigned i = 0; i < NODES; i++) {
        if (m->nodes[i].state == ABSENT)
            continue;
        folders++;
        check_node(t, &m->nodes[i]);
    }
    check_aside(t, m);
    check_items(t, m);
    must(mds_segments_get(t, &s, &err), &err);
    cr_expect_eq(s.tail, m->tail);
    must(mds_stat(t, &st, &err), &err);
    cr_expect_eq(st.folders, folders + levels_between(m), "%llu folders", (unsigned long long)st.folders);
}

static void check_store(struct mds_env *env, struct model *m)
{
    struct mds_txn *t = NULL;
    struct error err;

    must(mds_read_begin(env, &t, &err), &err);
    check_all(t, m);
    cr_expect_eq(mds_verify(t, say, NULL, &err), 0);
    mds_read_end(&t);
    must(mds_write_begin(env, &t, &err), &err);
    check_all(t, m);
    mds_write_abort(&t);
}

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
    const struct mds_options opts = {
        .create = true, .archive_name = "live", .map_bytes = map_bytes, .relaxed = batch == 1};
    struct rng r = rng_of(seed), chance = rng_of(seed + batch);
    static struct model m;
    static struct op ops[OPS];
    struct mds_env *env = NULL;
    struct mds_txn *t = NULL;
    struct error err;
    size_t n = 0;
    int grown = 0, checks = 0;

    memset(&m, 0, sizeof m);
    m.next_item = 1;
    node_begin(&m.nodes[0], "INBOX");
    m.nodes[0].state = FOLDER;
    m.nodes[0].subscribed = true;
    must(mds_open(dir, &opts, &env, &err), &err);
    for (size_t i = 0; i < OPS; i++) {
        if (op_make(&m, &ops[n], &r))
            n++;
        if (n < batch && i + 1 < OPS && i != OPS / 2)
            continue;
        grown += run_batch(env, ops, n, rng_once_in(&chance, 5));
        n = 0;
        if (i == OPS / 2)
            must(mds_hashes_build(env, "/tmp", &err), &err);
        must(mds_read_begin(env, &t, &err), &err);
        if (batch > 1 || rng_once_in(&chance, 10))
            check_uidvalidities(t, &m, checks++ == 0);
        mds_read_end(&t);
        if (i == OPS / 2 || i + 1 == OPS)
            check_store(env, &m);
    }
    char *dump = dump_of(env);

    cr_expect(map_bytes ? grown >= 1 : grown == 0, "the map grew %d times", grown);
    mds_close(&env);
    return dump;
}

Test(mds_live, any_batch_size_gives_the_store_of_the_model, .timeout = 550)
{
    static const struct {
        const char *name;
        size_t batch;
        uint64_t map_bytes;
    } rows[] = {
        {"one batch", OPS, 0},
        {"batches of 60", 60, 0},
        {"batches of 7 in a tiny map", 7, 256 << 10},
        {"single operations", 1, 0},
    };
    const uint64_t seed = rng_start("mds_live").state;
    char *first = run(seed, rows[0].batch, rows[0].map_bytes);

    cr_expect(strstr(first, "\nremoved ") && strstr(first, "\nrenames "));
    for (size_t i = 1; i < sizeof rows / sizeof rows[0]; i++) {
        char *dump = run(seed, rows[i].batch, rows[i].map_bytes);

        cr_expect_eq(strcmp(first, dump), 0, "%s: the dump differs", rows[i].name);
        free(dump);
    }
    free(first);
}
