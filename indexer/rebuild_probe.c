/*
 * rebuild_probe: can the old store be read to its end? LMDB follows what a damaged page says and may die of it, or the
 * folders may be unreadable. So a child reads all of it first, as a rebuild will.
 */
#include "rebuild_probe.h"

#include "restore.h"
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum probe_exit { EXIT_READABLE = 0, EXIT_DAMAGED = 1, EXIT_NOT_OPEN = 2 };

/* As indexer_carry_imports will: each place is looked for by the one before. */
static int read_places(struct indexer_restore *r, struct error *err)
{
    struct mds_container c = {0};
    struct buf last = {0};
    int rc = 0, more = 1;
    while (rc == 0 && (more = mds_container_next(r->txn, c.id + 1, &c, NULL)) > 0) {
        struct mds_place p;
        bool first = true;
        while (rc == 0 &&
               (more = mds_place_next(r->txn, c.id, first ? NULL : &(struct bytes){last.p, last.n}, &p, NULL)) > 0) {
            first = false;
            buf_reset(&last);
            buf_append_bytes(&last, p.identity);
        }
        rc = more < 0 ? indexer_restore_renew(r, err) : 0;
    }
    buf_release(&last);
    return rc;
}

static enum probe_exit read_all(const char *dir, const char *archive, struct error *err)
{
    const struct mds_options opts = {.archive_name = archive, .read_only = true};
    struct indexer_restore *restore = NULL;
    struct mds_env *env = NULL;
    uint64_t lost = 0;
    if (mds_open(dir, &opts, &env, err) < 0)
        return EXIT_NOT_OPEN;
    /* Not mds_verify: what a rebuild does not read may be damaged as it likes. */
    if (indexer_restore_new(env, dir, &restore, &lost, err) < 0 || read_places(restore, err) < 0)
        return EXIT_DAMAGED;
    return EXIT_READABLE;
}

static _Noreturn void child(int fd, const char *dir, const char *archive)
{
    struct error err = {0};
    const enum probe_exit status = read_all(dir, archive, &err);
    if (write(fd, err.text, strlen(err.text)) < 0)
        _exit(status); /* nobody listens */
    _exit(status);
}

int indexer_rebuild_probe(const char *dir, const char *archive, struct error *err)
{
    int fds[2];
    char text[400] = "";
    size_t n = 0;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_errno(err, "pipe");
    const pid_t pid = indexer_fork_reader();
    if (pid == 0)
        child(fds[1], dir, archive);
    (void)close(fds[1]);
    if (pid < 0) {
        const int rc = error_errno(err, "fork");
        (void)close(fds[0]);
        return rc;
    }
    for (ssize_t got; n < sizeof text - 1 && (got = read(fds[0], text + n, sizeof text - 1 - n)) != 0;) {
        if (got > 0)
            n += (size_t)got;
        else if (errno != EINTR)
            break;
    }
    text[n] = '\0';
    (void)close(fds[0]);
    const int status = indexer_child_status(pid);
    if (WIFSIGNALED(status))
        return error_set(err, BASE_ERR_CORRUPT, 0, "%s: reading it ended a process (signal %d): its pages are damaged",
                         dir, WTERMSIG(status));
    return WEXITSTATUS(status) == EXIT_DAMAGED ? error_set(err, BASE_ERR_CORRUPT, 0, "%s", text) : 0;
}
