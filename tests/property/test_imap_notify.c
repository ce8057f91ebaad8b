/* NOTIFY (RFC 5465) over a real store: what comes while another client writes. */
#include "imap_client.h"
#include "mds/mds.h"
#include "test_support.h"

TestSuite(imap_notify, .init = client_setup, .fini = client_teardown);

Test(imap_notify, notify)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(d);
    say(d, "a CREATE Lists/one\r\na CREATE Other\r\ns SELECT INBOX\r\n");
    say(c, "s SELECT INBOX\r\n");
    static const struct exchange table[] = {
        {"a NOTIFY\r\n", "a BAD missing argument\r\n"},
        {"a NOTIFY SET (selected (MessageNew))\r\n", "a BAD MessageNew and MessageExpunge go together\r\n"},
        {"a NOTIFY SET (selected (FlagChange))\r\n", "a BAD MessageNew and MessageExpunge go together\r\n"},
        {"a NOTIFY SET (personal (FlagChange))\r\n", "a OK ~\r\n"}, /* as other servers take it */
        {"a NOTIFY SET (selected (MailboxName))\r\n", "a BAD not an event of the selected mailbox\r\n"},
        {"a NOTIFY SET (selected NONE) (selected-delayed NONE)\r\n", "a BAD SELECTED twice\r\n"},
        {"a NOTIFY SET (personal (MessageNew (UID) MessageExpunge))\r\n",
         "a BAD only new messages of the selected mailbox are fetched\r\n"},
        {"a NOTIFY SET (everywhere (MailboxName))\r\n", "a BAD unknown mailbox filter\r\n"},
        {"a NOTIFY SET (personal (AnnotationChange MessageNew MessageExpunge))\r\n",
         "a NO [BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)] ~\r\n"},
        {"a NOTIFY SET STATUS (selected (MessageNew (UID BODY.PEEK[HEADER.FIELDS (Subject)]) MessageExpunge "
         "FlagChange))"
         " (subtree Lists (MessageNew MessageExpunge)) (mailboxes (Other INBOX) (MessageNew MessageExpunge FlagChange))"
         " (personal (MailboxName SubscriptionChange))\r\n",
         "* STATUS Lists/one (MESSAGES 0 UIDNEXT 1 UIDVALIDITY ~)\r\n"
         "* STATUS Other (MESSAGES 0 UIDNEXT 1 UIDVALIDITY ~ HIGHESTMODSEQ ~)\r\na OK NOTIFY completed\r\n"},
    };
    EXPECT_ALL(c, table);
    append(d, "Lists/one", "", "Subject: six\r\n\r\n");
    expect_soon(c, "* STATUS Lists/one (MESSAGES 1 UIDNEXT 2)\r\n");
    append(d, "INBOX", "", "Subject: seven\r\n\r\n");
    expect_soon(c, "* 6 EXISTS\r\n* 6 FETCH (UID 6 BODY[HEADER.FIELDS (Subject)] {18}\r\nSubject: seven\r\n\r\n)\r\n");
    say(d, "a STORE 1 +FLAGS (\\Answered)\r\n");
    expect_soon(c, "* 1 FETCH (UID 1 FLAGS (\\Seen \\Answered))\r\n");
    say(d, "a STORE 6 +FLAGS.SILENT (\\Deleted)\r\n");
    expect_soon(c, "* 6 FETCH (UID 6 FLAGS (\\Deleted))\r\n");
    say(d, "a EXPUNGE\r\n");
    expect_soon(c, "* 6 EXPUNGE\r\n");
    say(d, "a CREATE Third\r\n");
    expect_soon(c, "* LIST (\\HasNoChildren) \"/\" Third\r\n");
    say(d, "a SUBSCRIBE Third\r\n");
    expect_soon(c, "* LIST (\\HasNoChildren \\Subscribed) \"/\" Third\r\n");
    say(d, "a RENAME Lists Lots\r\n");
    expect_soon(c, "* LIST (\\Noselect \\HasChildren) \"/\" Lots (\"OLDNAME\" (Lists))\r\n");
    say(d, "a UNSUBSCRIBE Third\r\n");
    expect_soon(c, "* LIST (\\HasNoChildren) \"/\" Third\r\n");
    say(d, "a DELETE Third\r\n");
    expect_soon(c, "* LIST (\\NonExistent \\HasNoChildren) \"/\" Third\r\n");
    /* Commands of the client come between. */
    expect_one(c, "a FETCH 1 UID\r\n", "* 1 FETCH (UID 1)\r\na OK FETCH completed\r\n");
    append(d, "Other", "\\Seen", "Subject: eight\r\n\r\n");
    expect_soon(c, "* STATUS Other (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ~)\r\n");
    expect_one(c, "a NOTIFY NONE\r\n", "a OK NOTIFY completed\r\n");
    append(d, "Other", "", "Subject: nine\r\n\r\n");
    append(d, "INBOX", "", "Subject: ten\r\n\r\n");
    for (int i = 0; i < 100; i++)
        nap();
    expect_soon(c, "");
    client_free(&c);
    client_free(&d);
}

Test(imap_notify, notify_of_names)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    say(d, "a CREATE A/b/c\r\na CREATE A/d\r\na CREATE X\r\na SUBSCRIBE A/d\r\n");
    expect_one(c, "a NOTIFY SET (subtree A (MailboxName)) (subscribed (MessageNew MessageExpunge FlagChange))\r\n",
               "a OK NOTIFY completed\r\n");
    expect_one(c, "a ENABLE CONDSTORE\r\n", "* ENABLED CONDSTORE\r\na OK ENABLE completed\r\n");
    /* A subtree that moves is one event; a name that leaves what is watched is gone. */
    say(d, "a RENAME A/b A/e\r\n");
    expect_soon(c, "* LIST (\\Noselect \\HasChildren) \"/\" A/e (\"OLDNAME\" (A/b))\r\n");
    append(d, "A/d", "", "Subject: x\r\n\r\n");
    expect_soon(c, "* STATUS A/d (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ~ HIGHESTMODSEQ ~ UNSEEN 1)\r\n");
    say(d, "s SELECT A/d\r\na STORE 1 +FLAGS (\\Flagged)\r\n");
    expect_soon(c, "* STATUS A/d (UIDVALIDITY ~ HIGHESTMODSEQ ~)\r\n");
    say(d, "a STORE 1 +FLAGS (\\Seen)\r\n");
    expect_soon(c, "* STATUS A/d (UIDVALIDITY ~ HIGHESTMODSEQ ~ UNSEEN 0)\r\n");
    say(d, "a STORE 1 +FLAGS.SILENT (\\Deleted)\r\na CLOSE\r\n");
    expect_soon(c, "* STATUS A/d (MESSAGES 0 UIDNEXT 2 UIDVALIDITY ~ HIGHESTMODSEQ ~)\r\n");
    append(d, "X", "", "Subject: y\r\n\r\n"); /* not subscribed: not watched */
    say(d, "a RENAME A/e/c Z\r\n");
    expect_soon(c, "* LIST (\\HasNoChildren) \"/\" Z (\"OLDNAME\" (A/e/c))\r\n"
                   "* LIST (\\NonExistent \\HasNoChildren) \"/\" A/e\r\n");
    /* Deleted and made anew under its name: another mailbox, but the name is there. */
    say(d, "a DELETE A/d\r\na CREATE A/d\r\n");
    expect_soon(c, "* LIST (~) \"/\" A/d\r\n");
    client_free(&c);
    client_free(&d);
}

/* Folders "m/00000" .. in one commit. */
static void make_folders(unsigned n)
{
    struct mds_env *env = NULL;
    struct mds_txn *txn = NULL;
    struct error e;
    cr_assert(mds_open(archive_dir, &(struct mds_options){0}, &env, &e) >= 0, "%s", e.text);
    cr_assert(mds_write_begin(env, &txn, &e) >= 0, "%s", e.text);
    for (unsigned i = 0; i < n; i++) {
        uint32_t id;
        cr_assert(mds_folder_create(txn, bytes_str(textf("m/%05u", i)), &id, &e) >= 0, "%s", e.text);
    }
    cr_assert(mds_write_commit(&txn, &e) >= 0, "%s", e.text);
    mds_close(&env);
}

Test(imap_notify, ten_thousand_folders)
{
    struct client *c = client_new(&(struct imap_limits){.output_high_bytes = 20000});
    struct client *d = client_new(NULL);
    make_folders(9990);
    expect_one(c, "a NOTIFY SET (personal (MailboxName))\r\n", "a OK NOTIFY completed\r\n");
    /* In slices: no output is ever much larger than it should be. */
    buf_reset(&c->answer);
    static const char command[] = "a LIST \"\" *\r\n";
    cr_assert_eq(imap_session_feed(c->session, command, sizeof command - 1), sizeof command - 1);
    size_t most = 0;
    enum imap_run how;
    do {
        how = imap_session_run(c->session);
        struct bytes out = imap_session_output(c->session);
        most = out.n > most ? out.n : most;
        buf_append_bytes(&c->answer, out);
        imap_session_wrote(c->session, out.n);
    } while (how == IMAP_RUN_MORE);
    cr_expect(most < 21000, "%zu bytes at once", most);
    unsigned lines = 0;
    for (const char *at = text_of(c); (at = strstr(at, "* LIST ")) != NULL; at++)
        lines++;
    cr_expect_eq(lines, 9990 + 2, "%u lines", lines); /* INBOX and "m" */
    /* More than is watched is told once, then nothing is. */
    for (int i = 0; i < 8; i++)
        say(d, textf("a CREATE n%d\r\n", i));
    buf_reset(&c->answer);
    say(d, "a CREATE n8\r\n");
    for (int i = 0; i < NAPS_MAX && !strstr(text_of(c), "NOTIFICATIONOVERFLOW"); i++) {
        if (atomic_exchange(&c->woken, false))
            run(c);
        nap();
    }
    cr_expect_not_null(strstr(text_of(c), "* OK [NOTIFICATIONOVERFLOW] Too many mailboxes to watch\r\n"), "%s",
                       text_of(c));
    expect_one(c, "a NOTIFY SET (personal (MailboxName))\r\n",
               "a NO [NOTIFICATIONOVERFLOW] Too many mailboxes to watch\r\n");
    expect_one(c, "a NOTIFY SET (subtree n1 (MailboxName))\r\n", "a OK NOTIFY completed\r\n");
    client_free(&c);
    client_free(&d);
}

Test(imap_notify, notify_delayed_keeps_numbers)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(d);
    say(d, "s SELECT INBOX\r\n");
    say(c, "s SELECT INBOX\r\n");
    expect_one(c, "a NOTIFY SET (selected-delayed (MessageNew MessageExpunge))\r\n", "a OK NOTIFY completed\r\n");
    say(d, "a STORE 2 +FLAGS (\\Deleted)\r\na EXPUNGE\r\n");
    append(d, "INBOX", "", "Subject: six\r\n\r\n");
    expect_soon(c, "* 6 EXISTS\r\n");
    expect_one(c, "a NOOP\r\n", "* 2 EXPUNGE\r\na OK Completed\r\n");
    /* During IDLE the same. */
    expect_one(c, "b IDLE\r\n", "+ idling\r\n");
    append(d, "INBOX", "", "Subject: seven\r\n\r\n");
    expect_soon(c, "* 6 EXISTS\r\n");
    expect_one(c, "DONE\r\n", "b OK IDLE completed\r\n");
    client_free(&c);
    client_free(&d);
}

/* RFC 5465 sections 4 and 5.2. */
Test(imap_notify, notify_leaves_out_what_the_client_did)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(d);
    say(d, "a CREATE Other\r\ns SELECT INBOX\r\n");
    say(c, "s SELECT INBOX\r\n");
    say(c, "a NOTIFY SET (selected (MessageNew (UID) MessageExpunge FlagChange))"
           " (personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))\r\n");
    append(c, "Other", "", "Subject: one\r\n\r\n");
    append(c, "INBOX", "", "Subject: two\r\n\r\n");
    say(c, "a COPY 1:2 Other\r\na COPY 1 INBOX\r\na CREATE x/y\r\na SUBSCRIBE x/y\r\na RENAME x z\r\na DELETE z/y\r\n");
    say(c, "a STORE 3 +FLAGS (\\Deleted)\r\na CLOSE\r\n");
    for (int i = 0; i < 100; i++)
        nap();
    expect_soon(c, "");
    /* What others do is told, also between. */
    append(d, "Other", "", "Subject: three\r\n\r\n");
    expect_soon(c, "* STATUS Other (MESSAGES 4 UIDNEXT 5 UIDVALIDITY ~ UNSEEN ~)\r\n");
    say(d, "a CREATE x/y\r\n");
    expect_soon(c, "* LIST (\\Noselect \\HasChildren) \"/\" x\r\n* LIST (\\HasNoChildren) \"/\" x/y\r\n");
    say(c, "s SELECT INBOX\r\n");
    append(d, "INBOX", "", "Subject: four\r\n\r\n");
    expect_soon(c, "* 7 EXISTS\r\n* 7 FETCH (UID 8)\r\n");
    client_free(&c);
    client_free(&d);
}

/* RFC 5465 section 3: NOTIFY SET is a NOOP too, and what it does not ask for is left out from then on. */
Test(imap_notify, notify_tells_first_what_was_before)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(d);
    say(d, "s SELECT INBOX\r\n");
    say(c, "s SELECT INBOX\r\n");
    say(d, "a STORE 2 +FLAGS (\\Answered)\r\na STORE 5 +FLAGS (\\Deleted)\r\na EXPUNGE\r\n");
    append(d, "INBOX", "", "Subject: six\r\n\r\n");
    expect_one(c, "a NOTIFY SET (selected (MessageNew (UID) MessageExpunge))\r\n",
               "* 5 EXPUNGE\r\n* 5 EXISTS\r\n* 2 FETCH (UID 2 FLAGS (\\Answered))\r\na OK NOTIFY completed\r\n");
    say(d, "a STORE 3 +FLAGS (\\Answered)\r\n");
    append(d, "INBOX", "", "Subject: seven\r\n\r\n");
    expect_soon(c, "* 6 EXISTS\r\n* 6 FETCH (UID 7)\r\n");
    client_free(&c);
    client_free(&d);
}

/* RFC 5465 5.4: INBOX is a new one then, and stays by name. */
Test(imap_notify, notify_of_a_renamed_inbox)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(d);
    say(d, "s SELECT INBOX\r\na STORE 5 +FLAGS (\\Deleted)\r\na EXPUNGE\r\na UNSELECT\r\n");
    static const char both[] = "a NOTIFY SET (personal (MessageNew MessageExpunge MailboxName))\r\n";
    expect_one(c, both, "a OK NOTIFY completed\r\n");
    expect_one(d, both, "a OK NOTIFY completed\r\n");
    const char *const own = "* STATUS INBOX (MESSAGES 0 UIDNEXT ~)\r\n* STATUS old (MESSAGES 4 UIDNEXT 5)\r\n";
    const char *const got = say(d, "a RENAME INBOX old\r\n");
    const bool is_told = strstr(got, "* STATUS ") != NULL; /* with the answer, if the news was quicker */

    if (is_told)
        cr_expect(is_like(textf("%sa OK RENAME completed\r\n", own), got) ||
                      is_like(textf("a OK RENAME completed\r\n%s", own), got),
                  "%s", got);
    expect_soon(c, "* STATUS INBOX (MESSAGES 0 UIDNEXT ~)\r\n* LIST (\\HasNoChildren) \"/\" old\r\n"
                   "* STATUS old (MESSAGES 4 UIDNEXT 5)\r\n");
    if (!is_told)
        expect_soon(d, own);
    client_free(&c);
    client_free(&d);
}

/* What somebody else does to a name that the client has just changed itself, before it is looked at. */
Test(imap_notify, notify_hides_nothing_of_others)
{
    static const struct {
        const char *own, *others, *expect;
    } table[] = {
        {"a CREATE x\r\n", "a DELETE x\r\n", "* LIST (\\NonExistent \\HasNoChildren) \"/\" x\r\n"},
        {"a DELETE y\r\n", "a CREATE y\r\n", "* LIST (\\HasNoChildren) \"/\" y\r\n"},
        {"a RENAME y v\r\n", "a RENAME v w\r\n", "* LIST (\\HasNoChildren) \"/\" w (\"OLDNAME\" (v))\r\n"},
        {"a RENAME w v\r\n", "a RENAME v w\r\n", "* LIST (\\HasNoChildren) \"/\" w (\"OLDNAME\" (v))\r\n"},
        {"a RENAME w v\r\n", "a DELETE v\r\n", "* LIST (\\NonExistent \\HasNoChildren) \"/\" v\r\n"},
        {"a SUBSCRIBE z\r\n", "a UNSUBSCRIBE z\r\n", "* LIST (\\HasNoChildren) \"/\" z\r\n"},
        {"a CREATE z/z\r\n", "a SUBSCRIBE z\r\n", "* LIST (\\HasChildren \\Subscribed) \"/\" z\r\n"},
        {"a UNSUBSCRIBE z\r\n", "a SUBSCRIBE z\r\n", "* LIST (\\HasChildren \\Subscribed) \"/\" z\r\n"},
    };
    struct client *c = client_new(NULL), *d = client_new(NULL);
    say(d, "a CREATE y\r\na CREATE z\r\n");
    say(c, "a NOTIFY SET (personal (MailboxName SubscriptionChange))\r\n");
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        /* The others' change comes when ours is committed and before it is looked at: then it is found with it. */
        buf_reset(&c->answer);
        cr_assert_eq(imap_session_feed(c->session, table[i].own, strlen(table[i].own)), strlen(table[i].own));
        for (int k = 0; k < NAPS_MAX && imap_session_run(c->session) == IMAP_RUN_PARKED; k++) {
            nap();
            if (k == 0) {
                for (int m = 0; m < NAPS_MAX && !atomic_load(&c->woken); m++)
                    nap();
                const char *got = say(d, table[i].others);
                cr_assert(strncmp(got, "a OK ", 5) == 0, "%s: %s", table[i].others, got);
            }
        }
        struct bytes out = imap_session_output(c->session);
        buf_append_bytes(&c->answer, out);
        imap_session_wrote(c->session, out.n);
        for (int k = 0; k < NAPS_MAX && !strstr(text_of(c), table[i].expect); k++) {
            nap();
            run(c);
        }
        cr_expect_not_null(strstr(text_of(c), table[i].expect), "%zu: %s", i, text_of(c));
    }
    client_free(&c);
    client_free(&d);
}
