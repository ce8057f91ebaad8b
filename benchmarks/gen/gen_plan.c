/*
 * gen_plan: see the header. Parents lie a bounded distance back and are chased by number: a chain is some three steps
 * long.
 */
#include "gen_plan.h"

#include "base/error.h"

#include <glib.h>

#define FIRST_SECOND     1072915200 /* 2004-01-01 00:00 UTC */
#define STEP_SECONDS     97         /* a million messages are three years */
#define PARENT_WITHIN    400u
#define DUPLICATE_ONE_IN 100u
#define ROOT_PERMILLE    270 /* of those that are not bulk */
#define BULK_PERCENT     12
#define LOG2_PEOPLE      936434u /* log2(20,000) in 16.16 */

static uint64_t draw(const struct gen_plan *plan, uint64_t i, enum gen_purpose purpose)
{
    return gen_hash(plan->seed, i, purpose);
}

static bool is_duplicate(const struct gen_plan *plan, uint64_t i)
{
    return i > 0 && draw(plan, i, GEN_FOR_DUPLICATE) % DUPLICATE_ONE_IN == 0;
}

uint64_t gen_original(const struct gen_plan *plan, uint64_t i)
{
    if (!is_duplicate(plan, i))
        return i;
    uint64_t back = 1 + gen_mix(draw(plan, i, GEN_FOR_DUPLICATE)) % MIN(i, 1000u), at = i - back;
    return is_duplicate(plan, at) ? i : at; /* a copy of a copy is made an original */
}

/* Newsletters and machines: nobody answers them, they answer nobody. */
static bool is_bulk(const struct gen_plan *plan, uint64_t i)
{
    return draw(plan, i, GEN_FOR_PROFILE) % 100 < BULK_PERCENT;
}

bool gen_parent(const struct gen_plan *plan, uint64_t i, uint64_t *parent)
{
    uint64_t x = draw(plan, i, GEN_FOR_PARENT);
    if (i == 0 || x % 1000 < ROOT_PERMILLE || is_bulk(plan, i))
        return false;
    uint64_t within = MIN(i, PARENT_WITHIN), y = gen_mix(x);
    uint64_t back = 1 + gen_scale(gen_mix(y), 1 + gen_scale(y, within)); /* near ones more often */
    if (back > i)
        back = i;
    uint64_t at = gen_original(plan, i - back);
    if (is_bulk(plan, at))
        return false;
    *parent = at;
    return true;
}

unsigned gen_chain(const struct gen_plan *plan, uint64_t i, uint64_t *out)
{
    uint64_t at = i, parent;
    uint64_t last[GEN_CHAIN_MAX];
    unsigned n = 0;
    while (gen_parent(plan, at, &parent)) {
        last[n++ % GEN_CHAIN_MAX] = parent;
        at = parent;
    }
    unsigned kept = MIN(n, GEN_CHAIN_MAX);
    if (n > GEN_CHAIN_MAX) {
        /* The ring holds the oldest ones; walk again for the nearest. */
        at = i;
        for (unsigned k = 0; k < GEN_CHAIN_MAX - 1 && gen_parent(plan, at, &parent); k++)
            out[GEN_CHAIN_MAX - 1 - k] = at = parent;
        out[0] = last[(n - 1) % GEN_CHAIN_MAX];
        return kept;
    }
    for (unsigned k = 0; k < kept; k++)
        out[k] = last[kept - 1 - k];
    return kept;
}

uint64_t gen_root(const struct gen_plan *plan, uint64_t i)
{
    uint64_t parent;
    while (gen_parent(plan, i, &parent))
        i = parent;
    return i;
}

enum gen_profile gen_profile_of(const struct gen_plan *plan, uint64_t i)
{
    if (is_bulk(plan, i))
        return GEN_BULK;
    uint64_t x = gen_mix(draw(plan, gen_root(plan, i), GEN_FOR_PROFILE)) % 100;
    return x < 52 ? GEN_LIST : x < 86 ? GEN_USER : GEN_OFFICE;
}

int64_t gen_time(const struct gen_plan *plan, uint64_t i)
{
    return FIRST_SECOND + (int64_t)i * STEP_SECONDS + (int64_t)(draw(plan, i, GEN_FOR_DATE) % STEP_SECONDS);
}

static unsigned folder_of_thread(const struct gen_plan *plan, uint64_t i)
{
    uint64_t x = draw(plan, gen_root(plan, i), GEN_FOR_FOLDER);
    if (plan->folders == 1 || x % 100 < 35)
        return 0;
    /* The others fall off slowly: the smaller of two uniform draws. */
    unsigned n = plan->folders - 1;
    uint64_t a = gen_scale(gen_mix(x), n), b = gen_scale(gen_mix(x + 1), n);
    return 1 + (unsigned)MIN(a, b);
}

unsigned gen_folder(const struct gen_plan *plan, uint64_t i)
{
    uint64_t original = gen_original(plan, i);
    unsigned folder = folder_of_thread(plan, original);
    return original == i ? folder : (folder + 1) % plan->folders;
}

void gen_folder_name(unsigned folder, struct buf *out)
{
    static const char *const names[] = {
        "INBOX",
        "Sent",
        "Lists/linux-usb",
        "Lists/usrp-users",
        "Projects/Alpha/Design",
        "Trash",
        "Entw\xc3\xbcrfe",
        "Archive/2004",
        "Projects/Beta & Co",
        "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e/\xe4\xbc\x9a\xe8\xad\xb0",
    };
    if (folder < G_N_ELEMENTS(names))
        buf_append_str(out, names[folder]);
    else
        buf_printf(out, "Archive/Group %02u/Box %04u", folder / 100, folder);
}

void gen_flags(const struct gen_plan *plan, uint64_t i, char out[8], bool *is_new)
{
    static const struct {
        char letter; /* in ASCII order, as Maildir wants them */
        uint16_t permille;
    } flags[] = {{'D', 4}, {'F', 40}, {'P', 15}, {'R', 120}, {'S', 780}, {'T', 10}};
    uint64_t x = draw(plan, i, GEN_FOR_FLAGS);
    size_t n = 0;
    for (size_t k = 0; k < G_N_ELEMENTS(flags); k++, x = gen_mix(x))
        if (x % 1000 < flags[k].permille)
            out[n++] = flags[k].letter;
    out[n] = 0;
    *is_new = n == 0 && x % 2 == 0;
}

enum gen_charset gen_charset_of(const struct gen_plan *plan, uint64_t i)
{
    static const struct {
        uint16_t upto; /* of 1000 */
        enum gen_charset cs;
    } shares[] = {
        {480, GEN_ASCII},  {790, GEN_UTF8_LATIN},   {830, GEN_UTF8_CYRILLIC}, {870, GEN_UTF8_CJK},
        {930, GEN_LATIN1}, {965, GEN_WINDOWS_1252}, {972, GEN_LATIN2},        {980, GEN_KOI8_R},
        {987, GEN_GB2312}, {994, GEN_BIG5},         {1000, GEN_ISO_2022_JP},
    };
    uint64_t x = gen_mix(draw(plan, gen_root(plan, i), GEN_FOR_SUBJECT)) % 1000;
    size_t k = 0;
    while (x >= shares[k].upto)
        k++;
    return shares[k].cs;
}

void gen_message_id(const struct gen_plan *plan, uint64_t i, struct buf *out)
{
    uint64_t x = draw(plan, i, GEN_FOR_ID);
    uint32_t author = gen_author(plan, i);
    switch (x % 4) {
    case 0:
        buf_printf(out, "<%08X.%07u@host%u.example.com>", (unsigned)(x >> 32), (unsigned)(x >> 8 & 0x7fffff),
                   author % 500);
        break;
    case 1:
        buf_printf(out, "<%016" G_GINT64_MODIFIER "x%016" G_GINT64_MODIFIER "x@mail.example.net>", x, gen_mix(x));
        break;
    case 2:
        buf_printf(out, "<CA+%09" G_GINT64_MODIFIER "u=%016" G_GINT64_MODIFIER "x_Qw@mail.gmail.example>", i,
                   gen_mix(x));
        break;
    default:
        buf_printf(out, "<%" G_GINT64_FORMAT ".%u-%u-", gen_time(plan, i), (unsigned)(x >> 40),
                   1 + (unsigned)(x >> 8 & 7));
        gen_address(plan, author, out);
        buf_append_byte(out, '>');
        break;
    }
}

void gen_subject(const struct gen_plan *plan, uint64_t i, struct buf *out)
{
    uint64_t root = gen_root(plan, i);
    struct gen_random r = gen_random_of(plan->seed, root, GEN_FOR_SUBJECT);
    enum gen_profile profile = gen_profile_of(plan, root);
    enum gen_charset cs = gen_charset_of(plan, root);
    if (cs == GEN_UTF8_LATIN && gen_permille(&r, 500))
        cs = GEN_ASCII;
    if (profile == GEN_LIST && gen_permille(&r, 500)) {
        /* One draw for three numbers: the order in which arguments are evaluated is the compiler's. */
        uint32_t x = gen_below(&r, 5 * 9 * 9);
        buf_printf(out, "[PATCH v%u %u/%u] ", 1 + x % 5, 1 + x / 5 % 9, 9 + x / 45);
    }
    uint64_t n = gen_lognormal(&r, 5 * 65536 + 5000, 38000);
    gen_phrase(plan->words, cs, &r, (size_t)MIN(n, 300u), out);
}

uint32_t gen_person(struct gen_random *r)
{
    return gen_zipf(r, GEN_PEOPLE, LOG2_PEOPLE);
}

uint32_t gen_author(const struct gen_plan *plan, uint64_t i)
{
    struct gen_random r = gen_random_of(plan->seed, i, GEN_FOR_AUTHOR);
    return gen_person(&r);
}

static const char *const given[] = {"anna", "ben",  "carla", "david", "elif",  "frank", "grace", "hiro",
                                    "ines", "jan",  "karin", "luis",  "maria", "nils",  "olga",  "pavel",
                                    "qing", "rosa", "sven",  "tomas", "uma",   "vera",  "wang",  "xavi",
                                    "yuki", "zoe",  "linus", "johan", "alice", "bob",   "greg",  "marta"};
static const char *const family[] = {"meyer", "smith", "okafor", "tanaka", "rossi", "garcia", "novak", "larsen",
                                     "kumar", "chen",  "dubois", "costa",  "weber", "ivanov", "silva", "brown"};
static const char *const domains[] = {"example.com",        "example.org",    "corp.example.net", "mail.example.de",
                                      "kernel.example.org", "gmail.example",  "list.example",     "uni.example.edu",
                                      "example.co.uk",      "post.example.jp"};

void gen_address(const struct gen_plan *plan, uint32_t person, struct buf *out)
{
    uint64_t x = draw(plan, person, GEN_FOR_PERSON);
    buf_printf(out, "%s.%s%u@%s", given[x % G_N_ELEMENTS(given)], family[x >> 8 & 15], person,
               domains[(x >> 16) % G_N_ELEMENTS(domains)]);
}

static void put_name(const char *name, struct buf *out)
{
    buf_append_byte(out, (uint8_t)g_ascii_toupper(name[0]));
    buf_append_str(out, name + 1);
}

void gen_mailbox(const struct gen_plan *plan, uint32_t person, struct buf *out)
{
    uint64_t x = draw(plan, person, GEN_FOR_PERSON);
    const char *first = given[x % G_N_ELEMENTS(given)], *last = family[x >> 8 & 15];
    unsigned style = (unsigned)(x >> 40) % 100;
    if (style < 12) { /* bare address */
        gen_address(plan, person, out);
        return;
    }
    if (style < 20) { /* "Meyer, Anna" must be quoted */
        buf_append_byte(out, '"');
        put_name(last, out);
        buf_append_str(out, ", ");
        put_name(first, out);
        buf_append_str(out, "\" <");
    } else if (style < 28) {
        struct gen_random r = {x};
        struct buf name = {0};
        enum gen_charset cs = (x >> 50 & 7) == 0 ? GEN_UTF8_CJK : (x >> 50 & 7) < 5 ? GEN_UTF8_LATIN : GEN_LATIN1;
        put_name(first, &name);
        buf_append_byte(&name, ' ');
        do
            gen_word(plan->words, cs, &r, &name);
        while (name.n < 12);
        gen_header_text(bytes_slice(buf_bytes(&name), 0, name.n), cs, (x >> 54 & 1) != 0, 30, out);
        buf_release(&name);
        buf_append_str(out, " <");
    } else {
        put_name(first, out);
        buf_append_byte(out, ' ');
        if (style > 90)
            buf_append_str(out, "J. ");
        put_name(last, out);
        buf_append_str(out, " <");
    }
    gen_address(plan, person, out);
    buf_append_byte(out, '>');
}
