/*
 * list_archive STORE ARCHIVE: prints an archive's folders and the newest messages of each, from the metadata store alone.
 *
 *     cc list_archive.c -o list_archive $(pkg-config --cflags --libs mds)
 */
#include <mds/query.h>

#include <stdio.h>

#define NEWEST 3

static int print_newest(struct mdsq_reader *reader, const char *folder, struct mdsq_error *err)
{
    struct mdsq_view *view = NULL;
    struct mdsq_set *set = NULL;
    struct mdsq_fetch *fetch = NULL;
    struct mdsq_message m;
    char range[32];
    int rc = mdsq_view_open(reader, folder, &view, err);
    const uint32_t count = rc < 0 ? 0 : mdsq_view_count(view);

    const int n = snprintf(range, sizeof range, "%u:*", count > NEWEST ? count - NEWEST + 1 : 1);
    if (rc >= 0)
        rc = mdsq_set_parse(view, range, (size_t)n, false, &set, err);
    if (rc >= 0)
        rc = mdsq_fetch_new(reader, view, set, MDSQ_FETCH_INTERNALDATE | MDSQ_FETCH_SIZE | MDSQ_FETCH_ENVELOPE, &fetch, err);
    while (rc >= 0 && (rc = mdsq_fetch_next(fetch, &m, err)) > 0)
        printf("  %u %s %llu bytes %.*s\n", m.uid, m.internal_date, (unsigned long long)m.size, (int)m.envelope.n,
               (const char *)m.envelope.p);
    mdsq_fetch_free(&fetch);
    mdsq_set_free(&set);
    mdsq_view_close(&view);
    return rc;
}

static int on_folder(const struct mdsq_folder *folder, void *reader)
{
    struct mdsq_status status;
    struct mdsq_error err = {0};

    if (folder->attrs & MDSQ_FOLDER_NOSELECT)
        return 0;
    if (mdsq_status(reader, folder->name, &status, &err) < 0)
        return fprintf(stderr, "%s: %s\n", folder->name, err.text);
    printf("%s: %u messages, %u unseen\n", folder->name, status.messages, status.unseen);
    return print_newest(reader, folder->name, &err) < 0 ? fprintf(stderr, "%s: %s\n", folder->name, err.text) : 0;
}

int main(int argc, char **argv)
{
    struct mdsq_error err = {0};
    struct mdsq_store *store = NULL;
    struct mdsq_archive *archive = NULL;
    struct mdsq_reader *reader = NULL;
    const int ok = argc == 3 && mdsq_store_open(argv[1], 0, &store, &err) >= 0 &&
                   mdsq_archive_open(store, argv[2], &archive, &err) >= 0 &&
                   mdsq_reader_begin(archive, &reader, &err) >= 0 &&
                   mdsq_list(reader, "", "*", false, on_folder, reader, &err) >= 0;

    if (!ok)
        fprintf(stderr, "%s\n", argc == 3 ? err.text : "usage: list_archive STORE ARCHIVE");
    mdsq_reader_end(&reader);
    mdsq_archive_close(&archive);
    mdsq_store_close(&store);
    return ok ? 0 : 1;
}
