/*
 * Logins: yescrypt by libxcrypt, SCRAM-SHA-256 keys by OpenSSL.
 *
 * The time of a check does not tell whether a user exists: an unknown one is hashed against a setting of the same
 * cost. Passwords are wiped from every buffer of ours. Neither is ever logged.
 */
#include "query_private.h"

#include <crypt.h>
#include <glib.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#define USER_BYTES_MAX 255
#define PASSWORD_BYTES_MAX 512 /* CRYPT_MAX_PASSPHRASE_SIZE, NUL included */
#define SCRAM_ITERATIONS 10000 /* RFC 7677 asks for 4,096 and more */

/* A setting of the cost that new users get, for users that do not exist. */
#define DUMMY_SETTING "$y$j9T$F5Jx5fExrKuPp53xLKQ..1"

/* ---- preparation (RFC 4013) ----------------------------------------------------------------- */

/* RFC 3454 B.1: commonly mapped to nothing. */
static bool is_mapped_to_nothing(gunichar c)
{
    return c == 0xAD || c == 0x34F || c == 0x1806 || (c >= 0x180B && c <= 0x180D) || (c >= 0x200B && c <= 0x200D) ||
           c == 0x2060 || (c >= 0xFE00 && c <= 0xFE0F) || c == 0xFEFF;
}

static bool is_prohibited(gunichar c)
{
    switch (g_unichar_type(c)) {
    case G_UNICODE_CONTROL:
    case G_UNICODE_PRIVATE_USE:
    case G_UNICODE_SURROGATE:
    case G_UNICODE_LINE_SEPARATOR:
    case G_UNICODE_PARAGRAPH_SEPARATOR: return true;
    default: return c == 0xFFFD || (c & 0xFFFE) == 0xFFFE || (c >= 0xFDD0 && c <= 0xFDEF) || (c >= 0x2FF0 && c <= 0x2FFB);
    }
}

/*
 * SASLprep without its rule for mixed directions (GLib does not know them): blanks of any kind become one kind,
 * invisible characters go, NFKC, control characters and the like are refused. Owned, or NULL.
 */
static char *prepare(const char *text, size_t max_bytes)
{
    char *mapped = NULL, *normal = NULL;
    size_t n = 0;

    if (text == NULL || strlen(text) > max_bytes * 4 || !g_utf8_validate(text, -1, NULL))
        return NULL;
    mapped = g_malloc0(strlen(text) + 1);
    for (const char *s = text; *s; s = g_utf8_next_char(s)) {
        const gunichar c = g_utf8_get_char(s);

        if (g_unichar_type(c) == G_UNICODE_SPACE_SEPARATOR)
            mapped[n++] = ' ';
        else if (!is_mapped_to_nothing(c))
            n += (size_t)g_unichar_to_utf8(c, mapped + n);
    }
    normal = g_utf8_normalize(mapped, (gssize)n, G_NORMALIZE_ALL_COMPOSE);
    explicit_bzero(mapped, n);
    g_free(mapped);

    bool ok = normal && normal[0] && strlen(normal) <= max_bytes;

    for (const char *s = normal; ok && *s; s = g_utf8_next_char(s))
        ok = !is_prohibited(g_utf8_get_char(s));
    if (!ok && normal) {
        explicit_bzero(normal, strlen(normal));
        g_free(normal);
        normal = NULL;
    }
    return normal;
}

static void wipe(char *secret)
{
    if (secret) {
        explicit_bzero(secret, strlen(secret));
        g_free(secret);
    }
}

/* ---- verifiers --------------------------------------------------------------------------------- */

/* Hashes into out. False if the setting is not one that this machine's libcrypt knows. */
static bool hash_password(const char *password, const char *setting, char out[CRYPT_OUTPUT_SIZE])
{
    void *memory = NULL;
    int size = 0;
    const char *hash = crypt_ra(password, setting, &memory, &size);
    const bool ok = hash != NULL && strlen(hash) < CRYPT_OUTPUT_SIZE;

    if (ok)
        g_strlcpy(out, hash, CRYPT_OUTPUT_SIZE);
    if (memory) {
        explicit_bzero(memory, (size_t)size);
        free(memory); /* libcrypt's malloc */
    }
    return ok;
}

static bool is_password(const char *password, const char *verifier)
{
    char hash[CRYPT_OUTPUT_SIZE] = "";
    const bool ok = hash_password(password, verifier, hash);
    const size_t n = strlen(verifier);
    const bool same = ok && strlen(hash) == n && CRYPTO_memcmp(hash, verifier, n) == 0;

    explicit_bzero(hash, sizeof hash);
    return same;
}

static int make_verifier(const char *password, struct mds_user *user, struct error *err)
{
    char *setting = crypt_gensalt_ra("$y$", 0, NULL, 0);
    char hash[CRYPT_OUTPUT_SIZE] = "";
    int rc = BASE_OK;

    if (setting == NULL || !hash_password(password, setting, hash) || strlen(hash) >= sizeof user->verifier)
        rc = error_set(err, BASE_ERR_IO, 0, "libcrypt does not offer yescrypt on this machine");
    else
        g_strlcpy(user->verifier, hash, sizeof user->verifier);
    explicit_bzero(hash, sizeof hash);
    free(setting); /* libcrypt's malloc */
    return rc;
}

/* RFC 5802 3: SaltedPassword, ClientKey, StoredKey, ServerKey. */
static int make_scram(const char *password, struct mds_user *user, struct error *err)
{
    uint8_t salted[32], client[32];
    unsigned n = 0;
    bool ok;

    user->scram_iterations = SCRAM_ITERATIONS;
    ok = RAND_bytes(user->scram_salt, sizeof user->scram_salt) == 1 &&
         PKCS5_PBKDF2_HMAC(password, (int)strlen(password), user->scram_salt, sizeof user->scram_salt,
                           SCRAM_ITERATIONS, EVP_sha256(), sizeof salted, salted) == 1 &&
         HMAC(EVP_sha256(), salted, sizeof salted, (const uint8_t *)"Client Key", 10, client, &n) &&
         SHA256(client, sizeof client, user->scram_stored_key) &&
         HMAC(EVP_sha256(), salted, sizeof salted, (const uint8_t *)"Server Key", 10, user->scram_server_key, &n);
    explicit_bzero(salted, sizeof salted);
    explicit_bzero(client, sizeof client);
    user->has_scram = ok;
    return ok ? BASE_OK : error_set(err, BASE_ERR_IO, 0, "OpenSSL could not make the SCRAM keys");
}

/* ---- the public functions ------------------------------------------------------------------------ */

static int refused(struct error *err)
{
    return error_set(err, BASE_ERR_AUTH, 0, "unknown user or wrong password");
}

static int user_get(struct mdsq_store *store, const char *name, struct mds_user *out, struct error *err)
{
    struct mds_catalogue *catalogue = NULL;
    int rc;

    (void)pthread_mutex_lock(&store->lock);
    rc = query_store_catalogue(store, false, &catalogue, err);
    if (rc >= 0)
        rc = mds_catalogue_user_get(catalogue, name, out, err);
    (void)pthread_mutex_unlock(&store->lock);
    return rc;
}

static bool archive_is_enabled(struct mdsq_store *store, const char *name)
{
    struct mds_archive_info info;
    struct mds_catalogue *catalogue = NULL;
    int rc;

    (void)pthread_mutex_lock(&store->lock);
    rc = query_store_catalogue(store, false, &catalogue, NULL);
    if (rc >= 0)
        rc = mds_catalogue_archive_find(catalogue, name, false, &info, NULL);
    (void)pthread_mutex_unlock(&store->lock);
    return rc >= 0 && info.enabled;
}

int mdsq_login(struct mdsq_store *store, const char *user, const char *password, char archive_out[256],
               struct mdsq_error *err)
{
    struct error e;
    struct mds_user found = {.verifier = DUMMY_SETTING};
    char *name = prepare(user, USER_BYTES_MAX);
    char *secret = prepare(password, PASSWORD_BYTES_MAX - 1);
    int rc = BASE_ERR_NOTFOUND;
    bool known;

    query_error_init(&e);
    archive_out[0] = 0;
    if (name)
        rc = user_get(store, name, &found, &e);
    known = rc >= 0 && secret;
    if (rc < 0) {
        found = (struct mds_user){0};
        g_strlcpy(found.verifier, DUMMY_SETTING, sizeof found.verifier);
    }
    /* Both are always computed, whatever is known by now. */
    const bool same = is_password(secret ? secret : "", found.verifier);

    if (rc < 0 && rc != BASE_ERR_NOTFOUND)
        ; /* the catalogue failed: say so */
    else if (!known || !same || !archive_is_enabled(store, found.archive))
        rc = refused(&e);
    else
        g_strlcpy(archive_out, found.archive, 256);
    explicit_bzero(&found, sizeof found);
    wipe(secret);
    g_free(name);
    return query_result(rc < 0 ? rc : MDSQ_OK, &e, err);
}

static int user_add(struct mdsq_store *store, const char *user, const char *password, const char *archive, bool scram,
                    struct error *err)
{
    struct mds_archive_info info;
    struct mds_catalogue *catalogue = NULL;
    struct mds_user row = {0};
    char *name = prepare(user, USER_BYTES_MAX);
    char *secret = prepare(password, PASSWORD_BYTES_MAX - 1);
    int rc = BASE_OK;

    if (name == NULL)
        rc = error_set(err, BASE_ERR_USAGE, 0, "a user name has 1 to %d bytes of UTF-8 without control characters",
                       USER_BYTES_MAX);
    else if (secret == NULL)
        rc = error_set(err, BASE_ERR_USAGE, 0, "a password has 1 to %d bytes of UTF-8 without control characters",
                       PASSWORD_BYTES_MAX - 1);
    if (rc >= 0)
        rc = make_verifier(secret, &row, err);
    if (rc >= 0 && scram)
        rc = make_scram(secret, &row, err);
    if (rc >= 0) {
        (void)pthread_mutex_lock(&store->lock);
        rc = query_store_catalogue(store, true, &catalogue, err);
        if (rc >= 0)
            rc = mds_catalogue_archive_find(catalogue, archive, false, &info, err);
        if (rc >= 0) {
            g_strlcpy(row.name, name, sizeof row.name);
            g_strlcpy(row.archive, info.name, sizeof row.archive);
            rc = mds_catalogue_user_put(catalogue, &row, err);
        }
        (void)pthread_mutex_unlock(&store->lock);
    }
    explicit_bzero(&row, sizeof row);
    wipe(secret);
    g_free(name);
    return rc;
}

int mdsq_user_add(struct mdsq_store *store, const char *user, const char *password, const char *archive, bool scram,
                  struct mdsq_error *err)
{
    struct error e;

    query_error_init(&e);
    return query_result(user_add(store, user, password, archive, scram, &e), &e, err);
}

int mdsq_user_remove(struct mdsq_store *store, const char *user, struct mdsq_error *err)
{
    struct error e;
    struct mds_catalogue *catalogue = NULL;
    char *name = prepare(user, USER_BYTES_MAX);
    int rc;

    query_error_init(&e);
    if (name == NULL)
        return query_result(error_set(&e, BASE_ERR_NOTFOUND, 0, "no such user"), &e, err);
    (void)pthread_mutex_lock(&store->lock);
    rc = query_store_catalogue(store, true, &catalogue, &e);
    if (rc >= 0)
        rc = mds_catalogue_user_remove(catalogue, name, &e);
    (void)pthread_mutex_unlock(&store->lock);
    g_free(name);
    return query_result(rc, &e, err);
}

struct user_listener {
    mdsq_user_fn *fn;
    void *arg;
};

static int user_next(struct mds_catalogue *catalogue, const char *after, void *row, struct error *err)
{
    return mds_catalogue_user_next(catalogue, after, row, err);
}

static int user_tell(const void *row, void *arg)
{
    const struct mds_user *user = row;
    const struct user_listener *listener = arg;

    return listener->fn(user->name, user->archive, user->has_scram, listener->arg);
}

int mdsq_users(struct mdsq_store *store, mdsq_user_fn *fn, void *arg, struct mdsq_error *err)
{
    struct mds_user user;
    struct user_listener listener = {fn, arg};
    const struct query_walk walk = {user_next, user_tell, &listener};

    return query_store_walk(store, &walk, &user, err);
}
