/* fake_query: see fake_query.h. */
#include "fake_private.h"

#include <stdio.h>
#include <stdlib.h>

struct fake fake;

struct mdsq_store {
    int unused;
};
struct mdsq_archive {
    int unused;
};

static const char raw_one[] = "From: A <a@example.org>\r\nSubject: one\r\n\r\nHello\r\n";
static const char raw_two[] = "Subject: two\r\nX-Y: z\r\n\r\nSecond text, a little longer\r\n";

void fake_add(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct fake_message *m = &fake.messages[fake.n++];
        *m = (struct fake_message){
            .uid = fake.n * 10, .modseq = ++fake.modseq, .flags = "(\\Seen)", .raw = fake.n % 2 ? raw_one : raw_two};
    }
    fake.tick++;
}

void fake_reset(void)
{
    fake = (struct fake){.modseq = 2};
    fake_add(3);
    fake.messages[1].flags = "()";
}

struct fake_message *fake_find(uint32_t uid)
{
    return uid % 10 == 0 && uid / 10 >= 1 && uid / 10 <= fake.n ? &fake.messages[uid / 10 - 1] : NULL;
}

void fake_expunge(uint32_t uid)
{
    fake_find(uid)->expunged = true;
    fake.modseq++;
    fake.tick++;
}

void fake_flag(uint32_t uid, const char *flags)
{
    fake_find(uid)->flags = flags;
    fake_find(uid)->changed = true;
    fake_find(uid)->modseq = ++fake.modseq;
    fake.tick++;
}

int fake_fail(struct mdsq_error *err, int code)
{
    if (err) {
        err->code = code;
        snprintf(err->text, sizeof err->text, "/a/secret/path: code %d", code);
    }
    return code;
}

int mdsq_login(struct mdsq_store *store, const char *user, const char *password, char archive_out[256],
               struct mdsq_error *err)
{
    (void)store;
    if (fake.login_result)
        return fake_fail(err, fake.login_result);
    if (strcmp(user, "me") != 0 || strcmp(password, "secret\"\\") != 0)
        return fake_fail(err, MDSQ_ERR_AUTH);
    strcpy(archive_out, "mail");
    return 0;
}

struct mdsq_attempt {
    char user[300];
    bool decided;
};

int mdsq_attempt_new(struct mdsq_store *store, const char *user, const char *address, struct mdsq_attempt **out,
                     struct mdsq_error *err)
{
    (void)store, (void)address, (void)err;
    *out = calloc(1, sizeof **out);
    snprintf((*out)->user, sizeof(*out)->user, "%s", user);
    fake.objects++;
    return 0;
}

static int hold_back(struct mdsq_error *err)
{
    if (fake.login_waits == 0)
        return 0;
    fake.login_waits--;
    return fake_fail(err, MDSQ_ERR_AGAIN);
}

static bool is_me(const struct mdsq_attempt *attempt)
{
    return strcmp(attempt->user, "me") == 0 || strcmp(attempt->user, "me\\mail") == 0;
}

int mdsq_attempt_password(struct mdsq_attempt *attempt, const char *password, struct mdsq_error *err)
{
    if (hold_back(err) < 0)
        return MDSQ_ERR_AGAIN;
    if (fake.login_result)
        return fake_fail(err, fake.login_result);
    return is_me(attempt) && strcmp(password, "secret\"\\") == 0 ? 0 : fake_fail(err, MDSQ_ERR_AUTH);
}

int mdsq_attempt_admit(struct mdsq_attempt *attempt, struct mdsq_error *err)
{
    (void)attempt;
    return hold_back(err);
}

void mdsq_attempt_scram(struct mdsq_attempt *attempt, struct mdsq_scram *out)
{
    *out = fake.scram;
    if (!is_me(attempt))
        memset(out->stored_key, 1, sizeof out->stored_key);
}

int mdsq_attempt_accept(struct mdsq_attempt *attempt, bool right, struct mdsq_error *err)
{
    const bool ok = right && is_me(attempt) && !attempt->decided;
    attempt->decided = true;
    return ok ? 0 : fake_fail(err, MDSQ_ERR_AUTH);
}

uint32_t mdsq_attempt_wait_ms(const struct mdsq_attempt *attempt)
{
    (void)attempt;
    return 700;
}

const char *mdsq_attempt_account(const struct mdsq_attempt *attempt)
{
    return is_me(attempt) ? "me" : attempt->user;
}

const char *mdsq_attempt_archive(const struct mdsq_attempt *attempt)
{
    return is_me(attempt) ? "mail" : "";
}

bool mdsq_attempt_remembered(const struct mdsq_attempt *attempt)
{
    (void)attempt;
    return false;
}

void mdsq_attempt_free(struct mdsq_attempt **attempt)
{
    if (!*attempt)
        return;
    free(*attempt);
    *attempt = NULL;
    fake.objects--;
}

int mdsq_archive_open(struct mdsq_store *store, const char *name, struct mdsq_archive **out, struct mdsq_error *err)
{
    (void)store;
    *out = NULL;
    if (fake.open_result || strcmp(name, "mail") != 0)
        return fake_fail(err, fake.open_result ? fake.open_result : MDSQ_ERR_NOTFOUND);
    *out = calloc(1, sizeof **out);
    fake.objects++;
    return 0;
}

void mdsq_archive_close(struct mdsq_archive **archive){FREE(archive)}

uint64_t mdsq_archive_tick(struct mdsq_archive *archive)
{
    (void)archive;
    return fake.tick;
}

uint64_t mdsq_reader_tick(const struct mdsq_reader *reader)
{
    (void)reader;
    return fake.tick;
}

bool mdsq_archive_writable(const struct mdsq_archive *archive)
{
    (void)archive;
    return fake.writable;
}

bool mdsq_archive_is_there(struct mdsq_archive *archive)
{
    (void)archive;
    return !fake.archive_is_gone;
}

int mdsq_reader_begin(struct mdsq_archive *archive, struct mdsq_reader **out, struct mdsq_error *err)
{
    (void)archive, (void)err;
    *out = calloc(1, sizeof **out);
    fake.readers++;
    if (fake.readers > fake.readers_max)
        fake.readers_max = fake.readers;
    return 0;
}

int mdsq_reader_renew(struct mdsq_reader *reader, struct mdsq_error *err)
{
    (void)reader, (void)err;
    return 0;
}

void mdsq_reader_end(struct mdsq_reader **reader)
{
    if (*reader) {
        free(*reader);
        *reader = NULL;
        fake.readers--;
    }
}
