#include "cli/conf.h"
#include "cli/event_log.h"

#include "base/bytes.h"

#include <criterion/criterion.h>
#include <glib.h>
#include <jansson.h>
#include <string.h>

static struct error err;

static struct conf *parse(const char *text)
{
    struct conf *conf = NULL;
    cr_assert_eq(conf_parse("/etc/mds/x.conf", text, strlen(text), &conf, &err), 0, "%s", err.text);
    return conf;
}

Test(conf, every_default_is_allowed)
{
    for (size_t i = 0; i < conf_groups_n; i++)
        for (size_t k = 0; k < conf_groups[i].keys_n; k++) {
            const struct conf_key *key = &conf_groups[i].keys[k];
            char *allowed = conf_allowed(key);
            cr_expect_not_null(allowed, "%s", key->name);
            cr_expect(conf_kind_is_text(key->kind) || key->initial, "%s: a number without a default", key->name);
            cr_expect(key->offset + sizeof(uint64_t) <= conf_groups[i].size, "%s", key->name);
            for (size_t n = 0; n < k; n++)
                cr_expect(strcmp(conf_groups[i].keys[n].name, key->name) != 0 && conf_groups[i].keys[n].offset != key->offset, "%s: twice", key->name);
            g_free(allowed);
        }
    struct conf *conf = conf_new(); /* asserts that they parse */
    cr_expect_eq(conf->limits.idle, 1800);
    cr_expect_eq(conf->store.grace, 30 * 86400);
    cr_expect_eq(conf->store.log_rows, 100000);
    cr_expect_eq(conf->limits.append_bytes, 64 << 20);
    conf_free(&conf);
    cr_expect_null(conf);
}

Test(conf, groups_become_settings)
{
    struct conf *conf = parse("[certificate a]\ncertificate = tls/a.pem\nkey = /k/a.key\n[certificate b]\ncertificate = b.pem\n"
                              "[listener one]\naddress = [::]:993\nmode = tls\ncertificates = b, a\nclient-ca = ca.pem\nclient-certificates = optional\n"
                              "tls-min = 1.3\ncompress = false\n[listener two]\naddress = 127.0.0.1:0\npasswords = false\ntls-networks = 10.0.0.0/8\n"
                              "[limits]\nidle-timeout = 45m\nbytes-per-second = 3M\n[login]\nremember = 0\n[server]\nloops = 3\n");
    struct imap_server_settings s = {0};
    struct mdsq_login_settings login;
    conf_settings(conf, &s);
    cr_assert_eq(s.listeners_n, 2);
    const struct imap_listener_settings *l = s.listeners;
    cr_expect_str_eq(l[0].name, "one");
    cr_expect(l[0].mode == IMAP_LISTEN_TLS && l[0].no_compress && !l[0].no_login);
    cr_assert_eq(l[0].certificates_n, 2);
    cr_expect_str_eq(l[0].certificates[0].certificate, "/etc/mds/b.pem");
    cr_expect_null(l[0].certificates[0].key);
    cr_expect_str_eq(l[0].certificates[1].certificate, "/etc/mds/tls/a.pem");
    cr_expect_str_eq(l[0].certificates[1].key, "/k/a.key");
    cr_expect_str_eq(l[0].client_ca, "/etc/mds/ca.pem");
    cr_expect_eq(l[0].client_certificates, IMAP_CLIENT_CERTIFICATES_OPTIONAL);
    cr_expect_str_eq(l[0].tls_min, "1.3");
    cr_expect(l[1].mode == IMAP_LISTEN_STARTTLS && l[1].no_login && l[1].certificates_n == 0 && !l[1].no_compress);
    cr_expect_str_eq(l[1].tls_networks, "10.0.0.0/8");
    cr_expect_eq(s.limits.idle_ms, 45 * 60000);
    cr_expect_eq(s.server.bytes_per_s, 3 << 20);
    cr_expect_eq(s.loops, 3);
    conf_login_settings(conf, &login);
    cr_expect_eq(login.remember_s, UINT32_MAX, "0 remembers nothing");
    cr_expect_eq(login.delay_max_s, 60);
    conf_free(&conf);
}

Test(conf, values_at_their_limits)
{
    static const struct {
        const char *group, *line;
        bool allowed;
    } table[] = {
        {"server", "loops = 64", true},           {"server", "loops = 65", false},        {"server", "loops = ", false},
        {"server", "loops = 1 ", true},           {"server", "loops = +1", false},        {"server", "loops = 0x1", false},
        {"limits", "idle-timeout = 60", true},    {"limits", "idle-timeout = 59", false}, {"limits", "idle-timeout = 7d", true},
        {"limits", "idle-timeout = 8d", false},   {"limits", "idle-timeout = 1w", false}, {"limits", "append-size = 1G", true},
        {"limits", "append-size = 1k", false},    {"limits", "append-size = 1025M", false},
        {"limits", "append-size = 18446744073709551615G", false}, {"limits", "append-size = 99999999999999999999999", false},
        {"store", "durability = relaxed", true},  {"store", "durability = Relaxed", false}, {"store", "durability =", false},
        {"metrics", "listen = [::1]:9", true},    {"metrics", "listen = ::1:9", false},   {"metrics", "listen = a:65536", false},
        {"metrics", "listen = :1", false},        {"metrics", "listen = a:", false},      {"metrics", "enabled = TRUE", false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct conf *conf = NULL;
        char text[200];
        snprintf(text, sizeof text, "[%s]\n%s\n", table[i].group, table[i].line);
        const int rc = conf_parse("x", text, strlen(text), &conf, &err);
        cr_expect_eq(rc, table[i].allowed ? 0 : BASE_ERR_USAGE, "%s: %s", table[i].line, rc < 0 ? err.text : "allowed");
        conf_free(&conf);
    }
}

Test(conf, masks_go_by_what_is_known)
{
    struct conf *conf = parse("[mask a]\nclients = Microsoft Outlook*, x?z\nhide = IDLE\n[mask b]\naccounts = a*\nnetworks = 10.0.0.0/8 ::1\nhide = MOVE NOTIFY\n");
    static const struct {
        const char *account, *address, *client, *expect;
    } table[] = {
        {NULL, NULL, NULL, NULL},
        {NULL, NULL, "microsoft outlook 16.0", "IDLE"},
        {NULL, NULL, "Not Microsoft Outlook", NULL},
        {NULL, NULL, "xyz", "IDLE"},
        {"ann", "10.1.2.3", NULL, "MOVE NOTIFY"},
        {"ann", "11.1.2.3", NULL, NULL},
        {"ann", NULL, NULL, NULL},
        {"bob", "10.1.2.3", NULL, NULL},
        {"ann", "::1", "xyz", "IDLE MOVE NOTIFY"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char *mask = conf_mask_of(conf, table[i].account, table[i].address, table[i].client);
        cr_expect_eq(g_strcmp0(mask, table[i].expect), 0, "%zu: %s", i, mask ? mask : "-");
        free(mask);
    }
    conf_free(&conf);
}

Test(conf, a_line_of_the_log_holds_any_name)
{
    static const struct {
        const char *value, *text;
    } table[] = {
        {"ann", "ann"},
        {"ann@example.org", "ann@example.org"},
        {"", "\"\""},
        {"a b", "\"a b\""},
        {"a=b", "\"a=b\""},
        {"x\nevil: account=root", "\"x\\u000aevil: account=root\""},
        {"q\"\\", "\"q\\\"\\\\\""},
        {"\xff", "\"\xef\xbf\xbd\""},
        {"J\xc3\xb6rg", "\"J\xc3\xb6rg\""},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const struct event_field fields[] = {EVENT_TEXT("account", table[i].value), EVENT_NUMBER("n", 18446744073709551615u)};
        struct buf line = {0};
        char expect[200];
        event_log_format(false, 1700000000123, LOG_LEVEL_INFO, "imap: login", fields, 2, &line);
        snprintf(expect, sizeof expect, "2023-11-14T22:13:20.123Z info imap: login: account=%s n=18446744073709551615\n", table[i].text);
        cr_expect(bytes_equal(buf_bytes(&line), bytes_str(expect)), "%.*s", (int)line.n, (const char *)line.p);
        buf_reset(&line);
        event_log_format(true, 1700000000123, LOG_LEVEL_WARN, "imap: login", fields, 1, &line);
        cr_expect_eq(memchr(line.p, '\n', line.n), line.p + line.n - 1, "one line");
        json_t *json = json_loadb((const char *)line.p, line.n, 0, NULL);
        cr_assert_not_null(json, "%.*s", (int)line.n, (const char *)line.p);
        cr_expect_str_eq(json_string_value(json_object_get(json, "account")), strcmp(table[i].value, "\xff") ? table[i].value : "\xef\xbf\xbd");
        cr_expect_str_eq(json_string_value(json_object_get(json, "level")), "warn");
        json_decref(json);
        buf_release(&line);
    }
}
