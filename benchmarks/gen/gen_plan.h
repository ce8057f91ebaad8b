/*
 * gen_plan: what message number i is, as pure functions of (seed, i): its date, folder, thread, author, flags.
 *
 * Nothing is remembered between messages, so any message can be made alone, by any thread, and a vault of a million
 * messages begins with the vault of a thousand. What a message needs of others (the Message-ID that it answers, the
 * subject of its thread's root) it asks for by their numbers.
 */
#ifndef GEN_PLAN_H
#define GEN_PLAN_H

#include "base/bytes.h"
#include "gen_text.h"

struct gen_plan {
    uint64_t seed;
    unsigned folders;    /* 1..GEN_FOLDERS_MAX */
    unsigned mean_bytes; /* wanted mean size of a message */
    bool torture;        /* one message in fifty is strange */
    uint64_t lone;       /* the message of gen_plant_lone, UINT64_MAX none */
    const struct gen_words *words;
};

#define GEN_FOLDERS_MAX 10000u
#define GEN_PEOPLE      20000u
#define GEN_CHAIN_MAX   24u /* ancestors that References names */

/* What a plan's numbers are drawn for; a purpose never shares its draws with another. */
enum gen_purpose {
    GEN_FOR_DUPLICATE,
    GEN_FOR_PARENT,
    GEN_FOR_FOLDER,
    GEN_FOR_FLAGS,
    GEN_FOR_DATE,
    GEN_FOR_AUTHOR,
    GEN_FOR_ID,
    GEN_FOR_SUBJECT,
    GEN_FOR_PROFILE,
    GEN_FOR_HEADER,
    GEN_FOR_BODY,
    GEN_FOR_TORTURE,
    GEN_FOR_PERSON,
    GEN_FOR_ATTACHMENT,
    GEN_FOR_PLANT,
};

/* Kinds of mail, after the groups of the corpus statistics. */
enum gen_profile {
    GEN_LIST,   /* mailing list: plain text, threads, patches, signatures */
    GEN_USER,   /* between people: alternatives, attachments */
    GEN_OFFICE, /* the same through an Exchange shop: more headers, invitations */
    GEN_BULK,   /* newsletters and machines: HTML, no threads */
    GEN_PROFILES
};

/* The message whose bytes message i repeats; i itself unless it is a duplicate (about one in a hundred). */
uint64_t gen_original(const struct gen_plan *plan, uint64_t i);

/* The message that i answers, in *parent; false for the root of a thread. i is an original. */
bool gen_parent(const struct gen_plan *plan, uint64_t i, uint64_t *parent);

/* The ancestors of i, root first, at most GEN_CHAIN_MAX (then the root and the last ones); returns their number. */
unsigned gen_chain(const struct gen_plan *plan, uint64_t i, uint64_t *out);

uint64_t gen_root(const struct gen_plan *plan, uint64_t i);
enum gen_profile gen_profile_of(const struct gen_plan *plan, uint64_t i);

/* Unix seconds of delivery: strictly increasing with i. */
int64_t gen_time(const struct gen_plan *plan, uint64_t i);

/* Folder 0 is the inbox and the largest; a thread stays in its folder, a duplicate stands in the next one. */
unsigned gen_folder(const struct gen_plan *plan, uint64_t i);

/* UTF-8, '/' between levels; folder 0 is "INBOX". */
void gen_folder_name(unsigned folder, struct buf *out);

/* Maildir's letters, sorted, "" for none ("RS"); *is_new: still in new/. */
void gen_flags(const struct gen_plan *plan, uint64_t i, char out[8], bool *is_new);

/* A charset for the thread that i belongs to. */
enum gen_charset gen_charset_of(const struct gen_plan *plan, uint64_t i);

/* "<...>" of an original. */
void gen_message_id(const struct gen_plan *plan, uint64_t i, struct buf *out);

/* The base subject of i's thread as raw words in gen_charset_of(). */
void gen_subject(const struct gen_plan *plan, uint64_t i, struct buf *out);

/* Author of message i, a person's number below GEN_PEOPLE; few people write most (Zipf). */
uint32_t gen_author(const struct gen_plan *plan, uint64_t i);
/* Any person, by the same distribution. */
uint32_t gen_person(struct gen_random *r);

/* local@domain of a person */
void gen_address(const struct gen_plan *plan, uint32_t person, struct buf *out);
/* "Name <local@domain>" in one of the usual spellings, always the same for one person. */
void gen_mailbox(const struct gen_plan *plan, uint32_t person, struct buf *out);

#endif
