/* The session's states, answers, limits and news, as transcripts. */
#include <criterion/criterion.h>

#include "fake_query.h"
#include "talk.h"

#include <stdio.h>

static void setup(void)
{
    fake_reset();
}

TestSuite(session, .init = setup);

/* Client's line, the whole answer. */
struct exchange {
    const char *say, *expect;
};

static void expect_all(struct imap_session *s, const struct exchange *table, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *got = talk(s, table[i].say);
        cr_expect_str_eq(got, table[i].expect, "said: %s\ngot:  %s\nwant: %s", table[i].say, got, table[i].expect);
    }
}
#define EXPECT_ALL(s, table) expect_all(s, table, sizeof(table) / sizeof((table)[0]))

static void end(struct imap_session **s)
{
    imap_session_free(s);
    cr_expect_eq(fake.objects, 0, "%u objects of query left", fake.objects);
    cr_expect_eq(fake.readers, 0);
}

Test(session, greets_and_announces_what_works)
{
    struct imap_session *s = imap_session_new(NULL, NULL);
    imap_session_allow_login(s);
    const char *got = talk(s, "");
    cr_expect_eq(strncmp(got, "* OK [CAPABILITY IMAP4rev1 ", 27), 0, "%s", got);
    cr_expect_not_null(strstr(got, " AUTH=PLAIN"), "%s", got);
    cr_expect_not_null(strstr(got, "] MDS ready\r\n"), "%s", got);
    end(&s);
    s = imap_session_new(NULL, NULL);
    cr_expect_not_null(strstr(talk(s, ""), " LOGINDISABLED]"));
    cr_expect_null(strstr(talk(s, "a CAPABILITY\r\n"), "AUTH="));
    end(&s);
}

Test(session, any_state)
{
    struct imap_session *s = talk_new(NULL, true);
    static const struct exchange table[] = {
        {"a NOOP\r\n", "a OK Completed\r\n"},
        {"a noop\n", "a OK Completed\r\n"},
        {"a NOOP \r\n", "a BAD unexpected text after the arguments\r\n"},
        {"a ID NIL\r\n", "* ID (\"name\" \"MDS\" \"vendor\" \"MDS project\")\r\na OK ID completed\r\n"},
        {"a ID (\"name\" \"x\" \"v\" NIL)\r\n",
         "* ID (\"name\" \"MDS\" \"vendor\" \"MDS project\")\r\na OK ID completed\r\n"},
        {"a ID (\"name\")\r\n", "a BAD missing space\r\n"},
        {"\r\n", "* BAD missing tag\r\n"},
        {"a\r\n", "a BAD missing argument\r\n"},
        {"a+b NOOP\r\n", "* BAD missing space\r\n"},
        {"a  NOOP\r\n", "a BAD expected an atom\r\n"},
        {"a FROB\r\n", "a BAD Unknown command\r\n"},
        {"a UID NOOP\r\n", "a BAD Unknown command\r\n"},
        {"a STARTTLS\r\n", "a BAD TLS is not to be had here\r\n"},
        {"a SELECT INBOX\r\n", "a BAD Log in first\r\n"},
        {"a FETCH 1 FLAGS\r\n", "a BAD Log in first\r\n"},
        {"a LOGOUT\r\n", "* BYE Logging out\r\na OK LOGOUT completed\r\n"},
    };
    EXPECT_ALL(s, table);
    cr_expect_eq(talk_how, IMAP_RUN_CLOSE);
    end(&s);
}

Test(session, every_command_in_every_state)
{
    static const struct {
        const char *command;
        bool nonauth, auth;
    } table[] = {
        {"CAPABILITY", true, true},
        {"NOOP", true, true},
        {"ID NIL", true, true},
        {"LOGIN a b", true, false},
        {"AUTHENTICATE X", true, false},
        {"NAMESPACE", false, true},
        {"ENABLE X", false, true},
        {"LIST \"\" *", false, true},
        {"LSUB \"\" *", false, true},
        {"STATUS INBOX (UNSEEN)", false, true},
        {"EXAMINE Y", false, true},
        {"CHECK", false, false},
        {"CLOSE", false, false},
        {"UNSELECT", false, false},
        {"FETCH 1 UID", false, false},
        {"SEARCH ALL", false, false},
        {"UID FETCH 1 UID", false, false},
        {"UID SEARCH ALL", false, false},
        {"STORE 1 FLAGS ()", false, false},
        {"COPY 1 X", false, false},
        {"MOVE 1 X", false, false},
        {"EXPUNGE", false, false},
        {"APPEND X {1+}\r\nx", false, true},
        {"CREATE X", false, true},
        {"DELETE X", false, true},
        {"RENAME X Y", false, true},
        {"SUBSCRIBE X", false, true},
        {"UNSUBSCRIBE X", false, true},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char line[128];
        snprintf(line, sizeof line, "t %s\r\n", table[i].command);
        struct imap_session *s = talk_new(NULL, true);
        bool refused = strncmp(talk(s, line), "t BAD Log in first", 18) == 0;
        cr_expect_eq(refused, !table[i].nonauth, "%s, not logged in", table[i].command);
        end(&s);
        s = talk_logged_in(NULL);
        const char *got = talk(s, line);
        refused = strstr(got, "BAD Already") || strstr(got, "BAD Select");
        cr_expect_eq(refused, !table[i].auth, "%s, logged in: %s", table[i].command, got);
        end(&s);
        s = talk_selected(NULL);
        got = talk(s, line);
        bool nonauth_only = table[i].nonauth && !table[i].auth;
        cr_expect_eq(strstr(got, "BAD Already") != NULL, nonauth_only, "%s, selected: %s", table[i].command, got);
        cr_expect_null(strstr(got, "BAD Select"), "%s, selected", table[i].command);
        end(&s);
    }
}

Test(session, login)
{
    struct imap_session *s = talk_new(NULL, true);
    static const struct exchange table[] = {
        {"a LOGIN me\r\n", "a BAD missing argument\r\n"},
        {"a LOGIN me wrong\r\n", "a NO [AUTHENTICATIONFAILED] Wrong user name or password\r\n"},
        {"a LOGIN {2}\r\n", "+ OK\r\n"},
    };
    EXPECT_ALL(s, table);
    const char *got = talk(s, "me {8+}\r\nsecret\"\\\r\n");
    cr_expect_eq(strncmp(got, "a OK [CAPABILITY IMAP4rev1 ", 27), 0, "%s", got);
    cr_expect_not_null(strstr(got, "] Logged in\r\n"), "%s", got);
    cr_expect_str_eq(talk(s, "a LOGIN me x\r\n"), "a BAD Already logged in\r\n");
    cr_expect(imap_session_logged_in(s));
    end(&s);
}

Test(session, login_is_refused_without_the_transport_s_leave)
{
    struct imap_session *s = talk_new(NULL, false);
    static const struct exchange table[] = {
        {"a LOGIN me \"secret\\\"\\\\\"\r\n", "a NO [PRIVACYREQUIRED] Login is refused on this connection\r\n"},
        {"a AUTHENTICATE PLAIN\r\n", "a NO [PRIVACYREQUIRED] Login is refused on this connection\r\n"},
    };
    EXPECT_ALL(s, table);
    end(&s);
}

Test(session, failed_logins_are_late_and_few)
{
    struct imap_session *s = talk_new(NULL, true);
    talk(s, "a LOGIN x y\r\n");
    cr_expect_eq(talk_delay_ms, 1000);
    talk(s, "b LOGIN x y\r\n");
    cr_expect_eq(talk_delay_ms, 2000);
    cr_expect_str_eq(talk(s, "c LOGIN x y\r\nd NOOP\r\n"),
                     "c NO [AUTHENTICATIONFAILED] Wrong user name or password\r\n* BYE Too many failed logins\r\n");
    cr_expect_eq(talk_how, IMAP_RUN_CLOSE);
    end(&s);
}

Test(session, login_when_the_store_fails)
{
    struct imap_session *s = talk_new(NULL, true);
    fake.login_result = MDSQ_ERR_IO;
    cr_expect_str_eq(talk(s, "a LOGIN me x\r\n"), "a NO [UNAVAILABLE] Cannot check passwords now\r\n");
    fake.login_result = 0;
    fake.open_result = MDSQ_ERR_CORRUPT;
    cr_expect_str_eq(talk(s, "a LOGIN me \"secret\\\"\\\\\"\r\n"), "a NO [UNAVAILABLE] Archive is not available\r\n");
    cr_expect_not(imap_session_logged_in(s));
    end(&s);
}

Test(session, authenticate_plain)
{
    static const struct {
        const char *name, *say, *first, *line, *expect;
    } table[] = {
        {"challenge", "a AUTHENTICATE PLAIN\r\n", "+ \r\n", "AG1lAHNlY3JldCJc\r\n", "a OK [CAPABILITY"},
        {"initial", "a authenticate plain AG1lAHNlY3JldCJc\r\n", "a OK [CAPABILITY", NULL, NULL},
        {"own authzid", "a AUTHENTICATE PLAIN bWUAbWUAc2VjcmV0Ilw=\r\n", "a OK [CAPABILITY", NULL, NULL},
        {"other authzid", "a AUTHENTICATE PLAIN eW91AG1lAHNlY3JldCJc\r\n", "a NO [AUTHENTICATIONFAILED]", NULL, NULL},
        {"wrong", "a AUTHENTICATE PLAIN AG1lAHNlY3JldA==\r\n", "a NO [AUTHENTICATIONFAILED]", NULL, NULL},
        {"cancelled", "a AUTHENTICATE PLAIN\r\n", "+ \r\n", "*\r\n", "a BAD AUTHENTICATE cancelled"},
        {"empty initial", "a AUTHENTICATE PLAIN =\r\n", "a BAD Not a message of this", NULL, NULL},
        {"no base64", "a AUTHENTICATE PLAIN\r\n", "+ \r\n", "AG1l!\r\n", "a BAD Not base64"},
        {"base64 with bits left", "a AUTHENTICATE PLAIN AG1lAHNlY3JldB==\r\n", "a BAD Not base64", NULL, NULL},
        {"one NUL", "a AUTHENTICATE PLAIN AG1l\r\n", "a BAD Not a message of this", NULL, NULL},
        {"three NULs", "a AUTHENTICATE PLAIN AAAAAA==\r\n", "a BAD Not a message of this", NULL, NULL},
        {"no user", "a AUTHENTICATE PLAIN AAB4\r\n", "a BAD Not a message of this", NULL, NULL},
        {"unknown", "a AUTHENTICATE CRAM-MD5\r\n", "a NO [CANNOT] Mechanism", NULL, NULL},
        {"line with a literal's end", "a AUTHENTICATE PLAIN\r\n", "+ \r\n", "{5}\r\n", "a BAD Not base64"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct imap_session *s = talk_new(NULL, true);
        const char *got = talk(s, table[i].say);
        cr_expect_eq(strncmp(got, table[i].first, strlen(table[i].first)), 0, "%s: %s", table[i].name, got);
        if (table[i].line) {
            got = talk(s, table[i].line);
            cr_expect_eq(strncmp(got, table[i].expect, strlen(table[i].expect)), 0, "%s: %s", table[i].name, got);
        }
        if (talk_how != IMAP_RUN_CLOSE)
            cr_expect_not_null(strstr(talk(s, "z NOOP\r\n"), "z OK"), "%s", table[i].name);
        end(&s);
    }
}

Test(session, list_and_lsub)
{
    struct imap_session *s = talk_logged_in(NULL);
    static const struct exchange table[] = {
        {"a LIST \"\" \"\"\r\n", "* LIST (\\Noselect) \"/\" \"\"\r\na OK LIST completed\r\n"},
        {"a LIST \"\" *\r\n", "* LIST (\\HasNoChildren) \"/\" INBOX\r\n"
                              "* LIST (\\HasNoChildren) \"/\" A&-B\r\n"
                              "* LIST (\\HasChildren) \"/\" Gr&APwA3w-e\r\n"
                              "* LIST (\\HasNoChildren \\Sent) \"/\" \"Gr&APwA3w-e/x \\\"q\\\"\"\r\n"
                              "* LIST (\\Noselect \\HasNoChildren) \"/\" \"nil\"\r\n"
                              "a OK LIST completed\r\n"},
        {"a LIST A&- B\r\n", "* LIST (\\HasNoChildren) \"/\" A&-B\r\na OK LIST completed\r\n"},
        {"a LIST \"\" Gr&APwA3w-e\r\n", "* LIST (\\HasChildren) \"/\" Gr&APwA3w-e\r\na OK LIST completed\r\n"},
        {"a LIST \"\" A&B\r\n", "a OK LIST completed\r\n"},
        {"a LIST \"\"\r\n", "a BAD missing argument\r\n"},
        {"a LIST (SUBSCRIBED) \"\" *\r\n", "* LIST (\\HasNoChildren \\Subscribed) \"/\" INBOX\r\n"
                                           "* LIST (\\HasNoChildren \\Subscribed \\Sent) \"/\" "
                                           "\"Gr&APwA3w-e/x \\\"q\\\"\"\r\na OK LIST completed\r\n"},
        {"a LSUB \"\" \"*\"\r\n", "* LSUB () \"/\" INBOX\r\n* LSUB () \"/\" \"Gr&APwA3w-e/x \\\"q\\\"\"\r\n"
                                  "a OK LSUB completed\r\n"},
        {"a NAMESPACE\r\n", "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\na OK NAMESPACE completed\r\n"},
        {"a ENABLE CONDSTORE X-FOO\r\n", "* ENABLED CONDSTORE\r\na OK ENABLE completed\r\n"},
        {"a ENABLE\r\n", "a BAD missing argument\r\n"},
        {"a STATUS inbox (MESSAGES UNSEEN recent UIDNEXT UIDVALIDITY)\r\n",
         "* STATUS INBOX (MESSAGES 3 UNSEEN 1 RECENT 0 UIDNEXT 31 UIDVALIDITY 77)\r\na OK STATUS completed\r\n"},
        {"a STATUS Gr&APwA3w-e (MESSAGES)\r\n", "* STATUS Gr&APwA3w-e (MESSAGES 3)\r\na OK STATUS completed\r\n"},
        {"a STATUS nowhere (MESSAGES)\r\n", "a NO [NONEXISTENT] No such mailbox\r\n"},
        {"a STATUS INBOX ()\r\n", "a BAD expected an atom\r\n"},
        {"a STATUS INBOX (SIZES)\r\n", "a BAD Unknown status item\r\n"},
        {"a STATUS &bad (MESSAGES)\r\n", "a BAD mailbox name is not valid modified UTF-7\r\n"},
        {"a SELECT &bad\r\n", "a NO [NONEXISTENT] No such mailbox\r\n"},
    };
    EXPECT_ALL(s, table);
    end(&s);
}

static const char selected[] =
    "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded)\r\n"
    "* OK [PERMANENTFLAGS ()] Read-only\r\n* 3 EXISTS\r\n* 0 RECENT\r\n* OK [UNSEEN 2] First unseen\r\n"
    "* OK [UIDVALIDITY 77] UIDs valid\r\n* OK [UIDNEXT 31] Predicted next UID\r\n* OK [HIGHESTMODSEQ 5] Highest\r\n"
    "* OK [MAILBOXID (Fbox)] Ok\r\na OK [READ-ONLY] Mailbox selected\r\n";
static const char reselected[] =
    "* OK [CLOSED] Previous mailbox closed\r\n"
    "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded)\r\n"
    "* OK [PERMANENTFLAGS ()] Read-only\r\n* 3 EXISTS\r\n* 0 RECENT\r\n* OK [UNSEEN 2] First unseen\r\n"
    "* OK [UIDVALIDITY 77] UIDs valid\r\n* OK [UIDNEXT 31] Predicted next UID\r\n* OK [HIGHESTMODSEQ 5] Highest\r\n"
    "* OK [MAILBOXID (Fbox)] Ok\r\na OK [READ-ONLY] Mailbox selected\r\n";

Test(session, select)
{
    struct imap_session *s = talk_logged_in(NULL);
    const struct exchange table[] = {
        {"a SELECT INBOX\r\n", selected},
        {"a EXAMINE \"inbox\"\r\n", reselected},
        {"a CHECK\r\n", "a OK Completed\r\n"},
        {"a SELECT nowhere\r\n", "* OK [CLOSED] Previous mailbox closed\r\na NO [NONEXISTENT] No such mailbox\r\n"},
        {"a FETCH 1 UID\r\n", "a BAD Select a mailbox first\r\n"},
        {"a SELECT {5+}\r\nINBOX\r\n", selected},
        {"a CLOSE\r\n", "a OK Mailbox closed\r\n"},
        {"a CLOSE\r\n", "a BAD Select a mailbox first\r\n"},
        {"a EXAMINE INBOX\r\n", selected},
        {"a UNSELECT\r\n", "a OK Mailbox closed\r\n"},
        {"a SELECT\r\n", "a BAD missing argument\r\n"},
        {"a SELECT INBOX (CONDSTORE)\r\n", selected},
        {"a EXAMINE INBOX (CONDSTORE CONDSTORE)\r\n", "a BAD Unknown parameter\r\n"},
        {"a EXAMINE INBOX (QRESYNC (77 1))\r\n", "a BAD QRESYNC is not enabled\r\n"},
        {"a EXAMINE INBOX ()\r\n", "a BAD Unknown parameter\r\n"},
        {"a EXAMINE INBOX (CONDSTORE\r\n", "a BAD missing )\r\n"},
    };
    EXPECT_ALL(s, table);
    end(&s);
}

Test(session, fetch_metadata)
{
    struct imap_session *s = talk_selected(NULL);
    static const struct exchange table[] = {
        {"a FETCH 1 FLAGS\r\n", "* 1 FETCH (FLAGS (\\Seen))\r\na OK FETCH completed\r\n"},
        {"a FETCH 1:2 (FLAGS UID)\r\n",
         "* 1 FETCH (UID 10 FLAGS (\\Seen))\r\n* 2 FETCH (UID 20 FLAGS ())\r\na OK FETCH completed\r\n"},
        {"a FETCH 3 FAST\r\n",
         "* 3 FETCH (FLAGS (\\Seen) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" RFC822.SIZE 48)\r\n"
         "a OK FETCH completed\r\n"},
        {"a FETCH 3 ALL\r\n", "* 3 FETCH (FLAGS (\\Seen) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" RFC822.SIZE 48 "
                              "ENVELOPE (NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL))\r\na OK FETCH completed\r\n"},
        {"a FETCH 3 FULL\r\n",
         "* 3 FETCH (FLAGS (\\Seen) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" RFC822.SIZE 48 "
         "ENVELOPE (NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL) BODY (\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 7 1))\r\n"
         "a OK FETCH completed\r\n"},
        {"a FETCH 1 BODYSTRUCTURE\r\n", "* 1 FETCH (BODYSTRUCTURE (\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 7 1 NIL NIL "
                                        "NIL NIL))\r\na OK FETCH completed\r\n"},
        {"a UID FETCH 10,20:25,999 FLAGS\r\n",
         "* 1 FETCH (UID 10 FLAGS (\\Seen))\r\n* 2 FETCH (UID 20 FLAGS ())\r\na OK FETCH completed\r\n"},
        {"a UID FETCH 999 FLAGS\r\n", "a OK FETCH completed\r\n"},
        {"a UID FETCH 999:* UID\r\n", "* 3 FETCH (UID 30)\r\na OK FETCH completed\r\n"},
        {"a FETCH 4 FLAGS\r\n", "a BAD No such message\r\n"},
        {"a FETCH 1:4 FLAGS\r\n", "a BAD No such message\r\n"},
    };
    EXPECT_ALL(s, table);
    end(&s);
}

Test(session, fetch_bodies)
{
    struct imap_session *s = talk_selected(NULL);
    static const struct exchange table[] = {
        {"a FETCH 1 BODY[]\r\n",
         "* 1 FETCH (BODY[] {48}\r\nFrom: A <a@example.org>\r\nSubject: one\r\n\r\nHello\r\n)\r\n"
         "a OK FETCH completed\r\n"},
        {"a FETCH 1 RFC822.TEXT\r\n", "* 1 FETCH (RFC822.TEXT {7}\r\nHello\r\n)\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 (BODY.PEEK[1] UID RFC822.SIZE)\r\n",
         "* 1 FETCH (UID 10 RFC822.SIZE 48 BODY[1] {7}\r\nHello\r\n)\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 BODY[TEXT]<2.3>\r\n", "* 1 FETCH (BODY[TEXT]<2> {3}\r\nllo)\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 BODY[TEXT]<0.2000>\r\n", "* 1 FETCH (BODY[TEXT]<0> {7}\r\nHello\r\n)\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 BODY[TEXT]<7.1>\r\n", "* 1 FETCH (BODY[TEXT]<7> \"\")\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 BODY[TEXT]<4294967295.4294967295>\r\n",
         "* 1 FETCH (BODY[TEXT]<4294967295> \"\")\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 (BODY[2] BODY[1.MIME])\r\n",
         "* 1 FETCH (BODY[2] NIL BODY[1.MIME] {7}\r\nHello\r\n)\r\na OK FETCH completed\r\n"},
        {"a FETCH 2 BODY.PEEK[HEADER.FIELDS (Subject \"X-Y\" \"a b\")]\r\n",
         "* 2 FETCH (BODY[HEADER.FIELDS (Subject X-Y \"a b\")] {24}\r\nSubject: two\r\nX-Y: z\r\n\r\n)\r\n"
         "a OK FETCH completed\r\n"},
        {"a FETCH 2 BODY.PEEK[HEADER.FIELDS.NOT ({3+}\r\nX-Y)]<0.5>\r\n",
         "* 2 FETCH (BODY[HEADER.FIELDS.NOT (X-Y)]<0> {5}\r\nSubje)\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 RFC822.HEADER\r\n", "* 1 FETCH (RFC822.HEADER {41}\r\nFrom: A <a@example.org>\r\nSubject: "
                                        "one\r\n\r\n)\r\na OK FETCH completed\r\n"},
    };
    EXPECT_ALL(s, table);
    end(&s);
}

Test(session, fetch_in_small_slices_says_the_same)
{
    struct imap_session *s = talk_selected(NULL);
    static const char say[] = "a FETCH 1:* (UID FLAGS BODY[] BODY[TEXT]<1.3> BODY[9])\r\n";
    char *want = strdup(talk(s, say));
    end(&s);
    for (uint32_t high = 1; high < 200; high += 7) {
        fake_reset();
        s = talk_selected(&(struct imap_limits){.output_high_bytes = high});
        cr_expect_str_eq(talk(s, say), want, "high %u", high);
        cr_expect(talk_runs > (high < 100 ? 3 : 1), "high %u: %u runs", high, talk_runs);
        end(&s);
    }
    free(want);
}

Test(session, output_is_bounded_whatever_is_asked)
{
    fake_add(3000);
    struct imap_session *s = talk_selected(&(struct imap_limits){.output_high_bytes = 4096});
    talk(s, "a FETCH 1:* FULL\r\n");
    cr_expect_not_null(strstr(talk(s, "a UID SEARCH ALL\r\n"), " 30030\r\n"));
    cr_expect_lt(talk_high, 4096u + 4096u, "%zu", talk_high);
    end(&s);
}

Test(session, expunged_while_selected)
{
    struct imap_session *s = talk_selected(NULL);
    fake_expunge(20);
    static const struct exchange table[] = {
        {"a FETCH 1:3 UID\r\n", "* 1 FETCH (UID 10)\r\n* 3 FETCH (UID 30)\r\n"
                                "a NO [EXPUNGEISSUED] Some of the requested messages no longer exist\r\n"},
        {"a SEARCH ALL\r\n", "* SEARCH 1 2 3\r\na OK SEARCH completed\r\n"},
        {"a UID FETCH 20:30 UID\r\n", "* 3 FETCH (UID 30)\r\n* 2 EXPUNGE\r\na OK FETCH completed\r\n"},
        {"a FETCH 2 UID\r\n", "* 2 FETCH (UID 30)\r\na OK FETCH completed\r\n"},
        {"a NOOP\r\n", "a OK Completed\r\n"},
    };
    EXPECT_ALL(s, table);
    end(&s);
}

Test(session, expunge_untold_is_told_by_the_next_noop)
{
    struct imap_session *s = talk_selected(NULL);
    fake_expunge(10);
    fake_expunge(20);
    talk(s, "a FETCH 3 UID\r\n");
    cr_expect_str_eq(talk(s, "a NOOP\r\n"), "* 2 EXPUNGE\r\n* 1 EXPUNGE\r\na OK Completed\r\n");
    end(&s);
}

Test(session, news_with_any_answer)
{
    struct imap_session *s = talk_selected(NULL);
    fake_add(2);
    cr_expect_str_eq(talk(s, "a FETCH 1 UID\r\n"), "* 1 FETCH (UID 10)\r\n* 5 EXISTS\r\na OK FETCH completed\r\n");
    fake_expunge(10);
    fake_flag(30, "(\\Flagged)");
    fake_flag(40, "()");
    fake_add(1);
    cr_expect_str_eq(talk(s, "a NOOP\r\n"), "* 1 EXPUNGE\r\n* 5 EXISTS\r\n* 2 FETCH (UID 30 FLAGS (\\Flagged))\r\n"
                                            "* 3 FETCH (UID 40 FLAGS ())\r\na OK Completed\r\n");
    cr_expect_str_eq(talk(s, "a NOOP\r\n"), "a OK Completed\r\n");
    end(&s);
}

Test(session, many_expunges_are_said_in_slices)
{
    fake_add(2997);
    struct imap_session *s = talk_selected(&(struct imap_limits){.output_high_bytes = 2048});
    for (uint32_t i = 1; i <= 3000; i++)
        if (i % 3)
            fake_expunge(i * 10);
    const char *got = talk(s, "a NOOP\r\n");
    unsigned n = 0;
    for (const char *at = got; (at = strstr(at, " EXPUNGE\r\n")) != NULL; at++)
        n++;
    cr_expect_eq(n, 2000);
    cr_expect(strncmp(got, "* 2999 EXPUNGE\r\n* 2998 EXPUNGE\r\n* 2996 EXPUNGE\r\n", 48) == 0, "%.60s", got);
    cr_expect_null(strstr(got, "EXISTS"));
    cr_expect_lt(talk_high, 4096u);
    end(&s);
}

Test(session, folder_that_is_gone_ends_the_session)
{
    struct imap_session *s = talk_selected(NULL);
    fake.tick++;
    fake.advance_result = MDSQ_ERR_NOTFOUND;
    cr_expect_str_eq(talk(s, "a NOOP\r\n"), "* BYE Selected mailbox is gone\r\n");
    cr_expect_eq(talk_how, IMAP_RUN_CLOSE);
    end(&s);
}

Test(session, failing_advance_does_not_fail_the_command)
{
    struct imap_session *s = talk_selected(NULL);
    fake.tick++;
    fake.advance_result = MDSQ_ERR_IO;
    cr_expect_str_eq(talk(s, "a NOOP\r\n"), "a OK Completed\r\n");
    fake.advance_result = 0;
    fake_add(1);
    cr_expect_str_eq(talk(s, "a NOOP\r\n"), "* 4 EXISTS\r\na OK Completed\r\n");
    end(&s);
}

Test(session, item_gone_from_the_vault)
{
    struct imap_session *s = talk_selected(NULL);
    fake.messages[1].vault_gone = true;
    static const struct exchange table[] = {
        {"a FETCH 1:3 (FLAGS BODY[TEXT]<0.2>)\r\n",
         "* 1 FETCH (FLAGS (\\Seen) BODY[TEXT]<0> {2}\r\nHe)\r\n* 2 FETCH (FLAGS ())\r\n"
         "* 3 FETCH (FLAGS (\\Seen) BODY[TEXT]<0> {2}\r\nHe)\r\n"
         "a NO [UNAVAILABLE] Some of the messages cannot be read from the vault\r\n"},
        {"a FETCH 2 BODY[]\r\n", "a NO [UNAVAILABLE] Some of the messages cannot be read from the vault\r\n"},
    };
    EXPECT_ALL(s, table);
    end(&s);
}

Test(session, vault_that_fails_inside_a_literal_breaks_the_connection)
{
    struct imap_session *s = talk_selected(NULL);
    fake.messages[0].break_at = 1;
    cr_expect_str_eq(talk(s, "a FETCH 1 BODY[]\r\nb NOOP\r\n"), "* 1 FETCH (BODY[] {48}\r\n");
    cr_expect_eq(talk_how, IMAP_RUN_CLOSE);
    imap_session_shutdown(s, "no word of this");
    cr_expect_str_eq(talk(s, ""), "");
    end(&s);
}

Test(session, damaged_record)
{
    struct imap_session *s = talk_selected(NULL);
    fake.messages[1].corrupt = true;
    cr_expect_str_eq(talk(s, "a FETCH 1:3 UID\r\n"),
                     "* 1 FETCH (UID 10)\r\n* 3 FETCH (UID 30)\r\n"
                     "a NO [CORRUPTION] Some of the messages' records are damaged, tell the administrator\r\n");
    end(&s);
}

/* RFC 9585: after a second, and not again for five; nothing of a search that is quick. */
Test(session, long_search_tells_how_far_it_is)
{
    struct imap_session *s = talk_selected(NULL);
    fake.search_slices = 6;
    fake.search_ms = 1100;
    cr_expect_str_eq(talk(s, "a7 UID SEARCH ALL\r\n"),
                     "* OK [INPROGRESS (\"a7\" 2 6)] Still searching\r\n* SEARCH 10 20 30\r\na7 OK SEARCH completed\r\n");
    fake.search_slices = 8;
    cr_expect_str_eq(talk(s, "a8 SEARCH ALL\r\n"),
                     "* OK [INPROGRESS (\"a8\" 2 8)] Still searching\r\n* OK [INPROGRESS (\"a8\" 7 8)] Still searching\r\n"
                     "* SEARCH 1 2 3\r\na8 OK SEARCH completed\r\n");
    fake.search_slices = 6;
    fake.search_ms = 100;
    cr_expect_str_eq(talk(s, "a9 SEARCH ALL\r\n"), "* SEARCH 1 2 3\r\na9 OK SEARCH completed\r\n");
    end(&s);
}

static void count_line(const char *line, void *arg)
{
    *(unsigned *)arg += strcmp(line, "explained") == 0;
}

Test(session, search_is_explained_to_who_asked)
{
    struct imap_session *s = talk_selected(NULL);
    unsigned lines = 0;
    imap_session_explain(s, count_line, &lines);
    cr_expect_str_eq(talk(s, "a SEARCH ALL\r\n"), "* SEARCH 1 2 3\r\na OK SEARCH completed\r\n");
    cr_expect_eq(lines, 1);
    end(&s);
}

Test(session, search)
{
    struct imap_session *s = talk_selected(NULL);
    fake.search_slices = 3;
    static const struct exchange table[] = {
        {"a SEARCH ALL\r\n", "* SEARCH 1 2 3\r\na OK SEARCH completed\r\n"},
        {"a UID SEARCH ALL\r\n", "* SEARCH 10 20 30\r\na OK SEARCH completed\r\n"},
        {"a SORT (REVERSE DATE subject) UTF-8 ALL\r\n", "* SORT 3 2 1\r\na OK SORT completed\r\n"},
        {"a UID SORT (SIZE) US-ASCII ALL\r\n", "* SORT 30 20 10\r\na OK SORT completed\r\n"},
        {"a SORT RETURN (MIN MAX COUNT) (SIZE) UTF-8 ALL\r\n",
         "* ESEARCH (TAG \"a\") MIN 3 MAX 1 COUNT 3\r\na OK SORT completed\r\n"},
        {"a SORT RETURN () (SIZE) UTF-8 ALL\r\n", "* ESEARCH (TAG \"a\") ALL 3,2,1\r\na OK SORT completed\r\n"},
        {"a SORT (SIZE) KOI8-R ALL\r\n", "a NO [BADCHARSET (UTF-8 US-ASCII)] Charset is not supported\r\n"},
        {"a SORT (SIZE) UTF-8\r\n", "a BAD missing argument\r\n"},
        {"a SORT () UTF-8 ALL\r\n", "a BAD expected an atom\r\n"},
        {"a SORT (REVERSE) UTF-8 ALL\r\n", "a BAD missing space\r\n"},
        {"a SORT (WEIGHT) UTF-8 ALL\r\n", "a BAD unknown sort criterion\r\n"},
        {"a SORT (CC CC CC CC CC CC CC CC CC CC) UTF-8 ALL\r\n", "a BAD too many sort criteria\r\n"},
        {"a THREAD REFERENCES UTF-8 ALL\r\n", "* THREAD ((1 2)(3))\r\na OK THREAD completed\r\n"},
        {"a UID THREAD refs US-ASCII ALL\r\n", "* THREAD ((10 20)(30))\r\na OK THREAD completed\r\n"},
        {"a THREAD ORDEREDSUBJECT UTF-8 NONE\r\n", "a BAD unknown search key\r\n"},
        {"a THREAD REFERENCES KOI8-R ALL\r\n", "a NO [BADCHARSET (UTF-8 US-ASCII)] Charset is not supported\r\n"},
        {"a THREAD X UTF-8 ALL\r\n", "a BAD unknown thread algorithm\r\n"},
        {"a THREAD REFERENCES UTF-8\r\n", "a BAD missing argument\r\n"},
        {"a THREAD RETURN (ALL) REFERENCES UTF-8 ALL\r\n", "a BAD unknown thread algorithm\r\n"},
        {"a SEARCH RETURN (PARTIAL 1:2) ALL\r\n",
         "* ESEARCH (TAG \"a\") PARTIAL (1:2 1:2)\r\na OK SEARCH completed\r\n"},
        {"a UID SEARCH RETURN (PARTIAL 9:2 COUNT) ALL\r\n",
         "* ESEARCH (TAG \"a\") UID COUNT 3 PARTIAL (2:9 20,30)\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (PARTIAL -1:-2) ALL\r\n",
         "* ESEARCH (TAG \"a\") PARTIAL (-1:-2 2:3)\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (PARTIAL 4:5) ALL\r\n",
         "* ESEARCH (TAG \"a\") PARTIAL (4:5 NIL)\r\na OK SEARCH completed\r\n"},
        {"a SORT RETURN (PARTIAL 1:2) (SIZE) UTF-8 ALL\r\n",
         "* ESEARCH (TAG \"a\") PARTIAL (1:2 3,2)\r\na OK SORT completed\r\n"},
        {"a SORT RETURN (PARTIAL -1:-2 MIN) (SIZE) UTF-8 ALL\r\n",
         "* ESEARCH (TAG \"a\") MIN 3 PARTIAL (-1:-2 2,1)\r\na OK SORT completed\r\n"},
        {"a UID SORT RETURN (PARTIAL 7:8) (SIZE) UTF-8 ALL\r\n",
         "* ESEARCH (TAG \"a\") UID PARTIAL (7:8 NIL)\r\na OK SORT completed\r\n"},
        {"a SEARCH RETURN (PARTIAL 1:2 ALL) ALL\r\n", "a BAD ALL and PARTIAL exclude each other\r\n"},
        {"a SEARCH RETURN (PARTIAL 1:2 PARTIAL 3:4) ALL\r\n", "a BAD PARTIAL twice\r\n"},
        {"a SEARCH RETURN (PARTIAL 1:-2) ALL\r\n", "a BAD a partial range counts from one end\r\n"},
        {"a SEARCH RETURN (PARTIAL 0:2) ALL\r\n", "a BAD expected a number above 0\r\n"},
        {"a SEARCH RETURN (PARTIAL 1:*) ALL\r\n", "a BAD expected a number\r\n"},
        {"a SEARCH RETURN (SAVE PARTIAL 2:3) ALL\r\n",
         "* ESEARCH (TAG \"a\") PARTIAL (2:3 2:3)\r\na OK SEARCH completed\r\n"},
        {"a UID FETCH $ UID\r\n", "* 2 FETCH (UID 20)\r\n* 3 FETCH (UID 30)\r\na OK FETCH completed\r\n"},
        {"a SORT RETURN (SAVE PARTIAL 1:1 MAX) (SIZE) UTF-8 ALL\r\n",
         "* ESEARCH (TAG \"a\") MAX 1 PARTIAL (1:1 3)\r\na OK SORT completed\r\n"},
        {"a UID FETCH $ UID\r\n", "* 1 FETCH (UID 10)\r\n* 3 FETCH (UID 30)\r\na OK FETCH completed\r\n"},
        {"a SEARCH RETURN (SAVE PARTIAL 1:1 COUNT) ALL\r\n",
         "* ESEARCH (TAG \"a\") COUNT 3 PARTIAL (1:1 1)\r\na OK SEARCH completed\r\n"},
        {"a UID FETCH $ UID\r\n",
         "* 1 FETCH (UID 10)\r\n* 2 FETCH (UID 20)\r\n* 3 FETCH (UID 30)\r\na OK FETCH completed\r\n"},
        {"a UID FETCH 1:* UID (PARTIAL -1:-2)\r\n",
         "* 2 FETCH (UID 20)\r\n* 3 FETCH (UID 30)\r\na OK FETCH completed\r\n"},
        {"a UID FETCH 1:* UID (PARTIAL 1:1)\r\n", "* 1 FETCH (UID 10)\r\na OK FETCH completed\r\n"},
        {"a UID FETCH 1:* UID (PARTIAL 5:6)\r\n", "a OK FETCH completed\r\n"},
        {"a FETCH 1:* UID (PARTIAL 1:1)\r\n", "a BAD unknown FETCH modifier\r\n"},
        {"a UID FETCH 1:* UID (PARTIAL 1:1 PARTIAL 1:1)\r\n", "a BAD unknown FETCH modifier\r\n"},
        {"a SEARCH RETURN (RELEVANCY ALL) FUZZY SUBJECT \"x y\"\r\n",
         "* ESEARCH (TAG \"a\") ALL 1:3 RELEVANCY (10 20 30)\r\na OK SEARCH completed\r\n"},
        {"a SORT RETURN (RELEVANCY PARTIAL 1:2) (RELEVANCY) UTF-8 FUZZY TEXT x\r\n",
         "* ESEARCH (TAG \"a\") PARTIAL (1:2 3,2) RELEVANCY (30 20)\r\na OK SORT completed\r\n"},
        {"a SEARCH RETURN (RELEVANCY COUNT) FUZZY TEXT x\r\n",
         "* ESEARCH (TAG \"a\") COUNT 3 RELEVANCY (10 20 30)\r\na OK SEARCH completed\r\n"},
        {"a SEARCH FUZZY TEXT x\r\n", "* SEARCH 1 2 3\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (RELEVANCY) TEXT x\r\n", "a BAD RELEVANCY without FUZZY\r\n"},
        {"a SORT (RELEVANCY) UTF-8 TEXT x\r\n", "a BAD RELEVANCY without FUZZY\r\n"},
        {"a SEARCH FUZZY\r\n", "a BAD missing argument\r\n"},
        {"a SEARCH RECENT\r\n", "* SEARCH\r\na OK SEARCH completed\r\n"},
        {"a SEARCH 4\r\n", "a BAD No such message\r\n"},
        {"a SEARCH CHARSET KOI8-R TEXT {3+}\r\n\xff\xfe\xfd\r\n",
         "a NO [BADCHARSET (UTF-8 US-ASCII)] Charset is not supported\r\n"},
        {"a SEARCH CHARSET utf-8 SUBJECT {4+}\r\n\xc3\xbc\xc3\xbc\r\n", "* SEARCH 1 2 3\r\na OK SEARCH completed\r\n"},
        {"a SEARCH\r\n", "a BAD missing argument\r\n"},
    };
    EXPECT_ALL(s, table);
    fake.thread_result = MDSQ_ERR_LIMIT;
    cr_expect_str_eq(talk(s, "a THREAD REFS UTF-8 ALL\r\n"), "a NO [LIMIT] Too much asked for in one command\r\n");
    fake.search_result = MDSQ_ERR_IO;
    cr_expect_str_eq(talk(s, "a THREAD REFS UTF-8 ALL\r\n"),
                     "a NO [UNAVAILABLE] Temporary failure, try again later\r\n");
    cr_expect_str_eq(talk(s, "a SEARCH ALL\r\n"), "a NO [UNAVAILABLE] Temporary failure, try again later\r\n");
    end(&s);
}

Test(session, pipelined_commands_are_answered_in_order)
{
    struct imap_session *s = talk_new(NULL, true);
    const char *got = talk(s, "1 LOGIN me {8+}\r\nsecret\"\\\r\n2 EXAMINE INBOX\r\n3 FETCH 1 UID\r\n4 SEARCH ALL\r\n"
                              "5 LOGOUT\r\n6 NOOP\r\n");
    const char *rest = strstr(got, "] Logged in\r\n");
    cr_assert_not_null(rest);
    cr_expect_eq(strncmp(got, "1 OK [CAPABILITY IMAP4rev1 ", 27), 0);
    cr_expect_str_eq(
        rest + 13,
        "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded)\r\n* OK [PERMANENTFLAGS ()] Read-only\r\n"
        "* 3 EXISTS\r\n* 0 RECENT\r\n* OK [UNSEEN 2] First unseen\r\n* OK [UIDVALIDITY 77] UIDs valid\r\n"
        "* OK [UIDNEXT 31] Predicted next UID\r\n* OK [HIGHESTMODSEQ 5] Highest\r\n* OK [MAILBOXID (Fbox)] Ok\r\n"
        "2 OK [READ-ONLY] Mailbox selected\r\n"
        "* 1 FETCH (UID 10)\r\n3 OK FETCH completed\r\n* SEARCH 1 2 3\r\n4 OK SEARCH completed\r\n"
        "* BYE Logging out\r\n5 OK LOGOUT completed\r\n");
    end(&s);
}

Test(session, byte_by_byte_is_the_same)
{
    static const char say[] = "1 LOGIN me {8+}\r\nsecret\"\\\r\n2 EXAMINE INBOX\r\n3 FETCH 1:* (BODY[] FLAGS)\r\n"
                              "4 UID SEARCH OR SEEN (NOT DELETED BEFORE 1-Jan-2020)\r\n5 XX\r\n6 LOGOUT\r\n";
    struct imap_session *s = talk_new(NULL, true);
    char *want = strdup(talk(s, say));
    end(&s);
    s = talk_new(NULL, true);
    struct buf got = {0};
    for (size_t i = 0; i < sizeof say - 1; i++)
        buf_append_str(&got, talk_bytes(s, say + i, 1));
    buf_append_byte(&got, 0);
    cr_expect_str_eq((char *)got.p, want);
    buf_release(&got);
    free(want);
    end(&s);
}

Test(session, limits_are_answered)
{
    const struct imap_limits limits = {
        .line_bytes = 40, .literal_bytes = 10, .command_bytes = 60, .pipeline_bytes = 16};
    struct imap_session *s = talk_logged_in(&(struct imap_limits){0});
    end(&s);
    s = talk_new(&limits, true);
    static const struct exchange table[] = {
        {"a NOOP 345678901234567890123456789012345\r\n", "a BAD unexpected text after the arguments\r\n"},
        {"a NOOP 34567890123456789012345678901234567\r\nb NOOP\r\n", "a BAD Line too long\r\nb OK Completed\r\n"},
        {"a LOGIN {10}\r\n", "+ OK\r\n"},
        {"0123456789 {11}\r\n", "a BAD [TOOBIG] Literal too large\r\n"},
        {"a LOGIN {11+}\r\n0123456789X {2+}\r\nme\r\nb NOOP\r\n",
         "a BAD [TOOBIG] Literal too large\r\nb OK Completed\r\n"},
        {"a LOGIN x {4294967295+}\r\n", "* BYE [TOOBIG] Literal too large\r\n"},
    };
    EXPECT_ALL(s, table);
    cr_expect_eq(talk_how, IMAP_RUN_CLOSE);
    end(&s);
}

Test(session, too_many_bad_commands)
{
    struct imap_session *s = talk_new(&(struct imap_limits){.bad_commands = 3}, true);
    cr_expect_str_eq(talk(s, "a X\r\nb X\r\nc NOOP\r\nd X\r\ne X\r\nf X\r\ng NOOP\r\n"),
                     "a BAD Unknown command\r\nb BAD Unknown command\r\nc OK Completed\r\nd BAD Unknown command\r\n"
                     "e BAD Unknown command\r\nf BAD Unknown command\r\n* BYE Too many bad commands\r\n");
    cr_expect_eq(talk_how, IMAP_RUN_CLOSE);
    end(&s);
}

Test(session, errors_do_not_show_paths)
{
    struct imap_session *s = talk_selected(NULL);
    fake.search_result = MDSQ_ERR_CORRUPT;
    const char *got = talk(s, "a SEARCH ALL\r\n");
    cr_expect_null(strchr(got, '/'), "%s", got);
    end(&s);
}

Test(session, idle_session_is_small)
{
    fake_add(3000);
    struct imap_session *s = talk_selected(NULL);
    talk(s, "a FETCH 1:* (FULL BODY[])\r\n");
    cr_expect_lt(imap_session_memory_bytes(s), 2048u, "%zu", imap_session_memory_bytes(s));
    end(&s);
}

Test(session, feed_takes_no_more_than_the_pipeline)
{
    struct imap_session *s = imap_session_new(NULL, &(struct imap_limits){.pipeline_bytes = 100});
    static const char zeros[200];
    cr_expect_eq(imap_session_feed(s, zeros, 200), 100);
    cr_expect_eq(imap_session_feed(s, zeros, 1), 0);
    end(&s);
}

Test(session, local_session_is_logged_in)
{
    struct error err = {0};
    struct imap_session *s = imap_session_new_local(NULL, "mail", NULL, &err);
    cr_assert_not_null(s);
    cr_expect_str_eq(talk(s, ""), "");
    cr_expect_str_eq(talk(s, "a FETCH 1 UID\r\n"), "a BAD Select a mailbox first\r\n");
    talk(s, "a EXAMINE INBOX\r\n");
    cr_expect_str_eq(talk(s, "a FETCH 1 UID\r\n"), "* 1 FETCH (UID 10)\r\na OK FETCH completed\r\n");
    end(&s);
    cr_expect_null(imap_session_new_local(NULL, "other", NULL, &err));
    cr_expect_eq(err.code, BASE_ERR_NOTFOUND);
}

Test(session, archive_that_is_gone_ends_it)
{
    static const char *const commands[] = {"a NOOP\r\n",  "a IDLE\r\n",         "a FETCH 1 UID\r\n",
                                           "a CLOSE\r\n", "a SELECT INBOX\r\n", "a NOOP\r\nb NOOP\r\n"};
    static const char bye[] = "* BYE [UNAVAILABLE] Archive was disabled or removed\r\n";
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        struct imap_session *s = talk_selected(NULL);
        fake.archive_is_gone = true;
        const char *got = talk(s, commands[i]);
        cr_expect_str_eq(got, bye, "%s: %s", commands[i], got);
        cr_expect_eq(talk_how, IMAP_RUN_CLOSE, "%s", commands[i]);
        fake.archive_is_gone = false;
        end(&s);
    }
    struct imap_session *s = talk_selected(NULL);
    talk(s, "a IDLE\r\n");
    fake.archive_is_gone = true;
    cr_expect_str_eq(talk(s, "DONE\r\n"), bye);
    fake.archive_is_gone = false;
    end(&s);
    s = talk_selected(NULL);
    fake.archive_is_gone = true;
    cr_expect_str_eq(talk(s, "a LOGOUT\r\n"), "* BYE Logging out\r\na OK LOGOUT completed\r\n");
    fake.archive_is_gone = false;
    end(&s);
}

Test(session, shutdown_says_bye_once)
{
    struct imap_session *s = talk_selected(NULL);
    imap_session_shutdown(s, "Bye now");
    imap_session_shutdown(s, "Bye again");
    cr_expect_str_eq(talk(s, "a NOOP\r\n"), "* BYE Bye now\r\n");
    end(&s);
}
