/* order_texts: a dictionary of distinct texts, numbered as they come. */
#include "order_private.h"

#include "base/hash.h"

#include <glib.h>

#define PAGE_BYTES (256u << 10)
#define SLOTS_MIN  64u

static void grow_arrays(struct order_texts *t, uint64_t *grown)
{
    const uint32_t cap = t->cap ? t->cap * 2 : 64;

    *grown += (uint64_t)(cap - t->cap) * (sizeof *t->text + sizeof *t->hash);
    t->text = g_renew(struct bytes, t->text, cap);
    t->hash = g_renew(uint64_t, t->hash, cap);
    t->cap = cap;
}

static uint32_t slot_of(const struct order_texts *t, uint64_t hash, struct bytes text)
{
    uint32_t i = (uint32_t)hash & (t->slots_n - 1);

    while (t->slots[i] && (t->hash[t->slots[i] - 1] != hash || !bytes_equal(t->text[t->slots[i] - 1], text)))
        i = (i + 1) & (t->slots_n - 1);
    return i;
}

static void grow_slots(struct order_texts *t, uint64_t *grown)
{
    const uint32_t n = t->slots_n ? t->slots_n * 2 : SLOTS_MIN;

    *grown += (uint64_t)(n - t->slots_n) * sizeof *t->slots;
    g_free(t->slots);
    t->slots = g_new0(uint32_t, n);
    t->slots_n = n;
    for (uint32_t number = 0; number < t->n; number++) {
        uint32_t i = (uint32_t)t->hash[number] & (n - 1);

        while (t->slots[i])
            i = (i + 1) & (n - 1);
        t->slots[i] = number + 1;
    }
}

static struct bytes copy_text(struct order_texts *t, struct bytes text, uint64_t *grown)
{
    if (text.n > t->page_size - t->page_used) {
        t->page_size = text.n > PAGE_BYTES ? text.n : PAGE_BYTES;
        t->page_used = 0;
        t->pages = g_renew(uint8_t *, t->pages, t->pages_n + 1);
        t->pages[t->pages_n++] = g_malloc(t->page_size);
        *grown += t->page_size;
    }
    if (text.n == 0)
        return (struct bytes){0};

    uint8_t *p = t->pages[t->pages_n - 1] + t->page_used;

    memcpy(p, text.p, text.n);
    t->page_used += text.n;
    return bytes_of(p, text.n);
}

int order_texts_number(struct order_texts *t, struct bytes text, uint32_t *out, uint64_t *grown, struct error *err)
{
    const uint64_t hash = hash64_of(text);
    uint32_t slot;

    if (t->n >= t->slots_n / 2)
        grow_slots(t, grown);
    slot = slot_of(t, hash, text);
    if (t->slots[slot]) {
        *out = t->slots[slot] - 1;
        return BASE_OK;
    }
    if (t->n >= UINT32_C(1) << 30)
        return error_set(err, BASE_ERR_LIMIT, 0, "too many different texts to be sorted by");
    if (t->n == t->cap)
        grow_arrays(t, grown);
    t->text[t->n] = copy_text(t, text, grown);
    t->hash[t->n] = hash;
    *out = t->n++;
    t->slots[slot] = t->n;
    return BASE_OK;
}

void order_texts_init(struct order_texts *t)
{
    uint64_t grown = 0;
    uint32_t number;

    *t = (struct order_texts){0};
    (void)order_texts_number(t, (struct bytes){0}, &number, &grown, NULL);
}

void order_texts_release(struct order_texts *t)
{
    for (uint32_t i = 0; i < t->pages_n; i++)
        g_free(t->pages[i]);
    g_free(t->pages);
    g_free(t->text);
    g_free(t->hash);
    g_free(t->slots);
    *t = (struct order_texts){0};
}
