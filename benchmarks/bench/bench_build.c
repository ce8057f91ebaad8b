/* bench_build: see bench_build.h. */
#include "bench_build.h"

#include <glib.h>
#include <jansson.h>
#include <unistd.h>

int bench_build(const char *mds, const char *store, const char *from, int jobs, struct bench_cost *out,
                struct error *err)
{
    char *program = g_strdup(mds), *into = g_strdup(store), *source = g_strdup(from),
         *workers = g_strdup_printf("--jobs=%d", jobs);
    char *argv[] = {program,
                    (char[]){"build"},
                    (char[]){"--store"},
                    into,
                    (char[]){"--archive"},
                    (char[]){"bench"},
                    (char[]){"--from"},
                    source,
                    (char[]){"--progress"},
                    (char[]){"none"},
                    jobs > 0 ? workers : NULL,
                    NULL};
    int rc = bench_run_program(argv, NULL, out, err);
    if (rc == 0 && out->status > 1)
        rc = error_set(err, BASE_ERR_IO, 0, "%s build ended with status %d", mds, out->status);
    g_free(workers);
    g_free(source);
    g_free(into);
    g_free(program);
    return rc;
}

int64_t bench_stored_messages(const char *mds, const char *store)
{
    char *program = g_strdup(mds), *in = g_strdup(store), *scratch = g_strconcat(store, ".stat", NULL);
    char *argv[] = {program,
                    (char[]){"stat"},
                    (char[]){"--store"},
                    in,
                    (char[]){"--archive"},
                    (char[]){"bench"},
                    (char[]){"--json"},
                    NULL};
    struct bench_cost cost;
    int64_t n = -1;
    if (bench_run_program(argv, scratch, &cost, NULL) == 0 && cost.status == 0) {
        json_t *root = json_load_file(scratch, 0, NULL);
        const json_t *value = json_object_get(root, "messages");
        n = json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
        json_decref(root);
    }
    unlink(scratch);
    g_free(scratch);
    g_free(in);
    g_free(program);
    return n;
}
