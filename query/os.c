/* The clock and temporary files. */
#include "change.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int64_t query_os_now(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return ts.tv_sec;
}

uint64_t query_os_monotonic_us(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

int query_os_temporary(const char *dir, int *fd_out, struct error *err)
{
    char *name = NULL;
    int rc = BASE_OK;

    *fd_out = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd_out >= 0)
        return BASE_OK;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return error_errno(err, "a temporary file in %s", dir);
    name = g_strdup_printf("%s/draft.XXXXXX", dir);
    *fd_out = mkostemp(name, O_CLOEXEC);
    if (*fd_out < 0)
        rc = error_errno(err, "a temporary file in %s", dir);
    else
        (void)unlink(name);
    g_free(name);
    return rc;
}
