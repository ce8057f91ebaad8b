/*
 * Users and what they prove themselves by: yescrypt by libxcrypt, SCRAM-SHA-256 keys by OpenSSL. How one logs in: login.c.
 * Passwords are wiped from every buffer of ours. Neither they nor hashes are ever logged.
 */
#include "auth_private.h"

#include <glib.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

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

/* g_utf8_next_char casts const away. */
static const char *next_char(const char *s)
{
    return s + g_utf8_skip[(uint8_t)*s];
}

/*
 * SASLprep without its rule for mixed directions (GLib does not know them): blanks of any kind become one kind,
 * invisible characters go, NFKC, control characters and the like are refused. Owned, or NULL.
 */
char *query_auth_prepare(const char *text, size_t max_bytes)
{
    char *mapped = NULL, *normal = NULL;
    size_t n = 0;

    if (text == NULL || strlen(text) > max_bytes * 4 || !g_utf8_validate(text, -1, NULL))
        return NULL;
    mapped = g_malloc0(strlen(text) + 1);
    for (const char *s = text; *s; s = next_char(s)) {
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

    for (const char *s = normal; ok && *s; s = next_char(s))
        ok = !is_prohibited(g_utf8_get_char(s));
    if (!ok && normal) {
        explicit_bzero(normal, strlen(normal));
        g_free(normal);
        normal = NULL;
    }
    return normal;
}

void query_auth_wipe(char *secret)
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

bool query_auth_is_password(const char *password, const char *verifier)
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

/* A user that is given another password keeps the archives that he was granted besides. */
static void keep_grants(const struct mds_user *before, struct mds_user *row)
{
    for (uint32_t i = 0; i < before->grants_n; i++)
        if (strcmp(before->grants[i], row->archive) != 0)
            g_strlcpy(row->grants[row->grants_n++], before->grants[i], sizeof row->grants[0]);
}

static int user_add(struct mdsq_store *store, const char *user, const char *password, const char *archive, bool scram,
                    struct error *err)
{
    struct mds_archive_info info;
    struct mds_catalogue *catalogue = NULL;
    struct mds_user row = {0}, before = {0};
    char *name = query_auth_prepare(user, USER_BYTES_MAX);
    char *secret = query_auth_prepare(password, PASSWORD_BYTES_MAX - 1);
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
            if (mds_catalogue_user_get(catalogue, name, &before, NULL) >= 0)
                keep_grants(&before, &row);
            rc = mds_catalogue_user_put(catalogue, &row, err);
        }
        (void)pthread_mutex_unlock(&store->lock);
    }
    explicit_bzero(&row, sizeof row);
    explicit_bzero(&before, sizeof before);
    query_auth_wipe(secret);
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
    char *name = query_auth_prepare(user, USER_BYTES_MAX);
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

/* ---- several archives -------------------------------------------------------------------------------- */

static bool has_archive(const struct mds_user *user, const char *archive)
{
    bool has = strcmp(user->archive, archive) == 0;

    for (uint32_t i = 0; i < user->grants_n; i++)
        has = has || strcmp(user->grants[i], archive) == 0;
    return has;
}

static int give(struct mds_catalogue *catalogue, struct mds_user *user, const char *archive, struct error *err)
{
    struct mds_archive_info info;
    int rc = mds_catalogue_archive_find(catalogue, archive, false, &info, err);

    if (rc < 0 || has_archive(user, archive))
        return rc;
    if (user->grants_n == MDS_USER_GRANTS_MAX)
        return error_set(err, BASE_ERR_LIMIT, 0, "a user has at most %d archives", MDS_USER_GRANTS_MAX + 1);
    g_strlcpy(user->grants[user->grants_n++], archive, sizeof user->grants[0]);
    return mds_catalogue_user_put(catalogue, user, err);
}

/* The archive may be gone from the store by now. */
static int take_back(struct mds_catalogue *catalogue, struct mds_user *user, const char *archive, struct error *err)
{
    struct mds_user left = *user;

    if (!has_archive(user, archive))
        return error_set(err, BASE_ERR_NOTFOUND, 0, "user '%s' does not have archive '%s'", user->name, archive);
    if (user->grants_n == 0)
        return error_set(err, BASE_ERR_USAGE, 0, "'%s' is the only archive of user '%s': remove the user, or grant another first",
                         archive, user->name);
    left.grants_n = 0;
    memset(left.grants, 0, sizeof left.grants);
    if (strcmp(user->archive, archive) == 0)
        left.archive[0] = 0; /* the next one becomes what is opened if none is named */
    for (uint32_t i = 0; i < user->grants_n; i++) {
        if (strcmp(user->grants[i], archive) == 0)
            continue;
        if (left.archive[0])
            g_strlcpy(left.grants[left.grants_n++], user->grants[i], sizeof left.grants[0]);
        else
            g_strlcpy(left.archive, user->grants[i], sizeof left.archive);
    }
    const int rc = mds_catalogue_user_put(catalogue, &left, err);

    explicit_bzero(&left, sizeof left);
    return rc;
}

typedef int edit_fn(struct mds_catalogue *catalogue, struct mds_user *user, const char *archive, struct error *err);

static int user_edit(struct mdsq_store *store, const char *user, const char *archive, edit_fn *edit, struct mdsq_error *err)
{
    struct error e;
    struct mds_catalogue *catalogue = NULL;
    struct mds_user row = {0};
    char *name = query_auth_prepare(user, USER_BYTES_MAX);
    int rc;

    query_error_init(&e);
    if (name == NULL)
        return query_result(error_set(&e, BASE_ERR_NOTFOUND, 0, "no such user"), &e, err);
    (void)pthread_mutex_lock(&store->lock);
    rc = query_store_catalogue(store, true, &catalogue, &e);
    if (rc >= 0)
        rc = mds_catalogue_user_get(catalogue, name, &row, &e);
    if (rc >= 0)
        rc = edit(catalogue, &row, archive, &e);
    (void)pthread_mutex_unlock(&store->lock);
    explicit_bzero(&row, sizeof row);
    g_free(name);
    return query_result(rc < 0 ? rc : MDSQ_OK, &e, err);
}

int mdsq_user_grant(struct mdsq_store *store, const char *user, const char *archive, struct mdsq_error *err)
{
    return user_edit(store, user, archive, give, err);
}

int mdsq_user_revoke(struct mdsq_store *store, const char *user, const char *archive, struct mdsq_error *err)
{
    return user_edit(store, user, archive, take_back, err);
}

int mdsq_user_archives(struct mdsq_store *store, const char *user, mdsq_name_fn *fn, void *arg, struct mdsq_error *err)
{
    struct error e;
    struct mds_catalogue *catalogue = NULL;
    struct mds_user row = {0};
    char *name = query_auth_prepare(user, USER_BYTES_MAX);
    int rc;

    query_error_init(&e);
    if (name == NULL)
        return query_result(error_set(&e, BASE_ERR_NOTFOUND, 0, "no such user"), &e, err);
    (void)pthread_mutex_lock(&store->lock);
    rc = query_store_catalogue(store, false, &catalogue, &e);
    if (rc >= 0)
        rc = mds_catalogue_user_get(catalogue, name, &row, &e);
    (void)pthread_mutex_unlock(&store->lock);
    bool stop = rc < 0 || fn(row.archive, arg) != 0;

    for (uint32_t i = 0; i < row.grants_n && !stop; i++)
        stop = fn(row.grants[i], arg) != 0;
    explicit_bzero(&row, sizeof row);
    g_free(name);
    return query_result(rc < 0 ? rc : MDSQ_OK, &e, err);
}
