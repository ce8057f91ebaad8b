#include "ingest/known.h"
#include "test_support.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

static struct hash128 hash_of(uint64_t i)
{
    return hash128_of(bytes_of(&i, sizeof i));
}

static struct ingest_known *known_new(void)
{
    struct ingest_known *k = NULL;
    struct error err = {0};
    cr_assert_eq(ingest_known_new(TEMP_DIR(), &k, &err), BASE_OK, "%s", err.text);
    return k;
}

static void add(struct ingest_known *k, struct hash128 h, uint64_t id)
{
    struct error err = {0};
    cr_assert_eq(ingest_known_add(k, &h, id, &err), BASE_OK, "%s", err.text);
}

static uint64_t first_id(const struct ingest_known *k, struct hash128 h)
{
    uint64_t pos = 0, id = UINT64_MAX;
    return ingest_known_next(k, &h, &pos, &id) ? id : UINT64_MAX;
}

Test(known, finds_what_was_added_and_nothing_else_over_many_growths)
{
    enum { N = 300000 };
    struct ingest_known *k = known_new();
    for (uint64_t i = 0; i < N; i++)
        add(k, hash_of(i), i);
    cr_expect_eq(ingest_known_count(k), N);
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < N; i++)
        wrong += first_id(k, hash_of(i)) != i;
    for (uint64_t i = N; i < 2 * N; i++) {
        struct hash128 h = hash_of(i);
        wrong += ingest_known_has(k, &h);
    }
    cr_expect_eq(wrong, 0, "%llu wrong answers", (unsigned long long)wrong);
    ingest_known_free(&k);
    cr_expect_null(k);
    ingest_known_free(&k);
}

/* The last home of the table, so that chains wrap round its end. */
static struct hash128 last_home(uint8_t salt)
{
    struct hash128 h;
    memset(h.b, 0xff, sizeof h.b);
    h.b[7] = salt;
    return h;
}

Test(known, same_prefix_keeps_insertion_order_through_wrap_and_growth)
{
    enum { EQUAL = 500, OTHERS = 60000 };
    struct ingest_known *k = known_new();
    struct hash128 same = last_home(0xff), neighbour = last_home(0xfe);
    for (uint64_t i = 0; i < EQUAL; i++) {
        add(k, same, i * 2);
        add(k, neighbour, i * 2 + 1);
    }
    for (uint64_t i = 0; i < OTHERS; i++)
        add(k, hash_of(i), 1000000 + i);
    uint64_t pos = 0, id, n = 0;
    while (ingest_known_next(k, &same, &pos, &id)) {
        cr_expect_eq(id, n * 2, "candidate %llu is %llu", (unsigned long long)n, (unsigned long long)id);
        n++;
    }
    cr_expect_eq(n, EQUAL);
    pos = n = 0;
    while (ingest_known_next(k, &neighbour, &pos, &id))
        cr_expect_eq(id, n++ * 2 + 1);
    cr_expect_eq(n, EQUAL);
    ingest_known_free(&k);
}

Test(known, edges_of_ids_and_prefixes)
{
    struct ingest_known *k = known_new();
    struct hash128 zero = {{0}}, ones;
    memset(ones.b, 0xff, sizeof ones.b);
    cr_expect_not(ingest_known_has(k, &zero));
    cr_expect_not(ingest_known_has(k, &ones));
    add(k, zero, 0);
    add(k, ones, UINT64_MAX - 1);
    cr_expect_eq(first_id(k, zero), 0);
    cr_expect_eq(first_id(k, ones), UINT64_MAX - 1);
    ingest_known_free(&k);
}

Test(known, cleared_it_is_as_new)
{
    const uint64_t sizes[] = {0, 1, 20000, 100000}; /* the first generation; a later one; that one again */
    struct ingest_known *k = known_new();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (uint64_t j = 0; j < sizes[i]; j++)
            add(k, hash_of(j), 10 * i + j);
        cr_assert_eq(ingest_known_clear(k, NULL), BASE_OK);
        cr_expect_eq(ingest_known_count(k), 0);
        for (uint64_t j = 0; j < sizes[i]; j++) {
            struct hash128 h = hash_of(j);
            cr_assert_not(ingest_known_has(k, &h), "hash %llu after clearing %llu", (unsigned long long)j,
                          (unsigned long long)sizes[i]);
        }
    }
    for (uint64_t j = 0; j < 70000; j++)
        add(k, hash_of(j), j);
    for (uint64_t j = 0; j < 70000; j++)
        cr_assert_eq(first_id(k, hash_of(j)), j);
    ingest_known_free(&k);
}

Test(known, leaves_no_file)
{
    const char *dir = TEMP_DIR();
    struct ingest_known *k = NULL;
    uint32_t names = 0;
    cr_assert_eq(ingest_known_new(dir, &k, NULL), BASE_OK);
    DIR *d = opendir(dir);
    for (const struct dirent *e; (e = readdir(d));)
        names += e->d_name[0] != '.';
    closedir(d);
    cr_expect_eq(names, 0);
    ingest_known_free(&k);
}

Test(known, a_missing_directory_is_an_error)
{
    struct ingest_known *k = NULL;
    struct error err = {0};
    cr_expect_lt(ingest_known_new("/nonexistent/for/sure", &k, &err), 0);
    cr_expect_null(k);
    cr_expect(strstr(err.text, "/nonexistent/for/sure") != NULL, "%s", err.text);
}

/* A process that was forked before anything was added follows all growth: what the writer says is in, is in. */
static int read_along(const struct ingest_known *k, int progress_fd, uint64_t n)
{
    uint64_t reached = 0;
    struct rng rng = rng_of((uint64_t)getpid());
    while (reached < n) {
        if (read(progress_fd, &reached, sizeof reached) != sizeof reached)
            return 3;
        for (int i = 0; i < 200; i++) {
            struct hash128 in = hash_of(rng_below(&rng, reached)), out = hash_of(n + rng_below(&rng, n));
            if (!ingest_known_has(k, &in))
                return 1;
            if (ingest_known_has(k, &out))
                return 2;
        }
    }
    return 0;
}

Test(known, readers_in_other_processes_follow_growth)
{
    enum { READERS = 2, N = 400000, STEP = 2000 };
    struct ingest_known *k = known_new();
    int fds[READERS][2];
    pid_t pids[READERS];
    for (int r = 0; r < READERS; r++) {
        cr_assert_eq(pipe(fds[r]), 0);
        pids[r] = fork();
        if (pids[r] == 0) {
            for (int other = 0; other <= r; other++)
                close(fds[other][1]);
            _exit(read_along(k, fds[r][0], N));
        }
        close(fds[r][0]);
    }
    for (uint64_t i = 0; i < N;) {
        for (int s = 0; s < STEP; s++, i++)
            add(k, hash_of(i), i);
        for (int r = 0; r < READERS; r++)
            cr_assert_eq(write(fds[r][1], &i, sizeof i), (ssize_t)sizeof i, "reader %d is gone", r);
    }
    for (int r = 0; r < READERS; r++) {
        int status = -1;
        cr_assert_eq(waitpid(pids[r], &status, 0), pids[r]);
        cr_expect_eq(status, 0, "reader %d: status %x (1: missed, 2: invented)", r, status);
    }
    ingest_known_free(&k);
}
