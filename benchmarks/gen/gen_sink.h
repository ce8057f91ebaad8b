/*
 * gen_sink: where generated messages go: a vault of one of the kinds that `mds build` reads.
 *
 *     maildir   cur/ and new/, folders as ".Sub.Folder" (Maildir++); file times are the messages'
 *     mbox      one file a folder (mboxrd quoting, Status and X-Status), "Sub/Folder" below the directory
 *     eml       <number>.eml in a directory a folder
 *     mh        <number> in a directory a folder, .mh_sequences (unseen, flagged, replied)
 *
 * Thread rule: gen_sink_put of maildir and eml may be called by many threads at once; of mbox and mh by one, in order
 * of i. Errors: BASE_ERR_IO and BASE_ERR_FULL with the path; what was written stays.
 */
#ifndef GEN_SINK_H
#define GEN_SINK_H

#include "base/error.h"
#include "gen_plan.h"

enum gen_kind { GEN_MAILDIR, GEN_MBOX, GEN_EML, GEN_MH, GEN_KINDS };

/* The kind of that name, GEN_KINDS if there is none. */
enum gen_kind gen_kind_of(const char *name);
static inline bool gen_kind_is_parallel(enum gen_kind kind)
{
    return kind == GEN_MAILDIR || kind == GEN_EML;
}

struct gen_sink;
/* Makes dir and the folders' directories; dir must be empty unless `append`. The plan must outlive the sink. */
int gen_sink_open(const char *dir, enum gen_kind kind, const struct gen_plan *plan, bool append, struct gen_sink **out,
                  struct error *err);
/* Files message i with these bytes under its folder, flags and date. */
int gen_sink_put(struct gen_sink *sink, uint64_t i, struct bytes message, struct error *err);
/* Flushes; the sink is gone whatever the result. */
int gen_sink_close(struct gen_sink **sink, struct error *err);

#endif
