/*
 * session_private: the session's one struct, and what the commands (cmd_*.c) may ask of it.
 *
 * A command is a row {name, states, flags, parse, run}. parse takes its arguments from the cursor, once, into
 * command->args; run is called again and again:
 *
 *     IMAP_STEP_DONE  imap_reply was called; the session adds news (EXPUNGE, EXISTS, FETCH) and the tagged line
 *     IMAP_STEP_MORE  the output is high or the slice is over (imap_session_should_yield): call again in the next run
 *     IMAP_STEP_LINE  needs a line of the client (SASL): called again with command->line set
 *     IMAP_STEP_PARK  waits for a commit (imap_commit): called again when it may be done
 *     IMAP_STEP_WAIT  called again after command->delay_ms (a login that is held back)
 *     IMAP_STEP_DATA  lets the announced literal in (IMAP_ROW_STREAM): its bytes go to command->data, then it is called again
 *     IMAP_STEP_BREAK what was announced cannot be sent: the connection ends without another byte
 *
 * Between two runs no reader lives: imap_session_reader begins one a run, and what is bound to a reader is
 * bound anew. Memory of a command is its arena's, or freed by row->release.
 */
#ifndef IMAP_SESSION_PRIVATE_H
#define IMAP_SESSION_PRIVATE_H

#include "imap/imap.h"
#include "imap/transport.h"
#include "mds/query.h"
#include "wire/cursor.h"
#include "wire/framer.h"

#include <stdatomic.h>

enum imap_state {
    IMAP_STATE_NONAUTH = 1 << 0,
    IMAP_STATE_AUTH = 1 << 1,
    IMAP_STATE_SELECTED = 1 << 2,
    IMAP_STATE_LOGOUT = 1 << 3,
    /* sets of states, for rows */
    IMAP_STATES_ANY = IMAP_STATE_NONAUTH | IMAP_STATE_AUTH | IMAP_STATE_SELECTED,
    IMAP_STATES_AUTH = IMAP_STATE_AUTH | IMAP_STATE_SELECTED,
};

enum imap_step { IMAP_STEP_DONE, IMAP_STEP_MORE, IMAP_STEP_LINE, IMAP_STEP_PARK, IMAP_STEP_BREAK, IMAP_STEP_DATA, IMAP_STEP_WAIT };

enum imap_status { IMAP_OK, IMAP_NO, IMAP_BAD };

struct imap_command;

struct imap_row {
    const char *name; /* capitals */
    unsigned states;  /* enum imap_state */
    unsigned flags;   /* enum imap_row_flag */
    bool (*parse)(struct imap_session *s, struct imap_command *c,
                  struct imap_cursor *at); /* NULL: no arguments */
    enum imap_step (*run)(struct imap_session *s, struct imap_command *c);
    void (*release)(struct imap_command *c); /* of args, after parse succeeded; may be NULL */
};

enum imap_row_flag {
    IMAP_ROW_NO_EXPUNGE = 1 << 0, /* RFC 3501 7.4.1: no EXPUNGE while it is answered, unless after UID */
    IMAP_ROW_UID = 1 << 1,        /* may follow UID */
    IMAP_ROW_SECRET = 1 << 2,     /* its text is wiped from memory */
    /*
     * Its message literals pass through (APPEND): parse takes what stands before the first, run is called with command->rest, the text up
     * to a literal's announcement (command->literal, NULL at the end of the command), and returns IMAP_STEP_DATA to let it in.
     */
    IMAP_ROW_STREAM = 1 << 3,
};

/* EXPUNGE of seq, seq - 1, ... */
struct imap_expunge_run {
    uint32_t seq, count;
};

struct imap_uid_run {
    uint32_t first, last;
};

/* What happened in the folder since the client was told: collected at once, said in slices. */
struct imap_news {
    bool collected;
    struct buf expunged; /* struct imap_expunge_run, in the order they are said */
    struct buf changed;  /* struct imap_uid_run, upwards */
    struct buf vanished; /* struct imap_uid_run, downwards: instead of expunged where the client knows QRESYNC */
    struct buf gone;     /* struct imap_gone, highest first: if there are contexts */
    bool keep_gone;
    uint32_t changed_last_seq;
    uint32_t expunged_count;
    size_t at;       /* byte in expunged */
    uint32_t at_nth; /* of that run */
    bool exists, vanish;
    uint64_t own_first, own_last; /* modseqs that the client made itself and does not want to hear of */
    size_t changed_at;            /* next run of changed */
    struct mdsq_set *set;
    struct mdsq_fetch *fetch;
};

/* What the client turned on, by ENABLE or by using it: it stays on. */
enum imap_enabled {
    IMAP_ENABLED_CONDSTORE = 1 << 0, /* MODSEQ in every FETCH of flags */
    IMAP_ENABLED_QRESYNC = 1 << 1,   /* VANISHED instead of EXPUNGE; brings CONDSTORE */
    IMAP_ENABLED_UTF8 = 1 << 2,      /* UTF8=ACCEPT: names and strings are UTF-8 */
    IMAP_ENABLED_REV2 = 1 << 3,      /* IMAP4rev2: likewise, and what RFC 9051 changes */
};

struct imap_command {
    struct arena *arena;
    struct bytes tag;
    const struct imap_row *row;
    bool uid;          /* came as UID <name> */
    void *args;        /* the row's own, in the arena */
    int where;         /* the row's own: where run stands */
    struct bytes line; /* after IMAP_STEP_LINE; view until run returns */
    bool line_waits, line_bad;
    /* IMAP_ROW_STREAM */
    /* Set by parse: bytes of a literal that was let in, in order; false: wants no more, imap_reply was called. */
    bool (*data)(struct imap_session *s, struct imap_command *c, struct bytes piece);
    struct bytes rest;                  /* text not yet parsed; view until run returns IMAP_STEP_DATA */
    const struct imap_literal *literal; /* announced at its end, or NULL */
    bool data_waits, refused;           /* refused: the answer is there, the rest of the command is skipped */
    uint64_t began_ns, work_ns; /* when it was whole; spent in runs before this one */
    struct mdsq_change *change; /* imap_commit's; freed with the command */
    const char *audit_name, *audit_to; /* for the audit log and NOTIFY: the folder that was named if not the selected one, and where to; of the arena or args */
    bool submitted;
    int submit_code; /* negative: it could not be */
    /* The answer, once run is done. */
    enum { IMAP_STAGE_RUN, IMAP_STAGE_DELAY, IMAP_STAGE_NEWS, IMAP_STAGE_REPLY } stage;
    enum imap_status status;
    const char *code; /* without brackets, or NULL; static or of the arena */
    const char *text;
    uint32_t delay_ms;
    bool keep_view_quiet;   /* no news with this answer (SELECT has just said all) */
    bool silent;            /* no tagged line: it comes later (IDLE) or never */
    bool say_highestmodseq; /* the tagged OK bears [HIGHESTMODSEQ], if the client knows modseqs */
    bool folder_may_go;     /* the selected folder's end is no surprise (DELETE): it is left without BYE */
    struct imap_news news;
};

/* When the selected mailbox's news is told besides with the answers of commands and during IDLE. */
enum imap_notify_selected {
    IMAP_NOTIFY_SELECTED_OFF,     /* not */
    IMAP_NOTIFY_SELECTED_DELAYED, /* at once, but EXPUNGE only with answers */
    IMAP_NOTIFY_SELECTED,         /* at once, EXPUNGE included */
    IMAP_NOTIFY_SELECTED_NONE,    /* never but EXPUNGE and EXISTS with answers: RFC 5465 section 5 */
};

struct imap_session {
    /* permanent */
    struct mdsq_store *store;
    struct imap_limits limits; /* no zeros */
    bool local, allow_login;
    const struct imap_transport *transport; /* NULL: none (tests, the command line) */
    imap_wake_fn *wake; /* may be NULL */
    void *wake_arg;
    imap_explain_fn *explain; /* may be NULL */
    void *explain_arg;
    /* Written by threads of the library, which then call wake: */
    atomic_bool commit_done; /* the change that was submitted */
    atomic_bool stirred;     /* the archive was committed to */
    /* connection */
    enum imap_state state;
    bool greeted, closing, broken;
    bool mid_response; /* an untagged line is begun and not ended */
    struct imap_framer framer;
    struct buf in;
    size_t in_off;
    struct buf out;
    size_t out_off;
    const char *bye_after; /* said when the command at work has ended */
    unsigned bad_in_row, login_failures;
    uint64_t commands;     /* answered */
    enum imap_run upgrade; /* STARTTLS or COMPRESS was answered and the transport has to do it; else IDLE */
    bool compressed;
    uint32_t wait_ms;
    /* from login on */
    struct mdsq_archive *archive;
    char archive_name[256];
    char *account;    /* who logged in, or NULL */
    char *folder;     /* what was last selected, as it was called then; for the audit log */
    char *mask;       /* capabilities hidden from this client: " NAME NAME ", or NULL */
    unsigned enabled; /* enum imap_enabled */
    char *client;     /* what ID gave as its name and version, or NULL */
    /* selected */
    struct mdsq_view *view;
    bool read_only;         /* EXAMINE, or an archive that cannot be written: no STORE, no EXPUNGE, no \Seen */
    char selected_id[33];   /* its MAILBOXID */
    struct mdsq_set *saved; /* "$" (RFC 5182): UIDs, may hold some that are gone; NULL: empty */
    struct mdsq_set *recent; /* UIDs that are \Recent here; may hold some that are gone; NULL: none */
    uint64_t told_recent;    /* their count that the client knows */
    struct imap_context *contexts; /* searches whose results are kept up to date (context.h) */
    uint32_t told_keywords; /* names of the archive that FLAGS has told */
    uint64_t tick;        /* of the archive when the view was last advanced */
    bool expunge_untold;  /* it was advanced when no EXPUNGE could be said */
    uint32_t told_exists; /* the count that the client knows */
    uint64_t told_modseq; /* the client knows all changes up to here: the highest modseq that may be told */
    uint64_t own_first, own_last; /* modseqs of this session's STOREs since the last news; 0: none */
    bool own_told;
    /* between commands */
    struct mdsq_watch *watch;
    char *idle_tag;            /* IDLE is on: the tag of its answer */
    struct imap_news *between; /* being said */
    /*
     * NOTIFY's seat (notify.c), NULL when it is off. notify_step says what is new in other mailboxes; false: call again in the next run. It is called
     * when the archive has changed, between commands and while IDLE is on. The selected mailbox is told by news.c as notify_selected says.
     */
    bool (*notify_step)(struct imap_session *s);
    void (*notify_release)(struct imap_session *s);
    void *notify;
    enum imap_notify_selected notify_selected;
    bool notify_flags_off;   /* changed flags are not told: NOTIFY without FlagChange */
    /* one run */
    struct mdsq_reader *reader;
    int64_t slice_end_ms;
    uint64_t run_began_ns;
    /* one command */
    struct imap_command *command;
};

/* ---- for the commands ------------------------------------------------------------------ */

/* \Recent (recent.c): takes what is new to everybody; says how many there are, in any case or if the client knows another number. Nothing after
 * ENABLE IMAP4rev2. */
void imap_recent_take(struct imap_session *s);
void imap_recent_say(struct imap_session *s, bool always);
/* A message's flags, \Recent among them. */
void imap_put_flags(struct imap_session *s, const struct mdsq_message *m);

/* Output is high or time is up: return IMAP_STEP_MORE. */
bool imap_session_should_yield(const struct imap_session *s);
/* This run's snapshot; NULL with *err set. */
struct mdsq_reader *imap_session_reader(struct imap_session *s, struct mdsq_error *err);
/* The answer to the command; DONE, so `return imap_reply(...)`. code may be NULL. */
enum imap_step imap_reply(struct imap_command *c, enum imap_status status, const char *code,
                          const char *text);
/* NO with a code and words for what failed in query/; the text of err goes to the log, not to the client. */
enum imap_step imap_reply_error(struct imap_session *s, struct imap_command *c, const struct mdsq_error *err);
/* Likewise for the outcome of a change, with what RFC 5530 has for it. to: what NOTFOUND means is that a destination is missing (TRYCREATE). */
enum imap_step imap_reply_change_error(struct imap_session *s, struct imap_command *c, const struct mdsq_error *err, bool to);
/*
 * Commits c->change, which the command made: PARK: return it, and call this again in the next run; DONE: there is an outcome;
 * MORE is not returned. The change is the command's until it makes another one (imap_commit_drop).
 */
enum imap_step imap_commit(struct imap_session *s, struct imap_command *c);
/* Of c->change, after imap_commit was DONE: as mdsq_change_outcome. */
int imap_outcome(const struct imap_command *c, struct mdsq_outcome *out, struct mdsq_error *err);
/* Frees c->change, so that the next one may be made. */
void imap_commit_drop(struct imap_command *c);
/*
 * The archive is watched from now on: when it changes, `stirred` is set and the session runs. Needed by IDLE and NOTIFY; ended by
 * imap_session_unwatch when neither is on.
 */
int imap_session_watch(struct imap_session *s, struct mdsq_error *err);
void imap_session_unwatch(struct imap_session *s);
/* Zeroed memory of the command's arena for its arguments; NULL past the quota. */
void *imap_command_args(struct imap_command *c, size_t n);
/* Leaves the selected folder. */
void imap_session_unselect(struct imap_session *s);
/*
 * The archive as it is now: a rebuild put another one in its place, which opened ones do not see. No folder may be
 * selected. An archive that does not open any more stays as the session has it.
 */
void imap_session_reopen_archive(struct imap_session *s);
/* The capabilities of now, without the word CAPABILITY (capability.c: whoever makes one work adds its row there). */
void imap_session_capabilities(const struct imap_session *s, struct buf *out);
/* Not hidden from this client by the mask: what is hidden is neither announced nor enabled. */
bool imap_session_offers(const struct imap_session *s, const char *capability);
/* Mailbox names go both ways as UTF-8, not as modified UTF-7. */
static inline bool imap_session_utf8(const struct imap_session *s)
{
    return s->enabled & (IMAP_ENABLED_UTF8 | IMAP_ENABLED_REV2);
}
/* A mailbox name as this client reads it. */
void imap_say_mailbox(struct imap_session *s, const char *utf8);
/* "* LIST": a folder as LIST tells it. subscribed: \Subscribed may be said. old_name: OLDNAME (RFC 9051 7.3.1), or NULL. */
void imap_say_folder(struct imap_session *s, const struct mdsq_folder *folder, bool subscribed, const char *old_name);
/* The same of the folder that has this name, if there is one. given: OLDNAME, if it differs. */
void imap_say_its_list(struct imap_session *s, const char *name, const char *given);
/* text (UTF-8) in normalization form C, as names are made (RFC 9051 5.1); text itself if it is already, NULL if the arena is full. */
const char *imap_normal_name(struct arena *arena, const char *text);
/* imap_cursor.spell: the name of a folder or level that is there under it, as a vault may have any, with what is below it in form C. */
const char *imap_spell_name(void *session, struct arena *arena, const char *name);
/* CONDSTORE is on from now on (RFC 7162 3.1): the client asked for a modseq. Tells HIGHESTMODSEQ if a mailbox is selected. */
void imap_enable_condstore(struct imap_session *s);
/* "* VANISHED (EARLIER)" of a set of UIDs in slices, *pos begins at 0; false: call again in the next run. */
bool imap_say_vanished_earlier(struct imap_session *s, const struct mdsq_set *set, uint64_t *pos);
/* "* FLAGS" and PERMANENTFLAGS, if the archive has keywords that this client was not told: before a FETCH may name one. */
void imap_say_keywords(struct imap_session *s);
/*
 * The sequence set of a command: numbers of the view (mdsq_set_parse) or "$", what the last SEARCH saved. Owned by the caller. Every
 * command that takes a sequence set uses this one.
 */
int imap_set_parse(struct imap_session *s, struct bytes text, bool is_uid, struct mdsq_set **out, struct mdsq_error *err);

/* ---- commands.c, news.c, cmd_*.c --------------------------------------------------------- */

const struct imap_row *imap_row_find(struct bytes name);

/*
 * Says what is new in the selected folder; false: call again in the next run, or the session is closing. allow_expunge: EXPUNGE may be said
 * (RFC 3501 7.4.1). may_go: if the folder is gone it is left without a word, else with BYE.
 */
bool imap_news_step(struct imap_session *s, struct imap_news *news, bool allow_expunge, bool may_go);
void imap_news_release(struct imap_news *news);
/*
 * Modseqs that a STORE has just taken: the next news leaves them out. told: the client was given the flags; else (.SILENT) they are left out
 * only if nobody else's changes are hidden among them.
 */
void imap_news_own(struct imap_session *s, uint64_t first, uint64_t last, bool told);
/* What is new between commands (IDLE, NOTIFY); false: call again in the next run. */
bool imap_idle_news(struct imap_session *s);
/* A line while IDLE is on. */
void imap_idle_end(struct imap_session *s, struct bytes line, bool bad);
void imap_idle_release(struct imap_session *s);

/* ---- between session.c and its siblings --------------------------------------------------- */

/* session_input.c: the next frame of the input, which may begin a command or continue one. False: needs input. */
bool imap_session_input(struct imap_session *s);
/* The announced literal is let in, or it (or what is left of it) and the rest of the command are skipped. */
void imap_session_let_in(struct imap_session *s);
void imap_session_refuse(struct imap_session *s);
void imap_session_input_reset(struct imap_session *s, bool wipe);
struct imap_command *imap_command_new(struct imap_session *s, size_t text_bytes);
void imap_command_free(struct imap_command **command);
/* reply.c */
void imap_say_tagged(struct imap_session *s, const struct imap_command *c);
void imap_say_bye(struct imap_session *s, const char *text);

/* ---- rows ---------------------------------------------------------------------------------- */

bool imap_parse_mailbox_only(struct imap_session *s, struct imap_command *c, struct imap_cursor *at);

#define IMAP_PARSE(name) bool name(struct imap_session *s, struct imap_command *c, struct imap_cursor *at)
#define IMAP_RUN(name)   enum imap_step name(struct imap_session *s, struct imap_command *c)

/* A command was answered: counts it, tells the events. */
void imap_session_tell_command(struct imap_session *s, const struct imap_command *c);
/* What is hidden from this client may be something else now: its account or its name became known. */
void imap_session_remask(struct imap_session *s);
/* For the audit log. folder and to may be NULL; uids too (then count says how many), and is cut if it is long. */
void imap_session_audit(struct imap_session *s, const char *action, const char *folder, const char *to, const struct mdsq_set *uids, uint32_t count);

IMAP_RUN(imap_cmd_starttls);
IMAP_PARSE(imap_parse_compress);
IMAP_RUN(imap_cmd_compress);
IMAP_RUN(imap_cmd_capability);
IMAP_RUN(imap_cmd_noop);
IMAP_RUN(imap_cmd_logout);
IMAP_PARSE(imap_parse_id);
IMAP_RUN(imap_cmd_id);
IMAP_RUN(imap_cmd_namespace);
IMAP_PARSE(imap_parse_enable);
IMAP_RUN(imap_cmd_enable);
IMAP_PARSE(imap_parse_login);
IMAP_RUN(imap_cmd_login);
void imap_release_login(struct imap_command *c);
IMAP_PARSE(imap_parse_authenticate);
IMAP_RUN(imap_cmd_authenticate);
IMAP_PARSE(imap_parse_list);
IMAP_RUN(imap_cmd_list);
IMAP_PARSE(imap_parse_lsub);
IMAP_RUN(imap_cmd_lsub);
void imap_release_list(struct imap_command *c);
IMAP_PARSE(imap_parse_notify);
IMAP_RUN(imap_cmd_notify);
void imap_release_notify(struct imap_command *c);
IMAP_PARSE(imap_parse_status);
IMAP_RUN(imap_cmd_status);
IMAP_PARSE(imap_parse_select);
IMAP_RUN(imap_cmd_select);
void imap_release_select(struct imap_command *c);
IMAP_RUN(imap_cmd_close);
IMAP_PARSE(imap_parse_fetch);
IMAP_RUN(imap_cmd_fetch);
void imap_release_fetch(struct imap_command *c);
IMAP_PARSE(imap_parse_search);
IMAP_PARSE(imap_parse_sort);
IMAP_RUN(imap_cmd_search);
void imap_release_search(struct imap_command *c);
IMAP_PARSE(imap_parse_thread);
IMAP_RUN(imap_cmd_thread);
void imap_release_thread(struct imap_command *c);
IMAP_PARSE(imap_parse_esearch);
IMAP_RUN(imap_cmd_esearch);
void imap_release_esearch(struct imap_command *c);
IMAP_PARSE(imap_parse_cancelupdate);
IMAP_RUN(imap_cmd_cancelupdate);
IMAP_RUN(imap_cmd_idle);

#endif
