/*
 * Any text as mds.conf: it is read or refused with one line of reason, and what was read can be used: settings for a server and masks are made of
 * it without touching a file. Read again from the same text it is the same.
 */
#include "cli/conf.h"

#include <mds/query.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(struct conf *conf)
{
    struct imap_server_settings settings = {0};
    struct mdsq_login_settings login;

    conf_settings(conf, &settings);
    conf_login_settings(conf, &login);
    ASSERT(settings.listeners_n == conf->listeners_n);
    for (size_t i = 0; i < settings.listeners_n; i++) {
        ASSERT(settings.listeners[i].address);
        for (size_t k = 0; k < settings.listeners[i].certificates_n; k++)
            ASSERT(settings.listeners[i].certificates[k].certificate);
    }
    ASSERT(settings.limits.line_bytes >= 1024 && settings.server.connections > 0 && login.delay_max_s > 0);
    free(conf_mask_of(conf, "ann", "192.0.2.1", "Microsoft Outlook 16"));
    free(conf_mask_of(conf, NULL, NULL, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf *conf = NULL, *again = NULL;
    struct error err = {0}, same = {0};
    const int rc = conf_parse("mds.conf", (const char *)data, size, &conf, &err);

    ASSERT((rc == BASE_OK) == (conf != NULL));
    ASSERT(conf_parse("mds.conf", (const char *)data, size, &again, &same) == rc);
    if (conf) {
        use(conf);
        use(conf); /* what the first made is given back */
        ASSERT(conf->listeners_n == again->listeners_n && conf->masks_n == again->masks_n);
    } else {
        ASSERT(rc == BASE_ERR_USAGE && err.text[0] && strcmp(err.text, same.text) == 0);
    }
    conf_free(&conf);
    conf_free(&again);
    return 0;
}
