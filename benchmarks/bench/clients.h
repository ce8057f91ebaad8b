/*
 * clients: simulated people, each a connection of its own, as many at a time as a server of an archive has.
 *
 *     mds-bench clients [--desktops 2000] [--phones 2000] [--seconds 60] [--ramp 20] [--speed 10] [--wave N]
 *                       [--messages 10000] [--sides mds,dovecot] [--find] [--quick] [--json FILE] --work DIR
 *
 * A desktop logs in, lists folders, takes the newest 500 envelopes, then stands in IDLE; about once a minute it opens a
 * message, asks for STATUS, searches or looks for new flags. A phone logs in, takes a window of 50 headers, opens a
 * message or two, pages on, leaves and comes back. --speed divides all think times: 10 makes one person out of ten. An
 * enablement wave (--wave, an hour; a day of Enterprise Vault's sizing is 1,000 phones and 250 desktops) adds
 * newcomers, of whom every desktop takes the envelopes of the whole folder, in windows.
 *
 * --find grows the crowd (twice as many each time, 500 come in a second) until p99 of all commands is over 100 ms,
 * there is an error, this program's core or its descriptors are used up, or --find-seconds are over; then halves what
 * is between.
 *
 * One thread with epoll asks and listens; its own share of a core is shown, and a run in which that passes 80 %
 * measures this program. Times are of commands from the last byte sent to the tagged line; a person asks again only
 * after the answer and a think time, so a server that stalls is asked less: errors and the number of commands say so.
 */
#ifndef BENCH_CLIENTS_H
#define BENCH_CLIENTS_H

#include <stdbool.h>

/* True if argv[1] is its command; then *status_out is the exit status: 77 if the machine allows too few descriptors. */
bool clients_main(int argc, char **argv, int *status_out);

#endif
