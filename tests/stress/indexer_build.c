/*
 * Planner and writer side by side, for the thread sanitizer: builds that add, find again, expunge, and one that is cancelled.
 */
#include "indexer/indexer.h"
#include "test_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAILS 600u

static volatile int cancel;
static unsigned shown;

static void show(const struct indexer_progress *p, void *arg)
{
    (void)arg;
    shown += p->items_done <= p->items_planned;
}

static void mail(const char *dir, unsigned folder, unsigned n)
{
    write_text(textf("%s/%s/cur/%u.m%u.host:2,", dir, folder ? ".sub" : "", 1000 + n, n),
               textf("From: a@example.org\nSubject: %u\nMessage-ID: <%u@x>\n\nbody %u\n", n, n, n % 50));
}

static struct indexer_report build(const char *store, const char *vault, int want)
{
    struct vault_spec spec = {0};
    struct indexer_report report;
    struct error err = {0};
    if (vault_spec_parse(textf("maildir++:%s", vault), &spec, &err) < 0)
        abort();
    struct indexer_build b = {.store_dir = store,
                              .archive = "mail",
                              .sources = &spec,
                              .sources_n = 1,
                              .jobs = 2,
                              .batch_items = 50,
                              .allow_removals = true,
                              .progress = show,
                              .cancel = &cancel};
    int rc = indexer_build(&b, &report, &err);
    vault_spec_release(&spec);
    if (rc != want) {
        fprintf(stderr, "build: %d %s\n", rc, err.text);
        exit(1);
    }
    return report;
}

int main(void)
{
    const char *dir = TEMP_DIR(), *vault = path_join(dir, "vault"), *store = path_join(dir, "store");
    mkpath(path_join(vault, "new"));
    mkpath(path_join(vault, ".sub/new"));
    for (unsigned i = 0; i < MAILS; i++)
        mail(vault, i % 3 == 0, i);
    cancel = 1;
    uint64_t before = build(store, vault, BASE_ERR_CANCELLED).messages_added;
    cancel = 0;
    struct indexer_report r = build(store, vault, 0);
    if (before + r.messages_added != MAILS) {
        fprintf(stderr, "added %u and %u\n", (unsigned)before, (unsigned)r.messages_added);
        return 1;
    }
    for (unsigned i = 0; i < MAILS; i += 2)
        unlink(textf("%s/%s/cur/%u.m%u.host:2,", vault, i % 3 == 0 ? ".sub" : "", 1000 + i, i));
    for (unsigned i = MAILS; i < 2 * MAILS; i++)
        mail(vault, i % 2, i);
    r = build(store, vault, 0);
    if (r.messages_added != MAILS || r.messages_expunged != MAILS / 2)
        return 1;
    printf("added %u, expunged %u, progress %u\n", MAILS, MAILS / 2, shown);
    return 0;
}
