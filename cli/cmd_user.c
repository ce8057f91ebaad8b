/*
 * mds user: logins of a store. Passwords come from standard input only: arguments and environments are public.
 */
#include "browse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define PASSWORD_MAX 1024

static const char description[] =
    "Commands:\n"
    "  add --store DIR --archive NAME USER   makes a login, or gives it a new password and archive\n"
    "  list --store DIR                      users and their archives, the one that is opened first\n"
    "  remove --store DIR USER\n"
    "  grant --store DIR --archive NAME USER   one archive more: USER\\\\NAME logs in there\n"
    "  revoke --store DIR --archive NAME USER  if it was the first, the next one takes its place\n"
    "\n"
    "The password is one line of standard input; on a terminal it is asked for twice, unseen.\n"
    "It is kept as a yescrypt hash. Unless --no-scram is given, the keys of SCRAM-SHA-256\n"
    "(10,000 rounds of PBKDF2) are kept too: who steals the store attacks the weaker of the two.\n"
    "Exit status: 0 done, 1 no such user or archive, 2 usage, 3 environment.";

/* One line without its end into `out`. -1 to go on, else the exit status. */
static int read_line(char out[PASSWORD_MAX])
{
    size_t n = 0;
    char c;
    ssize_t got;

    /* Byte by byte, unbuffered: stdio would keep a copy that nobody wipes. */
    while ((got = read(STDIN_FILENO, &c, 1)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            cli_note("standard input: %s", g_strerror(errno));
            return CLI_ENVIRONMENT;
        }
        if (c == '\n')
            break;
        if (n == PASSWORD_MAX - 1 || c == 0)
            return cli_usage(c ? "the password is too long" : "a password holds no NUL");
        out[n++] = c;
    }
    if (n && out[n - 1] == '\r')
        n--;
    out[n] = 0;
    return n ? -1 : cli_usage("no password on standard input");
}

static int ask(const char *prompt, char out[PASSWORD_MAX])
{
    struct termios shown, hidden;
    int rc;

    if (tcgetattr(STDIN_FILENO, &shown) != 0) {
        cli_note("terminal: %s", g_strerror(errno));
        return CLI_ENVIRONMENT;
    }
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)(ECHO | ISIG); /* killed here, the terminal would stay blind */
    hidden.c_lflag |= ECHONL;
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) != 0) {
        cli_note("terminal: %s", g_strerror(errno));
        return CLI_ENVIRONMENT;
    }
    fputs(prompt, stderr); /* after the flush: what answers the prompt must not be lost */
    rc = read_line(out);
    (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &shown);
    return rc;
}

static int read_password(char out[PASSWORD_MAX])
{
    char again[PASSWORD_MAX] = "";
    int rc;

    if (!isatty(STDIN_FILENO))
        return read_line(out);
    rc = ask("Password: ", out);
    if (rc < 0)
        rc = ask("Again: ", again);
    if (rc < 0 && strcmp(out, again) != 0)
        rc = cli_usage("the two passwords differ");
    explicit_bzero(again, sizeof again);
    return rc;
}

static int add(const char *store_dir, const char *user, const char *archive, bool scram)
{
    struct mdsq_error e = {0};
    struct mdsq_store *store = NULL;
    char password[PASSWORD_MAX] = "";
    int rc = browse_open_store(store_dir, &store);

    if (rc >= 0)
        return rc;
    rc = read_password(password);
    if (rc < 0)
        rc = mdsq_user_add(store, user, password, archive, scram, &e) < 0 ? browse_fail(&e) : CLI_DONE;
    explicit_bzero(password, sizeof password);
    mdsq_store_close(&store);
    return rc;
}

static int print_further(const char *archive, void *arg)
{
    const char *first = arg;

    if (strcmp(archive, first) != 0)
        printf(",%s", archive);
    return 0;
}

static int print_user(const char *user, const char *archive, bool scram, void *arg)
{
    printf("%s\t%s", user, archive);
    (void)mdsq_user_archives(arg, user, print_further, (void *)(uintptr_t)archive, NULL);
    printf("\t%s\n", scram ? "yescrypt,scram-sha-256" : "yescrypt");
    return 0;
}

static int list(const char *store_dir)
{
    struct mdsq_error e = {0};
    struct mdsq_store *store = NULL;
    int rc = browse_open_store(store_dir, &store);

    if (rc >= 0)
        return rc;
    rc = mdsq_users(store, print_user, store, &e);
    mdsq_store_close(&store);
    return rc < 0 ? browse_fail(&e) : CLI_DONE;
}

static int remove_user(const char *store_dir, const char *user)
{
    struct mdsq_error e = {0};
    struct mdsq_store *store = NULL;
    int rc = browse_open_store(store_dir, &store);

    if (rc >= 0)
        return rc;
    rc = mdsq_user_remove(store, user, &e);
    mdsq_store_close(&store);
    return rc < 0 ? browse_fail(&e) : CLI_DONE;
}

static int edit(const char *store_dir, const char *user, const char *archive,
                int change(struct mdsq_store *, const char *, const char *, struct mdsq_error *))
{
    struct mdsq_error e = {0};
    struct mdsq_store *store = NULL;
    int rc = browse_open_store(store_dir, &store);

    if (rc >= 0)
        return rc;
    rc = change(store, user, archive, &e);
    mdsq_store_close(&store);
    return rc < 0 ? browse_fail(&e) : CLI_DONE;
}

int cmd_user(int argc, char **argv)
{
    char *store = NULL, *archive = NULL;
    gboolean no_scram = FALSE;
    const GOptionEntry entries[] = {
        {"store", 0, 0, G_OPTION_ARG_FILENAME, &store, "the store's directory", "DIR"},
        {"archive", 0, 0, G_OPTION_ARG_STRING, &archive, "the archive that the user opens", "NAME"},
        {"no-scram", 0, 0, G_OPTION_ARG_NONE, &no_scram, "keep no keys of SCRAM-SHA-256", NULL},
        {0},
    };
    int rc = cli_options(&argc, &argv, entries, "add|list|remove|grant|revoke [USER]", "Adds, lists and removes logins, grants them archives.", description);
    const char *what = argc > 1 ? argv[1] : "";

    if (rc >= 0)
        goto out;
    if (store && archive && strcmp(what, "add") == 0 && argc == 3)
        rc = add(store, argv[2], archive, !no_scram);
    else if (store && strcmp(what, "list") == 0 && argc == 2)
        rc = list(store);
    else if (store && strcmp(what, "remove") == 0 && argc == 3)
        rc = remove_user(store, argv[2]);
    else if (store && archive && strcmp(what, "grant") == 0 && argc == 3)
        rc = edit(store, argv[2], archive, mdsq_user_grant);
    else if (store && archive && strcmp(what, "revoke") == 0 && argc == 3)
        rc = edit(store, argv[2], archive, mdsq_user_revoke);
    else
        rc = cli_usage("needs --store and one of: --archive NAME add USER, list, remove USER, --archive NAME grant USER, --archive NAME revoke USER; "
                       "see mds user --help");
out:
    g_free(store);
    g_free(archive);
    return rc;
}
