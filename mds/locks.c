/*
 * Lock files beside an environment, all with open-file-description locks: they work between threads of one process as
 * between processes, and die with their descriptor.
 *
 *   build.lock   byte 0 exclusive: a build runs; the file holds its pid for the message
 *   queue.lock   byte 0 shared: somebody waits to write, so a build should commit soon
 *                byte 1 exclusive: the turn. Its holder alone waits for LMDB's writer mutex; a build that commits and
 *                begins anew queues behind it. Without it the mutex, which is not fair, would go back to the build.
 */
#include "mds_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYTE_WAITING 0
#define BYTE_TURN    1

static int lock_file_open(const struct mds_env *env, const char *name, struct error *err)
{
    char path[4200];

    if (snprintf(path, sizeof path, "%s/%s", env->dir, name) >= (int)sizeof path)
        return error_set(err, BASE_ERR_LIMIT, 0, "%s: path too long", env->dir);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    return fd >= 0 ? fd : error_errno(err, "open %s", path);
}

static int lock_set(int fd, int command, short type, off_t byte)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    int rc;

    do {
        rc = fcntl(fd, command, &lock);
    } while (rc != 0 && errno == EINTR);
    return rc;
}

int locks_open(struct mds_env *env, struct error *err)
{
    if (env->read_only)
        return BASE_OK;
    /* Only seen whether it can be made: a server with thousands of archives never asks who waits. */
    const int fd = lock_file_open(env, "queue.lock", err);

    if (fd < 0)
        return fd;
    (void)close(fd);
    return BASE_OK;
}

void locks_close(struct mds_env *env)
{
    mds_build_unlock(env);
    if (env->queue_fd >= 0)
        (void)close(env->queue_fd);
    env->queue_fd = -1;
}

int locks_queue_enter(struct mds_env *env, int *fd_out, struct error *err)
{
    const int fd = lock_file_open(env, "queue.lock", err);

    *fd_out = -1;
    if (fd < 0)
        return fd;
    if (lock_set(fd, F_OFD_SETLKW, F_RDLCK, BYTE_WAITING) != 0 || lock_set(fd, F_OFD_SETLKW, F_WRLCK, BYTE_TURN) != 0) {
        const int rc = error_errno(err, "lock %s/queue.lock", env->dir);

        (void)close(fd);
        return rc;
    }
    *fd_out = fd;
    return BASE_OK;
}

bool mds_writer_waiting(struct mds_env *env)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = BYTE_WAITING, .l_len = 1};

    (void)pthread_mutex_lock(&env->mutex);
    if (env->queue_fd < 0 && !env->read_only)
        env->queue_fd = lock_file_open(env, "queue.lock", NULL);
    const int fd = env->queue_fd;

    (void)pthread_mutex_unlock(&env->mutex);
    return fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

bool mds_is_building(const char *dir)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    char path[4200];

    if (snprintf(path, sizeof path, "%s/build.lock", dir) >= (int)sizeof path)
        return false;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0) /* nobody ever did */
        return false;
    const bool held = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK; /* asks, takes nothing */

    (void)close(fd);
    return held;
}

static int build_locked_by_other(const struct mds_env *env, int fd, struct error *err)
{
    char text[32] = "";
    const ssize_t n = pread(fd, text, sizeof text - 1, 0);

    text[n > 0 ? n : 0] = 0;
    const long pid = strtol(text, NULL, 10);

    return error_set(err, BASE_ERR_LOCKED, 0, "%s is being built by process %ld: wait for it, or stop it and run again",
                     env->dir, pid);
}

int mds_build_lock(struct mds_env *env, struct error *err)
{
    char text[32];
    int rc = BASE_OK;

    if (env->read_only)
        return error_set(err, BASE_ERR_READONLY, 0, "%s was opened read-only", env->dir);
    const int fd = lock_file_open(env, "build.lock", err);

    if (fd < 0)
        return fd;
    if (lock_set(fd, F_OFD_SETLK, F_WRLCK, 0) != 0) {
        rc = errno == EAGAIN || errno == EACCES ? build_locked_by_other(env, fd, err)
                                                : error_errno(err, "lock %s/build.lock", env->dir);
        (void)close(fd);
        return rc;
    }
    const int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());

    /* Only the message of others depends on it. */
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n)
        errno = 0;
    (void)pthread_mutex_lock(&env->mutex);
    ASSERT(env->build_fd < 0);
    env->build_fd = fd;
    (void)pthread_mutex_unlock(&env->mutex);
    return BASE_OK;
}

void mds_build_unlock(struct mds_env *env)
{
    (void)pthread_mutex_lock(&env->mutex);
    const int fd = env->build_fd;

    env->build_fd = -1;
    (void)pthread_mutex_unlock(&env->mutex);
    if (fd >= 0)
        (void)close(fd);
}
