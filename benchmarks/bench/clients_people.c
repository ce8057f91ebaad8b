/* What people do next. Times are those of a working day's busy hour; --speed divides them. */
#include "clients_private.h"
#include "side.h"

#include <math.h>

#define DESKTOP_PAUSE_S 60.0 /* between what one does, mean */
#define PHONE_PAUSE_S   8.0
#define PHONE_AWAY_S    300.0
#define SYNC            500u /* messages of a desktop's window */
#define WINDOW          50u
#define VISIT           7u /* what a phone does before it is put away */

/* Exponential with this mean, as independent people come. */
static gint64 pause_us(struct person *p, const struct crowd_options *o, double mean_s)
{
    const double u = (double)(person_random(p) >> 11) / 9007199254740992.0;
    return 1 + (gint64)(-log(1 - u) * mean_s * 1e6 / o->speed);
}

static guint64 any_message(struct person *p, const struct crowd_options *o)
{
    const guint64 x = person_random(p) % o->messages, y = person_random(p) % o->messages;
    return 1 + MAX(x, y); /* new ones more often */
}

static void window(char *text, size_t n, guint64 first, guint64 last, const char *items)
{
    g_snprintf(text, n, "FETCH %" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT " %s", first, last, items);
}

static enum ask sync_next(struct person *p, const struct crowd_options *o, char *text, size_t n)
{
    const guint64 last = o->messages - p->cursor, first = last > SYNC ? last - SYNC + 1 : 1;
    window(text, n, first, last, "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)");
    p->cursor += last - first + 1;
    return ASK_SYNC;
}

static enum ask desktop_act(struct person *p, const struct crowd_options *o, char *text, size_t n)
{
    static const char *const searches[] = {"UNSEEN", "FLAGGED UNDELETED", "SINCE 1-Feb-2004 UNDELETED",
                                           "FROM \"garcia\" UNDELETED"};
    const guint64 x = person_random(p) % 100, first = o->messages > 100 ? o->messages - 99 : 1;
    if (x < 50) {
        g_snprintf(text, n, "FETCH %" G_GUINT64_FORMAT " (UID FLAGS BODY.PEEK[])", any_message(p, o));
        return ASK_OPEN;
    }
    if (x < 80) {
        g_snprintf(text, n, "STATUS INBOX (MESSAGES UNSEEN UIDNEXT)");
        return ASK_STATUS;
    }
    if (x < 90) {
        g_snprintf(text, n, "UID SEARCH %s", searches[person_random(p) % G_N_ELEMENTS(searches)]);
        return ASK_SEARCH;
    }
    window(text, n, first, o->messages, "(UID FLAGS)");
    return ASK_FLAGS;
}

static gint64 desktop_next(struct person *p, const struct crowd_options *o, enum ask *ask, char *text, size_t n,
                           bool *idle)
{
    const guint64 wanted = p->newcomer ? o->messages : MIN(o->messages, SYNC);
    if (p->step == 1) {
        g_snprintf(text, n, "LIST \"\" \"*\"");
        *ask = ASK_LIST;
    } else if (p->step == 2) {
        g_snprintf(text, n, "SELECT INBOX");
        *ask = ASK_SELECT;
    } else if (p->cursor < wanted) {
        *ask = sync_next(p, o, text, n);
    } else if (!p->rested) {
        *idle = true;
        return pause_us(p, o, DESKTOP_PAUSE_S);
    } else {
        *ask = desktop_act(p, o, text, n);
    }
    p->step++;
    return 0;
}

static gint64 phone_next(struct person *p, const struct crowd_options *o, enum ask *ask, char *text, size_t n)
{
    if (p->step == 1) {
        g_snprintf(text, n, "SELECT INBOX");
        *ask = ASK_SELECT;
        p->step++;
        return 0;
    }
    if (p->step > 2 && !p->rested)
        return pause_us(p, o, PHONE_PAUSE_S);
    if (p->step >= VISIT) {
        p->pause_us = pause_us(p, o, PHONE_AWAY_S);
        g_snprintf(text, n, "LOGOUT");
        *ask = ASK_LOGOUT;
        return 0;
    }
    if (p->step == 2 || person_random(p) % 3 == 0) {
        const guint64 last = o->messages - MIN(p->cursor, o->messages - 1),
                      first = last > WINDOW ? last - WINDOW + 1 : 1;
        window(text, n, first, last,
               "(UID FLAGS INTERNALDATE RFC822.SIZE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (From To Cc Subject Date "
               "Message-ID References)])");
        p->cursor += WINDOW;
        *ask = ASK_WINDOW;
    } else {
        g_snprintf(text, n, "FETCH %" G_GUINT64_FORMAT " (UID BODY.PEEK[])", any_message(p, o));
        *ask = ASK_OPEN;
    }
    p->step++;
    return 0;
}

gint64 person_next(struct person *p, const struct crowd_options *o, enum ask *ask, char *text, size_t n, bool *idle)
{
    *idle = false;
    if (p->step == 0) {
        g_snprintf(text, n, "LOGIN " SIDE_USER " " SIDE_PASSWORD);
        *ask = ASK_LOGIN;
        p->step = 1;
        return 0;
    }
    const gint64 pause = p->kind == DESKTOP ? desktop_next(p, o, ask, text, n, idle) : phone_next(p, o, ask, text, n);
    if (pause == 0)
        p->rested = false;
    return pause;
}
