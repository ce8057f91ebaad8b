/* compare: bytes decide while they are there, the hash when they are not. */
#include <criterion/criterion.h>

#include "compare.h"
#include "test_support.h"

static struct vault *open_vault(const char *dir)
{
    struct vault_spec spec = {0};
    struct vault *v = NULL;
    struct error err = {0};
    cr_assert_eq(vault_spec_parse(textf("eml-tree:%s", dir), &spec, &err), 0, "%s", err.text);
    cr_assert_eq(vault_open(&spec, &v, &err), 0, "%s", err.text);
    vault_spec_release(&spec);
    return v;
}

static struct indexer_place_of place(struct vault *v, const char *name)
{
    return (struct indexer_place_of){.vault = v, .locator = {.name = bytes_str(name)}};
}

Test(compare, same_other_gone_and_edited)
{
    const char *dir = TEMP_DIR();
    struct bytes text = BYTES_LIT("Subject: a\n\nb\n"), other = BYTES_LIT("Subject: a\n\nc\n");
    static const char *const names[] = {"one.eml", "two.eml", "other.eml"};
    write_file(path_join(dir, names[0]), text);
    write_file(path_join(dir, names[1]), text);
    write_file(path_join(dir, names[2]), other);
    struct vault *v = open_vault(dir);
    struct hash128 hash = hash128_of(text);
    struct hash128 claimed = hash128_of(other);
    struct indexer_place_of one = place(v, "one.eml"), two = place(v, "two.eml"), third = place(v, "other.eml");
    struct indexer_place_of missing = place(v, "gone.eml"), closed = place(NULL, "one.eml");
    bool gone;

    cr_expect(indexer_same_bytes(&one, &two, &hash, text.n, &gone));
    cr_expect_not(gone, "both are there");
    cr_expect(indexer_same_bytes(&one, &one, &hash, text.n, &gone));
    cr_expect_not(gone, "the same place");
    /* A collision: both claim the hash of `one`, the bytes differ. */
    cr_expect_not(indexer_same_bytes(&one, &third, &hash, text.n, &gone));
    cr_expect_not(gone);
    /* The old place was edited since: it no longer has the hash that is stored, so it proves nothing. */
    cr_expect(indexer_same_bytes(&one, &third, &claimed, text.n, &gone));
    cr_expect(gone);
    cr_expect(indexer_same_bytes(&missing, &two, &hash, text.n, &gone));
    cr_expect(gone);
    cr_expect(indexer_same_bytes(&closed, &two, &hash, text.n, &gone));
    cr_expect(gone);
    vault_close(&v);
}
