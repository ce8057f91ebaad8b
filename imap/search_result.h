/*
 * search_result: what SEARCH, SORT, THREAD and ESEARCH do alike with a search that runs, and with what it found.
 */
#ifndef IMAP_SEARCH_RESULT_H
#define IMAP_SEARCH_RESULT_H

#include "search_key.h"
#include "session_private.h"

/*
 * What MIN, MAX and PARTIAL leave of a result when neither ALL nor COUNT is asked for: it is what is saved and whose
 * modseqs count (RFC 5182 2.1, RFC 4731 3.2, RFC 9394 3.2). *out NULL: all of it. first and last: of the result in its
 * order, 0 if it is empty; part: the members of PARTIAL's range, NULL without one. Owned.
 */
int imap_search_chosen(unsigned returns, uint32_t first, uint32_t last, const struct mdsq_set *part,
                       struct mdsq_set **out, struct mdsq_error *err);

/*
 * How far a long command is, for the client (RFC 9585): after a second, then every five. Zeroed at the command's start.
 * is_part: there are more searches to come, so that where it ends is not known.
 */
struct imap_progress {
    bool is_part;
    /* its own */
    bool was_told;
    int64_t told_ms; /* at first, when the command's first slice ended */
    uint64_t before; /* items that searches before this one read */
};
/* After each slice, between responses. search: what runs; NULL: something else does, which cannot say how far it is. */
void imap_say_progress(struct imap_session *s, const struct imap_command *c, struct imap_progress *p,
                       const struct mdsq_search *search);
/* A search is over, and others follow. */
void imap_progress_pass(struct imap_progress *p, const struct mdsq_search *search);

/* The first UID of a set, 0 if it is empty. */
uint32_t imap_set_first(const struct mdsq_set *set);

#endif
