/*
 * auth_private: what login.c, auth.c and auth_state.c share: how names and passwords are prepared and hashed, and what a store remembers of logins.
 *
 * query_auth is one a store, made by its first login, under a lock of its own that nothing else is taken under. It holds
 *   remembered   passwords that were right lately, as MACs under a key of this process
 *   failures     points by account, by address and by the pair of both, which decay
 *   hashing      how many passwords are hashed now, and how many wait to be
 * All tables have a fixed size; what is old or matters least makes room.
 */
#ifndef QUERY_AUTH_PRIVATE_H
#define QUERY_AUTH_PRIVATE_H

#include "query_private.h"

#include <crypt.h>

#define USER_BYTES_MAX 255
#define PASSWORD_BYTES_MAX 512 /* CRYPT_MAX_PASSPHRASE_SIZE, NUL included */
#define SCRAM_ITERATIONS 10000 /* RFC 7677 asks for 4,096 and more */

/* A setting of the cost that new users get, for users that do not exist. */
#define DUMMY_SETTING "$y$j9T$F5Jx5fExrKuPp53xLKQ..1"

/* SASLprep but for its rule on mixed directions. Owned (wipe), or NULL if it is empty, too long or holds what may not be. */
char *query_auth_prepare(const char *text, size_t max_bytes);
void query_auth_wipe(char *secret); /* and frees; may be NULL */
bool query_auth_is_password(const char *password, const char *verifier);

enum {
    AUTH_REMEMBERED = 4096, /* passwords; 40 bytes each */
    AUTH_FAILURES = 16384,  /* keys; 40 bytes each */
    AUTH_WAYS = 8,
    AUTH_TAG_BYTES = 32,
};

struct auth_failures {
    uint64_t key;     /* 0: free */
    uint64_t when_ms; /* of points: they halve every half-life from then on */
    uint64_t good_until_ms; /* pair: a login was right here */
    uint32_t points;
    uint32_t in_flight;
};

struct query_auth {
    pthread_mutex_t lock; /* guards all below */
    uint64_t (*now_ms)(void); /* tests put another clock here */
    uint8_t key[32], secret[MDS_CATALOGUE_SECRET_BYTES];
    bool secret_is_stored;
    uint64_t seed;
    char *domains; /* " a b " in small letters, or NULL */
    uint32_t remember_ms, delay_max_ms;
    unsigned hashes_max, hashing, waiting;
    uint64_t hits, hashed; /* passwords so far: remembered, and hashed */
    struct auth_remembered {
        uint8_t tag[AUTH_TAG_BYTES];
        uint64_t until_ms;
    } *remembered;
    struct auth_failures *failures;
};
/* The store's, never NULL. */
struct query_auth *query_auth_of(struct mdsq_store *store);

/* MAC of an account's verifier and a password: a new password is another verifier, and nothing has to be forgotten. */
void query_auth_tag(const struct query_auth *auth, const char *account, const char *verifier, const char *password,
                    uint8_t out[AUTH_TAG_BYTES]);
bool query_auth_is_remembered(struct query_auth *auth, const uint8_t tag[AUTH_TAG_BYTES]);
void query_auth_remember(struct query_auth *auth, const uint8_t tag[AUTH_TAG_BYTES]);

void query_auth_counts(struct query_auth *auth, uint64_t *hits_out, uint64_t *hashed_out);

/* Who tries: keys of the counters; 0: none. */
struct auth_who {
    uint64_t account, other, address, pair;
};
/* account: who it is, if he is known; guessed, other (or NULL): whom the name may mean, known or not. */
struct auth_who query_auth_who(const struct query_auth *auth, const char *account, const char *guessed, const char *other, const char *address);
/* May this one be checked now? 0: yes, and it counts as in flight until query_auth_end; else ask again after so many ms. */
uint32_t query_auth_begin(struct query_auth *auth, const struct auth_who *who);
enum auth_end { AUTH_RIGHT, AUTH_WRONG, AUTH_UNDECIDED /* the store failed: counts for nothing */ };
void query_auth_end(struct query_auth *auth, const struct auth_who *who, enum auth_end how);

/* A seat among those that hash. *waits: the caller's, false at first. 0: hash now, then query_auth_hashed; else ask again after so many ms. */
uint32_t query_auth_hash_begin(struct query_auth *auth, bool *waits);
void query_auth_hash_end(struct query_auth *auth);
void query_auth_hash_give_up(struct query_auth *auth, bool *waits);

/* HMAC-SHA-256 of label and text under the store's secret: what unknown users are shown. */
void query_auth_fake(struct query_auth *auth, const char *label, const char *text, uint8_t out[32]);

#endif
