/*
 * fixture: a small vault of files, a parser that misbehaves on marked items,
 * and a run of the pipeline over them with both sides in their own threads.
 */
#ifndef INGEST_FIXTURE_H
#define INGEST_FIXTURE_H

#include "ingest/ingest.h"
#include "ingest_private.h"
#include "test_support.h"

/* A tree of .eml files in a fresh directory. Lives until the process ends. */
struct mini_vault {
    const char *dir;
    struct vault *vault;
};
struct mini_vault mini_vault_at(const char *dir);
const char *item_name(uint32_t i); /* "000017.eml" */
/* Writes item i: the given header lines, a subject with its number, a body of `body_bytes`. */
void put_item(const struct mini_vault *v, uint32_t i, const char *header, size_t body_bytes);

/*
 * The parser of the tests: mime_parse, unless the item begins with one of
 *   X-Test: abort | segv | stack | exit | memory | loop | wild | scribble | shrink | slow | leak
 *   X-Test: record N      (a record whose `headers` has N bytes)
 *   X-Test: closed FD     (preview "closed" or "open")
 *   X-Test: dates         (a Received date of 1000 +60, a sent date of 2000 +120)
 */
void test_parse(struct mime_parser *p, struct bytes item, struct mime_record *out);
extern const char *test_shrink_path; /* the file that `shrink` truncates; set it before ingest_open */

/* What is kept of a result. */
struct kept {
    enum ingest_status status;
    uint32_t index; /* from the tag */
    uint64_t defects;
    uint64_t size;
    struct hash128 hash;
    int64_t date;
    int16_t zone;
    size_t headers_n;
    char preview[16];
    struct error reason;
    bool names_match; /* locator and vault are the task's */
};

struct run {
    /* in */
    struct ingest_settings settings; /* vaults are filled in */
    uint32_t n;                      /* items 0..n-1 of the vault */
    uint32_t pass_every; /* an ingest_pass before each such item; 0: none. Its result has index | PASS_BIT */
    void (*with_task)(uint32_t i, struct ingest_task *t);
    void (*on_result)(struct ingest *ing, const struct kept *k); /* in the writer's thread */
    /* out */
    struct kept *kept; /* [kept_n] */
    uint32_t kept_n;
    int rc; /* of the last ingest_next */
    int submit_rc;
    struct error err;
    struct ingest_stats stats;
};
#define PASS_BIT 0x80000000u
void run_pipeline(const struct mini_vault *v, struct run *run);
void run_release(struct run *run);
/* Index of the first result out of order or with another status than PARSED (PASSED for passes); -1: none. */
int64_t first_odd(const struct run *run);
struct kept keep_result(const struct ingest_result *r);

uint32_t count_fds(void);

#endif
