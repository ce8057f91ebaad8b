#include "unit_mime.h"

#include <time.h>

struct mime_parser *unit_parser(void)
{
    static struct mime_parser *p;
    if (!p) {
        mime_init();
        p = mime_parser_new(NULL);
    }
    return p;
}

struct mime_parser *unit_gmime_parser(void)
{
    static struct mime_parser *p;
    if (!p) {
        mime_init();
        p = mime_parser_new(&(struct mime_settings){.parser = MIME_PARSER_GMIME});
    }
    return p;
}

struct mime_record unit_parse(struct bytes item)
{
    struct mime_record r;
    mime_parse(unit_parser(), item, &r);
    const char *bad = mime_check_record(item, &r);
    cr_expect(!bad, "%s: %.200s", bad, unit_text(item));
    return r;
}

struct mime_record unit_parse_text(const char *item)
{
    return unit_parse(bytes_str(item));
}

const char *unit_text(struct bytes v)
{
    struct buf out = {0};
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] >= ' ' && v.p[i] < 0x7f)
            buf_append_byte(&out, v.p[i]);
        else
            buf_printf(&out, "\\x%02x", v.p[i]);
    }
    const char *text = textf("%.*s", (int)out.n, out.p ? (const char *)out.p : "");
    buf_release(&out);
    return text;
}

double unit_cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
