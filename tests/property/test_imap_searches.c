/* SEARCH, SORT, THREAD, ESEARCH and what they return, keep and tell, over a real store. */
#include "imap_client.h"
#include "test_support.h"

TestSuite(imap_searches, .init = client_setup, .fini = client_teardown);

Test(imap_searches, search_returns_and_saves)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(c);
    say(c, "s SELECT INBOX\r\n");
    static const struct exchange table[] = {
        {"a SEARCH RETURN (MIN MAX COUNT) UNSEEN\r\n",
         "* ESEARCH (TAG \"a\") MIN 2 MAX 5 COUNT 4\r\na OK SEARCH completed\r\n"},
        {"a UID SEARCH RETURN () UNSEEN\r\n", "* ESEARCH (TAG \"a\") UID ALL 2:5\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (MIN COUNT ALL) DELETED\r\n", "* ESEARCH (TAG \"a\") COUNT 0\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (ALL) OR 1 3:4\r\n", "* ESEARCH (TAG \"a\") ALL 1,3:4\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (ALL) MODSEQ 1\r\n", "* OK [HIGHESTMODSEQ ~] Now told with flags\r\n* ESEARCH (TAG \"a\") "
                                               "ALL 1:5 MODSEQ ~\r\na OK SEARCH completed\r\n"},
        {"a SEARCH MODSEQ 1 1:2\r\n", "* SEARCH 1 2 (MODSEQ ~)\r\na OK SEARCH completed\r\n"},
        {"a SEARCH MODSEQ 99999 1:2\r\n", "* SEARCH\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (SAVE) UNSEEN\r\n", "a OK SEARCH completed, result saved\r\n"},
        {"a SEARCH $\r\n", "* SEARCH 2 3 4 5\r\na OK SEARCH completed\r\n"},
        {"a FETCH $ UID\r\n", "* 2 FETCH (UID 2)\r\n* 3 FETCH (UID 3)\r\n* 4 FETCH (UID 4)\r\n* 5 FETCH (UID 5)\r\na "
                              "OK FETCH completed\r\n"},
        {"a UID SEARCH RETURN (SAVE COUNT) UID $ NOT FLAGGED\r\n",
         "* ESEARCH (TAG \"a\") UID COUNT 3\r\na OK SEARCH completed\r\n"},
        {"a SEARCH $\r\n", "* SEARCH 2 4 5\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (SAVE MIN) $\r\n", "* ESEARCH (TAG \"a\") MIN 2\r\na OK SEARCH completed\r\n"},
        {"a SEARCH $\r\n", "* SEARCH 2\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (SAVE MIN MAX) ALL\r\n", "* ESEARCH (TAG \"a\") MIN 1 MAX 5\r\na OK SEARCH completed\r\n"},
        {"a SEARCH $\r\n", "* SEARCH 1 5\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (SAVE) BOGUS\r\n", "a BAD unknown search key\r\n"},
        {"a SEARCH $\r\n", "* SEARCH 1 5\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (SAVE) CHARSET X-1 TEXT a\r\n",
         "a NO [BADCHARSET (UTF-8 US-ASCII)] Charset is not supported\r\n"},
        {"a SEARCH $\r\n", "* SEARCH\r\na OK SEARCH completed\r\n"},
        {"a FETCH $ UID\r\n", "a OK FETCH completed\r\n"},
        {"a COPY $ INBOX\r\n", "a OK No such message\r\n"},
        {"a MOVE $ INBOX\r\n", "a OK No such message\r\n"},
        {"a STORE $ +FLAGS (\\Answered)\r\n", "a OK STORE completed\r\n"},
        {"a SEARCH RETURN (SAVE) 2:4\r\n", "a OK SEARCH completed, result saved\r\n"},
        {"a STORE $ +FLAGS.SILENT (\\Answered)\r\n",
         "* 2 FETCH (MODSEQ (~))\r\n* 3 FETCH (MODSEQ (~))\r\n* 4 FETCH (MODSEQ (~))\r\n"
         "a OK STORE completed\r\n"},
        {"a SEARCH ANSWERED\r\n", "* SEARCH 2 3 4\r\na OK SEARCH completed\r\n"},
        {"a SEARCH YOUNGER 3600\r\n", "* SEARCH 1 2 3 4 5\r\na OK SEARCH completed\r\n"},
        {"a SEARCH OLDER 3600\r\n", "* SEARCH\r\na OK SEARCH completed\r\n"},
        {"a SEARCH SAVEDSINCE 1-Jan-2020 SAVEDATESUPPORTED\r\n", "* SEARCH 1 2 3 4 5\r\na OK SEARCH completed\r\n"},
        {"a SEARCH OR SAVEDBEFORE 1-Jan-2020 SAVEDON 1-Jan-2020\r\n", "* SEARCH\r\na OK SEARCH completed\r\n"},
        {"a SEARCH EMAILID M00\r\n", "* SEARCH\r\na OK SEARCH completed\r\n"},
        {"a SEARCH LARGER 4294967296\r\n", "* SEARCH\r\na OK SEARCH completed\r\n"},
    };
    EXPECT_ALL(c, table);
    /* What is expunged is not in the result any more. */
    say(d, "s SELECT INBOX\r\n");
    say(d, "a STORE 3 +FLAGS (\\Deleted)\r\na EXPUNGE\r\n");
    say(c, "a NOOP\r\n");
    expect_one(c, "a UID SEARCH $\r\n", "* SEARCH 2 4~\r\na OK SEARCH completed\r\n");
    /* An id that FETCH gives finds its message. */
    const char *got = say(c, "a FETCH 1 (EMAILID)\r\n");
    char id[64] = "";
    cr_assert_eq(sscanf(got, "* 1 FETCH (EMAILID (%63[^)]))", id), 1, "%s", got);
    expect_one(c, textf("a UID SEARCH EMAILID %s\r\n", id), "* SEARCH 1\r\na OK SEARCH completed\r\n");
    got = say(c, "a FETCH 2 (THREADID)\r\n");
    cr_assert_eq(sscanf(got, "* 2 FETCH (THREADID (%63[^)]))", id), 1, "%s", got);
    expect_one(c, textf("a UID SEARCH THREADID %s\r\n", id), "* SEARCH 2\r\na OK SEARCH completed\r\n");
    client_free(&c);
    client_free(&d);
}

/* What is announced and needs no transcript of its own. */
Test(imap_searches, searching_is_announced)
{
    static const char *const names[] = {
        "SORT",           "SORT=DISPLAY", "ESORT",   "THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES", "THREAD=REFS",
        "CONTEXT=SEARCH", "CONTEXT=SORT", "PARTIAL", "MULTISEARCH",           "I18NLEVEL=1",       "SEARCH=FUZZY"};
    struct client *c = client_new(NULL);
    const char *got = say(c, "a CAPABILITY\r\n");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        cr_expect(strstr(got, textf(" %s ", names[i])) || strstr(got, textf(" %s\r", names[i])), "%s: %s", names[i],
                  got);
    client_free(&c);
}

/* I18NLEVEL=1 (RFC 5255 4.2): i;unicode-casemap in SEARCH, SORT and THREAD. */
Test(imap_searches, texts_compare_by_unicode_casemap)
{
    struct client *c = client_new(NULL);
    append(c, "INBOX", "", "Subject: =?utf-8?q?=C3=A4pfel?=\r\n\r\nx\r\n");
    append(c, "INBOX", "", "Subject: Zoo\r\n\r\nx\r\n");
    append(c, "INBOX", "", "Subject: =?utf-8?q?=C3=84PFEL?=\r\n\r\nx\r\n");
    append(c, "INBOX", "", "Subject: apfel\r\n\r\nx\r\n");
    say(c, "s SELECT INBOX\r\n");
    static const struct exchange table[] = {
        {"a SEARCH CHARSET UTF-8 SUBJECT {6+}\r\n\xc3\x84pfel\r\n", "* SEARCH 1 3\r\na OK SEARCH completed\r\n"},
        {"a SORT (SUBJECT) UTF-8 ALL\r\n", "* SORT 4 1 3 2\r\na OK SORT completed\r\n"},
        {"a THREAD ORDEREDSUBJECT UTF-8 ALL\r\n", "* THREAD (1 3)(2)(4)\r\na OK THREAD completed\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}

Test(imap_searches, threads)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    append(c, "INBOX", "", plain);
    append(c, "INBOX", "",
           "Date: Mon, 7 Feb 1994 22:00:00 -0800\r\nSubject: Re: one\r\nMessage-ID: <2@x>\r\nIn-Reply-To: "
           "<1@example.org>\r\n\r\nx\r\n");
    append(c, "INBOX", "",
           "Date: Mon, 7 Feb 1994 23:00:00 -0800\r\nSubject: other\r\nMessage-ID: <3@x>\r\nReferences: <1@example.org> "
           "<9@x>\r\n\r\nx\r\n");
    append(c, "INBOX", "", "Date: Mon, 7 Feb 1994 20:00:00 -0800\r\nSubject: one\r\nMessage-ID: <4@x>\r\n\r\nx\r\n");
    say(c, "s SELECT INBOX\r\n");
    static const struct exchange table[] = {
        {"a THREAD REFERENCES UTF-8 ALL\r\n", "* THREAD ((4)(1 (2)(3)))\r\na OK THREAD completed\r\n"},
        {"a UID THREAD REFS UTF-8 ALL\r\n", "* THREAD (4)(1 (2)(3))\r\na OK THREAD completed\r\n"},
        {"a UID THREAD ORDEREDSUBJECT US-ASCII ALL\r\n", "* THREAD (4 (1)(2))(3)\r\na OK THREAD completed\r\n"},
        {"a THREAD REFS UTF-8 2:3\r\n", "* THREAD ((2)(3))\r\na OK THREAD completed\r\n"},
        {"a THREAD REFS UTF-8 DELETED\r\n", "* THREAD\r\na OK THREAD completed\r\n"},
        {"a SEARCH RETURN (SAVE) 3:4\r\n", "a OK SEARCH completed, result saved\r\n"},
        {"a THREAD REFS UTF-8 $\r\n", "* THREAD (4)(3)\r\na OK THREAD completed\r\n"},
    };
    EXPECT_ALL(c, table);
    say(d, "s SELECT INBOX\r\na STORE 1 +FLAGS.SILENT (\\Deleted)\r\na EXPUNGE\r\n");
    expect_one(c, "a THREAD REFS UTF-8 ALL\r\n", "* THREAD ~\r\na OK THREAD completed\r\n");
    expect_one(c, "a NOOP\r\n", "* 1 EXPUNGE\r\na OK Completed\r\n");
    expect_one(c, "a THREAD REFS UTF-8 ALL\r\n", "* THREAD (3)((1)(2))\r\na OK THREAD completed\r\n");
    client_free(&c);
    client_free(&d);
}

Test(imap_searches, partial)
{
    struct client *c = client_new(NULL);
    fill(c);
    say(c, "s SELECT INBOX\r\n");
    static const struct exchange table[] = {
        {"a UID SEARCH RETURN (PARTIAL -1:-2) UNSEEN\r\n",
         "* ESEARCH (TAG \"a\") UID PARTIAL (-1:-2 4:5)\r\na OK SEARCH completed\r\n"},
        {"a UID SEARCH RETURN (PARTIAL 2:2 MIN MAX COUNT) UNSEEN\r\n",
         "* ESEARCH (TAG \"a\") UID MIN 2 MAX 5 COUNT 4 PARTIAL (2:2 3)\r\na OK SEARCH completed\r\n"},
        {"a UID SEARCH RETURN (PARTIAL 3:900) UNSEEN\r\n",
         "* ESEARCH (TAG \"a\") UID PARTIAL (3:900 4:5)\r\na OK SEARCH completed\r\n"},
        {"a UID SEARCH RETURN (PARTIAL 900:901) UNSEEN\r\n",
         "* ESEARCH (TAG \"a\") UID PARTIAL (900:901 NIL)\r\na OK SEARCH completed\r\n"},
        {"a UID SEARCH RETURN (PARTIAL -900:-4) UNSEEN\r\n",
         "* ESEARCH (TAG \"a\") UID PARTIAL (-900:-4 2)\r\na OK SEARCH completed\r\n"},
        {"a UID SORT RETURN (PARTIAL 2:3) (SUBJECT) UTF-8 ALL\r\n",
         "* ESEARCH (TAG \"a\") UID PARTIAL (2:3 4,1)\r\na OK SORT completed\r\n"},
        {"a UID SORT RETURN (PARTIAL -1:-2) (REVERSE SUBJECT) UTF-8 ALL\r\n",
         "* ESEARCH (TAG \"a\") UID PARTIAL (-1:-2 4:5)\r\na OK SORT completed\r\n"},
        {"a UID SEARCH RETURN (SAVE PARTIAL 1:2 MAX) UNSEEN\r\n",
         "* ESEARCH (TAG \"a\") UID MAX 5 PARTIAL (1:2 2:3)\r\na OK SEARCH completed\r\n"},
        {"a UID SEARCH $\r\n", "* SEARCH 2 3 5\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (PARTIAL 1:2) MODSEQ 1\r\n",
         "* OK [HIGHESTMODSEQ ~] Now told with flags\r\n* ESEARCH (TAG \"a\") PARTIAL (1:2 1:2) MODSEQ ~\r\na OK "
         "SEARCH completed\r\n"},
        {"a UID FETCH 2:* (UID) (PARTIAL -1:-2)\r\n",
         "* 4 FETCH (UID 4)\r\n* 5 FETCH (UID 5)\r\na OK FETCH completed\r\n"},
        {"a UID FETCH 2:* (UID) (PARTIAL 1:1)\r\n", "* 2 FETCH (UID 2)\r\na OK FETCH completed\r\n"},
        {"a UID FETCH 1:* (UID) (CHANGEDSINCE 1 PARTIAL 1:1)\r\n",
         "* 1 FETCH (UID 1 MODSEQ (~))\r\na OK FETCH completed\r\n"},
        {"a FETCH 1:* (UID) (PARTIAL 1:1)\r\n", "a BAD unknown FETCH modifier\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}

Test(imap_searches, contexts_of_searches)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(c);
    say(c, "s SELECT INBOX\r\n");
    say(d, "s SELECT INBOX\r\n");
    static const struct exchange begin[] = {
        {"u1 UID SEARCH RETURN (UPDATE COUNT) UNSEEN\r\n",
         "* ESEARCH (TAG \"u1\") UID COUNT 4\r\nu1 OK SEARCH completed\r\n"},
        {"u2 SEARCH RETURN (UPDATE ALL CONTEXT) 3:5 NOT FLAGGED\r\n",
         "* ESEARCH (TAG \"u2\") ALL 4:5\r\nu2 OK SEARCH completed\r\n"},
        {"u1 SEARCH RETURN (UPDATE) ALL\r\n", "u1 BAD Tag reuse\r\n"},
        {"a NOOP\r\n", "a OK Completed\r\n"},
        /* its own changes */
        {"a STORE 2 +FLAGS.SILENT (\\Seen)\r\n",
         "* ESEARCH (TAG \"u1\") UID REMOVEFROM (0 2)\r\na OK STORE completed\r\n"},
        {"a STORE 1:2 -FLAGS.SILENT (\\Seen)\r\n",
         "* ESEARCH (TAG \"u1\") UID ADDTO (0 1:2)\r\na OK STORE completed\r\n"},
        {"a STORE 2,4 +FLAGS.SILENT (\\Answered)\r\n", "a OK STORE completed\r\n"},
    };
    EXPECT_ALL(c, begin);
    /* Those of others: of flags, and new ones after their EXISTS. */
    say(d, "a STORE 4 +FLAGS (\\Flagged)\r\n");
    expect_one(c, "a NOOP\r\n",
               "* 4 FETCH (UID 4 FLAGS (\\Answered \\Flagged))\r\n* ESEARCH (TAG \"u2\") REMOVEFROM (0 4)\r\na OK "
               "Completed\r\n");
    say(d, "a STORE 3 -FLAGS (\\Flagged)\r\n");
    append(d, "INBOX", "", "Subject: six\r\n\r\nx\r\n");
    append(d, "INBOX", "\\Seen", "Subject: seven\r\n\r\nx\r\n");
    expect_one(c, "a NOOP\r\n",
               "* 7 EXISTS\r\n* 3 FETCH (UID 3 FLAGS ())\r\n* ESEARCH (TAG \"u2\") ADDTO (0 3)\r\n"
               "* ESEARCH (TAG \"u1\") UID ADDTO (0 6)\r\na OK Completed\r\n");
    /* Expunged ones are told before, by the numbers that still hold; numbers of a key are those of its time. */
    say(d, "a STORE 2,5:6 +FLAGS.SILENT (\\Deleted)\r\na EXPUNGE\r\n");
    expect_one(c, "a SEARCH ALL\r\n", "* SEARCH 1 2 3 4 5 6 7\r\na OK SEARCH completed\r\n");
    expect_one(c, "a NOOP\r\n",
               "* ESEARCH (TAG \"u2\") REMOVEFROM (0 5)\r\n* ESEARCH (TAG \"u1\") UID REMOVEFROM (0 2,5:6)\r\n"
               "* 6 EXPUNGE\r\n* 5 EXPUNGE\r\n* 2 EXPUNGE\r\na OK Completed\r\n");
    say(d, "a UID STORE 4 -FLAGS (\\Flagged)\r\n");
    expect_one(c, "a NOOP\r\n",
               "* 3 FETCH (UID 4 FLAGS (\\Answered))\r\n* ESEARCH (TAG \"u2\") ADDTO (0 3)\r\na OK Completed\r\n");
    /* While IDLE is on, too. */
    expect_one(c, "i IDLE\r\n", "+ idling\r\n");
    say(d, "a UID STORE 7 -FLAGS (\\Seen)\r\n");
    expect_soon(c, "* 4 FETCH (UID 7 FLAGS ())\r\n* ESEARCH (TAG \"u1\") UID ADDTO (0 7)\r\n");
    expect_one(c, "DONE\r\n", "i OK IDLE completed\r\n");
    static const struct exchange end[] = {
        {"a CANCELUPDATE \"u1\" \"nobody\"\r\n", "a OK CANCELUPDATE completed\r\n"},
        {"a CANCELUPDATE\r\n", "a BAD missing argument\r\n"},
        {"a UID STORE 7 +FLAGS.SILENT (\\Seen)\r\n", "a OK STORE completed\r\n"},
        {"u1 SEARCH RETURN (UPDATE) SEEN\r\n", "* ESEARCH (TAG \"u1\")\r\nu1 OK SEARCH completed\r\n"},
        {"a UNSELECT\r\n", "a OK ~\r\n"},
        {"s SELECT INBOX\r\n", "~\r\n~\r\n~\r\n~\r\n~\r\n~\r\n~\r\n~\r\ns OK ~\r\n"},
        {"a UID STORE 7 -FLAGS.SILENT (\\Seen)\r\n", "a OK STORE completed\r\n"},
        {"a CANCELUPDATE \"u1\"\r\n", "a OK CANCELUPDATE completed\r\n"},
    };
    EXPECT_ALL(c, end);
    for (int i = 0; i < 8; i++)
        expect_one(c, textf("n%d SEARCH RETURN (UPDATE COUNT) ALL\r\n", i),
                   textf("* ESEARCH (TAG \"n%d\") COUNT 4\r\nn%d OK SEARCH completed\r\n", i, i));
    expect_one(
        c, "n8 SEARCH RETURN (UPDATE COUNT) ALL\r\n",
        "* NO [NOUPDATE \"n8\"] Too many contexts\r\n* ESEARCH (TAG \"n8\") COUNT 4\r\nn8 OK SEARCH completed\r\n");
    expect_one(c, "a CANCELUPDATE \"n3\"\r\n", "a OK CANCELUPDATE completed\r\n");
    expect_one(c, "n8 SEARCH RETURN (UPDATE COUNT) ALL\r\n",
               "* ESEARCH (TAG \"n8\") COUNT 4\r\nn8 OK SEARCH completed\r\n");
    client_free(&c);
    client_free(&d);
}

Test(imap_searches, contexts_of_sorts)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    static const char *const subjects[] = {"d", "b", "f", "a", "h"};
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++)
        append(c, "INBOX", "", textf("Subject: %s\r\n\r\nx\r\n", subjects[i]));
    say(c, "s SELECT INBOX\r\n");
    say(d, "s SELECT INBOX\r\n");
    static const struct exchange begin[] = {
        {"u1 UID SORT RETURN (UPDATE ALL) (SUBJECT) UTF-8 UNFLAGGED\r\n",
         "* ESEARCH (TAG \"u1\") UID ALL 4,2,1,3,5\r\nu1 OK SORT completed\r\n"},
        {"u2 SORT RETURN (UPDATE COUNT) (REVERSE SUBJECT) UTF-8 UNSEEN\r\n",
         "* ESEARCH (TAG \"u2\") COUNT 5\r\nu2 OK SORT completed\r\n"},
        {"a STORE 1:2 +FLAGS.SILENT (\\Flagged)\r\n",
         "* ESEARCH (TAG \"u1\") UID REMOVEFROM (2 2,1)\r\na OK STORE completed\r\n"},
        {"a STORE 2,4 +FLAGS.SILENT (\\Seen)\r\n",
         "* ESEARCH (TAG \"u2\") REMOVEFROM (4 2,4)\r\na OK STORE completed\r\n"},
        {"a STORE 2 -FLAGS.SILENT (\\Seen \\Flagged)\r\n",
         "* ESEARCH (TAG \"u2\") ADDTO (4 2)\r\n* ESEARCH (TAG \"u1\") UID ADDTO (2 2)\r\na OK STORE completed\r\n"},
    };
    EXPECT_ALL(c, begin); /* u1 is 4 2 3 5, u2 is 5 3 1 2 */
    append(d, "INBOX", "", "Subject: e\r\n\r\nx\r\n");
    append(d, "INBOX", "", "Subject: E2\r\n\r\nx\r\n");
    append(d, "INBOX", "", "Subject: z\r\n\r\nx\r\n");
    expect_one(c, "a NOOP\r\n",
               "* 8 EXISTS\r\n* ESEARCH (TAG \"u2\") ADDTO (1 8 4 7,6)\r\n* ESEARCH (TAG \"u1\") UID ADDTO (3 6:7 7 "
               "8)\r\na OK Completed\r\n");
    /* u1 is 4 2 6 7 3 5 8, u2 is 8 5 3 7 6 1 2 */
    say(d, "a STORE 1,3,7:8 +FLAGS.SILENT (\\Deleted)\r\na EXPUNGE\r\n");
    expect_one(
        c, "a NOOP\r\n",
        "* ESEARCH (TAG \"u2\") REMOVEFROM (6 1 3 3,7 1 8)\r\n* ESEARCH (TAG \"u1\") UID REMOVEFROM (7 8 4 7,3)\r\n"
        "* 8 EXPUNGE\r\n* 7 EXPUNGE\r\n* 3 EXPUNGE\r\n* 1 EXPUNGE\r\na OK Completed\r\n");
    client_free(&c);
    client_free(&d);
}

Test(imap_searches, searches_of_many_mailboxes)
{
    struct client *c = client_new(NULL);
    fill(c);
    static const char *const folders[] = {"a", "a/b", "a/b/c", "d", "leer"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        say(c, textf("f CREATE %s\r\n", folders[i]));
        if (i < 4)
            append(c, folders[i], i % 2 ? "\\Seen" : "", textf("Subject: in %s\r\n\r\nx\r\n", folders[i]));
    }
    append(c, "d", "", "Subject: two\r\n\r\nx\r\n");
    say(c, "f UNSUBSCRIBE d\r\n");
#define IN(name, rest) "* ESEARCH (TAG \"a\" MAILBOX " name " UIDVALIDITY ~) UID " rest "\r\n"
#define DONE           "a OK ESEARCH completed\r\n"
    static const struct exchange table[] = {
        {"a ESEARCH ALL\r\n", "a BAD no mailbox is selected\r\n"},
        {"a ESEARCH IN (selected) ALL\r\n", "a BAD no mailbox is selected\r\n"},
        {"a ESEARCH IN (personal) UNSEEN\r\n",
         IN("INBOX", "ALL 2:5") IN("a", "ALL 1") IN("a/b/c", "ALL 1") IN("d", "ALL 2") DONE},
        {"a ESEARCH IN (mailboxes (d nowhere inbox) subtree-one a) RETURN (COUNT MIN MAX) SUBJECT \"t\"\r\n",
         IN("INBOX", "MIN 2 MAX 3 COUNT 2") IN("d", "MIN 2 MAX 2 COUNT 1") DONE},
        {"a ESEARCH IN (subtree a) ALL\r\n", IN("a", "ALL 1") IN("a/b", "ALL 1") IN("a/b/c", "ALL 1") DONE},
        {"a ESEARCH IN (subtree-one a) ALL\r\n", IN("a", "ALL 1") IN("a/b", "ALL 1") DONE},
        {"a ESEARCH IN (subscribed) RETURN () SUBJECT two\r\n", IN("INBOX", "ALL 2") DONE},
        {"a ESEARCH IN (inboxes) RETURN (PARTIAL 1:1) UNSEEN\r\n",
         IN("INBOX", "PARTIAL (1:1 2)") IN("a", "PARTIAL (1:1 1)") IN("a/b/c", "PARTIAL (1:1 1)")
             IN("d", "PARTIAL (1:1 2)") DONE},
        {"a ESEARCH IN (personal) DELETED\r\n", DONE},
        {"a ESEARCH IN (mailboxes d) RETURN (SAVE) ALL\r\n",
         "a BAD SAVE and UPDATE are for the selected mailbox alone\r\n"},
        {"a ESEARCH IN (mailboxes d) RETURN (UPDATE) ALL\r\n",
         "a BAD SAVE and UPDATE are for the selected mailbox alone\r\n"},
        {"a ESEARCH IN (selected-delayed) ALL\r\n", "a BAD unknown mailbox filter\r\n"},
        {"a ESEARCH IN (mailboxes d (x y)) ALL\r\n", "a BAD unknown scope option\r\n"},
        {"a ESEARCH IN () ALL\r\n", "a BAD expected an atom\r\n"},
        {"a ESEARCH IN (personal) CHARSET KOI8-R ALL\r\n",
         "a NO [BADCHARSET (UTF-8 US-ASCII)] Charset is not supported\r\n"},
        {"a SELECT d\r\n", "~\r\n~\r\n~\r\n~\r\n~\r\n~\r\n~\r\n~\r\na OK ~\r\n"},
        {"a ESEARCH UNSEEN\r\n", IN("d", "ALL 2") DONE},
        {"a ESEARCH IN (selected mailboxes (d a)) UNSEEN\r\n", IN("d", "ALL 2") IN("a", "ALL 1") DONE},
        {"a ESEARCH IN (personal) MODSEQ 1 SUBJECT two\r\n",
         "* OK [HIGHESTMODSEQ ~] Now told with flags\r\n" IN("INBOX", "MODSEQ ~ ALL 2") IN("d", "MODSEQ ~ ALL 2") DONE},
        {"a ESEARCH RETURN (SAVE) UNSEEN\r\n", DONE},
        {"a UID SEARCH $\r\n", "* SEARCH 2\r\na OK SEARCH completed\r\n"},
        {"a ESEARCH IN (selected) RETURN (UPDATE COUNT) UNSEEN\r\n", IN("d", "COUNT 1") DONE},
        {"b STORE 1 -FLAGS.SILENT (\\Seen)\r\n",
         "* 1 FETCH (MODSEQ (~))\r\n* ESEARCH (TAG \"a\") UID ADDTO (0 1)\r\nb OK STORE completed\r\n"},
        {"a ESEARCH RETURN (UPDATE) ALL\r\n", "a BAD Tag reuse\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}

Test(imap_searches, fuzzy_searches_are_ranked)
{
    struct client *c = client_new(NULL);
    static const char *const subjects[] = {"broken IMAP", "IMAP break", "break IMAP is",
                                           "nothing",     "imap",       "imap imap"};
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++)
        append(c, "INBOX", i == 2 ? "\\Seen" : "", textf("Subject: %s\r\n\r\nx\r\n", subjects[i]));
    say(c, "s SELECT INBOX\r\n");
    static const struct exchange table[] = {
        {"a SEARCH FUZZY SUBJECT \"IMAP break\"\r\n", "* SEARCH 1 2 3 5 6\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (RELEVANCY ALL) FUZZY SUBJECT \"IMAP break\"\r\n",
         "* ESEARCH (TAG \"a\") ALL 1:3,5:6 RELEVANCY (~ 100 ~)\r\na OK SEARCH completed\r\n"},
        {"a SORT (RELEVANCY) UTF-8 FUZZY SUBJECT \"IMAP break\"\r\n", "* SORT 2 3 1 5 6\r\na OK SORT completed\r\n"},
        {"a UID SORT RETURN (RELEVANCY PARTIAL 1:1) (RELEVANCY) UTF-8 FUZZY (SUBJECT \"IMAP break\")\r\n",
         "* ESEARCH (TAG \"a\") UID PARTIAL (1:1 2) RELEVANCY (100)\r\na OK SORT completed\r\n"},
        {"a SORT (REVERSE RELEVANCY) UTF-8 FUZZY SUBJECT \"IMAP break\" UNSEEN\r\n",
         "* SORT 1 5 6 2\r\na OK SORT completed\r\n"},
        {"a SEARCH FUZZY SUBJECT \"...\"\r\n", "* SEARCH\r\na OK SEARCH completed\r\n"},
        {"a SEARCH NOT FUZZY SUBJECT \"IMAP break\"\r\n", "* SEARCH 4\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (RELEVANCY ALL) FUZZY SEEN\r\n",
         "* ESEARCH (TAG \"a\") ALL 3 RELEVANCY (100)\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (RELEVANCY ALL) FUZZY SUBJECT absent\r\n",
         "* ESEARCH (TAG \"a\") RELEVANCY ()\r\na OK SEARCH completed\r\n"},
        {"a THREAD REFS UTF-8 FUZZY SUBJECT \"nothing much\"\r\n", "* THREAD (4)\r\na OK THREAD completed\r\n"},
        {"a ESEARCH IN (personal) RETURN (RELEVANCY ALL) FUZZY SUBJECT \"nothing much\"\r\n",
         "* ESEARCH (TAG \"a\" MAILBOX INBOX UIDVALIDITY ~) UID ALL 4 RELEVANCY (100)\r\na OK ESEARCH "
         "completed\r\n"},
        {"u SORT RETURN (UPDATE COUNT) (RELEVANCY) UTF-8 FUZZY SUBJECT imap\r\n",
         "* NO [NOUPDATE \"u\"] ~\r\n* ESEARCH (TAG \"u\") COUNT 5\r\nu OK SORT completed\r\n"},
        {"a SEARCH RETURN (RELEVANCY) ALL\r\n", "a BAD RELEVANCY without FUZZY\r\n"},
        {"a SORT (RELEVANCY) UTF-8 ALL\r\n", "a BAD RELEVANCY without FUZZY\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
}
