/*
 * converters: iconv's descriptors, kept between texts.
 *
 * glibc loads a charset's module when its first descriptor opens and unloads it
 * some closes later: mapping, relocating and unmapping a library for one header
 * field costs more than the whole item (a seventh of a build's time, with the
 * shootdown of other cores' TLBs). A descriptor that stays open keeps it loaded.
 *
 * Threads: any. A descriptor is one thread's between take and give.
 */
#include "mime_private.h"

#include <pthread.h>
#include <string.h>

/* Mail names what it likes, so the number of modules in memory is bounded: the one that was given longest ago makes
 * room. */
#define IDLE_MAX 32

static struct {
    pthread_mutex_t lock;
    struct {
        char name[MIME_CHARSET_NAME_BYTES + 1];
        GIConv cd;
    } idle[IDLE_MAX];
    unsigned n, next;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static unsigned idle_of(const char *name)
{
    unsigned i = 0;
    while (i < kept.n && strcmp(kept.idle[i].name, name) != 0)
        i++;
    return i;
}

GIConv mime_converter_take(const char *name)
{
    GIConv cd = MIME_NO_CONVERTER;
    pthread_mutex_lock(&kept.lock);
    const unsigned i = idle_of(name);
    if (i < kept.n) {
        cd = kept.idle[i].cd;
        kept.idle[i].cd = MIME_NO_CONVERTER;
    }
    pthread_mutex_unlock(&kept.lock);
    return cd == MIME_NO_CONVERTER ? g_iconv_open("UTF-8", name) : cd;
}

void mime_converter_give(const char *name, GIConv cd)
{
    /* Back to the initial shift state, whatever the last text ended in. */
    (void)g_iconv(cd, NULL, NULL, NULL, NULL);
    pthread_mutex_lock(&kept.lock);
    unsigned i = idle_of(name);
    if (i == kept.n) {
        i = kept.next++ % IDLE_MAX;
        if (kept.n < IDLE_MAX)
            kept.idle[kept.n++].cd = MIME_NO_CONVERTER;
        g_strlcpy(kept.idle[i].name, name, sizeof(kept.idle[i].name));
    }
    const GIConv old = kept.idle[i].cd;
    kept.idle[i].cd = cd;
    pthread_mutex_unlock(&kept.lock);
    if (old != MIME_NO_CONVERTER)
        g_iconv_close(old);
}
