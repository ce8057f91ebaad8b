/*
 * suite: rows of IMAP commands, measured on several sides in one run. Each row is asked of one side after the other,
 * repeat by repeat, each repeat beginning with another side: what the machine does meanwhile hits all of them.
 *
 *     struct suite suite = {.name = "search", .sides = sides, .n_sides = 2, .rows = rows, .n_rows = n,
 *                           .repeats = 20, .patience_s = 20};
 *     int rc = suite_run(&suite, &err);      prints each row when it is done
 *     json_t *out = suite_json(&suite);
 *     suite_release(&suite);
 *
 * A side that refuses a command, or takes longer than the patience, has a note in that cell and no numbers; the run
 * goes on. What a side is not asked any more: rows of a kind of which one took too long, and, for all but the first
 * side, when its budget is spent, rows of kinds that are not known to be fast. An answer that contradicts what was
 * planted is marked as wrong; where nothing is known, one that differs from the first side's is marked so (Cyrus, say,
 * searches texts without HTML's tags).
 */
#ifndef BENCH_SUITE_H
#define BENCH_SUITE_H

#include "floor_socket.h"
#include "side.h"

struct suite_row {
    char *name;       /* owned */
    char *command;    /* owned; "{w}" becomes a random window of SUITE_WINDOW numbers, "{1}" a number */
    bool counts;      /* the answer is "* ESEARCH ... COUNT n" */
    gint64 expected;  /* that n, -1: not known (then all sides are held against the first) */
    guint64 messages; /* that one answer is about, for a rate; 0: none */
    unsigned samples; /* asks a repeat; 0 is 1 */
    unsigned kind; /* rows of a kind take about as long as each other on a side: one that is too slow makes skip those
                    * alone; 0: asked always; below SUITE_KINDS */
    bool floor;    /* beside the floor: as many values as messages, as many bytes as the answer, LMDB to a socket */
};

#define SUITE_WINDOW 50u
#define SUITE_KINDS  32u

struct suite_cell {
    double *ms; /* n of them, sorted when the row is done */
    unsigned n;
    guint64 bytes; /* of the last answer */
    gint64 hits;   /* -1: none said */
    double wall_s, server_cpu_s, client_cpu_s;
    guint64 private_bytes; /* the largest seen */
    bool differs, wrong;   /* from the first side's; from what was planted */
    char *note;
};

struct suite {
    const char *name;
    /* given */
    struct side *sides;
    unsigned n_sides;
    struct suite_row *rows;
    unsigned n_rows;
    unsigned repeats;
    int patience_s;    /* for one answer; other sides than the first: the budget if that is less */
    int row_s;         /* for one side's repeats of a row; 0: patience_s */
    int budget_s;      /* for one side's rows in all, but for the first side; 0: none */
    guint64 messages;  /* in INBOX, for windows */
    const char *enter; /* sent after LOGIN ("EXAMINE INBOX"), NULL nothing */
    const char *work;  /* for the floor */
    /* made */
    struct suite_cell *cells; /* of row r and side s at r * n_sides + s */
    double *floor_ms;         /* of row r, 0 none */
    unsigned wrong;           /* answers of the first side that contradict */
};

int suite_run(struct suite *suite, struct error *err);
/* {"command": name, "sides": [...], "rows": [...]} */
json_t *suite_json(const struct suite *suite);
/* Rows too; sides are the caller's. */
void suite_release(struct suite *suite);

/* The p-th part of n sorted values, 0 where n is 0. */
double suite_quantile(const double *sorted, unsigned n, double p);

#endif
