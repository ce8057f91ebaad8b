#include "mds_fixture.h"

#include <criterion/criterion.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct error err;

static struct mds_catalogue *open_store(const char *store)
{
    struct mds_catalogue *c = NULL;

    MUST(mds_catalogue_open(store, true, false, &c, &err));
    return c;
}

Test(catalogue, archives_are_found_by_name_and_kept_by_id)
{
    const char *store = path_join(TEMP_DIR(), "store");
    struct mds_catalogue *c = open_store(store);
    struct mds_archive_info a, b;
    struct stat st;

    cr_expect_eq(mds_catalogue_archive_find(c, "ann", false, &a, &err), BASE_ERR_NOTFOUND);
    MUST(mds_catalogue_archive_find(c, "ann", true, &a, &err));
    MUST(mds_catalogue_archive_find(c, "J\xc3\xb6rg ../x", false, &b, NULL) == BASE_ERR_NOTFOUND ? 0 : -1);
    cr_expect_eq(mds_catalogue_archive_find(c, "../x", true, &b, &err), BASE_ERR_SYNTAX);
    cr_expect_eq(mds_catalogue_archive_find(c, "", true, &b, &err), BASE_ERR_SYNTAX);
    cr_expect_eq(mds_catalogue_archive_find(c, "a\nb", true, &b, &err), BASE_ERR_SYNTAX);
    MUST(mds_catalogue_archive_find(c, "zoe", true, &b, &err));
    cr_expect_neq(a.id, b.id);
    cr_expect_str_eq(a.dir, textf("%s/archives/a%08u", store, a.id));
    MUST(mds_catalogue_archive_find(c, "ann", true, &b, &err));
    cr_expect(b.id == a.id && b.enabled);
    MUST(mds_catalogue_archive_next(c, NULL, &a, &err));
    cr_expect_str_eq(a.name, "ann");
    cr_expect_eq(mds_catalogue_archive_next(c, "ann", &a, &err), 1);
    cr_expect_str_eq(a.name, "zoe");
    cr_expect_eq(mds_catalogue_archive_next(c, "zoe", &a, &err), 0);
    cr_assert_eq(stat(store, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0700);
    mds_catalogue_close(&c);
    cr_expect_null(c);
    MUST(mds_catalogue_open(store, false, true, &c, &err));
    MUST(mds_catalogue_archive_find(c, "zoe", false, &a, &err));
    cr_expect_eq(mds_catalogue_archive_find(c, "new", true, &a, &err), BASE_ERR_READONLY);
    mds_catalogue_close(&c);
}

Test(catalogue, a_name_may_have_255_bytes)
{
    static char name[257];
    struct mds_catalogue *c = open_store(path_join(TEMP_DIR(), "store"));
    struct mds_archive_info a;

    memset(name, 'n', 256);
    cr_expect_lt(mds_catalogue_archive_find(c, name, true, &a, &err), 0);
    name[255] = 0;
    MUST(mds_catalogue_archive_find(c, name, true, &a, &err));
    cr_expect_str_eq(a.name, name);
    mds_catalogue_close(&c);
}

Test(catalogue, users_keep_every_field)
{
    struct mds_catalogue *c = open_store(path_join(TEMP_DIR(), "store"));
    struct mds_user u = {.name = "ann@example.org/x",
                         .archive = "ann",
                         .verifier = "$y$j9T$abc",
                         .has_scram = true,
                         .scram_iterations = 4096},
                    back;

    memset(u.scram_salt, 1, sizeof u.scram_salt);
    memset(u.scram_stored_key, 2, sizeof u.scram_stored_key);
    memset(u.scram_server_key, 3, sizeof u.scram_server_key);
    MUST(mds_catalogue_user_put(c, &u, &err));
    MUST(mds_catalogue_user_get(c, u.name, &back, &err));
    cr_expect_eq(memcmp(&u, &back, sizeof u), 0);
    u.has_scram = false;
    MUST(mds_catalogue_user_put(c, &u, &err));
    MUST(mds_catalogue_user_get(c, u.name, &back, &err));
    cr_expect_not(back.has_scram);
    cr_expect_eq(back.scram_stored_key[0], 0, "old keys are gone");
    cr_expect_eq(mds_catalogue_user_next(c, NULL, &back, &err), 1);
    cr_expect_eq(mds_catalogue_user_next(c, back.name, &back, &err), 0);
    MUST(mds_catalogue_user_remove(c, u.name, &err));
    cr_expect_eq(mds_catalogue_user_remove(c, u.name, &err), BASE_ERR_NOTFOUND);
    cr_expect_eq(mds_catalogue_user_get(c, u.name, &back, &err), BASE_ERR_NOTFOUND);
    u.name[0] = 0;
    cr_expect_eq(mds_catalogue_user_put(c, &u, &err), BASE_ERR_SYNTAX);
    mds_catalogue_close(&c);
}

/* Several processes make store, archive and environment at the same moment. */
Test(catalogue, processes_that_create_the_same_agree)
{
    enum { PROCESSES = 4 };
    const char *store = path_join(TEMP_DIR(), "store");
    pid_t pids[PROCESSES];
    int gate[2], status;

    cr_assert_eq(pipe(gate), 0);
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            struct mds_archive_info a;
            char go;

            (void)close(gate[1]);
            (void)!read(gate[0], &go, 1); /* returns when the parent closes */
            struct mds_catalogue *c = open_store(store);

            MUST(mds_catalogue_archive_find(c, "shared", true, &a, &err));
            struct mds_env *env = fixture_open(a.dir);
            struct mds_txn *t = fixture_write(env);

            (void)fixture_add(t, 1, 10, 0);
            fixture_commit(&t);
            mds_close(&env);
            mds_catalogue_close(&c);
            _exit(a.id == 1 ? 0 : 1);
        }
    }
    (void)close(gate[0]);
    (void)close(gate[1]);
    for (int i = 0; i < PROCESSES; i++) {
        cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
        cr_expect_eq(status, 0, "process %d", i);
    }
    struct mds_env *env = fixture_open(path_join(store, "archives/a00000001"));
    struct mds_txn *t = fixture_read(env);
    struct mds_folder f;

    MUST(mds_folder_get(t, 1, &f, &err));
    cr_expect_eq(f.exists, 10 * PROCESSES);
    mds_read_end(&t);
    cr_expect_eq(fixture_verify(env, NULL), 0);
    mds_close(&env);
}

Test(catalogue, an_archive_is_no_catalogue)
{
    const char *dir = TEMP_DIR();
    struct mds_env *env = fixture_open(path_join(dir, "catalogue"));
    struct mds_catalogue *c = NULL;

    cr_expect_eq(mds_catalogue_open(dir, true, false, &c, &err), BASE_ERR_FORMAT);
    mds_close(&env);
    cr_expect_eq(mds_catalogue_open(dir, true, false, &c, &err), BASE_ERR_FORMAT, "%s", err.text);
    cr_expect_null(c);
}

Test(catalogue, a_user_may_have_several_archives)
{
    struct mds_catalogue *c = open_store(path_join(TEMP_DIR(), "store"));
    struct mds_user u = {.name = "ann", .archive = "one", .verifier = "$y$"}, back;
    uint8_t secret[MDS_CATALOGUE_SECRET_BYTES], again[sizeof secret];
    struct buf plain = {0}, longer = {0};

    cr_expect_eq(mds_catalogue_secret(c, secret, &err), BASE_ERR_NOTFOUND);
    user_encode(&u, &plain);
    u.grants_n = MDS_USER_GRANTS_MAX;
    for (unsigned i = 0; i < u.grants_n; i++)
        snprintf(u.grants[i], sizeof u.grants[i], "grant %u", i);
    user_encode(&u, &longer);
    cr_expect(longer.n > plain.n && memcmp(longer.p, plain.p, plain.n) == 0, "they are added at the end");
    cr_expect(user_decode(BYTES_LIT("ann"), buf_bytes(&plain), &back) && back.grants_n == 0, "a row of before");
    longer.p[plain.n] = MDS_USER_GRANTS_MAX + 1;
    cr_expect_not(user_decode(BYTES_LIT("ann"), buf_bytes(&longer), &back), "too many");
    longer.p[plain.n] = 0;
    cr_expect_not(user_decode(BYTES_LIT("ann"), buf_bytes(&longer), &back), "none, yet said");
    MUST(mds_catalogue_user_put(c, &u, &err));
    MUST(mds_catalogue_user_get(c, "ann", &back, &err));
    cr_expect_eq(back.grants_n, MDS_USER_GRANTS_MAX);
    cr_expect_str_eq(back.grants[31], "grant 31");
    MUST(mds_catalogue_secret(c, secret, &err));
    MUST(mds_catalogue_user_put(c, &u, &err));
    MUST(mds_catalogue_secret(c, again, &err));
    cr_expect_arr_eq(secret, again, sizeof secret, "made once");
    buf_release(&plain);
    buf_release(&longer);
    mds_catalogue_close(&c);
}

Test(catalogue, a_removed_archive_leaves_what_it_gave_to_its_name)
{
    struct mds_catalogue *c = open_store(path_join(TEMP_DIR(), "store"));
    struct mds_archive_info a, b;

    MUST(mds_catalogue_archive_find(c, "ann", true, &a, &err));
    cr_expect_eq(a.uidvalidity_floor, 0);
    MUST(mds_catalogue_archive_remove(c, "ann", 77, &err));
    MUST(mds_catalogue_archive_find(c, "ann", true, &b, &err));
    cr_expect(b.uidvalidity_floor == 77 && b.id != a.id);
    MUST(mds_catalogue_archive_remove(c, "ann", 0, &err));
    MUST(mds_catalogue_archive_find(c, "ann", true, &b, &err));
    cr_expect_eq(b.uidvalidity_floor, 77, "never lowered");
    MUST(mds_catalogue_archive_find(c, "ben", true, &b, &err));
    cr_expect_eq(b.uidvalidity_floor, 0);
    cr_assert_eq(mds_catalogue_archive_next(c, NULL, &b, &err), 1);
    cr_expect_eq(b.uidvalidity_floor, 77);
    mds_catalogue_close(&c);
}
