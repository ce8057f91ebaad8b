/*
 * rebuild: a store made anew beside the old one, from the same vaults, then put in its place in one step. The old one
 * is only read; a rebuild that fails or is killed leaves it as it was.
 */
#include "archive_private.h"
#include "rebuild_probe.h"
#include "restore.h"

#include "base/log.h"
#include "vault/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct rebuild {
    struct indexer_build build;  /* the caller's, completed */
    struct indexer_run settings; /* holds the header list */
    struct vault_spec *specs;    /* recorded ones; NULL: the caller's */
    uint32_t specs_n;
    char *dir, *fresh;
    struct mds_env *old; /* NULL: lost */
    int segments_fd;     /* then: nobody copies or compacts meanwhile; -1 */
    struct indexer_restore *restore;
};

static int recorded_match(struct mds_txn *txn, uint32_t source, struct vault_spec *spec)
{
    char name[64];
    struct bytes value;
    snprintf(name, sizeof name, INDEXER_META_MATCH "%u", source);
    int rc = mds_meta_get(txn, name, &value, NULL);
    if (rc == 0)
        spec->match = strndup((const char *)value.p, value.n);
    return rc == BASE_ERR_NOTFOUND ? 0 : rc;
}

static int recorded_sources(struct rebuild *r, struct error *err)
{
    struct mds_txn *txn = NULL;
    struct bytes name;
    int rc = mds_read_begin(r->old, &txn, err);
    for (uint32_t id = 1; rc == 0 && mds_source_name(txn, id, &name, NULL) == 0; id++) {
        if (bytes_equal(name, BYTES_LIT(MDS_SOURCE_OWN)) ||
            bytes_equal(bytes_slice(name, 0, strlen(INDEXER_IMPORT)), BYTES_LIT(INDEXER_IMPORT)))
            continue; /* carried over */
        char *text = strndup((const char *)name.p, name.n);
        r->specs = realloc(r->specs, (r->specs_n + 1) * sizeof *r->specs);
        ASSERT(text && r->specs);
        r->specs[r->specs_n] = (struct vault_spec){0};
        rc = vault_spec_parse(text, &r->specs[r->specs_n], err);
        if (rc == 0)
            rc = recorded_match(txn, id, &r->specs[r->specs_n++]);
        free(text);
    }
    mds_read_end(&txn);
    r->build.sources = r->specs;
    r->build.sources_n = r->specs_n;
    return rc;
}

static int find_dir(struct rebuild *r, struct error *err)
{
    struct mds_catalogue *catalogue = NULL;
    struct mds_archive_info *info = calloc(1, sizeof *info);
    ASSERT(info);
    int rc = mds_catalogue_open(r->build.store_dir, false, true, &catalogue, err);
    if (rc == 0)
        rc = mds_catalogue_archive_find(catalogue, r->build.archive, false, info, err);
    mds_catalogue_close(&catalogue);
    if (rc == 0) {
        r->dir = strdup(info->dir);
        if (asprintf(&r->fresh, "%s.rebuild", info->dir) < 0)
            r->fresh = NULL;
        ASSERT(r->dir && r->fresh);
    }
    free(info);
    return rc;
}

/* To recover is for a store that says nothing any more; from one that can be read, a rebuild gets more. */
static int open_old(struct rebuild *r, struct error *err)
{
    const struct mds_options opts = {.archive_name = r->build.archive};
    uint32_t segment = 0;
    uint64_t bytes;
    int rc = indexer_rebuild_probe(r->dir, r->build.archive, err);
    if (rc == 0)
        rc = mds_open(r->dir, &opts, &r->old, err);
    else if (rc == BASE_ERR_CORRUPT && mds_is_building(r->dir))
        return error_set(err, BASE_ERR_LOCKED, 0, "%s is being built: wait for it, or stop it and run again", r->dir);
    if (rc == 0 && r->build.recover)
        return error_set(err, BASE_ERR_USAGE, 0,
                         "its store opens: rebuild it without --recover, which keeps flags and folders");
    if (rc == 0)
        return mds_build_lock(r->old, err);
    if (rc == BASE_ERR_NOMEM || segment_next(r->dir, 0, &segment, &bytes, NULL) <= 0)
        return rc;
    if (r->build.recover)
        return segment_lock(r->dir, true, &r->segments_fd, err);
    error_context(err,
                  "its mail is in its own vault: restore a backup, or file all of it anew with mds rebuild --recover");
    return rc;
}

/* The old list of header fields, unless another one is asked for. */
static int recorded_settings(struct rebuild *r, struct error *err)
{
    if (r->build.mime.headers || r->build.mime.all_headers)
        return 0;
    r->settings = (struct indexer_run){.build = &r->build, .env = r->old, .dir = r->dir, .mime = r->build.mime};
    int rc = indexer_settings_read(&r->settings, err);
    r->build.mime = r->settings.mime;
    if (rc == BASE_ERR_CORRUPT)
        error_context(err, "its list of header fields cannot be read: name it again, --headers=default or as it was");
    return rc;
}

/* Items that a source has, by its containers' counters. source 0: all of them. What was imported is no source any more.
 */
static int source_items(struct mds_txn *txn, uint32_t source, uint64_t *out, struct error *err)
{
    struct mds_container c = {0};
    int rc;
    *out = 0;
    while ((rc = mds_container_next(txn, c.id + 1, &c, err)) > 0)
        if ((!source || c.source == source) && !indexer_carry_is_import(txn, c.source))
            *out += c.rows - c.failures;
    return rc;
}

static void compare_items(struct bytes name, uint64_t before, uint64_t after, struct indexer_report *report)
{
    if (after >= before || !indexer_is_suspicious(before - after, before))
        return;
    report->removals_refused++;
    snprintf(report->refused_source, sizeof report->refused_source, "%.*s: lacks %" PRIu64 " of %" PRIu64 " items",
             (int)(name.n < 150 ? name.n : 150), (const char *)name.p, before - after, before);
}

/*
 * The new store starts empty, so its build could not see what the vaults lack: compared with the old store they must
 * not lack more than a build would let go. What the old store can no longer say does not count. Vaults that are given
 * anew may have other names: of them only the sum is compared.
 */
static int compare_sources(struct rebuild *r, struct mds_txn *old, struct mds_txn *now, struct indexer_report *report,
                           struct error *err)
{
    uint64_t before = 0, after = 0;
    struct bytes name;
    int rc = 0;
    if (!r->specs) {
        if (source_items(old, 0, &before, NULL) == 0 && (rc = source_items(now, 0, &after, err)) == 0)
            compare_items(BYTES_LIT("the vaults given"), before, after, report);
        return rc;
    }
    for (uint32_t id = 1; rc == 0 && mds_source_name(old, id, &name, NULL) == 0; id++) {
        uint32_t now_id = 0;
        if (source_items(old, id, &before, NULL) < 0)
            break;
        after = 0;
        rc = mds_source_id(now, name, false, &now_id, NULL);
        if (rc == 0)
            rc = source_items(now, now_id, &after, err);
        rc = rc == BASE_ERR_NOTFOUND ? 0 : rc;
        if (rc == 0)
            compare_items(name, before, after, report);
    }
    return rc;
}

static int check_removals(struct rebuild *r, struct indexer_report *report, struct error *err)
{
    const struct mds_options opts = {.archive_name = r->build.archive};
    struct mds_env *env = NULL;
    struct mds_txn *old = NULL, *now = NULL;
    int rc = mds_open(r->fresh, &opts, &env, err);
    if (rc == 0)
        rc = mds_read_begin(env, &now, err);
    if (rc == 0)
        rc = mds_read_begin(r->old, &old, err);
    if (rc == 0)
        rc = compare_sources(r, old, now, report, err);
    mds_read_end(&old);
    mds_read_end(&now);
    mds_close(&env);
    return rc;
}

static int put_in_place(struct rebuild *r, struct error *err)
{
    char *parent = strdup(r->dir);
    ASSERT(parent);
    *strrchr(parent, '/') = '\0';
    int fd = open(*parent ? parent : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;
    if (fd < 0 || renameat2(AT_FDCWD, r->fresh, AT_FDCWD, r->dir, RENAME_EXCHANGE) < 0 || fsync(fd) < 0)
        rc = error_errno(err, "%s could not take the place of %s", r->fresh, r->dir);
    if (fd >= 0)
        close(fd);
    free(parent);
    return rc;
}

/* What is left of a store that does not open: for somebody who knows more. */
static int keep_lost(const struct rebuild *r, struct error *err)
{
    char *from = NULL, *to = NULL;
    ASSERT(asprintf(&from, "%s/data.mdb", r->dir) > 0 && asprintf(&to, "%s/data.mdb.lost", r->fresh) > 0);
    int rc = link(from, to) < 0 && errno != ENOENT ? error_errno(err, "%s", to) : 0;
    free(from);
    free(to);
    return rc;
}

/*
 * The own vault's files get a second name beside the new store: either directory can go, whenever a kill comes. The
 * names in r->fresh itself are synced by who makes the environment there (mds_open).
 */
static int link_segments(struct rebuild *r, struct error *err)
{
    char *dir = NULL;
    uint32_t number = 0;
    uint64_t bytes;
    ASSERT(asprintf(&dir, "%s/segments", r->fresh) > 0);
    int rc = mkdir(dir, 0700) < 0 ? error_errno(err, "%s", dir) : 0;
    while (rc == 0 && (rc = segment_next(r->dir, number, &number, &bytes, err)) > 0) {
        char from[4200], to[4200];
        snprintf(from, sizeof from, "%s/segments/%08u.seg", r->dir, number);
        snprintf(to, sizeof to, "%s/%08u.seg", dir, number);
        rc = link(from, to) < 0 ? error_errno(err, "%s", to) : 0;
    }
    if (rc == 0)
        rc = archive_sync_dir(dir, err);
    free(dir);
    return rc;
}

static int make_anew(struct rebuild *r, struct indexer_report *report, struct error *err)
{
    uint64_t lost = 0;
    int rc = archive_remove_tree(r->fresh, err);
    if (rc == 0 && mkdir(r->fresh, 0700) < 0)
        rc = error_errno(err, "%s", r->fresh);
    if (rc == 0)
        rc = link_segments(r, err);
    if (rc == 0 && !r->old)
        rc = keep_lost(r, err);
    if (rc == 0)
        rc = r->old ? indexer_restore_new(r->old, r->fresh, &r->restore, &lost, err)
                    : indexer_restore_lost(r->fresh, &r->restore, err);
    if (rc < 0)
        return rc;
    if (lost)
        log_to(LOG_LEVEL_WARN, "indexer: rebuild: messages that the old store cannot name any more=%" PRIu64, lost);
    struct indexer_run run = {
        .build = &r->build, .report = report, .dir = r->fresh, .tmp = r->fresh, .restore = r->restore};
    return indexer_run(&run, err);
}

int indexer_rebuild(const struct indexer_build *build, struct indexer_report *report, struct error *err)
{
    struct rebuild r = {.build = *build, .segments_fd = -1};
    struct error why = {0};
    *report = (struct indexer_report){0};
    int rc = find_dir(&r, &why);
    if (rc == 0)
        rc = open_old(&r, &why);
    if (rc == 0 && r.old && !build->sources_n)
        rc = recorded_sources(&r, &why);
    if (rc == 0 && r.old)
        rc = recorded_settings(&r, &why);
    if (rc == 0) {
        rc = make_anew(&r, report, &why);
        if (rc == 0 && r.old && !build->allow_removals)
            rc = check_removals(&r, report, &why);
        if (rc == 0 && report->removals_refused)
            rc = error_set(&why, BASE_ERR_NOTFOUND, 0, "%s; with --allow-removals its messages are left out",
                           report->refused_source);
        indexer_restore_free(&r.restore);
        if (rc == 0)
            rc = put_in_place(&r, &why);
        if (r.old)
            mds_build_unlock(r.old);
        mds_close(&r.old);
        int removed = archive_remove_tree(r.fresh, rc < 0 ? NULL : &why); /* the old store, or what was begun */
        rc = rc < 0 ? rc : removed;
    }
    mds_close(&r.old);
    if (r.segments_fd >= 0)
        (void)close(r.segments_fd);
    indexer_settings_release(&r.settings);
    for (uint32_t i = 0; i < r.specs_n; i++)
        vault_spec_release(&r.specs[i]);
    free(r.specs);
    free(r.dir);
    free(r.fresh);
    if (rc < 0) {
        error_context(&why, "archive %s: nothing was changed", build->archive);
        if (err)
            *err = why;
    }
    return rc;
}
