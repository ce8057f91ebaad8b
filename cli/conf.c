/*
 * conf: see conf.h. GLib knows the file's syntax, conf_table.c what may stand in it; this puts the two together.
 */
#include "conf.h"

#include <glib.h>
#include <string.h>

/* ---- values --------------------------------------------------------------------------------------- */

static bool parse_number(const char *text, uint64_t *out, const char **rest)
{
    char *end = NULL;
    if (!g_ascii_isdigit(text[0]) || strlen(text) > 20)
        return false;
    *out = g_ascii_strtoull(text, &end, 10);
    *rest = end;
    return true;
}

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit sizes[] = {{"", 1}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {NULL, 0}};
static const struct unit times[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {NULL, 0}};
static const struct unit ones[] = {{"", 1}, {NULL, 0}};

static bool parse_units(const struct conf_key *key, const char *text, const struct unit *units, uint64_t *out)
{
    uint64_t n = 0;
    const char *rest = NULL;
    if (!parse_number(text, &n, &rest))
        return false;
    while (units->name && strcmp(units->name, rest) != 0)
        units++;
    if (!units->name || n > UINT64_MAX / units->factor)
        return false;
    *out = n * units->factor;
    return *out >= key->min && *out <= key->max;
}

static bool parse_choice(const char *choices, const char *text, uint64_t *out)
{
    char **words = g_strsplit(choices, " ", -1);
    bool found = false;
    for (guint i = 0; words[i] && !found; i++) {
        found = strcmp(words[i], text) == 0;
        *out = i;
    }
    g_strfreev(words);
    return found;
}

static bool is_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    const char *digits = colon ? colon + 1 : "";
    const size_t n = strspn(digits, "0123456789");
    const bool bracketed = text[0] == '[' && colon && colon > text + 1 && colon[-1] == ']';
    return colon && colon > text && n > 0 && n <= 5 && digits[n] == 0 && strtoul(digits, NULL, 10) <= 65535 && !strpbrk(text, " \t") &&
           (bracketed || strchr(text, ':') == colon);
}

static char *resolve_path(const char *file, const char *text)
{
    if (g_path_is_absolute(text) || !file)
        return g_strdup(text);
    char *folder = g_path_get_dirname(file), *path = g_build_filename(folder, text, NULL);
    g_free(folder);
    return path;
}

/* into: the member. False: not allowed. Empty text is as if it were not given. */
static bool take_value(const struct conf_key *key, const char *file, const char *text, void *into)
{
    uint64_t *number = into;
    char **copy = into;
    switch (key->kind) {
    case CONF_NUMBER: return parse_units(key, text, ones, number);
    case CONF_SIZE: return parse_units(key, text, sizes, number);
    case CONF_DURATION: return parse_units(key, text, times, number);
    case CONF_CHOICE: return parse_choice(key->choices, text, number);
    case CONF_SWITCH: return parse_choice("false true", text, number);
    case CONF_ADDRESS:
        if (!is_address(text))
            return false;
        break;
    case CONF_NETWORKS:
        if (imap_networks_check(text, NULL) < 0)
            return false;
        break;
    case CONF_PATH:
    case CONF_TEXT: break;
    }
    g_free(*copy);
    *copy = !text[0] ? NULL : key->kind == CONF_PATH ? resolve_path(file, text) : g_strdup(text);
    return true;
}

static void set_defaults(const struct conf_group *group, void *into)
{
    for (size_t i = 0; i < group->keys_n; i++)
        if (group->keys[i].initial)
            ASSERT(take_value(&group->keys[i], NULL, group->keys[i].initial, (char *)into + group->keys[i].offset));
}

/* ---- groups ----------------------------------------------------------------------------------------- */

static const struct conf_group *find_group(const char *name, const char **label_out)
{
    for (size_t i = 0; i < conf_groups_n; i++) {
        const struct conf_group *group = &conf_groups[i];
        const size_t n = strlen(group->name);
        *label_out = NULL;
        if (!group->repeated && strcmp(name, group->name) == 0)
            return group;
        if (group->repeated && strncmp(name, group->name, n) == 0 && name[n] == ' ' && name[n + 1]) {
            *label_out = name + n + 1;
            return group;
        }
    }
    return NULL;
}

static int unknown_group(const char *file, const char *name, struct error *err)
{
    GString *known = g_string_new(NULL);
    for (size_t i = 0; i < conf_groups_n; i++)
        g_string_append_printf(known, "%s[%s%s]", i ? ", " : "", conf_groups[i].name, conf_groups[i].repeated ? " NAME" : "");
    const int rc = error_set(err, BASE_ERR_USAGE, 0, "%s: group [%.100s] is not known; known are %s", file, name, known->str);
    g_string_free(known, TRUE);
    return rc;
}

static int unknown_key(const char *file, const struct conf_group *group, const char *name, const char *key, struct error *err)
{
    GString *known = g_string_new(NULL);
    for (size_t i = 0; i < group->keys_n; i++)
        g_string_append_printf(known, "%s%s", i ? ", " : "", group->keys[i].name);
    const int rc = error_set(err, BASE_ERR_USAGE, 0, "%s: [%.60s]: key '%.60s' is not known; known are %s", file, name, key, known->str);
    g_string_free(known, TRUE);
    return rc;
}

static void *group_struct(struct conf *conf, const struct conf_group *group, const char *label)
{
    char *at = (char *)conf + group->offset;
    if (!group->repeated)
        return at;
    void **array = (void **)at;
    size_t *n = (size_t *)((char *)conf + group->count_offset);
    *array = g_realloc_n(*array, *n + 1, group->size);
    void *one = (char *)*array + (*n)++ * group->size;
    memset(one, 0, group->size);
    *(char **)one = g_strdup(label);
    set_defaults(group, one);
    return one;
}

static int given_twice(const char *file, const char *group, const char *key, struct error *err)
{
    return key ? error_set(err, BASE_ERR_USAGE, 0, "%s: [%.60s] %.60s is given twice", file, group, key)
               : error_set(err, BASE_ERR_USAGE, 0, "%s: group [%.60s] is given twice", file, group);
}

/* GLib makes one group of two of a name, and takes the last of two values: which of them was meant? */
static int check_once(const char *file, const char *text, size_t n, struct error *err)
{
    char *copy = g_strndup(text, n), *group = g_strdup("");
    char **lines = g_strsplit(copy, "\n", -1);
    GHashTable *seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    int rc = BASE_OK;
    for (guint i = 0; lines[i] && rc == BASE_OK; i++) {
        char *line = g_strstrip(lines[i]), *close = strrchr(line, ']'), *is = strchr(line, '=');
        if (line[0] == '[' && close) {
            g_free(group);
            group = g_strndup(line + 1, (gsize)(close - line - 1));
            if (!g_hash_table_add(seen, g_strdup_printf("%s]", group)))
                rc = given_twice(file, group, NULL, err);
        } else if (line[0] != '#' && is) {
            *is = 0;
            if (!g_hash_table_add(seen, g_strdup_printf("%s]%s", group, g_strchomp(line))))
                rc = given_twice(file, group, line, err);
        }
    }
    g_hash_table_destroy(seen);
    g_strfreev(lines);
    g_free(group);
    g_free(copy);
    return rc;
}

static int take_key(const char *file, GKeyFile *keys, const struct conf_group *group, const char *name, const char *key, void *into,
                    struct error *err)
{
    const struct conf_key *row = NULL;
    for (size_t i = 0; i < group->keys_n; i++)
        if (strcmp(group->keys[i].name, key) == 0)
            row = &group->keys[i];
    if (!row)
        return unknown_key(file, group, name, key, err);
    char *text = g_key_file_get_string(keys, name, key, NULL);
    int rc = BASE_OK;
    if (!text || !take_value(row, file, g_strstrip(text), (char *)into + row->offset)) {
        char *allowed = conf_allowed(row);
        rc = error_set(err, BASE_ERR_USAGE, 0, "%s: [%.60s] %s: '%.60s' is not allowed: it is %s", file, name, key, text ? text : "?", allowed);
        g_free(allowed);
    }
    g_free(text);
    return rc;
}

static int take_group(struct conf *conf, GKeyFile *keys, const char *name, struct error *err)
{
    const char *label = NULL;
    const struct conf_group *group = find_group(name, &label);
    if (!group)
        return unknown_group(conf->path, name, err);
    char **names = g_key_file_get_keys(keys, name, NULL, NULL);
    void *into = group_struct(conf, group, label);
    int rc = BASE_OK;
    for (guint i = 0; names && names[i] && rc == BASE_OK; i++)
        rc = take_key(conf->path, keys, group, name, names[i], into, err);
    g_strfreev(names);
    return rc;
}

/* ---- what belongs together ---------------------------------------------------------------------------- */

static const struct conf_certificate *find_certificate(const struct conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->certificates_n; i++)
        if (strcmp(conf->certificates[i].name, name) == 0)
            return &conf->certificates[i];
    return NULL;
}

/* Names separated by blanks or commas; free with g_strfreev. */
static char **words_of(const char *text)
{
    char *copy = g_strdelimit(g_strdup(text ? text : ""), ",;\t", ' '), **all = g_strsplit(copy, " ", -1);
    guint n = 0;
    for (guint i = 0; all[i]; i++) {
        if (all[i][0])
            all[n++] = all[i];
        else
            g_free(all[i]);
    }
    all[n] = NULL;
    g_free(copy);
    return all;
}

static int check_listener(const struct conf *conf, const struct conf_listener *l, struct error *err)
{
    char **names = words_of(l->certificates);
    int rc = BASE_OK;
    if (!l->address)
        rc = error_set(err, BASE_ERR_USAGE, 0, "%s: [listener %.60s] has no address", conf->path, l->name);
    for (guint i = 0; names[i] && rc == BASE_OK; i++)
        if (!find_certificate(conf, names[i]))
            rc = error_set(err, BASE_ERR_USAGE, 0, "%s: [listener %.60s] certificates: there is no [certificate %.60s]", conf->path, l->name,
                           names[i]);
    if (rc == BASE_OK && l->mode == IMAP_LISTEN_TLS && !names[0])
        rc = error_set(err, BASE_ERR_USAGE, 0, "%s: [listener %.60s] mode: tls needs certificates", conf->path, l->name);
    if (rc == BASE_OK && l->client_certificates && !l->client_ca)
        rc = error_set(err, BASE_ERR_USAGE, 0, "%s: [listener %.60s] client-certificates: needs client-ca", conf->path, l->name);
    g_strfreev(names);
    return rc;
}

static int check_all(const struct conf *conf, struct error *err)
{
    int rc = BASE_OK;
    for (size_t i = 0; i < conf->certificates_n && rc == BASE_OK; i++)
        if (!conf->certificates[i].certificate)
            rc = error_set(err, BASE_ERR_USAGE, 0, "%s: [certificate %.60s] has no certificate", conf->path, conf->certificates[i].name);
    for (size_t i = 0; i < conf->listeners_n && rc == BASE_OK; i++)
        rc = check_listener(conf, &conf->listeners[i], err);
    for (size_t i = 0; i < conf->masks_n && rc == BASE_OK; i++) {
        const struct conf_mask *m = &conf->masks[i];
        if (!m->hide || (!m->accounts && !m->networks && !m->clients))
            rc = error_set(err, BASE_ERR_USAGE, 0, "%s: [mask %.60s] needs hide and one of accounts, networks, clients", conf->path, m->name);
        else if ((rc = imap_mask_check(m->hide, err)) < 0)
            error_context(err, "%s: [mask %.60s] hide", conf->path, m->name);
    }
    return rc;
}

/* ---- made and ended -------------------------------------------------------------------------------------- */

struct conf *conf_new(void)
{
    struct conf *conf = g_new0(struct conf, 1);
    for (size_t i = 0; i < conf_groups_n; i++)
        if (!conf_groups[i].repeated)
            set_defaults(&conf_groups[i], (char *)conf + conf_groups[i].offset);
    return conf;
}

static void free_texts(const struct conf_group *group, void *one)
{
    if (group->repeated)
        g_free(*(char **)one);
    for (size_t i = 0; i < group->keys_n; i++)
        if (conf_kind_is_text(group->keys[i].kind))
            g_free(*(char **)((char *)one + group->keys[i].offset));
}

void conf_free(struct conf **conf)
{
    struct conf *c = *conf;
    if (!c)
        return;
    *conf = NULL;
    for (size_t i = 0; i < conf_groups_n; i++) {
        const struct conf_group *group = &conf_groups[i];
        char *at = (char *)c + group->offset;
        if (!group->repeated) {
            free_texts(group, at);
            continue;
        }
        const size_t n = *(size_t *)((char *)c + group->count_offset);
        for (size_t k = 0; k < n; k++)
            free_texts(group, *(char **)at + k * group->size);
        g_free(*(void **)at);
    }
    g_free(c->listener_settings);
    g_free(c->pairs);
    g_free(c->path);
    g_free(c);
}

int conf_parse(const char *name, const char *text, size_t n, struct conf **out, struct error *err)
{
    struct conf *conf = conf_new();
    GKeyFile *keys = g_key_file_new();
    GError *error = NULL;
    gsize groups_n = 0;
    char **groups = NULL;
    int rc = BASE_OK;
    *out = NULL;
    conf->path = g_strdup(name);
    if (n > CONF_FILE_BYTES_MAX)
        rc = error_set(err, BASE_ERR_USAGE, 0, "%s: is larger than %d bytes", name, CONF_FILE_BYTES_MAX);
    else if (n > 0 && memchr(text, 0, n))
        rc = error_set(err, BASE_ERR_USAGE, 0, "%s: holds a NUL", name);
    else if (n > 0 && !g_key_file_load_from_data(keys, text, n, G_KEY_FILE_NONE, &error))
        rc = error_set(err, BASE_ERR_USAGE, 0, "%s: %s", name, error->message);
    if (rc == BASE_OK)
        rc = check_once(name, text, n, err);
    if (rc == BASE_OK)
        groups = g_key_file_get_groups(keys, &groups_n);
    if (groups_n > CONF_GROUPS_MAX)
        rc = error_set(err, BASE_ERR_USAGE, 0, "%s: has more than %d groups", name, CONF_GROUPS_MAX);
    for (gsize i = 0; i < groups_n && rc == BASE_OK; i++)
        rc = take_group(conf, keys, groups[i], err);
    if (rc == BASE_OK)
        rc = check_all(conf, err);
    g_clear_error(&error);
    g_strfreev(groups);
    g_key_file_free(keys);
    if (rc == BASE_OK)
        *out = conf;
    else
        conf_free(&conf);
    return rc;
}

int conf_read(const char *path, struct conf **out, struct error *err)
{
    char *text = NULL;
    gsize n = 0;
    GError *error = NULL;
    *out = NULL;
    if (!g_file_get_contents(path, &text, &n, &error)) {
        const int rc = error_set(err, BASE_ERR_IO, 0, "%s", error->message);
        g_clear_error(&error);
        return rc;
    }
    const int rc = conf_parse(path, text, n, out, err);
    g_free(text);
    return rc;
}

/* ---- for the server -------------------------------------------------------------------------------------- */

static size_t add_pairs(const struct conf *conf, const struct conf_listener *l, struct imap_certificate *pairs)
{
    char **names = words_of(l->certificates);
    size_t n = 0;
    for (guint i = 0; names[i]; i++) {
        const struct conf_certificate *c = find_certificate(conf, names[i]);
        pairs[n++] = (struct imap_certificate){.certificate = c->certificate, .key = c->key};
    }
    g_strfreev(names);
    return n;
}

static size_t count_pairs(const struct conf *conf)
{
    size_t n = 0;
    for (size_t i = 0; i < conf->listeners_n; i++) {
        char **names = words_of(conf->listeners[i].certificates);
        n += g_strv_length(names);
        g_strfreev(names);
    }
    return n;
}

static void listener_settings(struct conf *conf)
{
    size_t pairs = 0;
    g_free(conf->pairs);
    g_free(conf->listener_settings);
    conf->pairs = g_new0(struct imap_certificate, count_pairs(conf) + 1);
    conf->listener_settings = g_new0(struct imap_listener_settings, conf->listeners_n + 1);
    for (size_t i = 0; i < conf->listeners_n; i++) {
        const struct conf_listener *l = &conf->listeners[i];
        const size_t n = add_pairs(conf, l, conf->pairs + pairs);
        conf->listener_settings[i] = (struct imap_listener_settings){
            .name = l->name,
            .address = l->address,
            .mode = (enum imap_listen_mode)l->mode,
            .mechanisms = l->mechanisms,
            .no_login = !l->passwords,
            .certificates = conf->pairs + pairs,
            .certificates_n = n,
            .client_ca = l->client_ca,
            .client_certificates = (enum imap_client_certificates)l->client_certificates,
            .tls_min = l->tls_min ? "1.3" : "1.2",
            .tls_ciphers = l->tls_ciphers,
            .clear_networks = l->clear_networks,
            .tls_networks = l->tls_networks,
            .max_connections = (uint32_t)l->max_connections,
            .no_compress = !l->compress,
        };
        pairs += n;
    }
}

void conf_settings(struct conf *conf, struct imap_server_settings *out)
{
    const struct conf_limits *l = &conf->limits;
    listener_settings(conf);
    out->listeners = conf->listener_settings;
    out->listeners_n = conf->listeners_n;
    out->user = conf->server.user;
    out->group = conf->server.group;
    out->loops = (unsigned)conf->server.loops;
    out->threads = (unsigned)conf->server.threads;
    out->server = (struct imap_server_limits){
        .connections = (uint32_t)l->connections,
        .connections_per_address = (uint32_t)l->connections_per_address,
        .connections_per_account = (uint32_t)l->connections_per_account,
        .handshake_ms = (uint32_t)l->handshake * 1000,
        .commands_per_s = (uint32_t)l->commands_per_second,
        .bytes_per_s = l->bytes_per_second,
        .burst_s = (uint32_t)l->burst,
        .ticket_key_s = (uint32_t)l->ticket_key,
    };
    out->limits = (struct imap_limits){
        .line_bytes = (uint32_t)l->line_bytes,
        .literal_bytes = (uint32_t)l->literal_bytes,
        .command_bytes = (uint32_t)l->command_bytes,
        .nesting = (uint32_t)l->nesting,
        .pipeline_bytes = (uint32_t)l->pipeline_bytes,
        .output_high_bytes = (uint32_t)l->output_bytes,
        .login_ms = (uint32_t)l->login * 1000,
        .idle_ms = (uint32_t)l->idle * 1000,
        .write_ms = (uint32_t)l->write * 1000,
        .bad_commands = (uint32_t)l->bad_commands,
        .append_bytes = (uint32_t)l->append_bytes,
    };
}

void conf_login_settings(const struct conf *conf, struct mdsq_login_settings *out)
{
    *out = (struct mdsq_login_settings){
        .remember_s = conf->login.remember ? (uint32_t)conf->login.remember : UINT32_MAX,
        .delay_max_s = (uint32_t)conf->login.max_delay,
        .hashes_max = (uint32_t)conf->login.max_hashes,
        .domains = conf->login.domains,
    };
}

/* Patterns with * and ?, separated by commas, in any case; blanks belong to them ("Microsoft Outlook*"). */
static bool matches(const char *patterns, const char *text)
{
    if (!text)
        return false;
    char **list = g_strsplit(patterns, ",", -1), *lower = g_utf8_strdown(text, -1);
    bool found = false;
    for (guint i = 0; list[i] && !found; i++) {
        char *pattern = g_utf8_strdown(g_strstrip(list[i]), -1);
        found = pattern[0] && g_pattern_match_simple(pattern, lower);
        g_free(pattern);
    }
    g_free(lower);
    g_strfreev(list);
    return found;
}

char *conf_mask_of(const struct conf *conf, const char *account, const char *address, const char *client)
{
    GString *hide = g_string_new(NULL);
    for (size_t i = 0; i < conf->masks_n; i++) {
        const struct conf_mask *m = &conf->masks[i];
        if ((m->accounts && !matches(m->accounts, account)) || (m->clients && !matches(m->clients, client)) ||
            (m->networks && !(address && imap_networks_match(m->networks, address))))
            continue;
        g_string_append_printf(hide, "%s%s", hide->len ? " " : "", m->hide);
    }
    char *out = hide->len ? strdup(hide->str) : NULL;
    g_string_free(hide, TRUE);
    return out;
}
