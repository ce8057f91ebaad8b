/*
 * talk: IMAP commands of the command line, answered by a session inside this process.
 *
 *     struct talk *talk = NULL;
 *     if (talk_open(store, archive, &talk, err) < 0) ...
 *     talk_begin(talk, "UID FETCH ");  talk_add(talk, "1:*");  talk_add(talk, " FLAGS");
 *     switch (talk_end(talk, "FETCH")) ...
 *     talk_close(&talk);
 *
 * So `mds fetch` and `mds search` understand and print exactly what the server does. Thread rule: one thread.
 */
#ifndef CLI_TALK_H
#define CLI_TALK_H

#include "base/bytes.h"
#include "base/error.h"

struct talk;

int talk_open(const char *store_dir, const char *archive, struct talk **out, struct error *err);
void talk_close(struct talk **talk);

struct mdsq_search_settings;
/* How SEARCH works for this talk; before the first command. */
void talk_set_search(struct talk *talk, const struct mdsq_search_settings *settings);
/* Copies how each search went to standard error, a line a time. */
void talk_explain(struct talk *talk);

void talk_begin(struct talk *talk, const char *text);
void talk_add(struct talk *talk, const char *text);
/* A string in whatever form carries it: quoted or literal. */
void talk_add_string(struct talk *talk, struct bytes text);
/* A folder's name: UTF-8 in, modified UTF-7 on the line. */
void talk_add_folder(struct talk *talk, const char *name);

enum talk_answer { TALK_OK, TALK_NO, TALK_BAD };
/*
 * Runs the command. Untagged responses with the word `print` in their first three are copied to standard output, literals and all;
 * NULL prints none. talk_text then is what the tagged line said.
 */
enum talk_answer talk_end(struct talk *talk, const char *print);
const char *talk_text(const struct talk *talk);

/* Begins with EXAMINE of the folder; -1 to go on, else the exit status, having said why. */
int talk_examine(struct talk *talk, const char *folder);
/* The exit status of an answer, having said why if it is none of success. */
int talk_status(const struct talk *talk, enum talk_answer answer);

#endif
