#include "mds_fixture.h"

#include <criterion/criterion.h>

void fixture_must(int rc, const struct error *err, const char *file, int line)
{
    cr_assert_geq(rc, 0, "%s:%d: %s: %s", file, line, base_err_name((enum base_err)rc), err->text);
}

struct mds_env *fixture_open(const char *dir)
{
    const struct mds_options opts = {.create = true, .archive_name = "ann"};
    struct mds_env *env = NULL;
    struct error err;

    MUST(mds_open(dir, &opts, &env, &err));
    return env;
}

struct mds_txn *fixture_write(struct mds_env *env)
{
    struct mds_txn *t = NULL;
    struct error err;

    MUST(mds_write_begin(env, &t, &err));
    return t;
}

struct mds_txn *fixture_read(struct mds_env *env)
{
    struct mds_txn *t = NULL;
    struct error err;

    MUST(mds_read_begin(env, &t, &err));
    return t;
}

void fixture_commit(struct mds_txn **t)
{
    struct error err;

    MUST(mds_write_commit(t, &err));
}

uint32_t fixture_folder(struct mds_txn *t, const char *name)
{
    struct mds_folder f;
    struct error err;
    uint32_t id = 0;

    if (mds_folder_find(t, bytes_str(name), &f, &err) == BASE_OK)
        return f.id;
    MUST(mds_folder_create(t, bytes_str(name), &id, &err));
    return id;
}

struct hash128 fixture_hash(uint64_t item)
{
    return hash128_of(bytes_of(&item, sizeof item));
}

uint32_t fixture_add(struct mds_txn *t, uint32_t folder, unsigned n, uint32_t flags)
{
    struct error err;
    uint32_t uid = 0;

    for (unsigned i = 0; i < n; i++) {
        const uint64_t next = t->w->counters.next_item;
        struct mds_item it = {.size = 10,
                              .size_crlf = 11,
                              .hash = fixture_hash(next),
                              .msgid_hash = next,
                              .locator = {.name = BYTES_LIT("cur/x")}};
        const struct mds_item_words words = {
            .envelope = BYTES_LIT("(env)"), .bodystructure = BYTES_LIT("(body)"), .headers = BYTES_LIT("A: b\r\n")};

        MUST(mds_item_add(t, &it, &words, &err));
        struct mds_message m = {
            .folder = folder, .item = it.id, .flags = flags, .size_crlf = 11, .internal_date = 1000 + (int64_t)it.id};

        MUST(mds_message_add(t, &m, &err));
        uid = m.uid;
    }
    return uid;
}

static void keep_finding(const char *text, void *arg)
{
    const char **all = arg;

    *all = textf("%s%s\n", *all, text);
}

int fixture_verify(struct mds_env *env, const char **text)
{
    struct mds_txn *t = fixture_read(env);
    const char *all = "";
    struct error err;
    const int found = mds_verify(t, keep_finding, &all, &err);

    MUST(found);
    mds_read_end(&t);
    if (text)
        *text = all;
    return found;
}
