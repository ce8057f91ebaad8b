/*
 * verify: is the store sound, and does it say what the vault says?
 *
 * All of it runs in a child process: LMDB may crash on torn pages, and a crash is a
 * finding like any other. The child sends findings and progress through a pipe as small records.
 */
#include "indexer_private.h"

#include "filing/filing.h"
#include "system.h"
#include "vault/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLICE 256u
#define FINDINGS_MAX 1000
#define TEXT_MAX 900 /* a record is at most PIPE_BUF: written whole */

enum record { RECORD_FINDING = 'F', RECORD_PROGRESS = 'P', RECORD_ERROR = 'E', RECORD_DONE = 'D' };

struct message {
    uint32_t record;
    int32_t code;
    int32_t findings;
    uint64_t items_done, items_planned, bytes_done;
    char text[TEXT_MAX];
};

struct check {
    const struct indexer_verify *v;
    struct indexer_run run; /* sources, vaults, pipeline, env */
    int pipe;
    int findings;
    uint64_t done, bytes, items;
    int64_t shown_ns;
    struct mds_txn *txn;
    struct mds_words *words;
};

/* ---- child: telling ------------------------------------------------------------------------ */

static void send_message(int fd, const struct message *m)
{
    const uint8_t *p = (const uint8_t *)m;
    for (size_t at = 0; at < sizeof *m;) {
        ssize_t n = write(fd, p + at, sizeof *m - at);
        if (n < 0 && errno != EINTR)
            _exit(3); /* nobody listens */
        at += n > 0 ? (size_t)n : 0;
    }
}

static void tell_finding(const char *text, void *arg)
{
    struct check *c = arg;
    struct message m = {.record = RECORD_FINDING};
    if (c->findings++ >= FINDINGS_MAX)
        return;
    snprintf(m.text, sizeof m.text, "%s", text);
    send_message(c->pipe, &m);
}

static void finding(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void finding(struct check *c, const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    tell_finding(text, c);
}

static void tell_progress(struct check *c)
{
    int64_t now = indexer_monotonic_ns();
    if (now - c->shown_ns < (int64_t)INDEXER_PROGRESS_MS * 1000000)
        return;
    c->shown_ns = now;
    struct message m = {
        .record = RECORD_PROGRESS, .items_done = c->done, .items_planned = c->items, .bytes_done = c->bytes};
    send_message(c->pipe, &m);
}

/* ---- child: items -------------------------------------------------------------------------- */

/* An item as the planner sends it; names are in the slice's text. */
struct task {
    uint64_t id;
    uint32_t source, container;
    size_t name_at, name_n, container_at, container_n;
    uint64_t offset, length;
    uint32_t filter;
};

/* The vault of a source id; NULL and a finding at first sight if it is not there. */
static struct vault *vault_of(struct check *c, uint32_t source, uint32_t *index_out)
{
    if (source == 0 || source > c->run.sources_n)
        return NULL;
    struct indexer_source *s = &c->run.sources[source - 1];
    *index_out = s->index;
    return s->vault;
}

static int read_slice(struct check *c, uint64_t *from, struct task *tasks, size_t *n_out, struct buf *text,
                      struct error *err)
{
    struct mds_txn *txn = NULL;
    int rc = mds_read_begin(c->run.env, &txn, err);
    size_t n = 0;
    buf_reset(text);
    while (rc >= 0 && n < SLICE) {
        struct mds_item item;
        struct mds_container k;
        rc = mds_item_next(txn, *from, &item, err);
        if (rc <= 0)
            break;
        *from = item.id + 1;
        struct task *t = &tasks[n];
        *t = (struct task){
            .id = item.id,
            .container = item.locator.container,
            .name_at = text->n,
            .name_n = item.locator.name.n,
            .offset = item.locator.offset,
            .length = item.locator.length,
            .filter = item.locator.filter,
        };
        buf_append_bytes(text, item.locator.name);
        if (mds_container_get(txn, item.locator.container, &k, NULL) < 0) {
            finding(c, "item %" PRIu64 ": its container %u does not exist", item.id, item.locator.container);
            continue;
        }
        t->source = k.source;
        t->container_at = text->n;
        t->container_n = k.name.n;
        buf_append_bytes(text, k.name);
        n++;
    }
    mds_read_end(&txn);
    *n_out = n;
    return rc;
}

static void *plan_items(void *arg)
{
    struct check *c = arg;
    struct task *tasks = calloc(SLICE, sizeof *tasks);
    struct buf text = {0};
    uint64_t from = 1;
    int rc = 1;
    ASSERT(tasks);
    while (rc > 0) {
        size_t n = 0;
        rc = read_slice(c, &from, tasks, &n, &text, &c->run.plan_err);
        for (size_t i = 0; rc >= 0 && i < n; i++) {
            const struct task *t = &tasks[i];
            struct ingest_task task = {
                .locator = {.container = bytes_of(text.p + t->container_at, t->container_n),
                            .name = bytes_of(text.p + t->name_at, t->name_n),
                            .offset = t->offset,
                            .length = t->length,
                            .filter = t->filter},
                .force_parse = true,
            };
            uint8_t tag[8];
            put_be64(tag, t->id);
            task.tag = bytes_of(tag, sizeof tag);
            if (!vault_of(c, t->source, &task.vault))
                continue; /* its source was a finding already */
            int sent = ingest_submit(c->run.ingest, &task, &c->run.plan_err);
            rc = sent < 0 ? sent : rc;
        }
    }
    c->run.plan_rc = rc;
    ingest_close(c->run.ingest);
    buf_release(&text);
    free(tasks);
    return NULL;
}

static void differs(struct check *c, uint64_t id, const char *what)
{
    finding(c, "item %" PRIu64 ": %s in the store differs from the vault's", id, what);
}

static bool sort_equals(const struct mds_sort *stored, const struct mime_record *r)
{
    struct buf have = {0}, want = {0};
    mds_sort_encode(stored, &have);
    filing_sort(r, &want);
    const bool equal = bytes_equal(buf_bytes(&have), buf_bytes(&want));
    buf_release(&have);
    buf_release(&want);
    return equal;
}

static void compare_words(struct check *c, uint64_t id, const struct mime_record *r)
{
    struct error why = {0};
    struct bytes a, b;
    struct mds_sort s;
    bool complete;
    if (mds_words_wire(c->words, id, &a, &b, &why) < 0)
        finding(c, "item %" PRIu64 ": %s", id, why.text);
    else if (!bytes_equal(a, r->envelope) || !bytes_equal(b, r->bodystructure))
        differs(c, id, "the envelope or structure");
    if (mds_words_headers(c->words, id, &a, &complete, &why) < 0)
        finding(c, "item %" PRIu64 ": %s", id, why.text);
    else if (!bytes_equal(a, r->headers) || complete != r->headers_complete)
        differs(c, id, "the header fields");
    if (mds_words_sort(c->words, id, &s, &why) < 0)
        finding(c, "item %" PRIu64 ": %s", id, why.text);
    else if (!sort_equals(&s, r))
        differs(c, id, "a sort column or the preview");
}

static void compare_item(struct check *c, uint64_t id, const struct ingest_result *res)
{
    struct error why = {0};
    struct mds_item item;
    const struct mime_record *r = &res->record;
    if (res->status == INGEST_FAILED) {
        finding(c, "item %" PRIu64 ": cannot be read from the vault: %s", id, res->reason.text);
        return;
    }
    if (mds_item_get(c->txn, id, &item, &why) < 0) {
        finding(c, "item %" PRIu64 ": %s", id, why.text);
        return;
    }
    if (item.size != res->size || hash128_compare(&item.hash, &res->hash) != 0) {
        finding(c, "item %" PRIu64 ": its bytes in the vault are not those that were indexed (mds build --full takes them)",
                id);
        return;
    }
    uint64_t death = MIME_DEFECT(PARSER_CRASHED) | MIME_DEFECT(PARSER_HUNG);
    if ((item.defects | r->defects) & death)
        return; /* indexed as opaque text: a parser's death need not repeat itself */
    if (item.defects != r->defects)
        differs(c, id, "the list of defects");
    if (item.size_crlf != r->size_crlf || !bytes_equal(item.parts, r->parts) ||
        !bytes_equal(item.crlf_map, r->crlf_map))
        differs(c, id, "the part table");
    if (item.has_sent_date != r->has_sent_date || item.sent_date != r->sent_date || item.sent_zone != r->sent_zone ||
        item.thread_id != r->thread_id)
        differs(c, id, "the date or thread");
    compare_words(c, id, r);
}

static int compare_all(struct check *c, struct error *err)
{
    struct ingest_result res;
    unsigned since = 0;
    int rc = mds_read_begin(c->run.env, &c->txn, err);
    if (rc == 0)
        rc = mds_words_new(c->txn, &c->words, err);
    while (rc >= 0 && (rc = ingest_next(c->run.ingest, &res, err)) > 0) {
        compare_item(c, get_be64(res.tag.p), &res);
        c->done++;
        c->bytes += res.status == INGEST_FAILED ? 0 : res.size;
        tell_progress(c);
        if (++since == SLICE) { /* a long snapshot would hold a serving store's pages */
            since = 0;
            rc = mds_read_renew(c->txn, err);
            mds_words_rebind(c->words, c->txn);
        }
    }
    mds_words_free(&c->words);
    mds_read_end(&c->txn);
    return rc;
}

static int source_open(const struct check *c, struct indexer_source *s)
{
    struct vault_spec spec = {0};
    if (strcmp(s->name, MDS_SOURCE_OWN) == 0)
        return segment_vault_open(c->run.dir, &s->vault, &s->why);
    int rc = vault_spec_parse(s->name, &spec, &s->why);
    if (rc == 0)
        rc = vault_open(&spec, &s->vault, &s->why);
    vault_spec_release(&spec);
    return rc;
}

/* Sources as recorded: "kind:/path=FOLDER" is what --from takes. Index in run.sources is id - 1. */
static int sources_from_store(struct check *c, struct error *err)
{
    struct mds_txn *txn = NULL;
    struct bytes name;
    uint32_t n = 0;
    int rc = mds_read_begin(c->run.env, &txn, err);
    while (rc == 0 && mds_source_name(txn, n + 1, &name, NULL) == 0)
        n++;
    c->run.sources = calloc(n + 1, sizeof *c->run.sources);
    c->run.vaults = calloc(n + 1, sizeof *c->run.vaults);
    ASSERT(c->run.sources && c->run.vaults);
    c->run.sources_n = n;
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        struct indexer_source *s = &c->run.sources[i];
        rc = mds_source_name(txn, i + 1, &name, err);
        if (rc < 0)
            break;
        s->name = strndup((const char *)name.p, name.n);
        ASSERT(s->name);
        if (strncmp(s->name, INDEXER_IMPORT, strlen(INDEXER_IMPORT)) == 0)
            continue; /* its items were copied */
        if (source_open(c, s) < 0) {
            s->vault = NULL;
            finding(c, "source %s cannot be opened: %s", s->name, s->why.text);
        } else {
            s->index = c->run.vaults_n;
            c->run.vaults[c->run.vaults_n++] = s->vault;
        }
    }
    mds_read_end(&txn);
    return rc;
}

static int check_items(struct check *c, struct error *err)
{
    struct ingest_settings settings = {.workers = c->v->jobs, .mime = c->run.mime};
    pthread_t planner;
    struct mds_stat *stat = calloc(1, sizeof *stat);
    struct mds_txn *txn = NULL;
    ASSERT(stat);
    int rc = mds_read_begin(c->run.env, &txn, err);
    if (rc == 0)
        rc = mds_stat(txn, stat, err);
    mds_read_end(&txn);
    c->items = stat->items;
    free(stat);
    settings.vaults = c->run.vaults;
    settings.vaults_n = c->run.vaults_n;
    if (rc < 0 || !c->run.vaults_n)
        return rc;
    rc = ingest_open(&settings, &c->run.ingest, err);
    if (rc < 0)
        return rc;
    ASSERT(pthread_create(&planner, NULL, plan_items, c) == 0);
    rc = compare_all(c, err);
    if (rc < 0)
        ingest_cancel(c->run.ingest);
    pthread_join(planner, NULL);
    if (rc == 0 && c->run.plan_rc < 0) {
        rc = c->run.plan_rc;
        *err = c->run.plan_err;
    }
    ingest_free(&c->run.ingest);
    return rc;
}

static int check_structure(struct check *c, struct error *err)
{
    struct mds_txn *txn = NULL;
    int rc = mds_read_begin(c->run.env, &txn, err);
    if (rc == 0)
        rc = mds_verify(txn, tell_finding, c, err);
    mds_read_end(&txn);
    return rc < 0 ? rc : 0;
}

static void child(struct check *c)
{
    struct mds_options opts = {.read_only = true};
    struct indexer_build build = {.archive = c->v->archive};
    struct message m = {.record = RECORD_DONE};
    struct error err = {0};
    int lock = -1; /* what is about to be read must not move to another segment */
    c->run.build = &build;
    int rc = mds_open(c->run.dir, &opts, &c->run.env, &err);
    if (rc == 0)
        rc = check_structure(c, &err);
    if (rc == 0 && c->v->items)
        rc = segment_lock(c->run.dir, false, &lock, &err);
    if (rc == BASE_ERR_READONLY)
        rc = 0;
    if (rc == 0 && c->v->items)
        rc = indexer_settings_read(&c->run, &err);
    if (rc == 0 && c->v->items)
        rc = sources_from_store(c, &err);
    if (rc == 0 && c->v->items)
        rc = check_items(c, &err);
    if (rc == BASE_ERR_CORRUPT) { /* what cannot be read on is a finding, not an accident */
        tell_finding(err.text, c);
        rc = 0;
    }
    m.record = rc < 0 ? RECORD_ERROR : RECORD_DONE;
    m.code = rc;
    m.findings = c->findings;
    if (rc < 0)
        snprintf(m.text, sizeof m.text, "%s", err.text);
    send_message(c->pipe, &m);
    mds_close(&c->run.env);
    indexer_settings_release(&c->run);
    indexer_sources_close(&c->run);
}

/* ---- parent ---------------------------------------------------------------------------------- */

static void pass_on(const struct indexer_verify *v, const struct message *m, int64_t began)
{
    if (m->record == RECORD_FINDING && v->finding)
        v->finding(m->text, v->arg);
    if (m->record != RECORD_PROGRESS || !v->progress)
        return;
    struct indexer_progress p = {
        .archive = v->archive,
        .phase = "verify",
        .items_done = m->items_done,
        .items_planned = m->items_planned,
        .planned_all = true,
        .bytes_done = m->bytes_done,
        .seconds = (double)(indexer_monotonic_ns() - began) / 1e9,
    };
    v->progress(&p, v->progress_arg);
}

/* 1 a message, 0 the child's end, < 0 cancelled. */
static int receive(const struct indexer_verify *v, int fd, struct message *m, struct error *err)
{
    size_t at = 0;
    while (at < sizeof *m) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (v->cancel && *v->cancel)
            return error_set(err, BASE_ERR_CANCELLED, 0, "stopped before the end");
        if (poll(&p, 1, 200) <= 0)
            continue;
        ssize_t n = read(fd, (uint8_t *)m + at, sizeof *m - at);
        if (n == 0 || (n < 0 && errno != EINTR))
            return 0;
        at += n > 0 ? (size_t)n : 0;
    }
    return 1;
}

static int listen_to(const struct indexer_verify *v, int fd, int *findings_out, bool *done_out, struct error *err)
{
    int64_t began = indexer_monotonic_ns();
    struct message m;
    int rc;
    *findings_out = 0;
    *done_out = false;
    while ((rc = receive(v, fd, &m, err)) > 0) {
        pass_on(v, &m, began);
        *findings_out += m.record == RECORD_FINDING;
        if (m.record == RECORD_DONE)
            *done_out = true;
        if (m.record == RECORD_ERROR)
            return error_set(err, (enum base_err)m.code, 0, "%.470s", m.text);
    }
    return rc;
}

static int archive_dir(const struct indexer_verify *v, char **out, struct error *err)
{
    struct mds_catalogue *catalogue = NULL;
    struct mds_archive_info *info = calloc(1, sizeof *info);
    ASSERT(info);
    int rc = mds_catalogue_open(v->store_dir, false, true, &catalogue, err);
    if (rc == 0)
        rc = mds_catalogue_archive_find(catalogue, v->archive, false, info, err);
    if (rc == 0)
        *out = strdup(info->dir);
    mds_catalogue_close(&catalogue);
    free(info);
    return rc;
}

int indexer_verify(const struct indexer_verify *v, struct error *err)
{
    struct check c = {.v = v};
    int fds[2] = {-1, -1}, findings = 0, status = 0;
    bool done = false;
    int rc = archive_dir(v, &c.run.dir, err);
    if (rc < 0)
        return rc;
    c.run.tmp = c.run.dir;
    if (pipe2(fds, O_CLOEXEC) < 0) {
        free(c.run.dir);
        return error_errno(err, "verify");
    }
    pid_t pid = indexer_fork_reader();
    if (pid == 0) {
        close(fds[0]);
        c.pipe = fds[1];
        signal(SIGINT, SIG_IGN);
        child(&c);
        _exit(0);
    }
    close(fds[1]);
    if (pid < 0) {
        rc = error_errno(err, "verify");
    } else {
        rc = listen_to(v, fds[0], &findings, &done, err);
        if (rc < 0 && !done)
            kill(pid, SIGKILL);
        status = indexer_child_status(pid);
    }
    close(fds[0]);
    free(c.run.dir);
    if (rc < 0)
        return rc;
    if (!done) {
        char text[200];
        snprintf(text, sizeof text, "reading the store killed the checking process (%s %d): its file is damaged",
                 WIFSIGNALED(status) ? "signal" : "status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        if (v->finding)
            v->finding(text, v->arg);
        findings++;
    }
    return findings;
}
