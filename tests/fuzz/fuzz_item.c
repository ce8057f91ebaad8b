/*
 * Any bytes give a record for which all that must hold holds, also with limits
 * so small that they are met. Parsing again with the same parser gives the same
 * record (nothing is left over from the item before), and so does parsing by
 * GMime if the item's structure has no defect.
 */
#include "mime_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct mime_parser *parsers[3];

static void require(const char *bad)
{
    if (bad) {
        fprintf(stderr, "fuzz_item: %s\n", bad);
        abort();
    }
}

/* Items in which the two parsers are free to differ (docs/TOLERATED.md). */
static const uint64_t unsound = MIME_DEFECT(NO_HEADER) | MIME_DEFECT(NO_SEPARATOR) | MIME_DEFECT(BAD_HEADER_LINE) |
                                MIME_DEFECT(EMPTY_MULTIPART) | MIME_DEFECT(BAD_BOUNDARY) |
                                MIME_DEFECT(UNCLOSED_BOUNDARY) | MIME_DEFECT(DUPLICATE_HEADER) |
                                MIME_DEFECT(BAD_CONTENT_TYPE);

static void gmime_run(struct bytes item, struct bytes by_scan, uint64_t defects)
{
    struct buf by_gmime = {0};
    struct mime_record r;
    mime_parse(parsers[2], item, &r);
    require(mime_check_record(item, &r));
    mime_record_encode(&r, &by_gmime);
    require(defects & unsound || bytes_equal(by_scan, buf_bytes(&by_gmime)) ? NULL : "GMime's record differs");
    buf_release(&by_gmime);
}

static void decoders_run(struct bytes item)
{
    struct buf out = {0};
    const char *const charsets[] = {"", "utf-8", "iso-2022-jp", "utf-7", "big5", "nonsense"};
    for (uint8_t encoding = 0; encoding <= MIME_ENCODING_UNKNOWN; encoding++) {
        buf_reset(&out);
        mime_decode_text(item, encoding, charsets[encoding % 6], &out);
        require(mime_check_is_utf8(buf_bytes(&out)) ? NULL : "decoded text is not UTF-8");
    }
    buf_reset(&out);
    mime_decode_header(item, &out);
    require(mime_check_is_utf8(buf_bytes(&out)) ? NULL : "decoded header is not UTF-8");
    mime_casemap(item, &out);
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct mime_settings small = {.max_header_bytes = 200,
                                               .max_parts = 5,
                                               .max_depth = 3,
                                               .max_addresses = 3,
                                               .max_references = 2,
                                               .preview_chars = 20};
    if (!parsers[0]) {
        mime_init();
        parsers[0] = mime_parser_new(NULL);
        parsers[1] = mime_parser_new(&small);
        parsers[2] = mime_parser_new(&(struct mime_settings){.parser = MIME_PARSER_GMIME});
    }
    const struct bytes item = bytes_of(data, size);
    struct buf first = {0}, again = {0};
    struct mime_record r;
    mime_parse(parsers[0], item, &r);
    require(mime_check_record(item, &r));
    mime_record_encode(&r, &first);
    mime_parse_opaque(parsers[0], item, MIME_DEFECT(PARSER_HUNG), &r);
    require(mime_check_record(item, &r));
    mime_parse(parsers[0], item, &r);
    mime_record_encode(&r, &again);
    require(bytes_equal(buf_bytes(&first), buf_bytes(&again)) ? NULL : "a second parse differs");
    mime_parse(parsers[1], item, &r);
    require(mime_check_record(item, &r));
    mime_parse(parsers[0], item, &r);
    gmime_run(item, buf_bytes(&again), r.defects);
    decoders_run(item);
    buf_release(&first);
    buf_release(&again);
    return 0;
}
