/* CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE. */
#include "transcript.h"

TestSuite(cmd_folder, .init = writable);

Test(cmd_folder, create)
{
    struct imap_session *s = talk_logged_in(&(struct imap_limits){.bad_commands = 100});
    static const struct exchange table[] = {
        {"a CREATE x/y\r\n", "a OK [MAILBOXID (Fnew)] CREATE completed\r\n"},
        {"a CREATE x/\r\n", "a OK [MAILBOXID (Fnew)] CREATE completed\r\n"},
        {"a CREATE \"&AOk-t\"\r\n", "a OK [MAILBOXID (Fnew)] CREATE completed\r\n"},
        {"a CREATE inbox\r\n", "a NO [ALREADYEXISTS] Mailbox exists already\r\n"},
        {"a CREATE /x\r\n", "a NO [CANNOT] Mailbox cannot have this name\r\n"},
        {"a CREATE x//y\r\n", "a NO [CANNOT] Mailbox cannot have this name\r\n"},
        {"a CREATE x//\r\n", "a NO [CANNOT] Mailbox cannot have this name\r\n"},
        {"a CREATE /\r\n", "a NO [CANNOT] Mailbox cannot have this name\r\n"},
        {"a CREATE \"\"\r\n", "a NO [CANNOT] Mailbox cannot have this name\r\n"},
        {"a CREATE x&AAc-\r\n", "a NO [CANNOT] Mailbox cannot have this name\r\n"},
        {"a CREATE \"x&IIU-y\"\r\n", "a OK [MAILBOXID (Fnew)] CREATE completed\r\n"},
        {"a CREATE \"x&ICg-y\"\r\n", "a NO [CANNOT] Mailbox cannot have this name\r\n"},
        {"a CREATE e&AwE-/u&Awg-\r\n", "a OK [MAILBOXID (Fnew)] CREATE completed\r\n"}, /* to form C */
        {"a CREATE &\r\n", "a BAD mailbox name is not valid modified UTF-7\r\n"},
        {"a CREATE\r\n", "a BAD missing argument\r\n"},
    };
    EXPECT_ALL(s, table);
    expect_log("CREATE x/y\nCREATE x\nCREATE \xc3\xa9t\nCREATE x\xe2\x82\x85y\nCREATE \xc3\xa9/\xc3\xbc\n");
    end(&s);
}

Test(cmd_folder, create_with_special_use)
{
    struct imap_session *s = talk_logged_in(&(struct imap_limits){.bad_commands = 100});
    static const struct exchange table[] = {
        {"a CREATE x (USE (\\Sent))\r\n", "a OK [MAILBOXID (Fnew)] CREATE completed\r\n"},
        {"a CREATE x (USE (\\trash))\r\n", "a OK [MAILBOXID (Fnew)] CREATE completed\r\n"},
        {"a CREATE x (USE ())\r\n", "a OK [MAILBOXID (Fnew)] CREATE completed\r\n"},
        {"a CREATE x (USE (\\All))\r\n", "a NO [USEATTR] Special use is not supported\r\n"},
        {"a CREATE x (USE (\\Unheard))\r\n", "a NO [USEATTR] Special use is not supported\r\n"},
        {"a CREATE x (USE (\\Sent \\Trash))\r\n", "a NO [USEATTR] Special use is not supported\r\n"},
        {"a CREATE x (USE (Sent))\r\n", "a BAD unexpected character\r\n"},
        {"a CREATE x (FOO)\r\n", "a BAD Unknown parameter\r\n"},
        {"a CREATE x ()\r\n", "a BAD Unknown parameter\r\n"},
        {"a CREATE x (USE (\\Sent)\r\n", "a BAD missing )\r\n"},
    };
    EXPECT_ALL(s, table);
    expect_log("CREATE x use=6\nCREATE x use=7\nCREATE x\n");
    end(&s);
}

Test(cmd_folder, names_in_utf8)
{
    struct imap_session *s = talk_logged_in(NULL);
    talk(s, "a ENABLE IMAP4rev2\r\n");
    static const struct exchange table[] = {
        {"a CREATE \"\xc3\xa9\"\r\n", "a OK [MAILBOXID (Fnew)] CREATE completed\r\n"},
        {"a CREATE A&B\r\n", "a OK [MAILBOXID (Fnew)] CREATE completed\r\n"},
        {"a CREATE \"\xff\"\r\n", "a BAD mailbox name is not valid UTF-8\r\n"},
    };
    EXPECT_ALL(s, table);
    expect_log("CREATE \xc3\xa9\nCREATE A&B\n");
    end(&s);
}

Test(cmd_folder, delete_and_rename)
{
    struct imap_session *s = talk_logged_in(NULL);
    static const struct exchange table[] = {
        {"a DELETE Gr&APwA3w-e\r\n", "a OK DELETE completed\r\n"},
        {"a DELETE nowhere\r\n", "a NO [NONEXISTENT] No such mailbox\r\n"},
        {"a DELETE InBox\r\n", "a NO [CANNOT] INBOX cannot be deleted\r\n"},
        {"a RENAME Gr&APwA3w-e x/y/\r\n", "a OK RENAME completed\r\n"},
        {"a RENAME nowhere x\r\n", "a NO [NONEXISTENT] No such mailbox\r\n"},
        {"a RENAME INBOX old\r\n", "a OK RENAME completed\r\n"},
        {"a RENAME INBOX \"/\"\r\n", "a NO [CANNOT] Mailbox cannot have this name\r\n"},
        {"a RENAME X\r\n", "a BAD missing argument\r\n"},
    };
    EXPECT_ALL(s, table);
    expect_log("DELETE Gr\xc3\xbc\xc3\x9f"
               "e\nRENAME Gr\xc3\xbc\xc3\x9f"
               "e x/y\nRENAME INBOX old\n");
    fake.change_result = MDSQ_ERR_USAGE;
    cr_expect_str_eq(talk(s, "a RENAME x x/y\r\n"), "a NO [CANNOT] This cannot be done\r\n");
    fake.change_result = MDSQ_ERR_EXISTS;
    cr_expect_str_eq(talk(s, "a RENAME x y\r\n"), "a NO [ALREADYEXISTS] Mailbox exists already\r\n");
    end(&s);
}

Test(cmd_folder, subscribe)
{
    struct imap_session *s = talk_logged_in(NULL);
    static const struct exchange table[] = {
        {"a SUBSCRIBE nowhere\r\n", "a OK SUBSCRIBE completed\r\n"},
        {"a UNSUBSCRIBE nowhere\r\n", "a OK UNSUBSCRIBE completed\r\n"},
        {"a SUBSCRIBE \"\"\r\n", "a NO [CANNOT] Mailbox cannot have this name\r\n"},
    };
    EXPECT_ALL(s, table);
    expect_log("SUBSCRIBE nowhere\nUNSUBSCRIBE nowhere\n");
    end(&s);
}

Test(cmd_folder, deleting_the_selected_folder_leaves_it)
{
    struct imap_session *s = talk_logged_in(NULL);
    talk(s, "a SELECT Gr&APwA3w-e\r\n");
    fake.delete_selected = true;
    cr_expect_str_eq(talk(s, "a DELETE Gr&APwA3w-e\r\n"), "a OK DELETE completed\r\n");
    cr_expect_str_eq(talk(s, "a FETCH 1 UID\r\n"), "a BAD Select a mailbox first\r\n");
    end(&s);
}
