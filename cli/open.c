/* Store and archive name to an environment. */
#include "open.h"

#include <glib.h>

int open_archive(const char *store, const char *archive, struct mds_env **out, struct error *err)
{
    struct mds_catalogue *catalogue = NULL;
    struct mds_archive_info *info = g_new0(struct mds_archive_info, 1);
    struct mds_options opts = {.read_only = true};
    int rc = mds_catalogue_open(store, false, true, &catalogue, err);
    if (rc == 0)
        rc = mds_catalogue_archive_find(catalogue, archive, false, info, err);
    mds_catalogue_close(&catalogue);
    if (rc == 0)
        rc = mds_open(info->dir, &opts, out, err);
    g_free(info);
    return rc;
}
