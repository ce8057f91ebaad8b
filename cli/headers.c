/* --headers: which fields a store keeps. */
#include "headers.h"

#include "cli.h"

#include <string.h>

int headers_parse(const char *text, char ***list_out, struct mime_settings *m)
{
    if (!text)
        return -1;
    if (strcmp(text, "all") == 0) {
        m->all_headers = true;
        return -1;
    }
    if (strcmp(text, "default") == 0) {
        m->headers = mime_default_headers;
        return -1;
    }
    char *lower = g_ascii_strdown(text, -1);
    *list_out = g_strsplit(lower, ",", -1);
    g_free(lower);
    for (char **name = *list_out; *name; name++) {
        g_strstrip(*name);
        bool good = **name;
        for (const char *c = *name; *c; c++)
            good = good && *c > ' ' && *c < 127 && *c != ':';
        if (!good)
            return cli_usage("--headers: '%s' is not the name of a header field", *name);
    }
    m->headers = (const char *const *)*list_out;
    return -1;
}
