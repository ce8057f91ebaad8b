/* Maildir names: time prefix, base, flags, and the letters of dovecot-keywords. */
#include "vault_private.h"

#include <fcntl.h>
#include <glib.h>
#include <unistd.h>

#define KEYWORDS_FILE_MAX ((size_t)64 << 10)
#define KEYWORD_MAX 255

struct bytes vault_maildir_base(struct bytes name)
{
    const uint8_t *colon = name.n ? memchr(name.p, ':', name.n) : NULL;

    return colon ? bytes_of(name.p, (size_t)(colon - name.p)) : name;
}

uint64_t vault_maildir_time(struct bytes name)
{
    uint64_t v = 0;

    for (size_t i = 0; i < name.n && g_ascii_isdigit(name.p[i]); i++) {
        const uint64_t digit = (uint64_t)(name.p[i] - '0');

        if (v > (UINT64_MAX - digit) / 10)
            return UINT64_MAX;
        v = v * 10 + digit;
    }
    return v;
}

/* RFC 3501: a flag-keyword is an atom. */
static bool is_atom(struct bytes word)
{
    if (word.n == 0 || word.n > KEYWORD_MAX)
        return false;
    for (size_t i = 0; i < word.n; i++) {
        if (word.p[i] <= 0x20 || word.p[i] >= 0x7f || strchr("(){%*\"\\]", word.p[i]))
            return false;
    }
    return true;
}

static bool has_word(struct bytes words, struct bytes word)
{
    size_t at = 0;

    while (at < words.n) {
        const uint8_t *blank = memchr(words.p + at, ' ', words.n - at);
        const size_t end = blank ? (size_t)(blank - words.p) : words.n;

        if (bytes_equal_nocase(bytes_slice(words, at, end - at), word))
            return true;
        at = end + 1;
    }
    return false;
}

uint32_t vault_keyword_add(struct buf *words, struct bytes word)
{
    static const struct {
        const char *word;
        uint32_t flag;
    } flags[] = {
        {"$Forwarded", VAULT_FLAG_FORWARDED}, {"\\Seen", VAULT_FLAG_SEEN},       {"\\Answered", VAULT_FLAG_ANSWERED},
        {"\\Flagged", VAULT_FLAG_FLAGGED},    {"\\Deleted", VAULT_FLAG_DELETED}, {"\\Draft", VAULT_FLAG_DRAFT},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (bytes_equal_nocase(word, bytes_str(flags[i].word)))
            return flags[i].flag;
    }
    if (!is_atom(word) || words->n + 1 + word.n > VAULT_KEYWORDS_MAX || has_word(buf_bytes(words), word))
        return 0;
    if (words->n)
        buf_append_byte(words, ' ');
    buf_append_bytes(words, word);
    return 0;
}

/* Lines "0 word", letter a is 0. Anything else in the file is passed over. */
static void keywords_parse(char *text, struct vault_keywords *k)
{
    char *save = NULL;

    for (char *line = strtok_r(text, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save)) {
        char *word = NULL;
        const guint64 letter = g_ascii_strtoull(line, &word, 10);

        if (word == line || *word != ' ' || letter >= G_N_ELEMENTS(k->word) || k->word[letter])
            continue;
        k->word[letter] = g_strdup(word + 1);
    }
}

void vault_keywords_load(struct vault *v, struct bytes container, struct vault_keywords *k)
{
    char path[VAULT_PATH_BYTES];
    struct stat st;

    vault_keywords_release(k);
    if (!vault_os_path(path, container, BYTES_LIT("dovecot-keywords")))
        return;
    const int fd = vault_os_open(v, path, 0);

    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        char *text = g_malloc(KEYWORDS_FILE_MAX + 1);
        const ssize_t got = vault_os_pread(fd, text, KEYWORDS_FILE_MAX, 0);

        text[got > 0 ? got : 0] = '\0';
        keywords_parse(text, k);
        g_free(text);
    }
    (void)close(fd);
}

void vault_keywords_release(struct vault_keywords *k)
{
    for (size_t i = 0; i < G_N_ELEMENTS(k->word); i++)
        g_clear_pointer(&k->word[i], g_free);
}

uint32_t vault_maildir_flags(struct bytes name, const struct vault_keywords *k, struct buf *words)
{
    const struct bytes base = vault_maildir_base(name);
    struct bytes rest = bytes_slice(name, base.n, SIZE_MAX);
    uint32_t flags = 0;
    uint32_t letters = 0; /* a letter twice is one keyword */

    if (rest.n < 3 || memcmp(rest.p, ":2,", 3) != 0)
        return 0;
    rest = bytes_slice(rest, 3, SIZE_MAX);
    for (size_t i = 0; i < rest.n; i++) {
        const uint8_t c = rest.p[i];

        switch (c) {
        case 'P':
            flags |= VAULT_FLAG_FORWARDED;
            break;
        case 'R':
            flags |= VAULT_FLAG_ANSWERED;
            break;
        case 'S':
            flags |= VAULT_FLAG_SEEN;
            break;
        case 'T':
            flags |= VAULT_FLAG_DELETED;
            break;
        case 'D':
            flags |= VAULT_FLAG_DRAFT;
            break;
        case 'F':
            flags |= VAULT_FLAG_FLAGGED;
            break;
        default:
            if (c >= 'a' && c <= 'z' && k->word[c - 'a'] && !(letters >> (c - 'a') & 1)) {
                letters |= 1u << (c - 'a');
                flags |= vault_keyword_add(words, bytes_str(k->word[c - 'a']));
            }
        }
    }
    return flags;
}
