#include "fixture.h"

#include "query/auth_private.h"
#include "test_support.h"

#include <criterion/criterion.h>

static struct mdsq_error e;
static uint64_t clock_ms = 1000000;

static uint64_t fake_clock(void)
{
    return clock_ms;
}

/* Accounts of a world: archives ann, bob and shared. */
static struct fixture *world(const char *domains)
{
    struct fixture *f = fixture_new(TEMP_DIR());
    const struct mdsq_login_settings settings = {.domains = domains};

    fixture_open(f);
    struct mds_catalogue *catalogue = NULL;
    struct mds_archive_info info;

    pthread_mutex_lock(&f->store->lock);
    cr_assert_eq(query_store_catalogue(f->store, true, &catalogue, NULL), 0);
    cr_assert_eq(mds_catalogue_archive_find(catalogue, "bob", true, &info, NULL), 0);
    cr_assert_eq(mds_catalogue_archive_find(catalogue, "shared", true, &info, NULL), 0);
    pthread_mutex_unlock(&f->store->lock);
    mdsq_login_configure(f->store, &settings);
    query_auth_of(f->store)->now_ms = fake_clock;
    cr_assert_eq(mdsq_user_add(f->store, "ann", "x", "ann", true, &e), 0, "%s", e.text);
    cr_assert_eq(mdsq_user_add(f->store, "bob@example.org", "x", "bob", false, &e), 0, "%s", e.text);
    cr_assert_eq(mdsq_user_add(f->store, "corp\\eve", "x", "shared", false, &e), 0, "%s", e.text);
    cr_assert_eq(mdsq_user_grant(f->store, "ann", "shared", &e), 0, "%s", e.text);
    return f;
}

/* "account archive", "-", or "wait N" */
static const char *attempt(struct fixture *f, const char *user, const char *password, const char *address)
{
    static char text[600];
    struct mdsq_attempt *a = NULL;

    cr_assert_eq(mdsq_attempt_new(f->store, user, address, &a, &e), 0, "%s", e.text);
    const int rc = mdsq_attempt_password(a, password, &e);

    snprintf(text, sizeof text, "-");
    if (rc == MDSQ_ERR_AGAIN)
        snprintf(text, sizeof text, "wait %u", mdsq_attempt_wait_ms(a));
    else if (rc == 0)
        snprintf(text, sizeof text, "%s %s%s", mdsq_attempt_account(a), mdsq_attempt_archive(a),
                 mdsq_attempt_remembered(a) ? " remembered" : "");
    mdsq_attempt_free(&a);
    return text;
}

static const char *opened(struct fixture *f, const char *user)
{
    char *text = (char *)(uintptr_t)attempt(f, user, "x", NULL);
    char *end = strstr(text, " remembered");

    if (end)
        *end = 0;
    return text;
}

Test(login, a_name_means_an_account_and_an_archive)
{
    static const struct {
        const char *user, *strange, *own; /* without and with example.org and CORP as domains */
    } cases[] = {
        {"ann", "ann ann", "ann ann"},
        {"ann\\ann", "ann ann", "ann ann"},
        {"ann\\shared", "ann shared", "ann shared"},
        {"ann\\bob", "-", "-"},
        {"ann\\", "-", "-"},
        {"\\ann", "-", "-"},
        {"ann\\none", "-", "-"},
        {"bob@example.org", "bob@example.org bob", "bob@example.org bob"},
        {"bob@example.org\\bob", "bob@example.org bob", "bob@example.org bob"},
        {"example.org\\bob", "bob@example.org bob", "bob@example.org bob"},
        {"example.org\\bob\\bob", "bob@example.org bob", "bob@example.org bob"},
        {"example.org\\bob\\shared", "-", "-"},
        {"bob", "-", "-"},
        {"corp\\eve", "corp\\eve shared", "corp\\eve shared"},
        {"corp\\eve\\shared", "corp\\eve shared", "corp\\eve shared"},
        {"eve", "-", "-"},
        {"ann@example.org", "-", "ann ann"},
        {"ann@example.org\\shared", "-", "ann shared"},
        {"ann@Example.ORG", "-", "ann ann"},
        {"ann@example", "-", "-"},
        {"ann@", "-", "-"},
        {"corp\\ann", "-", "ann ann"},
        {"CORP\\ann\\shared", "-", "ann shared"},
        {"other\\ann", "-", "-"},
        {"other\\ann\\shared", "-", "-"},
        {"a\\b\\c\\d", "-", "-"},
    };
    struct fixture *f = world(NULL);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_expect_str_eq(opened(f, cases[i].user), cases[i].strange, "%s: %s", cases[i].user, opened(f, cases[i].user));
    const struct mdsq_login_settings settings = {.domains = "Example.org, CORP"};

    mdsq_login_configure(f->store, &settings);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_expect_str_eq(opened(f, cases[i].user), cases[i].own, "%s: %s", cases[i].user, opened(f, cases[i].user));
    fixture_free(&f);
}

static int on_name(const char *name, void *arg)
{
    strcat(strcat((char *)arg, name), " ");
    return 0;
}

static const char *archives(struct fixture *f, const char *user)
{
    static char text[600];

    text[0] = 0;
    cr_expect_eq(mdsq_user_archives(f->store, user, on_name, text, &e), 0, "%s", e.text);
    return text;
}

Test(login, archives_are_granted_and_revoked)
{
    struct fixture *f = world(NULL);

    cr_expect_str_eq(archives(f, "ann"), "ann shared ");
    cr_expect_eq(mdsq_user_grant(f->store, "ann", "shared", &e), 0, "again");
    cr_expect_eq(mdsq_user_grant(f->store, "ann", "none", &e), MDSQ_ERR_NOTFOUND);
    cr_expect_eq(mdsq_user_grant(f->store, "none", "ann", &e), MDSQ_ERR_NOTFOUND);
    cr_expect_eq(mdsq_user_grant(f->store, "ann", "bob", &e), 0);
    cr_expect_str_eq(archives(f, "ann"), "ann shared bob ");
    cr_expect_eq(mdsq_user_add(f->store, "ann", "y", "shared", false, &e), 0, "another password and first archive");
    cr_expect_str_eq(archives(f, "ann"), "shared bob ");
    cr_expect_eq(mdsq_user_revoke(f->store, "ann", "ann", &e), MDSQ_ERR_NOTFOUND);
    cr_expect_eq(mdsq_user_revoke(f->store, "ann", "shared", &e), 0);
    cr_expect_str_eq(archives(f, "ann"), "bob ");
    cr_expect_str_eq(attempt(f, "ann", "y", NULL), "ann bob");
    cr_expect_eq(mdsq_user_revoke(f->store, "ann", "bob", &e), MDSQ_ERR_USAGE);
    fixture_free(&f);
}

Test(login, a_right_password_is_remembered_until_it_changes)
{
    struct fixture *f = world(NULL);

    cr_expect_str_eq(attempt(f, "ann", "x", "192.0.2.1"), "ann ann");
    cr_expect_str_eq(attempt(f, "ann", "x", "192.0.2.2"), "ann ann remembered");
    cr_expect_str_eq(attempt(f, "ann\\shared", "x", "192.0.2.2"), "ann shared remembered");
    cr_expect_str_eq(attempt(f, "ann", "y", "192.0.2.1"), "-");
    cr_assert_eq(mdsq_user_revoke(f->store, "ann", "shared", &e), 0);
    cr_expect_str_eq(attempt(f, "ann\\shared", "x", "192.0.2.1"), "-", "rights are looked up each time");
    cr_assert_eq(mdsq_user_add(f->store, "ann", "z", "ann", false, &e), 0);
    cr_expect_str_eq(attempt(f, "ann", "x", "192.0.2.1"), "-", "the old one");
    cr_expect_str_eq(attempt(f, "ann", "z", "192.0.2.1"), "ann ann");
    clock_ms += 10 * 60 * 1000;
    cr_expect_str_eq(attempt(f, "ann", "z", "192.0.2.1"), "ann ann", "forgotten");
    cr_expect_str_eq(attempt(f, "ann", "z", "192.0.2.1"), "ann ann remembered");
    const struct mdsq_login_settings never = {.remember_s = UINT32_MAX};

    mdsq_login_configure(f->store, &never);
    cr_expect_str_eq(attempt(f, "ann", "z", "192.0.2.1"), "ann ann");
    cr_expect_str_eq(attempt(f, "ann", "z", "192.0.2.1"), "ann ann");
    cr_assert_eq(mdsq_user_remove(f->store, "ann", &e), 0);
    cr_expect_str_eq(attempt(f, "ann", "z", "192.0.2.1"), "-");
    fixture_free(&f);
}

Test(login, guesses_cost_the_account_time_but_not_who_is_known)
{
    struct fixture *f = world(NULL);

    cr_expect_str_eq(attempt(f, "ann", "x", "192.0.2.1"), "ann ann");
    for (int i = 0; i < 5; i++) {
        char address[40];

        snprintf(address, sizeof address, "198.51.100.%d", i); /* from anywhere */
        cr_expect_str_eq(attempt(f, "ann", "guess", address), "-", "%d", i);
    }
    cr_expect_str_eq(attempt(f, "ann", "x", "198.51.100.9"), "wait 1000", "right or not: unchecked");
    clock_ms += 1000;
    cr_expect_str_eq(attempt(f, "ann", "guess", "198.51.100.9"), "-");
    cr_expect_str_eq(attempt(f, "ann", "guess", "198.51.100.9"), "wait 2000");
    cr_expect_str_eq(attempt(f, "ann", "x", "192.0.2.1"), "ann ann remembered", "the owner, where he was before");
    cr_expect_str_eq(attempt(f, "bob@example.org", "x", "198.51.100.9"), "bob@example.org bob", "other accounts");
    for (int i = 0; i < 10; i++) {
        clock_ms += 60000;
        cr_expect_str_neq(attempt(f, "ann", "guess", "198.51.100.9"), "", "%d", i);
    }
    cr_expect_str_eq(attempt(f, "ann", "guess", "198.51.100.9"), "wait 60000", "and no more than that");
    clock_ms += 25 * 60 * 1000;
    cr_expect_str_eq(attempt(f, "ann", "x", "198.51.100.9"), "ann ann", "decayed: %s", attempt(f, "ann", "x", "198.51.100.9"));
    fixture_free(&f);
}

Test(login, guesses_cost_the_address_time)
{
    struct fixture *f = world(NULL);

    for (int i = 0; i < 20; i++) {
        char user[40], address[60];

        snprintf(user, sizeof user, "nobody%d", i);
        snprintf(address, sizeof address, "2001:db8:1:2:%d::1", i + 1); /* one /64 */
        cr_expect_str_eq(attempt(f, user, "guess", address), "-", "%d", i);
    }
    cr_expect_str_eq(attempt(f, "ann", "x", "2001:db8:1:2::5"), "wait 1000");
    cr_expect_str_eq(attempt(f, "ann", "x", "2001:db8:1:3::5"), "ann ann");
    for (int i = 0; i < 40; i++) {
        char user[40];

        snprintf(user, sizeof user, "nobody%d", i);
        cr_expect_str_eq(attempt(f, user, "guess", "127.0.0.1"), "-", "loopback is everybody: %d", i);
    }
    fixture_free(&f);
}

/* Many at once: those beyond what is free wait for the outcome of the ones at work. */
Test(login, attempts_at_once_are_counted_before_they_are_decided)
{
    struct fixture *f = world(NULL);
    struct mdsq_attempt *a[8] = {NULL};
    unsigned admitted = 0;

    for (unsigned i = 0; i < 8; i++) {
        cr_assert_eq(mdsq_attempt_new(f->store, "ann", "192.0.2.1", &a[i], &e), 0);
        admitted += mdsq_attempt_admit(a[i], &e) == 0;
    }
    cr_expect_eq(admitted, 5);
    cr_expect_eq(mdsq_attempt_accept(a[0], true, &e), 0);
    cr_expect_eq(mdsq_attempt_admit(a[7], &e), 0, "known by now");
    for (unsigned i = 1; i < 5; i++)
        mdsq_attempt_free(&a[i]); /* hung up: guesses */
    cr_expect_eq(mdsq_attempt_accept(a[7], false, &e), MDSQ_ERR_AUTH);
    cr_expect_eq(mdsq_attempt_accept(a[7], true, &e), MDSQ_ERR_AUTH, "decided");
    for (unsigned i = 0; i < 8; i++)
        mdsq_attempt_free(&a[i]);
    cr_expect_str_eq(attempt(f, "ann", "x", "192.0.2.7"), "wait 1000");
    fixture_free(&f);
}

Test(login, so_many_passwords_are_hashed_at_a_time)
{
    struct fixture *f = world(NULL);
    struct query_auth *auth = query_auth_of(f->store);
    bool waits = false, waits2 = false;

    auth->hashes_max = 1;
    cr_expect_eq(query_auth_hash_begin(auth, &waits), 0);
    cr_expect_gt(query_auth_hash_begin(auth, &waits2), 0);
    cr_expect(waits2 && auth->waiting == 1);
    cr_expect_str_eq(attempt(f, "ann", "x", "192.0.2.1"), "wait 65", "two before it");
    query_auth_hash_end(auth);
    cr_expect_eq(query_auth_hash_begin(auth, &waits2), 0);
    query_auth_hash_end(auth);
    cr_expect(auth->hashing == 0 && auth->waiting == 0);
    fixture_free(&f);
}

Test(login, an_unknown_user_has_keys_that_stay)
{
    struct fixture *f = world(NULL);
    struct mdsq_scram one, two, other, real;
    struct mdsq_attempt *a = NULL;
    static const char *const users[] = {"nobody", "nobody", "nobodx", "ann"};
    struct mdsq_scram *out[] = {&one, &two, &other, &real};

    for (unsigned i = 0; i < 4; i++) {
        if (i == 1)
            query_auth_free(&f->store->auth); /* as if the server had been started again */
        cr_assert_eq(mdsq_attempt_new(f->store, users[i], "192.0.2.1", &a, &e), 0);
        mdsq_attempt_scram(a, out[i]);
        cr_expect_eq(mdsq_attempt_admit(a, &e), 0);
        cr_expect_eq(mdsq_attempt_accept(a, true, &e), i == 3 ? 0 : MDSQ_ERR_AUTH, "%s", users[i]);
        mdsq_attempt_free(&a);
    }
    cr_expect_arr_eq(one.salt, two.salt, sizeof one.salt);
    cr_expect_arr_neq(one.salt, other.salt, sizeof one.salt);
    cr_expect_eq(one.iterations, real.iterations);
    fixture_free(&f);
}

/* Six guesses under names that differ: held back alike whether the account exists. */
Test(login, what_is_held_back_does_not_tell_who_exists)
{
    static const struct {
        const char *known, *unknown; /* a number that goes up is put behind them */
        const char *domains;
    } names[] = {
        {"ann\\a", "zoe\\a", NULL},
        {"ann\\a", "zoe\\a", "example.org"},
        {"example.org\\ann\\a", "example.org\\zoe\\a", "example.org"},
        {"example.org\\bob\\a", "example.org\\zoe\\a", NULL},
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct fixture *f = world(names[i].domains);

        for (int who = 0; who < 2; who++)
            for (int n = 0; n < 7; n++) {
                char name[80], address[40];

                snprintf(name, sizeof name, "%s%d", who ? names[i].unknown : names[i].known, n);
                snprintf(address, sizeof address, "192.0.2.%d", n);
                cr_expect_str_eq(attempt(f, name, "guess", address), n < 5 ? "-" : "wait 1000", "%s", name);
            }
        fixture_free(&f);
    }
    /* Two ways to spell one of these accounts, and nobody's. */
    static const char *const pairs[][3] = {{"ann", "corp\\ann", "CORP"}, {"zoe", "corp\\zoe", "CORP"}, {"ann@corp", "corp\\ann", "CORP"}, {"zoe@corp", "corp\\zoe", "CORP"},
                                           {"bob@example.org", "example.org\\bob", NULL}, {"zoe@example.org", "example.org\\zoe", NULL}};

    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct fixture *f = world(pairs[i][2]);

        for (int n = 0; n < 6; n++)
            cr_expect_str_eq(attempt(f, pairs[i][n % 2], "guess", "192.0.2.1"), n < 5 ? "-" : "wait 1000", "%s %d", pairs[i][n % 2], n);
        fixture_free(&f);
    }
}

static void salt_of(struct fixture *f, const char *name, uint8_t out[16])
{
    struct mdsq_attempt *a = NULL;
    struct mdsq_scram keys;

    cr_assert_eq(mdsq_attempt_new(f->store, name, "192.0.2.1", &a, &e), 0);
    mdsq_attempt_scram(a, &keys);
    cr_expect_eq(mdsq_attempt_admit(a, &e), 0);
    cr_expect_eq(mdsq_attempt_accept(a, true, &e), strcmp(name, "ann") == 0 || strcmp(name, "ann\\shared") == 0 ? 0 : MDSQ_ERR_AUTH, "%s", name);
    mdsq_attempt_free(&a);
    memcpy(out, keys.salt, 16);
}

/* An archive that is named changes no salt: not of ann, who has one of these, and not of zoe, whom nobody knows. */
Test(login, a_salt_does_not_tell_who_exists)
{
    struct fixture *f = world(NULL);

    for (int who = 0; who < 2; who++) {
        static const char *const archives[] = {"\\shared", "\\bob", "\\none"};
        const char *name = who ? "zoe" : "ann";
        uint8_t salt[16], other[16];

        salt_of(f, name, salt);
        for (size_t i = 0; i < sizeof archives / sizeof archives[0]; i++) {
            salt_of(f, textf("%s%s", name, archives[i]), other);
            cr_expect_arr_eq(salt, other, sizeof salt, "%s%s", name, archives[i]);
        }
    }
    fixture_free(&f);
}

Test(login, an_address_counts_by_its_network_however_it_is_written)
{
    static const char *const same[] = {"1:0:0:2:3:4:5:6", "1:0:0:2::3", "1::2:0:0:0:9", "1:0:0:2:ffff::"}, *const other[] = {"1::3:0:0:0:9", "1::", "1:0:0:3::"};
    struct fixture *f = world(NULL);

    for (int i = 0; i < 20; i++)
        cr_expect_str_eq(attempt(f, textf("nobody%d", i), "guess", same[i % 4]), "-");
    for (size_t i = 0; i < 4; i++)
        cr_expect_str_eq(attempt(f, "ann", "x", same[i]), "wait 1000", "%s", same[i]);
    for (size_t i = 0; i < 3; i++)
        cr_expect(strncmp(attempt(f, "ann", "x", other[i]), "ann ann", 7) == 0, "%s", other[i]);
    fixture_free(&f);
}
