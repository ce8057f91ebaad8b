/*
 * conf: the server's configuration file, a GLib key file (mds.conf(5)).
 *
 *     struct conf *conf = NULL;
 *     if (conf_read("/etc/mds.conf", &conf, &err) < 0) ...     // file, group, key and what is allowed
 *     conf_settings(conf, &settings);                          // views of conf
 *     conf_free(&conf);
 *
 * All that may stand in the file is in one table (conf_table.c): name, kind, limits, default. What is not in it is refused. mds.conf(5) is held
 * against the table by a test (mds serve --show-settings prints it).
 */
#ifndef CLI_CONF_H
#define CLI_CONF_H

#include "base/error.h"
#include "imap/server.h"

#include <mds/query.h>
#include <stdint.h>

enum { CONF_FILE_BYTES_MAX = 1 << 20, CONF_GROUPS_MAX = 256 };

/* Members of groups are char * (NULL: not given) or uint64_t; the table says which. */
struct conf_store {
    char *path;
    uint64_t durability, grace, log_rows;
};
struct conf_server {
    char *user, *group;
    uint64_t loops, threads;
};
struct conf_listener {
    char *name, *address;
    uint64_t mode;
    char *certificates, *mechanisms;
    uint64_t passwords;
    char *client_ca;
    uint64_t client_certificates, tls_min;
    char *tls_ciphers, *clear_networks, *tls_networks;
    uint64_t max_connections, compress;
};
struct conf_certificate {
    char *name, *certificate, *key;
};
struct conf_login {
    uint64_t remember, max_delay, max_hashes;
    char *domains;
};
struct conf_limits {
    uint64_t connections, connections_per_address, connections_per_account;
    uint64_t handshake, login, idle, write;
    uint64_t commands_per_second, bytes_per_second, burst, ticket_key;
    uint64_t append_bytes, line_bytes, literal_bytes, command_bytes, pipeline_bytes, output_bytes;
    uint64_t nesting, bad_commands;
};
enum conf_log_format { CONF_LOG_TEXT, CONF_LOG_JSON };
struct conf_log {
    uint64_t format, level; /* enum conf_log_format, enum log_level */
    char *file, *audit;
};
struct conf_metrics {
    uint64_t enabled;
    char *listen;
};
enum conf_text_headers { CONF_TEXT_COMMON, CONF_TEXT_ALL };
struct conf_search {
    uint64_t index, rate;
    uint64_t text_headers; /* enum conf_text_headers */
    char *trace_fields;    /* NULL: the default list */
};
struct conf_mask {
    char *name, *accounts, *networks, *clients, *hide;
};

struct conf {
    char *path;
    struct conf_store store;
    struct conf_server server;
    struct conf_login login;
    struct conf_limits limits;
    struct conf_log log;
    struct conf_metrics metrics;
    struct conf_search search;
    /* in the file's order */
    struct conf_listener *listeners;
    struct conf_certificate *certificates;
    struct conf_mask *masks;
    size_t listeners_n, certificates_n, masks_n;
    /* made by conf_settings */
    struct imap_listener_settings *listener_settings;
    struct imap_certificate *pairs;
};

/* BASE_ERR_USAGE: what stands in it; BASE_ERR_IO: it cannot be read. Owned: conf_free. */
int conf_read(const char *path, struct conf **out, struct error *err);
/* The same of text; name: what errors call it. */
int conf_parse(const char *name, const char *text, size_t n, struct conf **out, struct error *err);
void conf_free(struct conf **conf);
/* All defaults, no listener: what mds serve begins with without a file. */
struct conf *conf_new(void);

/* Fills what the file rules; the rest is left. Views of conf, valid until it is freed or conf_settings is called again. */
void conf_settings(struct conf *conf, struct imap_server_settings *out);
void conf_login_settings(const struct conf *conf, struct mdsq_login_settings *out);
/* Capabilities to hide from a client; any of the three may be NULL (not known yet). Owned (free), or NULL: none. */
char *conf_mask_of(const struct conf *conf, const char *account, const char *address, const char *client);

/* ---- the table (conf_table.c) ------------------------------------------------------------------ */

enum conf_kind {
    CONF_TEXT,
    CONF_PATH,     /* absolute, or relative to the file's folder */
    CONF_ADDRESS,  /* HOST:PORT */
    CONF_NETWORKS, /* addresses and networks */
    CONF_NUMBER,
    CONF_SIZE,     /* bytes; K, M, G */
    CONF_DURATION, /* seconds; s, m, h, d */
    CONF_CHOICE,   /* uint64_t: its place among the choices */
    CONF_SWITCH,   /* true or false */
};

struct conf_key {
    const char *name;
    enum conf_kind kind;
    size_t offset; /* in the group's struct */
    uint64_t min, max;
    const char *initial; /* as it would be written; NULL: none */
    const char *choices; /* "a b c" */
};

struct conf_group {
    const char *name;
    bool repeated; /* [name LABEL], any number; its struct begins with the label */
    size_t offset; /* in struct conf: of the struct; of the array, which its count follows as told */
    size_t count_offset, size;
    const struct conf_key *keys;
    size_t keys_n;
};

extern const struct conf_group conf_groups[];
extern const size_t conf_groups_n;
static inline bool conf_kind_is_text(enum conf_kind kind)
{
    return kind == CONF_TEXT || kind == CONF_PATH || kind == CONF_ADDRESS || kind == CONF_NETWORKS;
}
/* What may be written, for messages and manuals: "a number from 0 to 64". Owned: g_free. */
char *conf_allowed(const struct conf_key *key);

#endif
