/* The reading extensions of IMAP over a real store: select, fetch, keywords as others make them, what a client is told.
 */
#include "imap/transport.h"
#include "imap_client.h"
#include "imap_grammar.h"
#include "test_support.h"

TestSuite(imap_extensions, .init = client_setup, .fini = client_teardown);

Test(imap_extensions, select_says_all)
{
    struct client *c = client_new(NULL);
    fill(c);
    static const struct exchange table[] = {
        {"a SELECT inbox\r\n", FLAGS_5 PERMANENT
         "* 5 EXISTS\r\n* OK [UNSEEN 2] First unseen\r\n* OK [UIDVALIDITY ~] UIDs valid\r\n"
         "* OK [UIDNEXT 6] Predicted next UID\r\n* OK [HIGHESTMODSEQ ~] Highest\r\n* OK [MAILBOXID (F~)] Ok\r\n"
         "a OK [READ-WRITE] Mailbox selected\r\n"},
        {"a EXAMINE INBOX\r\n",
         "* OK [CLOSED] Previous mailbox closed\r\n" FLAGS_5
         "* OK [PERMANENTFLAGS ()] Read-only\r\n* 5 EXISTS\r\n* OK [UNSEEN 2] First unseen\r\n"
         "* OK [UIDVALIDITY ~] UIDs valid\r\n* OK [UIDNEXT 6] Predicted next UID\r\n* OK [HIGHESTMODSEQ ~] Highest\r\n"
         "* OK [MAILBOXID (F~)] Ok\r\na OK [READ-ONLY] Mailbox selected\r\n"},
        {"a SELECT nowhere\r\n", "* OK [CLOSED] Previous mailbox closed\r\na NO [NONEXISTENT] No such mailbox\r\n"},
        {"a UNSELECT\r\n", "a BAD Select a mailbox first\r\n"},
        {"a ENABLE IMAP4rev2\r\n", "* ENABLED IMAP4rev2\r\na OK ENABLE completed\r\n"},
        {"a SELECT INBOX\r\n",
         FLAGS_5 PERMANENT "* 5 EXISTS\r\n* OK [UIDVALIDITY ~] UIDs valid\r\n* OK [UIDNEXT 6] Predicted next UID\r\n"
                           "* OK [HIGHESTMODSEQ ~] Highest\r\n* OK [MAILBOXID (F~)] Ok\r\n* LIST (\\HasNoChildren "
                           "\\Subscribed) \"/\" INBOX\r\n"
                           "a OK [READ-WRITE] Mailbox selected\r\n"},
        {"a EXAMINE inbox\r\n", "~\r\n~\r\n~\r\n~\r\n~\r\n~\r\n~\r\n~\r\n"
                                "* LIST (\\HasNoChildren \\Subscribed) \"/\" INBOX (\"OLDNAME\" (inbox))\r\na OK "
                                "[READ-ONLY] Mailbox selected\r\n"},
        {"a SEARCH UNSEEN\r\n", "* ESEARCH (TAG \"a\") ALL 2:5\r\na OK SEARCH completed\r\n"},
        {"a UID SEARCH KEYWORD none\r\n", "* ESEARCH (TAG \"a\") UID\r\na OK SEARCH completed\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}

Test(imap_extensions, keywords_are_told_before_they_are_used)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(c);
    say(c, "s SELECT INBOX\r\n");
    say(d, "s SELECT INBOX\r\n");
    cr_expect_not_null(strstr(say(d, "a STORE 2 +FLAGS.SILENT ($Work)\r\n"), "a OK"));
    expect_one(
        c, "a NOOP\r\n",
        "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded $Work)\r\n"
        "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded $Work \\*)] Flags permitted\r\n"
        "* 2 FETCH (UID 2 FLAGS ($Work))\r\na OK Completed\r\n");
    client_free(&c);
    client_free(&d);
}

Test(imap_extensions, reading_marks_as_seen)
{
    struct client *c = client_new(&(struct imap_limits){.output_high_bytes = 64});
    fill(c);
    say(c, "s SELECT INBOX\r\n");
    static const struct exchange table[] = {
        {"a FETCH 2 BODY.PEEK[TEXT]\r\n", "* 2 FETCH (BODY[TEXT] {8}\r\nSecond\r\n)\r\na OK FETCH completed\r\n"},
        {"a FETCH 1:2 BODY[TEXT]<0.6>\r\n",
         "* 1 FETCH (BODY[TEXT]<0> {6}\r\nHello )\r\n* 2 FETCH (BODY[TEXT]<0> {6}\r\nSecond)\r\n"
         "* 2 FETCH (UID 2 FLAGS (\\Seen))\r\na OK FETCH completed\r\n"},
        {"a FETCH 3 (FLAGS RFC822.HEADER)\r\n",
         "* 3 FETCH (FLAGS (\\Flagged) RFC822.HEADER {18}\r\nSubject: three\r\n\r\n)\r\n"
         "a OK FETCH completed\r\n"},
        {"a UID FETCH 3 RFC822.TEXT\r\n", "* 3 FETCH (UID 3 RFC822.TEXT {7}\r\nThird\r\n)\r\n"
                                          "* 3 FETCH (UID 3 FLAGS (\\Seen \\Flagged))\r\na OK FETCH completed\r\n"},
        {"a UID FETCH 4 BINARY[1]\r\n", "* 4 FETCH (UID 4 BINARY[1] ~{8}\r\nFourth\r\n)\r\n"
                                        "* 4 FETCH (UID 4 FLAGS (\\Seen))\r\na OK FETCH completed\r\n"},
        {"a EXAMINE INBOX\r\n",
         "~\r\n~\r\n~\r\n~\r\n* OK [UNSEEN 5] First unseen\r\n~\r\n~\r\n~\r\n~\r\na OK [READ-ONLY] ~\r\n"},
        {"a FETCH 5 BODY[TEXT]\r\n", "* 5 FETCH (BODY[TEXT] {7}\r\nFifth\r\n)\r\na OK FETCH completed\r\n"},
        {"a SEARCH UNSEEN\r\n", "* SEARCH 5\r\na OK SEARCH completed\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}

Test(imap_extensions, fetch_of_ids_dates_and_previews)
{
    struct client *c = client_new(NULL);
    fill(c);
    say(c, "s SELECT INBOX\r\n");
    static const struct exchange table[] = {
        {"a FETCH 1 (EMAILID THREADID)\r\n", "* 1 FETCH (EMAILID (M~) THREADID (T~))\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 THREADID\r\n", "* 1 FETCH (THREADID (T~))\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 SAVEDATE\r\n", "* 1 FETCH (SAVEDATE \"~ +0000\")\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 PREVIEW\r\n",
         "* 1 FETCH (PREVIEW \"Hello Joe, do you think we can meet?\")\r\na OK FETCH completed\r\n"},
        {"a FETCH 2 (PREVIEW (LAZY) UID)\r\n", "* 2 FETCH (UID 2 PREVIEW \"Second\")\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 MODSEQ\r\n",
         "* OK [HIGHESTMODSEQ ~] Now told with flags\r\n* 1 FETCH (MODSEQ (~))\r\na OK FETCH completed\r\n"},
        {"a FETCH 2 FLAGS\r\n", "* 2 FETCH (FLAGS () MODSEQ (~))\r\na OK FETCH completed\r\n"},
        {"a FETCH 1:2 BINARY.SIZE[1]\r\n",
         "* 1 FETCH (BINARY.SIZE[1] 38)\r\n* 2 FETCH (BINARY.SIZE[1] 8)\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 (BINARY.SIZE[7] BINARY.PEEK[7])\r\n",
         "* 1 FETCH (BINARY.SIZE[7] 0 BINARY[7] NIL)\r\na OK FETCH completed\r\n"},
        {"a STATUS INBOX (MAILBOXID SIZE DELETED HIGHESTMODSEQ APPENDLIMIT)\r\n",
         "* STATUS INBOX (MAILBOXID (F~) SIZE ~ DELETED 0 HIGHESTMODSEQ ~ APPENDLIMIT 67108864)\r\na OK STATUS "
         "completed\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}

Test(imap_extensions, binary_decodes)
{
    struct client *c = client_new(NULL);
    append(c, "INBOX", "",
           "Subject: b\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
           "Content-Transfer-Encoding: base64\r\n\r\nYQBiYw==\r\n");
    append(c, "INBOX", "",
           "Subject: u\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n"
           "Content-Transfer-Encoding: x-own\r\n\r\nabc\r\n");
    say(c, "s SELECT INBOX\r\n");
    static const char want[] = "* 1 FETCH (BINARY[1] ~{4}\r\na\0bc)\r\na OK FETCH completed\r\n";
    say(c, "a FETCH 1 BINARY.PEEK[1]\r\n");
    cr_expect(bytes_equal(buf_bytes(&c->answer), bytes_of(want, sizeof want - 1)), "%s", text_of(c));
    static const struct exchange table[] = {
        {"a FETCH 1 BINARY.PEEK[1]<2.9>\r\n", "* 1 FETCH (BINARY[1]<2> ~{2}\r\nbc)\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 BINARY.PEEK[1]<9.9>\r\n", "* 1 FETCH (BINARY[1]<9> \"\")\r\na OK FETCH completed\r\n"},
        {"a FETCH 1:2 BINARY.SIZE[1]\r\n", "* 1 FETCH (BINARY.SIZE[1] 4)\r\na NO [UNKNOWN-CTE] ~\r\n"},
        {"a FETCH 2 (UID BINARY.PEEK[1])\r\n", "* 2 FETCH (UID 2)\r\na NO [UNKNOWN-CTE] ~\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}

Test(imap_extensions, own_keywords_are_told_too)
{
    struct client *c = client_new(NULL);
    fill(c);
    say(c, "s SELECT INBOX\r\n");
    const char *got = say(c, "a STORE 1 +FLAGS ($Own)\r\n");
    const char *flags = strstr(got, "* FLAGS (");
    const char *fetch = strstr(got, "* 1 FETCH (");
    cr_expect(flags && strstr(flags, " $Own)\r\n") && fetch && flags < fetch, "%s", got);
    cr_expect_null(strstr(say(c, "a STORE 2 +FLAGS ($Own)\r\n"), "* FLAGS"));
    client_free(&c);
}

/* Clients are known to break on these (RFC 3501 has no form for the first; the second may be NIL). */
Test(imap_extensions, structures_that_clients_can_take)
{
    struct client *c = client_new(NULL);
    append(c, "INBOX", "", "Content-Type: multipart/mixed; boundary=b\r\n\r\n");
    append(c, "INBOX", "", "Content-Type: text/plain\r\n\r\nx\r\n");
    append(c, "INBOX", "", "Content-Type: text/plain; charset\r\n\r\nx\r\n");
    append(c, "INBOX", "", "Content-Type: multipart/mixed\r\n\r\nx\r\n");
    append(c, "INBOX", "", "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n--b--\r\n");
    say(c, "s SELECT INBOX\r\n");
    for (unsigned i = 1; i <= 5; i++) {
        static const char word[] = "BODYSTRUCTURE ";
        const char *got = say(c, textf("a FETCH %u (BODYSTRUCTURE)\r\n", i));
        const char *at = strstr(got, word);
        cr_assert_not_null(at, "%s", got);
        struct imap_grammar g = {(const uint8_t *)at + sizeof word - 1, c->answer.p + c->answer.n, NULL};
        cr_expect(imap_grammar_body(&g, true), "%s: %s", g.why, got);
        /* A text says its charset, whatever the mail does not say. */
        cr_expect(!strstr(got, "\"TEXT\"") || strstr(got, "\"CHARSET\"") || strstr(got, "\"charset\""), "%s", got);
    }
    client_free(&c);
}

static char *mask(void *arg, const struct imap_transport *t, const char *account, const char *client)
{
    (void)t, (void)account;
    snprintf(arg, 300, "%s", client ? client : "?");
    return client && strncmp(client, "Outlook", 7) == 0 ? strdup("esearch, CONDSTORE QRESYNC") : NULL;
}

Test(imap_extensions, a_client_may_be_told_less)
{
    struct client *c = client_new(NULL);
    char client[300] = "?";
    const struct imap_events events = {.arg = client, .mask = mask};
    const struct imap_transport transport = {.peer = "", .events = &events};
    imap_session_set_transport(c->session, &transport);
    cr_expect_not_null(strstr(say(c, "a CAPABILITY\r\n"), " ESEARCH "));
    expect_one(c, "a ID NIL\r\n", "* ID (\"name\" \"MDS\" \"vendor\" \"MDS project\")\r\na OK ID completed\r\n");
    cr_expect_str_eq(client, "");
    expect_one(c, "a ID (\"name\" \"Outlook\x01\" \"version\" \"16\" \"os\" NIL)\r\n",
               "* ID (\"name\" \"MDS\" \"vendor\" \"MDS project\")\r\n* CAPABILITY ~\r\na OK ID completed\r\n");
    cr_expect_str_eq(client, "Outlook? 16");
    cr_expect_null(strstr(say(c, "a CAPABILITY\r\n"), " ESEARCH "));
    expect_one(c, "a ENABLE CONDSTORE QRESYNC UTF8=ACCEPT\r\n", "* ENABLED UTF8=ACCEPT\r\na OK ENABLE completed\r\n");
    expect_one(c, "a ID (\"0123456789012345678901234567890\" NIL)\r\n", "a BAD field too long\r\n");
    client_free(&c);
}
