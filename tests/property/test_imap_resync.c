/* CONDSTORE and QRESYNC (RFC 7162) over a real store, with a log of changes and without one. */
#include "imap_client.h"
#include "mds/mds.h"
#include "test_support.h"

TestSuite(imap_resync, .init = client_setup, .fini = client_teardown);

static uint64_t modseq_of(struct client *c)
{
    unsigned long long v = 0;
    const char *got = say(c, "m STATUS INBOX (HIGHESTMODSEQ)\r\n");
    const char *at = strstr(got, "(HIGHESTMODSEQ ");
    cr_assert(at && sscanf(at, "(HIGHESTMODSEQ %llu)", &v) == 1, "%s", got);
    return v;
}

static uint32_t uidvalidity_of(struct client *c)
{
    unsigned v = 0;
    const char *got = say(c, "m STATUS INBOX (UIDVALIDITY)\r\n");
    cr_assert_eq(sscanf(got, "* STATUS INBOX (UIDVALIDITY %u)", &v), 1, "%s", got);
    return v;
}

Test(imap_resync, qresync)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(c);
    const uint64_t before = modseq_of(c);
    const unsigned long long m = before;
    const uint32_t validity = uidvalidity_of(c);
    say(d, "s SELECT INBOX\r\n");
    say(d, "a STORE 2,4 +FLAGS (\\Deleted)\r\na EXPUNGE\r\na STORE 1 +FLAGS (\\Answered)\r\n");

    expect_one(c, textf("a SELECT INBOX (QRESYNC (%u %llu))\r\n", validity, m), "a BAD QRESYNC is not enabled\r\n");
    expect_one(c, "a ENABLE QRESYNC\r\n", "* ENABLED QRESYNC\r\na OK ENABLE completed\r\n");
#define HEAD    "~\r\n~\r\n* 3 EXISTS\r\n~\r\n~\r\n~\r\n~\r\n~\r\n"
#define RE_HEAD "* OK [CLOSED] Previous mailbox closed\r\n" HEAD
#define CHANGED "* 1 FETCH (UID 1 FLAGS (\\Seen \\Answered) MODSEQ (~))\r\n"
#define TAIL    "a OK [READ-WRITE] Mailbox selected\r\n"
    const struct exchange table[] = {
        {textf("a SELECT INBOX (QRESYNC (%u %llu))\r\n", validity, m), HEAD "* VANISHED (EARLIER) 2,4\r\n~" TAIL},
        {textf("a SELECT INBOX (QRESYNC (%u %llu))\r\n", validity + 1, m), RE_HEAD TAIL},
        {textf("a SELECT INBOX (QRESYNC (%u %llu 3:9))\r\n", validity, m), RE_HEAD "* VANISHED (EARLIER) 4\r\n" TAIL},
        {textf("a SELECT INBOX (CONDSTORE QRESYNC (%u %llu 1:9 (1,3 1,3)))\r\n", validity, m),
         RE_HEAD "* VANISHED (EARLIER) 2,4\r\n~" TAIL},
        {textf("a SELECT INBOX (QRESYNC (%u 0))\r\n", validity), "a BAD a modification sequence is above 0\r\n"},
        {textf("a SELECT INBOX (QRESYNC (%u 1 *))\r\n", validity),
         "a BAD known UIDs and numbers are named without * and $\r\n"},
        {textf("a SELECT INBOX (QRESYNC (%u 1 1:2 (1 ))\r\n", validity), "a BAD expected a number\r\n"},
        {textf("a UID FETCH 1:5 (FLAGS) (CHANGEDSINCE %llu VANISHED)\r\n", m),
         "* VANISHED (EARLIER) 2,4\r\n~a OK FETCH completed\r\n"},
        {textf("a UID FETCH 3:* (FLAGS) (VANISHED CHANGEDSINCE %llu)\r\n", m),
         "* VANISHED (EARLIER) 4\r\na OK FETCH completed\r\n"},
        {textf("a FETCH 1:3 (FLAGS) (CHANGEDSINCE %llu VANISHED)\r\n", m), "a BAD VANISHED needs ~\r\n"},
        {"a UID FETCH 1:3 (FLAGS) (VANISHED)\r\n", "a BAD VANISHED needs ~\r\n"},
        {"a FETCH 1:3 UID (CHANGEDSINCE 0)\r\n", "* 1 FETCH (UID 1 MODSEQ (~))\r\n* 2 FETCH (UID 3 MODSEQ (~))\r\n* 3 "
                                                 "FETCH (UID 5 MODSEQ (~))\r\na OK FETCH completed\r\n"},
        {"a FETCH 1 UID (CHANGEDSINCE 1 CHANGEDSINCE 2)\r\n", "a BAD unknown FETCH modifier\r\n"},
        {"a FETCH 1 UID ()\r\n", "a BAD unknown FETCH modifier\r\n"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        /* "~TAIL": the changed message's line stands before it. */
        const char *line = strstr(table[i].expect, "\r\n~a ");
        const char *want =
            line ? textf("%.*s%s%s", (int)(line + 2 - table[i].expect), table[i].expect, CHANGED, line + 3)
                 : table[i].expect;
        expect_one(c, table[i].say, want);
    }
    /* News are told by UID. */
    say(d, "a STORE 1:2 +FLAGS.SILENT (\\Deleted)\r\na EXPUNGE\r\n");
    expect_one(c, "a NOOP\r\n", "* VANISHED 1,3\r\n~a OK ~Completed\r\n");
    client_free(&c);
    client_free(&d);
}

/* The log of INBOX forgets all that it can. */
static void prune(struct client *c)
{
    struct mds_env *env = NULL;
    struct mds_txn *txn = NULL;
    struct mds_folder folder;
    struct error e;
    say(c, "p CLOSE\r\n");
    cr_assert(mds_open(archive_dir, &(struct mds_options){0}, &env, &e) >= 0, "%s", e.text);
    cr_assert(mds_write_begin(env, &txn, &e) >= 0, "%s", e.text);
    cr_assert(mds_folder_find(txn, BYTES_LIT("INBOX"), &folder, &e) >= 0, "%s", e.text);
    cr_assert(mds_log_prune(txn, folder.id, 0, 1000, &e) > 0, "%s", e.text);
    cr_assert(mds_write_commit(&txn, &e) >= 0, "%s", e.text);
    mds_close(&env);
}

Test(imap_resync, qresync_without_a_log)
{
    struct client *c = client_new(NULL), *d = client_new(NULL);
    fill(c);
    say(d, "s SELECT INBOX\r\na STORE 2 +FLAGS (\\Deleted)\r\na EXPUNGE\r\n");
    const unsigned long long m = modseq_of(c);
    const uint32_t validity = uidvalidity_of(c);
    say(d, "a STORE 3 +FLAGS (\\Deleted)\r\na EXPUNGE\r\na STORE 1 +FLAGS (\\Answered)\r\n");
    say(c, "a ENABLE QRESYNC\r\ns SELECT INBOX\r\n");
    prune(c);
    const struct exchange table[] = {
        /* All that is not there vanished, also what the client may have known to be gone. */
        {textf("a SELECT INBOX (QRESYNC (%u %llu))\r\n", validity, m),
         HEAD "* VANISHED (EARLIER) 2,4\r\n" CHANGED TAIL},
        {textf("a SELECT INBOX (QRESYNC (%u %llu 4:5))\r\n", validity, m), RE_HEAD "* VANISHED (EARLIER) 4\r\n" TAIL},
        /* It knew that 3 was the second message: nothing before it went since. */
        {textf("a SELECT INBOX (QRESYNC (%u %llu 1:5 (1:2 1,3)))\r\n", validity, m),
         RE_HEAD "* VANISHED (EARLIER) 4\r\n" CHANGED TAIL},
        /* Pairs that do not hold, or do not pair, say nothing. */
        {textf("a SELECT INBOX (QRESYNC (%u %llu 1:5 (2:4 2:4)))\r\n", validity, m),
         RE_HEAD "* VANISHED (EARLIER) 2,4\r\n" CHANGED TAIL},
        {textf("a SELECT INBOX (QRESYNC (%u %llu 1:5 (1:4294967295 1)))\r\n", validity, m),
         RE_HEAD "* VANISHED (EARLIER) 2,4\r\n" CHANGED TAIL},
        {textf("a UID FETCH 1:* (FLAGS) (CHANGEDSINCE %llu VANISHED)\r\n", m),
         "* VANISHED (EARLIER) 2,4\r\n" CHANGED "a OK FETCH completed\r\n"},
        {textf("a FETCH 2:3 (FLAGS) (CHANGEDSINCE %llu)\r\n", m), "a OK FETCH completed\r\n"},
    };
    EXPECT_ALL(c, table);
    client_free(&c);
    client_free(&d);
}
