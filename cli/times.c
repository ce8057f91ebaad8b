/* Moments on the command line. */
#include "times.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool ago_parse(const char *text, int64_t *out)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 7 * 86400}};
    char *end;
    const long n = strtol(text, &end, 10);

    if (end == text || n < 0 || n > 1000000 || !*end || end[1])
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (*end == units[i].unit) {
            *out = (int64_t)time(NULL) - n * units[i].seconds;
            return true;
        }
    }
    return false;
}

bool times_parse(const char *text, int64_t *out)
{
    static const char *const forms[] = {"%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"};

    if (ago_parse(text, out))
        return true;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct tm tm = {.tm_isdst = -1};
        const char *end = strptime(text, forms[i], &tm);

        if (!end || (*end && strcmp(end, "Z") != 0))
            continue;
        *out = *end ? timegm(&tm) : mktime(&tm);
        return true;
    }
    return false;
}

const char *times_text(int64_t when, char out[32])
{
    const time_t t = (time_t)when;
    struct tm tm;

    if (!localtime_r(&t, &tm) || !strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm))
        (void)snprintf(out, 32, "%lld", (long long)when);
    return out;
}
