/*
 * Random changes of a vault (mail comes, goes, is moved, edited, flagged; folders come and go; an mbox is
 * rewritten), changes by clients (mail is expunged, moved and copied away, its folder deleted), a build after each, and
 * a naive model of what the archive must say: what a client let go stays so, what it moved or copied lives as long as
 * the vault has its bytes, UIDs never move, expunged UIDs never come back, flags follow the three-way rule. Two stores
 * are built side by side with other numbers of workers and other batches: their dumps must be the same.
 */
#include <criterion/criterion.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "indexer/indexer.h"
#include "mds/mds.h"
#include "test_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDERS 5
#define ENTRIES 600
#define STEPS   10
#define COPIES  400

static const char *const folder_dirs[FOLDERS] = {"", ".One", ".One.Two", ".Three", ".Four"};
static const char *const folder_names[FOLDERS + 1] = {"INBOX", "One", "One/Two", "Three", "Four", "Box"};
#define BOX FOLDERS

/* One mail of the vault, or one that was there. */
struct entry {
    bool alive, fresh; /* fresh: came since the last build */
    bool went;         /* since the last build */
    unsigned folder;
    unsigned name, content;
    uint32_t vault_flags;   /* in the file name now */
    uint32_t seen_flags;    /* at the last build */
    bool let_go;            /* by a client: the vault has it still, its folder not */
    uint32_t archive_flags; /* what the message must have */
    uint32_t uid;
};

struct model {
    struct rng rng;
    const char *vault, *box;
    struct entry entries[ENTRIES];
    unsigned n, names;
    unsigned box_content[ENTRIES], box_n;
    uint32_t uidnext[FOLDERS + 1];
    struct copy { /* what clients made, in folder "Client" */
        unsigned content;
        uint32_t uid;
        bool aside; /* expunged there, kept aside */
    } copies[COPIES];
    unsigned copies_n;
};

struct store {
    const char *dir;
    unsigned jobs;
    uint32_t batch;
    double max_rate; /* slow: the planner then sees what the writer did in the same run */
};

static const char *content_text(unsigned content)
{
    return textf("From: a%u@example.org\nTo: b@example.org\nSubject: mail %u\nMessage-ID: <%u@x>\n\nbody %u\n",
                 content % 7, content, content, content * 31);
}

static const char *entry_path(const struct model *m, const struct entry *e)
{
    char flags[8];
    int n = 0;
    if (e->vault_flags & VAULT_FLAG_FLAGGED)
        flags[n++] = 'F';
    if (e->vault_flags & VAULT_FLAG_ANSWERED)
        flags[n++] = 'R';
    if (e->vault_flags & VAULT_FLAG_SEEN)
        flags[n++] = 'S';
    flags[n] = '\0';
    return textf("%s/%s/cur/%u.m%u.host:2,%s", m->vault, folder_dirs[e->folder], 1000 + e->name, e->name, flags);
}

/* ---- changing the vault --------------------------------------------------------------------- */

static const char *folder_path(const struct model *m, unsigned folder)
{
    return textf("%s/%s", m->vault, folder_dirs[folder]);
}

/* Folders appear with their first mail. */
static void folder_make(const struct model *m, unsigned folder)
{
    static const char *const subs[] = {"cur", "new", "tmp"};
    for (unsigned i = 0; i < 3; i++)
        mkpath(textf("%s/%s", folder_path(m, folder), subs[i]));
}

static void entry_write(const struct model *m, const struct entry *e)
{
    folder_make(m, e->folder);
    write_text(entry_path(m, e), content_text(e->content));
}

static void add_mail(struct model *m)
{
    if (m->n == ENTRIES)
        return;
    struct entry *e = &m->entries[m->n++];
    *e = (struct entry){
        .alive = true,
        .fresh = true,
        .folder = (unsigned)rng_below(&m->rng, FOLDERS - 1),
        .name = m->names++,
        .content = (unsigned)rng_below(&m->rng, 60), /* the same mail comes again and again */
        .vault_flags = (uint32_t)rng_below(&m->rng, 8),
    };
    e->vault_flags &= VAULT_FLAG_SEEN | VAULT_FLAG_FLAGGED | VAULT_FLAG_ANSWERED;
    entry_write(m, e);
}

static struct entry *any_entry(struct model *m)
{
    struct entry *e = m->n ? &m->entries[rng_below(&m->rng, m->n)] : NULL;
    return e && e->alive ? e : NULL;
}

static void entry_go(struct entry *e)
{
    e->alive = false;
    e->went = true;
}

static void remove_mail(struct model *m)
{
    struct entry *e = any_entry(m);
    if (!e)
        return;
    cr_assert_eq(unlink(entry_path(m, e)), 0);
    entry_go(e);
}

/* The vault loses every mail of which some client has a copy. */
static void lose_copied_mail(struct model *m)
{
    if (!m->copies_n)
        return;
    unsigned content = m->copies[rng_below(&m->rng, m->copies_n)].content;
    for (unsigned i = 0; i < m->n; i++) {
        struct entry *e = &m->entries[i];
        if (!e->alive || e->content != content)
            continue;
        cr_assert_eq(unlink(entry_path(m, e)), 0);
        entry_go(e);
    }
}

static void flag_mail(struct model *m)
{
    struct entry *e = any_entry(m);
    if (!e)
        return;
    const char *before = entry_path(m, e);
    e->vault_flags = (uint32_t)rng_below(&m->rng, 8) & (VAULT_FLAG_SEEN | VAULT_FLAG_FLAGGED | VAULT_FLAG_ANSWERED);
    cr_assert_eq(rename(before, entry_path(m, e)), 0);
}

/* The mail of `e` now lies in that folder. What went and came back between two builds never went. */
static struct entry *entry_arrive(struct model *m, const struct entry *e, unsigned folder)
{
    for (unsigned i = 0; i < m->n; i++) {
        struct entry *old = &m->entries[i];
        if (old->alive || !old->went || old->fresh || old->folder != folder || old->name != e->name)
            continue;
        old->alive = true;
        old->went = false;
        old->vault_flags = e->vault_flags;
        return old;
    }
    cr_assert_lt(m->n, ENTRIES);
    struct entry *to = &m->entries[m->n++];
    *to = *e;
    to->folder = folder;
    to->fresh = true;
    to->went = false;
    to->alive = true;
    to->let_go = false;
    to->uid = 0;
    return to;
}

/* To another folder, under the same name: an expunge here, an addition there. */
static void move_mail(struct model *m)
{
    struct entry *e = any_entry(m);
    if (!e || m->n == ENTRIES)
        return;
    const char *from = entry_path(m, e);
    entry_go(e);
    struct entry *to = entry_arrive(m, e, (e->folder + 1) % (FOLDERS - 2));
    folder_make(m, to->folder);
    cr_assert_eq(rename(from, entry_path(m, to)), 0);
}

/* The last two folders are one that changes its name: all its mail goes there and comes here. */
static void rename_folder(struct model *m)
{
    unsigned from = file_exists(folder_path(m, FOLDERS - 1)) ? FOLDERS - 1 : FOLDERS - 2;
    unsigned to = from == FOLDERS - 1 ? FOLDERS - 2 : FOLDERS - 1;
    unsigned n = m->n;
    if (!file_exists(folder_path(m, from)) || file_exists(folder_path(m, to)) || 2 * n > ENTRIES)
        return;
    cr_assert_eq(rename(folder_path(m, from), folder_path(m, to)), 0);
    for (unsigned i = 0; i < n; i++) {
        struct entry *e = &m->entries[i];
        if (!e->alive || e->folder != from)
            continue;
        entry_go(e);
        entry_arrive(m, e, to);
    }
}

static void box_write(const struct model *m)
{
    struct buf out = {0};
    for (unsigned i = 0; i < m->box_n; i++) {
        buf_append_str(&out, "From a@example.org Thu Jan  1 00:00:00 2004\n");
        buf_append_str(&out, content_text(m->box_content[i]));
        buf_append_str(&out, "\n");
    }
    write_file(m->box, buf_bytes(&out));
    buf_release(&out);
}

static void change_box(struct model *m)
{
    unsigned what = (unsigned)rng_below(&m->rng, 4);
    if (what == 0 || m->box_n < 3) {
        for (unsigned i = 0; i < 4 && m->box_n < ENTRIES; i++)
            m->box_content[m->box_n++] = 100 + (unsigned)rng_below(&m->rng, 12); /* many equal ones */
    } else if (what == 1) {
        unsigned at = (unsigned)rng_below(&m->rng, m->box_n);
        memmove(&m->box_content[at], &m->box_content[at + 1], (m->box_n - at - 1) * sizeof *m->box_content);
        m->box_n--;
    } else if (what == 2) {
        unsigned a = (unsigned)rng_below(&m->rng, m->box_n), b = (unsigned)rng_below(&m->rng, m->box_n);
        unsigned t = m->box_content[a];
        m->box_content[a] = m->box_content[b];
        m->box_content[b] = t;
    } else {
        unsigned at = (unsigned)rng_below(&m->rng, m->box_n);
        memmove(&m->box_content[at + 1], &m->box_content[at], (m->box_n - at) * sizeof *m->box_content);
        m->box_content[at] = 100 + (unsigned)rng_below(&m->rng, 12);
        m->box_n++;
    }
    box_write(m);
}

static void change(struct model *m)
{
    unsigned times = 1 + (unsigned)rng_below(&m->rng, 12);
    for (unsigned i = 0; i < times; i++)
        switch (rng_below(&m->rng, 10)) {
        case 0:
        case 1:
        case 2: add_mail(m); break;
        case 3: remove_mail(m); break;
        case 4: flag_mail(m); break;
        case 5: move_mail(m); break;
        case 6: rename_folder(m); break;
        case 7: lose_copied_mail(m); break;
        default: change_box(m); break;
        }
}

/* ---- building ---------------------------------------------------------------------------------- */

static const char *archive_dir(const char *store)
{
    struct mds_catalogue *c = NULL;
    static struct mds_archive_info info;
    cr_assert_eq(mds_catalogue_open(store, false, true, &c, NULL), 0);
    cr_assert_eq(mds_catalogue_archive_find(c, "mail", false, &info, NULL), 0);
    mds_catalogue_close(&c);
    return info.dir;
}

static void build(const struct model *m, const struct store *s, bool full)
{
    struct vault_spec specs[2] = {0};
    struct indexer_report report;
    struct error err = {0};
    cr_assert_eq(vault_spec_parse(textf("maildir++:%s", m->vault), &specs[0], &err), 0);
    cr_assert_eq(vault_spec_parse(textf("mbox:%s=Box", m->box), &specs[1], &err), 0);
    struct indexer_build b = {
        .store_dir = s->dir,
        .archive = "mail",
        .sources = specs,
        .sources_n = 2,
        .jobs = s->jobs,
        .batch_items = s->batch,
        .full = full,
        .max_rate = s->max_rate,
        .allow_removals = true,
    };
    int rc = indexer_build(&b, &report, &err);
    cr_assert_eq(rc, 0, "build: %s", err.text);
    cr_assert_eq(report.failed, 0, "%s", report.last_failure);
    vault_spec_release(&specs[0]);
    vault_spec_release(&specs[1]);
}

static char *dump_of(const char *store, size_t *n_out)
{
    struct mds_env *env = NULL;
    struct mds_txn *txn = NULL;
    struct mds_options opts = {.read_only = true};
    char *text = NULL;
    FILE *f = open_memstream(&text, n_out);
    cr_assert_eq(mds_open(archive_dir(store), &opts, &env, NULL), 0);
    cr_assert_eq(mds_read_begin(env, &txn, NULL), 0);
    cr_assert_eq(mds_dump(txn, f, NULL), 0);
    mds_read_end(&txn);
    mds_close(&env);
    fclose(f);
    return text;
}

static void print_text(const char *text, void *arg)
{
    (void)arg;
    fprintf(stderr, "verify: %s\n", text);
}

static void check_sound(const char *store)
{
    struct mds_env *env = NULL;
    struct mds_txn *txn = NULL;
    struct mds_options opts = {.read_only = true};
    struct error err = {0};
    cr_assert_eq(mds_open(archive_dir(store), &opts, &env, NULL), 0);
    cr_assert_eq(mds_read_begin(env, &txn, NULL), 0);
    cr_assert_eq(mds_verify(txn, print_text, NULL, &err), 0, "%s", err.text);
    mds_read_end(&txn);
    mds_close(&env);
}

/* ---- the model's answer ---------------------------------------------------------------------- */

struct found {
    uint32_t uid, flags;
    struct hash128 hash;
    bool expected;
};

static size_t read_folder(struct mds_txn *txn, const char *name, struct found *out, size_t max, uint32_t *uidnext)
{
    struct mds_folder f;
    struct mds_message msg;
    size_t n = 0;
    if (mds_folder_find(txn, bytes_str(name), &f, NULL) < 0)
        return 0;
    *uidnext = f.uidnext;
    for (uint32_t uid = 1; mds_message_next(txn, f.id, uid, &msg, NULL) > 0; uid = msg.uid + 1) {
        struct mds_item item;
        cr_assert_lt(n, max);
        out[n] = (struct found){.uid = msg.uid, .flags = msg.flags};
        cr_assert_eq(mds_item_get(txn, msg.item, &item, NULL), 0);
        out[n++].hash = item.hash;
    }
    return n;
}

static bool is_content(const struct found *f, unsigned content)
{
    struct hash128 h = hash128_of(bytes_str(content_text(content)));
    return hash128_compare(&h, &f->hash) == 0;
}

/* New mail of a folder has UIDs in the vault's order, from the old UIDNEXT on. */
static void expect_maildir(struct model *m, unsigned folder, struct found *found, size_t n, uint32_t uidnext)
{
    uint32_t next = m->uidnext[folder];
    size_t alive = 0;
    for (unsigned name = 0; name < m->names; name++)
        for (unsigned i = 0; i < m->n; i++) {
            struct entry *e = &m->entries[i];
            if (!e->alive || e->folder != folder || e->name != name)
                continue;
            if (e->fresh) {
                e->uid = next++;
                e->archive_flags = e->vault_flags;
            } else {
                uint32_t changed = e->vault_flags ^ e->seen_flags;
                e->archive_flags = (e->archive_flags & ~changed) | (e->vault_flags & changed);
            }
            e->fresh = false;
            e->seen_flags = e->vault_flags;
            if (e->let_go) {
                for (size_t at = 0; at < n; at++)
                    cr_assert_neq(found[at].uid, e->uid, "%s: UID %u came back", folder_names[folder], e->uid);
                continue;
            }
            alive++;
            size_t at = 0;
            while (at < n && found[at].uid != e->uid)
                at++;
            cr_assert_lt(at, n, "%s: mail %u lost its UID %u", folder_names[folder], name, e->uid);
            cr_assert(is_content(&found[at], e->content), "%s: UID %u is other mail", folder_names[folder], e->uid);
            cr_assert_eq(found[at].flags, e->archive_flags, "%s: UID %u: flags %x, not %x", folder_names[folder],
                         e->uid, found[at].flags, e->archive_flags);
        }
    for (unsigned i = 0; i < m->n; i++)
        m->entries[i].went = m->entries[i].went && m->entries[i].folder != folder;
    cr_assert_eq(alive, n, "%s has %zu messages, not %zu", folder_names[folder], n, alive);
    cr_assert_geq(uidnext, next);
}

/* Of equal mails the oldest UIDs stay; what is new is above the old UIDNEXT. */
static void expect_box(const struct model *m, const struct found *before, size_t before_n, const struct found *now,
                       size_t now_n)
{
    cr_assert_eq(now_n, m->box_n, "the mbox has %u mails, its folder %zu", m->box_n, now_n);
    for (unsigned content = 100; content < 112; content++) {
        size_t old = 0, want = 0, kept = 0, fresh = 0;
        for (unsigned i = 0; i < m->box_n; i++)
            want += m->box_content[i] == content;
        for (size_t i = 0; i < before_n; i++)
            old += is_content(&before[i], content);
        size_t keep = old < want ? old : want, index = 0;
        for (size_t i = 0; i < before_n; i++) {
            if (!is_content(&before[i], content))
                continue;
            bool there = false;
            for (size_t j = 0; j < now_n; j++)
                there = there || (now[j].uid == before[i].uid && is_content(&now[j], content));
            cr_assert_eq(there, index < keep, "mail %u, UID %u: %s", content, before[i].uid, there ? "stayed" : "went");
            kept += there;
            index++;
        }
        for (size_t j = 0; j < now_n; j++)
            fresh += is_content(&now[j], content) && now[j].uid >= m->uidnext[BOX];
        cr_assert_eq(kept + fresh, want, "mail %u: %zu kept, %zu new, %zu wanted", content, kept, fresh, want);
    }
}

static bool vault_has(const struct model *m, unsigned content)
{
    for (unsigned i = 0; i < m->n; i++)
        if (m->entries[i].alive && m->entries[i].content == content)
            return true;
    return false;
}

/* Copies live as long as the vault has their bytes. */
static void expect_copies(struct model *m, const struct found *found, size_t n)
{
    unsigned kept = 0, alive = 0;
    for (unsigned i = 0; i < m->copies_n; i++) {
        struct copy *c = &m->copies[i];
        if (!vault_has(m, c->content))
            continue;
        m->copies[kept++] = *c;
        alive += !c->aside;
        for (size_t at = 0; !c->aside && at <= n; at++) {
            cr_assert_lt(at, n, "copy %u of mail %u is gone", c->uid, c->content);
            if (found[at].uid == c->uid) {
                cr_assert(is_content(&found[at], c->content));
                break;
            }
        }
    }
    m->copies_n = kept;
    cr_assert_eq(n, alive, "%zu copies, not %u", n, alive);
}

static void check_and_flag(struct model *m, const struct store *s, struct found *box, size_t *box_n)
{
    struct mds_env *env = NULL;
    struct mds_txn *txn = NULL;
    struct mds_options opts = {.archive_name = "mail"};
    static struct found found[ENTRIES];
    cr_assert_eq(mds_open(archive_dir(s->dir), &opts, &env, NULL), 0);
    cr_assert_eq(mds_read_begin(env, &txn, NULL), 0);
    for (unsigned f = 0; f < FOLDERS; f++) {
        uint32_t uidnext = m->uidnext[f];
        size_t n = read_folder(txn, folder_names[f], found, ENTRIES, &uidnext);
        expect_maildir(m, f, found, n, uidnext);
        m->uidnext[f] = uidnext;
    }
    uint32_t uidnext = 0;
    expect_copies(m, found, read_folder(txn, "Client", found, ENTRIES, &uidnext));
    uidnext = m->uidnext[BOX];
    size_t n = read_folder(txn, "Box", found, ENTRIES, &uidnext);
    expect_box(m, box, *box_n, found, n);
    memcpy(box, found, n * sizeof *found);
    *box_n = n;
    m->uidnext[BOX] = uidnext;
    mds_read_end(&txn);
    mds_close(&env);
}

/* A reader flags something in the archive: an unchanged vault must not undo it. The same in both stores. */
static void flag_in_archive(struct model *m, const struct store *stores)
{
    for (unsigned i = 0; i < 3; i++) {
        struct entry *e = any_entry(m);
        if (!e || !e->uid || e->let_go)
            continue;
        e->archive_flags = (uint32_t)rng_below(&m->rng, 64) & MDS_FLAGS_ALL;
        for (unsigned s = 0; s < 2; s++) {
            struct mds_env *env = NULL;
            struct mds_txn *txn = NULL;
            struct mds_folder f;
            struct mds_options opts = {.archive_name = "mail"};
            cr_assert_eq(mds_open(archive_dir(stores[s].dir), &opts, &env, NULL), 0);
            cr_assert_eq(mds_write_begin(env, &txn, NULL), 0);
            cr_assert_eq(mds_folder_find(txn, bytes_str(folder_names[e->folder]), &f, NULL), 0);
            cr_assert_eq(mds_message_set_flags(txn, f.id, e->uid, e->archive_flags, (struct bytes){0}, NULL), 0);
            cr_assert_eq(mds_write_commit(&txn, NULL), 0);
            mds_close(&env);
        }
    }
}

enum client_act { CLIENT_EXPUNGE, CLIENT_MOVE, CLIENT_COPY, CLIENT_EXPUNGE_COPY };

/* One act in one store; *uid_out: of the copy. */
static void client_act(const char *store, enum client_act act, const char *folder, uint32_t uid, uint32_t *uid_out)
{
    struct mds_env *env = NULL;
    struct mds_txn *txn = NULL;
    struct mds_folder f;
    struct mds_options opts = {.archive_name = "mail"};
    struct error err = {0};
    uint32_t client = 0;
    cr_assert_eq(mds_open(archive_dir(store), &opts, &env, NULL), 0);
    cr_assert_eq(mds_write_begin(env, &txn, NULL), 0);
    int rc = mds_folder_create(txn, BYTES_LIT("Client"), &client, &err);
    cr_assert(rc == 0 || rc == BASE_ERR_EXISTS, "%s", err.text);
    cr_assert_eq(mds_folder_find(txn, bytes_str(folder), &f, &err), 0, "%s", err.text);
    if (act == CLIENT_MOVE)
        rc = mds_message_move(txn, f.id, uid, client, 1, uid_out, &err);
    else if (act == CLIENT_COPY)
        rc = mds_message_copy(txn, f.id, uid, client, 1, uid_out, &err);
    else
        rc = mds_message_expunge(txn, f.id, uid, 1, &err);
    cr_assert_eq(rc, 0, "%s", err.text);
    cr_assert_eq(mds_write_commit(&txn, &err), 0, "%s", err.text);
    mds_close(&env);
}

/* Clients at work, in both stores alike. */
static void act_in_archive(struct model *m, const struct store *stores)
{
    for (unsigned i = 0; i < 6; i++) {
        enum client_act act = (enum client_act)rng_below(&m->rng, 4);
        struct entry *e = any_entry(m);
        struct copy *c = m->copies_n ? &m->copies[rng_below(&m->rng, m->copies_n)] : NULL;
        uint32_t uid = 0;
        if (act == CLIENT_EXPUNGE_COPY) {
            if (!c || c->aside)
                continue;
            for (unsigned s = 0; s < 2; s++)
                client_act(stores[s].dir, act, "Client", c->uid, NULL);
            c->aside = true;
            continue;
        }
        if (!e || !e->uid || e->let_go || m->copies_n == COPIES)
            continue;
        for (unsigned s = 0; s < 2; s++)
            client_act(stores[s].dir, act, folder_names[e->folder], e->uid, &uid);
        e->let_go = act != CLIENT_COPY;
        if (act != CLIENT_EXPUNGE)
            m->copies[m->copies_n++] = (struct copy){.content = e->content, .uid = uid};
    }
}

Test(indexer_model, random_vaults_and_rebuilds)
{
    struct model *m = calloc(1, sizeof *m);
    const char *dir = TEMP_DIR();
    static struct found box[ENTRIES];
    size_t box_n = 0;
    m->rng = rng_start("indexer_model");
    m->vault = path_join(dir, "maildir");
    m->box = path_join(dir, "box");
    folder_make(m, 0);
    for (unsigned f = 0; f <= FOLDERS; f++)
        m->uidnext[f] = 1;
    for (unsigned i = 0; i < 40; i++)
        add_mail(m);
    for (unsigned i = 0; i < 3; i++)
        change_box(m);
    for (unsigned step = 0; step < STEPS; step++) {
        struct store stores[2] = {
            {path_join(dir, "store1"), 2, 10000, 0},
            {path_join(dir, "store2"), 1, 1 + (uint32_t)rng_below(&m->rng, 20), rng_once_in(&m->rng, 2) ? 400 : 0},
        };
        bool full = rng_once_in(&m->rng, 4);
        for (unsigned s = 0; s < 2; s++)
            build(m, &stores[s], full);
        size_t n1, n2;
        char *one = dump_of(stores[0].dir, &n1), *two = dump_of(stores[1].dir, &n2);
        cr_assert(n1 == n2 && memcmp(one, two, n1) == 0, "step %u: dumps differ with batch %u", step, stores[1].batch);
        free(one);
        free(two);
        check_and_flag(m, &stores[0], box, &box_n);
        check_sound(stores[0].dir);
        flag_in_archive(m, stores);
        act_in_archive(m, stores);
        change(m);
    }
    free(m);
}
