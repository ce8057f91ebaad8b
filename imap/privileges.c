/* privileges: see privileges.h. */
#include "privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

static bool number(const char *text, unsigned long *out)
{
    const size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 10 || text[digits])
        return false;
    *out = strtoul(text, NULL, 10);
    return *out < (unsigned long)(uid_t)-1;
}

/* A user without an entry in the system's list has a number only; its group has the same one. */
static int find_user(const char *name, uid_t *uid, gid_t *gid, struct error *err)
{
    unsigned long id = 0;
    errno = 0;
    const struct passwd *entry = getpwnam(name); /* before any thread */
    if (!entry && number(name, &id)) {
        entry = getpwuid((uid_t)id);
        *uid = (uid_t)id;
        *gid = entry ? entry->pw_gid : (gid_t)id;
        return 0;
    }
    if (!entry)
        return error_set(err, BASE_ERR_USAGE, errno, "user \"%s\" is not known here", name);
    *uid = entry->pw_uid;
    *gid = entry->pw_gid;
    return 0;
}

static int find_group(const char *name, gid_t *gid, struct error *err)
{
    unsigned long id = 0;
    const struct group *entry = getgrnam(name);
    if (!entry && number(name, &id)) {
        *gid = (gid_t)id;
        return 0;
    }
    if (!entry)
        return error_set(err, BASE_ERR_USAGE, 0, "group \"%s\" is not known here", name);
    *gid = entry->gr_gid;
    return 0;
}

static int become(const char *user, uid_t uid, gid_t gid, struct error *err)
{
    uid_t r, e, s;
    if (geteuid() != 0) {
        if (geteuid() == uid && getuid() == uid)
            return 0;
        return error_set(err, BASE_ERR_USAGE, 0, "only root can become user \"%s\"", user);
    }
    /* The user's other groups too: the key's group is likely one of them. */
    const struct passwd *entry = getpwuid(uid);
    if ((entry ? initgroups(entry->pw_name, gid) : setgroups(1, &gid)) != 0)
        return error_errno(err, "cannot take the groups of user \"%s\"", user);
    if (setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
        return error_errno(err, "cannot become user \"%s\"", user);
    if (getresuid(&r, &e, &s) != 0 || r != uid || e != uid || s != uid || (uid != 0 && setuid(0) == 0))
        return error_set(err, BASE_ERR_IO, 0, "cannot give up root");
    return 0;
}

static int find_both(const char *user, const char *group, uid_t *uid, gid_t *gid, struct error *err)
{
    int rc = user ? find_user(user, uid, gid, err) : 0;
    if (rc == 0 && user && group)
        rc = find_group(group, gid, err);
    if (rc == 0 && !user && group)
        rc = error_set(err, BASE_ERR_USAGE, 0, "a group without a user");
    return rc;
}

int imap_privileges_check(const char *user, const char *group, struct error *err)
{
    uid_t uid = 0;
    gid_t gid = 0;
    return find_both(user, group, &uid, &gid, err);
}

int imap_privileges_drop(const char *user, const char *group, struct error *err)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    int rc = find_both(user, group, &uid, &gid, err);
    if (rc == 0 && user)
        rc = become(user, uid, gid, err);
    if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        rc = error_errno(err, "cannot give up new privileges");
    return rc;
}

unsigned long imap_privileges_raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    return (unsigned long)limit.rlim_cur;
}
