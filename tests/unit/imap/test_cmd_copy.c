/* COPY, MOVE, EXPUNGE, UID EXPUNGE, CLOSE. */
#include "transcript.h"

TestSuite(cmd_copy, .init = writable);

Test(cmd_copy, copy)
{
    struct imap_session *s = talk_selected(NULL);
    static const struct exchange table[] = {
        {"a COPY 1:2 Gr&APwA3w-e\r\n", "a OK [COPYUID 77 10,20 1001,1002] COPY completed\r\n"},
        {"a UID COPY 20:30 Gr&APwA3w-e\r\n", "a OK [COPYUID 77 20,30 1001,1002] COPY completed\r\n"},
        {"a UID COPY 999 Gr&APwA3w-e\r\n", "a OK No such message\r\n"},
        {"a COPY 4 Gr&APwA3w-e\r\n", "a BAD No such message\r\n"},
        {"a COPY 1 nowhere\r\n", "a NO [TRYCREATE] No such mailbox, create it first\r\n"},
        {"a COPY X 1\r\n", "a BAD expected a number\r\n"},
        {"a COPY 1\r\n", "a BAD missing argument\r\n"},
    };
    EXPECT_ALL(s, table);
    end(&s);
}

static void expunge_two(void)
{
    fake.in_commit = NULL;
    fake_expunge(10);
    fake_expunge(20);
}

Test(cmd_copy, messages_that_are_gone_are_passed_over)
{
    struct imap_session *s = talk_selected(NULL);
    fake.in_commit = expunge_two;
    static const struct exchange table[] = {
        {"a COPY 1:2 Gr&APwA3w-e\r\n",
         "* 2 EXPUNGE\r\n* 1 EXPUNGE\r\na NO [EXPUNGEISSUED] The messages no longer exist\r\n"},
        {"a UID COPY 10:30 Gr&APwA3w-e\r\n", "a OK [COPYUID 77 30 1001] COPY completed\r\n"},
    };
    EXPECT_ALL(s, table);
    end(&s);
}

Test(cmd_copy, move)
{
    struct imap_session *s = talk_selected(NULL);
    static const struct exchange table[] = {
        {"a MOVE 1:2 Gr&APwA3w-e\r\n",
         "* OK [COPYUID 77 10,20 1001,1002] Moved\r\n* 2 EXPUNGE\r\n* 1 EXPUNGE\r\na OK MOVE completed\r\n"},
        {"a UID MOVE 20,30 Gr&APwA3w-e\r\n",
         "* OK [COPYUID 77 30 1001] Moved\r\n* 1 EXPUNGE\r\na OK MOVE completed\r\n"},
        {"a UID MOVE 30 Gr&APwA3w-e\r\n", "a OK No such message\r\n"},
        {"a UID MOVE 30 nowhere\r\n", "a NO [TRYCREATE] No such mailbox, create it first\r\n"},
    };
    EXPECT_ALL(s, table);
    end(&s);
}

Test(cmd_copy, move_with_qresync)
{
    struct imap_session *s = talk_logged_in(NULL);
    talk(s, "a ENABLE QRESYNC\r\n");
    talk(s, "a SELECT INBOX\r\n");
    cr_expect_str_eq(talk(s, "a MOVE 1:2 Gr&APwA3w-e\r\n"),
                     "* OK [COPYUID 77 10,20 1001,1002] Moved\r\n* VANISHED 10,20\r\n"
                     "a OK [HIGHESTMODSEQ 7] MOVE completed\r\n");
    end(&s);
}

Test(cmd_copy, expunge)
{
    struct imap_session *s = talk_selected(NULL);
    talk(s, "a STORE 1,3 +FLAGS.SILENT \\Deleted\r\n");
    static const struct exchange table[] = {
        {"a UID EXPUNGE 20:30\r\n", "* 3 EXPUNGE\r\na OK EXPUNGE completed\r\n"},
        {"a EXPUNGE\r\n", "* 1 EXPUNGE\r\na OK EXPUNGE completed\r\n"},
        {"a EXPUNGE\r\n", "a OK EXPUNGE completed\r\n"},
        {"a EXPUNGE 1\r\n", "a BAD unexpected text after the arguments\r\n"},
        {"a UID EXPUNGE\r\n", "a BAD missing argument\r\n"},
        {"a UID EXPUNGE 1:*,\r\n", "a BAD expected a number\r\n"},
    };
    EXPECT_ALL(s, table);
    end(&s);
}

Test(cmd_copy, expunge_searches_in_slices)
{
    struct imap_session *s = talk_selected(NULL);
    fake_flag(10, "(\\Deleted)");
    fake.search_slices = 3;
    cr_expect_not_null(strstr(talk(s, "a EXPUNGE\r\n"), "* 1 EXPUNGE\r\n"));
    cr_expect_str_eq(fake.last_key.text, "FLAG=8");
    fake.search_result = MDSQ_ERR_IO;
    cr_expect_str_eq(talk(s, "a EXPUNGE\r\n"), "a NO [UNAVAILABLE] Temporary failure, try again later\r\n");
    end(&s);
}

Test(cmd_copy, expunge_with_qresync_tells_the_modseq)
{
    struct imap_session *s = talk_logged_in(NULL);
    talk(s, "a ENABLE QRESYNC\r\n");
    talk(s, "a SELECT INBOX\r\n");
    talk(s, "a STORE 1:3 +FLAGS.SILENT \\Deleted\r\n");
    cr_expect_str_eq(talk(s, "a UID EXPUNGE 10,30\r\n"),
                     "* VANISHED 10,30\r\na OK [HIGHESTMODSEQ 10] EXPUNGE completed\r\n");
    cr_expect_str_eq(talk(s, "a UID EXPUNGE 10,30\r\n"), "a OK EXPUNGE completed\r\n");
    /* An expunge that may not be told yet keeps back the modseq that the client may count on. */
    fake_expunge(20);
    cr_expect_str_eq(talk(s, "a SEARCH ALL\r\n"), "* SEARCH 1\r\na OK [HIGHESTMODSEQ 10] SEARCH completed\r\n");
    cr_expect_str_eq(talk(s, "a NOOP\r\n"), "* VANISHED 20\r\na OK Completed\r\n");
    end(&s);
}

Test(cmd_copy, close_expunges_without_a_word)
{
    struct imap_session *s = talk_selected(NULL);
    talk(s, "a STORE 2 +FLAGS.SILENT \\Deleted\r\n");
    cr_expect_str_eq(talk(s, "a CLOSE\r\n"), "a OK Mailbox closed\r\n");
    cr_expect(fake.messages[1].expunged);
    cr_expect_str_eq(talk(s, "a CLOSE\r\n"), "a BAD Select a mailbox first\r\n");
    talk(s, "a SELECT INBOX\r\n");
    talk(s, "a STORE 1 +FLAGS.SILENT \\Deleted\r\n");
    cr_expect_str_eq(talk(s, "a UNSELECT\r\n"), "a OK Mailbox closed\r\n");
    cr_expect_not(fake.messages[0].expunged);
    talk(s, "a SELECT INBOX\r\n");
    fake.change_result = MDSQ_ERR_FULL;
    cr_expect_str_eq(talk(s, "a CLOSE\r\n"), "* NO [OVERQUOTA] No room is left for it\r\na OK Mailbox closed\r\n");
    end(&s);
}
