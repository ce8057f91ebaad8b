/* init: the library under us, and the room's static tables. */
#include "mime_private.h"

#include <gmime/gmime.h>

/*
 * What clients ask for in FETCH BODY[HEADER.FIELDS (...)] when they list a
 * folder: Thunderbird, Apple Mail, mutt, K-9, Roundcube, Alpine, mbsync,
 * imapsync. Fields of the envelope are kept too, as clients ask for them raw.
 * What is long, common and asked for only with an open message (Return-Path,
 * MIME-Version, User-Agent, Received ...) is left in the vault: it would cost a
 * tenth of the store.
 */
const char *const mime_default_headers[] = {
    "date",
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "subject",
    "message-id",
    "in-reply-to",
    "references",
    "content-type",
    "content-description",
    "content-disposition",
    "content-language",
    "content-class",
    "newsgroups",
    "followup-to",
    "lines",
    "priority",
    "x-priority",
    "importance",
    "x-msmail-priority",
    "sensitivity",
    "list-id",
    "list-post",
    "list-subscribe",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "mail-followup-to",
    "mail-reply-to",
    "resent-from",
    "resent-to",
    "resent-date",
    "x-original-to",
    "disposition-notification-to",
    "return-receipt-to",
    "x-label",
    "x-k9mail-identity",
    "x-keywords",
    "x-universally-unique-identifier",
    "x-uniform-type-identifier",
    "x-draft-info",
    NULL,
};

const struct mime_defect_info mime_defect_infos[] = {
#define X(bit, name, key, text) {bit, key, text},
    MIME_DEFECTS(X)
#undef X
        {0, NULL, NULL},
};

static void drop_message(const gchar *domain, GLogLevelFlags level, const gchar *message, gpointer arg)
{
    (void)domain;
    (void)level;
    (void)message;
    (void)arg;
}

void mime_init(void)
{
    static gsize once;
    if (!g_once_init_enter(&once))
        return;
    g_mime_init();
    /* A library does not print: what GMime finds odd in mail is a defect bit of ours. */
    g_log_set_handler("gmime", G_LOG_LEVEL_WARNING | G_LOG_LEVEL_MESSAGE | G_LOG_LEVEL_INFO | G_LOG_LEVEL_DEBUG,
                      drop_message, NULL);
    g_once_init_leave(&once, 1);
}
