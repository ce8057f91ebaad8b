/* conf_table: all settings of mds.conf(5). */
#include "conf.h"

#include "base/log.h"

#include <glib.h>
#include <stddef.h>

#define YEAR_S (366 * 86400)
#define FIELD(group, member) offsetof(struct conf_##group, member)
#define NUMBER(key, group, member, min, max, initial) {key, CONF_NUMBER, FIELD(group, member), min, max, initial, NULL}
#define SIZE(key, group, member, min, max, initial)   {key, CONF_SIZE, FIELD(group, member), min, max, initial, NULL}
#define DURATION(key, group, member, min, max, initial) {key, CONF_DURATION, FIELD(group, member), min, max, initial, NULL}
#define CHOICE(key, group, member, choices, initial)  {key, CONF_CHOICE, FIELD(group, member), 0, 0, initial, choices}
#define SWITCH(key, group, member, initial)           {key, CONF_SWITCH, FIELD(group, member), 0, 0, initial, NULL}
#define TEXT(key, kind, group, member)                {key, kind, FIELD(group, member), 0, 0, NULL, NULL}

static const struct conf_key store_keys[] = {
    TEXT("path", CONF_PATH, store, path),
    CHOICE("durability", store, durability, "strict relaxed", "strict"),
    DURATION("grace", store, grace, 0, UINT64_C(100) * YEAR_S, "30d"),
    NUMBER("log-rows", store, log_rows, 100, 1000000000, "100000"),
};

static const struct conf_key server_keys[] = {
    TEXT("user", CONF_TEXT, server, user),
    TEXT("group", CONF_TEXT, server, group),
    NUMBER("loops", server, loops, 0, 64, "0"),
    NUMBER("threads", server, threads, 0, 1024, "0"),
};

static const struct conf_key listener_keys[] = {
    TEXT("address", CONF_ADDRESS, listener, address),
    CHOICE("mode", listener, mode, "starttls tls plain", "starttls"), /* as enum imap_listen_mode */
    TEXT("certificates", CONF_TEXT, listener, certificates),
    TEXT("mechanisms", CONF_TEXT, listener, mechanisms),
    SWITCH("passwords", listener, passwords, "true"),
    TEXT("client-ca", CONF_PATH, listener, client_ca),
    CHOICE("client-certificates", listener, client_certificates, "none optional required", "none"), /* as enum imap_client_certificates */
    CHOICE("tls-min", listener, tls_min, "1.2 1.3", "1.2"),
    TEXT("tls-ciphers", CONF_TEXT, listener, tls_ciphers),
    TEXT("clear-networks", CONF_NETWORKS, listener, clear_networks),
    TEXT("tls-networks", CONF_NETWORKS, listener, tls_networks),
    NUMBER("max-connections", listener, max_connections, 0, 1000000, "0"),
    SWITCH("compress", listener, compress, "true"),
};

static const struct conf_key certificate_keys[] = {
    TEXT("certificate", CONF_PATH, certificate, certificate),
    TEXT("key", CONF_PATH, certificate, key),
};

static const struct conf_key login_keys[] = {
    DURATION("remember", login, remember, 0, 86400, "10m"),
    DURATION("max-delay", login, max_delay, 1, 3600, "60s"),
    NUMBER("max-hashes", login, max_hashes, 0, 1024, "0"),
    TEXT("domains", CONF_TEXT, login, domains),
};

static const struct conf_key limits_keys[] = {
    NUMBER("connections", limits, connections, 1, 1000000, "10000"),
    NUMBER("connections-per-address", limits, connections_per_address, 0, 1000000, "0"),
    NUMBER("connections-per-account", limits, connections_per_account, 0, 1000000, "0"),
    DURATION("handshake-timeout", limits, handshake, 1, 3600, "15s"),
    DURATION("login-timeout", limits, login, 1, 86400, "60s"),
    DURATION("idle-timeout", limits, idle, 60, 7 * 86400, "30m"),
    DURATION("write-timeout", limits, write, 1, 86400, "2m"),
    NUMBER("commands-per-second", limits, commands_per_second, 0, 1000000, "0"),
    SIZE("bytes-per-second", limits, bytes_per_second, 0, UINT64_C(1) << 40, "0"),
    DURATION("burst", limits, burst, 1, 3600, "10s"),
    DURATION("ticket-key-lifetime", limits, ticket_key, 60, YEAR_S, "6h"),
    SIZE("append-size", limits, append_bytes, 1024, 1 << 30, "64M"),
    SIZE("line-size", limits, line_bytes, 1024, 64 << 20, "64K"),
    SIZE("literal-size", limits, literal_bytes, 1024, 64 << 20, "1M"),
    SIZE("command-size", limits, command_bytes, 4096, 256 << 20, "2M"),
    SIZE("pipeline-size", limits, pipeline_bytes, 4096, 64 << 20, "128K"),
    SIZE("output-size", limits, output_bytes, 4096, 64 << 20, "256K"),
    NUMBER("nesting", limits, nesting, 8, 1000, "64"),
    NUMBER("bad-commands", limits, bad_commands, 1, 100000, "20"),
};

static const struct conf_key log_keys[] = {
    CHOICE("format", log, format, "text json", "text"),
    CHOICE("level", log, level, "error warn info debug", "info"), /* as enum log_level */
    TEXT("file", CONF_PATH, log, file),
    TEXT("audit", CONF_PATH, log, audit),
};

static const struct conf_key metrics_keys[] = {
    SWITCH("enabled", metrics, enabled, "false"),
    {"listen", CONF_ADDRESS, FIELD(metrics, listen), 0, 0, "127.0.0.1:9143", NULL},
};

static const struct conf_key search_keys[] = {
    SWITCH("index", search, index, "true"),
    NUMBER("rate", search, rate, 0, 1000000, "0"),
    CHOICE("text-headers", search, text_headers, "common all", "common"), /* as enum conf_text_headers */
    TEXT("trace-fields", CONF_TEXT, search, trace_fields),
};

static const struct conf_key mask_keys[] = {
    TEXT("accounts", CONF_TEXT, mask, accounts),
    TEXT("networks", CONF_NETWORKS, mask, networks),
    TEXT("clients", CONF_TEXT, mask, clients),
    TEXT("hide", CONF_TEXT, mask, hide),
};

#define ONE(name)                                                                                                      \
    {#name, false, offsetof(struct conf, name), 0, sizeof(struct conf_##name), name##_keys, G_N_ELEMENTS(name##_keys)}
#define MANY(name)                                                                                                     \
    {#name, true, offsetof(struct conf, name##s), offsetof(struct conf, name##s_n), sizeof(struct conf_##name),        \
     name##_keys, G_N_ELEMENTS(name##_keys)}

const struct conf_group conf_groups[] = {
    ONE(store), ONE(server), MANY(listener), MANY(certificate), ONE(login), ONE(limits), ONE(log), ONE(metrics), ONE(search), MANY(mask),
};
const size_t conf_groups_n = G_N_ELEMENTS(conf_groups);

_Static_assert(offsetof(struct conf_listener, name) == 0 && offsetof(struct conf_certificate, name) == 0 && offsetof(struct conf_mask, name) == 0,
               "repeated groups begin with their label");
_Static_assert((int)IMAP_LISTEN_STARTTLS == 0 && (int)IMAP_LISTEN_TLS == 1 && (int)IMAP_LISTEN_PLAIN == 2 &&
                   (int)IMAP_CLIENT_CERTIFICATES_REQUIRED == 2 && (int)LOG_LEVEL_DEBUG == 3,
               "choices stand in the order of their enums");

char *conf_allowed(const struct conf_key *key)
{
    switch (key->kind) {
    case CONF_TEXT: return g_strdup("a text");
    case CONF_PATH: return g_strdup("a path");
    case CONF_ADDRESS: return g_strdup("HOST:PORT or [HOST]:PORT, with a port from 0 to 65535");
    case CONF_NETWORKS: return g_strdup("addresses and networks such as 192.0.2.0/24 and 2001:db8::/32, separated by blanks or commas");
    case CONF_NUMBER: return g_strdup_printf("a number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT, key->min, key->max);
    case CONF_SIZE:
        return g_strdup_printf("a size from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT " bytes, with K, M or G for 1024 of them and so on", key->min,
                               key->max);
    case CONF_DURATION:
        return g_strdup_printf("a time from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT " seconds, with m, h or d for other units", key->min,
                               key->max);
    case CONF_CHOICE: {
        char **words = g_strsplit(key->choices, " ", -1);
        char *list = g_strjoinv(", ", words), *text = g_strdup_printf("one of %s", list);

        g_free(list);
        g_strfreev(words);
        return text;
    }
    case CONF_SWITCH: return g_strdup("true or false");
    }
    return NULL;
}
