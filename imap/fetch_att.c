/* fetch_att: see fetch_att.h. */
#include "fetch_att.h"

#include "wire/writer.h"

static const struct {
    const char *name;
    unsigned attrs;
    bool uid;
} metadata[] =
    {
        {"UID", 0, true},
        {"FLAGS", MDSQ_FETCH_FLAGS, false},
        {"INTERNALDATE", MDSQ_FETCH_INTERNALDATE, false},
        {"RFC822.SIZE", MDSQ_FETCH_SIZE, false},
        {"ENVELOPE", MDSQ_FETCH_ENVELOPE, false},
        {"BODYSTRUCTURE", MDSQ_FETCH_BODYSTRUCTURE, false},
        {"MODSEQ", MDSQ_FETCH_MODSEQ, false},
        {"SAVEDATE", MDSQ_FETCH_SAVEDATE, false},
},
  macros[] = {
      {"ALL", MDSQ_FETCH_FLAGS | MDSQ_FETCH_INTERNALDATE | MDSQ_FETCH_SIZE | MDSQ_FETCH_ENVELOPE, false},
      {"FAST", MDSQ_FETCH_FLAGS | MDSQ_FETCH_INTERNALDATE | MDSQ_FETCH_SIZE, false},
      {"FULL", MDSQ_FETCH_FLAGS | MDSQ_FETCH_INTERNALDATE | MDSQ_FETCH_SIZE | MDSQ_FETCH_ENVELOPE | MDSQ_FETCH_BODY,
       false},
};

static const struct {
    const char *name;
    enum mdsq_section_kind kind;
    bool sees;
} whole[] = {
    {"RFC822", MDSQ_SECTION_ALL, true},
    {"RFC822.HEADER", MDSQ_SECTION_HEADER, false},
    {"RFC822.TEXT", MDSQ_SECTION_TEXT, true},
};

static const struct {
    const char *name;
    bool peek, size;
} binaries[] = {
    {"BINARY", false, false},
    {"BINARY.PEEK", true, false},
    {"BINARY.SIZE", true, true},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* A run of the characters that names of attributes are made of; "[" and "<" end it, which an atom may hold.
 */
static struct bytes at_name(const struct imap_cursor *at)
{
    const uint8_t *q = at->p;
    while (q < at->end && (imap_is_atom_char(*q) && *q != '[' && *q != '<'))
        q++;
    return bytes_of(at->p, (size_t)(q - at->p));
}

static struct imap_fetch_body *add_body(struct imap_cursor *at, struct imap_fetch_atts *out)
{
    struct imap_fetch_body *b = arena_alloc(at->arena, sizeof *b);
    if (out->bodies_n == IMAP_FETCH_BODIES_MAX || !b) {
        imap_cursor_fail(at, "too many body sections");
        return NULL;
    }
    memset(b, 0, sizeof *b);
    struct imap_fetch_body **link = &out->bodies;
    while (*link)
        link = &(*link)->next;
    *link = b;
    out->bodies_n++;
    return b;
}

/* header-list = "(" header-fld-name *(SP header-fld-name) ")" */
static bool take_header_list(struct imap_cursor *at, struct mdsq_section *section)
{
    struct mdsq_bytes *fields = NULL;
    size_t n = 0, room = 0;
    if (!imap_take_sp(at) || !imap_take_byte(at, '('))
        return false;
    do {
        struct bytes name;
        if ((n > 0 && !imap_take_sp(at)) || !imap_take_astring(at, &name))
            return false;
        if (n == IMAP_FETCH_FIELDS_MAX)
            return imap_cursor_fail(at, "too many header fields");
        if (n == room) {
            struct mdsq_bytes *grown = arena_alloc(at->arena, (room = room ? room * 2 : 8) * sizeof *grown);
            if (!grown)
                return imap_cursor_fail(at, "command too large");
            if (n)
                memcpy(grown, fields, n * sizeof *grown);
            fields = grown;
        }
        fields[n++] = (struct mdsq_bytes){name.p, name.n};
    } while (!imap_at_byte(at, ')'));
    section->fields = fields;
    section->fields_n = n;
    return imap_take_byte(at, ')');
}

/*
 * section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT"
 * section-text = section-msgtext / "MIME", the latter behind part numbers only
 */
static bool take_section_text(struct imap_cursor *at, struct mdsq_section *section)
{
    static const struct {
        const char *name;
        enum mdsq_section_kind kind;
        bool list, nested;
    } kinds[] = {
        {"HEADER", MDSQ_SECTION_HEADER, false, false},
        {"HEADER.FIELDS", MDSQ_SECTION_HEADER_FIELDS, true, false},
        {"HEADER.FIELDS.NOT", MDSQ_SECTION_HEADER_FIELDS_NOT, true, false},
        {"TEXT", MDSQ_SECTION_TEXT, false, false},
        {"MIME", MDSQ_SECTION_MIME, false, true},
    };
    struct bytes name = at_name(at);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        if (!bytes_equal_nocase(name, bytes_str(kinds[i].name)) || (kinds[i].nested && section->path_n == 0))
            continue;
        at->p += name.n;
        section->kind = kinds[i].kind;
        return !kinds[i].list || take_header_list(at, section);
    }
    return imap_cursor_fail(at, "unknown body section");
}

/*
 * section = "[" [section-spec] "]"
 * section-spec = section-msgtext / (section-part ["." section-text]); section-part = nz-number *("."
 * nz-number)
 */
static bool take_section(struct imap_cursor *at, struct mdsq_section *section)
{
    section->kind = MDSQ_SECTION_ALL;
    if (!imap_take_byte(at, '['))
        return false;
    bool text = !imap_at_byte(at, ']');
    while (text && at->p < at->end && *at->p >= '0' && *at->p <= '9') {
        if (section->path_n == MDSQ_SECTION_DEPTH_MAX)
            return imap_cursor_fail(at, "body section too deep");
        if (!imap_take_nz_number(at, &section->path[section->path_n++]))
            return false;
        text = imap_at_byte(at, '.');
        at->p += text;
    }
    return (!text || take_section_text(at, section)) && imap_take_byte(at, ']');
}

/* "<" number64 "." nz-number64 ">" (RFC 9051; RFC 3501 has 32 bits) */
static bool take_partial(struct imap_cursor *at, struct imap_fetch_body *b)
{
    if (!imap_at_byte(at, '<'))
        return true;
    b->partial = true;
    at->p++;
    return imap_take_number64(at, &b->first) && imap_take_byte(at, '.') && imap_take_number64(at, &b->count) &&
           (b->count > 0 || imap_cursor_fail(at, "expected a number above 0")) && imap_take_byte(at, '>');
}

static bool set_label(struct imap_cursor *at, const char *word, struct imap_fetch_body *b)
{
    static const char *const names[] = {"", "HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT", "TEXT", "MIME", ""};
    const struct mdsq_section *s = &b->section;
    struct buf label = {0};
    buf_printf(&label, "%s[", word);
    for (size_t i = 0; i < s->path_n; i++)
        buf_printf(&label, "%s%u", i ? "." : "", s->path[i]);
    if (s->path_n && names[s->kind][0])
        buf_append_byte(&label, '.');
    buf_append_str(&label, names[s->kind]);
    for (size_t i = 0; i < s->fields_n; i++) {
        buf_append_str(&label, i ? " " : " (");
        imap_write_astring(&label, bytes_of(s->fields[i].p, s->fields[i].n));
    }
    buf_append_str(&label, s->fields_n ? ")]" : "]");
    if (b->partial)
        buf_printf(&label, "<%llu>", (unsigned long long)b->first);
    b->label = arena_dup(at->arena, buf_bytes(&label));
    buf_release(&label);
    return b->label.n > 0 || imap_cursor_fail(at, "command too large");
}

/* "BODY" / "BODY" section [partial] / "BODY.PEEK" section [partial] */
static bool take_body(struct imap_cursor *at, struct imap_fetch_atts *out, bool peek)
{
    if (!peek && !imap_at_byte(at, '[')) {
        out->attrs |= MDSQ_FETCH_BODY;
        return true;
    }
    struct imap_fetch_body *b = add_body(at, out);
    out->sees |= !peek;
    return b && take_section(at, &b->section) && take_partial(at, b) && set_label(at, "BODY", b);
}

/*
 * "BINARY" [".PEEK"] section-binary [partial] / "BINARY.SIZE" section-binary
 * section-binary = "[" [section-part] "]"
 */
static bool take_binary(struct imap_cursor *at, struct imap_fetch_atts *out, bool peek, bool size)
{
    struct imap_fetch_body *b = add_body(at, out);
    if (!b || !take_section(at, &b->section))
        return false;
    if (b->section.kind != MDSQ_SECTION_ALL)
        return imap_cursor_fail(at, "BINARY takes a part's number");
    b->section.kind = MDSQ_SECTION_BINARY;
    b->size_only = size;
    out->sees |= !peek;
    return (size || take_partial(at, b)) && set_label(at, size ? "BINARY.SIZE" : "BINARY", b);
}

/* "PREVIEW" [SP "(" preview-mod *(SP preview-mod) ")"]; what is in other parentheses is a modifier of the FETCH. */
static bool take_preview(struct imap_cursor *at, struct imap_fetch_atts *out)
{
    out->attrs |= MDSQ_FETCH_PREVIEW;
    struct imap_cursor ahead = *at;
    if (!imap_at_byte(at, ' '))
        return true;
    ahead.p++;
    if (!imap_at_byte(&ahead, '('))
        return true;
    ahead.p++;
    if (!imap_at_word(&ahead, "LAZY"))
        return true;
    at->p = ahead.p;
    for (;;) {
        /* Previews are made when a message is filed: there is nothing to be lazy about. */
        if (!imap_take_word(at, "LAZY"))
            return false;
        if (!imap_at_byte(at, ' '))
            return imap_take_byte(at, ')');
        at->p++;
    }
}

static bool take_att(struct imap_cursor *at, struct imap_fetch_atts *out)
{
    struct bytes name = at_name(at);
    at->p += name.n;
    for (size_t i = 0; i < COUNT(metadata); i++) {
        if (!bytes_equal_nocase(name, bytes_str(metadata[i].name)))
            continue;
        out->attrs |= metadata[i].attrs;
        out->uid |= metadata[i].uid;
        return true;
    }
    for (size_t i = 0; i < COUNT(whole); i++) {
        if (!bytes_equal_nocase(name, bytes_str(whole[i].name)))
            continue;
        struct imap_fetch_body *b = add_body(at, out);
        if (b) {
            b->section.kind = whole[i].kind;
            b->label = bytes_str(whole[i].name);
            out->sees |= whole[i].sees;
        }
        return b != NULL;
    }
    for (size_t i = 0; i < COUNT(binaries); i++)
        if (bytes_equal_nocase(name, bytes_str(binaries[i].name)))
            return take_binary(at, out, binaries[i].peek, binaries[i].size);
    if (bytes_equal_nocase(name, BYTES_LIT("PREVIEW")))
        return take_preview(at, out);
    bool email = bytes_equal_nocase(name, BYTES_LIT("EMAILID"));
    if (email || bytes_equal_nocase(name, BYTES_LIT("THREADID"))) {
        out->attrs |= MDSQ_FETCH_IDS;
        *(email ? &out->email_id : &out->thread_id) = true;
        return true;
    }
    bool peek = bytes_equal_nocase(name, BYTES_LIT("BODY.PEEK"));
    if (peek || bytes_equal_nocase(name, BYTES_LIT("BODY")))
        return take_body(at, out, peek);
    return imap_cursor_fail(at, "unknown fetch attribute");
}

bool imap_take_fetch_atts(struct imap_cursor *at, struct imap_fetch_atts *out)
{
    struct bytes name = at_name(at);
    for (size_t i = 0; i < COUNT(macros); i++) {
        if (!bytes_equal_nocase(name, bytes_str(macros[i].name)))
            continue;
        at->p += name.n;
        out->attrs |= macros[i].attrs;
        return true;
    }
    if (!imap_at_byte(at, '('))
        return take_att(at, out);
    at->p++;
    if (!take_att(at, out))
        return false;
    while (imap_at_byte(at, ' ')) {
        at->p++;
        if (!take_att(at, out))
            return false;
    }
    return imap_take_byte(at, ')');
}
