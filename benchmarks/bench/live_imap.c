/* The level of live.c that goes through IMAP: each session sends a command when the last one was answered. */
#include "live_private.h"

#include <string.h>
#include <unistd.h>

#define PASSWORD "measured"

/* ---- the vault of --during-build ----------------------------------------------------------------- */

static int generate(struct live_bench *b, gint64 n, struct error *err)
{
    char *gen = bench_sibling("mds-gen");
    char *start = g_strdup_printf("--start=%" G_GINT64_FORMAT, b->vault_items), *messages = g_strdup_printf("%" G_GINT64_FORMAT, n);
    char *argv[] = {gen, (char[]){"--out"}, b->vault, (char[]){"--messages"}, messages, (char[]){"--quiet"}, start, NULL};
    const int rc = bench_run_beside(argv, err);
    if (rc == 0)
        b->vault_items += n;
    sync(); /* these pages are not the build's */
    g_free(messages);
    g_free(start);
    g_free(gen);
    return rc;
}

int live_vault_build_again(struct live_bench *b, char *store, struct error *err)
{
    char *from = g_strdup_printf("maildir:%s", b->vault);
    char *argv[] = {b->options->mds,       (char[]){"build"},  (char[]){"--store"},    store,            (char[]){"--archive"}, (char[]){"bench"},
                    (char[]){"--from"}, from, (char[]){"--progress"}, (char[]){"none"}, NULL};
    const int rc = bench_run_beside(argv, err);
    g_free(from);
    return rc;
}

int live_vault_build(struct live_bench *b, char *store, struct error *err)
{
    b->vault = g_build_filename(b->options->work, "vault", NULL);
    const int rc = generate(b, LIVE_MESSAGES, err);
    return rc ? rc : live_vault_build_again(b, store, err);
}

int live_vault_grow(struct live_bench *b, struct error *err)
{
    return generate(b, b->options->build_items, err);
}

/* ---- sessions ---------------------------------------------------------------------------------------- */

int live_imap_open(struct live_bench *b, struct mdsq_store *store, char *dir, struct error *err)
{
    char *more[] = {(char[]){"--durability"}, b->options->relaxed ? (char[]){"relaxed"} : (char[]){"strict"}, NULL};
    struct mdsq_error why = {0};
    if (mdsq_user_add(store, "ann", PASSWORD, "bench", false, &why) < 0)
        return error_set(err, BASE_ERR_IO, 0, "%s", why.text);
    return bench_server_start(b->options->mds, dir, more, &b->server, err);
}

/* Folders stay for the next row's sessions. */
static int make_folder(struct live_session *s, struct error *err)
{
    char line[64];
    int rc = 0;
    if ((int)s->number < s->bench->folders)
        return 0;
    g_snprintf(line, sizeof line, "CREATE S%u", s->number);
    rc = net_ask(s->client, line, NULL, err);
    rc = rc ? rc : net_ask(s->client, "SELECT INBOX", NULL, err);
    g_snprintf(line, sizeof line, "COPY 1:%d S%u", LIVE_MESSAGES, s->number);
    rc = rc ? rc : net_ask(s->client, line, NULL, err);
    s->bench->folders++;
    return rc;
}

int live_imap_begin(struct live_session *s, struct error *err)
{
    const struct live_bench *b = s->bench;
    const struct net_target target = {.address = b->server.address, .user = "ann", .password = PASSWORD};
    char line[64];
    g_snprintf(line, sizeof line, b->options->own_folders ? "SELECT S%u" : "SELECT INBOX", s->number);
    s->client = net_dial(&target, NULL, err);
    if (!s->client)
        return BASE_ERR_IO;
    int rc = net_log_in(s->client, &target, err);
    if (rc == 0 && b->options->own_folders)
        rc = make_folder(s, err);
    if (rc == 0 && !b->options->append)
        rc = net_ask(s->client, line, NULL, err);
    return rc;
}

static int append(struct live_session *s, uint64_t k, struct error *err)
{
    const struct live_bench *b = s->bench;
    char folder[16], *text = g_strdup_printf("Message-ID: <%" G_GUINT64_FORMAT "@bench>\r\n%.*s", k, b->options->size, b->text);
    g_snprintf(folder, sizeof folder, b->options->own_folders ? "S%u" : "INBOX", s->number);
    const int rc = net_append(s->client, folder, text, strlen(text), err);
    g_free(text);
    return rc;
}

int live_imap_step(struct live_session *s, uint64_t k, struct error *err)
{
    char line[80];
    if (s->bench->options->append)
        return append(s, k, err);
    if (s->bench->options->own_folders)
        k = s->n;
    g_snprintf(line, sizeof line, "UID STORE %u %cFLAGS.SILENT (\\Flagged)", (unsigned)(k % LIVE_MESSAGES) + 1,
               k / LIVE_MESSAGES % 2 ? '-' : '+');
    return net_ask(s->client, line, NULL, err);
}
