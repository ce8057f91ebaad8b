/* writer: see writer.h. */
#include "wire/writer.h"

#include "wire/cursor.h"
#include "wire/utf7.h"

#define QUOTED_MAX_BYTES 1000 /* some clients read lines into fixed buffers; beyond it a literal serves everybody */

static bool can_be_quoted(struct bytes v)
{
    if (v.n > QUOTED_MAX_BYTES)
        return false;
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] == 0 || v.p[i] == '\r' || v.p[i] == '\n' || v.p[i] >= 0x80)
            return false;
    return true;
}

static void put_quoted(struct buf *out, struct bytes v)
{
    buf_append_byte(out, '"');
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] == '"' || v.p[i] == '\\')
            buf_append_byte(out, '\\');
        buf_append_byte(out, v.p[i]);
    }
    buf_append_byte(out, '"');
}

void imap_write_literal_head(struct buf *out, uint64_t n)
{
    buf_append_byte(out, '{');
    buf_append_u64_dec(out, n);
    buf_append_str(out, "}\r\n");
}

void imap_write_literal8_head(struct buf *out, uint64_t n)
{
    buf_append_byte(out, '~');
    imap_write_literal_head(out, n);
}

void imap_write_string(struct buf *out, struct bytes v)
{
    if (!can_be_quoted(v)) {
        imap_write_literal_head(out, v.n);
        for (size_t i = 0; i < v.n; i++)
            buf_append_byte(out, v.p[i] ? v.p[i] : 0x80);
        return;
    }
    put_quoted(out, v);
}

void imap_write_astring(struct buf *out, struct bytes v)
{
    bool atom = v.n > 0 && v.n <= QUOTED_MAX_BYTES && !bytes_equal_nocase(v, BYTES_LIT("NIL"));
    for (size_t i = 0; i < v.n && atom; i++)
        atom = imap_is_astring_char(v.p[i]);
    if (atom)
        buf_append_bytes(out, v);
    else
        imap_write_string(out, v);
}

void imap_write_mailbox(struct buf *out, const char *utf8)
{
    struct bytes name = bytes_str(utf8);
    if (bytes_equal_nocase(name, BYTES_LIT("INBOX"))) {
        buf_append_str(out, "INBOX");
        return;
    }
    if (imap_utf7_is_plain(name)) {
        imap_write_astring(out, name);
        return;
    }
    struct buf encoded = {0};
    imap_utf7_encode(name, &encoded);
    imap_write_astring(out, buf_bytes(&encoded));
    buf_release(&encoded);
}

void imap_write_mailbox_utf8(struct buf *out, const char *utf8)
{
    struct bytes name = bytes_str(utf8);
    bool ascii = true;
    for (size_t i = 0; i < name.n; i++)
        ascii &= name.p[i] < 0x80;
    if (bytes_equal_nocase(name, BYTES_LIT("INBOX")))
        buf_append_str(out, "INBOX");
    else if (!ascii && imap_utf8_is_name(name))
        put_quoted(out, name);
    else
        imap_write_astring(out, name);
}

void imap_write_range(struct buf *out, uint32_t first, uint32_t last)
{
    buf_append_u64_dec(out, first);
    if (last == first)
        return;
    buf_append_byte(out, ':');
    buf_append_u64_dec(out, last);
}
