/* Opening an archive for reading: see browse.h. */
#include "browse.h"

int browse_fail(const struct mdsq_error *e)
{
    struct error err = {.code = (enum base_err)e->code, .sys = e->sys};

    g_strlcpy(err.text, e->text, sizeof err.text);
    if (e->code != MDSQ_ERR_NOTFOUND)
        return cli_fail(&err);
    cli_note("%s", e->text);
    return CLI_SOME_FAILED;
}

int browse_open_store(const char *dir, struct mdsq_store **out)
{
    struct mdsq_error e = {0};

    if (mdsq_store_open(dir, 0, out, &e) >= 0)
        return -1;
    cli_note("%s", e.text);
    return CLI_ENVIRONMENT;
}

int browse_open(struct browse *b, const char *store, const char *archive)
{
    struct mdsq_error e = {0};

    *b = (struct browse){0};
    const int rc = browse_open_store(store, &b->store);

    if (rc >= 0)
        return rc;
    if (mdsq_archive_open(b->store, archive, &b->archive, &e) < 0 || mdsq_reader_begin(b->archive, &b->reader, &e) < 0)
        return browse_fail(&e);
    return -1;
}

void browse_release(struct browse *b)
{
    mdsq_reader_end(&b->reader);
    mdsq_archive_close(&b->archive);
    mdsq_store_close(&b->store);
}
