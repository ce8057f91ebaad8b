/*
 * side: servers that a suite holds against each other: this project's and its peers, each started on loopback with a
 * configuration of its own in the work directory, on the same mail.
 *
 *     struct side side = {0};
 *     if (side_dovecot_start(&place, SIDE_PLAIN, &side, &err) == 0 && !side.note)
 *         ... net_dial(&side.target, ...) ...
 *     side_stop(&side);
 *
 * A peer that is not installed is no error: then `note` says so and nothing runs. Each listens for TLS too, with one
 * certificate for all, where there is an `openssl` to make it.
 */
#ifndef BENCH_SIDE_H
#define BENCH_SIDE_H

#include "net_client.h"
#include "server.h"

#include <glib.h>
#include <jansson.h>

#define SIDE_USER     "ann"
#define SIDE_PASSWORD "measured"
#define SIDES_MAX     6

struct side {
    const char *name;
    struct bench_server server;
    struct net_target target;
    struct net_target tls; /* the same server over TLS, where has_tls */
    bool has_tls;
    bool shares_server; /* with another side, whose it is */
    char *version;      /* owned */
    char *note;         /* owned; why there is none of it, NULL: it runs */
    /* What made its index ready: wall time, CPU, bytes on disk. */
    double prepared_s, prepared_cpu_s;
    uint64_t prepared_peak_bytes; /* private memory (a peer's: its resident set) */
    uint64_t disk_bytes;
};

/* Where sides live. Borrowed. */
struct side_place {
    const char *work;  /* new directories are made in it; on the vault's file system (hard links) */
    const char *vault; /* a Maildir, with or without dot folders; never written */
    bool has_folders;
    char *mds;      /* this project's program */
    int jobs;       /* of its build and index, 0: its own choice */
    bool as_built;  /* its server makes no index of texts in the background, which it would by default */
    int patience_s; /* with a peer's making of an index, 0: for ever; then it has a note */
};

/* The files of the place's certificate (certificate.h), made when it is asked for first. False: there is none, nobody
 * speaks TLS. Owned by the caller. */
bool side_certificate(const struct side_place *place, char **file_out, char **key_out);

/* A store of the vault, made by `mds build` into the directory `store`, with the login of this file. Nothing runs then.
 * What it took goes to side. */
int side_mds_build(const struct side_place *place, char *store, struct side *side, struct error *err);
/* `mds index --text` on top of it. A program without that command gives a note. */
int side_mds_index(const struct side_place *place, char *store, struct side *side, struct error *err);
int side_mds_start(const struct side_place *place, char *store, struct side *side, struct error *err);
/* How many connections such a server takes in: as many as descriptors allow. */
uint64_t side_mds_connections(void);
/* The running server `of`, asked over TLS. It must have_tls. */
void side_mds_tls(const struct side *of, struct side *side);

enum side_kind { SIDE_PLAIN, SIDE_FTS /* with its full-text plugin (Xapian) and a ready index */ };
/* Dovecot, with a hard-linked copy of the vault, after `doveadm index`. */
int side_dovecot_start(const struct side_place *place, enum side_kind kind, struct side *side, struct error *err);

/* Cyrus, filled with the vault's messages by APPEND. What goes wrong with it is a note. */
void side_cyrus_start(const struct side_place *place, struct side *side);

/* Where this is root, peers run as nobody: which directory above `dir` nobody may not enter, as a note; NULL: none.
 * Owned by the caller. */
char *side_unreachable(const char *dir);

void side_stop(struct side *side);
json_t *side_json(const struct side *side);

#endif
