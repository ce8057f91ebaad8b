/*
 * cursor: see cursor.h. The ABNF of RFC 3501 section 9 stands above each function.
 */
#include "wire/cursor.h"

#include "wire/utf7.h"

bool imap_cursor_fail(struct imap_cursor *c, const char *why)
{
    if (!c->why)
        c->why = why;
    return false;
}

/*
 * ATOM-CHAR = <any CHAR except atom-specials>
 * atom-specials = "(" / ")" / "{" / SP / CTL / list-wildcards / quoted-specials / resp-specials
 */
bool imap_is_atom_char(uint8_t b)
{
    return b > 0x20 && b < 0x7f && !strchr("(){%*\"\\]", b);
}

/* ASTRING-CHAR = ATOM-CHAR / resp-specials */
bool imap_is_astring_char(uint8_t b)
{
    return imap_is_atom_char(b) || b == ']';
}

static bool is_tag_char(uint8_t b)
{
    return imap_is_astring_char(b) && b != '+';
}

/* list-char = ATOM-CHAR / list-wildcards / resp-specials */
static bool is_list_char(uint8_t b)
{
    return imap_is_astring_char(b) || b == '%' || b == '*';
}

static bool is_digit(uint8_t b)
{
    return b >= '0' && b <= '9';
}

static bool is_set_char(uint8_t b)
{
    return is_digit(b) || b == '*' || b == ':' || b == ',';
}

static struct bytes span(const struct imap_cursor *c, bool (*is)(uint8_t))
{
    const uint8_t *q = c->p;
    while (q < c->end && is(*q))
        q++;
    return bytes_of(c->p, (size_t)(q - c->p));
}

static bool take_span(struct imap_cursor *c, bool (*is)(uint8_t), const char *why, struct bytes *out)
{
    struct bytes v = span(c, is);
    if (v.n == 0)
        return imap_cursor_fail(c, why);
    c->p += v.n;
    *out = v;
    return true;
}

bool imap_at_end(const struct imap_cursor *c)
{
    return c->p == c->end;
}

bool imap_at_byte(const struct imap_cursor *c, char byte)
{
    return c->p < c->end && *c->p == (uint8_t)byte;
}

bool imap_at_word(const struct imap_cursor *c, const char *word)
{
    return bytes_equal_nocase(span(c, imap_is_atom_char), bytes_str(word));
}

bool imap_take_end(struct imap_cursor *c)
{
    return imap_at_end(c) || imap_cursor_fail(c, "unexpected text after the arguments");
}

bool imap_take_byte(struct imap_cursor *c, char byte)
{
    if (!imap_at_byte(c, byte))
        return imap_cursor_fail(c, byte == ')'   ? "missing )"
                                   : byte == '(' ? "missing ("
                                                 : "unexpected character");
    c->p++;
    return true;
}

bool imap_take_sp(struct imap_cursor *c)
{
    if (!imap_at_byte(c, ' '))
        return imap_cursor_fail(c, imap_at_end(c) ? "missing argument" : "missing space");
    c->p++;
    return true;
}

bool imap_take_word(struct imap_cursor *c, const char *word)
{
    if (!imap_at_word(c, word))
        return imap_cursor_fail(c, "unexpected word");
    c->p += strlen(word);
    return true;
}

/* tag = 1*<any ASTRING-CHAR except "+"> */
bool imap_take_tag(struct imap_cursor *c, struct bytes *out)
{
    return take_span(c, is_tag_char, "missing tag", out);
}

bool imap_take_atom(struct imap_cursor *c, struct bytes *out)
{
    return take_span(c, imap_is_atom_char, "expected an atom", out);
}

/*
 * quoted = DQUOTE *QUOTED-CHAR DQUOTE
 * QUOTED-CHAR = <any TEXT-CHAR except quoted-specials> / "\" quoted-specials
 */
static bool take_quoted(struct imap_cursor *c, struct bytes *out)
{
    const uint8_t *q = c->p + 1;
    size_t escapes = 0;
    while (q < c->end && *q != '"') {
        if (*q == '\\') {
            if (++q == c->end || (*q != '"' && *q != '\\'))
                return imap_cursor_fail(c, "bad escape in a quoted string");
            escapes++;
        } else if (*q == 0 || *q == '\r' || *q == '\n') {
            return imap_cursor_fail(c, "NUL or line end in a quoted string");
        }
        q++;
    }
    if (q == c->end)
        return imap_cursor_fail(c, "quoted string without an end");
    struct bytes raw = bytes_of(c->p + 1, (size_t)(q - c->p - 1));
    c->p = q + 1;
    *out = raw;
    if (escapes == 0)
        return true;
    uint8_t *copy = arena_alloc(c->arena, raw.n);
    if (!copy)
        return imap_cursor_fail(c, "command too large");
    size_t n = 0;
    for (size_t i = 0; i < raw.n; i++) {
        if (raw.p[i] == '\\')
            i++;
        copy[n++] = raw.p[i];
    }
    *out = bytes_of(copy, n);
    return true;
}

/* literal = "{" number ["+"] "}" CRLF *CHAR8; the framer saw to it that the bytes are there. */
bool imap_take_literal(struct imap_cursor *c, struct bytes *out)
{
    if (!imap_at_byte(c, '{'))
        return imap_cursor_fail(c, "expected a literal");
    c->p++;
    uint32_t n = 0;
    if (!imap_take_number(c, &n))
        return false;
    if (imap_at_byte(c, '+'))
        c->p++;
    if (c->end - c->p < 3 || c->p[0] != '}' || c->p[1] != '\r' || c->p[2] != '\n')
        return imap_cursor_fail(c, "bad literal");
    c->p += 3;
    if ((size_t)(c->end - c->p) < n)
        return imap_cursor_fail(c, "bad literal");
    if (n && memchr(c->p, 0, n))
        return imap_cursor_fail(c, "NUL in a literal");
    *out = bytes_of(c->p, n);
    c->p += n;
    return true;
}

bool imap_take_string(struct imap_cursor *c, struct bytes *out)
{
    if (imap_at_byte(c, '"'))
        return take_quoted(c, out);
    if (imap_at_byte(c, '{'))
        return imap_take_literal(c, out);
    return imap_cursor_fail(c, "expected a string");
}

/* astring = 1*ASTRING-CHAR / string */
bool imap_take_astring(struct imap_cursor *c, struct bytes *out)
{
    if (imap_at_byte(c, '"') || imap_at_byte(c, '{'))
        return imap_take_string(c, out);
    return take_span(c, imap_is_astring_char, "expected a string or an atom", out);
}

bool imap_take_nstring(struct imap_cursor *c, struct bytes *out, bool *nil_out)
{
    *nil_out = imap_at_word(c, "NIL");
    if (!*nil_out)
        return imap_take_string(c, out);
    *out = bytes_of(NULL, 0);
    return imap_take_word(c, "NIL");
}

/* list-mailbox = 1*list-char / string */
bool imap_take_list_mailbox(struct imap_cursor *c, struct bytes *out)
{
    if (imap_at_byte(c, '"') || imap_at_byte(c, '{'))
        return imap_take_string(c, out);
    return take_span(c, is_list_char, "expected a mailbox pattern", out);
}

char *imap_cursor_name(struct imap_cursor *c, struct bytes raw)
{
    struct buf utf8 = {0};
    bool ok = c->utf8 ? imap_utf8_is_name(raw) : imap_utf7_decode(raw, &utf8);
    struct bytes name = c->utf8 ? raw : buf_bytes(&utf8);
    char *copy = ok ? arena_strndup(c->arena, name.p, name.n) : NULL;
    buf_release(&utf8);
    if (!copy)
        imap_cursor_fail(c, ok        ? "command too large"
                            : c->utf8 ? "mailbox name is not valid UTF-8"
                                      : "mailbox name is not valid modified UTF-7");
    return copy;
}

/* Of a name that came: its spelling. */
static bool spell(struct imap_cursor *c, const char *name, const char **out)
{
    *out = c->spell ? c->spell(c->spell_arg, c->arena, name) : name;
    c->given = *out == name ? NULL : name;
    return *out || imap_cursor_fail(c, "command too large");
}

bool imap_take_mailbox(struct imap_cursor *c, const char **out)
{
    struct bytes raw;
    if (!imap_take_astring(c, &raw))
        return false;
    *out = imap_cursor_name(c, raw);
    return *out && spell(c, *out, out);
}

bool imap_take_old_mailbox(struct imap_cursor *c, const char **out)
{
    struct imap_cursor quiet = *c;
    struct bytes raw;
    if (!imap_take_astring(c, &raw))
        return false;
    *out = imap_cursor_name(&quiet, raw);
    if (*out)
        return spell(c, *out, out);
    *out = "\xff"; /* no UTF-8 */
    c->given = NULL;
    return true;
}

/* number = 1*DIGIT, unsigned 32-bit */
bool imap_take_number(struct imap_cursor *c, uint32_t *out)
{
    struct bytes digits;
    if (!take_span(c, is_digit, "expected a number", &digits))
        return false;
    uint64_t v = 0;
    for (size_t i = 0; i < digits.n; i++) {
        v = v * 10 + (uint64_t)(digits.p[i] - '0');
        if (v > UINT32_MAX)
            return imap_cursor_fail(c, "number too large");
    }
    *out = (uint32_t)v;
    return true;
}

/* number64 = 1*DIGIT, below 2^63 */
bool imap_take_number64(struct imap_cursor *c, uint64_t *out)
{
    struct bytes digits;
    if (!take_span(c, is_digit, "expected a number", &digits))
        return false;
    uint64_t v = 0;
    for (size_t i = 0; i < digits.n; i++) {
        if (v > (uint64_t)INT64_MAX / 10 || v * 10 > (uint64_t)INT64_MAX - (uint64_t)(digits.p[i] - '0'))
            return imap_cursor_fail(c, "number too large");
        v = v * 10 + (uint64_t)(digits.p[i] - '0');
    }
    *out = v;
    return true;
}

/* nz-number = digit-nz *DIGIT */
bool imap_take_nz_number(struct imap_cursor *c, uint32_t *out)
{
    if (imap_at_byte(c, '0'))
        return imap_cursor_fail(c, "expected a number above 0");
    return imap_take_number(c, out);
}

/* seq-number = nz-number / "*" */
static bool take_seq_number(struct imap_cursor *c)
{
    uint32_t ignored;
    if (imap_at_byte(c, '*')) {
        c->p++;
        return true;
    }
    return imap_take_nz_number(c, &ignored);
}

/* sequence-set = (seq-number / seq-number ":" seq-number) *("," sequence-set) / "$" */
bool imap_take_sequence_set(struct imap_cursor *c, struct bytes *out)
{
    const uint8_t *begin = c->p;
    if (imap_at_byte(c, '$')) {
        *out = bytes_of(begin, 1);
        c->p++;
        return true;
    }
    for (;;) {
        if (!take_seq_number(c))
            return imap_cursor_fail(c, "bad sequence set");
        if (imap_at_byte(c, ':')) {
            c->p++;
            if (!take_seq_number(c))
                return imap_cursor_fail(c, "bad sequence set");
        }
        if (!imap_at_byte(c, ','))
            break;
        c->p++;
    }
    if (c->p < c->end && is_set_char(*c->p))
        return imap_cursor_fail(c, "bad sequence set");
    *out = bytes_of(begin, (size_t)(c->p - begin));
    return true;
}

/* ---- dates --------------------------------------------------------------------- */

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar. */
static int64_t days_of(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static bool day_exists(int year, int month, int day)
{
    static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return day >= 1 && day <= lengths[month - 1] + (leap && month == 2);
}

/* n digits */
static bool take_digits(struct imap_cursor *c, size_t n, int *out)
{
    int v = 0;
    for (size_t i = 0; i < n; i++) {
        if (c->p == c->end || !is_digit(*c->p))
            return imap_cursor_fail(c, "bad date");
        v = v * 10 + (*c->p++ - '0');
    }
    *out = v;
    return true;
}

/* "-" date-month "-" date-year, the same in both forms of a date */
static bool take_month_year(struct imap_cursor *c, int day, int64_t *days_out)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int month = 0, year = 0;
    if (!imap_take_byte(c, '-'))
        return false;
    for (int m = 1; m <= 12 && c->end - c->p >= 3; m++)
        if (bytes_equal_nocase(bytes_of(c->p, 3), bytes_of(months + (m - 1) * 3, 3)))
            month = m;
    if (month == 0)
        return imap_cursor_fail(c, "bad month");
    c->p += 3;
    if (!imap_take_byte(c, '-') || !take_digits(c, 4, &year))
        return false;
    if (!day_exists(year, month, day))
        return imap_cursor_fail(c, "no such day");
    *days_out = days_of(year, month, day);
    return true;
}

/* date-text = date-day "-" date-month "-" date-year; date-day = 1*2DIGIT */
bool imap_take_date(struct imap_cursor *c, int64_t *days_out)
{
    bool quoted = imap_at_byte(c, '"');
    c->p += quoted;
    int day = 0;
    size_t digits = c->end - c->p >= 2 && is_digit(c->p[1]) ? 2 : 1;
    return take_digits(c, digits, &day) && take_month_year(c, day, days_out) &&
           (!quoted || imap_take_byte(c, '"'));
}

/*
 * date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
 * date-day-fixed = (SP DIGIT) / 2DIGIT
 */
bool imap_take_date_time(struct imap_cursor *c, int64_t *seconds_out, int16_t *zone_out)
{
    int day = 0, hour = 0, minute = 0, second = 0, zone = 0;
    int64_t days;
    if (!imap_take_byte(c, '"'))
        return false;
    bool one = imap_at_byte(c, ' ');
    c->p += one;
    if (!take_digits(c, one ? 1 : 2, &day) || !take_month_year(c, day, &days) || !imap_take_sp(c))
        return false;
    if (!take_digits(c, 2, &hour) || !imap_take_byte(c, ':') || !take_digits(c, 2, &minute) ||
        !imap_take_byte(c, ':') || !take_digits(c, 2, &second) || !imap_take_sp(c))
        return false;
    if (!imap_at_byte(c, '+') && !imap_at_byte(c, '-'))
        return imap_cursor_fail(c, "bad time zone");
    bool west = imap_at_byte(c, '-');
    c->p++;
    if (!take_digits(c, 4, &zone) || !imap_take_byte(c, '"'))
        return false;
    if (hour > 23 || minute > 59 || second > 60 || zone / 100 > 23 || zone % 100 > 59)
        return imap_cursor_fail(c, "no such time");
    int minutes = zone / 100 * 60 + zone % 100;
    *zone_out = (int16_t)(west ? -minutes : minutes);
    *seconds_out = days * 86400 + hour * 3600 + minute * 60 + second - *zone_out * 60;
    return true;
}
