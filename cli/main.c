/*
 * `mds`: the table of subcommands. Everything else stands in cmd_<name>.c.
 */
#include "cli.h"

#include <locale.h>
#include <mds/query.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"build", cmd_build, "index vaults into an archive, or bring it up to date"},
    {"ls", cmd_ls, "list an archive's folders"},
    {"fetch", cmd_fetch, "fetch messages' items, as IMAP sends them"},
    {"index", cmd_index, "index the texts of an archive, so that searches are fast"},
    {"search", cmd_search, "search a folder with IMAP's keys"},
    {"explain", cmd_explain, "show one item's structure, offsets and defects"},
    {"stat", cmd_stat, "counters, bytes a table, bytes an item, defects"},
    {"dump", cmd_dump, "write the logical store as text"},
    {"verify", cmd_verify, "check the store, with --items against the vault"},
    {"archive", cmd_archive, "add, list, enable, disable and remove archives"},
    {"import", cmd_import, "copy existing stores of mail into an archive's own vault"},
    {"export", cmd_export, "write an archive out as Maildir, mbox or .eml files"},
    {"undelete", cmd_undelete, "bring back what was expunged"},
    {"compact", cmd_compact, "let go of what was expunged long ago, free its space"},
    {"backup", cmd_backup, "copy an archive while it is in use"},
    {"restore", cmd_restore, "put a backup in its place, in this store or another"},
    {"rebuild", cmd_rebuild, "make the store anew, keeping UIDs and flags"},
    {"serve", cmd_serve, "serve the store's archives over IMAP"},
    {"user", cmd_user, "add, list and remove logins, grant them archives"},
};

static void print_help(FILE *out)
{
    fputs("Usage: mds COMMAND [OPTION...]\n"
          "\n"
          "Makes archived mail browsable: builds a metadata store from existing vaults\n"
          "(Maildir, mbox, MH, .eml trees), which it reads in place, and serves it.\n"
          "\n"
          "Commands:\n",
          out);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
    fputs("\n"
          "  mds COMMAND --help   options of a command\n"
          "  mds --version        version\n"
          "\n"
          "Exit status: 0 done; 1 done with failed items or findings; 2 usage;\n"
          "3 environment (disk, lock, permission, corrupt store, interrupted).\n",
          out);
}

static const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    setlocale(LC_NUMERIC, "C"); /* JSON and dumps are for programs */
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("mds %d.%d\n", MDSQ_VERSION_MAJOR, MDSQ_VERSION_MINOR);
        return fflush(stdout) == 0 ? CLI_DONE : CLI_ENVIRONMENT;
    }
    bool help = strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0;
    if (help && argc == 2) {
        print_help(stdout);
        return fflush(stdout) == 0 ? CLI_DONE : CLI_ENVIRONMENT;
    }
    const struct command *command = command_find(help ? argv[2] : name);
    if (!command) {
        fprintf(stderr, "mds: no command '%s'; see mds --help\n", help ? argv[2] : name);
        return CLI_USAGE;
    }
    g_set_prgname(command->name);
    if (help) {
        char option[] = "--help";
        char *args[] = {argv[2], option, NULL};
        return command->run(2, args);
    }
    int status = command->run(argc - 1, argv + 1);
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == CLI_DONE) {
        fprintf(stderr, "mds %s: standard output could not be written\n", command->name);
        status = CLI_ENVIRONMENT;
    }
    return status;
}
