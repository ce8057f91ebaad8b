/* open: an archive of a store, for the commands that look into one. */
#ifndef CLI_OPEN_H
#define CLI_OPEN_H

#include "mds/mds.h"

/* Read-only. BASE_ERR_NOTFOUND names the store or archive that is not there. */
int open_archive(const char *store, const char *archive, struct mds_env **out, struct error *err);

#endif
