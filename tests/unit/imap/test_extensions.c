/* The reading extensions where query/ fails or is slow: marking as seen, searches that were to be saved, slices. */
#include "transcript.h"

TestSuite(extensions, .init = writable);

static unsigned count(const char *text, const char *word)
{
    unsigned n = 0;
    for (; (text = strstr(text, word)) != NULL; text++)
        n++;
    return n;
}

Test(extensions, reading_succeeds_whether_or_not_it_can_be_marked)
{
    struct imap_session *s = talk_selected(NULL);
    fake.change_result = MDSQ_ERR_FULL;
    static const struct exchange failing[] = {
        {"a FETCH 2 BODY[TEXT]<0.6>\r\n", "* 2 FETCH (BODY[TEXT]<0> {6}\r\nSecond)\r\na OK FETCH completed\r\n"},
    };
    EXPECT_ALL(s, failing);
    fake.change_result = 0;
    static const struct exchange table[] = {
        {"a FETCH 2 BODY[TEXT]<0.6>\r\n",
         "* 2 FETCH (BODY[TEXT]<0> {6}\r\nSecond)\r\n* 2 FETCH (UID 20 FLAGS (\\Seen))\r\na OK FETCH completed\r\n"},
        {"a FETCH 2 BODY[TEXT]<0.6>\r\n", "* 2 FETCH (BODY[TEXT]<0> {6}\r\nSecond)\r\na OK FETCH completed\r\n"},
    };
    EXPECT_ALL(s, table);
    cr_expect_eq(fake.commits, 1);
    end(&s);
}

Test(extensions, what_cannot_be_read_stays_unseen)
{
    struct imap_session *s = talk_selected(NULL);
    fake.messages[1].vault_gone = true;
    cr_expect_not_null(strstr(talk(s, "a UID FETCH 20 BODY[]\r\n"), "a NO [UNAVAILABLE]"));
    cr_expect_not_null(strstr(talk(s, "a FETCH 2 (BODY.PEEK[] FLAGS)\r\n"), "FLAGS ()"));
    cr_expect_eq(fake.commits, 0);
    end(&s);
}

Test(extensions, what_the_store_has_needs_no_vault)
{
    struct imap_session *s = talk_selected(NULL);
    fake.messages[1].vault_gone = fake.messages[1].stored = true;
    static const struct exchange table[] = {
        {"a FETCH 2 (UID BODY.PEEK[HEADER.FIELDS (Subject X-Y)])\r\n",
         "* 2 FETCH (UID 20 BODY[HEADER.FIELDS (Subject X-Y)] {24}\r\nSubject: two\r\nX-Y: z\r\n\r\n)\r\n"
         "a OK FETCH completed\r\n"},
        {"a FETCH 2 (BODY.PEEK[HEADER.FIELDS (Subject)]<0.5> BODY.PEEK[HEADER.FIELDS (Subject)]<24.9>)\r\n",
         "* 2 FETCH (BODY[HEADER.FIELDS (Subject)]<0> {5}\r\nSubje BODY[HEADER.FIELDS (Subject)]<24> \"\")\r\n"
         "a OK FETCH completed\r\n"},
    };
    EXPECT_ALL(s, table);
    cr_expect_eq(fake.commits, 0, "peeked at");
    cr_expect_not_null(strstr(talk(s, "a FETCH 2 BODY[HEADER.FIELDS (Subject)]\r\n"), "a OK"));
    cr_expect_eq(fake.commits, 1, "read");
    end(&s);
}

Test(extensions, many_messages_are_marked_some_hundred_at_a_time)
{
    fake_add(1200);
    for (unsigned i = 0; i < fake.n; i++)
        fake.messages[i].flags = "()";
    struct imap_session *s = talk_selected(&(struct imap_limits){.output_high_bytes = 1000});
    const char *got = talk(s, "a FETCH 1:* BODY[]\r\n");
    cr_expect_eq(count(got, "BODY[] {"), 1203);
    cr_expect_eq(count(got, "FLAGS (\\Seen))"), 1203);
    cr_expect_not_null(strstr(got, "a OK FETCH completed\r\n"));
    cr_expect_eq(fake.commits, 3, "%u commits", fake.commits);
    end(&s);
}

static void on_wake(void *arg)
{
    ++*(unsigned *)arg;
}

Test(extensions, a_session_parks_until_its_messages_are_marked)
{
    unsigned woken = 0;
    struct imap_session *s = talk_selected(NULL);
    imap_session_set_wake(s, on_wake, &woken);
    fake.hold = true;
    cr_expect_str_eq(talk(s, "a FETCH 2 BODY[TEXT]<0.6>\r\n"), "* 2 FETCH (BODY[TEXT]<0> {6}\r\nSecond)\r\n");
    cr_expect_eq(talk_how, IMAP_RUN_PARKED);
    fake_done();
    cr_expect_eq(woken, 1);
    cr_expect_str_eq(talk(s, ""), "* 2 FETCH (UID 20 FLAGS (\\Seen))\r\na OK FETCH completed\r\n");
    end(&s);
}

Test(extensions, a_failed_search_saves_nothing)
{
    struct imap_session *s = talk_selected(NULL);
    static const struct exchange saved[] = {
        {"a SEARCH RETURN (SAVE) ALL\r\n", "a OK SEARCH completed, result saved\r\n"},
        {"a FETCH $ UID\r\n",
         "* 1 FETCH (UID 10)\r\n* 2 FETCH (UID 20)\r\n* 3 FETCH (UID 30)\r\na OK FETCH completed\r\n"},
    };
    EXPECT_ALL(s, saved);
    fake_expunge(20);
    static const struct exchange gone[] = {
        {"a NOOP\r\n", "* 2 EXPUNGE\r\na OK Completed\r\n"},
        {"a UID FETCH $ UID\r\n", "* 1 FETCH (UID 10)\r\n* 2 FETCH (UID 30)\r\na OK FETCH completed\r\n"},
    };
    EXPECT_ALL(s, gone);
    fake.search_result = MDSQ_ERR_IO;
    cr_expect_eq(strncmp(talk(s, "a SEARCH ALL\r\n"), "a NO ", 5), 0);
    cr_expect_not_null(strstr(talk(s, "a FETCH $ UID\r\n"), "UID 10")); /* it was not to be saved */
    cr_expect_eq(strncmp(talk(s, "a SEARCH RETURN (SAVE) ALL\r\n"), "a NO ", 5), 0);
    fake.search_result = 0;
    cr_expect_str_eq(talk(s, "a FETCH $ UID\r\n"), "a OK FETCH completed\r\n");
    end(&s);
}

Test(extensions, answers_are_said_in_slices)
{
    fake_add(3000);
    struct imap_session *s = talk_selected(&(struct imap_limits){.output_high_bytes = 500});
    talk(s, "a ENABLE QRESYNC\r\n");
    fake_expunge(20);
    talk(s, "a NOOP\r\n");
    /* Every other message is gone: as many ranges as there are. */
    for (unsigned i = 4; i < fake.n; i += 2)
        fake_expunge((i + 1) * 10);
    talk(s, "a NOOP\r\n");
    const char *got = talk(s, "a UID FETCH 1:* (UID) (CHANGEDSINCE 1 VANISHED)\r\n");
    cr_expect_eq(count(got, "* VANISHED (EARLIER) "), 4, "%u lines", count(got, "* VANISHED (EARLIER) "));
    cr_expect(talk_runs > 3);
    cr_expect(talk_high < 8000, "%zu bytes", talk_high);
    end(&s);
}

Test(extensions, masked_names_are_passed_over)
{
    struct imap_session *s = talk_logged_in(NULL);
    imap_session_mask(s, "qresync;UTF8=ACCEPT");
    static const struct exchange table[] = {
        {"a ENABLE CONDSTORE QRESYNC UTF8=ACCEPT\r\n", "* ENABLED CONDSTORE\r\na OK ENABLE completed\r\n"},
        {"a SELECT INBOX (QRESYNC (1 1))\r\n", "a BAD QRESYNC is not enabled\r\n"},
    };
    EXPECT_ALL(s, table);
    cr_expect_null(strstr(talk(s, "a CAPABILITY\r\n"), "QRESYNC"));
    imap_session_mask(s, NULL);
    cr_expect_not_null(strstr(talk(s, "a CAPABILITY\r\n"), " QRESYNC "));
    end(&s);
}
