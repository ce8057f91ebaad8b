/* network: see network.h. */
#include "network.h"

#include "imap/server.h"

#include <arpa/inet.h>
#include <string.h>

enum { MAPPED_BITS = 96, WORD_MAX = 64, NETWORKS_MAX = 10000 };

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_mapped(const uint8_t bytes[16])
{
    return memcmp(bytes, mapped, sizeof mapped) == 0;
}

bool imap_address_of(const struct sockaddr *from, struct imap_address *out)
{
    memset(out, 0, sizeof *out);
    if (from->sa_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)from;
        memcpy(out->bytes, mapped, sizeof mapped);
        memcpy(out->bytes + 12, &four->sin_addr, 4);
        out->port = ntohs(four->sin_port);
        return true;
    }
    if (from->sa_family != AF_INET6)
        return false;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)from;
    memcpy(out->bytes, &six->sin6_addr, 16);
    out->port = ntohs(six->sin6_port);
    return true;
}

void imap_address_format(const struct imap_address *a, char *text)
{
    const bool four = is_mapped(a->bytes);
    if (!inet_ntop(four ? AF_INET : AF_INET6, a->bytes + (four ? 12 : 0), text, IMAP_ADDRESS_TEXT))
        text[0] = 0;
}

bool imap_address_parse(const char *text, struct imap_address *out)
{
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, text, out->bytes + 12) == 1) {
        memcpy(out->bytes, mapped, sizeof mapped);
        return true;
    }
    return inet_pton(AF_INET6, text, out->bytes) == 1;
}

bool imap_address_is_loopback(const struct imap_address *a)
{
    static const uint8_t one[16] = {[15] = 1};
    return is_mapped(a->bytes) ? a->bytes[12] == 127 : memcmp(a->bytes, one, 16) == 0;
}

void imap_address_client(const struct imap_address *a, uint8_t out[16])
{
    memcpy(out, a->bytes, 16);
    if (!is_mapped(a->bytes))
        memset(out + 8, 0, 8);
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    const unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

/* address ["/" bits], no bit set behind them: "10.1.0.0/8" is more likely a mistake than meant. */
static bool parse_network(char *word, struct imap_network *out)
{
    struct imap_address a;
    char *slash = strchr(word, '/');
    unsigned bits = 0;
    if (slash)
        *slash++ = 0;
    if (!imap_address_parse(word, &a))
        return false;
    const unsigned all = strchr(word, ':') ? 128 : 32;
    if (!slash) {
        bits = all;
    } else {
        const size_t digits = strspn(slash, "0123456789");
        if (digits == 0 || digits > 3 || slash[digits])
            return false;
        bits = (unsigned)strtoul(slash, NULL, 10);
    }
    if (bits > all)
        return false;
    out->bits = bits + (128 - all);
    memcpy(out->bytes, a.bytes, 16);
    for (unsigned i = out->bits; i < 128; i++)
        if (out->bytes[i / 8] >> (7 - i % 8) & 1)
            return false;
    return true;
}

int imap_networks_parse(const char *text, struct imap_networks *out, struct error *err)
{
    static const char between[] = " \t,;\r\n";
    *out = (struct imap_networks){0};
    for (const char *p = text ? text : ""; *(p += strspn(p, between));) {
        char word[WORD_MAX];
        const size_t n = strcspn(p, between);
        struct imap_network network;
        snprintf(word, sizeof word, "%.*s", (int)(n < sizeof word ? n : sizeof word - 1), p);
        if (n >= sizeof word || !parse_network(word, &network)) {
            imap_networks_release(out);
            return error_set(err, BASE_ERR_USAGE, 0,
                             "\"%.*s\" is no network: ADDRESS or ADDRESS/BITS, no bit set behind BITS",
                             (int)(n < 80 ? n : 80), p);
        }
        if (out->n >= NETWORKS_MAX) {
            imap_networks_release(out);
            return error_set(err, BASE_ERR_LIMIT, 0, "more than %d networks", NETWORKS_MAX);
        }
        struct imap_network *more = realloc(out->list, (out->n + 1) * sizeof *more);
        ASSERT(more);
        out->list = more;
        out->list[out->n++] = network;
        p += n;
    }
    return 0;
}

void imap_networks_release(struct imap_networks *n)
{
    free(n->list);
    *n = (struct imap_networks){0};
}

bool imap_networks_hold(const struct imap_networks *n, const struct imap_address *a)
{
    for (size_t i = 0; i < n->n; i++)
        if (same_bits(n->list[i].bytes, a->bytes, n->list[i].bits))
            return true;
    return false;
}

/* ---- for settings ------------------------------------------------------------------------------- */

int imap_networks_check(const char *networks, struct error *err)
{
    struct imap_networks parsed;
    int rc = imap_networks_parse(networks, &parsed, err);
    imap_networks_release(&parsed);
    return rc;
}

bool imap_networks_match(const char *networks, const char *address)
{
    struct imap_networks parsed;
    struct imap_address a;
    if (imap_networks_parse(networks, &parsed, NULL) != 0)
        return false;
    const bool held = imap_address_parse(address, &a) && imap_networks_hold(&parsed, &a);
    imap_networks_release(&parsed);
    return held;
}
