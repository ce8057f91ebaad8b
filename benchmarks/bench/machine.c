/* machine: see machine.h. */
#include "machine.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

static char *cpu_model(void)
{
    char *text = NULL, *model = NULL;
    if (g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL)) {
        const char *at = strstr(text, "model name");
        at = at ? strchr(at, ':') : NULL;
        if (at)
            model = g_strstrip(g_strndup(at + 1, strcspn(at + 1, "\n")));
    }
    g_free(text);
    return model ? model : g_strdup("unknown");
}

static const char *file_system(const char *dir)
{
    static const struct {
        unsigned long magic;
        const char *name;
    } known[] = {{0xef53, "ext4"},      {0x58465342, "xfs"},       {0x9123683e, "btrfs"},
                 {0x01021994, "tmpfs"}, {0x794c7630, "overlayfs"}, {0x2fc12fc1, "zfs"}};
    struct statfs s;
    if (!dir || statfs(dir, &s) != 0)
        return "unknown";
    for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
        if ((unsigned long)s.f_type == known[i].magic)
            return known[i].name;
    return "unknown";
}

json_t *machine_json(const char *dir)
{
    struct utsname u;
    double load = 0;
    char *model = cpu_model(), *when;
    GDateTime *now = g_date_time_new_now_utc();
    uname(&u);
    (void)getloadavg(&load, 1);
    when = g_date_time_format_iso8601(now);
    json_t *out = json_pack("{s:s,s:i,s:s,s:s,s:I,s:f,s:s,s:s}", "cpu", model, "processors",
                            (int)g_get_num_processors(), "system", u.sysname, "kernel", u.release, "memory_bytes",
                            (json_int_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE), "load", load, "file_system",
                            file_system(dir), "time", when);
    g_date_time_unref(now);
    g_free(when);
    g_free(model);
    return out;
}

void machine_print(const json_t *machine)
{
    const char *cpu = json_string_value(json_object_get(machine, "cpu")),
               *kernel = json_string_value(json_object_get(machine, "kernel")),
               *fs = json_string_value(json_object_get(machine, "file_system"));
    printf("machine: %d x %s, Linux %s, %.1f GB, %s, load %.2f\n",
           (int)json_integer_value(json_object_get(machine, "processors")), cpu, kernel,
           (double)json_integer_value(json_object_get(machine, "memory_bytes")) / 1e9, fs,
           json_real_value(json_object_get(machine, "load")));
}

char *machine_version(char *program, char *option)
{
    char *argv[] = {program, option, NULL}, *text = NULL;
    gint status = 0;
    if (!g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, &text, NULL,
                      &status, NULL))
        return NULL;
    if (!text || !*text) {
        g_free(text);
        return NULL;
    }
    text[strcspn(text, "\n")] = 0;
    return text;
}

double machine_own_cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}
