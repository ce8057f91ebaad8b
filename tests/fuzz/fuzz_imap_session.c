/*
 * Any bytes as a client: the session ends its runs, keeps its limits, and says only lines that the grammar knows:
 * untagged, tagged or a continuation; strings and parentheses that close; no NUL but in a literal8, no byte above 0x7e
 * outside strings.
 *
 * Input: byte 0 chooses: logged in or not, how the bytes are split, how little output is taken at a time, whether
 * commits are waited for by parking; the rest is the client's. The store is a small one, of the strange messages below;
 * after an input that changed it a copy takes its place, so that each input finds the same.
 */
#include "base/error.h"
#include "imap/imap.h"
#include "indexer/indexer.h"
#include "mds/query.h"
#include "test_support.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct mdsq_store *store;
static const char *template_dir, *work_dir;

/* ---- the store, again and again --------------------------------------------------------------- */

static void copy_file(int from_dir, int to_dir, const char *name)
{
    static char bytes[1 << 16];
    int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC);
    int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t n;
    ASSERT(from >= 0 && to >= 0);
    while ((n = read(from, bytes, sizeof bytes)) > 0)
        ASSERT(write(to, bytes, (size_t)n) == n);
    close(from);
    close(to);
}

/* Takes the descriptors. */
static void copy_tree(int from, int to)
{
    DIR *dir = fdopendir(from);
    ASSERT(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        ASSERT(fstatat(from, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0);
        if (S_ISREG(st.st_mode)) {
            copy_file(from, to, e->d_name);
        } else if (S_ISDIR(st.st_mode)) {
            ASSERT(mkdirat(to, e->d_name, 0700) == 0);
            copy_tree(openat(from, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                      openat(to, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        }
    }
    closedir(dir);
    close(to);
}

static void open_fresh_store(void)
{
    struct mdsq_error why = {0};
    mdsq_store_close(&store);
    remove_tree(work_dir);
    ASSERT(mkdir(work_dir, 0700) == 0);
    copy_tree(open(template_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
              open(work_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (mdsq_store_open(work_dir, MDSQ_STORE_WRITE | MDSQ_STORE_RELAXED, &store, &why) != 0) {
        fprintf(stderr, "fuzz_imap_session: %s\n", why.text);
        abort();
    }
}

static uint64_t tick(void)
{
    struct mdsq_archive *archive = NULL;
    struct mdsq_error why = {0};
    ASSERT(mdsq_archive_open(store, "mail", &archive, &why) == 0);
    uint64_t t = mdsq_archive_tick(archive);
    mdsq_archive_close(&archive);
    return t;
}

static const char *const mail[] = {
    "From: A <a@example.org>\nTo: g: b@c;, =?utf-8?q?=C3=A9?= <d@e>\nSubject: one\nDate: 1 Jan 2020 00:00:00 "
    "+0000\n\nHello\n",
    "Subject: two \xe9\nContent-Type: multipart/mixed; boundary=b\n\npre\n--b\n\none\n--b\nContent-Type: "
    "message/rfc822\n\n"
    "Subject: inner\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\nx\n--c\nContent-Type: "
    "text/html\n\n<p>y\n--c--\n--b--\n",
    "no header at all\n",
    "\nbody only\n",
    "Subject: \"quoted \\ text\"\r\nX-Y: z\r\n\r\nCRLF\r\n",
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    const char *dir = TEMP_DIR();
    struct error err = {0};
    struct indexer_report report;
    for (int folder = 0; folder < 3; folder++)
        for (size_t i = 0; i < sizeof mail / sizeof mail[0]; i++)
            write_text(path_join(dir, textf("vault%s/cur/%zu.x:2,%s",
                                            folder == 0   ? ""
                                            : folder == 1 ? "/.A&AOk-"
                                                          : "/.A&AOk-.b c",
                                            i, i % 2 ? "S" : "FR")),
                       mail[i]);
    for (int folder = 0; folder < 3; folder++)
        for (int k = 0; k < 2; k++)
            mkpath(path_join(dir, textf("vault%s/%s",
                                        folder == 0   ? ""
                                        : folder == 1 ? "/.A&AOk-"
                                                      : "/.A&AOk-.b c",
                                        k ? "new" : "tmp")));
    struct vault_spec spec;
    const char *text = textf("maildir++:%s/vault", dir);
    memset(&spec, 0, sizeof spec);
    ASSERT(vault_spec_parse(text, &spec, &err) == 0);
    const struct indexer_build build = {
        .store_dir = path_join(dir, "store"), .archive = "mail", .sources = &spec, .sources_n = 1, .jobs = 1};
    if (indexer_build(&build, &report, &err) != 0) {
        fprintf(stderr, "fuzz_imap_session: %s\n", err.text);
        abort();
    }
    template_dir = build.store_dir;
    work_dir = path_join(dir, "work");
    open_fresh_store();
    vault_spec_release(&spec);
    return 0;
}

/* ---- what a server may say ---------------------------------------------------------------- */

static void bad(const char *why, struct bytes all, size_t at)
{
    size_t from = at > 200 ? at - 200 : 0;
    fprintf(stderr, "%s at %zu: %.*s\n", why, at, (int)(at - from + 20 < all.n - from ? at - from + 20 : all.n - from),
            all.p + from);
    abort();
}

static bool starts(struct bytes v, const char *text)
{
    return v.n >= strlen(text) && memcmp(v.p, text, strlen(text)) == 0;
}

/* From one behind the quote to one behind its fellow. */
static size_t skip_quoted(struct bytes all, size_t at)
{
    for (; at < all.n && all.p[at] != '"'; at++) {
        if (all.p[at] == '\\' && ++at < all.n && all.p[at] != '"' && all.p[at] != '\\')
            bad("escape", all, at);
        if (at < all.n && (all.p[at] == '\r' || all.p[at] == '\n'))
            bad("line end in a quoted string", all, at);
    }
    return at + 1;
}

/* "{n}" CRLF and its bytes: where it ends, or `at` if this is no literal. */
static size_t skip_literal(struct bytes all, size_t at, bool cut)
{
    size_t i = at + 1, n = 0;
    while (i < all.n && isdigit(all.p[i]) && n < 1u << 30)
        n = n * 10 + (size_t)(all.p[i++] - '0');
    if (i == at + 1 || i + 3 > all.n || memcmp(all.p + i, "}\r\n", 3) != 0)
        return at;
    i += 3;
    if (n > all.n - i && !cut)
        bad("literal runs out", all, at);
    if (n > all.n - i)
        return all.n;
    if (n && (at == 0 || all.p[at - 1] != '~') && memchr(all.p + i, 0, n))
        bad("NUL in a literal", all, i);
    return i + n;
}

/* One response, free text or data; returns where the next begins. */
static size_t check_response(struct bytes all, size_t at, bool cut)
{
    struct bytes line = bytes_slice(all, at, all.n);
    bool data = starts(line, "* ") && !starts(line, "* OK ") && !starts(line, "* NO ") && !starts(line, "* BAD ") &&
                !starts(line, "* BYE ");
    size_t i = at;
    int depth = 0;
    if (!data && !starts(line, "+ ") && !starts(line, "* ")) {
        while (i < all.n && all.p[i] != ' ')
            i++;
        struct bytes status = bytes_slice(all, i, all.n);
        if (i == at || (!starts(status, " OK ") && !starts(status, " NO ") && !starts(status, " BAD ")))
            bad("no response", all, at);
    }
    while (i < all.n && all.p[i] != '\r') {
        uint8_t c = all.p[i];
        if (c < 0x20 || c > 0x7e)
            bad("byte outside a string", all, i);
        depth += data && c == '(' ? 1 : data && c == ')' ? -1 : 0;
        if (depth < 0)
            bad("parenthesis", all, i);
        size_t after = data && c == '{' ? skip_literal(all, i, cut) : i;
        i = after > i ? after : data && c == '"' ? skip_quoted(all, i + 1) : i + 1;
    }
    if (i + 1 >= all.n || all.p[i + 1] != '\n') {
        if (!cut)
            bad("no line end", all, i);
        return all.n;
    }
    if (depth)
        bad("open parenthesis", all, i);
    return i + 2;
}

static void check_output(struct bytes all, bool cut)
{
    for (size_t at = 0; at < all.n;)
        at = check_response(all, at, cut);
}

/* ---- the client -------------------------------------------------------------------------- */

static void on_wake(void *arg)
{
    sem_post(arg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 8192)
        return 0;
    const bool local = data[0] & 1;
    const size_t step = data[0] & 2 ? 7 : size, take = data[0] & 4 ? 1000 : SIZE_MAX;
    const struct imap_limits limits = {
        .line_bytes = 2000,
        .literal_bytes = 1000,
        .command_bytes = 4000,
        .pipeline_bytes = data[0] & 8 ? 64 : 0,
        .output_high_bytes = data[0] & 16 ? 100 : 0,
        .bad_commands = 1000,
        .append_bytes = 2000,
    };
    const uint64_t before = tick();
    sem_t woken;
    ASSERT(sem_init(&woken, 0, 0) == 0);
    struct error err = {0};
    struct imap_session *s =
        local ? imap_session_new_local(store, "mail", &limits, &err) : imap_session_new(store, &limits);
    ASSERT(s);
    if (data[0] & 32)
        imap_session_set_wake(s, on_wake, &woken);
    struct buf all = {0};
    enum imap_run how = IMAP_RUN_MORE;
    size_t at = 1;
    for (int runs = 0; how != IMAP_RUN_CLOSE; runs++) {
        ASSERT(runs < 1000000);
        size_t n = size - at < step ? size - at : step;
        size_t took = imap_session_feed(s, data + at, n);
        at += took;
        how = imap_session_run(s);
        if (how == IMAP_RUN_PARKED)
            sem_wait(&woken);
        struct bytes out = imap_session_output(s);
        size_t wrote = out.n < take ? out.n : take;
        buf_append(&all, out.p, wrote);
        imap_session_wrote(s, wrote);
        if (how == IMAP_RUN_IDLE && at == size && imap_session_output(s).n == 0)
            break;
        ASSERT(all.n < 64u << 20);
    }
    struct bytes rest = imap_session_output(s);
    buf_append_bytes(&all, rest);
    check_output(buf_bytes(&all), how == IMAP_RUN_CLOSE);
    imap_session_free(&s);
    sem_destroy(&woken);
    buf_release(&all);
    if (tick() != before)
        open_fresh_store();
    return 0;
}
