/*
 * mail_tree: real mail for suites that read Maildirs: every regular file of a tree (a Maildir, MH, a tree of .eml
 * files) becomes a message of a new Maildir of one folder, by hard links, or by copies where the tree is on another
 * file system. The tree is only read.
 */
#ifndef BENCH_MAIL_TREE_H
#define BENCH_MAIL_TREE_H

#include "base/error.h"

#include <stddef.h>

/* The first `most` files by path (0: all), empty ones and names that begin with a dot left out. BASE_ERR_NOTFOUND:
 * there is none. */
int mail_tree_make_maildir(const char *tree, size_t most, const char *maildir, struct error *err);

#endif
