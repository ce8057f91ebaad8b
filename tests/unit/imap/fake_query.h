/*
 * fake_query: query/'s API over a few arrays, so that a session is tested alone and the world can be made to fail.
 *
 *     fake_reset();                       // archive "mail", user "me"/"secret", INBOX with three messages
 *     fake.messages[1].vault_gone = true; // its body does not open any more
 *
 * All state is the one global, which is fine here: each Criterion test is a process.
 */
#ifndef FAKE_QUERY_H
#define FAKE_QUERY_H

#include "mds/query.h"

#include <stdbool.h>

#define FAKE_MESSAGES 4000

struct fake_message {
    uint32_t uid;
    const char *flags;
    const char *raw; /* header, blank line, text */
    bool expunged;
    bool vault_gone; /* body_open: GONE */
    bool stored;     /* fetch_section: has its header */
    bool corrupt;    /* fetch_next: CORRUPT */
    size_t break_at; /* body_read fails from here on, if not 0 */
    bool changed;    /* flags, told by the next advance */
    uint64_t modseq;
};

struct fake {
    struct fake_message messages[FAKE_MESSAGES];
    unsigned n;
    const char *keywords[8];
    unsigned keywords_n;
    uint64_t tick;
    bool writable;
    bool archive_is_gone; /* it was disabled or removed */
    uint32_t recent_from; /* the first UID that is \Recent; 0: none is */
    uint64_t modseq;
    int change_result; /* of every commit, if negative */
    unsigned commits;
    int watch_result;     /* of watch_new, if negative */
    size_t draft_room;    /* a draft is FULL beyond, if not 0 */
    bool delete_selected; /* DELETE takes the selected folder */
    bool hold; /* a submitted change is not done before fake_done */
    char log[8192]; /* the changes that were committed, a line each */
    void (*in_commit)(void); /* called before a change is applied: somebody else was faster */
    int advance_result; /* negative: advance fails so */
    int open_result;    /* of an archive, likewise */
    int login_result;
    unsigned login_waits;     /* so often an attempt is held back */
    struct mdsq_scram scram;  /* of user "me" */
    unsigned search_slices, order_slices; /* of a search; so many more of what ranks, sorts and threads */
    int64_t search_ms;                    /* what the clock goes on by in each */
    int search_result, thread_result, highest_result;
    unsigned readers, readers_max; /* alive */
    unsigned objects;              /* views, sets, fetches, bodies, searches alive */
    struct mdsq_key_copy {
        char text[4096];
    } last_key; /* the searched tree as text */
};

extern struct fake fake;
void fake_reset(void);
void fake_add(unsigned n);
void fake_expunge(uint32_t uid);
void fake_flag(uint32_t uid, const char *flags);
/* What is held is done; the watches are told. */
void fake_done(void);
void fake_stir(void);

#endif
