/*
 * The separator line of an mbox.
 *
 *     From <sender, may hold blanks> [weekday] month day time [zone] year [zone] [remote from host]
 *     From <sender> [weekday,] day month year time [zone]
 *
 * Bodies hold lines that begin with "From " and were never quoted, so the date is
 * asked for in full (month, day, time, year) and must end the line; inside it we are
 * lenient: seconds, zone and weekday may lack, years have two, three (Y2K: 102) or four
 * digits. Without a zone the time is UTC: the same bytes give the same date on every machine.
 */
#include "vault_private.h"

#include <glib.h>

#define TOKENS_MAX 64
#define DATE_TOKENS_MAX 9

static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};
static const char *const weekdays[] = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};

static const struct {
    const char *name;
    int minutes;
} zones[] = {
    {"UT", 0},     {"UTC", 0},    {"GMT", 0},    {"Z", 0},     {"WET", 0},    {"EST", -300}, {"EDT", -240},
    {"CST", -360}, {"CDT", -300}, {"MST", -420}, {"MDT", -360}, {"PST", -480}, {"PDT", -420}, {"MET", 60},
    {"MEZ", 60},   {"CET", 60},   {"BST", 60},   {"MEST", 120}, {"MESZ", 120}, {"CEST", 120}, {"EET", 120},
    {"EEST", 180}, {"MSK", 180},  {"JST", 540},  {"KST", 540},  {"DST", 60},
};

struct when {
    int year, month, day, hour, minute, second;
    int zone_minutes;
    bool has_year, has_time;
};

/* Three letters or the whole word, one trailing comma allowed. Index, or -1. */
static int word_index(struct bytes t, const char *const *names, size_t n)
{
    if (t.n && t.p[t.n - 1] == ',')
        t.n--;
    for (size_t i = 0; i < n; i++) {
        if (bytes_equal_nocase(t, bytes_of(names[i], 3)) || bytes_equal_nocase(t, bytes_str(names[i])))
            return (int)i;
    }
    return -1;
}

/* All digits, [min_n, max_n] of them. -1 otherwise. */
static int digits(struct bytes t, size_t min_n, size_t max_n)
{
    int v = 0;

    if (t.n < min_n || t.n > max_n)
        return -1;
    for (size_t i = 0; i < t.n; i++) {
        if (!g_ascii_isdigit(t.p[i]))
            return -1;
        v = v * 10 + (t.p[i] - '0');
    }
    return v;
}

static bool day_parse(struct bytes t, struct when *w)
{
    if (t.n && t.p[t.n - 1] == ',')
        t.n--;
    w->day = digits(t, 1, 2);
    return w->day >= 1 && w->day <= 31;
}

static bool time_parse(struct bytes t, struct when *w)
{
    const uint8_t *colon = t.n ? memchr(t.p, ':', t.n) : NULL;

    if (!colon)
        return false;
    const size_t at = (size_t)(colon - t.p);

    w->hour = digits(bytes_slice(t, 0, at), 1, 2);
    w->minute = digits(bytes_slice(t, at + 1, 2), 2, 2);
    w->second = 0;
    if (t.n > at + 3) {
        if (t.p[at + 3] != ':')
            return false;
        w->second = digits(bytes_slice(t, at + 4, SIZE_MAX), 2, 2);
    }
    return w->hour >= 0 && w->hour < 24 && w->minute >= 0 && w->minute < 60 && w->second >= 0 && w->second <= 60;
}

static bool year_parse(struct bytes t, struct when *w)
{
    const int v = digits(t, 2, 4);

    if (v < 0 || (t.n == 3 && (v < 100 || v > 199)) || (t.n == 4 && (v < 1900 || v > 9998)))
        return false;
    w->year = t.n == 4 ? v : t.n == 3 ? 1900 + v : v < 70 ? 2000 + v : 1900 + v;
    return true;
}

/* "+0100", "-05:00", "EST", "(CEST)": anything of that shape; an unknown name counts as UTC. */
static bool zone_parse(struct bytes t, struct when *w)
{
    if (t.n >= 2 && t.p[0] == '(' && t.p[t.n - 1] == ')')
        return true; /* a comment repeats what the offset said */
    if (t.n >= 5 && (t.p[0] == '+' || t.p[0] == '-')) {
        const int hours = digits(bytes_slice(t, 1, 2), 2, 2);
        const int minutes = digits(bytes_slice(t, t.n == 6 && t.p[3] == ':' ? 4 : 3, SIZE_MAX), 2, 2);

        if (hours < 0 || minutes < 0 || hours > 24 || minutes > 59)
            return false;
        w->zone_minutes = (hours * 60 + minutes) * (t.p[0] == '-' ? -1 : 1);
        return true;
    }
    if (t.n == 0 || t.n > 5)
        return false;
    for (size_t i = 0; i < t.n; i++) {
        if (!g_ascii_isupper(t.p[i]))
            return false;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(zones); i++) {
        if (bytes_equal(t, bytes_str(zones[i].name)))
            w->zone_minutes += zones[i].minutes; /* "MET DST" is two words */
    }
    return true;
}

/* Days since 1970-01-01 of a proleptic Gregorian date; a day past the month's end runs into the next. */
static int64_t days_of(int year, int month, int day)
{
    const int64_t y = month <= 2 ? year - 1 : year; /* years begin in March */
    const int64_t era = y / 400;                    /* years are positive */
    const int64_t of_era = y - era * 400;
    const int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* Is the whole of t[0..n) a date? */
static bool date_parse(const struct bytes *t, size_t n, int64_t *out)
{
    struct when w = {0};
    size_t i = 0;

    if (i < n && word_index(t[i], weekdays, G_N_ELEMENTS(weekdays)) >= 0)
        i++;
    if (n - i < 4)
        return false;
    int month = word_index(t[i], months, G_N_ELEMENTS(months));

    if (month >= 0) {
        if (!day_parse(t[i + 1], &w))
            return false;
    } else {
        month = word_index(t[i + 1], months, G_N_ELEMENTS(months));
        if (month < 0 || !day_parse(t[i], &w))
            return false;
    }
    w.month = month + 1;
    for (i += 2; i < n; i++) {
        if (!w.has_time && time_parse(t[i], &w))
            w.has_time = true;
        else if (!w.has_year && year_parse(t[i], &w))
            w.has_year = true;
        else if (!w.has_time || !zone_parse(t[i], &w))
            return false;
    }
    if (!w.has_time || !w.has_year)
        return false;
    *out = days_of(w.year, w.month, w.day) * 86400 + w.hour * 3600 + w.minute * 60 + w.second - (int64_t)w.zone_minutes * 60;
    return true;
}

bool vault_from_line_parse(struct bytes line, int64_t *date_out)
{
    struct bytes t[TOKENS_MAX];
    size_t n = 0, at = 5;

    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    if (line.n < 5 || line.n > VAULT_FROM_LINE_MAX || memcmp(line.p, "From ", 5) != 0)
        return false;
    while (at < line.n) {
        size_t end = at;

        while (end < line.n && line.p[end] != ' ' && line.p[end] != '\t')
            end++;
        if (end > at) {
            if (n == TOKENS_MAX)
                return false;
            t[n++] = bytes_slice(line, at, end - at);
        }
        at = end + 1;
    }
    for (size_t i = 0; i + 2 < n; i++) {
        if (bytes_equal_nocase(t[i], BYTES_LIT("remote")) && bytes_equal_nocase(t[i + 1], BYTES_LIT("from"))) {
            n = i;
            break;
        }
    }
    /* The date is what ends the line; the longest tail that parses has the weekday with it. */
    for (size_t i = n > DATE_TOKENS_MAX ? n - DATE_TOKENS_MAX : 0; i < n; i++) {
        if (date_parse(t + i, n - i, date_out))
            return true;
    }
    return false;
}
