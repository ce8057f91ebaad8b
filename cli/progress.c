/* Progress on standard error. */
#include "progress.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PLAIN_SECONDS 5.0
#define JSON_SECONDS 0.5
#define RATE_WEIGHT 0.2 /* of the newest measurement */
#define BAR_COLUMNS 24

static const struct {
    const char *name;
    enum progress_mode mode;
} modes[] = {{"none", PROGRESS_NONE}, {"plain", PROGRESS_PLAIN}, {"json", PROGRESS_JSON}};

bool progress_parse(const char *text, enum progress_mode *out)
{
    if (!text || strcmp(text, "auto") == 0) {
        *out = isatty(STDERR_FILENO) ? PROGRESS_BAR : PROGRESS_PLAIN;
        return true;
    }
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(text, modes[i].name) == 0) {
            *out = modes[i].mode;
            return true;
        }
    return false;
}

const char *progress_number(uint64_t n, char out[32])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, n), at = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

static void rates(struct progress *s, const struct indexer_progress *p)
{
    double dt = p->seconds - s->last_s;
    if (p->items_done < s->last_items || s->last_s > p->seconds) /* the next archive */
        *s = (struct progress){.mode = s->mode, .line_open = s->line_open};
    else if (dt > 0.05) {
        double items = (double)(p->items_done - s->last_items) / dt, bytes = (double)(p->bytes_done - s->last_bytes) / dt;
        bool first = s->last_s <= 0;
        s->rate_items = first ? items : s->rate_items + RATE_WEIGHT * (items - s->rate_items);
        s->rate_bytes = first ? bytes : s->rate_bytes + RATE_WEIGHT * (bytes - s->rate_bytes);
    } else {
        return;
    }
    s->last_s = p->seconds;
    s->last_items = p->items_done;
    s->last_bytes = p->bytes_done;
}

/* Seconds left, < 0 if nobody can say. Rough until planned_all. */
static double seconds_left(const struct progress *s, const struct indexer_progress *p)
{
    if (s->rate_items < 1 || p->items_planned < p->items_done || (!p->planned_all && p->items_planned == p->items_done))
        return -1;
    return (double)(p->items_planned - p->items_done) / s->rate_items;
}

static void describe(const struct progress *s, const struct indexer_progress *p, char *out, size_t n)
{
    char done[32], planned[32], rate[32], left[48] = "", percent[16] = "";
    const char *about = p->planned_all ? "" : "~";
    double eta = seconds_left(s, p);
    progress_number(p->items_done, done);
    progress_number(p->items_planned, planned);
    progress_number((uint64_t)s->rate_items, rate);
    if (p->items_planned > p->items_done) /* rounded down: 100 is for the end */
        snprintf(percent, sizeof percent, " (%s%d %%)", about,
                 (int)(100.0 * (double)p->items_done / (double)p->items_planned));
    if (eta >= 3600)
        snprintf(left, sizeof left, ", %s%.0f h %02.0f min left", about, (double)(int)(eta / 3600),
                 (double)((int)(eta / 60) % 60));
    else if (eta >= 0)
        snprintf(left, sizeof left, ", %s%d:%02d left", about, (int)eta / 60, (int)eta % 60);
    int at = snprintf(out, n, "%s of %s%s items%s%s, %s items/s, %.1f MB/s", done, about, planned, percent, left, rate,
                      s->rate_bytes / 1e6); /* the end is cut off on a narrow terminal */
    if (p->failed && at > 0 && (size_t)at < n)
        snprintf(out + at, n - (size_t)at, ", %" PRIu64 " failed", p->failed);
}

static int terminal_columns(void)
{
    struct winsize w = {0};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 20 ? w.ws_col : 80;
}

static void show_bar(struct progress *s, const struct indexer_progress *p)
{
    char text[256], bar[BAR_COLUMNS + 1];
    double part = p->items_planned ? (double)p->items_done / (double)p->items_planned : 0;
    int full = (int)(part * BAR_COLUMNS);
    for (int i = 0; i < BAR_COLUMNS; i++)
        bar[i] = i < full ? '#' : '.';
    bar[BAR_COLUMNS] = '\0';
    describe(s, p, text, sizeof text);
    char line[512];
    snprintf(line, sizeof line, "%s [%s] %s", p->archive, bar, text);
    fprintf(stderr, "\r\033[K%.*s", terminal_columns() - 1, line);
    fflush(stderr);
    s->line_open = true;
}

static void show_json(const struct progress *s, const struct indexer_progress *p)
{
    double eta = seconds_left(s, p);
    json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I, s:b, s:I, s:I, s:f, s:f, s:f}", "event", "progress", "archive",
                          p->archive, "phase", p->phase, "items_done", (json_int_t)p->items_done, "items_planned",
                          (json_int_t)p->items_planned, "planned_all", (int)p->planned_all, "bytes_done",
                          (json_int_t)p->bytes_done, "failed", (json_int_t)p->failed, "seconds", p->seconds,
                          "items_per_second", s->rate_items, "bytes_per_second", s->rate_bytes);
    if (!o)
        return;
    json_object_set_new(o, "seconds_left", eta >= 0 ? json_real(eta) : json_null());
    json_dumpf(o, stderr, JSON_COMPACT | JSON_REAL_PRECISION(6));
    fputc('\n', stderr);
    json_decref(o);
}

void progress_show(const struct indexer_progress *p, void *arg)
{
    struct progress *s = arg;
    bool last = strcmp(p->phase, "finish") == 0;
    rates(s, p);
    double since = p->seconds - s->shown_s;
    switch (s->mode) {
    case PROGRESS_NONE: break;
    case PROGRESS_BAR: show_bar(s, p); break;
    case PROGRESS_PLAIN: {
        char text[256];
        if (since < PLAIN_SECONDS)
            break; /* short builds print their result and nothing else */
        s->shown_s = p->seconds;
        describe(s, p, text, sizeof text);
        fprintf(stderr, "%s: %s\n", p->archive, text);
        break;
    }
    case PROGRESS_JSON:
        if (since < JSON_SECONDS && !last)
            break;
        s->shown_s = p->seconds;
        show_json(s, p);
        break;
    }
}

void progress_end(struct progress *s)
{
    if (s->line_open)
        fputs("\r\033[K", stderr);
    s->line_open = false;
}
