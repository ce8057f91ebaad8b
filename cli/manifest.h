/* manifest: which archives are built from which vaults. */
#ifndef CLI_MANIFEST_H
#define CLI_MANIFEST_H

#include "base/error.h"
#include "vault/vault.h"

struct manifest_archive {
    char *name;
    struct vault_spec *sources;
    uint32_t sources_n;
};

/* Owned: manifest_release. Zeroed is empty. */
struct manifest {
    struct manifest_archive *archives; /* in order of first mention */
    size_t n;
};

/*
 * A file of lines "archive<TAB>KIND:PATH[=FOLDER]"; "-" is standard input; empty lines and lines that begin with # are
 * passed over. BASE_ERR_USAGE with the line's number.
 */
int manifest_read(const char *path, struct manifest *out, struct error *err);
/* One archive from the command line. */
int manifest_from(const char *archive, char *const *from, struct manifest *out, struct error *err);
/* The pattern for eml-trees, of all sources; NULL leaves them. */
void manifest_set_match(struct manifest *m, const char *match);
void manifest_release(struct manifest *m);

#endif
