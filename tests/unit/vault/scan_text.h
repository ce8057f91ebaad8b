/*
 * scan_text: a whole vault as text, for tables of expectations.
 *
 *     == INBOX                                   (or "== INBOX unreadable")
 *     1.a <S> {Junk} @0: Subject: x|||body|      line feeds as '|', other controls as '?'
 *
 * identity (mbox: "#"), flags as letters (R A F D T P: seen answered flagged deleted draft forwarded), keywords, date, content.
 * Each item is read three ways (mapped, whole, in small pieces from the end), which must agree.
 */
#ifndef SCAN_TEXT_H
#define SCAN_TEXT_H

#include "vault/vault.h"

/* Lives until the process ends. "ERR name: text" if the vault does not open. */
const char *scan_text(const char *spec_text);
const char *scan_spec_text(const struct vault_spec *spec);
/* Number passed over by the last scan_text, and the reason it gave. */
uint64_t scan_text_skipped(void);
const char *scan_text_reason(void);

#endif
