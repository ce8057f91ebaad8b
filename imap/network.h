/*
 * network: addresses and lists of networks ("192.0.2.0/24, ::1 fd00::/8"), as settings name them.
 *
 * An IPv4-mapped IPv6 address is its IPv4 address everywhere. Pure; thread rule: a set that is not changed may be
 * shared.
 */
#ifndef IMAP_NETWORK_H
#define IMAP_NETWORK_H

#include "base/error.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct imap_address {
    uint8_t bytes[16]; /* IPv4: in its mapped form, so that all compare alike */
    uint16_t port;
};

struct imap_network {
    uint8_t bytes[16];
    unsigned bits; /* of 128 */
};

struct imap_networks {
    struct imap_network *list;
    size_t n;
};

enum { IMAP_ADDRESS_TEXT = INET6_ADDRSTRLEN };

/* False: neither IPv4 nor IPv6 (then *out is the unspecified address). */
bool imap_address_of(const struct sockaddr *from, struct imap_address *out);
/* Without the port; text has room for IMAP_ADDRESS_TEXT. */
void imap_address_format(const struct imap_address *a, char *text);
bool imap_address_parse(const char *text, struct imap_address *out);
bool imap_address_is_loopback(const struct imap_address *a);
/* What counts as one client: an IPv4 address, an IPv6 /64. */
void imap_address_client(const struct imap_address *a, uint8_t out[16]);

/* NULL text: no network. Owned: release. */
int imap_networks_parse(const char *text, struct imap_networks *out, struct error *err);
void imap_networks_release(struct imap_networks *n);
bool imap_networks_hold(const struct imap_networks *n, const struct imap_address *a);

#endif
