/* certificate: see certificate.h. */
#include "certificate.h"

#include <glib.h>

int certificate_make(const char *dir, struct error *err)
{
    char *argv[] = {(char[]){"openssl"},
                    (char[]){"req"},
                    (char[]){"-x509"},
                    (char[]){"-newkey"},
                    (char[]){"ec"},
                    (char[]){"-pkeyopt"},
                    (char[]){"ec_paramgen_curve:prime256v1"},
                    (char[]){"-nodes"},
                    (char[]){"-keyout"},
                    (char[]){CERTIFICATE_KEY},
                    (char[]){"-out"},
                    (char[]){CERTIFICATE_FILE},
                    (char[]){"-days"},
                    (char[]){"2"},
                    (char[]){"-subj"},
                    (char[]){"/CN=localhost"},
                    NULL};
    char *said = NULL;
    GError *why = NULL;
    gint status = 0;
    int rc = 0;
    if (!g_spawn_sync(dir, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &said,
                      &status, &why))
        rc = error_set(err, BASE_ERR_IO, 0, "no certificate: %s", why->message);
    else if (status != 0)
        rc = error_set(err, BASE_ERR_IO, 0, "no certificate: openssl req: %s", said);
    g_clear_error(&why);
    g_free(said);
    return rc;
}
