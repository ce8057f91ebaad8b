/* privileges: the process becomes an ordinary user for good. */
#ifndef IMAP_PRIVILEGES_H
#define IMAP_PRIVILEGES_H

#include "base/error.h"

/*
 * user, group: names or numbers; NULL user: stays who it is, but gains nothing more (PR_SET_NO_NEW_PRIVS). A process
 * that is already that user and group may name them. Fails closed: on failure the process must end. No other thread may
 * live.
 */
int imap_privileges_drop(const char *user, const char *group, struct error *err);
/* Whether these are users and groups of this machine. Not beside another thread that asks for users. */
int imap_privileges_check(const char *user, const char *group, struct error *err);
/* As many descriptors as the system allows; the number. */
unsigned long imap_privileges_raise_descriptors(void);

#endif
