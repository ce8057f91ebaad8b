/*
 * cmd_compress: COMPRESS DEFLATE (RFC 4978). Its answer is the last line that is not compressed; the layer is the
 * transport's.
 */
#include "session_private.h"

/* compress = "COMPRESS" SP algorithm */
IMAP_PARSE(imap_parse_compress)
{
    struct bytes *algorithm = imap_command_args(c, sizeof *algorithm);
    (void)s;
    return algorithm && imap_take_sp(at) && imap_take_atom(at, algorithm);
}

IMAP_RUN(imap_cmd_compress)
{
    const struct bytes *algorithm = c->args;
    if (!bytes_equal_nocase(*algorithm, BYTES_LIT("DEFLATE")))
        return imap_reply(c, IMAP_BAD, NULL, "Unknown compression");
    if (s->compressed)
        return imap_reply(c, IMAP_NO, "COMPRESSIONACTIVE", "DEFLATE is active already");
    if (!s->transport || !s->transport->compress)
        return imap_reply(c, IMAP_NO, "CANNOT", "Compression is not to be had here");
    s->compressed = true;
    s->upgrade = IMAP_RUN_COMPRESS;
    return imap_reply(c, IMAP_OK, NULL, "DEFLATE active");
}
