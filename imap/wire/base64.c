/* base64: see base64.h. GLib's decoder skips what it does not know; a password should not be guessed at. */
#include "wire/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int digit_of(uint8_t b)
{
    const char *at = b ? strchr(alphabet, b) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

bool imap_base64_decode(struct bytes in, struct buf *out)
{
    const size_t before = out->n;
    if (in.n % 4 != 0)
        return false;
    for (size_t i = 0; i < in.n; i += 4) {
        size_t digits = 4;
        if (i + 4 == in.n && in.p[i + 3] == '=')
            digits = in.p[i + 2] == '=' ? 2 : 3;
        uint32_t v = 0;
        for (size_t k = 0; k < 4; k++) {
            int digit = k < digits ? digit_of(in.p[i + k]) : 0;
            if (digit < 0) {
                out->n = before;
                return false;
            }
            v = v << 6 | (uint32_t)digit;
        }
        if ((digits == 2 && (v & 0xffff)) || (digits == 3 && (v & 0xff))) {
            out->n = before;
            return false;
        }
        for (size_t k = 0; k + 1 < digits; k++)
            buf_append_byte(out, (uint8_t)(v >> (16 - 8 * k)));
    }
    return true;
}

void imap_base64_encode(struct bytes in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i += 3) {
        const size_t n = in.n - i < 3 ? in.n - i : 3;
        uint32_t v = 0;
        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (k < n ? in.p[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            buf_append_byte(out, k <= n ? (uint8_t)alphabet[v >> (18 - 6 * k) & 63] : '=');
    }
}
