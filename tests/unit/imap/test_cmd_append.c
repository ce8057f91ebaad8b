/* APPEND, MULTIAPPEND, CATENATE, literal8, UTF8, REPLACE: what is filed, what is refused and when. */
#include "transcript.h"

#include "base/bytes.h"

#include <stdlib.h>

TestSuite(cmd_append, .init = writable);

Test(cmd_append, plain)
{
    struct imap_session *s = talk_logged_in(NULL);
    static const struct exchange table[] = {
        {"a APPEND INBOX {5}\r\n", "+ OK\r\n"},
        {"a: b\n\r\n", "a OK [APPENDUID 77 40] APPEND completed\r\n"},
        {"a APPEND Gr&APwA3w-e (\\Seen kw \\Draft) \" 7-Feb-1994 21:52:25 -0800\" {3+}\r\nabc\r\n",
         "a OK [APPENDUID 77 1001] APPEND completed\r\n"},
        {"a APPEND INBOX \"07-Feb-1994 21:52:25 +0130\" ~{4+}\r\na\x01"
         "bc\r\n",
         "a OK [APPENDUID 77 50] APPEND completed\r\n"},
        {"a APPEND {5+}\r\nINBOX () {1+}\r\nx\r\n", "a OK [APPENDUID 77 60] APPEND completed\r\n"},
        {"a NOOP\r\n", "a OK Completed\r\n"},
    };
    EXPECT_ALL(s, table);
    expect_log("APPEND INBOX [flags=0] 5 bytes\n"
               "APPEND Gr\xc3\xbc\xc3\x9f"
               "e [flags=17 kw date=760686745-480] 3 bytes\n"
               "APPEND INBOX [flags=0 date=760652545+90] 4 bytes\nAPPEND INBOX [flags=0] 1 bytes\n");
    cr_expect_str_eq(fake.messages[3].raw, "a: b\n");
    end(&s);
}

Test(cmd_append, to_the_selected_folder_is_told)
{
    struct imap_session *s = talk_selected(NULL);
    cr_expect_str_eq(talk(s, "a APPEND INBOX {1+}\r\nx\r\n"),
                     "* 4 EXISTS\r\na OK [APPENDUID 77 40] APPEND completed\r\n");
    end(&s);
}

/* After each the session must go on in step. */
Test(cmd_append, refused_before_it_is_sent)
{
    struct imap_session *s = talk_logged_in(&(struct imap_limits){.bad_commands = 100, .append_bytes = 100});
    static const struct exchange table[] = {
        {"a APPEND nowhere {5}\r\n", "a NO [TRYCREATE] No such mailbox, create it first\r\n"},
        {"a APPEND nowhere {5+}\r\nabcde\r\nb NOOP\r\n",
         "a NO [TRYCREATE] No such mailbox, create it first\r\nb OK Completed\r\n"},
        {"a APPEND nowhere {5+}\r\nabcde (\\Seen) {3+}\r\nabc\r\nb NOOP\r\n",
         "a NO [TRYCREATE] No such mailbox, create it first\r\nb OK Completed\r\n"},
        {"a APPEND nowhere {5+}\r\nabcde {3}\r\nb NOOP\r\n",
         "a NO [TRYCREATE] No such mailbox, create it first\r\nb OK Completed\r\n"},
        {"a APPEND INBOX {101}\r\n", "a NO [TOOBIG] Message is larger than APPENDLIMIT\r\n"},
        {"a APPEND INBOX {101+}\r\n01234567890123456789012345678901234567890123456789"
         "012345678901234567890123456789012345678901234567890\r\nb NOOP\r\n",
         "a NO [TOOBIG] Message is larger than APPENDLIMIT\r\nb OK Completed\r\n"},
        {"a APPEND INBOX {0}\r\n", "a NO [CANNOT] A message of no bytes is none\r\n"},
        {"a APPEND INBOX {0+}\r\n\r\n", "a NO [CANNOT] A message of no bytes is none\r\n"},
        {"a APPEND INBOX (\\Recent) {3}\r\n", "a BAD \\Recent cannot be set\r\n"},
        {"a APPEND INBOX (\\Seen) \"x\" {3+}\r\nabc\r\n", "a BAD bad date\r\n"},
        {"a APPEND INBOX \"30-Feb-1994 21:52:25 -0800\" {3+}\r\nabc\r\n", "a BAD no such day\r\n"},
        {"a APPEND INBOX x {3+}\r\nabc\r\n", "a BAD unexpected word\r\n"},
        {"a APPEND INBOX (\\Seen) \"abc\"\r\n", "a BAD bad date\r\n"},
        {"a APPEND INBOX\r\n", "a BAD missing argument\r\n"},
        {"a APPEND\r\n", "a BAD missing argument\r\n"},
        {"a APPEND INBOX UTF8 (~{3+}\r\nabc)\r\n", "a BAD UTF8=ACCEPT is not enabled\r\n"},
        {"a APPEND URL {3}\r\n", "a NO [TRYCREATE] No such mailbox, create it first\r\n"},
        {"a APPEND &bad {3+}\r\nabc\r\n", "a BAD mailbox name is not valid modified UTF-7\r\n"},
        {"a APPEND {9+}\r\nlonglongx {3+}\r\nabc\r\n", "a NO [TRYCREATE] No such mailbox, create it first\r\n"},
        {"a APPEND INBOX {3+}\r\nabcd\r\n", "a BAD missing space\r\n"},
        {"a APPEND INBOX {3+}\r\nabc \r\n", "a BAD unexpected word\r\n"},
        {"a NOOP\r\n", "a OK Completed\r\n"},
    };
    EXPECT_ALL(s, table);
    expect_log("");
    end(&s);
}

Test(cmd_append, nul_in_a_literal)
{
    struct imap_session *s = talk_logged_in(NULL);
    static const char plain[] = "a APPEND INBOX {3+}\r\na\0b\r\nb NOOP\r\n";
    static const char binary[] = "a APPEND INBOX ~{3+}\r\na\0b\r\n";
    cr_expect_str_eq(talk_bytes(s, plain, sizeof plain - 1), "a BAD NUL in a literal\r\nb OK Completed\r\n");
    cr_expect_str_eq(talk_bytes(s, binary, sizeof binary - 1), "a OK [APPENDUID 77 40] APPEND completed\r\n");
    end(&s);
}

Test(cmd_append, multiappend)
{
    struct imap_session *s = talk_logged_in(&(struct imap_limits){.append_bytes = 100});
    static const struct exchange table[] = {
        {"a APPEND INBOX (\\Seen) {3}\r\n", "+ OK\r\n"},
        {"abc (\\Draft) {2}\r\n", "+ OK\r\n"},
        {"de ~{1}\r\n", "+ OK\r\n"},
        {"f\r\n", "a OK [APPENDUID 77 40,50,60] APPEND completed\r\n"},
        {"b APPEND INBOX {3+}\r\nabc {101}\r\n", "b NO [TOOBIG] Message is larger than APPENDLIMIT\r\n"},
        {"b APPEND INBOX {3+}\r\nabc {0}\r\n", "b NO [CANNOT] A message of no bytes is none\r\n"},
        {"b APPEND INBOX {3+}\r\nabc (\\Recent) {3+}\r\nabc {3+}\r\nabc\r\n", "b BAD \\Recent cannot be set\r\n"},
        {"b NOOP\r\n", "b OK Completed\r\n"},
    };
    EXPECT_ALL(s, table);
    expect_log("APPEND INBOX [flags=1] [flags=16] [flags=0] 3 bytes 2 bytes 1 bytes\n");
    end(&s);
}

Test(cmd_append, too_many_messages_for_one_command)
{
    struct imap_session *s = talk_logged_in(NULL);
    struct buf say = {0};
    buf_append_str(&say, "a APPEND INBOX");
    for (int i = 0; i < 501; i++)
        buf_append_str(&say, " {1+}\r\nx");
    buf_append_str(&say, "\r\nb NOOP\r\n");
    cr_expect_str_eq(talk_bytes(s, say.p, say.n),
                     "a NO [LIMIT] Too many messages in one command\r\nb OK Completed\r\n");
    expect_log("");
    end(&s);
    s = talk_logged_in(&(struct imap_limits){.append_bytes = 10});
    buf_reset(&say);
    buf_append_str(&say, "a APPEND INBOX");
    for (int i = 0; i < 16; i++)
        buf_append_str(&say, " {10+}\r\n0123456789");
    buf_append_str(&say, " {1}\r\nb NOOP\r\n");
    cr_expect_str_eq(talk_bytes(s, say.p, say.n),
                     "a NO [LIMIT] Messages are too large for one command\r\nb OK Completed\r\n");
    buf_release(&say);
    expect_log("");
    end(&s);
}

Test(cmd_append, catenate)
{
    struct imap_session *s = talk_selected(NULL);
    static const struct exchange table[] = {
        {"a APPEND INBOX (\\Seen) CATENATE (TEXT {4}\r\n", "+ OK\r\n"},
        {"A: b URL \"/INBOX;UIDVALIDITY=77/;UID=10/;SECTION=TEXT\" TEXT {1+}\r\n!)\r\n",
         "* 4 EXISTS\r\na OK [APPENDUID 77 40] APPEND completed\r\n"},
        {"a APPEND INBOX CATENATE (URL \";UID=20/;SECTION=HEADER\")\r\n",
         "* 5 EXISTS\r\na OK [APPENDUID 77 50] APPEND completed\r\n"},
        {"a APPEND INBOX CATENATE (URL {12+}\r\n/INBOX;UID=1 TEXT {1+}\r\nx)\r\n",
         "a NO [BADURL \"/INBOX;UID=1\"] Cannot fetch what the URL names\r\n"},
        {"a APPEND INBOX CATENATE (URL {13+}\r\n/INBOX/;UID=10 TEXT {1+}\r\nx)\r\n",
         "a NO [BADURL \"/INBOX/;UID=1\"] Cannot fetch what the URL names\r\n"},
        {"a APPEND INBOX CATENATE (URL {14+}\r\n/INBOX/;UID=10 TEXT {1+}\r\nx) {2+}\r\nyz\r\n",
         "* 7 EXISTS\r\na OK [APPENDUID 77 60,70] APPEND completed\r\n"},
        {"a APPEND INBOX CATENATE (URL /INBOX/;UID=10/;PARTIAL=1.4)\r\n",
         "* 8 EXISTS\r\na OK [APPENDUID 77 80] APPEND completed\r\n"},
    };
    EXPECT_ALL(s, table);
    cr_expect_str_eq(fake.messages[3].raw, "A: bHello\r\n!");
    cr_expect_str_eq(fake.messages[4].raw, "Subject: two\r\nX-Y: z\r\n\r\n");
    cr_expect_str_eq(fake.messages[7].raw, "rom:");
    end(&s);
}

Test(cmd_append, catenate_that_cannot_be)
{
    struct imap_session *s = talk_selected(&(struct imap_limits){.bad_commands = 100, .append_bytes = 60});
    static const struct exchange table[] = {
        {"a APPEND INBOX CATENATE (URL \"/INBOX/;UID=999\")\r\n",
         "a NO [BADURL \"/INBOX/;UID=999\"] Cannot fetch what the URL names\r\n"},
        {"a APPEND INBOX CATENATE (URL \"/nowhere/;UID=10\")\r\n",
         "a NO [BADURL \"/nowhere/;UID=10\"] Cannot fetch what the URL names\r\n"},
        {"a APPEND INBOX CATENATE (URL \"/INBOX;UIDVALIDITY=5/;UID=10\")\r\n",
         "a NO [BADURL \"/INBOX;UIDVALIDITY=5/;UID=10\"] Cannot fetch what the URL names\r\n"},
        {"a APPEND INBOX CATENATE (URL \"imap://other/INBOX/;UID=10\")\r\n",
         "a NO [BADURL \"imap://other/INBOX/;UID=10\"] Cannot fetch what the URL names\r\n"},
        {"a APPEND INBOX CATENATE (URL \"]\" TEXT {3}\r\n", "a NO [BADURL \"\"] Cannot fetch what the URL names\r\n"},
        {"a APPEND INBOX CATENATE (URL \"/INBOX/;UID=10\" TEXT {20}\r\n",
         "a NO [TOOBIG] Message is larger than APPENDLIMIT\r\n"},
        {"a APPEND INBOX CATENATE (TEXT {20+}\r\n01234567890123456789 URL \"/INBOX/;UID=10\")\r\n",
         "a NO [TOOBIG] Message is larger than APPENDLIMIT\r\n"},
        {"a APPEND INBOX CATENATE (TEXT {0+}\r\n)\r\n", "a NO [CANNOT] A message of no bytes is none\r\n"},
        {"a APPEND INBOX CATENATE ()\r\n", "a BAD unexpected word\r\n"},
        {"a APPEND INBOX CATENATE (TEXT x)\r\n", "a BAD Expected a message\r\n"},
        {"a APPEND INBOX CATENATE (TEXT {1+}\r\nx\r\n", "a BAD missing argument\r\n"},
        {"a APPEND INBOX CATENATE TEXT {1+}\r\nx\r\n", "a BAD missing (\r\n"},
        {"a NOOP\r\n", "a OK Completed\r\n"},
    };
    EXPECT_ALL(s, table);
    fake.messages[0].vault_gone = true;
    cr_expect_str_eq(talk(s, "a APPEND INBOX CATENATE (URL \"/INBOX/;UID=10\")\r\n"),
                     "a NO [BADURL \"/INBOX/;UID=10\"] Cannot fetch what the URL names\r\n");
    expect_log("");
    end(&s);
}

Test(cmd_append, utf8)
{
    struct imap_session *s = talk_logged_in(NULL);
    talk(s, "a ENABLE IMAP4rev2\r\n");
    static const struct exchange table[] = {
        {"a APPEND INBOX (\\Seen) UTF8 (~{4}\r\n", "+ OK\r\n"},
        {"S:\xc3\xa9)\r\n", "a OK [APPENDUID 77 40] APPEND completed\r\n"},
        {"a APPEND INBOX UTF8 ({4+}\r\nS:ab)\r\n", "a BAD UTF8 wants a literal8\r\n"},
        {"a APPEND INBOX UTF8 (~{4+}\r\nS:ab\r\n", "a BAD missing )\r\n"},
    };
    EXPECT_ALL(s, table);
    end(&s);
}

Test(cmd_append, replace)
{
    struct imap_session *s = talk_selected(&(struct imap_limits){.bad_commands = 100, .append_bytes = 100});
    static const struct exchange table[] = {
        {"a REPLACE 2 INBOX (\\Draft) {3}\r\n", "+ OK\r\n"},
        {"abc\r\n",
         "* OK [APPENDUID 77 40] Replacement is there\r\n* 2 EXPUNGE\r\n* 3 EXISTS\r\na OK REPLACE completed\r\n"},
        {"a UID REPLACE 40 Gr&APwA3w-e {1+}\r\nx\r\n",
         "* OK [APPENDUID 77 1001] Replacement is there\r\n* 3 EXPUNGE\r\na OK REPLACE completed\r\n"},
        {"a REPLACE * {5+}\r\nINBOX {1+}\r\nx\r\n",
         "* OK [APPENDUID 77 50] Replacement is there\r\n* 2 EXPUNGE\r\n* 2 EXISTS\r\na OK REPLACE completed\r\n"},
        {"a REPLACE 1 nowhere {1}\r\n", "a NO [TRYCREATE] No such mailbox, create it first\r\n"},
        {"a REPLACE 9 INBOX {1}\r\n", "a BAD No such message\r\n"},
        {"a UID REPLACE 20 INBOX {1}\r\n", "a NO [NONEXISTENT] No such message\r\n"},
        {"a REPLACE 1 INBOX {101}\r\n", "a NO [TOOBIG] Message is larger than APPENDLIMIT\r\n"},
        {"a REPLACE 1 INBOX {1+}\r\nx {1+}\r\ny\r\n", "a BAD REPLACE takes one message\r\n"},
        {"a REPLACE 1:2 INBOX {1}\r\n", "a BAD missing space\r\n"},
        {"a REPLACE x INBOX {1}\r\n", "a BAD expected a number\r\n"},
        {"a NOOP\r\n", "a OK Completed\r\n"},
    };
    EXPECT_ALL(s, table);
    end(&s);
}

static void expunge_first(void)
{
    fake.in_commit = NULL;
    fake_expunge(10);
}

Test(cmd_append, replace_of_a_message_that_went)
{
    struct imap_session *s = talk_selected(NULL);
    fake.in_commit = expunge_first;
    cr_expect_str_eq(talk(s, "a REPLACE 1 INBOX {1+}\r\nx\r\n"),
                     "* 1 EXPUNGE\r\na NO [NONEXISTENT] No such message\r\n");
    end(&s);
}

Test(cmd_append, a_draft_without_room)
{
    struct imap_session *s = talk_logged_in(NULL);
    fake.draft_room = 4;
    cr_expect_str_eq(talk(s, "a APPEND INBOX {8+}\r\nabcdefgh {2+}\r\nxx\r\nb NOOP\r\n"),
                     "a NO [OVERQUOTA] No room is left for it\r\nb OK Completed\r\n");
    cr_expect_str_eq(talk(s, "a APPEND INBOX {8}\r\n"), "+ OK\r\n");
    cr_expect_str_eq(talk(s, "abcdefgh\r\nb NOOP\r\n"),
                     "a NO [OVERQUOTA] No room is left for it\r\nb OK Completed\r\n");
    end(&s);
}

Test(cmd_append, the_folder_goes_while_the_message_comes)
{
    struct imap_session *s = talk_logged_in(NULL);
    talk(s, "a APPEND INBOX {3}\r\n");
    fake.change_result = MDSQ_ERR_NOTFOUND;
    cr_expect_str_eq(talk(s, "abc\r\n"), "a NO [TRYCREATE] No such mailbox, create it first\r\n");
    end(&s);
}

Test(cmd_append, a_session_that_ends_within_a_literal)
{
    struct imap_session *s = talk_selected(NULL);
    talk(s, "a APPEND INBOX {300}\r\n");
    talk(s, "abc");
    end(&s);
    s = talk_selected(NULL);
    talk(s, "a APPEND INBOX {3+}\r\nabc (\\Seen)");
    end(&s);
}

Test(cmd_append, any_split_is_the_same)
{
    static const char say[] =
        "a APPEND {5+}\r\nINBOX (\\Seen) \" 7-Feb-1994 21:52:25 -0800\" {12+}\r\nA: b\r\n\r\n{3+}"
        " CATENATE (TEXT ~{3+}\r\nx\r\n URL {14+}\r\n/INBOX/;UID=10 TEXT {2+}\r\n))) {1+}\r\nz\r\n"
        "b APPEND nowhere {3+}\r\nabc {3+}\r\nabc\r\nc NOOP\r\n";
    struct imap_session *s = talk_selected(NULL);
    char *want = strdup(talk(s, say));
    cr_expect_not_null(strstr(want, "a OK [APPENDUID 77 40,50,60]"), "%s", want);
    end(&s);
    for (size_t step = 1; step < 20; step++) {
        writable();
        s = talk_selected(NULL);
        struct buf got = {0};
        for (size_t at = 0; at < sizeof say - 1; at += step)
            buf_append_str(&got, talk_bytes(s, say + at, step < sizeof say - 1 - at ? step : sizeof say - 1 - at));
        buf_append_byte(&got, 0);
        cr_expect_str_eq((char *)got.p, want, "step %zu: %s", step, (char *)got.p);
        buf_release(&got);
        end(&s);
    }
    free(want);
}

/* A gigabyte refused, or 60 MB taken, must not be in memory: the input is never more than the pipeline. */
Test(cmd_append, a_large_literal_is_not_kept)
{
    struct imap_session *s = talk_logged_in(&(struct imap_limits){.append_bytes = 1 << 20});
    enum { SIZE = 900000 };
    struct buf say = {0};
    buf_printf(&say, "a APPEND nowhere {%d+}\r\n", SIZE);
    talk_bytes(s, say.p, say.n);
    memset(buf_reserve(&say, SIZE), 'x', SIZE);
    for (size_t at = 0; at < SIZE; at += 60000) {
        talk_bytes(s, say.p + say.n, SIZE - at < 60000 ? SIZE - at : 60000);
        cr_expect_lt(imap_session_memory_bytes(s), 4096u);
    }
    cr_expect_str_eq(talk(s, "\r\n"), "a NO [TRYCREATE] No such mailbox, create it first\r\n");
    cr_expect_str_eq(talk(s, "a APPEND INBOX {2147483647+}\r\n"), "* BYE [TOOBIG] Literal too large\r\n");
    cr_expect_eq(talk_how, IMAP_RUN_CLOSE);
    buf_release(&say);
    end(&s);
}
