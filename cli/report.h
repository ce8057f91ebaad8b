/* report: what a build did, for people and as JSON. Shared by build and rebuild. */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "indexer/indexer.h"

#include <jansson.h>

/* Two or three lines on standard output. */
void report_print(const char *archive, const struct indexer_report *r);
/* A new object. rc, err: how it ended. */
json_t *report_json(const char *archive, const struct indexer_report *r, int rc, const struct error *err);
/* The exit status of one archive. */
int report_status(const struct indexer_report *r, int rc, const struct error *err);

/* Of many archives in one run. Zeroed is empty. */
struct report_sum {
    struct indexer_report counts;
    uint64_t built, with_failures, not_built; /* with_failures: some of the built; one that was stopped is neither */
    int status;                               /* the worst */
};

/* One line an archive, where there are many. */
void report_print_line(const char *archive, const struct indexer_report *r);
void report_add(struct report_sum *sum, const struct indexer_report *r, int rc, const struct error *err);
/* The closing line. */
void report_print_total(const struct report_sum *sum, const struct indexer_total *total);
/* A new object; "archive" is null. rc, err: of the whole run. */
json_t *report_json_total(const struct report_sum *sum, const struct indexer_total *total, int rc, const struct error *err);

#endif
