/*
 * Any bytes, any split: the framer gives the same commands, within its memory, and every parser of the grammar ends
 * without reading past a command. What decodes as a mailbox name encodes to itself, and what is written as an astring
 * is read back.
 *
 * Input: byte 0 chooses how the rest is split, then the client's bytes.
 */
#include "imap/fetch_att.h"
#include "imap/flag_args.h"
#include "imap/imap_url.h"
#include "imap/search_key.h"
#include "imap/wire/base64.h"
#include "imap/wire/cursor.h"
#include "imap/wire/framer.h"
#include "imap/wire/utf7.h"
#include "imap/wire/writer.h"

#include "base/error.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct imap_frame_limits limits = {300, 100, 500, 1000};

static void check_names(struct bytes command)
{
    struct buf utf8 = {0}, back = {0}, scratch = {0};
    if (imap_utf7_decode(command, &utf8)) {
        imap_utf7_encode(buf_bytes(&utf8), &back);
        ASSERT(bytes_equal(buf_bytes(&back), command));
    }
    imap_base64_decode(command, &scratch);
    buf_reset(&scratch);
    imap_write_astring(&scratch, command);
    struct arena *arena = arena_new(1 << 20);
    struct imap_cursor at = imap_cursor_of(buf_bytes(&scratch), arena);
    struct bytes v;
    ASSERT(imap_take_astring(&at, &v) && imap_at_end(&at) && v.n == command.n);
    arena_free(&arena);
    buf_release(&utf8);
    buf_release(&back);
    buf_release(&scratch);
}

static bool take_atts(struct imap_cursor *at)
{
    struct imap_fetch_atts atts = {0};
    return imap_take_fetch_atts(at, &atts);
}

static bool take_search(struct imap_cursor *at)
{
    struct imap_search_program program;
    return imap_take_search(at, 64, &program);
}

static bool take_mailbox(struct imap_cursor *at)
{
    const char *name;
    return imap_take_mailbox(at, &name);
}

static bool take_set(struct imap_cursor *at)
{
    struct bytes v;
    return imap_take_sequence_set(at, &v);
}

static bool take_flag_list(struct imap_cursor *at)
{
    struct mdsq_flags flags;
    return imap_take_flag_args(at, &flags);
}

static bool take_store_flags(struct imap_cursor *at)
{
    struct mdsq_flags flags;
    return imap_take_store_flags(at, &flags);
}

static bool take_date_time(struct imap_cursor *at)
{
    int64_t seconds;
    int16_t zone;
    return imap_take_date_time(at, &seconds, &zone);
}

static bool take_url(struct imap_cursor *at)
{
    struct imap_url url;
    struct bytes text;
    if (!imap_take_astring(at, &text))
        return false;
    if (!imap_url_parse(text, at->arena, &url))
        return imap_cursor_fail(at, "no URL");
    ASSERT(url.uid > 0 && (!url.mailbox || url.mailbox[0]));
    return true;
}

/* Behind the tag and the first word, every parser gets its turn at the same text. */
static void check_parsers(struct bytes command)
{
    static bool (*const takers[])(struct imap_cursor *) = {
        take_atts,        take_search,    take_mailbox, take_set,      take_flag_list,
        take_store_flags, take_date_time, take_url,     imap_take_end,
    };
    struct arena *arena = arena_new(64 << 10);
    struct imap_cursor begin = imap_cursor_of(command, arena);
    struct bytes tag, name;
    if (imap_take_tag(&begin, &tag) && imap_take_sp(&begin))
        imap_take_atom(&begin, &name);
    for (size_t i = 0; i < sizeof takers / sizeof takers[0]; i++)
        for (int skip_space = 0; skip_space < 2; skip_space++) {
            struct imap_cursor at = begin;
            at.why = NULL;
            if (skip_space && !imap_take_sp(&at))
                continue;
            bool ok = takers[i](&at);
            ASSERT(ok || at.why);
            ASSERT(at.p <= at.end);
        }
    arena_free(&arena);
}

/* Everything the framer says, as bytes; the second time the parsers run too. */
static void run(const uint8_t *data, size_t size, size_t step, bool ask, bool parse, struct buf *trace)
{
    struct imap_framer f = {0};
    for (size_t at = 0; at < size;) {
        size_t n = size - at < step ? size - at : step, used = 0;
        uint8_t *copy = malloc(n);
        memcpy(copy, data + at, n);
        f.ask = ask;
        enum imap_frame frame = imap_framer_feed(&f, &limits, bytes_of(copy, n), &used);
        ASSERT(used <= n && (used == n || frame != IMAP_FRAME_MORE));
        if (frame == IMAP_FRAME_DATA) { /* its pieces are the input's, so no mark between them */
            ASSERT(f.data.p >= copy && f.data.p + f.data.n == copy + used);
            buf_append_bytes(trace, f.data);
        }
        free(copy);
        if (frame == IMAP_FRAME_LITERAL) {
            buf_append_byte(trace, (uint8_t)frame);
            buf_put_varint(trace, f.literal.size);
            ASSERT(f.command.p[f.literal.at] == '{');
            frame = f.literal.size % 3 == 0                            ? imap_framer_collect(&f, &limits)
                    : f.literal.size % 3 == 1 && f.literal.size < 1000 ? imap_framer_stream(&f)
                                                                       : imap_framer_refuse(&f, &limits);
        }
        ASSERT(f.command.n <= limits.line_bytes + limits.command_bytes + IMAP_FRAMER_KEPT_BYTES);
        at += used;
        if (frame == IMAP_FRAME_MORE || frame == IMAP_FRAME_DATA)
            continue;
        buf_append_byte(trace, (uint8_t)frame);
        if (frame == IMAP_FRAME_CONTINUE)
            continue;
        buf_append_byte(trace, (uint8_t)f.reject);
        buf_put_blob(trace, imap_framer_command(&f));
        if (parse) {
            check_names(imap_framer_command(&f));
            if (frame == IMAP_FRAME_COMMAND)
                check_parsers(imap_framer_command(&f));
        }
        imap_framer_reset(&f);
        if (frame == IMAP_FRAME_CLOSE)
            break;
    }
    imap_framer_reset(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 4096)
        return 0;
    struct buf whole = {0}, split = {0};
    const bool ask = data[0] & 16;
    run(data + 1, size - 1, size, ask, true, &whole);
    run(data + 1, size - 1, 1 + data[0] % 16, ask, false, &split);
    ASSERT(bytes_equal(buf_bytes(&whole), buf_bytes(&split)));
    buf_release(&whole);
    buf_release(&split);
    return 0;
}
