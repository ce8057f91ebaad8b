/*
 * words: the terms by which a text is indexed and by which a needle is looked up.
 *
 *     struct mime_words w;                               // indexing: every term of a text, repeated ones too
 *     struct bytes term;
 *     mime_words_init(&w, casemapped_text);
 *     while (mime_words_next(&w, &term)) ...
 *
 *     struct mime_needle n;                              // searching: what an item must have to match
 *     mime_needle_init(&n, casemapped_needle);
 *     for (size_t i = 0; i < n.n; i++) ... n.v[i].term, n.v[i].match ...
 *     mime_needle_release(&n);
 *
 * The promise: if the needle is a substring of a text (bytes of both casemapped by mime_casemap), then for every
 * v[i] that text gave a term that matches it. With `exact` the reverse holds too: a text with a term that matches v[0]
 * contains the needle. So exact needles need no look at the text, others only give candidates. No term: nothing is
 * known, every text is a candidate.
 *
 * What a term is depends on each code point alone, which is why substrings work: it is a separator (space, punctuation,
 * symbols, bytes that are no UTF-8), a letter, or a letter of a script that writes no spaces ("dense": Han, Kana, Hangul,
 * Thai and the like). The classes are a table of ours, not GLib's, so that an index does not change its meaning with
 * GLib's version. A run of letters is one term; one of more than MIME_WORDS_RUN_MAX bytes becomes overlapping pieces.
 * A run of dense letters becomes its overlapping pairs; a single one is itself a term. A change between the two kinds ends a run.
 *
 * What stands between runs gives terms too: a separator above ASCII is a term by itself, separators of ASCII are a matter of pairs.h. The promise
 * of a needle holds for a text's terms of both kinds together.
 *
 * A term has 1 to MIME_WORDS_TERM_MAX bytes, is valid UTF-8 and holds no byte below '0'.
 *
 * Total and linear for any bytes. Thread rule: an object belongs to one thread; nothing is shared.
 */
#ifndef MIME_WORDS_H
#define MIME_WORDS_H

#include "base/bytes.h"
#include "mime/pairs.h"

#define MIME_WORDS_RUN_MAX  64 /* bytes of a run that is one term */
#define MIME_WORDS_RUN_STEP 32 /* a longer run: a piece of up to RUN_MAX bytes begins every so many */
#define MIME_WORDS_OVERLAP  32 /* RUN_MAX - RUN_STEP: a needle of up to so many bytes lies whole in one piece */
#define MIME_WORDS_TERM_MAX MIME_WORDS_RUN_MAX

/* Touch nothing. */
struct mime_words {
    struct bytes text;
    size_t pos;
    size_t run_end; /* a long or dense run is being cut, up to here */
    size_t above;   /* where the search for separators above ASCII goes on, once there are no more runs */
    bool dense, runs_done;
};

/* The text must stay as long as the terms are used. */
void mime_words_init(struct mime_words *w, struct bytes casemapped);
/* The next term, a view of the text; false at the end. */
bool mime_words_next(struct mime_words *w, struct bytes *term_out);

enum mime_match { /* of a term of the index with a term of the needle; mds/text.h has the same values */
    MIME_MATCH_CONTAINS,
    MIME_MATCH_PREFIX,
    MIME_MATCH_SUFFIX,
    MIME_MATCH_WHOLE
};

struct mime_needle_term {
    struct bytes term; /* view of the needle or of its `pairs` */
    enum mime_match match;
};

#define MIME_NEEDLE_TERMS_MAX 32 /* more are not kept: the longest, and of equals spread over the needle */
#define MIME_NEEDLE_SHORT     2  /* a needle whose runs are all of so many bytes or fewer is looked up by its separators too */

struct mime_needle {
    struct mime_needle_term *v; /* no term twice; the most selective first: by bytes of the term, falling */
    size_t n;
    bool exact; /* n == 1, and items that match are hits */
    struct mime_pair_term *pairs;
};
/* Views live as long as the needle's bytes. A needle that is empty or not valid UTF-8 has no terms. */
void mime_needle_init(struct mime_needle *n, struct bytes casemapped_needle);
/* By its runs alone: for a needle whose ends are blanks that stand for the ends of the text. */
void mime_needle_init_runs(struct mime_needle *n, struct bytes casemapped_needle);
void mime_needle_release(struct mime_needle *n);

/*
 * Names what mime_casemap and mime_words_next do with every text: an index made under another value must not be used.
 * Looks at every code point (some 20 ms): ask once a process and keep it.
 */
uint64_t mime_words_fingerprint(void);

#endif
