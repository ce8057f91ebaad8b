/*
 * The one place where struct error becomes struct mdsq_error: the installed header must not need base/.
 */
#include "query_private.h"

_Static_assert((int)MDSQ_ERR_IO == (int)BASE_ERR_IO && (int)MDSQ_ERR_NOMEM == (int)BASE_ERR_NOMEM, "codes agree");
_Static_assert((int)MDSQ_ERR_NOTFOUND == (int)BASE_ERR_NOTFOUND && (int)MDSQ_ERR_EXISTS == (int)BASE_ERR_EXISTS, "");
_Static_assert((int)MDSQ_ERR_CORRUPT == (int)BASE_ERR_CORRUPT && (int)MDSQ_ERR_FORMAT == (int)BASE_ERR_FORMAT, "");
_Static_assert((int)MDSQ_ERR_LOCKED == (int)BASE_ERR_LOCKED && (int)MDSQ_ERR_FULL == (int)BASE_ERR_FULL, "");
_Static_assert((int)MDSQ_ERR_READONLY == (int)BASE_ERR_READONLY && (int)MDSQ_ERR_LIMIT == (int)BASE_ERR_LIMIT, "");
_Static_assert((int)MDSQ_ERR_USAGE == (int)BASE_ERR_USAGE && (int)MDSQ_ERR_GONE == (int)BASE_ERR_GONE, "");
_Static_assert((int)MDSQ_ERR_CANCELLED == (int)BASE_ERR_CANCELLED && (int)MDSQ_ERR_AUTH == (int)BASE_ERR_AUTH, "");
_Static_assert((int)MDSQ_ERR_SYNTAX == (int)BASE_ERR_SYNTAX && (int)MDSQ_ERR_AGAIN == (int)BASE_ERR_AGAIN, "");
_Static_assert(sizeof(((struct mdsq_error *)0)->text) == sizeof(((struct error *)0)->text), "texts fit");

int query_result(int rc, const struct error *e, struct mdsq_error *out)
{
    if (rc >= 0 || out == NULL)
        return rc;
    out->code = rc;
    out->sys = e->sys;
    memcpy(out->text, e->text, sizeof out->text);
    if (out->text[0] == 0) /* a callee that gave no text */
        (void)snprintf(out->text, sizeof out->text, "%s", base_err_name((enum base_err)rc));
    return rc;
}
