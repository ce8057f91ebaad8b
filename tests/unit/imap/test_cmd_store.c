/* STORE: modes, .SILENT, UNCHANGEDSINCE, pieces, and what others do meanwhile. */
#include "transcript.h"

TestSuite(cmd_store, .init = writable);

Test(cmd_store, modes)
{
    struct imap_session *s = talk_selected(NULL);
    static const struct exchange table[] = {
        {"a STORE 1 +FLAGS (\\Deleted)\r\n", "* 1 FETCH (FLAGS (\\Seen \\Deleted))\r\na OK STORE completed\r\n"},
        {"a STORE 1 -FLAGS \\Seen\r\n", "* 1 FETCH (FLAGS (\\Deleted))\r\na OK STORE completed\r\n"},
        {"a STORE 1:2 FLAGS (\\Flagged \\Draft)\r\n",
         "* 1 FETCH (FLAGS (\\Flagged \\Draft))\r\n"
         "* 2 FETCH (FLAGS (\\Flagged \\Draft))\r\na OK STORE completed\r\n"},
        {"a UID STORE 10:25 FLAGS ()\r\n",
         "* 1 FETCH (UID 10 FLAGS ())\r\n* 2 FETCH (UID 20 FLAGS ())\r\na OK STORE completed\r\n"},
        {"a STORE 3 +FLAGS.SILENT \\Answered $Forwarded\r\n", "a OK STORE completed\r\n"},
        {"a STORE 3 +flags.silent (\\answered)\r\n", "a OK STORE completed\r\n"},
        {"a UID STORE 999 FLAGS ()\r\n", "a OK STORE completed\r\n"},
        {"a NOOP\r\n", "a OK Completed\r\n"},
    };
    EXPECT_ALL(s, table);
    expect_log("STORE 10 +8\nSTORE 10 -1\nSTORE 10,20 =20\nSTORE 10,20 =0\nSTORE 30 +2 $Forwarded\nSTORE 30 +2\n");
    end(&s);
}

Test(cmd_store, syntax)
{
    struct imap_session *s = talk_selected(&(struct imap_limits){.bad_commands = 100});
    static const struct exchange table[] = {
        {"a STORE 1 FLAGS (\\Recent)\r\n", "a BAD \\Recent cannot be set\r\n"},
        {"a STORE 1 FLAGS (\\Foo)\r\n", "a BAD Unknown system flag\r\n"},
        {"a STORE 1 FLUGS ()\r\n", "a BAD Only FLAGS can be stored\r\n"},
        {"a STORE 1 FLAGS\r\n", "a BAD missing argument\r\n"},
        {"a STORE 1 FLAGS (\\Seen\r\n", "a BAD missing )\r\n"},
        {"a STORE 0 FLAGS ()\r\n", "a BAD expected a number above 0\r\n"},
        {"a STORE 4 FLAGS ()\r\n", "a BAD No such message\r\n"},
        {"a STORE 1 (UNCHANGEDSINCE) FLAGS ()\r\n", "a BAD missing space\r\n"},
        {"a STORE 1 (UNCHANGEDSINCE x) FLAGS ()\r\n", "a BAD expected a number\r\n"},
        {"a STORE 1 (SINCE 1) FLAGS ()\r\n", "a BAD Unknown modifier\r\n"},
        {"a STORE 1 (UNCHANGEDSINCE 1 UNCHANGEDSINCE 2) FLAGS ()\r\n", "a BAD Modifier given twice\r\n"},
        {"a STORE 1 ()\r\n", "a BAD Unknown modifier\r\n"},
    };
    EXPECT_ALL(s, table);
    expect_log("");
    end(&s);
}

Test(cmd_store, a_folder_opened_read_only_is_not_stored_to)
{
    struct imap_session *s = talk_logged_in(NULL);
    talk(s, "a EXAMINE INBOX\r\n");
    static const struct exchange table[] = {
        {"a STORE 1 FLAGS ()\r\n", "a NO [READ-ONLY] Mailbox was opened read-only\r\n"},
        {"a UID STORE 1:* +FLAGS.SILENT \\Deleted\r\n", "a NO [READ-ONLY] Mailbox was opened read-only\r\n"},
        {"a EXPUNGE\r\n", "a NO [READ-ONLY] Mailbox was opened read-only\r\n"},
        {"a MOVE 1 INBOX\r\n", "a NO [READ-ONLY] Mailbox was opened read-only\r\n"},
        {"a REPLACE 1 INBOX {5}\r\n", "a NO [READ-ONLY] Mailbox was opened read-only\r\n"},
        {"a CLOSE\r\n", "a OK Mailbox closed\r\n"},
    };
    EXPECT_ALL(s, table);
    expect_log("");
    end(&s);
}

Test(cmd_store, an_archive_that_cannot_be_written)
{
    fake.writable = false;
    struct imap_session *s = talk_selected(NULL);
    static const struct exchange table[] = {
        {"a STORE 1 FLAGS ()\r\n", "a NO [NOPERM] This archive is read-only\r\n"},
        {"a COPY 1 INBOX\r\n", "a NO [NOPERM] This archive is read-only\r\n"},
        {"a CREATE x\r\n", "a NO [NOPERM] This archive is read-only\r\n"},
        {"a APPEND INBOX {3}\r\n", "a NO [NOPERM] This archive is read-only\r\n"},
        {"a APPEND INBOX {3+}\r\nabc\r\n", "a NO [NOPERM] This archive is read-only\r\n"},
    };
    EXPECT_ALL(s, table);
    end(&s);
}

Test(cmd_store, conditional)
{
    struct imap_session *s = talk_selected(NULL);
    talk(s, "a STORE 2 +FLAGS \\Flagged\r\n"); /* takes modseq 6 */
    static const struct exchange table[] = {
        {"a STORE 1:3 (UNCHANGEDSINCE 5) +FLAGS (\\Deleted)\r\n",
         "* OK [HIGHESTMODSEQ 6] Now told with flags\r\n"
         "* 1 FETCH (FLAGS (\\Seen \\Deleted) MODSEQ (7))\r\n* 3 FETCH (FLAGS (\\Seen \\Deleted) MODSEQ (8))\r\n"
         "a OK [MODIFIED 2] Conditional STORE left some of the messages\r\n"},
        {"a UID STORE 20,30 (UNCHANGEDSINCE 0) +FLAGS.SILENT (x)\r\n",
         "a OK [MODIFIED 20,30] Conditional STORE left some of the messages\r\n"},
        {"a UID STORE 20 (UNCHANGEDSINCE 6) +FLAGS.SILENT (\\Draft)\r\n",
         "* 2 FETCH (UID 20 MODSEQ (9))\r\na OK STORE completed\r\n"},
        {"a STORE 1 FLAGS ()\r\n", "* 1 FETCH (FLAGS () MODSEQ (10))\r\na OK STORE completed\r\n"},
    };
    EXPECT_ALL(s, table);
    end(&s);
}

static void flag_first(void)
{
    fake.in_commit = NULL;
    fake_flag(10, "(\\Flagged)");
}

static void flag_third(void)
{
    fake.in_commit = NULL;
    fake_flag(30, "(\\Flagged)");
}

Test(cmd_store, silent_is_not_silent_about_others)
{
    struct imap_session *s = talk_selected(NULL);
    /* Somebody flags the same message before our commit: one modseq, ours, stands for both. */
    fake.in_commit = flag_first;
    cr_expect_str_eq(talk(s, "a STORE 1 +FLAGS.SILENT \\Draft\r\n"),
                     "* 1 FETCH (UID 10 FLAGS (\\Flagged \\Draft))\r\na OK STORE completed\r\n");
    /* Somebody flags another one. */
    fake.in_commit = flag_third;
    const char *got = talk(s, "a STORE 1 +FLAGS.SILENT \\Seen\r\n");
    cr_expect_not_null(strstr(got, "* 3 FETCH (UID 30 FLAGS (\\Flagged))\r\n"), "%s", got);
    /* Others before the command, told with it, do not make a silent one speak later. */
    fake_flag(20, "(\\Draft)");
    talk(s, "a NOOP\r\n");
    cr_expect_str_eq(talk(s, "a STORE 1:3 +FLAGS.SILENT \\Deleted\r\n"), "a OK STORE completed\r\n");
    /* What is said by FETCH answers is not said twice. */
    fake.in_commit = flag_third;
    cr_expect_str_eq(talk(s, "a STORE 1 FLAGS ()\r\n"),
                     "* 1 FETCH (FLAGS ())\r\n* 3 FETCH (UID 30 FLAGS (\\Flagged))\r\na OK STORE completed\r\n");
    end(&s);
}

static void expunge_second(void)
{
    fake.in_commit = NULL;
    fake_expunge(20);
}

Test(cmd_store, messages_that_are_gone)
{
    struct imap_session *s = talk_selected(NULL);
    fake.in_commit = expunge_second;
    static const struct exchange table[] = {
        {"a STORE 1:2 FLAGS ()\r\n",
         "* 1 FETCH (FLAGS ())\r\na OK [EXPUNGEISSUED] Some of the messages no longer exist\r\n"},
        {"a STORE 3 FLAGS ()\r\n", "* 3 FETCH (FLAGS ())\r\na OK STORE completed\r\n"},
        {"a UID STORE 20:30 FLAGS (x)\r\n", "* 3 FETCH (UID 30 FLAGS (x))\r\n* 2 EXPUNGE\r\na OK STORE completed\r\n"},
    };
    EXPECT_ALL(s, table);
    end(&s);
}

Test(cmd_store, large_sets_go_in_pieces)
{
    fake_add(3900);
    struct imap_session *s = talk_selected(&(struct imap_limits){.output_high_bytes = 4096});
    /* 3,903 messages are one piece; their answers come in slices, the sum of which is right. */
    const char *got = talk(s, "a UID STORE 1:* +FLAGS (\\Deleted)\r\n");
    unsigned n = 0;
    for (const char *at = got; (at = strstr(at, " FETCH (UID ")) != NULL; at++)
        n++;
    cr_expect_eq(n, 3903, "%u", n);
    cr_expect_eq(fake.commits, 1);
    cr_expect_lt(talk_high, 4096u + 4096u);
    cr_expect_not_null(strstr(talk(s, "a EXPUNGE\r\n"), "* 1 EXPUNGE\r\na OK"));
    cr_expect_eq(fake.commits, 2);
    end(&s);
}

Test(cmd_store, a_failing_commit_is_answered)
{
    static const struct {
        int code;
        const char *expect;
    } table[] = {
        {MDSQ_ERR_FULL, "a NO [OVERQUOTA] No room is left for it\r\n"},
        {MDSQ_ERR_LIMIT, "a NO [LIMIT] Too many or too long for one archive\r\n"},
        {MDSQ_ERR_IO, "a NO [UNAVAILABLE] Temporary failure, try again later\r\n"},
        {MDSQ_ERR_AUTH, "a NO [SERVERBUG] Something is wrong with this server, tell the administrator\r\n"},
        {MDSQ_ERR_LOCKED, "a NO [INUSE] Archive is in use, try again\r\n"},
        {MDSQ_ERR_CORRUPT, "a NO [CORRUPTION] Archive is damaged, tell the administrator\r\n"},
    };
    struct imap_session *s = talk_selected(NULL);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        fake.change_result = table[i].code;
        const char *got = talk(s, "a STORE 1 FLAGS ()\r\n");
        cr_expect_str_eq(got, table[i].expect, "%s", got);
    }
    fake.change_result = 0;
    cr_expect_not_null(strstr(talk(s, "a STORE 1 FLAGS ()\r\n"), "a OK"));
    end(&s);
}

static unsigned woken;

static void on_wake(void *arg)
{
    (void)arg;
    woken++;
}

Test(cmd_store, parks_until_the_commit_is_done)
{
    struct imap_session *s = talk_selected(NULL);
    imap_session_set_wake(s, on_wake, NULL);
    fake.hold = true;
    cr_expect_str_eq(talk(s, "a STORE 1 FLAGS (\\Draft)\r\n"), "");
    cr_expect_eq(talk_how, IMAP_RUN_PARKED);
    cr_expect_str_eq(talk(s, ""), "", "a wake too many runs nothing");
    cr_expect_eq(talk_how, IMAP_RUN_PARKED);
    cr_expect_eq(woken, 0);
    fake_done();
    cr_expect_eq(woken, 1);
    cr_expect_str_eq(talk(s, ""), "* 1 FETCH (FLAGS (\\Draft))\r\na OK STORE completed\r\n");
    cr_expect_eq(talk_how, IMAP_RUN_IDLE);
    /* A session that is freed while it waits. */
    talk(s, "a STORE 1 FLAGS ()\r\n");
    cr_expect_eq(talk_how, IMAP_RUN_PARKED);
    end(&s);
}
