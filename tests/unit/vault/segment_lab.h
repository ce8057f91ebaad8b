/* Items into segments and back, for the tests of the own vault. Failures abort the test. */
#ifndef SEGMENT_LAB_H
#define SEGMENT_LAB_H

#include "vault/segment.h"

struct segment_place {
    uint32_t segment;
    uint64_t offset, length;
    uint32_t filter;
};
struct segment_packed *lab_pack(struct bytes item);
struct segment_place lab_add(struct segment_writer *w, struct bytes item);
/* Opens a writer, adds, syncs, closes; *active and *tail are moved on. */
struct segment_place lab_file(const char *dir, uint32_t *active, uint64_t *tail, struct bytes item);
struct vault_locator lab_locator(const struct segment_place *place, char container[9]);
/* Opens and maps: BASE_OK and the same bytes in pieces, or the error. *got is valid until the process ends. */
int lab_read(struct vault *v, const struct segment_place *place, struct bytes *got);

#endif
