/* Addresses and networks as settings name them. */
#include <criterion/criterion.h>

#include "imap/server.h"
#include "network.h"

#include <arpa/inet.h>
#include <string.h>

Test(network, matches_what_it_names)
{
    static const struct {
        const char *networks, *address;
        bool want;
    } table[] = {
        {"192.0.2.0/24", "192.0.2.255", true},
        {"192.0.2.0/24", "192.0.3.0", false},
        {"192.0.2.0/25", "192.0.2.128", false},
        {"192.0.2.7", "192.0.2.7", true},
        {"192.0.2.7", "192.0.2.6", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "2001:db8::1", true},
        {"::/0", "192.0.2.1", true},
        {"2001:db8::/32", "2001:db8:ffff::1", true},
        {"2001:db8::/32", "2001:db9::", false},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"192.0.2.0/24", "::ffff:192.0.2.9", true},
        {"10.0.0.0/8, 192.0.2.0/24;fd00::/8", "fd12::3", true},
        {" \t10.0.0.0/8 ", "10.255.0.1", true},
        {"", "127.0.0.1", false},
        {NULL, "127.0.0.1", false},
        {"127.0.0.0/8", "nonsense", false},
        {"nonsense", "127.0.0.1", false},
        {"255.255.255.255/32", "255.255.255.255", true},
        {"::1/128", "::1", true},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        cr_expect_eq(imap_networks_match(table[i].networks, table[i].address), table[i].want, "%s in \"%s\"",
                     table[i].address, table[i].networks ? table[i].networks : "(none)");
}

Test(network, refuses_what_is_none)
{
    static const char *const bad[] = {
        "192.0.2.1/24",
        "192.0.2.0/33",
        "192.0.2.0/",
        "192.0.2.0/a",
        "/8",
        "192.0.2",
        "2001:db8::/129",
        "::1/64",
        "192.0.2.0/024x",
        "192.0.2.0/-1",
        "example.org",
        "10.0.0.0/8 x",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/8",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct error err = {0};
        cr_expect_eq(imap_networks_check(bad[i], &err), BASE_ERR_USAGE, "%s", bad[i]);
        cr_expect(strstr(err.text, "is no network"), "%s: %s", bad[i], err.text);
    }
    cr_expect_eq(imap_networks_check(NULL, NULL), 0);
    cr_expect_eq(imap_networks_check(" , ", NULL), 0);
}

Test(network, knows_loopback_and_clients)
{
    static const struct {
        const char *address;
        bool loopback;
    } table[] = {{"127.0.0.1", true},  {"127.255.0.9", true}, {"::1", true},      {"::ffff:127.0.0.1", true},
                 {"128.0.0.1", false}, {"::2", false},        {"0.0.0.0", false}, {"::", false}};
    struct imap_address a, b;
    uint8_t x[16], y[16];
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        cr_assert(imap_address_parse(table[i].address, &a));
        cr_expect_eq(imap_address_is_loopback(&a), table[i].loopback, "%s", table[i].address);
    }
    cr_assert(imap_address_parse("2001:db8:1:2:3::4", &a) && imap_address_parse("2001:db8:1:2::9", &b));
    imap_address_client(&a, x);
    imap_address_client(&b, y);
    cr_expect_arr_eq(x, y, 16, "one /64 is one client");
    cr_assert(imap_address_parse("192.0.2.1", &a) && imap_address_parse("192.0.2.2", &b));
    imap_address_client(&a, x);
    imap_address_client(&b, y);
    cr_expect_arr_neq(x, y, 16);
}

Test(network, takes_socket_addresses)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(993), .sin_addr.s_addr = htonl(0xc0000201)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(143)};
    struct sockaddr local = {.sa_family = AF_UNIX};
    struct imap_address a;
    char text[IMAP_ADDRESS_TEXT];
    cr_assert(imap_address_of((struct sockaddr *)&four, &a));
    imap_address_format(&a, text);
    cr_expect_str_eq(text, "192.0.2.1");
    cr_expect_eq(a.port, 993);
    inet_pton(AF_INET6, "::ffff:192.0.2.1", &six.sin6_addr);
    cr_assert(imap_address_of((struct sockaddr *)&six, &a));
    imap_address_format(&a, text);
    cr_expect_str_eq(text, "192.0.2.1", "a mapped address is the IPv4 address");
    cr_expect_not(imap_address_of(&local, &a));
}
