/* commands: the table of commands. What is not in it does not exist. */
#include "cmd_change.h"

static const struct imap_row rows[] = {
    {"CAPABILITY", IMAP_STATES_ANY, 0, NULL, imap_cmd_capability, NULL},
    {"NOOP", IMAP_STATES_ANY, 0, NULL, imap_cmd_noop, NULL},
    {"LOGOUT", IMAP_STATES_ANY, 0, NULL, imap_cmd_logout, NULL},
    {"ID", IMAP_STATES_ANY, 0, imap_parse_id, imap_cmd_id, NULL},
    {"LOGIN", IMAP_STATE_NONAUTH, IMAP_ROW_SECRET, imap_parse_login, imap_cmd_login, imap_release_login},
    {"AUTHENTICATE", IMAP_STATE_NONAUTH, IMAP_ROW_SECRET, imap_parse_authenticate, imap_cmd_authenticate, imap_release_login},
    {"STARTTLS", IMAP_STATE_NONAUTH, 0, NULL, imap_cmd_starttls, NULL},
    {"COMPRESS", IMAP_STATES_AUTH, 0, imap_parse_compress, imap_cmd_compress, NULL},
    {"NAMESPACE", IMAP_STATES_AUTH, 0, NULL, imap_cmd_namespace, NULL},
    {"ENABLE", IMAP_STATES_AUTH, 0, imap_parse_enable, imap_cmd_enable, NULL},
    {"LIST", IMAP_STATES_AUTH, 0, imap_parse_list, imap_cmd_list, imap_release_list},
    {"LSUB", IMAP_STATES_AUTH, 0, imap_parse_lsub, imap_cmd_lsub, imap_release_list},
    {"NOTIFY", IMAP_STATES_AUTH, 0, imap_parse_notify, imap_cmd_notify, imap_release_notify},
    {"STATUS", IMAP_STATES_AUTH, 0, imap_parse_status, imap_cmd_status, NULL},
    {"SELECT", IMAP_STATES_AUTH, 0, imap_parse_select, imap_cmd_select, imap_release_select},
    {"EXAMINE", IMAP_STATES_AUTH, 0, imap_parse_select, imap_cmd_select, imap_release_select},
    {"CHECK", IMAP_STATE_SELECTED, 0, NULL, imap_cmd_noop, NULL},
    {"CLOSE", IMAP_STATE_SELECTED, 0, imap_parse_expunge, imap_cmd_expunge, imap_release_expunge},
    {"UNSELECT", IMAP_STATE_SELECTED, 0, NULL, imap_cmd_close, NULL},
    {"FETCH", IMAP_STATE_SELECTED, IMAP_ROW_NO_EXPUNGE | IMAP_ROW_UID, imap_parse_fetch, imap_cmd_fetch,
     imap_release_fetch},
    {"SEARCH", IMAP_STATE_SELECTED, IMAP_ROW_NO_EXPUNGE | IMAP_ROW_UID, imap_parse_search, imap_cmd_search,
     imap_release_search},
    {"SORT", IMAP_STATE_SELECTED, IMAP_ROW_NO_EXPUNGE | IMAP_ROW_UID, imap_parse_sort, imap_cmd_search, imap_release_search},
    {"THREAD", IMAP_STATE_SELECTED, IMAP_ROW_NO_EXPUNGE | IMAP_ROW_UID, imap_parse_thread, imap_cmd_thread,
     imap_release_thread},
    {"ESEARCH", IMAP_STATES_AUTH, IMAP_ROW_NO_EXPUNGE, imap_parse_esearch, imap_cmd_esearch, imap_release_esearch},
    {"CANCELUPDATE", IMAP_STATE_SELECTED, 0, imap_parse_cancelupdate, imap_cmd_cancelupdate, NULL},
    {"IDLE", IMAP_STATES_AUTH, 0, NULL, imap_cmd_idle, NULL},
    {"STORE", IMAP_STATE_SELECTED, IMAP_ROW_NO_EXPUNGE | IMAP_ROW_UID, imap_parse_store, imap_cmd_store, imap_release_store},
    {"COPY", IMAP_STATE_SELECTED, IMAP_ROW_UID, imap_parse_copy, imap_cmd_copy, imap_release_copy},
    {"MOVE", IMAP_STATE_SELECTED, IMAP_ROW_UID, imap_parse_copy, imap_cmd_copy, imap_release_copy},
    {"EXPUNGE", IMAP_STATE_SELECTED, IMAP_ROW_UID, imap_parse_expunge, imap_cmd_expunge, imap_release_expunge},
    {"APPEND", IMAP_STATES_AUTH, IMAP_ROW_STREAM, imap_parse_append, imap_cmd_append, imap_release_append},
    {"REPLACE", IMAP_STATE_SELECTED, IMAP_ROW_STREAM | IMAP_ROW_UID, imap_parse_replace, imap_cmd_append,
     imap_release_append},
    {"CREATE", IMAP_STATES_AUTH, 0, imap_parse_create, imap_cmd_create, NULL},
    {"DELETE", IMAP_STATES_AUTH, 0, imap_parse_folder, imap_cmd_delete, NULL},
    {"RENAME", IMAP_STATES_AUTH, 0, imap_parse_rename, imap_cmd_rename, NULL},
    {"SUBSCRIBE", IMAP_STATES_AUTH, 0, imap_parse_folder, imap_cmd_subscribe, NULL},
    {"UNSUBSCRIBE", IMAP_STATES_AUTH, 0, imap_parse_folder, imap_cmd_subscribe, NULL},
};

const struct imap_row *imap_row_find(struct bytes name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (bytes_equal_nocase(name, bytes_str(rows[i].name)))
            return &rows[i];
    return NULL;
}
