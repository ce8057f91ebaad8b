/* order_private: what order.c, order_texts.c and order_rank.c share. */
#ifndef QUERY_ORDER_PRIVATE_H
#define QUERY_ORDER_PRIVATE_H

#include "order.h"

#define ORDER_TEXT_KEYS 6u /* columns of text numbers */

/* Distinct casemapped texts. Number 0 is the empty one. Pages stay where they are, so that texts are read without the
 * lock. */
struct order_texts {
    struct bytes *text; /* [n]: into pages */
    uint32_t n, cap;
    uint64_t *hash;   /* [n] */
    uint32_t *slots;  /* open addressing: number + 1; 0: free */
    uint32_t slots_n; /* a power of two */
    uint8_t **pages;
    uint32_t pages_n;
    size_t page_used, page_size;
};
void order_texts_init(struct order_texts *t);
void order_texts_release(struct order_texts *t);
/* The text's number; a new one gets the next. BASE_ERR_LIMIT past 2^31 texts. *grown: bytes that it took. */
int order_texts_number(struct order_texts *t, struct bytes text, uint32_t *out, uint64_t *grown, struct error *err);

struct order_column {
    void **blocks; /* by first item / QUERY_ORDER_BLOCK; NULL: not read */
    uint64_t n;
};

struct query_order {
    atomic_uint refs;
    struct query_order_budget *budget; /* a reference */
    pthread_mutex_t lock;              /* guards what follows */
    struct order_column threads, numbers[ORDER_TEXT_KEYS];
    struct order_texts texts;
    struct query_ranks *ranks; /* the newest, or NULL */
    void **old;                /* blocks that longer ones replaced */
    uint32_t old_n, old_cap;
    uint64_t bytes;
};
void query_order_count(struct query_order *o, uint64_t bytes); /* call with the lock held */

#endif
