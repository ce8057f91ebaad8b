#include "mds_fixture.h"

#include <criterion/criterion.h>

/* What fuzz_codec says of any bytes, said here of rows with every field at its edges. */

static const int64_t times[] = {0, 1, -1, 1200000000, INT64_MAX, INT64_MIN};
#define TIMES (sizeof times / sizeof times[0])

Test(codec, a_message_keeps_every_field)
{
    for (size_t i = 0; i < TIMES; i++) {
        const struct mds_message m = {
            .folder = 1,
            .uid = 2,
            .item = UINT64_MAX,
            .flags = (uint32_t)(i * 11) & MDS_FLAGS_ALL,
            .modseq = UINT64_MAX,
            .internal_date = times[i],
            .internal_zone = i % 2 ? INT16_MIN : INT16_MAX,
            .saved_date = times[TIMES - 1 - i],
            .size_crlf = UINT64_MAX,
            .sent_date = times[(i + 2) % TIMES],
            .keywords = i % 2 ? bytes_of("\0\0\x0f\xff", 4) : (struct bytes){0},
        };
        struct mds_message back;
        struct buf out = {0};

        message_encode(&m, &out);
        cr_assert(message_decode(1, 2, buf_bytes(&out), &back), "time %zu", i);
        cr_expect(back.item == m.item && back.flags == m.flags && back.modseq == m.modseq &&
                      back.internal_date == m.internal_date && back.internal_zone == m.internal_zone &&
                      back.saved_date == m.saved_date && back.size_crlf == m.size_crlf &&
                      back.sent_date == m.sent_date && bytes_equal(back.keywords, m.keywords),
                  "time %zu", i);
        buf_release(&out);
    }
}

Test(codec, small_rows_of_a_living_store_keep_every_field)
{
    const struct mds_removed removed = {.folder = 3,
                                        .uid = 4,
                                        .folder_name = BYTES_LIT("a/b"),
                                        .removed_at = INT64_MIN,
                                        .message = {.item = 9, .flags = 5, .modseq = 7, .internal_date = -1}};
    const struct renames renames = {UINT32_MAX, MDS_NAME_MAX};
    const struct mds_segments segments = {UINT32_MAX, UINT64_MAX};
    struct mds_removed removed_back;
    struct renames renames_back;
    struct mds_segments segments_back;
    struct buf a = {0}, b = {0}, c = {0}, d = {0};
    bool aside = false;

    removed_encode(&removed, &a);
    renames_encode(&renames, &b);
    segments_encode(&segments, &c);
    cr_expect(removed_decode(3, 4, buf_bytes(&a), &removed_back) && removed_back.removed_at == INT64_MIN &&
              bytes_equal(removed_back.folder_name, removed.folder_name) && removed_back.message.item == 9 &&
              removed_back.message.flags == 5 && removed_back.message.folder == 3 && removed_back.message.uid == 4);
    cr_expect(renames_decode(buf_bytes(&b), &renames_back) && renames_back.uidvalidity == UINT32_MAX &&
              renames_back.name_bytes == MDS_NAME_MAX);
    cr_expect(segments_decode(buf_bytes(&c), &segments_back) && segments_back.active == UINT32_MAX &&
              segments_back.tail == UINT64_MAX);
    for (size_t n = 0; n < a.n; n++)
        cr_expect_not(removed_decode(3, 4, bytes_of(a.p, n), &removed_back), "removed cut to %zu", n);
    for (size_t n = 0; n < b.n; n++)
        cr_expect_not(renames_decode(bytes_of(b.p, n), &renames_back), "renames cut to %zu", n);
    for (size_t n = 0; n < c.n; n++)
        cr_expect_not(segments_decode(bytes_of(c.p, n), &segments_back), "segments cut to %zu", n);
    filing_encode(false, &d);
    cr_expect(filing_decode(buf_bytes(&d), &aside) && !aside);
    filing_encode(true, &d);
    cr_expect(filing_decode(buf_bytes(&d), &aside) && aside);
    cr_expect(!filing_decode(BYTES_LIT("\0"), &aside) && !filing_decode(BYTES_LIT("\1\1"), &aside));
    buf_release(&a);
    buf_release(&b);
    buf_release(&c);
    buf_release(&d);
}

Test(codec, an_item_keeps_every_field)
{
    for (unsigned bits = 0; bits < 8; bits++) {
        const struct mds_item it = {
            .id = 5,
            .hash = fixture_hash(bits),
            .size = UINT64_MAX,
            .size_crlf = 1,
            .defects = UINT64_MAX,
            .thread_id = bits ? UINT64_MAX : 5,
            .has_sent_date = bits & 1,
            .sent_date = bits & 1 ? INT64_MIN : 0,
            .sent_zone = bits & 1 ? -720 : 0,
            .msgid_hash = bits & 2 ? UINT64_MAX : 0,
            .locator = {UINT32_MAX, 7, BYTES_LIT("n"), bits & 4 ? 1 : 0, bits & 4 ? UINT64_MAX : 0, bits & 4 ? 3 : 0},
            .parts = BYTES_LIT("ppp"),
            .crlf_map = bits & 1 ? BYTES_LIT("m") : (struct bytes){0},
        };
        struct mds_item back;
        struct buf out = {0};

        item_encode(&it, &out);
        cr_assert(item_decode(5, buf_bytes(&out), &back), "bits %u", bits);
        cr_expect(memcmp(&back.hash, &it.hash, sizeof it.hash) == 0 && back.size == it.size &&
                      back.defects == it.defects && back.thread_id == it.thread_id &&
                      back.has_sent_date == it.has_sent_date && back.sent_date == it.sent_date &&
                      back.sent_zone == it.sent_zone && back.msgid_hash == it.msgid_hash &&
                      back.locator.source == it.locator.source && back.locator.container == 7 &&
                      back.locator.offset == it.locator.offset && back.locator.length == it.locator.length &&
                      back.locator.filter == it.locator.filter && bytes_equal(back.locator.name, it.locator.name) &&
                      bytes_equal(back.parts, it.parts) && bytes_equal(back.crlf_map, it.crlf_map),
                  "bits %u", bits);
        buf_release(&out);
    }
}

Test(codec, every_prefix_of_a_fixed_row_is_refused)
{
    struct mds_sort sort = {.base_subject = BYTES_LIT("s"),
                            .reference_hashes = BYTES_LIT("8 bytes."),
                            .address_hashes = BYTES_LIT("123456789"),
                            .preview = BYTES_LIT("pre"),
                            .has_received_date = true,
                            .received_date = -5,
                            .received_zone = 60};
    struct counters counters = {.next_item = 1, .next_folder = 1, .next_container = 1, .next_source = 1}, c;
    struct table_sums sums = {.txnid = 300}, s;
    struct mds_sort sort_back;
    struct run run = {5, 6, 700}, run_back;
    struct buf a = {0}, b = {0}, d = {0}, e = {0};

    mds_sort_encode(&sort, &a);
    counters_encode(&counters, &b);
    sums_encode(&sums, TABLE_COUNT, &d);
    run_encode(&run, &e);
    cr_expect(mds_sort_decode(buf_bytes(&a), &sort_back, NULL) == BASE_OK && sort_back.received_date == -5 &&
              sort_back.received_zone == 60 && bytes_equal(sort_back.preview, sort.preview) &&
              bytes_equal(sort_back.reference_hashes, sort.reference_hashes));
    cr_expect(counters_decode(buf_bytes(&b), &c) && sums_decode(buf_bytes(&d), &s) &&
              run_decode(5, buf_bytes(&e), &run_back));
    for (size_t n = 0; n < a.n; n++)
        cr_expect_eq(mds_sort_decode(bytes_of(a.p, n), &sort_back, NULL), BASE_ERR_CORRUPT, "sort cut to %zu", n);
    for (size_t n = 0; n < b.n; n++)
        cr_expect_not(counters_decode(bytes_of(b.p, n), &c), "counters cut to %zu", n);
    for (size_t n = 0; n < d.n; n++)
        cr_expect_not(sums_decode(bytes_of(d.p, n), &s), "sums cut to %zu", n);
    for (size_t n = 0; n < e.n; n++)
        cr_expect_not(run_decode(5, bytes_of(e.p, n), &run_back), "run cut to %zu", n);
    buf_release(&a);
    buf_release(&b);
    buf_release(&d);
    buf_release(&e);
}

Test(codec, a_pack_that_claims_more_than_it_holds_is_refused)
{
    static const struct {
        const char *name, *bytes;
        size_t n;
        bool ok;
    } rows[] = {
        {"empty", "", 0, false},
        {"no entries", "\0", 1, false},
        {"one", "\1\3ab", 4, true},
        {"removed", "\2\0\3ab", 5, true},
        {"cut data", "\1\4ab", 4, false},
        {"data left", "\1\2ab", 4, false},
        {"cut index", "\3\1", 2, false},
        {"huge n", "\xff\xff\xff\xff\x0f\1", 6, false},
        {"huge len", "\1\xff\xff\xff\xff\x0f", 6, false},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pack p = {0};

        cr_expect_eq(pack_decode(1, bytes_of(rows[i].bytes, rows[i].n), &p), rows[i].ok, "%s", rows[i].name);
        cr_expect_not(pack_decode(0, bytes_of(rows[i].bytes, rows[i].n), &p), "%s at item 0", rows[i].name);
        pack_release(&p);
    }
}

/* n entries of a text that repeats itself, as a payload. */
static void repeating_pack(uint32_t n, struct buf *out)
{
    uint32_t len[64];
    struct buf data = {0};

    cr_assert_leq(n, 64);
    for (uint32_t i = 0; i < n; i++) {
        const size_t before = data.n;

        buf_printf(&data, "From: Ann Example <ann@example.org>\r\nSubject: the %u. of them\r\n", i);
        len[i] = (uint32_t)(data.n - before) + 1;
    }
    buf_reset(out);
    pack_encode(len, n, buf_bytes(&data), out);
    buf_release(&data);
}

Test(codec, a_compressed_pack_gives_what_was_packed)
{
    struct buf plain = {0}, row = {0};
    struct pack a = {0}, b = {0};

    repeating_pack(60, &plain);
    buf_append_str(&row, "seal");
    buf_append_bytes(&row, buf_bytes(&plain));
    pack_compress(&row, 4);
    cr_assert_lt(row.n, plain.n / 2);
    cr_expect(bytes_equal(bytes_of(row.p, 4), BYTES_LIT("seal")));
    cr_assert(pack_decode(7, buf_bytes(&plain), &a));
    cr_assert(pack_decode(7, bytes_slice(buf_bytes(&row), 4, SIZE_MAX), &b));
    cr_expect(a.n == 60 && b.n == 60 && b.first == 7 && bytes_equal(a.data, b.data));
    cr_expect_eq(memcmp(a.len, b.len, 60 * sizeof *a.len), 0);
    cr_assert(pack_decode(7, buf_bytes(&plain), &b), "one struct for rows of both forms");
    cr_expect(bytes_equal(a.data, b.data) && b.plain.n == 0);
    pack_release(&a);
    pack_release(&b);
    buf_release(&plain);
    buf_release(&row);
}

Test(codec, what_does_not_shrink_or_is_out_of_bounds_is_not_compressed)
{
    struct buf row = {0};
    uint64_t x = 1;

    repeating_pack(2, &row);
    const size_t small = row.n;

    pack_compress(&row, 0);
    cr_expect_eq(row.n, small, "too small");
    buf_reset(&row);
    for (unsigned i = 0; i < 1000; i++) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
        put_be64(buf_reserve(&row, 8), x);
        row.n += 8;
    }
    pack_compress(&row, 0);
    cr_expect_eq(row.n, 8000, "noise");
    memset(buf_reserve(&row, PACK_PLAIN_MAX), 'x', PACK_PLAIN_MAX);
    row.n += PACK_PLAIN_MAX;
    pack_compress(&row, 0);
    cr_expect_eq(row.n, PACK_PLAIN_MAX + 8000, "too large");
    buf_release(&row);
}

Test(codec, a_compressed_pack_that_is_damaged_is_refused)
{
    struct buf plain = {0}, row = {0}, bad = {0};
    struct pack p = {0};

    repeating_pack(60, &plain);
    buf_append_bytes(&row, buf_bytes(&plain));
    pack_compress(&row, 0);
    for (size_t n = 0; n < row.n; n++)
        cr_assert_not(pack_decode(1, bytes_slice(buf_bytes(&row), 0, n), &p), "cut at %zu", n);
    buf_append_bytes(&bad, buf_bytes(&row));
    buf_put_u8(&bad, 0);
    cr_expect_not(pack_decode(1, buf_bytes(&bad), &p), "a byte left over");
    /* What it claims to hold: one less, one more, and more than may be. */
    static const int64_t off[] = {-1, 1, PACK_PLAIN_MAX, INT64_MAX / 2};

    for (size_t i = 0; i < sizeof off / sizeof off[0]; i++) {
        struct reader r = reader_of(bytes_slice(buf_bytes(&row), 1, SIZE_MAX));
        const uint64_t n = reader_varint(&r);

        buf_reset(&bad);
        buf_put_u8(&bad, 0);
        buf_put_varint(&bad, n + (uint64_t)off[i]);
        buf_append_bytes(&bad, bytes_of(r.p, (size_t)(r.end - r.p)));
        cr_expect_not(pack_decode(1, buf_bytes(&bad), &p), "%lld", (long long)off[i]);
    }
    /* Compressed twice. */
    buf_reset(&bad);
    for (unsigned i = 0; i < 40; i++)
        buf_append_bytes(&bad, buf_bytes(&row));
    pack_compress(&bad, 0);
    cr_assert_lt(bad.n, 40 * row.n);
    cr_expect_not(pack_decode(1, buf_bytes(&bad), &p));
    pack_release(&p);
    buf_release(&plain);
    buf_release(&row);
    buf_release(&bad);
}

Test(codec, keyword_lists_must_ascend)
{
    cr_expect(keywords_valid((struct bytes){0}));
    cr_expect(keywords_valid(bytes_of("\0\0\0\1\x0f\xff", 6)));
    cr_expect_not(keywords_valid(bytes_of("\0\1\0\1", 4)), "twice");
    cr_expect_not(keywords_valid(bytes_of("\0\2\0\1", 4)), "descending");
    cr_expect_not(keywords_valid(bytes_of("\0\2\0", 3)), "odd");
    cr_expect_not(keywords_valid(bytes_of("\x10\0", 2)), "beyond the limit");
}

Test(keys, long_text_is_hashed_from_the_limit_on)
{
    static char text[5000];
    struct key a = {.n = 0}, b = {.n = 0};

    memset(text, 'x', sizeof text);
    for (size_t n = 500; n < 520; n++) {
        key_reset(&a);
        key_u32(&a, 1);
        cr_expect_eq(key_text(&a, bytes_of(text, n)), n >= 507, "%zu bytes", n);
        cr_expect_eq(a.n, n >= 507 ? 511 : 4 + n, "%zu bytes", n);
    }
    key_reset(&a);
    cr_expect(key_text(&a, bytes_of(text, 4096)));
    text[4095] = 'y';
    cr_expect(key_text(&b, bytes_of(text, 4096)));
    cr_expect_neq(bytes_compare(key_bytes(&a), key_bytes(&b)), 0, "only the last byte differs");
}

Test(keys, a_seal_depends_on_table_key_and_value)
{
    const uint32_t seal = row_seal(TABLE_ITEMS, BYTES_LIT("key"), BYTES_LIT("value"));

    cr_expect_eq(seal, row_seal(TABLE_ITEMS, BYTES_LIT("key"), BYTES_LIT("value")));
    cr_expect_neq(seal, row_seal(TABLE_WIRE, BYTES_LIT("key"), BYTES_LIT("value")));
    cr_expect_neq(seal, row_seal(TABLE_ITEMS, BYTES_LIT("kez"), BYTES_LIT("value")));
    cr_expect_neq(seal, row_seal(TABLE_ITEMS, BYTES_LIT("key"), BYTES_LIT("valuf")));
    cr_expect_neq(seal, row_seal(TABLE_ITEMS, BYTES_LIT("keyv"), BYTES_LIT("alue")));
}
