/* What the unit tests of mime/ share: one parser a process, and texts to compare with. */
#ifndef UNIT_MIME_H
#define UNIT_MIME_H

#include "mime_check.h"
#include "test_support.h"

#include "mime_private.h"

#include "base/hash.h"

#include <criterion/criterion.h>

struct mime_parser *unit_parser(void);
struct mime_parser *unit_gmime_parser(void);
/* Parses with the default limits and checks all that must hold; views live until the next call. */
struct mime_record unit_parse(struct bytes item);
struct mime_record unit_parse_text(const char *item);
/* A view as a string that lives until exit; "\xNN" for what is not printable. */
const char *unit_text(struct bytes v);
/* CPU seconds of this process. */
double unit_cpu_s(void);

#endif
