#include "mds_fixture.h"

#include <criterion/criterion.h>

static struct error err;

/* Puts the place and says how many failures its container counts then. */
static uint32_t failures_with(struct mds_txn *t, uint32_t id, const struct mds_place *p)
{
    struct mds_container c;

    MUST(mds_place_put(t, id, p, &err));
    MUST(mds_container_get(t, id, &c, &err));
    return c.failures;
}

/* A message's place keeps the vault's keywords where a failure keeps its reason. */
Test(source, only_a_place_without_a_message_counts_as_a_failure)
{
    const struct mds_place message = {
        .identity = BYTES_LIT("a"), .item = 1, .folder = 1, .uid = 1, .reason = BYTES_LIT("Work $Junk")};
    const struct mds_place failed = {.identity = BYTES_LIT("b"), .folder = 1, .reason = BYTES_LIT("unreadable")};
    const struct mds_place mended = {
        .identity = BYTES_LIT("b"), .item = 2, .folder = 1, .uid = 2, .reason = BYTES_LIT("Work")};
    struct mds_env *env = fixture_open(path_join(TEMP_DIR(), "a"));
    struct mds_txn *t = fixture_write(env);
    struct mds_container c;
    uint32_t source;

    (void)fixture_add(t, 1, 2, 0);
    MUST(mds_source_id(t, BYTES_LIT("s"), true, &source, &err));
    MUST(mds_container_find(t, source, BYTES_LIT("c"), true, &c, &err));
    cr_expect_eq(failures_with(t, c.id, &message), 0);
    cr_expect_eq(failures_with(t, c.id, &failed), 1);
    cr_expect_eq(failures_with(t, c.id, &mended), 0);
    cr_expect_eq(failures_with(t, c.id, &failed), 1);
    fixture_commit(&t);
    MUST(mds_hashes_build(env, "/tmp", &err));
    cr_expect_eq(fixture_verify(env, NULL), 0);
    t = fixture_write(env);
    MUST(mds_place_remove(t, c.id, message.identity, &err));
    MUST(mds_place_remove(t, c.id, failed.identity, &err));
    MUST(mds_container_get(t, c.id, &c, &err));
    cr_expect_eq(c.failures, 0);
    cr_expect_eq(c.rows, 0);
    fixture_commit(&t);
    mds_close(&env);
}
