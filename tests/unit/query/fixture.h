/*
 * fixture: a store with one archive, built with the rooms below query, over a vault of files of its own.
 *
 *     struct fixture *f = fixture_new(TEMP_DIR());
 *     uint32_t uid = fixture_add(f, "INBOX", BYTES_LIT("Subject: x\r\n\r\nhello\r\n"), &(struct filing){.flags = 1});
 *     fixture_open(f);                 // f->store, f->archive, f->reader
 *     ...
 *     fixture_free(&f);
 *
 * Lifetimes: everything belongs to the fixture. A failure fails the test.
 */
#ifndef QUERY_FIXTURE_H
#define QUERY_FIXTURE_H

#include "mds/mds.h"
#include "mds/query.h"
#include "mime/mime.h"
#include "vault/vault.h"

struct fixture {
    const char *dir;
    const char *store_dir;
    const char *vault_dir;
    struct mds_env *env; /* the writing side */
    struct mds_catalogue *catalogue;
    struct mime_parser *parser;
    unsigned files;
    char last_file[64]; /* relative to vault_dir */
    uint64_t mbox_bytes;
    /* the reading side */
    struct mdsq_store *store;
    struct mdsq_archive *archive;
    struct mdsq_reader *reader;
};

struct filing {
    uint32_t flags;
    const char *keywords; /* blank-separated */
    int64_t internal_date;
    int16_t internal_zone;
    int64_t saved_date;   /* 0: 1000 */
    bool all_headers;     /* keep the whole header block */
    bool in_mbox;         /* the bytes go to the mbox "box" beside the vault's files; it must end with a line end */
};

struct fixture *fixture_new(const char *dir);
void fixture_free(struct fixture **f);
/* Files a message, its bytes as a file of the vault; makes the folder. Commits. how may be NULL. */
uint32_t fixture_add(struct fixture *f, const char *folder, struct bytes raw, const struct filing *how);
void fixture_folder(struct fixture *f, struct bytes name, bool subscribed);
void fixture_remove(struct fixture *f, const char *folder, uint32_t uid);
void fixture_flag(struct fixture *f, const char *folder, uint32_t uid, uint32_t flags);
/* Opens the reading side, or renews its reader. */
void fixture_open(struct fixture *f);
struct mdsq_view *fixture_view(struct fixture *f, const char *folder);

/* A section's bytes, read in one go; lives until exit. *rc_out: 0 or the error of opening. */
struct bytes fixture_body(struct fixture *f, const struct mdsq_view *view, uint32_t uid,
                          const struct mdsq_section *section, int *rc_out);

#endif
