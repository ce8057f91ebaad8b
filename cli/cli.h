/*
 * cli: what the subcommands of `mds` share.
 *
 * One file a subcommand, one row a subcommand in main.c's table:
 *
 *     int cmd_stat(int argc, char **argv)      // argv[0] is "stat"
 *     {
 *         ...
 *         int rc = cli_options(&argc, &argv, entries, "", "Shows ...", NULL);
 *         if (rc >= 0)
 *             return rc;                       // --help (0) or a usage error (2)
 *         ...
 *         return cli_fail(&err);               // prints, maps to 3 (or 2)
 *     }
 *
 * Exit statuses are part of the interface (mds(1)): enum cli_status.
 * Results go to standard output, everything else to standard error.
 * Thread rule: main thread only, but for cli_cancel.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/error.h"

#include <glib.h>

enum cli_status {
    CLI_DONE = 0,        /* done */
    CLI_SOME_FAILED = 1, /* done, but items failed; verify: findings; ls, fetch, search: nothing of that name */
    CLI_USAGE = 2,       /* the command line makes no sense; nothing was touched */
    CLI_ENVIRONMENT = 3, /* disk, locks, permissions, corrupt store, interrupted: fix it and run again */
};

/* The table's rows. argv[0] is the subcommand's name, argv[argc] NULL. */
int cmd_archive(int argc, char **argv);
int cmd_backup(int argc, char **argv);
int cmd_build(int argc, char **argv);
int cmd_compact(int argc, char **argv);
int cmd_dump(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_fetch(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_index(int argc, char **argv);
int cmd_ls(int argc, char **argv);
int cmd_rebuild(int argc, char **argv);
int cmd_restore(int argc, char **argv);
int cmd_search(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_undelete(int argc, char **argv);
int cmd_user(int argc, char **argv);
int cmd_verify(int argc, char **argv);

/*
 * Parses options with GLib. params: what follows the options in the usage line;
 * summary: one sentence; description: what stands below the options, or NULL.
 * Returns -1 to go on, else the exit status. --help prints and exits 0.
 * Non-options stay in argv[1..].
 */
int cli_options(int *argc, char ***argv, const GOptionEntry *entries, const char *params, const char *summary,
                const char *description);

/* "mds NAME: text" on standard error; returns CLI_USAGE. */
int cli_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Prints the error; returns CLI_USAGE for BASE_ERR_USAGE and _SYNTAX, else CLI_ENVIRONMENT. */
int cli_fail(const struct error *err);
/* A line on standard error with the command's name before it. */
void cli_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * After this SIGINT and SIGTERM set the flag that is returned instead of
 * killing; a second SIGINT kills as ever. Children inherit nothing of it but the handler.
 */
const volatile int *cli_cancel_on_signals(void);

#endif
