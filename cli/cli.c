/*
 * What the subcommands share: options, messages, signals.
 */
#include "cli.h"

#include <signal.h>
#include <stdarg.h>
#include <string.h>

static volatile int cancel_flag; /* written by the signal handler only */

int cli_options(int *argc, char ***argv, const GOptionEntry *entries, const char *params, const char *summary,
                const char *description)
{
    /* g_option_context_parse shows g_get_prgname() in its usage line: "mds build". */
    char *name = g_strdup_printf("mds %s", (*argv)[0]);
    g_set_prgname(name);
    GOptionContext *context = g_option_context_new(params);
    GError *error = NULL;
    int rc = -1;
    g_option_context_set_summary(context, summary);
    if (description)
        g_option_context_set_description(context, description);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, argc, argv, &error)) {
        rc = cli_usage("%s; see %s --help", error->message, name);
        g_clear_error(&error);
    }
    g_option_context_free(context);
    g_free(name);
    if (rc < 0 && *argc > 1 && strcmp((*argv)[1], "--") == 0) {
        memmove(&(*argv)[1], &(*argv)[2], (size_t)(*argc - 1) * sizeof **argv); /* with the NULL at the end */
        (*argc)--;
    }
    return rc;
}

__attribute__((format(printf, 1, 0))) static void print_line(const char *fmt, va_list args)
{
    char text[1024];
    vsnprintf(text, sizeof text, fmt, args);
    const char *name = g_get_prgname();
    fprintf(stderr, "%s%s: %s\n", name && strncmp(name, "mds", 3) == 0 ? "" : "mds ", name ? name : "mds", text);
}

int cli_usage(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    print_line(fmt, args);
    va_end(args);
    return CLI_USAGE;
}

void cli_note(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    print_line(fmt, args);
    va_end(args);
}

int cli_fail(const struct error *err)
{
    cli_note("%s", err->text);
    return err->code == BASE_ERR_USAGE || err->code == BASE_ERR_SYNTAX ? CLI_USAGE : CLI_ENVIRONMENT;
}

static void on_signal(int sig)
{
    cancel_flag = 1;
    signal(sig, SIG_DFL); /* async-signal-safe; the next one kills */
}

const volatile int *cli_cancel_on_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return &cancel_flag;
}
