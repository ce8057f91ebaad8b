/* IDLE: what is told, when it ends, what it costs. */
#include "transcript.h"

TestSuite(cmd_idle, .init = writable);

Test(cmd_idle, tells_at_once_and_ends_with_done)
{
    struct imap_session *s = talk_selected(NULL);
    cr_expect_str_eq(talk(s, "a IDLE\r\n"), "+ idling\r\n");
    cr_expect_eq(talk_how, IMAP_RUN_IDLE);
    cr_expect_str_eq(talk(s, ""), "");
    fake_add(1);
    cr_expect_str_eq(talk(s, ""), "", "nobody woke it");
    fake_stir();
    cr_expect_str_eq(talk(s, ""), "* 4 EXISTS\r\n");
    fake_expunge(10);
    fake_flag(20, "(\\Flagged)");
    fake_stir();
    cr_expect_str_eq(talk(s, ""), "* 1 EXPUNGE\r\n* 1 FETCH (UID 20 FLAGS (\\Flagged))\r\n");
    fake_add(1);
    cr_expect_str_eq(talk(s, "DONE\r\nb NOOP\r\n"), "* 4 EXISTS\r\na OK IDLE completed\r\nb OK Completed\r\n");
    end(&s);
}

Test(cmd_idle, news_before_it_is_told)
{
    struct imap_session *s = talk_selected(NULL);
    fake_add(1);
    cr_expect_str_eq(talk(s, "a IDLE\r\n"), "+ idling\r\n* 4 EXISTS\r\n");
    cr_expect_str_eq(talk(s, "done\r\n"), "a OK IDLE completed\r\n");
    end(&s);
}

Test(cmd_idle, in_pieces_and_in_a_pipeline)
{
    struct imap_session *s = talk_selected(NULL);
    cr_expect_str_eq(talk(s, "a IDLE\r\nDO"), "+ idling\r\n");
    fake_add(1);
    fake_stir();
    cr_expect_str_eq(talk(s, ""), "* 4 EXISTS\r\n", "half a DONE keeps nothing back");
    cr_expect_str_eq(
        talk(s, "NE\r\nb IDLE\r\nDONE\r\nc LOGOUT\r\n"),
        "a OK IDLE completed\r\n+ idling\r\nb OK IDLE completed\r\n* BYE Logging out\r\nc OK LOGOUT completed\r\n");
    end(&s);
}

Test(cmd_idle, other_lines_end_it_with_bad)
{
    static const char *const lines[] = {"b NOOP\r\n", "\r\n", "DONE x\r\n", "DONE {3+}\r\n", "DONE{3}\r\n"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct imap_session *s = talk_selected(NULL);
        talk(s, "a IDLE\r\n");
        const char *got = talk(s, lines[i]);
        cr_expect_str_eq(got, "a BAD Expected DONE\r\n", "%s: %s", lines[i], got);
        cr_expect_str_eq(talk(s, "c NOOP\r\n"), "c OK Completed\r\n", "%s", lines[i]);
        end(&s);
    }
}

Test(cmd_idle, without_a_selected_folder)
{
    struct imap_session *s = talk_logged_in(NULL);
    cr_expect_str_eq(talk(s, "a IDLE\r\n"), "+ idling\r\n");
    fake_add(1);
    fake_stir();
    cr_expect_str_eq(talk(s, ""), "");
    cr_expect_str_eq(talk(s, "DONE\r\n"), "a OK IDLE completed\r\n");
    cr_expect_str_eq(talk(s, "a IDLE x\r\n"), "a BAD unexpected text after the arguments\r\n");
    end(&s);
}

Test(cmd_idle, folder_that_is_gone)
{
    struct imap_session *s = talk_selected(NULL);
    talk(s, "a IDLE\r\n");
    fake.tick++;
    fake.advance_result = MDSQ_ERR_NOTFOUND;
    fake_stir();
    cr_expect_str_eq(talk(s, ""), "* BYE Selected mailbox is gone\r\n");
    cr_expect_eq(talk_how, IMAP_RUN_CLOSE);
    end(&s);
}

Test(cmd_idle, no_watch_no_idle)
{
    struct imap_session *s = talk_selected(NULL);
    fake.watch_result = MDSQ_ERR_NOMEM;
    cr_expect_str_eq(talk(s, "a IDLE\r\n"), "a NO [UNAVAILABLE] Temporary failure, try again later\r\n");
    end(&s);
}

Test(cmd_idle, many_news_are_said_in_slices)
{
    fake_add(2997);
    struct imap_session *s = talk_selected(&(struct imap_limits){.output_high_bytes = 2048});
    talk(s, "a IDLE\r\n");
    for (uint32_t i = 1; i <= 3000; i++)
        if (i % 2)
            fake_flag(i * 10, "(\\Draft)");
    fake_stir();
    const char *got = talk(s, "");
    unsigned n = 0;
    for (const char *at = got; (at = strstr(at, " FETCH (UID ")) != NULL; at++)
        n++;
    cr_expect_eq(n, 1500, "%u", n);
    cr_expect_lt(talk_high, 8192u);
    end(&s);
}

Test(cmd_idle, keeps_no_memory)
{
    struct imap_session *s = talk_selected(NULL);
    size_t before = imap_session_memory_bytes(s);
    talk(s, "a IDLE\r\n");
    cr_expect_leq(imap_session_memory_bytes(s), before);
    fake_add(100);
    fake_stir();
    talk(s, "");
    cr_expect_leq(imap_session_memory_bytes(s), before);
    cr_expect_eq(fake.readers, 0);
    end(&s);
}

static unsigned woken;

static void on_wake(void *arg)
{
    (void)arg;
    woken++;
}

Test(cmd_idle, the_watch_wakes_the_session)
{
    struct imap_session *s = talk_selected(NULL);
    imap_session_set_wake(s, on_wake, NULL);
    talk(s, "a IDLE\r\n");
    fake_stir();
    cr_expect_eq(woken, 1);
    talk(s, "DONE\r\n");
    fake_stir();
    cr_expect_eq(woken, 1, "after DONE nobody watches");
    end(&s);
}
