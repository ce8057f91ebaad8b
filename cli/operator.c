/* operator: see operator.h. */
#include "operator.h"

#include <glib.h>
#include <unistd.h>

enum { FIELDS_MAX = 8 };

int operator_begin(const char *config, char **store, struct operator *out, struct error *err)
{
    *out = (struct operator){0};
    if (!config)
        return BASE_OK;
    int rc = conf_read(config, &out->conf, err);
    if (rc == BASE_OK) {
        const struct conf_log *said = &out->conf->log;
        const struct conf_log audit = {.format = said->format, .level = LOG_LEVEL_ERROR, .audit = said->audit};
        rc = event_log_new(&audit, &out->log, err);
    }
    if (rc == BASE_OK && !*store)
        *store = g_strdup(out->conf->store.path);
    if (rc < 0)
        operator_end(out);
    return rc;
}

int operator_search(const char *config, char **store, char **trace_fields, bool *literal_out, struct error *err)
{
    struct conf *conf = NULL;
    if (!config)
        return BASE_OK;
    const int rc = conf_read(config, &conf, err);
    if (rc < 0)
        return rc;
    if (!*store)
        *store = g_strdup(conf->store.path);
    if (!*trace_fields)
        *trace_fields = g_strdup(conf->search.trace_fields);
    if (literal_out)
        *literal_out = conf->search.text_headers == CONF_TEXT_ALL;
    conf_free(&conf);
    return BASE_OK;
}

void operator_audit(const struct operator *op, const char *what, const char *archive, const struct event_field *fields, size_t n)
{
    struct event_field all[FIELDS_MAX] = {EVENT_TEXT("operator", g_get_user_name()), EVENT_NUMBER("uid", getuid()), EVENT_TEXT("archive", archive)};
    size_t have = 3;
    if (!op->log)
        return;
    for (size_t i = 0; i < n && have < FIELDS_MAX; i++)
        all[have++] = fields[i];
    event_log_audit(op->log, what, all, have);
}

void operator_end(struct operator *op)
{
    event_log_free(&op->log);
    conf_free(&op->conf);
}
