/*
 * Cyrus as a side. Debian's package conflicts with Dovecot's, so it is unpacked beside (scripts/unpack-cyrus), and
 * found by MDS_BENCH_CYRUS; or it is installed. It keeps mail of its own: messages go in by APPEND, with the flags and
 * dates that the vault gives them, in the vault's order, so that UIDs are those of the others. Its imapd runs with -N,
 * which takes any login: passwords are not what is measured. As root it runs as nobody, as it never runs as root.
 */
#include "side.h"

#include "bench_items.h"
#include "bench_measure.h"
#include "certificate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define INSTALLED   "/usr/lib/cyrus/bin/imapd"
#define BATCH       200u /* messages of one APPEND, or */
#define BATCH_BYTES (8u << 20)

/* What was unpacked, or "" for the installed one; NULL: there is none. Owned by the caller. */
static char *find_root(void)
{
    const char *given = g_getenv("MDS_BENCH_CYRUS");
    char *root = given ? g_canonicalize_filename(given, NULL) : g_strdup(""),
         *imapd = g_strconcat(root, INSTALLED, NULL);
    if (access(imapd, X_OK) != 0)
        g_clear_pointer(&root, g_free);
    g_free(imapd);
    return root;
}

static int write_text(const char *file, char *text, struct error *err)
{
    GError *why = NULL;
    const int rc = g_file_set_contents(file, text, -1, &why) ? 0 : error_set(err, BASE_ERR_IO, 0, "%s", why->message);
    g_clear_error(&why);
    g_free(text);
    return rc;
}

/* Where it listens, and what it is for TLS; tls_port 0: nothing. */
struct listeners {
    unsigned port, tls_port;
    char *certificate, *key;
};

/* The key is the owner's alone, and Cyrus reads it as another: it gets a copy, which is given away with all else. */
static char *tls_settings(const struct listeners *at, const char *home)
{
    char *text = NULL, *key = g_build_filename(home, CERTIFICATE_KEY, NULL), *settings = NULL;
    gsize n = 0;
    if (at->tls_port != 0 && g_file_get_contents(at->key, &text, &n, NULL) &&
        g_file_set_contents_full(key, text, (gssize)n, G_FILE_SET_CONTENTS_NONE, 0600, NULL))
        settings = g_strdup_printf("tls_server_cert: %s\ntls_server_key: %s\n", at->certificate, key);
    g_free(key);
    g_free(text);
    return settings ? settings : g_strdup("");
}

static char *tls_service(const struct listeners *at, const char *root, const char *imapd)
{
    return at->tls_port == 0 ? g_strdup("")
                             : g_strdup_printf(" imaps cmd=\"%s" INSTALLED " -s -C %s -N\" listen=\"127.0.0.1:%u\" "
                                               "prefork=2 maxchild=5000\n",
                                               root, imapd, at->tls_port);
}

static int write_config(const char *root, const char *home, const struct listeners *at, struct error *err)
{
    const struct passwd *who = getpwnam("nobody");
    if (getuid() != 0 || !who)
        who = getpwuid(getuid());
    const struct group *group = who ? getgrgid(who->pw_gid) : NULL;
    if (!who || !group)
        return error_set(err, BASE_ERR_NOTFOUND, 0, "no name for the user or group that Cyrus would run as");
    char *imapd = g_build_filename(home, "imapd.conf", NULL), *master = g_build_filename(home, "cyrus.conf", NULL),
         *settings = NULL, *service = tls_service(at, root, imapd);
    static const char *const directories[] = {"conf/socket", "conf/proc", "conf/log", "conf/msg", "spool", "run/lock"};
    int rc = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(directories) && rc == 0; i++) {
        char *path = g_build_filename(home, directories[i], NULL);
        if (g_mkdir_with_parents(path, 0755) != 0)
            rc = error_errno(err, "cannot make %s", path);
        g_free(path);
    }
    settings = tls_settings(at, home);
    rc = rc ? rc
            : write_text(
                  imapd,
                  g_strdup_printf("configdirectory: %s/conf\npartition-default: %s/spool\ndefaultpartition: default\n"
                                  "cyrus_user: %s\ncyrus_group: %s\nadmins: cyrus\nunixhierarchysep: yes\n"
                                  "altnamespace: yes\nallowplaintext: yes\nsasl_mech_list: PLAIN\n"
                                  "mboxname_lockpath: %s/run/lock\nproc_path: %s/conf/proc\n"
                                  "statuscache: yes\nconversations: no\nsearch_engine: none\n%s",
                                  home, home, who->pw_name, group->gr_name, home, home, settings),
                  err);
    rc = rc ? rc
            : write_text(master,
                         g_strdup_printf("START {\n recover cmd=\"%s/usr/lib/cyrus/bin/ctl_cyrusdb -C %s -r\"\n}\n"
                                         "SERVICES {\n imap cmd=\"%s" INSTALLED " -C %s -N\" listen=\"127.0.0.1:%u\" "
                                         "prefork=2 maxchild=5000\n%s}\nEVENTS {\n}\n",
                                         root, imapd, root, imapd, at->port, service),
                         err);
    g_free(service);
    g_free(settings);
    g_free(master);
    g_free(imapd);
    return rc;
}

static int give_away(const char *home, struct error *err)
{
    char *copy = g_strdup(home);
    char *argv[] = {(char[]){"/bin/chown"}, (char[]){"-R"}, (char[]){"nobody:nogroup"}, copy, NULL};
    const int rc = getuid() == 0 ? bench_run_beside(argv, err) : 0;
    g_free(copy);
    return rc;
}

static int start_master(const char *root, const char *home, struct sockaddr_in address, struct side *side,
                        struct error *err)
{
    char *libraries =
        g_strdup_printf("LD_LIBRARY_PATH=%s/usr/lib/x86_64-linux-gnu:%s/usr/lib/aarch64-linux-gnu", root, root);
    char *imapd = g_build_filename(home, "imapd.conf", NULL), *services = g_build_filename(home, "cyrus.conf", NULL),
         *pid = g_build_filename(home, "run", "master.pid", NULL),
         *master = g_strconcat(root, "/usr/lib/cyrus/bin/master", NULL);
    char *argv[] = {
        (char[]){"/usr/bin/env"}, libraries, master, (char[]){"-D"}, (char[]){"-C"}, imapd, (char[]){"-M"}, services,
        (char[]){"-p"},           pid,       NULL};
    const int rc = bench_server_spawn(argv, address, &side->server, err);
    g_free(master);
    g_free(pid);
    g_free(services);
    g_free(imapd);
    g_free(libraries);
    return rc;
}

/* ---- mail ------------------------------------------------------------------------------------------------- */

/* "(\Seen \Answered) "01-Jan-2004 00:00:00 +0000"" of a Maildir's file. */
static char *attributes_of(const char *name, time_t when)
{
    static const struct {
        char letter;
        const char *flag;
    } flags[] = {{'D', "\\Draft"}, {'F', "\\Flagged"}, {'R', "\\Answered"}, {'S', "\\Seen"}, {'T', "\\Deleted"}};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const char *letters = strstr(name, ":2,");
    GString *out = g_string_new("(");
    struct tm t;
    gmtime_r(&when, &t);
    for (size_t i = 0; letters && i < G_N_ELEMENTS(flags); i++)
        if (strchr(letters + 3, flags[i].letter))
            g_string_append_printf(out, "%s%s", out->len > 1 ? " " : "", flags[i].flag);
    g_string_append_printf(out, ") \"%02d-%s-%04d %02d:%02d:%02d +0000\"", t.tm_mday, months[t.tm_mon],
                           t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
    return g_string_free(out, FALSE);
}

/* ".Lists.usb/cur/x" is in "Lists/usb", "cur/x" in INBOX. */
static char *folder_of(const char *name)
{
    if (name[0] != '.')
        return g_strdup("INBOX");
    char *folder = g_strndup(name + 1, strcspn(name, "/") - 1);
    for (char *at = folder; *at; at++)
        if (*at == '.')
            *at = '/';
    return folder;
}

static void put_with_crlf(const char *text, size_t n, GString *out)
{
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r'))
            g_string_append_c(out, '\r');
        g_string_append_c(out, text[i]);
    }
}

/* One command for many messages of a folder (MULTIAPPEND): one commit of theirs. */
struct batch {
    struct net_client *client;
    char *folder;
    GString *command, *message;
    unsigned n;
};

static int batch_send(struct batch *b, struct error *err)
{
    const int rc = b->n > 0 ? net_ask_bytes(b->client, b->command->str, b->command->len, err) : 0;
    b->n = 0;
    return rc;
}

static int batch_add(struct batch *b, const struct bench_items *items, size_t i, struct error *err)
{
    const char *name = bench_items_name(items, i);
    char *path = g_build_filename(items->root, name, NULL), *text = NULL;
    gsize n = 0;
    struct stat st;
    int rc = 0;
    if (stat(path, &st) != 0 || !g_file_get_contents(path, &text, &n, NULL))
        rc = error_errno(err, "cannot read %s", path);
    if (rc == 0) {
        char *attributes = attributes_of(name, st.st_mtime);
        if (b->n++ == 0)
            g_string_printf(b->command, "APPEND \"%s\"", b->folder);
        g_string_truncate(b->message, 0);
        put_with_crlf(text, n, b->message);
        g_string_append_printf(b->command, " %s {%zu+}\r\n", attributes, b->message->len);
        g_string_append_len(b->command, b->message->str, (gssize)b->message->len);
        g_free(attributes);
    }
    if (rc == 0 && (b->n >= BATCH || b->command->len > BATCH_BYTES))
        rc = batch_send(b, err);
    g_free(text);
    g_free(path);
    return rc;
}

/* Sends what is there for the last folder, and makes the next one. */
static int batch_turn(struct batch *b, char *folder, struct error *err)
{
    char line[512];
    int rc = batch_send(b, err);
    g_free(b->folder);
    b->folder = folder;
    g_snprintf(line, sizeof line, "CREATE \"%s\"", folder);
    return rc || strcmp(folder, "INBOX") == 0 ? rc : net_ask(b->client, line, NULL, err);
}

/* Folder by folder, the oldest first, whether in new/ or in cur/: the order of UIDs elsewhere. */
static gint compare_items(gconstpointer a, gconstpointer b, gpointer arg)
{
    const struct bench_items *items = arg;
    const char *x = bench_items_name(items, *(const size_t *)a), *y = bench_items_name(items, *(const size_t *)b);
    const size_t x_n = x[0] == '.' ? strcspn(x, "/") : 0, y_n = y[0] == '.' ? strcspn(y, "/") : 0;
    const int folders = memcmp(x, y, MIN(x_n, y_n));
    if (folders != 0 || x_n != y_n)
        return folders != 0 ? folders : x_n < y_n ? -1 : 1;
    return strcmp(strrchr(x, '/'), strrchr(y, '/'));
}

static size_t *order_of(const struct bench_items *items)
{
    size_t *order = g_new(size_t, items->count + 1);
    for (size_t i = 0; i < items->count; i++)
        order[i] = i;
    g_qsort_with_data(order, (gint)items->count, sizeof *order, compare_items, (void *)(uintptr_t)items);
    return order;
}

static int append_all(const struct side_place *place, struct net_client *c, struct error *err)
{
    struct bench_items items = {0};
    struct batch batch = {
        .client = c, .folder = g_strdup("INBOX"), .command = g_string_new(NULL), .message = g_string_new(NULL)};
    int rc = bench_items_load(place->vault, &items, err);
    size_t *order = order_of(&items);
    const gint64 began = g_get_monotonic_time();
    for (size_t k = 0; rc == 0 && k < items.count; k++) {
        const size_t i = order[k];
        const double s = (double)(g_get_monotonic_time() - began) / 1e6;
        if (place->patience_s > 0 && s > place->patience_s) {
            rc = error_set(err, BASE_ERR_CANCELLED, 0, "%zu of %zu messages were filed in %d s", k, items.count,
                           place->patience_s);
            break;
        }
        char *folder = folder_of(bench_items_name(&items, i));
        if (strcmp(folder, batch.folder) != 0)
            rc = batch_turn(&batch, folder, err);
        else
            g_free(folder);
        rc = rc ? rc : batch_add(&batch, &items, i, err);
    }
    rc = rc ? rc : batch_send(&batch, err);
    g_string_free(batch.message, TRUE);
    g_string_free(batch.command, TRUE);
    g_free(batch.folder);
    g_free(order);
    bench_items_release(&items);
    return rc;
}

static struct net_client *dial(const struct side *side, const char *user, struct error *err)
{
    struct net_target target = side->target;
    target.user = user;
    struct net_client *c = net_dial(&target, NULL, err);
    if (c && net_log_in(c, &target, err) != 0)
        net_close(&c);
    return c;
}

/* What it says of itself: * ID ("name" "Cyrus IMAPD" "version" "3.6.1..." ...). */
static char *ask_version(struct net_client *c)
{
    static const char key[] = "\"version\" \"";
    char line[400];
    if (net_ask_line(c, "ID NIL", "* ID", sizeof line, line, NULL, NULL) != 0)
        return NULL;
    const char *at = strstr(line, key);
    return at ? g_strndup(at + strlen(key), strcspn(at + strlen(key), "\"")) : NULL;
}

static int fill(const struct side_place *place, struct side *side, struct error *err)
{
    struct net_client *admin = dial(side, "cyrus", err), *user = NULL;
    int rc = admin ? net_ask(admin, "CREATE user/" SIDE_USER, NULL, err) : BASE_ERR_IO;
    if (rc == 0) {
        side->version = ask_version(admin);
        user = dial(side, SIDE_USER, err);
    }
    rc = rc ? rc : user ? append_all(place, user, err) : BASE_ERR_IO;
    net_close(&user);
    net_close(&admin);
    return rc;
}

/* ---- */

static int start(const struct side_place *place, const char *root, const char *home, struct side *side,
                 struct error *err)
{
    struct sockaddr_in address, tls = {0};
    struct listeners at = {0};
    side->has_tls = side_certificate(place, &at.certificate, &at.key);
    int rc = bench_free_address(&address, err);
    if (rc == 0 && side->has_tls)
        rc = bench_free_address(&tls, err);
    if (rc == 0) {
        at.port = ntohs(address.sin_port);
        at.tls_port = ntohs(tls.sin_port);
        rc = write_config(root, home, &at, err);
    }
    rc = rc ? rc : give_away(home, err);
    rc = rc ? rc : start_master(root, home, address, side, err);
    side->target = (struct net_target){.address = address, .user = SIDE_USER, .password = SIDE_PASSWORD};
    side->tls = side->target;
    side->tls.address = tls;
    side->tls.mode = NET_TLS;
    const gint64 began = g_get_monotonic_time();
    rc = rc ? rc : fill(place, side, err);
    side->prepared_s = (double)(g_get_monotonic_time() - began) / 1e6;
    side->prepared_cpu_s = bench_tree_look(side->server.pid).cpu_s;
    char *conf = g_build_filename(home, "spool", NULL);
    side->disk_bytes = bench_disk_bytes(conf); /* the mail too: it keeps its own */
    g_free(conf);
    g_free(at.certificate);
    g_free(at.key);
    return rc;
}

void side_cyrus_start(const struct side_place *place, struct side *side)
{
    char *root = find_root();
    side->name = "cyrus";
    if (!root) {
        side->note = g_strdup("not there: scripts/unpack-cyrus DIR, then MDS_BENCH_CYRUS=DIR");
        return;
    }
    (void)chmod(place->work, 0755); /* nobody has to pass */
    side->note = side_unreachable(place->work);
    if (side->note) {
        g_free(root);
        return;
    }
    char *home = g_build_filename(place->work, side->name, NULL);
    struct error why = {0};
    const int rc = start(place, root, home, side, &why);
    if (rc != 0) { /* a peer's trouble ends no run */
        side->note = g_strdup(why.text);
        bench_server_stop(&side->server);
    }
    g_free(home);
    g_free(root);
}
