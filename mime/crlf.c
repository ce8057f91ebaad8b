/* crlf: see mime/crlf.h. */
#include "mime/crlf.h"

#include "mime_private.h"

void mime_crlf_map_encode(struct bytes item, struct buf *out)
{
    if (item.n < MIME_CRLF_STEP)
        return;
    const size_t start = out->n;
    uint64_t total = 0;
    uint8_t prev = 0;
    for (size_t off = 0; item.n - off >= MIME_CRLF_STEP; off += MIME_CRLF_STEP) {
        const struct bytes step = bytes_slice(item, off, MIME_CRLF_STEP);
        const uint64_t lone = mime_count_lines(step, prev).lone_lf;
        prev = step.p[step.n - 1];
        total += lone;
        buf_put_varint(out, lone);
    }
    if (total == 0 &&
        mime_count_lines(bytes_slice(item, item.n - item.n % MIME_CRLF_STEP, SIZE_MAX), prev).lone_lf == 0)
        out->n = start;
}

int mime_crlf_map_decode(struct bytes in, uint64_t item_size, struct mime_crlf_map *out, struct error *err)
{
    *out = (struct mime_crlf_map){0};
    if (in.n == 0)
        return BASE_OK;
    /* One varint of at least a byte per step bounds the allocation by the input. */
    const uint64_t steps = item_size / MIME_CRLF_STEP;
    if (steps == 0 || steps > in.n)
        return error_set(err, BASE_ERR_CORRUPT, 0, "crlf map: %zu bytes do not fit an item of %llu", in.n,
                         (unsigned long long)item_size);
    uint64_t *lone = calloc((size_t)steps + 1, sizeof(*lone));
    if (!lone)
        return error_set(err, BASE_ERR_NOMEM, 0, "crlf map: no memory for %llu steps", (unsigned long long)steps);
    struct reader r = reader_of(in);
    for (uint64_t i = 0; i < steps; i++) {
        const uint64_t n = reader_varint(&r);
        if (n > MIME_CRLF_STEP)
            r.ok = false;
        lone[i + 1] = lone[i] + n;
    }
    if (!reader_done(&r)) {
        free(lone);
        return error_set(err, BASE_ERR_CORRUPT, 0, "crlf map: bad step");
    }
    out->lone = lone;
    out->n = (size_t)steps + 1;
    return BASE_OK;
}

void mime_crlf_map_release(struct mime_crlf_map *m)
{
    if (!m)
        return;
    free(m->lone);
    *m = (struct mime_crlf_map){0};
}

void mime_crlf_seek(const struct mime_crlf_map *m, uint64_t base, uint64_t base_lone, uint64_t client_off,
                    uint64_t *stored_out, uint64_t *client_out)
{
    *stored_out = base;
    *client_out = 0;
    /* Steps [lo, hi) lie at or after base; client offsets grow with them. */
    size_t lo = (size_t)(base / MIME_CRLF_STEP + (base % MIME_CRLF_STEP != 0)), hi = m->n;
    if (base / MIME_CRLF_STEP >= m->n)
        return;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const uint64_t stored = (uint64_t)mid * MIME_CRLF_STEP;
        const uint64_t client = stored - base + (m->lone[mid] - base_lone);
        if (m->lone[mid] >= base_lone && client <= client_off) {
            *stored_out = stored;
            *client_out = client;
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
}

void mime_crlf_convert(struct bytes in, bool *last_cr, struct buf *out)
{
    const uint8_t *p = in.p, *const end = in.p + in.n;
    const size_t begin = out->n;
    if (in.n == 0)
        return;
    /* From p on nothing is copied yet: what needs no byte more goes in one piece. */
    for (const uint8_t *from = p, *lf; from < end && (lf = memchr(from, '\n', (size_t)(end - from))); from = lf + 1) {
        if (lf > in.p ? lf[-1] == '\r' : *last_cr)
            continue;
        buf_append(out, p, (size_t)(lf - p));
        buf_append_str(out, "\r\n");
        p = lf + 1;
    }
    buf_append(out, p, (size_t)(end - p));
    *last_cr = end[-1] == '\r';
    uint8_t *const stop = out->p + out->n;
    for (uint8_t *nul = out->p + begin; (nul = memchr(nul, 0, (size_t)(stop - nul)));)
        *nul = 0x80;
}

uint64_t mime_crlf_count_lone(struct bytes in, bool *last_cr)
{
    if (in.n == 0)
        return 0;
    const uint64_t lone = mime_count_lines(in, *last_cr ? '\r' : 0).lone_lf;
    *last_cr = in.p[in.n - 1] == '\r';
    return lone;
}
