/* floor_socket: see floor_socket.h. The sender is a process of its own, as a server is. */
#include "floor_socket.h"

#include "bench_measure.h"
#include "server.h"

#include <glib.h>
#include <lmdb.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PACK   16384u       /* values lie together in packs of this size, as in a store */
#define BUFFER (256u << 10) /* of the sender and of the receiver */

static int fill(const char *dir, uint64_t bytes, MDB_env **env_out)
{
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi dbi;
    static const char zeros[PACK];
    const uint64_t packs = bytes / PACK + 1;
    int rc = mdb_env_create(&env);
    rc = rc ? rc : mdb_env_set_mapsize(env, packs * (PACK + 8192) + (64u << 20));
    rc = rc ? rc : mdb_env_open(env, dir, MDB_NOSYNC, 0600);
    rc = rc ? rc : mdb_txn_begin(env, NULL, 0, &txn);
    rc = rc ? rc : mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &dbi);
    for (uint64_t i = 0; rc == 0 && i < packs; i++) {
        size_t key = (size_t)i, size = (size_t)MIN((uint64_t)PACK, bytes - MIN(bytes, i * PACK));
        MDB_val k = {sizeof key, &key}, v = {size, (void *)(uintptr_t)zeros};
        rc = mdb_put(txn, dbi, &k, &v, MDB_APPEND);
    }
    if (txn && rc == 0)
        rc = mdb_txn_commit(txn);
    else if (txn)
        mdb_txn_abort(txn);
    *env_out = env;
    return rc;
}

struct sender {
    int fd;
    char buffer[BUFFER];
    size_t n;
};

static bool flush(struct sender *s)
{
    for (size_t at = 0; at < s->n;) {
        const ssize_t wrote = send(s->fd, s->buffer + at, s->n - at, MSG_NOSIGNAL);
        if (wrote <= 0)
            return false;
        at += (size_t)wrote;
    }
    s->n = 0;
    return true;
}

/* Value by value out of the packs. */
static bool send_all(MDB_env *env, struct sender *s, size_t value)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_dbi dbi;
    MDB_val k, v;
    bool ok = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0 && mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &dbi) == 0 &&
              mdb_cursor_open(txn, dbi, &cursor) == 0;
    while (ok && mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0)
        for (size_t at = 0; ok && at < v.mv_size; at += value) {
            const size_t size = MIN(value, v.mv_size - at);
            if (s->n + size > sizeof s->buffer)
                ok = flush(s);
            memcpy(s->buffer + s->n, (const char *)v.mv_data + at, size);
            s->n += size;
        }
    if (cursor)
        mdb_cursor_close(cursor);
    if (txn)
        mdb_txn_abort(txn);
    return ok && flush(s);
}

/* Child: for each byte that comes, all values go. */
static int serve(const char *dir, int listener, size_t value)
{
    MDB_env *env = NULL;
    struct sender *s = g_new0(struct sender, 1);
    char request;
    s->fd = accept(listener, NULL, NULL);
    bool ok = s->fd >= 0 && mdb_env_create(&env) == 0 && mdb_env_open(env, dir, MDB_RDONLY, 0600) == 0;
    while (ok && recv(s->fd, &request, 1, 0) == 1)
        ok = send_all(env, s, value);
    return ok ? 0 : 1;
}

static int receive(int fd, uint64_t bytes, struct error *err)
{
    char *buffer = g_malloc(BUFFER);
    int rc = send(fd, "g", 1, MSG_NOSIGNAL) == 1 ? 0 : error_errno(err, "floor: cannot send");
    while (rc == 0 && bytes > 0) {
        const ssize_t got = recv(fd, buffer, BUFFER, 0);
        if (got <= 0)
            rc = error_set(err, BASE_ERR_IO, 0, "floor: the sender hung up");
        else
            bytes -= MIN((uint64_t)got, bytes);
    }
    g_free(buffer);
    return rc;
}

static int listen_free(struct sockaddr_in *address, struct error *err)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t n = sizeof *address;
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd >= 0 && bind(fd, (const struct sockaddr *)address, n) == 0 && listen(fd, 1) == 0 &&
        getsockname(fd, (struct sockaddr *)address, &n) == 0)
        return fd;
    error_errno(err, "floor: cannot listen");
    if (fd >= 0)
        close(fd);
    return -1;
}

static int measure(const char *dir, uint64_t n, uint64_t bytes, unsigned repeats, double *ms, struct error *err)
{
    struct sockaddr_in address;
    const int listener = listen_free(&address, err);
    if (listener < 0)
        return BASE_ERR_IO;
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0)
        _exit(serve(dir, listener, (size_t)MAX(bytes / MAX(n, 1u), 1u)));
    close(listener);
    if (pid < 0)
        return error_errno(err, "cannot fork");
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0
                 ? 0
                 : error_errno(err, "floor: cannot connect");
    rc = rc ? rc : receive(fd, bytes, err); /* warms, not counted */
    for (unsigned i = 0; i < repeats && rc == 0; i++) {
        const gint64 began = g_get_monotonic_time();
        rc = receive(fd, bytes, err);
        ms[i] = (double)(g_get_monotonic_time() - began) / 1000;
    }
    if (fd >= 0)
        close(fd);
    int status = 0;
    if (waitpid(pid, &status, 0) != pid || (rc == 0 && status != 0))
        rc = error_set(err, BASE_ERR_IO, 0, "floor: the sender failed");
    return rc;
}

int floor_socket_measure(const char *work, uint64_t n, uint64_t bytes, unsigned repeats, double *ms, struct error *err)
{
    char *dir = g_build_filename(work, "floor", NULL);
    MDB_env *env = NULL;
    int rc = mkdir(dir, 0700) == 0 ? 0 : error_errno(err, "cannot make %s", dir);
    if (rc == 0) {
        const int got = fill(dir, bytes, &env);
        mdb_env_close(env); /* before the fork: an environment belongs to one process */
        rc = got ? error_set(err, BASE_ERR_IO, got, "floor: LMDB: %s", mdb_strerror(got))
                 : measure(dir, n, bytes, repeats, ms, err);
    }
    bench_remove_tree(dir);
    g_free(dir);
    return rc;
}
