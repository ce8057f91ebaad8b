/*
 * floor_gmime: GMime as directly as it can be called: a parser and its memory stream over a recycled array, contents
 * not copied (persistent stream), the message dropped at once.
 */
#include "floor.h"

#include <gmime/gmime.h>
#include <xxhash.h>

struct floor_parser {
    GByteArray *array;
    GMimeParser *parser;
};

void floor_library_init(void)
{
    g_mime_init();
}

struct floor_parser *floor_parser_new(void)
{
    struct floor_parser *p = g_new0(struct floor_parser, 1);
    p->array = g_byte_array_sized_new(1u << 20);
    p->parser = g_mime_parser_new();
    return p;
}

void floor_parser_free(struct floor_parser **parser)
{
    struct floor_parser *p = *parser;
    if (!p)
        return;
    g_object_unref(p->parser);
    g_byte_array_free(p->array, TRUE);
    g_free(p);
    *parser = NULL;
}

uint8_t *floor_parser_room(struct floor_parser *p, size_t n)
{
    g_byte_array_set_size(p->array, (guint)n);
    return p->array->data;
}

void floor_parser_item(struct floor_parser *p, size_t n, uint64_t *sink)
{
    g_byte_array_set_size(p->array, (guint)n);
    XXH128_hash_t hash = XXH3_128bits(p->array->data, n);
    *sink ^= hash.low64 ^ hash.high64;
    GMimeStream *stream = g_mime_stream_mem_new();
    g_mime_stream_mem_set_byte_array((GMimeStreamMem *)stream, p->array);
    g_mime_parser_init_with_stream(p->parser, stream);
    GMimeMessage *message = g_mime_parser_construct_message(p->parser, NULL);
    g_clear_object(&message); /* GMime finds none in some torture: that is an answer, too */
    g_object_unref(stream);
}
