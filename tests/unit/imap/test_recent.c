/* \Recent: who is told first. */
#include "transcript.h"

TestSuite(recent, .init = writable);

Test(recent, belongs_to_the_session_that_is_told_first)
{
    fake.recent_from = 20;
    struct imap_session *s = talk_selected(NULL);
    static const struct exchange table[] = {
        {"a UID FETCH 1:* FLAGS\r\n",
         "* 1 FETCH (UID 10 FLAGS (\\Seen))\r\n* 2 FETCH (UID 20 FLAGS (\\Recent))\r\n"
         "* 3 FETCH (UID 30 FLAGS (\\Recent \\Seen))\r\na OK FETCH completed\r\n"},
        {"a STORE 2 FLAGS (\\Seen)\r\n", "* 2 FETCH (FLAGS (\\Recent \\Seen))\r\na OK STORE completed\r\n"},
    };
    EXPECT_ALL(s, table);
    cr_expect_not_null(strstr(talk(s, "a SELECT INBOX\r\n"), "* 0 RECENT\r\n"), "told once");
    end(&s);
    s = talk_logged_in(NULL);
    cr_expect_not_null(strstr(talk(s, "a SELECT INBOX\r\n"), "* 0 RECENT\r\n"));
    end(&s);
}

Test(recent, is_left_to_others_by_examine_and_gone_in_rev2)
{
    fake.recent_from = 30;
    struct imap_session *s = talk_logged_in(NULL);
    cr_expect_not_null(strstr(talk(s, "a EXAMINE INBOX\r\n"), "* 1 RECENT\r\n"));
    cr_expect_not_null(strstr(talk(s, "a SELECT INBOX\r\n"), "* 1 RECENT\r\n"));
    end(&s);
    fake.recent_from = 30;
    s = talk_logged_in(NULL);
    talk(s, "a ENABLE IMAP4rev2\r\n");
    cr_expect_null(strstr(talk(s, "a SELECT INBOX\r\n"), "RECENT"));
    cr_expect_eq(fake.recent_from, 30);
    end(&s);
}
