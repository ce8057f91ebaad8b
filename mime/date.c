/*
 * date: RFC 5322 dates.
 *
 * The form that nearly all mail has is read here in 50 ns; everything else goes
 * to GMime's tolerant parser (1 us), with at most DATE_MAX bytes.
 *
 *   [day-name ","] day month year hour ":" minute [":" second] zone
 *
 * Years of two or three digits follow RFC 5322 4.3: 00-49 are 20xx, 50-99 and
 * three digits count from 1900.
 */
#include "mime_private.h"

#include <gmime/gmime.h>

#define DATE_MAX 200

struct date_cursor {
    const uint8_t *p, *end;
};

static void skip_blanks(struct date_cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\r' || *c->p == '\n'))
        c->p++;
}

/* Number of `min` to `max` digits, or -1. */
static int number(struct date_cursor *c, int min, int max)
{
    int n = 0, v = 0;
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9' && n < max) {
        v = v * 10 + (*c->p++ - '0');
        n++;
    }
    const bool more = c->p < c->end && *c->p >= '0' && *c->p <= '9';
    return n < min || more ? -1 : v;
}

static bool literal_char(struct date_cursor *c, uint8_t want)
{
    if (c->p == c->end || *c->p != want)
        return false;
    c->p++;
    return true;
}

/* Index in a table of three-letter names, or -1. */
static int name3(struct date_cursor *c, const char *names)
{
    if (c->end - c->p < 3)
        return -1;
    for (int i = 0; names[i * 3]; i++) {
        if (bytes_equal_nocase(bytes_of(c->p, 3), bytes_of(names + (size_t)i * 3, 3))) {
            c->p += 3;
            return i;
        }
    }
    return -1;
}

struct zone_name {
    const char *name;
    int16_t minutes;
};

static const struct zone_name zones[] = {
    {"GMT", 0},    {"UTC", 0},    {"UT", 0},     {"Z", 0},      {"EST", -300}, {"EDT", -240},
    {"CST", -360}, {"CDT", -300}, {"MST", -420}, {"MDT", -360}, {"PST", -480}, {"PDT", -420},
};

static bool zone_read(struct date_cursor *c, int16_t *minutes)
{
    if (c->p < c->end && (*c->p == '+' || *c->p == '-')) {
        const bool west = *c->p++ == '-';
        const int v = number(c, 4, 4);
        if (v < 0 || v % 100 > 59 || v / 100 > 23)
            return false;
        *minutes = (int16_t)((v / 100 * 60 + v % 100) * (west ? -1 : 1));
        return true;
    }
    size_t n = 0;
    while (c->p + n < c->end && ((c->p[n] | 0x20) >= 'a' && (c->p[n] | 0x20) <= 'z'))
        n++;
    for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
        if (bytes_equal_nocase(bytes_of(c->p, n), bytes_str(zones[i].name))) {
            c->p += n;
            *minutes = zones[i].minutes;
            return true;
        }
    }
    return false;
}

/* Days from 1970-01-01 (proleptic Gregorian). */
static int64_t days_of(int64_t year, int month, int day)
{
    const int64_t y = year - (month <= 2);
    const int64_t era = y / 400;
    const int64_t of_era = y - era * 400;
    const int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int month_days(int year, int month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

static bool date_read(struct bytes value, int64_t *seconds, int16_t *zone)
{
    struct date_cursor c = {value.p, value.p + value.n};
    skip_blanks(&c);
    if (name3(&c, "MonTueWedThuFriSatSun") >= 0) {
        if (!literal_char(&c, ','))
            return false;
        skip_blanks(&c);
    }
    const int day = number(&c, 1, 2);
    skip_blanks(&c);
    const int month = name3(&c, "JanFebMarAprMayJunJulAugSepOctNovDec") + 1;
    skip_blanks(&c);
    const uint8_t *const year_at = c.p;
    int year = number(&c, 2, 4);
    const ptrdiff_t digits = c.p - year_at;
    if (digits == 2)
        year += year < 50 ? 2000 : 1900;
    else if (digits == 3)
        year += 1900;
    skip_blanks(&c);
    const int hour = number(&c, 1, 2);
    if (!literal_char(&c, ':'))
        return false;
    const int minute = number(&c, 2, 2);
    const int second = literal_char(&c, ':') ? number(&c, 2, 2) : 0;
    skip_blanks(&c);
    int16_t minutes = 0;
    if (day < 1 || month < 1 || year < 1 || day > month_days(year, month) || hour < 0 || hour > 23 || minute < 0 ||
        minute > 59 || second < 0 || second > 60 || !zone_read(&c, &minutes))
        return false;
    skip_blanks(&c);
    if (c.p < c.end && *c.p != '(')
        return false;
    *seconds = ((days_of(year, month, day) * 24 + hour) * 60 + minute - minutes) * 60 + second;
    *zone = minutes;
    return true;
}

/* At most DATE_MAX bytes. */
static bool gmime_read(struct bytes v, int64_t *seconds, int16_t *zone_minutes)
{
    char text[DATE_MAX + 1];
    for (size_t i = 0; i < v.n; i++)
        text[i] = v.p[i] >= 0x80 || v.p[i] < ' ' ? ' ' : (char)v.p[i];
    text[v.n] = 0;
    for (size_t i = v.n; i > 0 && g_ascii_isalpha(text[i - 1]); i--) /* it knows "EST", not "est" */
        text[i - 1] = g_ascii_toupper(text[i - 1]);
    GDateTime *date = g_mime_utils_header_decode_date(text);
    if (!date)
        return false;
    *seconds = g_date_time_to_unix(date);
    *zone_minutes = (int16_t)(g_date_time_get_utc_offset(date) / G_TIME_SPAN_MINUTE);
    const bool ok = g_date_time_get_year(date) > 0;
    g_date_time_unref(date);
    return ok;
}

bool mime_date_parse(struct bytes value, int64_t *seconds, int16_t *zone_minutes)
{
    const struct bytes v = mime_trim(value);
    if (v.n == 0 || v.n > DATE_MAX)
        return false;
    return date_read(v, seconds, zone_minutes) || gmime_read(v, seconds, zone_minutes);
}

/*
 * GMime first, without a comment behind the zone ("-0400(EDT)" it takes for one word). It has no leap seconds and no
 * years before 1969, and takes the years 50 to 69, and 0008, for later ones.
 */
bool mime_gmime_date(struct bytes value, int64_t *seconds, int16_t *zone_minutes)
{
    const struct bytes v = mime_trim(value);
    if (v.n == 0 || v.n > DATE_MAX)
        return false;
    if (!date_read(v, seconds, zone_minutes))
        return gmime_read(v, seconds, zone_minutes);
    const uint8_t *remark = memchr(v.p, '(', v.n);
    int64_t s;
    int16_t zone;
    if (*seconds > days_of(1970, 1, 2) * 86400 &&
        gmime_read(mime_trim(bytes_slice(v, 0, remark ? (size_t)(remark - v.p) : v.n)), &s, &zone)) {
        *seconds = s;
        *zone_minutes = zone;
    }
    return true;
}
