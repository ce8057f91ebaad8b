/* talk: see talk.h. */
#include "talk.h"

#include "fake_query.h"

enum imap_run talk_how;
unsigned talk_runs;
size_t talk_high;
unsigned talk_delay_ms;

static struct buf answer;

static void take_output(struct imap_session *s)
{
    struct bytes out = imap_session_output(s);
    if (out.n > talk_high)
        talk_high = out.n;
    buf_append_bytes(&answer, out);
    imap_session_wrote(s, out.n);
}

const char *talk_bytes(struct imap_session *s, const void *p, size_t n)
{
    const uint8_t *q = p;
    buf_reset(&answer);
    talk_runs = talk_delay_ms = 0;
    talk_high = 0;
    do {
        size_t took = imap_session_feed(s, q, n);
        q += took;
        n -= took;
        talk_how = imap_session_run(s);
        talk_runs++;
        if (talk_how == IMAP_RUN_WAIT && imap_session_wait_ms(s) > talk_delay_ms)
            talk_delay_ms = imap_session_wait_ms(s);
        take_output(s);
        ASSERT(fake.readers == 0); /* none lives between runs */
        ASSERT(talk_runs < 1000000);
    } while (talk_how != IMAP_RUN_CLOSE && talk_how != IMAP_RUN_PARKED && (talk_how != IMAP_RUN_IDLE || n > 0));
    buf_append_byte(&answer, 0);
    return (const char *)answer.p;
}

const char *talk(struct imap_session *s, const char *text)
{
    return talk_bytes(s, text, strlen(text));
}

struct imap_session *talk_new(const struct imap_limits *limits, bool allow_login)
{
    struct imap_session *s = imap_session_new(NULL, limits);
    if (allow_login)
        imap_session_allow_login(s);
    talk(s, "");
    return s;
}

struct imap_session *talk_logged_in(const struct imap_limits *limits)
{
    struct imap_session *s = talk_new(limits, true);
    talk(s, "l LOGIN me \"secret\\\"\\\\\"\r\n");
    ASSERT(imap_session_logged_in(s));
    return s;
}

struct imap_session *talk_selected(const struct imap_limits *limits)
{
    struct imap_session *s = talk_logged_in(limits);
    talk(s, "s SELECT INBOX\r\n");
    return s;
}
