/*
 * file_message STORE ARCHIVE FOLDER < MESSAGE: files a message in an archive and flags it. When it says so, it is on the disk.
 *
 *     cc file_message.c -o file_message $(pkg-config --cflags --libs mds)
 */
#include <mds/query.h>

#include <stdio.h>

static int read_into(struct mdsq_draft *draft, FILE *in, struct mdsq_error *err)
{
    char chunk[65536];
    int rc = 0;

    for (size_t n; rc >= 0 && (n = fread(chunk, 1, sizeof chunk, in)) > 0;)
        rc = mdsq_draft_write(draft, chunk, n, err);
    return rc;
}

/* Gives the new UID. */
static int file_and_flag(struct mdsq_archive *archive, const char *folder, uint32_t *uid, struct mdsq_error *err)
{
    struct mdsq_append message = {.flags = {.flags = 1 /* \Seen */}};
    const struct mdsq_flags flagged = {.flags = 4 /* \Flagged */};
    struct mdsq_change *append = NULL, *store = NULL;
    struct mdsq_reader *reader = NULL;
    struct mdsq_view *view = NULL;
    struct mdsq_outcome outcome;
    int rc = mdsq_draft_new(archive, &message.draft, err);

    if (rc >= 0 && (rc = read_into(message.draft, stdin, err)) < 0)
        mdsq_draft_free(&message.draft);
    if (rc < 0 || (rc = mdsq_change_append(archive, folder, &message, 1, &append, err)) < 0)
        return rc;
    if ((rc = mdsq_change_wait(append, err)) >= 0 && (rc = mdsq_change_outcome(append, &outcome, err)) >= 0 &&
        (rc = mdsq_reader_begin(archive, &reader, err)) >= 0 && (rc = mdsq_view_open(reader, folder, &view, err)) >= 0 &&
        (rc = mdsq_change_store(archive, view, outcome.dest, MDSQ_STORE_ADD, &flagged, NULL, &store, err)) >= 0 &&
        (rc = mdsq_change_wait(store, err)) >= 0)
        *uid = mdsq_set_last(outcome.dest);
    mdsq_view_close(&view);
    mdsq_reader_end(&reader);
    mdsq_change_free(&store);
    mdsq_change_free(&append);
    return rc;
}

int main(int argc, char **argv)
{
    struct mdsq_error err = {0};
    struct mdsq_store *store = NULL;
    struct mdsq_archive *archive = NULL;
    uint32_t uid = 0;
    const int ok = argc == 4 && mdsq_store_open(argv[1], MDSQ_STORE_WRITE, &store, &err) >= 0 &&
                   mdsq_archive_open(store, argv[2], &archive, &err) >= 0 &&
                   file_and_flag(archive, argv[3], &uid, &err) >= 0;

    if (ok)
        printf("filed as %u\n", uid);
    else
        fprintf(stderr, "%s\n", argc == 4 ? err.text : "usage: file_message STORE ARCHIVE FOLDER < MESSAGE");
    mdsq_archive_close(&archive);
    mdsq_store_close(&store);
    return ok ? 0 : 1;
}
