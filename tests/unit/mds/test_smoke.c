#include "mds/mds.h"
#include "test_support.h"

#include <criterion/criterion.h>

Test(smoke, a_store_keeps_what_it_is_given)
{
    struct error err = {0};
    struct mds_env *env = NULL;
    struct mds_txn *t = NULL;
    const char *dir = path_join(TEMP_DIR(), "a");
    const struct mds_options opts = {.create = true, .archive_name = "ann"};
    struct mds_folder f;
    uint32_t id;

    cr_assert_eq(mds_open(dir, &opts, &env, &err), 0, "%s", err.text);
    for (int batch = 0; batch < 3; batch++) {
        cr_assert_eq(mds_write_begin(env, &t, &err), 0, "%s", err.text);
        if (batch == 0)
            cr_assert_eq(mds_folder_create(t, BYTES_LIT("a/b"), &id, &err), 0, "%s", err.text);
        for (int i = 0; i < 100; i++) {
            struct mds_item it = {.size = 10, .locator = {.name = BYTES_LIT("cur/x")}};
            const struct mds_item_words w = {.envelope = BYTES_LIT("(env)"), .bodystructure = BYTES_LIT("(bs)"), .headers = BYTES_LIT("h")};
            struct mds_message m = {.folder = id, .flags = 1, .size_crlf = 11};

            cr_assert_eq(mds_item_add(t, &it, &w, &err), 0, "%s", err.text);
            m.item = it.id;
            cr_assert_eq(mds_message_add(t, &m, &err), 0, "%s", err.text);
        }
        cr_assert_eq(mds_write_commit(&t, &err), 0, "%s", err.text);
    }
    cr_assert_eq(mds_hashes_build(env, "/tmp", &err), 0, "%s", err.text);
    cr_assert_eq(mds_read_begin(env, &t, &err), 0, "%s", err.text);
    cr_assert_eq(mds_folder_find(t, BYTES_LIT("a/b"), &f, &err), 0, "%s", err.text);
    cr_assert_eq(f.exists, 300);
    cr_assert_eq(f.unseen, 0);
    cr_assert_eq(mds_verify(t, NULL, NULL, &err), 0);
    if (getenv("DUMP"))
        cr_assert_eq(mds_dump(t, stderr, &err), 0, "%s", err.text);
    mds_read_end(&t);
    mds_close(&env);
}
