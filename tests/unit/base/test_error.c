/* Errors, hashes and the log: the small contracts. */
#include "base/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"

Test(error, set_returns_its_code_and_accepts_null)
{
    struct error err = {0};

    cr_expect_eq(error_set(NULL, BASE_ERR_LIMIT, 0, "x"), BASE_ERR_LIMIT);
    cr_expect_eq(error_set(&err, BASE_ERR_GONE, 7, "item %d", 3), BASE_ERR_GONE);
    cr_expect_eq(err.code, BASE_ERR_GONE);
    cr_expect_eq(err.sys, 7);
    cr_expect_str_eq(err.text, "item 3");
    error_context(NULL, "x");
    error_context(&err, "archive %s", "mail");
    cr_expect_str_eq(err.text, "archive mail: item 3");
}

Test(error, errno_chooses_the_code)
{
    static const struct {
        int sys;
        enum base_err code;
    } rows[] = {{ENOENT, BASE_ERR_IO}, {ENOSPC, BASE_ERR_FULL}, {EDQUOT, BASE_ERR_FULL}, {EROFS, BASE_ERR_READONLY}};
    struct error err;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        errno = rows[i].sys;
        cr_expect_eq(error_errno(&err, "file %s", "a"), (int)rows[i].code);
        cr_expect_eq(err.sys, rows[i].sys);
        cr_expect(strncmp(err.text, "file a: ", 8) == 0 && strstr(err.text, strerror(rows[i].sys)), "%s", err.text);
    }
}

Test(error, text_stays_one_line_and_in_bounds)
{
    struct error err;
    char longish[2000];

    memset(longish, 'x', sizeof longish - 1);
    longish[sizeof longish - 1] = '\0';
    error_set(&err, BASE_ERR_IO, 0, "a\nb\r\x01%s", longish);
    cr_expect_eq(strncmp(err.text, "a?b??xxx", 8), 0);
    cr_expect_eq(strlen(err.text), sizeof err.text - 1);
    error_context(&err, "%s", longish);
    cr_expect_eq(strlen(err.text), sizeof err.text - 1);
    errno = ENOENT;
    error_errno(&err, "%s", longish);
    cr_expect_eq(strlen(err.text), sizeof err.text - 1);
}

Test(error, every_code_has_a_name)
{
    cr_expect_str_eq(base_err_name(BASE_OK), "OK");
    cr_expect_str_eq(base_err_name(BASE_ERR_CORRUPT), "CORRUPT");
    cr_expect_str_eq(base_err_name(BASE_ERR_SYNTAX), "SYNTAX");
    cr_expect_str_eq(base_err_name(BASE_ERR_AGAIN), "AGAIN");
    cr_expect_str_eq(base_err_name((enum base_err)5), "UNKNOWN");
    cr_expect_str_eq(base_err_name((enum base_err)-99), "UNKNOWN");
}

Test(error, assert_aborts_in_every_build, .signal = SIGABRT)
{
    ASSERT(1 + 1 == 3);
}

/* Published XXH3 vectors for the empty input, so that the byte order on disk cannot drift. */
Test(hash, canonical_form_is_big_endian)
{
    static const uint8_t empty[HASH128_BYTES] = {0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8,
                                                 0x60, 0x01, 0xc3, 0x24, 0x46, 0x8d, 0x49, 0x7f};
    const struct hash128 h = hash128_of((struct bytes){0});

    cr_expect_eq(memcmp(h.b, empty, sizeof empty), 0);
    cr_expect_eq(hash64_of((struct bytes){0}), UINT64_C(0x2d06800538d394c2));
    cr_expect_neq(hash64_seeded(BYTES_LIT("a"), 1), hash64_seeded(BYTES_LIT("a"), 2));
}

Test(hash, incremental_equals_whole_at_every_split)
{
    uint8_t data[700];
    struct hash128_state *s = hash128_new();

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 31 + i / 7);
    const struct hash128 whole = hash128_of(bytes_of(data, sizeof data));

    for (size_t split = 0; split <= sizeof data; split += 7) {
        hash128_reset(s);
        hash128_update(s, bytes_of(data, split));
        hash128_update(s, bytes_of(data + split, sizeof data - split));
        const struct hash128 got = hash128_digest(s);

        cr_assert_eq(hash128_compare(&got, &whole), 0, "split at %zu", split);
    }
    hash128_free(&s);
    cr_expect_null(s);
    hash128_free(&s);
}

struct heard {
    int lines;
    char last[2000];
};

static void listen(enum log_level level, const char *line, void *arg)
{
    struct heard *h = arg;

    (void)level;
    h->lines++;
    (void)snprintf(h->last, sizeof h->last, "%s", line);
}

Test(log, sink_hears_its_level_in_single_lines)
{
    struct heard h = {0};

    log_to(LOG_LEVEL_ERROR, "nobody listens");
    log_set_sink(listen, &h, LOG_LEVEL_WARN);
    log_to(LOG_LEVEL_INFO, "no");
    log_to(LOG_LEVEL_WARN, "vault: odd: name=%s", "a\nb");
    cr_expect_eq(h.lines, 1);
    cr_expect_str_eq(h.last, "vault: odd: name=a?b");
}
