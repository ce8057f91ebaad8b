/* event_log: see event_log.h. */
#include "event_log.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { VALUE_BYTES_MAX = 512 };

static const char *const level_names[] = {"error", "warn", "info", "debug"};

struct event_log {
    pthread_mutex_t lock; /* guards all below */
    bool json;
    enum log_level level;
    int file, audit; /* audit: -1 if there is none */
};

/* ---- lines ----------------------------------------------------------------------------------------- */

/* What is no UTF-8 becomes U+FFFD. */
static void put_quoted(struct buf *out, const char *text)
{
    char *cut = g_strndup(text, VALUE_BYTES_MAX), *valid = g_utf8_make_valid(cut, -1);
    buf_append_byte(out, '"');
    for (const char *p = valid; *p; p++) {
        const unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            buf_printf(out, "\\u%04x", c);
        else
            buf_append_byte(out, c);
    }
    buf_append_byte(out, '"');
    g_free(valid);
    g_free(cut);
}

static bool is_plain(const char *text)
{
    const size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;@/+*_-()");
    return n > 0 && n <= VALUE_BYTES_MAX && text[n] == 0;
}

static void put_time(struct buf *out, int64_t when_ms)
{
    char text[40];
    struct tm tm;
    const time_t s = (time_t)(when_ms / 1000);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", gmtime_r(&s, &tm));
    buf_printf(out, "%s.%03dZ", text, (int)(when_ms % 1000));
}

static void put_json(struct buf *out, int64_t when_ms, enum log_level level, const char *what, const struct event_field *fields, size_t n)
{
    buf_append_str(out, "{\"time\":\"");
    put_time(out, when_ms);
    buf_printf(out, "\",\"level\":\"%s\",\"event\":", level_names[level]);
    put_quoted(out, what);
    for (size_t i = 0; i < n; i++) {
        buf_append_byte(out, ',');
        put_quoted(out, fields[i].key);
        buf_append_byte(out, ':');
        if (fields[i].text)
            put_quoted(out, fields[i].text);
        else
            buf_append_u64_dec(out, fields[i].number);
    }
    buf_append_str(out, "}\n");
}

void event_log_format(bool json, int64_t when_ms, enum log_level level, const char *what, const struct event_field *fields, size_t n, struct buf *out)
{
    if (json) {
        put_json(out, when_ms, level, what, fields, n);
        return;
    }
    put_time(out, when_ms);
    buf_printf(out, " %s %s%s", level_names[level], what, n ? ":" : "");
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, " %s=", fields[i].key);
        if (!fields[i].text)
            buf_append_u64_dec(out, fields[i].number);
        else if (is_plain(fields[i].text))
            buf_append_str(out, fields[i].text);
        else
            put_quoted(out, fields[i].text);
    }
    buf_append_byte(out, '\n');
}

static void write_line(int fd, const struct buf *line)
{
    ssize_t wrote;
    /* One write a line: appended lines of several processes do not mix. What does not fit on the disk is lost. */
    do
        wrote = write(fd, line->p, line->n);
    while (wrote < 0 && errno == EINTR);
}

static void put(struct event_log *log, bool audit, enum log_level level, const char *what, const struct event_field *fields, size_t n)
{
    struct buf line = {0};
    (void)pthread_mutex_lock(&log->lock);
    const int fd = audit ? log->audit : level <= log->level ? log->file : -1;
    if (fd >= 0) {
        event_log_format(log->json, g_get_real_time() / 1000, level, what, fields, n, &line);
        write_line(fd, &line);
    }
    (void)pthread_mutex_unlock(&log->lock);
    buf_release(&line);
}

void event_log_event(struct event_log *log, enum log_level level, const char *what, const struct event_field *fields, size_t n)
{
    put(log, false, level, what, fields, n);
}

void event_log_audit(struct event_log *log, const char *what, const struct event_field *fields, size_t n)
{
    put(log, true, LOG_LEVEL_INFO, what, fields, n);
}

/* The libraries' lines are "room: what: key=value ..."; in JSON the rest is one text, as its values may hold blanks. */
void event_log_line(enum log_level level, const char *line, void *arg)
{
    struct event_log *log = arg;
    const char *room = strstr(line, ": "), *rest = room ? strstr(room + 2, ": ") : NULL;
    if (!rest || !log->json) {
        put(log, false, level, line, NULL, 0);
        return;
    }
    char *what = g_strndup(line, (gsize)(rest - line));
    const struct event_field detail = EVENT_TEXT("detail", rest + 2);
    put(log, false, level, what, &detail, 1);
    g_free(what);
}

/* ---- files ------------------------------------------------------------------------------------------- */

static int open_file(const char *path, int otherwise, int *out, struct error *err)
{
    *out = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640) : otherwise;
    return path && *out < 0 ? error_errno(err, "cannot open the log %s", path) : BASE_OK;
}

static void close_file(int fd)
{
    if (fd > STDERR_FILENO)
        close(fd);
}

int event_log_configure(struct event_log *log, const struct conf_log *settings, struct error *err)
{
    int file = -1, audit = -1, rc;
    if ((rc = open_file(settings->file, STDERR_FILENO, &file, err)) < 0)
        return rc;
    if ((rc = open_file(settings->audit, -1, &audit, err)) < 0) {
        close_file(file);
        return rc;
    }
    (void)pthread_mutex_lock(&log->lock);
    const int old_file = log->file, old_audit = log->audit;
    log->file = file;
    log->audit = audit;
    log->json = settings->format == CONF_LOG_JSON;
    log->level = (enum log_level)settings->level;
    (void)pthread_mutex_unlock(&log->lock);
    close_file(old_file);
    close_file(old_audit);
    return BASE_OK;
}

int event_log_new(const struct conf_log *settings, struct event_log **out, struct error *err)
{
    struct event_log *log = g_new0(struct event_log, 1);
    *out = log;
    (void)pthread_mutex_init(&log->lock, NULL);
    log->file = log->audit = -1;
    const int rc = event_log_configure(log, settings, err);
    if (rc < 0)
        event_log_free(out);
    return rc;
}

void event_log_free(struct event_log **log)
{
    struct event_log *l = *log;
    if (!l)
        return;
    *log = NULL;
    close_file(l->file);
    close_file(l->audit);
    (void)pthread_mutex_destroy(&l->lock);
    g_free(l);
}
