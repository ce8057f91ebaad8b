/* side: what all have in common, and this project's own. */
#include "side.h"

#include "bench_build.h"
#include "certificate.h"
#include "machine.h"
#include "mds/query.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESCRIPTORS_ELSEWHERE 1000 /* of a server, for what is no connection */
#define CONNECTIONS_MAX       200000

int side_mds_build(const struct side_place *place, char *store, struct side *side, struct error *err)
{
    char *from = g_strdup_printf("%s:%s", place->has_folders ? "maildir++" : "maildir", place->vault);
    struct bench_cost cost;
    struct mdsq_store *open = NULL;
    struct mdsq_error why = {0};
    const int rc = bench_build(place->mds, store, from, place->jobs, &cost, err);
    g_free(from);
    if (rc != 0)
        return rc;
    side->prepared_s = cost.wall_s;
    side->prepared_cpu_s = cost.user_s + cost.system_s;
    side->prepared_peak_bytes = cost.peak_bytes;
    side->disk_bytes = bench_disk_bytes(store);
    int got = mdsq_store_open(store, MDSQ_STORE_WRITE, &open, &why);
    got = got < 0 ? got : mdsq_user_add(open, SIDE_USER, SIDE_PASSWORD, "bench", false, &why);
    mdsq_store_close(&open);
    return got < 0 ? error_set(err, BASE_ERR_IO, 0, "%s: %s", store, why.text) : 0;
}

int side_mds_index(const struct side_place *place, char *store, struct side *side, struct error *err)
{
    char jobs[24];
    g_snprintf(jobs, sizeof jobs, "--jobs=%d", place->jobs);
    char *help[] = {place->mds, (char[]){"index"}, (char[]){"--help"}, NULL};
    char *argv[] = {place->mds,
                    (char[]){"index"},
                    (char[]){"--store"},
                    store,
                    (char[]){"--archive"},
                    (char[]){"bench"},
                    (char[]){"--text"},
                    (char[]){"--progress"},
                    (char[]){"none"},
                    place->jobs > 0 ? jobs : NULL,
                    NULL};
    struct bench_cost cost;
    char *said = NULL;
    gint status = 0;
    const bool ran = g_spawn_sync(NULL, help, NULL, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, &said, NULL, &status, NULL);
    const bool knows = ran && status == 0;
    g_free(said);
    if (!knows) {
        side->note = g_strdup("this mds has no `index --text`");
        return 0;
    }
    const int rc = bench_run_program(argv, NULL, &cost, err);
    if (rc == 0 && cost.status > 1)
        return error_set(err, BASE_ERR_IO, 0, "mds index ended with status %d", cost.status);
    side->prepared_s += cost.wall_s;
    side->prepared_cpu_s += cost.user_s + cost.system_s;
    side->prepared_peak_bytes = MAX(side->prepared_peak_bytes, cost.peak_bytes);
    side->disk_bytes = bench_disk_bytes(store);
    return rc;
}

bool side_certificate(const struct side_place *place, char **file_out, char **key_out)
{
    char *file = g_build_filename(place->work, CERTIFICATE_FILE, NULL),
         *key = g_build_filename(place->work, CERTIFICATE_KEY, NULL);
    struct error why = {0};
    const bool there = access(file, R_OK) == 0 || certificate_make(place->work, &why) == 0;
    if (there) {
        *file_out = file;
        *key_out = key;
    } else {
        fprintf(stderr, "mds-bench: nothing over TLS: %s\n", why.text);
        g_free(file);
        g_free(key);
    }
    return there;
}

uint64_t side_mds_connections(void)
{
    const uint64_t limit = bench_raise_descriptors();
    return limit > 2 * DESCRIPTORS_ELSEWHERE ? MIN(limit - DESCRIPTORS_ELSEWHERE, (uint64_t)CONNECTIONS_MAX)
                                             : limit / 2;
}

/* The plain listener is the first. False: without TLS. */
static bool write_config(const struct side_place *place, const char *store, const char *config)
{
    char *file = NULL, *key = NULL;
    if (!side_certificate(place, &file, &key))
        return false;
    char *whole = g_canonicalize_filename(store, NULL);
    char *text = g_strdup_printf("[store]\npath = %s\n[certificate bench]\ncertificate = %s\nkey = %s\n"
                                 "[listener plain]\naddress = 127.0.0.1:0\nmode = plain\n"
                                 "[listener tls]\naddress = 127.0.0.1:0\nmode = tls\ncertificates = bench\n"
                                 "[limits]\nconnections = %d\n[search]\nindex = %s\n[log]\nlevel = warn\n",
                                 whole, file, key, (int)side_mds_connections(), place->as_built ? "false" : "true");
    const bool written = g_file_set_contents(config, text, -1, NULL);
    g_free(text);
    g_free(whole);
    g_free(key);
    g_free(file);
    return written;
}

int side_mds_start(const struct side_place *place, char *store, struct side *side, struct error *err)
{
    struct sockaddr_in addresses[2];
    char *config = g_strconcat(store, ".conf", NULL);
    side->has_tls = write_config(place, store, config);
    side->version = machine_version(place->mds, (char[]){"--version"});
    const int rc = side->has_tls ? bench_server_start_configured(place->mds, config, addresses, 2, &side->server, err)
                                 : bench_server_start(place->mds, store, NULL, &side->server, err);
    side->target = (struct net_target){.address = side->server.address, .user = SIDE_USER, .password = SIDE_PASSWORD};
    if (rc == 0 && side->has_tls) {
        side->tls = side->target;
        side->tls.address = addresses[1];
        side->tls.mode = NET_TLS;
    }
    g_free(config);
    return rc;
}

void side_mds_tls(const struct side *of, struct side *side)
{
    *side = *of;
    side->name = "mds-tls";
    side->target = of->tls;
    side->shares_server = true;
    side->version = g_strdup(of->version);
    side->note = NULL;
}

char *side_unreachable(const char *dir)
{
    char *at = g_canonicalize_filename(dir, NULL), *note = NULL;
    while (getuid() == 0 && !note && strcmp(at, "/") != 0) {
        struct stat st;
        char *parent = g_path_get_dirname(at);
        if (stat(at, &st) == 0 && !(st.st_mode & S_IXOTH))
            note = g_strdup_printf("runs as nobody, who may not enter %s", at);
        g_free(at);
        at = parent;
    }
    g_free(at);
    return note;
}

void side_stop(struct side *side)
{
    if (!side->shares_server)
        bench_server_stop(&side->server);
    g_free(side->version);
    g_free(side->note);
    side->version = side->note = NULL;
}

json_t *side_json(const struct side *side)
{
    json_t *out = json_pack("{s:s,s:s?,s:s?}", "name", side->name, "version", side->version, "note", side->note);
    json_object_set_new(out, "prepared_s", json_real(side->prepared_s));
    json_object_set_new(out, "prepared_cpu_s", json_real(side->prepared_cpu_s));
    json_object_set_new(out, "disk_bytes", json_integer((json_int_t)side->disk_bytes));
    return out;
}
