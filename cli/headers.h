/* headers: the words of --headers. Shared by build and rebuild. */
#ifndef CLI_HEADERS_H
#define CLI_HEADERS_H

#include "mime/mime.h"

/*
 * "default", "all" or "subject,x-label" into m; NULL leaves it. *list_out is what m points into afterwards: owned by the caller
 * (g_strfreev), NULL if there is none. -1, or CLI_USAGE after a message.
 */
int headers_parse(const char *text, char ***list_out, struct mime_settings *m);

#endif
