/* suite_rows: see suite_rows.h. */
#include "suite_rows.h"

#include <string.h>

#define COUNT "UID SEARCH RETURN (COUNT) "

static void add(GArray *rows, const char *name, char *command, struct suite_row row)
{
    row.name = g_strdup(name);
    row.command = command;
    g_array_append_val(rows, row);
}

/* ---- search ----------------------------------------------------------------------------------------------- */

static const char *const metadata[] = {
    "ALL",
    "UNSEEN",
    "UNDELETED",
    "UNSEEN UNDELETED",
    "FLAGGED",
    "ANSWERED",
    "NOT (SEEN OR ANSWERED FLAGGED)",
    "SINCE 1-Mar-2004 BEFORE 8-Mar-2004",
    "SENTSINCE 1-Mar-2004 SENTBEFORE 8-Mar-2004 UNSEEN",
    "LARGER 100000",
    "SMALLER 3000 OR FLAGGED UNANSWERED",
    "UID 100:2000,3000:* UNFLAGGED",
};

static const struct {
    const char *name, *command;
} orders[] = {
    {"SORT (DATE)", "UID SORT (DATE) UTF-8 ALL"},
    {"SORT (ARRIVAL)", "UID SORT (ARRIVAL) UTF-8 ALL"},
    {"SORT (SUBJECT)", "UID SORT (SUBJECT) UTF-8 ALL"},
    {"SORT (REVERSE FROM SIZE)", "UID SORT (REVERSE FROM SIZE) UTF-8 ALL"},
    {"THREAD REFERENCES", "UID THREAD REFERENCES UTF-8 ALL"},
    {"THREAD ORDEREDSUBJECT", "UID THREAD ORDEREDSUBJECT UTF-8 ALL"},
};

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 128)
            return false;
    return true;
}

/* Quoted where it may be, else a literal that waits for nobody. */
static char *text_command(const char *key, const char *string)
{
    if (is_ascii(string) && !strpbrk(string, "\"\\"))
        return g_strdup_printf(COUNT "%s \"%s\"", key, string);
    return g_strdup_printf(COUNT "CHARSET UTF-8 %s {%zu+}\r\n%s", key, strlen(string), string);
}

/* What a quick run asks of texts: the others say no more about whether it works. */
static bool is_brief(const char *key, const char *class)
{
    static const char *const brief[] = {"word-0.1%",    "phrase-0.1%", "separators-0.1%", "absent", "two-characters",
                                        "stop-words-3", NULL};
    const bool texts = strcmp(key, "BODY") == 0 || strcmp(key, "TEXT") == 0;
    return !texts || g_strv_contains(brief, class);
}

/* Rows that an index, or a scan, answers in the same way: what one of them takes says what the others take at least. */
enum kind { ALWAYS, HEADERS, TEXTS_BOTH, WORDS, PHRASES, ABSENT, PIECES, CHARACTERS, STOP_WORDS, KINDS };

/* The first prefix that fits. Of BODY and of TEXT apart. */
static unsigned kind_of(const char *key, const char *class)
{
    static const struct {
        const char *prefix;
        enum kind kind;
    } kinds[] = {{"word-piece", PIECES},    {"phrase", PHRASES},           {"separators", PHRASES},
                 {"absent", ABSENT},        {"one-character", CHARACTERS}, {"two-characters", CHARACTERS},
                 {"stop-words", STOP_WORDS}};
    const bool text = strcmp(key, "TEXT") == 0;
    enum kind kind = WORDS;
    if (!text && strcmp(key, "BODY") != 0)
        return HEADERS;
    for (size_t i = 0; i < G_N_ELEMENTS(kinds) && kind == WORDS; i++)
        if (g_str_has_prefix(class, kinds[i].prefix))
            kind = kinds[i].kind;
    G_STATIC_ASSERT(2 * KINDS <= SUITE_KINDS);
    return (unsigned)kind + (text ? KINDS : 0);
}

static int add_answer(char **columns, GArray *rows, const char *file, struct error *err)
{
    if (g_strv_length(columns) != 4)
        return error_set(err, BASE_ERR_FORMAT, 0, "%s: not a line of four columns", file);
    char *name = g_strdup_printf("%s %s", columns[1], columns[0]);
    add(rows, name, text_command(columns[1], columns[3]),
        (struct suite_row){.counts = true,
                           .expected = strcmp(columns[2], "-") == 0 ? -1 : g_ascii_strtoll(columns[2], NULL, 10),
                           .kind = kind_of(columns[1], columns[0])});
    g_free(name);
    return 0;
}

static int add_answers(const char *file, bool quick, GArray *rows, struct error *err)
{
    static const char head[] = "# mds-gen answers 1: ";
    char *text = NULL;
    GError *why = NULL;
    if (!g_file_get_contents(file, &text, NULL, &why)) {
        const int rc = error_set(err, BASE_ERR_IO, 0, "%s", why->message);
        g_clear_error(&why);
        return rc;
    }
    int rc = g_str_has_prefix(text, head) ? 0 : error_set(err, BASE_ERR_FORMAT, 0, "%s: not answers of mds-gen", file);
    char **lines = g_strsplit(text, "\n", -1);
    for (char **line = lines + 1; rc == 0 && *line; line++) {
        char **columns = g_strsplit(*line, "\t", 4);
        if (**line && (!quick || g_strv_length(columns) != 4 || is_brief(columns[1], columns[0])))
            rc = add_answer(columns, rows, file, err);
        g_strfreev(columns);
    }
    g_strfreev(lines);
    g_free(text);
    return rc;
}

int suite_rows_search(guint64 n, const char *answers, bool quick, GArray *rows, struct error *err)
{
    for (size_t i = 0; i < G_N_ELEMENTS(metadata); i++)
        add(rows, metadata[i], g_strconcat(COUNT, metadata[i], NULL),
            (struct suite_row){.counts = true, .expected = -1});
    const int rc = add_answers(answers, quick, rows, err);
    add(rows, "HEADER List-Id", g_strdup(COUNT "HEADER List-Id \"list3.\""),
        (struct suite_row){.counts = true, .expected = -1, .kind = HEADERS});
    add(rows, "UNDELETED BODY word", g_strdup(COUNT "UNDELETED SINCE 1-Jan-2004 BODY \"zqumarotiv\""),
        (struct suite_row){.counts = true, .expected = -1, .kind = TEXTS_BOTH});
    add(rows, "UNSEEN TEXT two characters", g_strdup(COUNT "UNSEEN TEXT \"qu\""),
        (struct suite_row){.counts = true, .expected = -1, .kind = TEXTS_BOTH});
    for (size_t i = 0; i < G_N_ELEMENTS(orders); i++)
        add(rows, orders[i].name, g_strdup(orders[i].command), (struct suite_row){.expected = -1, .messages = n});
    return rc;
}

/* ---- reading ---------------------------------------------------------------------------------------------- */

static const struct {
    const char *name, *items;
    guint64 most; /* messages of one command, 0: the folder */
} bulk[] = {
    {"FLAGS", "(UID FLAGS)", 0},
    {"ENVELOPE", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)", 0},
    {"ENVELOPE BODYSTRUCTURE", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)", 0},
    {"BODYSTRUCTURE", "(UID BODYSTRUCTURE)", 0},
    {"HEADER.FIELDS", "(UID BODY.PEEK[HEADER.FIELDS (From To Cc Subject Date Message-ID References)])", 0},
    {"HEADER", "(UID BODY.PEEK[HEADER])", 50000},
    {"whole messages", "(UID BODY.PEEK[])", 20000},
};

static const struct {
    const char *name, *items;
} windows[] = {
    {"window of 50: FLAGS", "(UID FLAGS)"},
    {"window of 50: ENVELOPE", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)"},
    {"window of 50: a phone's", "(UID FLAGS INTERNALDATE RFC822.SIZE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (From To Cc "
                                "Subject Date Message-ID References In-Reply-To Content-Type)])"},
};

void suite_rows_fetch(guint64 n, GArray *rows)
{
    for (size_t i = 0; i < G_N_ELEMENTS(bulk); i++) {
        const guint64 most = bulk[i].most > 0 ? MIN(bulk[i].most, n) : n;
        add(rows, bulk[i].name, g_strdup_printf("FETCH 1:%" G_GUINT64_FORMAT " %s", most, bulk[i].items),
            (struct suite_row){.expected = -1, .messages = most, .floor = true});
    }
    for (size_t i = 0; i < G_N_ELEMENTS(windows); i++)
        add(rows, windows[i].name, g_strdup_printf("FETCH {w} %s", windows[i].items),
            (struct suite_row){.expected = -1, .messages = MIN(n, SUITE_WINDOW), .samples = 200});
    add(rows, "one whole message", g_strdup("FETCH {1} (UID BODY.PEEK[])"),
        (struct suite_row){.expected = -1, .messages = 1, .samples = 200});
}

void suite_rows_select(guint64 n, GArray *rows)
{
    (void)n;
    add(rows, "EXAMINE", g_strdup("EXAMINE INBOX"), (struct suite_row){.expected = -1, .samples = 50});
    add(rows, "SELECT", g_strdup("SELECT INBOX"), (struct suite_row){.expected = -1, .samples = 50});
    add(rows, "STATUS (MESSAGES UNSEEN UIDNEXT)", g_strdup("STATUS INBOX (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)"),
        (struct suite_row){.expected = -1, .samples = 50});
    add(rows, "NOOP", g_strdup("NOOP"), (struct suite_row){.expected = -1, .samples = 200});
}

void suite_rows_list(guint64 folders, GArray *rows)
{
    static const struct {
        const char *name, *command;
    } lists[] = {
        {"LIST *", "LIST \"\" \"*\""},
        {"LIST %", "LIST \"\" \"%\""},
        {"LIST CHILDREN SUBSCRIBED", "LIST \"\" \"*\" RETURN (CHILDREN SUBSCRIBED)"},
        {"LIST-STATUS", "LIST \"\" \"*\" RETURN (STATUS (MESSAGES UNSEEN UIDNEXT UIDVALIDITY))"},
        {"LIST-STATUS HIGHESTMODSEQ", "LIST \"\" \"*\" RETURN (STATUS (MESSAGES UNSEEN UIDNEXT HIGHESTMODSEQ))"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
        add(rows, lists[i].name, g_strdup(lists[i].command),
            (struct suite_row){.expected = -1, .messages = folders, .samples = 3});
}
