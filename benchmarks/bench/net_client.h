/*
 * net_client: a blocking IMAP client of the benchmarks, in clear, with TLS and with COMPRESS=DEFLATE. It knows just
 * enough to measure: a command is a line, its answer ends with the line of its tag, and literals are skipped only
 * because no line of theirs begins with the tag.
 */
#ifndef NET_CLIENT_H
#define NET_CLIENT_H

#include "base/error.h"

#include <netinet/in.h>
#include <stdbool.h>

enum net_mode { NET_PLAIN, NET_TLS, NET_STARTTLS };

struct net_target {
    struct sockaddr_in address;
    enum net_mode mode;
    bool compress;
    const char *tls_max; /* "1.2", or NULL: the best */
    in_addr_t source;    /* the client's own address, 0: as it comes */
    const char *user, *password;
};

struct net_client;
/* Connects, shakes hands, reads the greeting. resume: try the ticket that an earlier client left here, and leave the
 * new one; may be NULL. */
struct net_ticket {
    void *session; /* OpenSSL's */
};
void net_ticket_release(struct net_ticket *ticket);
struct net_client *net_dial(const struct net_target *to, struct net_ticket *resume, struct error *err);
bool net_resumed(const struct net_client *c);
/* Sends command with a tag and reads its answer; an answer other than OK is an error. *bytes_out may be NULL. Looks at
 * the end of what has come only: so a bulk FETCH costs the client little more than the copy out of its socket. */
int net_ask(struct net_client *c, const char *command, size_t *bytes_out, struct error *err);
/* The same, and the beginning of the first untagged line that begins with `want` ("* ESEARCH"), up to n - 1 bytes and a
 * NUL; "" if there was none. BASE_ERR_USAGE: the server refused the command (NO, BAD), the connection goes on. */
int net_ask_line(struct net_client *c, const char *command, const char *want, size_t n, char *line_out,
                 size_t *bytes_out, struct error *err);
/* How long a read waits from now on; then it is BASE_ERR_IO with errno EAGAIN as detail, and the client is of no more
 * use. */
void net_be_patient(const struct net_client *c, int seconds);
/* The same for one message of n bytes, up to NET_APPEND_MAX, as a literal that waits for nobody (LITERAL+). */
#define NET_APPEND_MAX (2u << 20)
int net_append(struct net_client *c, const char *folder, const char *message, size_t n, struct error *err);
/* A command that is more than a line: literals and all that is between them stand in it, without tag and last line end.
 */
int net_ask_bytes(struct net_client *c, const char *command, size_t n, struct error *err);
/* IDLE, until the server has said "+"; DONE, until it has answered. In between only: net_hear. */
int net_idle(struct net_client *c, struct error *err);
int net_done(struct net_client *c, struct error *err);
/* Waits for a line that begins with `want`, so many seconds for each piece of what comes. What came with it is
 * forgotten. */
int net_hear(struct net_client *c, const char *want, int seconds, struct error *err);
/* The patience of all else that reads. */
#define NET_PATIENCE_S 60
/* LOGIN, and COMPRESS if the target says so. */
int net_log_in(struct net_client *c, const struct net_target *to, struct error *err);
void net_close(struct net_client **c);

#endif
