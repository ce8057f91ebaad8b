/*
 * op: what the planner tells the writer, in order, through the pipeline's tags.
 *
 * The planner reads vaults and the store and decides; the writer alone
 * changes the store. One op is one tag: with an item (OP_ITEM, sent by
 * ingest_submit) or without one (ingest_pass). A container's ops stand between
 * its OP_CONTAINER and OP_CONTAINER_END, a source's between OP_SOURCE and OP_SOURCE_END.
 *
 * Same process, same program: the bytes are never stored. Views point into the
 * encoded tag after indexer_op_decode.
 */
#ifndef INDEXER_OP_H
#define INDEXER_OP_H

#include "base/bytes.h"
#include "base/error.h"
#include "vault/vault.h"

enum op_kind {
    OP_SOURCE = 1,    /* a source begins: source, rows */
    OP_CONTAINER,     /* name, folder, stamp, scanned_ns, is_mbox */
    OP_ITEM,          /* how, identity, flags, keywords, stat; comes with an item */
    OP_FLAGS,         /* identity, flags, keywords, file: the place is known, the vault's flags changed */
    OP_MISSING,       /* identity: the place was not seen by the scan */
    OP_CONTAINER_END, /* complete: everything of it was seen */
    OP_GONE,          /* container: it is no longer in the vault; rows */
    OP_SOURCE_END,    /* complete; rows: messages missing by name; moved */
    OP_TROUBLE,       /* text: something that could not be read; the writer counts and reports it */
    OP_END,           /* the archive's last: no worker has anything of it any more */
};

enum op_how {
    OP_HOW_NEW = 1, /* no place yet, or one that failed */
    OP_HOW_REREAD,  /* place is known: are the bytes still the same? */
    OP_HOW_OWN,     /* rebuild: a record of the own vault */
    OP_HOW_MBOX,    /* compare with the container's former content */
};

struct op {
    enum op_kind kind;
    uint32_t source;        /* index into the build's sources */
    uint64_t rows;          /* places that the source (container) has in the store */
    struct bytes name;      /* container name */
    struct bytes folder;
    struct vault_stamp stamp;
    int64_t scanned_ns;
    bool is_mbox;
    enum op_how how;
    struct bytes identity;
    uint32_t flags;
    struct bytes keywords;
    struct bytes file;      /* locator name that the flags come with */
    bool has_stat;
    uint64_t size;
    int64_t mtime_ns;
    uint32_t container;     /* store's id */
    bool complete;
    uint64_t moved;         /* of the missing: found again under the same name elsewhere in the source */
    struct bytes text;
};

/* Appends. Keywords past OP_KEYWORDS_MAX bytes are cut at a space, so that a tag always fits. */
#define OP_KEYWORDS_MAX 4096
void indexer_op_encode(const struct op *op, struct buf *out);
/* Fails only on our own bug. */
bool indexer_op_decode(struct bytes in, struct op *out);

#endif
