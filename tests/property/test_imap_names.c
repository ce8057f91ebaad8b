/* Names and LIST over a real store: LIST-EXTENDED, UTF8=ACCEPT, normal forms. */
#include "imap_client.h"
#include "mds/mds.h"
#include "test_support.h"

TestSuite(imap_names, .init = client_setup, .fini = client_teardown);

Test(imap_names, list_extended)
{
    struct client *c = client_new(NULL);
    static const char *const made[] = {"Fruit", "Fruit/Apple", "Fruit/Banana", "Tofu", "Vegetable/Corn"};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++)
        cr_assert_not_null(strstr(say(c, textf("a CREATE %s\r\n", made[i])), "a OK"), "%s", made[i]);
    static const char *const subscribed[] = {"Fruit/Banana", "Gone/Peach", "INBOX", "Vegetable/Corn"};
    for (size_t i = 0; i < sizeof subscribed / sizeof subscribed[0]; i++)
        cr_assert_not_null(strstr(say(c, textf("a SUBSCRIBE %s\r\n", subscribed[i])), "a OK"), "%s", subscribed[i]);
    cr_assert_not_null(strstr(say(c, "a CREATE Bin (USE (\\Trash))\r\n"), "a OK"));
#define OK             "a OK LIST completed\r\n"
#define L(attrs, rest) "* LIST (" attrs ") \"/\" " rest "\r\n"
    static const struct exchange table[] = {
        {"a LIST \"\" %\r\n",
         L("\\HasNoChildren \\Trash", "Bin") L("\\HasChildren", "Fruit") L("\\HasNoChildren", "INBOX")
             L("\\HasNoChildren", "Tofu") L("\\Noselect \\HasChildren", "Vegetable") OK},
        {"a LIST (SUBSCRIBED) \"\" *\r\n",
         L("\\HasNoChildren \\Subscribed", "Fruit/Banana") L("\\NonExistent \\HasNoChildren \\Subscribed", "Gone/Peach")
             L("\\HasNoChildren \\Subscribed", "INBOX") L("\\HasNoChildren \\Subscribed", "Vegetable/Corn") OK},
        {"a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" %\r\n",
         L("\\HasChildren", "Fruit (\"CHILDINFO\" (\"SUBSCRIBED\"))")
             L("\\NonExistent \\HasNoChildren", "Gone (\"CHILDINFO\" (\"SUBSCRIBED\"))")
                 L("\\HasNoChildren \\Subscribed", "INBOX")
                     L("\\Noselect \\HasChildren", "Vegetable (\"CHILDINFO\" (\"SUBSCRIBED\"))") OK},
        {"a LIST (SUBSCRIBED REMOTE) \"\" Fruit/*\r\n", L("\\HasNoChildren \\Subscribed", "Fruit/Banana") OK},
        {"a LIST () \"\" (Tofu Fruit% \"Fruit\")\r\n", L("\\HasChildren", "Fruit") L("\\HasNoChildren", "Tofu") OK},
        {"a LIST \"Fruit/\" (% %)\r\n", L("\\HasNoChildren", "Fruit/Apple") L("\\HasNoChildren", "Fruit/Banana") OK},
        {"a LIST \"\" Fruit/% RETURN (SUBSCRIBED CHILDREN)\r\n",
         L("\\HasNoChildren", "Fruit/Apple") L("\\HasNoChildren \\Subscribed", "Fruit/Banana") OK},
        {"a LIST (SPECIAL-USE) \"\" *\r\n", L("\\HasNoChildren \\Trash", "Bin") OK},
        {"a LIST \"\" Bin RETURN (SPECIAL-USE)\r\n", L("\\HasNoChildren \\Trash", "Bin") OK},
        {"a LIST \"\" (Tofu Veg%) RETURN (STATUS (MESSAGES UIDNEXT))\r\n",
         L("\\HasNoChildren", "Tofu") "* STATUS Tofu (MESSAGES 0 UIDNEXT 1)\r\n" L("\\Noselect \\HasChildren",
                                                                                   "Vegetable") OK},
        {"a LIST (RECURSIVEMATCH) \"\" *\r\n", "a BAD RECURSIVEMATCH needs SUBSCRIBED\r\n"},
        {"a LIST (RECURSIVEMATCH REMOTE) \"\" *\r\n", "a BAD RECURSIVEMATCH needs SUBSCRIBED\r\n"},
        {"a LIST (FRESH) \"\" *\r\n", "a BAD Unknown selection option\r\n"},
        {"a LIST \"\" * RETURN (FRESH)\r\n", "a BAD Unknown return option\r\n"},
        {"a LIST \"\" ()\r\n", "a BAD expected a mailbox pattern\r\n"},
        {"a LIST \"\" \"\"\r\n", "* LIST (\\Noselect) \"/\" \"\"\r\n" OK},
        {"a LSUB \"\" *\r\n", "* LSUB () \"/\" Fruit/Banana\r\n* LSUB () \"/\" Gone/Peach\r\n* LSUB () \"/\" INBOX\r\n"
                              "* LSUB () \"/\" Vegetable/Corn\r\na OK LSUB completed\r\n"},
        {"a LSUB \"\" %\r\n",
         "* LSUB (\\Noselect) \"/\" Fruit\r\n* LSUB (\\Noselect) \"/\" Gone\r\n* LSUB () \"/\" INBOX\r\n"
         "* LSUB (\\Noselect) \"/\" Vegetable\r\na OK LSUB completed\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}

Test(imap_names, list_of_many_folders_is_said_in_slices)
{
    struct client *c = client_new(&(struct imap_limits){.output_high_bytes = 2000});
    for (int i = 0; i < 300; i++)
        cr_assert_not_null(strstr(say(c, textf("a CREATE many/f%03d\r\n", i)), "a OK"));
    const char *got = say(c, "a LIST \"\" * RETURN (STATUS (MESSAGES))\r\n");
    const char *at = got;
    for (int i = 0; i < 300; i++) {
        const char *line =
            textf("* LIST (\\HasNoChildren) \"/\" many/f%03d\r\n* STATUS many/f%03d (MESSAGES 0)\r\n", i, i);
        at = strstr(at, line);
        cr_assert_not_null(at, "%s", line);
    }
    client_free(&c);
}

Test(imap_names, names_in_utf8)
{
    struct client *c = client_new(NULL);
    static const struct exchange table[] = {
        {"a CREATE Gr&APwA3w-e\r\n", "a OK ~\r\n"},
        {"a CREATE \"A & B\"\r\n", "a BAD mailbox name is not valid modified UTF-7\r\n"},
        {"a LIST \"\" Gr*\r\n", L("\\HasNoChildren", "Gr&APwA3w-e") OK},
        {"a ENABLE UTF8=ACCEPT\r\n", "* ENABLED UTF8=ACCEPT\r\na OK ENABLE completed\r\n"},
        {"a LIST \"\" Gr*\r\n", L("\\HasNoChildren", "\"Gr\xc3\xbc\xc3\x9f"
                                                     "e\"") OK},
        {"a STATUS \"Gr\xc3\xbc\xc3\x9f"
         "e\" (MESSAGES)\r\n",
         "* STATUS \"Gr\xc3\xbc\xc3\x9f"
         "e\" (MESSAGES 0)\r\na OK STATUS completed\r\n"},
        {"a CREATE \"A & B\"\r\n", "a OK ~\r\n"},
        {"a LIST \"\" \"A & B\"\r\n", L("\\HasNoChildren", "\"A & B\"") OK},
        {"a STATUS Gr&APwA3w-e (MESSAGES)\r\n", "a NO [NONEXISTENT] No such mailbox\r\n"},
        {"a CREATE \"\xc3\"\r\n", "a BAD mailbox name is not valid UTF-8\r\n"},
        {"a SELECT INBOX\r\n",
         FLAGS_5 PERMANENT "* 0 EXISTS\r\n~\r\n~\r\n~\r\n~\r\na OK [READ-WRITE] Mailbox selected\r\n"},
        {"a SEARCH CHARSET UTF-8 ALL\r\n", "a BAD CHARSET has no place after ENABLE UTF8=ACCEPT\r\n"},
        {"a SEARCH SUBJECT \"\xc3\xbc\"\r\n", "* SEARCH\r\na OK SEARCH completed\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}

#define NFD "e\xcc\x81"
#define NFC "\xc3\xa9"

static void make_folder(const char *name)
{
    struct mds_env *env = NULL;
    struct mds_txn *txn = NULL;
    struct error e;
    uint32_t id;
    cr_assert(mds_open(archive_dir, &(struct mds_options){0}, &env, &e) >= 0, "%s", e.text);
    cr_assert(mds_write_begin(env, &txn, &e) >= 0, "%s", e.text);
    cr_assert(mds_folder_create(txn, bytes_str(name), &id, &e) >= 0, "%s", e.text);
    cr_assert(mds_write_commit(&txn, &e) >= 0, "%s", e.text);
    mds_close(&env);
}

/* RFC 9051 5.1, 6.3.4: names are made in NFC and found under what a client made them with; what a vault has stays. */
Test(imap_names, names_are_made_in_normal_form)
{
    struct client *c = client_new(NULL), *old = client_new(NULL);
    make_folder("v" NFD);
    say(c, "a ENABLE IMAP4rev2\r\n");
    static const struct exchange table[] = {
        {"a CREATE \"" NFD "\"\r\n", "* LIST (\\HasNoChildren) \"/\" \"" NFC "\" (\"OLDNAME\" (\"" NFD "\"))\r\n"
                                     "a OK [MAILBOXID (~)] CREATE completed\r\n"},
        {"a CREATE \"" NFC "\"\r\n", "a NO [ALREADYEXISTS] ~\r\n"},
        {"a CREATE \"" NFD "\"\r\n", "a NO [ALREADYEXISTS] ~\r\n"},
        {"a STATUS \"" NFD "\" (MESSAGES)\r\n", "* STATUS \"" NFC "\" (MESSAGES 0)\r\na OK STATUS completed\r\n"},
        {"a LIST \"\" \"" NFD "\"\r\n", "* LIST (\\HasNoChildren) \"/\" \"" NFC "\"\r\na OK LIST completed\r\n"},
        {"a RENAME \"" NFD "\" \"x" NFD "\"\r\n",
         "* LIST (\\HasNoChildren) \"/\" \"x" NFC "\" (\"OLDNAME\" (\"" NFD "\"))\r\na OK RENAME completed\r\n"},
        /* Another writer's, under its own name, and what is made below it. */
        {"a LIST \"\" \"v" NFD "\"\r\n", "* LIST (\\HasNoChildren) \"/\" \"v" NFD "\"\r\na OK LIST completed\r\n"},
        {"a STATUS \"v" NFD "\" (MESSAGES)\r\n", "* STATUS \"v" NFD "\" (MESSAGES 0)\r\na OK STATUS completed\r\n"},
        {"a CREATE \"v" NFD "/" NFD "\"\r\n",
         "* LIST (\\HasNoChildren) \"/\" \"v" NFD "/" NFC "\" (\"OLDNAME\" (\"v" NFD "/" NFD "\"))\r\n"
         "a OK [MAILBOXID (~)] CREATE completed\r\n"},
        {"a DELETE \"v" NFD "/" NFD "\"\r\n", "a OK DELETE completed\r\n"},
    };
    EXPECT_ALL(c, table);
    const char *got = say(c, "a SELECT \"x" NFD "\"\r\n");
    cr_expect_not_null(strstr(got, "\"x" NFC "\" (\"OLDNAME\" (\"x" NFD "\"))\r\n"), "%s", got);
    /* In modified UTF-7 too; rev1 knows no OLDNAME. */
    expect_one(old, "a CREATE o&AwE-\r\n", "a OK [MAILBOXID (~)] CREATE completed\r\n");
    expect_one(old, "a LIST \"\" o&AwE-\r\n", "* LIST (\\HasNoChildren) \"/\" &APM-\r\na OK LIST completed\r\n");
    expect_one(old, "a DELETE o&AwE-\r\n", "a OK DELETE completed\r\n");
    client_free(&c);
    client_free(&old);
}

Test(imap_names, a_level_with_mailboxes_below_it_is_not_deleted)
{
    struct client *c = client_new(NULL);
    say(c, "a CREATE x/y\r\n");
    expect_one(c, "a DELETE x\r\n", "a NO [HASCHILDREN] Mailbox is only a level, and mailboxes are below it\r\n");
    client_free(&c);
}
