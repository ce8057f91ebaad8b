/* clients_private: what clients.c (servers, results), clients_load.c (sockets, time) and clients_people.c (what people
 * do next) share. */
#ifndef BENCH_CLIENTS_PRIVATE_H
#define BENCH_CLIENTS_PRIVATE_H

#include "base/error.h"

#include <glib.h>
#include <netinet/in.h>
#include <stdbool.h>

/* Commands that are told apart in the results. */
enum ask {
    ASK_CONNECT, /* until the greeting */
    ASK_LOGIN,
    ASK_LIST,
    ASK_SELECT,
    ASK_SYNC,   /* 500 envelopes and structures */
    ASK_WINDOW, /* 50 headers for a phone */
    ASK_OPEN,   /* one whole message */
    ASK_STATUS,
    ASK_SEARCH,
    ASK_FLAGS, /* of the newest 100 */
    ASK_IDLE,  /* until "+" */
    ASK_DONE,
    ASK_LOGOUT,
    ASKS
};

enum kind { DESKTOP, PHONE };

struct person {
    /* permanent */
    unsigned number;
    enum kind kind;
    bool newcomer;
    guint64 random;
    /* of a connection */
    int fd; /* -1: away */
    enum { AWAY, CONNECTING, GREETING, ASKED, WANTS_PLUS, IDLE, THINKING } state;
    enum ask ask;
    unsigned tag, step;
    guint64 cursor;  /* phone: where its window begins; newcomer: synced so far */
    bool rested;     /* a pause is over: now it does something */
    gint64 pause_us; /* the pause that begins with the answer: of IDLE, of LOGOUT */
    gint64 sent_us;
    char tail[1024]; /* the end of what has come: a tagged line with its capabilities */
    size_t tail_n;
    /* the timer: when it is due, its place in the heap (-1 none) */
    gint64 due_us;
    int at;
};

struct crowd_options {
    struct sockaddr_in address;
    unsigned desktops, phones, wave_per_hour;
    int seconds, ramp;
    double speed;
    guint64 messages; /* in INBOX */
    int server;       /* process, for its CPU; 0 none */
};

struct crowd_found {
    GArray *us[ASKS]; /* of guint32: microseconds of each answer after the ramp */
    guint64 errors, commands, connected, newcomers;
    double seconds, server_cpu_s, client_cpu_s;
    guint64 private_bytes;
    char first_error[160];
};

/* Lets them all live for ramp and seconds. BASE_ERR_IO where not even one could connect. */
int crowd_run(const struct crowd_options *o, struct crowd_found *out, struct error *err);

/*
 * What p does next: a command, in *text (up to n) and *ask; returns 0. Or a pause: its microseconds, and *idle says
 * whether it is spent in IDLE. After ASK_LOGOUT p comes back when p->pause_us is over.
 */
gint64 person_next(struct person *p, const struct crowd_options *o, enum ask *ask, char *text, size_t n, bool *idle);

static inline guint64 person_random(struct person *p)
{
    p->random ^= p->random << 13;
    p->random ^= p->random >> 7;
    p->random ^= p->random << 17;
    return p->random;
}

#endif
