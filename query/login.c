/*
 * One attempt to log in: whose account and which archive a name means, and whether whoever says it may have it.
 *
 * An attempt goes on with every step whatever is known by then: a name that means nobody is hashed against a setting of the same cost, and has SCRAM
 * keys that are as steady as real ones, so that neither time nor salt tells who exists.
 */
#include "auth_private.h"

#include <glib.h>

struct mdsq_attempt {
    struct mdsq_store *store; /* a reference */
    struct query_auth *auth;
    struct mds_user row; /* of the account, if known */
    bool known;
    bool named;       /* the name named the archive */
    char *spoken;     /* the name as it was prepared */
    char *guessed, *other; /* whom it may mean, known or not; the other may be NULL */
    char account[256], archive[256];
    char address[64];
    bool trusted;     /* no address: nothing is held back */
    struct auth_who who;
    bool in_flight, waits_for_hash, remembered, decided;
    uint64_t given_up_ms;
    uint32_t wait_ms;
};

/* ---- names -------------------------------------------------------------------------------------- */

static bool account_get(struct mdsq_store *store, const char *name, struct mds_user *out, int *failed)
{
    struct mds_catalogue *catalogue = NULL;
    int rc;

    if (!name[0])
        return false;
    (void)pthread_mutex_lock(&store->lock);
    rc = query_store_catalogue(store, false, &catalogue, NULL);
    if (rc >= 0)
        rc = mds_catalogue_user_get(catalogue, name, out, NULL);
    (void)pthread_mutex_unlock(&store->lock);
    if (rc < 0 && rc != BASE_ERR_NOTFOUND)
        *failed = rc;
    return rc >= 0;
}

static bool is_own_domain(struct query_auth *auth, const char *domain)
{
    char *lower = g_utf8_strdown(domain, -1), *word = g_strdup_printf(" %s ", lower);
    bool own;

    (void)pthread_mutex_lock(&auth->lock);
    own = auth->domains && domain[0] && !strchr(domain, ' ') && (strstr(auth->domains, word) || strstr(auth->domains, " * "));
    (void)pthread_mutex_unlock(&auth->lock);
    g_free(word);
    g_free(lower);
    return own;
}

/* An account of that name, else, if it is `user@domain` of a domain of ours, of that user. */
static bool find_plain(struct mdsq_attempt *a, const char *name, int *failed)
{
    const char *at = strrchr(name, '@');

    if (account_get(a->store, name, &a->row, failed))
        return true;
    if (!at || !is_own_domain(a->auth, at + 1))
        return false;

    char *user = g_strndup(name, (size_t)(at - name));
    const bool found = account_get(a->store, user, &a->row, failed);

    g_free(user);
    return found;
}

/* `domain\user`: an account of that very name, else `user@domain`, else, if the domain is ours, `user`. */
static bool find_windows(struct mdsq_attempt *a, const char *domain, const char *user, int *failed)
{
    char *whole = g_strdup_printf("%s\\%s", domain, user), *mail = g_strdup_printf("%s@%s", user, domain);
    const bool found = account_get(a->store, whole, &a->row, failed) || account_get(a->store, mail, &a->row, failed) ||
                       (is_own_domain(a->auth, domain) && account_get(a->store, user, &a->row, failed));

    g_free(mail);
    g_free(whole);
    return found;
}

/* See mds/query.h, "logins". */
static bool resolve(struct mdsq_attempt *a, int *failed)
{
    char **part = g_strsplit(a->spoken, "\\", 4);
    const unsigned n = g_strv_length(part);
    const char *archive = NULL;
    bool found = false;

    if (n == 1) {
        found = find_plain(a, part[0], failed);
    } else if (n == 2) {
        found = find_windows(a, part[0], part[1], failed);
        if (!found && (found = find_plain(a, part[0], failed)))
            archive = part[1];
    } else if (n == 3) {
        found = find_windows(a, part[0], part[1], failed);
        archive = part[2];
    }
    if (found && archive) {
        a->named = true;
        g_strlcpy(a->archive, archive, sizeof a->archive);
    }
    g_strfreev(part);
    return found;
}

static bool is_enabled(struct mdsq_store *store, const char *archive)
{
    struct mds_archive_info info;
    struct mds_catalogue *catalogue = NULL;
    int rc;

    (void)pthread_mutex_lock(&store->lock);
    rc = query_store_catalogue(store, false, &catalogue, NULL);
    if (rc >= 0)
        rc = mds_catalogue_archive_find(catalogue, archive, false, &info, NULL);
    (void)pthread_mutex_unlock(&store->lock);
    return rc >= 0 && info.enabled;
}

/* The archive that was named, if it is the account's; else the first of the account's that is there. */
static bool choose_archive(struct mdsq_attempt *a)
{
    for (uint32_t i = 0; i <= a->row.grants_n; i++) {
        const char *name = i ? a->row.grants[i - 1] : a->row.archive;

        if ((a->named && strcmp(name, a->archive) != 0) || !is_enabled(a->store, name))
            continue;
        g_strlcpy(a->archive, name, sizeof a->archive);
        return true;
    }
    return false;
}

/* `user@domain` of ours is `user`. */
static char *plain_guess(struct query_auth *auth, const char *name)
{
    const char *at = strrchr(name, '@');

    return at && is_own_domain(auth, at + 1) ? g_strndup(name, (size_t)(at - name)) : g_strdup(name);
}

/*
 * Whom a name may mean, by its text alone. Failures are counted for these and not for who was found: `ann\1`, `ann\2`, ... would add up for an
 * account that exists and for no other, and so tell. `a\b` counts for both, archive b of a and b@a.
 */
static void guess(struct mdsq_attempt *a)
{
    char **part = g_strsplit(a->spoken ? a->spoken : "", "\\", 4);
    const unsigned n = g_strv_length(part);

    if (n < 2 || n > 3)
        a->guessed = plain_guess(a->auth, a->spoken ? a->spoken : "");
    else if (is_own_domain(a->auth, part[0]))
        a->guessed = g_strdup(part[1]);
    else if (n == 3)
        a->guessed = g_strdup_printf("%s@%s", part[1], part[0]);
    else
        a->guessed = plain_guess(a->auth, part[0]);
    if (n == 2 && !is_own_domain(a->auth, part[0]))
        a->other = g_strdup_printf("%s@%s", part[1], part[0]);
    g_strfreev(part);
}

/* Nobody: hashed at the usual cost. Who was found, but has no such archive, keeps his salt: it is shown whatever archive is named. */
static void forget_account(struct mdsq_attempt *a, bool found)
{
    struct mds_user nobody = {0};

    if (found && a->row.has_scram) {
        nobody.has_scram = true;
        nobody.scram_iterations = a->row.scram_iterations;
        memcpy(nobody.scram_salt, a->row.scram_salt, sizeof nobody.scram_salt);
    }
    g_strlcpy(nobody.verifier, DUMMY_SETTING, sizeof nobody.verifier);
    explicit_bzero(&a->row, sizeof a->row);
    a->row = nobody;
    a->archive[0] = 0;
}

/* ---- the attempt ----------------------------------------------------------------------------------- */

int mdsq_attempt_new(struct mdsq_store *store, const char *user, const char *address, struct mdsq_attempt **out,
                     struct mdsq_error *err)
{
    struct error e;
    struct mdsq_attempt *a = g_new0(struct mdsq_attempt, 1);
    int failed = BASE_OK;

    query_error_init(&e);
    *out = NULL;
    a->store = store;
    atomic_fetch_add_explicit(&store->refs, 1, memory_order_relaxed);
    a->auth = query_auth_of(store);
    a->trusted = address == NULL;
    g_strlcpy(a->address, address ? address : "", sizeof a->address);
    a->spoken = query_auth_prepare(user, 3 * USER_BYTES_MAX + 2);
    a->known = a->spoken && resolve(a, &failed);
    if (failed < 0) {
        mdsq_attempt_free(&a);
        return query_result(error_set(&e, (enum base_err)failed, 0, "the catalogue cannot be read"), &e, err);
    }
    g_strlcpy(a->account, a->known ? a->row.name : a->spoken ? a->spoken : "", sizeof a->account);
    const bool found = a->known;

    a->known = found && choose_archive(a);
    if (!a->known)
        forget_account(a, found);
    guess(a);
    a->who = query_auth_who(a->auth, a->account, a->guessed, a->other, a->trusted ? NULL : a->address);
    *out = a;
    return MDSQ_OK;
}

static void decide(struct mdsq_attempt *a, enum auth_end how)
{
    if (a->in_flight)
        query_auth_end(a->auth, &a->who, how);
    a->in_flight = false;
    a->decided = true;
}

void mdsq_attempt_free(struct mdsq_attempt **attempt)
{
    struct mdsq_attempt *a = *attempt;

    if (!a)
        return;
    *attempt = NULL;
    if (a->auth) {
        query_auth_hash_give_up(a->auth, &a->waits_for_hash);
        decide(a, AUTH_WRONG); /* who hangs up in the middle has guessed */
    }
    query_auth_wipe(a->spoken);
    query_auth_wipe(a->guessed);
    query_auth_wipe(a->other);
    mdsq_store_close(&a->store);
    explicit_bzero(a, sizeof *a);
    g_free(a);
}

static int refused(struct error *e)
{
    return error_set(e, BASE_ERR_AUTH, 0, "unknown user or wrong password");
}

static int later(struct mdsq_attempt *a, uint32_t wait_ms, struct error *e)
{
    a->wait_ms = wait_ms;
    return error_set(e, BASE_ERR_AGAIN, 0, "not yet");
}

/* Whoever is held back for longer than the longest delay stands in a queue of guesses: he is told what a wrong guess is told. */
static int admit(struct mdsq_attempt *a, struct error *e)
{
    if (a->decided)
        return refused(e);
    if (a->in_flight || a->trusted)
        return BASE_OK;
    const uint32_t wait = query_auth_begin(a->auth, &a->who);
    const uint64_t now = a->auth->now_ms();

    if (wait == 0) {
        a->in_flight = true;
        return BASE_OK;
    }
    if (a->given_up_ms == 0)
        a->given_up_ms = now + 2 * (uint64_t)a->auth->delay_max_ms;
    if (now < a->given_up_ms)
        return later(a, wait, e);
    a->decided = true;
    return refused(e);
}

int mdsq_attempt_admit(struct mdsq_attempt *attempt, struct mdsq_error *err)
{
    struct error e;

    query_error_init(&e);
    return query_result(admit(attempt, &e), &e, err);
}

uint32_t mdsq_attempt_wait_ms(const struct mdsq_attempt *attempt)
{
    return attempt->wait_ms;
}

static int check_password(struct mdsq_attempt *a, const char *secret, struct error *e)
{
    uint8_t tag[AUTH_TAG_BYTES];
    bool same = false;

    query_auth_tag(a->auth, a->account, a->row.verifier, secret ? secret : "", tag);
    a->remembered = a->known && secret && query_auth_is_remembered(a->auth, tag);
    if (!a->remembered) {
        if (!a->trusted) {
            const uint32_t wait = query_auth_hash_begin(a->auth, &a->waits_for_hash);

            if (wait)
                return later(a, wait, e);
        }
        /* Always computed, whatever is known by now. */
        same = query_auth_is_password(secret ? secret : "", a->row.verifier) && secret && a->known;
        if (!a->trusted)
            query_auth_hash_end(a->auth);
        if (same)
            query_auth_remember(a->auth, tag);
    }
    explicit_bzero(tag, sizeof tag);
    decide(a, a->remembered || same ? AUTH_RIGHT : AUTH_WRONG);
    return a->remembered || same ? BASE_OK : refused(e);
}

int mdsq_attempt_password(struct mdsq_attempt *attempt, const char *password, struct mdsq_error *err)
{
    struct error e;
    int rc;

    query_error_init(&e);
    rc = admit(attempt, &e);
    if (rc >= 0) {
        char *secret = query_auth_prepare(password, PASSWORD_BYTES_MAX - 1);

        rc = check_password(attempt, secret, &e);
        query_auth_wipe(secret);
    }
    return query_result(rc, &e, err);
}

void mdsq_attempt_scram(struct mdsq_attempt *attempt, struct mdsq_scram *out)
{
    const struct mds_user *row = &attempt->row;
    const char *name = attempt->guessed;
    uint8_t fake[32];

    query_auth_fake(attempt->auth, "salt", name, fake);
    query_auth_fake(attempt->auth, "stored key", name, out->stored_key);
    query_auth_fake(attempt->auth, "server key", name, out->server_key);
    memcpy(out->salt, row->has_scram ? row->scram_salt : fake, sizeof out->salt);
    out->iterations = row->has_scram ? row->scram_iterations : SCRAM_ITERATIONS;
    attempt->known = attempt->known && row->has_scram; /* else no proof can be right */
    if (attempt->known) {
        memcpy(out->stored_key, row->scram_stored_key, sizeof out->stored_key);
        memcpy(out->server_key, row->scram_server_key, sizeof out->server_key);
    }
}

int mdsq_attempt_accept(struct mdsq_attempt *attempt, bool right, struct mdsq_error *err)
{
    struct error e;
    const bool ok = right && attempt->known && !attempt->decided;

    query_error_init(&e);
    decide(attempt, ok ? AUTH_RIGHT : AUTH_WRONG);
    return query_result(ok ? BASE_OK : refused(&e), &e, err);
}

const char *mdsq_attempt_account(const struct mdsq_attempt *attempt)
{
    return attempt->account;
}

const char *mdsq_attempt_archive(const struct mdsq_attempt *attempt)
{
    return attempt->archive;
}

bool mdsq_attempt_remembered(const struct mdsq_attempt *attempt)
{
    return attempt->remembered;
}

int mdsq_login(struct mdsq_store *store, const char *user, const char *password, char archive_out[256],
               struct mdsq_error *err)
{
    struct mdsq_attempt *attempt = NULL;
    int rc = mdsq_attempt_new(store, user, NULL, &attempt, err);

    archive_out[0] = 0;
    if (rc >= 0)
        rc = mdsq_attempt_password(attempt, password, err);
    if (rc >= 0)
        g_strlcpy(archive_out, attempt->archive, 256);
    mdsq_attempt_free(&attempt);
    return rc;
}
