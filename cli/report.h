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

#endif
