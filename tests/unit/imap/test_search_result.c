/* What SEARCH, SORT, THREAD and ESEARCH tell alike: the highest modseq (RFC 4731 3.2), and how far they are (RFC 9585).
 */
#include "transcript.h"

/* Messages 10, 20, 30 have the modseqs 3, 6, 5. */
static struct imap_session *told_modseqs(void)
{
    fake_reset();
    fake_flag(20, "(\\Flagged)");
    struct imap_session *s = talk_selected(NULL);
    talk(s, "e ENABLE CONDSTORE\r\n");
    return s;
}

Test(search_result, modseq_is_that_of_what_is_told)
{
    struct imap_session *s = told_modseqs();
#define SEARCHED "a OK SEARCH completed\r\n"
#define SORTED   "a OK SORT completed\r\n"
#define IN(rest) "* ESEARCH (TAG \"a\" MAILBOX INBOX UIDVALIDITY 77) UID " rest "\r\na OK ESEARCH completed\r\n"
    static const struct exchange table[] = {
        {"a SEARCH MODSEQ 1\r\n", "* SEARCH 1 2 3 (MODSEQ 6)\r\n" SEARCHED},
        {"a SEARCH RETURN (MIN) MODSEQ 1\r\n", "* ESEARCH (TAG \"a\") MIN 1 MODSEQ 3\r\n" SEARCHED},
        {"a SEARCH RETURN (MAX) MODSEQ 1\r\n", "* ESEARCH (TAG \"a\") MAX 3 MODSEQ 5\r\n" SEARCHED},
        {"a SEARCH RETURN (MIN MAX) MODSEQ 1\r\n", "* ESEARCH (TAG \"a\") MIN 1 MAX 3 MODSEQ 5\r\n" SEARCHED},
        {"a SEARCH RETURN (MIN COUNT) MODSEQ 1\r\n", "* ESEARCH (TAG \"a\") MIN 1 COUNT 3 MODSEQ 6\r\n" SEARCHED},
        {"a UID SEARCH RETURN (PARTIAL 1:1) MODSEQ 1\r\n",
         "* ESEARCH (TAG \"a\") UID PARTIAL (1:1 10) MODSEQ 3\r\n" SEARCHED},
        {"a UID SEARCH RETURN (PARTIAL 1:1 MAX) MODSEQ 1\r\n",
         "* ESEARCH (TAG \"a\") UID MAX 30 PARTIAL (1:1 10) MODSEQ 5\r\n" SEARCHED},
        {"a UID SEARCH RETURN (PARTIAL 7:8) MODSEQ 1\r\n", "* ESEARCH (TAG \"a\") UID PARTIAL (7:8 NIL)\r\n" SEARCHED},
        {"a SORT (SIZE) UTF-8 MODSEQ 1\r\n", "* SORT 3 2 1 (MODSEQ 6)\r\n" SORTED},
        {"a SORT RETURN (MIN) (SIZE) UTF-8 MODSEQ 1\r\n", "* ESEARCH (TAG \"a\") MIN 3 MODSEQ 5\r\n" SORTED},
        {"a SORT RETURN (PARTIAL 2:2) (SIZE) UTF-8 MODSEQ 1\r\n",
         "* ESEARCH (TAG \"a\") PARTIAL (2:2 2) MODSEQ 6\r\n" SORTED},
        {"a ESEARCH MODSEQ 1\r\n", IN("MODSEQ 6 ALL 10,20,30")},
        {"a ESEARCH RETURN (MIN) MODSEQ 1\r\n", IN("MIN 10 MODSEQ 3")},
        {"a ESEARCH RETURN (MAX) MODSEQ 1\r\n", IN("MAX 30 MODSEQ 5")},
        {"a ESEARCH RETURN (MIN MAX) MODSEQ 1\r\n", IN("MIN 10 MAX 30 MODSEQ 5")},
        {"a ESEARCH RETURN (MIN COUNT) MODSEQ 1\r\n", IN("MIN 10 COUNT 3 MODSEQ 6")},
        {"a ESEARCH RETURN (PARTIAL 1:1 MAX) MODSEQ 1\r\n", IN("MAX 30 MODSEQ 5 PARTIAL (1:1 10)")},
    };
    EXPECT_ALL(s, table);
    end(&s);
}

/* What fails is answered so, and saves nothing. */
Test(search_result, modseq_that_cannot_be_read)
{
    struct imap_session *s = told_modseqs();
    fake.highest_result = MDSQ_ERR_CORRUPT;
    static const struct exchange table[] = {
        {"a SEARCH RETURN (SAVE ALL) MODSEQ 1\r\n", "a NO [CORRUPTION] Archive is damaged, tell the administrator\r\n"},
        {"a SEARCH $\r\n", "* SEARCH\r\na OK SEARCH completed\r\n"},
        {"a ESEARCH MODSEQ 1\r\n", "a NO [CORRUPTION] Archive is damaged, tell the administrator\r\n"},
    };
    EXPECT_ALL(s, table);
    end(&s);
}

/* After a second, and not again for five. What ranks, sorts and threads cannot say how far it is. */
Test(search_result, long_commands_tell_how_far_they_are)
{
    fake_reset();
    struct imap_session *s = talk_selected(NULL);
    fake.search_slices = 3;
    fake.order_slices = 5;
    fake.search_ms = 1100;
#define UNKNOWN "* OK [INPROGRESS (\"a\" NIL NIL)] Still searching\r\n"
    static const struct exchange table[] = {
        {"a SORT (SIZE) UTF-8 ALL\r\n",
         "* OK [INPROGRESS (\"a\" 2 3)] Still searching\r\n" UNKNOWN "* SORT 3 2 1\r\na OK SORT completed\r\n"},
        {"a SORT RETURN (UPDATE COUNT) (SIZE) UTF-8 ALL\r\n",
         "* OK [INPROGRESS (\"a\" 2 3)] Still searching\r\n" UNKNOWN
         "* ESEARCH (TAG \"a\") COUNT 3\r\na OK SORT completed\r\n"},
        {"b SEARCH RETURN (UPDATE COUNT) ALL\r\n",
         "* OK [INPROGRESS (\"b\" 2 3)] Still searching\r\n* ESEARCH (TAG \"b\") COUNT 3\r\nb OK SEARCH completed\r\n"},
        {"a SEARCH FUZZY ALL\r\n",
         "* OK [INPROGRESS (\"a\" 2 3)] Still searching\r\n* SEARCH 1 2 3\r\na OK SEARCH completed\r\n"},
        {"a SEARCH RETURN (RELEVANCY) FUZZY ALL\r\n",
         "* OK [INPROGRESS (\"a\" 2 3)] Still searching\r\n" UNKNOWN
         "* ESEARCH (TAG \"a\") RELEVANCY (10 20 30)\r\na OK SEARCH completed\r\n"},
        {"a THREAD REFS UTF-8 ALL\r\n", "* OK [INPROGRESS (\"a\" 2 3)] Still searching\r\n" UNKNOWN
                                        "* THREAD ((1 2)(3))\r\na OK THREAD completed\r\n"},
        {"a ESEARCH ALL\r\n",
         "* OK [INPROGRESS (\"a\" 2 3)] Still searching\r\n"
         "* ESEARCH (TAG \"a\" MAILBOX INBOX UIDVALIDITY 77) UID ALL 10,20,30\r\na OK ESEARCH completed\r\n"},
    };
    EXPECT_ALL(s, table);
    fake.search_ms = 10;
    static const struct exchange quick[] = {
        {"a SORT (SIZE) UTF-8 ALL\r\n", "* SORT 3 2 1\r\na OK SORT completed\r\n"},
        {"a THREAD REFS UTF-8 ALL\r\n", "* THREAD ((1 2)(3))\r\na OK THREAD completed\r\n"},
        {"a ESEARCH ALL\r\n",
         "* ESEARCH (TAG \"a\" MAILBOX INBOX UIDVALIDITY 77) UID ALL 10,20,30\r\na OK ESEARCH completed\r\n"},
    };
    EXPECT_ALL(s, quick);
    end(&s);
}

/* Of many mailboxes the sum is told, and no goal: it would change from one to the next. */
Test(search_result, progress_over_many_mailboxes_goes_up)
{
    fake_reset();
    struct imap_session *s = talk_selected(NULL);
    unsigned long before = 0, done;
    unsigned n = 0;
    fake.search_slices = 6;
    fake.search_ms = 2000;
    const char *got = talk(s, "a ESEARCH IN (personal) ALL\r\n");
    for (const char *at = got; (at = strstr(at, "INPROGRESS")) != NULL; at++, n++) {
        cr_assert_eq(sscanf(at, "INPROGRESS (\"a\" %lu NIL)] Still searching\r\n", &done), 1, "%s", got);
        cr_expect_gt(done, before, "%s", got);
        before = done;
    }
    cr_expect_geq(n, 4, "%s", got);
    cr_expect_gt(before, 7, "only the mailbox at hand was counted: %s", got);
    cr_expect_not_null(strstr(got, "a OK ESEARCH completed\r\n"), "%s", got);
    end(&s);
}
