/* Dates as IMAP writes and compares them, from seconds and a zone; no libc time zones are asked. */
#include "query_private.h"

#define DAY_S 86400
#define MIN_S INT64_C(-62167219200) /* 0000-01-01 00:00:00 */
#define MAX_S INT64_C(253402300799) /* 9999-12-31 23:59:59 */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static int64_t clamp_time(int64_t s)
{
    return s < MIN_S ? MIN_S : s > MAX_S ? MAX_S : s;
}

int64_t query_date_day(int64_t unix_s, int16_t zone_minutes)
{
    return floor_div(clamp_time(unix_s) + (int64_t)zone_minutes * 60, DAY_S);
}

/* Proleptic Gregorian calendar in eras of 400 years that begin in March, so that the leap day comes last. */
static void civil_of_day(int64_t day, int *year, unsigned *month, unsigned *mday)
{
    const int64_t shifted = day + 719468;
    const int64_t era = floor_div(shifted, 146097);
    const unsigned of_era = (unsigned)(shifted - era * 146097);
    const unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    const unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const unsigned march_month = (5 * of_year + 2) / 153;

    *mday = of_year - (153 * march_month + 2) / 5 + 1;
    *month = march_month < 10 ? march_month + 3 : march_month - 9;
    *year = (int)(era * 400 + year_of_era + (*month <= 2));
}

static char *put_digits(char *at, unsigned value, unsigned n)
{
    for (unsigned i = n; i-- > 0; value /= 10)
        at[i] = (char)('0' + value % 10);
    return at + n;
}

void query_date_format(int64_t unix_s, int16_t zone_minutes, char out[27])
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    /* RFC 3501's zone is a sign and four digits. */
    const int zone = zone_minutes < -5999 ? -5999 : zone_minutes > 5999 ? 5999 : zone_minutes;
    const int64_t local = clamp_time(clamp_time(unix_s) + (int64_t)zone * 60);
    const int64_t day = floor_div(local, DAY_S);
    const unsigned second = (unsigned)(local - day * DAY_S);
    const unsigned offset = (unsigned)(zone < 0 ? -zone : zone);
    unsigned month, mday;
    int year;
    char *at = out;

    civil_of_day(day, &year, &month, &mday);
    /* date-day-fixed: a blank before one digit */
    *at++ = mday < 10 ? ' ' : (char)('0' + mday / 10);
    *at++ = (char)('0' + mday % 10);
    *at++ = '-';
    memcpy(at, months + (size_t)(month - 1) * 3, 3);
    at += 3;
    *at++ = '-';
    at = put_digits(at, (unsigned)year, 4);
    *at++ = ' ';
    at = put_digits(at, second / 3600, 2);
    *at++ = ':';
    at = put_digits(at, second / 60 % 60, 2);
    *at++ = ':';
    at = put_digits(at, second % 60, 2);
    *at++ = ' ';
    *at++ = zone < 0 ? '-' : '+';
    at = put_digits(at, offset / 60, 2);
    at = put_digits(at, offset % 60, 2);
    *at = 0;
}
