/*
 * Builds under bad conditions: a parser that aborts, loops and overruns on marked items; a map that is too small;
 * a second build; equal items in many places; sources that are gone.
 */
#include <criterion/criterion.h>

#include "indexer/indexer.h"
#include "mds/mds.h"
#include "mime/defects.h"
#include "test_support.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *maildir_new(const char *dir)
{
    mkpath(path_join(dir, "cur"));
    mkpath(path_join(dir, "new"));
    mkpath(path_join(dir, "tmp"));
    return dir;
}

static void mail(const char *maildir, unsigned n, const char *subject)
{
    write_text(textf("%s/cur/%u.m%u.host:2,", maildir, 1000 + n, n),
               textf("From: a@example.org\nSubject: %s\nMessage-ID: <%u@x>\nDate: Thu, 1 Jan 2004 00:00:00 +0000\n\nbody %u\n",
                     subject, n, n));
}

static int build(struct indexer_build b, const char *store, const char *source, struct indexer_report *report,
                 struct error *err)
{
    struct vault_spec spec = {0};
    cr_assert_eq(vault_spec_parse(source, &spec, err), 0, "%s", err->text);
    b.store_dir = store;
    b.archive = "mail";
    b.sources = &spec;
    b.sources_n = 1;
    int rc = indexer_build(&b, report, err);
    vault_spec_release(&spec);
    return rc;
}

static struct mds_env *open_env(const char *store)
{
    struct mds_catalogue *c = NULL;
    struct mds_archive_info info;
    struct mds_options opts = {.archive_name = "mail"};
    struct mds_env *env = NULL;
    cr_assert_eq(mds_catalogue_open(store, false, true, &c, NULL), 0);
    cr_assert_eq(mds_catalogue_archive_find(c, "mail", false, &info, NULL), 0);
    mds_catalogue_close(&c);
    cr_assert_eq(mds_open(info.dir, &opts, &env, NULL), 0);
    return env;
}

static struct mds_stat stat_of(const char *store)
{
    struct mds_env *env = open_env(store);
    struct mds_txn *txn = NULL;
    struct mds_stat stat;
    cr_assert_eq(mds_read_begin(env, &txn, NULL), 0);
    cr_assert_eq(mds_stat(txn, &stat, NULL), 0);
    cr_assert_eq(mds_verify(txn, NULL, NULL, NULL), 0, "not sound");
    mds_read_end(&txn);
    mds_close(&env);
    return stat;
}

static bool has(struct bytes item, const char *word)
{
    return memmem(item.p, item.n, word, strlen(word)) != NULL;
}

static void parse_badly(struct mime_parser *p, struct bytes item, struct mime_record *out)
{
    signal(SIGABRT, SIG_DFL); /* the sanitizers' reports are not wanted here */
    signal(SIGSEGV, SIG_DFL);
    if (has(item, "Subject: abort"))
        kill(getpid(), SIGABRT);
    if (has(item, "Subject: loop"))
        for (;;)
            pause();
    if (has(item, "Subject: overrun"))
        kill(getpid(), SIGSEGV);
    mime_parse(p, item, out);
}

Test(build_robust, bad_items_cost_themselves, .timeout = 500)
{
    const char *dir = TEMP_DIR(), *vault = maildir_new(path_join(dir, "v")), *store = path_join(dir, "s");
    struct indexer_report report;
    struct error err = {0};
    struct indexer_build b = {.jobs = 2, .parse = parse_badly, .item_ms = 300};
    for (unsigned i = 0; i < 300; i++)
        mail(vault, i, i == 10 || i == 150 ? "abort" : i == 70 ? "loop" : i == 299 ? "overrun" : "good");
    cr_assert_eq(build(b, store, textf("maildir:%s", vault), &report, &err), 0, "%s", err.text);
    cr_expect_eq(report.messages_added, 300);
    cr_expect_eq(report.crashed, 3, "crashed %d", (int)report.crashed);
    cr_expect_eq(report.hung, 1, "hung %d", (int)report.hung);
    cr_expect_eq(report.failed, 0);
    struct mds_stat stat = stat_of(store);
    cr_expect_eq(stat.messages, 300);
    cr_expect_eq(stat.defects[MIME_DEFECT_BIT_PARSER_CRASHED], 3);
    cr_expect_eq(stat.defects[MIME_DEFECT_BIT_PARSER_HUNG], 1);

    /* After a restart they are known: not parsed, not died of again. */
    mail(vault, 300, "good");
    cr_assert_eq(build(b, store, textf("maildir:%s", vault), &report, &err), 0, "%s", err.text);
    cr_expect_eq(report.messages_added, 1);
    cr_expect_eq(report.crashed + report.hung, 0);
    cr_expect_eq(stat_of(store).messages, 301);
}

Test(build_robust, map_too_small_grows)
{
    const char *dir = TEMP_DIR(), *vault = maildir_new(path_join(dir, "v"));
    const char *small = path_join(dir, "small"), *big = path_join(dir, "big");
    struct indexer_report one, two;
    struct error err = {0};
    for (unsigned i = 0; i < 1500; i++)
        mail(vault, i, textf("mail %u", i % 100));
    struct indexer_build b = {.jobs = 1, .batch_items = 1000, .map_bytes = 1 << 18};
    cr_assert_eq(build(b, small, textf("maildir:%s", vault), &one, &err), 0, "%s", err.text);
    b.map_bytes = 0;
    cr_assert_eq(build(b, big, textf("maildir:%s", vault), &two, &err), 0, "%s", err.text);
    cr_expect_eq(one.messages_added, 1500, "%d", (int)one.messages_added);
    struct mds_stat a = stat_of(small), c = stat_of(big);
    cr_expect_eq(a.messages, c.messages);
    cr_expect_eq(a.items, c.items);
    cr_expect_eq(a.highestmodseq, c.highestmodseq);
}

Test(build_robust, one_item_in_many_folders)
{
    const char *dir = TEMP_DIR(), *vault = path_join(dir, "v"), *store = path_join(dir, "s");
    struct indexer_report report;
    struct error err = {0};
    struct indexer_build b = {.jobs = 2, .allow_removals = true};
    static const char *const folders[] = {"", ".a", ".b", ".c"};
    for (unsigned f = 0; f < 4; f++) {
        maildir_new(textf("%s/%s", vault, folders[f]));
        for (unsigned i = 0; i < 50; i++)
            mail(textf("%s/%s", vault, folders[f]), i, "same");
    }
    cr_assert_eq(build(b, store, textf("maildir++:%s", vault), &report, &err), 0, "%s", err.text);
    cr_expect_eq(report.messages_added, 200);
    cr_expect_eq(report.items_added, 50);
    cr_expect_eq(report.duplicates, 150);
    /* The place that they were read from goes; the others serve. */
    remove_tree(textf("%s/cur", vault));
    mkpath(textf("%s/cur", vault));
    cr_assert_eq(build(b, store, textf("maildir++:%s", vault), &report, &err), 0, "%s", err.text);
    cr_expect_eq(report.messages_expunged, 50);
    cr_expect_eq(stat_of(store).items, 50);
    struct mds_env *env = open_env(store);
    struct mds_txn *txn = NULL;
    struct mds_item item = {0};
    cr_assert_eq(mds_read_begin(env, &txn, NULL), 0);
    while (mds_item_next(txn, item.id + 1, &item, NULL) > 0) {
        struct mds_container c;
        cr_assert_eq(mds_container_get(txn, item.locator.container, &c, NULL), 0);
        cr_expect_eq(c.name.n, 2, "item %d is still read from the folder that was emptied", (int)item.id);
    }
    mds_read_end(&txn);
    mds_close(&env);
}

Test(build_robust, removals_are_guarded)
{
    const char *dir = TEMP_DIR(), *vault = maildir_new(path_join(dir, "v")), *store = path_join(dir, "s");
    const char *source = textf("maildir:%s", vault);
    struct indexer_report report;
    struct error err = {0};
    struct indexer_build b = {.jobs = 1};
    for (unsigned i = 0; i < 100; i++)
        mail(vault, i, "x");
    cr_assert_eq(build(b, store, source, &report, &err), 0, "%s", err.text);
    for (unsigned i = 0; i < 10; i++)
        unlink(textf("%s/cur/%u.m%u.host:2,", vault, 1000 + i, i));
    cr_assert_eq(build(b, store, source, &report, &err), 0, "%s", err.text);
    cr_expect_eq(report.messages_expunged, 10, "a tenth may go");
    for (unsigned i = 10; i < 20; i++)
        unlink(textf("%s/cur/%u.m%u.host:2,", vault, 1000 + i, i));
    mail(vault, 200, "new");
    cr_assert_eq(build(b, store, source, &report, &err), 0, "%s", err.text);
    cr_expect_eq(report.messages_expunged, 0, "more than a tenth may not");
    cr_expect_eq(report.removals_refused, 1);
    cr_expect_eq(report.messages_added, 1, "what is new comes");
    cr_expect(strstr(report.refused_source, "lacks 10 of 90"), "%s", report.refused_source);
    b.allow_removals = true;
    cr_assert_eq(build(b, store, source, &report, &err), 0, "%s", err.text);
    cr_expect_eq(report.messages_expunged, 10, "not forgotten");
    b.allow_removals = false;
    remove_tree(vault);
    cr_expect_eq(build(b, store, source, &report, &err), BASE_ERR_NOTFOUND);
    cr_expect_eq(stat_of(store).messages, 81);
    b.allow_removals = true;
    cr_assert_eq(build(b, store, source, &report, &err), 0, "%s", err.text);
    cr_expect_eq(stat_of(store).messages, 0);
}

Test(build_robust, unreadable_item_is_tried_again)
{
    const char *dir = TEMP_DIR(), *vault = maildir_new(path_join(dir, "v")), *store = path_join(dir, "s");
    const char *source = textf("eml-tree:%s", vault);
    struct indexer_report report;
    struct error err = {0};
    struct indexer_build b = {.jobs = 1};
    if (geteuid() == 0)
        cr_skip_test("root reads everything");
    write_text(path_join(vault, "a.eml"), "Subject: a\n\na\n");
    write_text(path_join(vault, "b.eml"), "Subject: b\n\nb\n");
    cr_assert_eq(chmod(path_join(vault, "a.eml"), 0), 0);
    cr_assert_eq(build(b, store, source, &report, &err), 0, "%s", err.text);
    cr_expect_eq(report.failed, 1);
    cr_assert_eq(chmod(path_join(vault, "a.eml"), 0600), 0);
    cr_assert_eq(build(b, store, source, &report, &err), 0, "%s", err.text);
    cr_expect_eq(report.messages_added, 1);
}

Test(build_robust, second_build_is_locked_out)
{
    const char *dir = TEMP_DIR(), *vault = maildir_new(path_join(dir, "v")), *store = path_join(dir, "s");
    struct indexer_report report;
    struct error err = {0};
    struct indexer_build b = {.jobs = 1};
    mail(vault, 1, "x");
    cr_assert_eq(build(b, store, textf("maildir:%s", vault), &report, &err), 0, "%s", err.text);
    int ready[2], go[2];
    char c = 0;
    cr_assert(pipe(ready) == 0 && pipe(go) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct mds_env *env = open_env(store);
        if (mds_build_lock(env, NULL) != 0)
            _exit(1);
        (void)!write(ready[1], "x", 1);
        close(go[1]);
        (void)!read(go[0], &c, 1);
        _exit(0);
    }
    cr_assert_eq(read(ready[0], &c, 1), 1);
    cr_expect_eq(build(b, store, textf("maildir:%s", vault), &report, &err), BASE_ERR_LOCKED);
    cr_expect(strstr(err.text, textf("%d", (int)pid)), "%s", err.text);
    close(go[0]);
    close(go[1]);
}

struct waits {
    unsigned n;
    double shortest_ms;
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Another process that writes a little, again and again. */
static void keep_writing(const char *store, struct waits *w)
{
    struct mds_env *env = open_env(store);
    while (w->n < 20) {
        struct mds_txn *txn = NULL;
        double began = now_ms();
        if (mds_write_begin(env, &txn, NULL) != 0)
            _exit(1);
        double waited = now_ms() - began;
        struct mds_folder f;
        if (mds_folder_find(txn, BYTES_LIT("INBOX"), &f, NULL) != 0 ||
            mds_folder_set_subscribed(txn, f.id, w->n % 2 == 0, NULL) != 0 || mds_write_commit(&txn, NULL) != 0)
            _exit(1);
        if (w->n == 0 || waited < w->shortest_ms)
            w->shortest_ms = waited;
        w->n++;
        usleep(5000);
    }
    _exit(0);
}

Test(build_robust, waiting_writers_get_their_turn, .timeout = 500)
{
    const char *dir = TEMP_DIR(), *vault = maildir_new(path_join(dir, "v")), *store = path_join(dir, "s");
    struct indexer_report report;
    struct error err = {0};
    /* One batch would hold everything, slowly: without yielding, the other would wait for seconds. */
    struct indexer_build b = {.jobs = 1, .batch_items = 1000000, .max_rate = 400};
    struct waits *w = mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(w, MAP_FAILED);
    mail(vault, 0, "first");
    cr_assert_eq(build(b, store, textf("maildir:%s", vault), &report, &err), 0, "%s", err.text);
    for (unsigned i = 1; i < 1200; i++)
        mail(vault, i, "x");
    pid_t pid = fork();
    if (pid == 0)
        keep_writing(store, w);
    cr_assert_eq(build(b, store, textf("maildir:%s", vault), &report, &err), 0, "%s", err.text);
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0);
    cr_expect_eq(w->n, 20);
    cr_expect_gt(report.yields, 0); /* how many depends on who else runs */
    /* A loaded machine makes single waits long; that none is short would be the build's doing. */
    cr_expect_lt(w->shortest_ms, 50, "the shortest wait was %.1f ms", w->shortest_ms);
}
