/*
 * Dovecot as a side. It renames files of a Maildir (new/ to cur/, flags), so it gets a copy whose files are hard links;
 * lists of UIDs and indexes stand outside of it. As root its mail processes run as nobody, because Dovecot serves no
 * mail as root.
 */
#include "side.h"

#include "bench_items.h"
#include "bench_measure.h"
#include "machine.h"

#include <fts.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DOVECOT "/usr/sbin/dovecot"
#define PLUGIN  "/usr/lib/dovecot/modules/lib21_fts_xapian_plugin.so"

struct identity {
    uid_t uid;
    gid_t gid;
};

static struct identity mail_identity(void)
{
    struct identity who = {getuid(), getgid()};
    const struct passwd *nobody = who.uid == 0 ? getpwnam("nobody") : NULL;
    if (nobody)
        who = (struct identity){nobody->pw_uid, nobody->pw_gid};
    return who;
}

/* Directories only: a file's owner is the owner of all its links. */
static int give_directories(const char *dir, struct identity who, struct error *err)
{
    char *paths[] = {g_strdup(dir), NULL};
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    int rc = 0;
    for (FTSENT *e; rc == 0 && tree && (e = fts_read(tree));)
        if (e->fts_info == FTS_D && chown(e->fts_accpath, who.uid, who.gid) != 0)
            rc = error_errno(err, "cannot give %s away", e->fts_path);
    if (tree)
        fts_close(tree);
    g_free(paths[0]);
    return rc;
}

static int make_directories(const char *home, struct error *err)
{
    static const char *const names[] = {"mail/cur", "mail/new", "mail/tmp", "index", "control", "run", "state"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        char *path = g_build_filename(home, names[i], NULL);
        const int failed = g_mkdir_with_parents(path, 0755);
        if (failed)
            error_errno(err, "cannot make %s", path);
        g_free(path);
        if (failed)
            return BASE_ERR_IO;
    }
    return 0;
}

static int copy_vault(const struct side_place *place, const char *home, struct error *err)
{
    char *mail = g_build_filename(home, "mail", NULL);
    struct bench_items items = {0};
    int rc = bench_items_load(place->vault, &items, err);
    rc = rc ? rc : bench_items_link(&items, items.count, mail, err);
    bench_items_release(&items);
    g_free(mail);
    return rc;
}

/* Where it listens, and what it is for TLS; tls_port 0: nothing. */
struct listeners {
    in_port_t port, tls_port;
    char *certificate, *key;
};

static int write_config(const char *home, const char *file, enum side_kind kind, const struct listeners *at,
                        struct identity who, struct error *err)
{
    static const char fts[] = "mail_plugins = fts fts_xapian\n"
                              "plugin {\n  fts = xapian\n  fts_xapian = partial=3 full=20 verbose=0\n"
                              "  fts_autoindex = no\n  fts_enforced = yes\n}\n";
    GString *text = g_string_new(NULL);
    const struct passwd *me = getpwuid(getuid());
    if (getuid() != 0 && me)
        g_string_append_printf(text, "default_login_user = %s\ndefault_internal_user = %s\n", me->pw_name, me->pw_name);
    g_string_append_printf(
        text,
        "protocols = imap\nlisten = 127.0.0.1\nbase_dir = %s/run\nstate_dir = %s/state\nlog_path = %s/log\n"
        "disable_plaintext_auth = no\nauth_mechanisms = plain login\n"
        "passdb {\n  driver = static\n  args = password=%s\n}\n"
        "userdb {\n  driver = static\n  args = uid=%u gid=%u home=%s\n}\n"
        "first_valid_uid = 1\nfirst_valid_gid = 1\n"
        "mail_always_cache_fields = flags date.sent date.received date.save size.virtual size.physical mime.parts "
        "imap.envelope imap.body imap.bodystructure hdr.from hdr.to hdr.cc hdr.subject hdr.date hdr.message-id "
        "hdr.references hdr.in-reply-to hdr.content-type\n"
        "mail_location = maildir:%s/mail:INDEX=%s/index:CONTROL=%s/control\nmail_max_userip_connections = 100000\n"
        "default_process_limit = 5000\ndefault_client_limit = 20000\ndefault_vsz_limit = 4G\n"
        "service imap-login {\n  chroot =\n  service_count = 0\n  inet_listener imap {\n    port = %u\n  }\n"
        "  inet_listener imaps {\n    port = %u\n    ssl = yes\n  }\n}\n"
        "service imap {\n  process_limit = 5000\n}\nservice anvil {\n  chroot =\n}\nservice stats {\n  chroot =\n}\n%s",
        home, home, home, SIDE_PASSWORD, (unsigned)who.uid, (unsigned)who.gid, home, home, home, home,
        (unsigned)at->port, (unsigned)at->tls_port, kind == SIDE_FTS ? fts : "");
    if (at->tls_port != 0)
        g_string_append_printf(text, "ssl = yes\nssl_cert = <%s\nssl_key = <%s\n", at->certificate, at->key);
    else
        g_string_append(text, "ssl = no\n");
    GError *why = NULL;
    const int rc =
        g_file_set_contents(file, text->str, -1, &why) ? 0 : error_set(err, BASE_ERR_IO, 0, "%s", why->message);
    g_clear_error(&why);
    g_string_free(text, TRUE);
    return rc;
}

/* `doveadm index` of every folder: the cache of what clients want, and the full-text index where there is a plugin. */
static int make_index(char *config, const char *home, int patience_s, struct side *side, struct error *err)
{
    char *argv[] = {(char[]){"/usr/bin/doveadm"}, (char[]){"-c"}, config, (char[]){"index"}, (char[]){"-u"},
                    (char[]){SIDE_USER},          (char[]){"*"},  NULL};
    struct bench_cost cost;
    struct error why = {0};
    const int rc = bench_run_beside_cost(argv, patience_s, &cost, &why);
    if (rc == BASE_ERR_CANCELLED) {
        side->note = g_strdup_printf("doveadm index: %s", why.text);
        return 0;
    }
    if (rc != 0)
        return error_set(err, rc, 0, "%s", why.text);
    if (cost.status != 0)
        return error_set(err, BASE_ERR_IO, 0, "doveadm index ended with status %d (%s/log)", cost.status, home);
    char *index = g_build_filename(home, "index", NULL);
    side->prepared_s = cost.wall_s;
    side->prepared_cpu_s = cost.user_s + cost.system_s;
    side->prepared_peak_bytes = cost.peak_bytes;
    side->disk_bytes = bench_disk_bytes(index);
    g_free(index);
    return 0;
}

static int start(const struct side_place *place, enum side_kind kind, const char *home, struct side *side,
                 struct error *err)
{
    const struct identity who = mail_identity();
    char *config = g_build_filename(home, "dovecot.conf", NULL);
    char *argv[] = {(char[]){DOVECOT}, (char[]){"-F"}, (char[]){"-c"}, config, NULL};
    struct sockaddr_in address, tls = {0};
    struct listeners at = {0};
    side->has_tls = side_certificate(place, &at.certificate, &at.key);
    int rc = make_directories(home, err);
    rc = rc ? rc : copy_vault(place, home, err);
    rc = rc ? rc : give_directories(home, who, err);
    rc = rc ? rc : bench_free_address(&address, err);
    if (rc == 0 && side->has_tls)
        rc = bench_free_address(&tls, err);
    if (rc == 0) {
        at.port = ntohs(address.sin_port);
        at.tls_port = ntohs(tls.sin_port);
        rc = write_config(home, config, kind, &at, who, err);
    }
    rc = rc ? rc : bench_server_spawn(argv, address, &side->server, err);
    side->target = (struct net_target){.address = address, .user = SIDE_USER, .password = SIDE_PASSWORD};
    side->tls = side->target;
    side->tls.address = tls;
    side->tls.mode = NET_TLS;
    rc = rc ? rc : make_index(config, home, place->patience_s, side, err);
    g_free(at.certificate);
    g_free(at.key);
    g_free(config);
    return rc;
}

int side_dovecot_start(const struct side_place *place, enum side_kind kind, struct side *side, struct error *err)
{
    side->name = kind == SIDE_FTS ? "dovecot-fts" : "dovecot";
    if (access(DOVECOT, X_OK) != 0) {
        side->note = g_strdup("not installed: dovecot-imapd");
        return 0;
    }
    if (kind == SIDE_FTS && access(PLUGIN, R_OK) != 0) {
        side->note = g_strdup("not installed: dovecot-fts-xapian");
        return 0;
    }
    side->version = machine_version((char[]){DOVECOT}, (char[]){"--version"});
    (void)chmod(place->work, 0755); /* nobody has to pass */
    side->note = side_unreachable(place->work);
    if (side->note)
        return 0;
    char *home = g_build_filename(place->work, side->name, NULL);
    const int rc = start(place, kind, home, side, err);
    if (rc != 0 || side->note)
        bench_server_stop(&side->server);
    g_free(home);
    return rc;
}
