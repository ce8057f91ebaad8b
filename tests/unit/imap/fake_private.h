/* fake_private: what the files of fake_query share. Not for tests. */
#ifndef FAKE_PRIVATE_H
#define FAKE_PRIVATE_H

#include "fake_query.h"

#include "base/bytes.h"

struct mdsq_reader {
    int unused;
};
struct mdsq_view {
    uint32_t *uids;
    uint32_t n;
    uint64_t modseq;
    bool untold;
    char name[128];
};
struct mdsq_set {
    uint32_t *uids;
    uint32_t n;
};

/* NULL: there was none ever. */
struct fake_message *fake_find(uint32_t uid);
/* The code, with a text that no client may see. */
int fake_fail(struct mdsq_error *err, int code);
/* Empty, with room for so many. */
struct mdsq_set *fake_set_new(uint32_t room);

#define FREE(type)                                                                                                     \
    if (*type) {                                                                                                       \
        free(*type);                                                                                                   \
        *type = NULL;                                                                                                  \
        fake.objects--;                                                                                                \
    }

#endif
