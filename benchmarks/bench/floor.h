/*
 * floor: the least that any indexer on GMime must do: read each item, hash it (XXH3-128), parse it, keep nothing.
 *
 * With threads GObject's shared state contends, with processes it does not; the floor is the better of the two.
 */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include "bench_items.h"
#include "bench_measure.h"

struct floor_run {
    const struct bench_items *items;
    unsigned workers;
    bool processes;
};

/* One pass over all items in a child process. The result's status is 0 if every item was read and parsed. */
int floor_measure(const struct floor_run *run, struct bench_cost *out, struct error *err);

/* One thread's share (floor_gmime.c): a parser and a buffer, used for one item after another. */
struct floor_parser;
void floor_library_init(void);
struct floor_parser *floor_parser_new(void);
void floor_parser_free(struct floor_parser **parser);
/* Where the next item's n bytes go. */
uint8_t *floor_parser_room(struct floor_parser *parser, size_t n);
/* Hashes and parses what was put there. *sink collects the hash, so that nothing is optimised away. */
void floor_parser_item(struct floor_parser *parser, size_t n, uint64_t *sink);

#endif
