/*
 * An archive with its own vault, changed at random: imports (of a Maildir that grows and shrinks), expunges, undeletes,
 * purges and compactions, against a naive list of messages. After each step every message has its bytes, and the store
 * is sound.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "indexer/archive.h"
#include "indexer/indexer.h"
#include "mds/mds.h"
#include "test_support.h"
#include "vault/segment.h"

#define MAILS 400
#define STEPS 24

enum state { NOT_YET, FILED, EXPUNGED, PURGED };

struct lab {
    struct rng rng;
    const char *store, *vault, *dir;
    enum state state[MAILS]; /* mail i has content i */
    bool in_vault[MAILS];
    unsigned n;
    struct bytes text[MAILS];
    struct hash128 hash[MAILS];
};

static struct bytes mail_text(unsigned i)
{
    struct buf b = {0};

    buf_printf(&b, "From: a%u@example.org\nSubject: mail %u\nMessage-ID: <%u@x>\n\n", i % 7, i, i);
    for (unsigned line = 0; line < (i * 37) % 300; line++)
        buf_printf(&b, "line %u of %u %x\n", line, i, (line * 2654435761u) ^ (i * 40503u));
    const struct bytes text = bytes_str(textf("%.*s", (int)b.n, (const char *)b.p));

    buf_release(&b);
    return text;
}

static const char *mail_path(const struct lab *lab, unsigned i)
{
    return textf("%s/cur/%u.m%u.host:2,", lab->vault, 1000 + i, i);
}

static void grow(struct lab *lab, unsigned n)
{
    for (; n && lab->n < MAILS; n--, lab->n++) {
        lab->text[lab->n] = mail_text(lab->n);
        lab->hash[lab->n] = hash128_of(lab->text[lab->n]);
        write_file(mail_path(lab, lab->n), lab->text[lab->n]);
        lab->in_vault[lab->n] = true;
    }
}

static void shrink(struct lab *lab)
{
    for (unsigned i = 0; i < lab->n; i++) {
        if (lab->in_vault[i] && lab->state[i] != NOT_YET && rng_once_in(&lab->rng, 3)) {
            (void)unlink(mail_path(lab, i));
            lab->in_vault[i] = false;
        }
    }
}

static void import(struct lab *lab)
{
    struct vault_spec spec;
    struct indexer_report report;
    struct error err = {0};

    cr_assert_eq(vault_spec_parse(textf("maildir:%s", lab->vault), &spec, &err), 0);
    const struct indexer_build build = {.store_dir = lab->store,
                                        .archive = "own",
                                        .sources = &spec,
                                        .sources_n = 1,
                                        .import = true,
                                        .full = true,
                                        .jobs = 1,
                                        .batch_items = 1 + (uint32_t)rng_below(&lab->rng, 40)};

    cr_assert_eq(indexer_build(&build, &report, &err), 0, "%s", err.text);
    cr_expect_eq(report.failed, 0, "%s", report.last_failure);
    cr_expect_eq(report.messages_expunged, 0);
    cr_expect_eq(report.removals_refused, 0);
    vault_spec_release(&spec);
    for (unsigned i = 0; i < lab->n; i++)
        if (lab->state[i] == NOT_YET)
            lab->state[i] = FILED;
}

static struct mds_env *open_env(const struct lab *lab)
{
    const struct mds_options opts = {.archive_name = "own"};
    struct mds_env *env = NULL;
    struct error err = {0};

    cr_assert_eq(mds_open(lab->dir, &opts, &env, &err), 0, "%s", err.text);
    return env;
}

/* Which mail is it? By its size and hash. */
static unsigned mail_of(const struct lab *lab, struct mds_txn *txn, uint64_t item)
{
    struct mds_item it;
    struct error err = {0};

    cr_assert_eq(mds_item_get(txn, item, &it, &err), 0, "%s", err.text);
    for (unsigned i = 0; i < lab->n; i++)
        if (hash128_compare(&lab->hash[i], &it.hash) == 0)
            return i;
    cr_assert_fail("an item that was never filed");
    return 0;
}

static void expunge(struct lab *lab, unsigned part)
{
    struct mds_env *env = open_env(lab);
    struct mds_txn *txn = NULL;
    struct mds_folder f;
    struct error err = {0};

    cr_assert_eq(mds_write_begin(env, &txn, &err), 0);
    cr_assert_eq(mds_folder_find(txn, BYTES_LIT("INBOX"), &f, &err), 0);
    for (uint32_t uid = 1; uid < f.uidnext; uid++) {
        struct mds_message m;

        if (rng_below(&lab->rng, 100) >= part || mds_message_get(txn, f.id, uid, &m, NULL) != 0)
            continue;
        lab->state[mail_of(lab, txn, m.item)] = EXPUNGED;
        cr_assert_eq(mds_message_expunge(txn, f.id, uid, 1000, &err), 0, "%s", err.text);
    }
    cr_assert_eq(mds_write_commit(&txn, &err), 0);
    mds_close(&env);
}

static void undelete(struct lab *lab)
{
    const struct indexer_undelete u = {.at = {lab->store, "own", NULL}};
    struct error err = {0};
    uint64_t count, expect = 0;

    for (unsigned i = 0; i < lab->n; i++) {
        expect += lab->state[i] == EXPUNGED;
        if (lab->state[i] == EXPUNGED)
            lab->state[i] = FILED;
    }
    cr_assert_eq(indexer_undelete(&u, &count, &err), 0, "%s", err.text);
    cr_expect_eq(count, expect);
}

static void compact(struct lab *lab, bool purge)
{
    const struct indexer_compact c = {.at = {lab->store, "own", NULL},
                                      .before = purge ? 1001 : 1000,
                                      .dead_part = 1 + (unsigned)rng_below(&lab->rng, 60)};
    struct indexer_compacted out;
    struct error err = {0};
    uint64_t expect = 0;

    for (unsigned i = 0; purge && i < lab->n; i++) {
        expect += lab->state[i] == EXPUNGED;
        if (lab->state[i] == EXPUNGED)
            lab->state[i] = PURGED;
    }
    cr_assert_eq(indexer_compact(&c, &out, &err), 0, "%s", err.text);
    cr_expect_eq(out.purged, expect);
    cr_expect_leq(out.bytes_after, out.bytes_before + 64);
}

static void check_bytes(const struct lab *lab, struct mds_txn *txn, struct vault *v, uint64_t item, unsigned i)
{
    struct mds_item it;
    struct mds_container c;
    struct vault_body *body = NULL;
    struct error err = {0};
    struct bytes got;

    cr_assert_eq(mds_item_get(txn, item, &it, &err), 0);
    cr_assert_eq(mds_container_get(txn, it.locator.container, &c, &err), 0, "%s", err.text);
    const struct vault_locator loc = {
        .container = c.name, .offset = it.locator.offset, .length = it.locator.length, .filter = it.locator.filter};

    cr_assert_eq(vault_item_open(v, &loc, &body, &err), 0, "mail %u: %s", i, err.text);
    cr_assert_eq(vault_item_map(body, &got, &err), 0, "mail %u: %s", i, err.text);
    cr_expect(bytes_equal(got, lab->text[i]), "mail %u has other bytes", i);
    vault_item_close(&body);
}

static void print_finding(const char *text, void *arg)
{
    (void)arg;
    fprintf(stderr, "%s\n", text);
}

static void check(const struct lab *lab)
{
    struct mds_env *env = open_env(lab);
    struct mds_txn *txn = NULL;
    struct vault *v = NULL;
    struct mds_folder f;
    struct mds_message m;
    struct mds_removed r;
    struct error err = {0};
    unsigned filed = 0, kept = 0;
    uint32_t uid = 1, folder = 0;

    cr_assert_eq(segment_vault_open(lab->dir, &v, &err), 0);
    cr_assert_eq(mds_read_begin(env, &txn, &err), 0);
    cr_assert_eq(mds_folder_find(txn, BYTES_LIT("INBOX"), &f, &err), 0);
    for (; mds_message_next(txn, f.id, uid, &m, &err) == 1; uid = m.uid + 1, filed++) {
        const unsigned i = mail_of(lab, txn, m.item);

        cr_expect_eq(lab->state[i], FILED, "mail %u", i);
        check_bytes(lab, txn, v, m.item, i);
    }
    for (uid = 0; mds_removed_next(txn, folder, uid, &r, &err) == 1; folder = r.folder, uid = r.uid, kept++) {
        const unsigned i = mail_of(lab, txn, r.message.item);

        cr_expect_eq(lab->state[i], EXPUNGED, "mail %u", i);
        check_bytes(lab, txn, v, r.message.item, i);
    }
    for (unsigned i = 0; i < lab->n; i++) {
        filed -= lab->state[i] == FILED;
        kept -= lab->state[i] == EXPUNGED;
    }
    cr_expect_eq(filed, 0);
    cr_expect_eq(kept, 0);
    cr_expect_eq(mds_verify(txn, print_finding, NULL, &err), 0);
    mds_read_end(&txn);
    vault_close(&v);
    mds_close(&env);
}

Test(own_vault, nothing_wanted_is_lost_and_nothing_unwanted_comes_back, .timeout = 550)
{
    struct lab lab = {.rng = rng_start("own_vault"), .store = path_join(TEMP_DIR(), "store"), .vault = TEMP_DIR()};
    static const char *const subs[] = {"cur", "new", "tmp"};

    lab.dir = path_join(lab.store, "archives/a00000001");
    for (unsigned i = 0; i < 3; i++)
        mkpath(path_join(lab.vault, subs[i]));
    grow(&lab, 60);
    import(&lab);
    check(&lab);
    for (unsigned step = 0; step < STEPS; step++) {
        const unsigned what = (unsigned)rng_below(&lab.rng, 6);

        if (what <= 1) {
            grow(&lab, (unsigned)rng_below(&lab.rng, 50));
            if (what)
                shrink(&lab);
            import(&lab);
        } else if (what == 2) {
            expunge(&lab, (unsigned)rng_below(&lab.rng, 100));
        } else if (what == 3) {
            undelete(&lab);
        } else {
            compact(&lab, what == 4);
        }
        check(&lab);
    }
}
