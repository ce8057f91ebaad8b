/*
 * mds dump: the logical store as text. Two stores that say the same have the same dump.
 */
#include "cli.h"
#include "open.h"

#include <stdio.h>

int cmd_dump(int argc, char **argv)
{
    char *store = NULL, *archive = NULL;
    const GOptionEntry entries[] = {
        {"store", 's', 0, G_OPTION_ARG_FILENAME, &store, "the store's directory", "DIR"},
        {"archive", 'a', 0, G_OPTION_ARG_STRING, &archive, "the archive", "NAME"},
        G_OPTION_ENTRY_NULL,
    };
    struct error err = {0};
    struct mds_env *env = NULL;
    struct mds_txn *txn = NULL;
    int status = cli_options(&argc, &argv, entries, "",
                             "Writes an archive's logical store as text: the same for equal stores.",
                             "Wall-clock times, page numbers and packing are left out, so that dumps can be compared.\n");
    if (status < 0 && argc > 1)
        status = cli_usage("'%s' is not expected", argv[1]);
    if (status < 0 && (!store || !archive))
        status = cli_usage("--store DIR and --archive NAME are needed");
    if (status < 0) {
        int rc = open_archive(store, archive, &env, &err);
        if (rc == 0)
            rc = mds_read_begin(env, &txn, &err);
        if (rc == 0)
            rc = mds_dump(txn, stdout, &err);
        if (rc == 0 && fflush(stdout) != 0)
            rc = error_errno(&err, "standard output");
        mds_read_end(&txn);
        mds_close(&env);
        status = rc < 0 ? cli_fail(&err) : CLI_DONE;
    }
    g_free(store);
    g_free(archive);
    return status;
}
