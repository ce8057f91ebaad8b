/*
 * mds stat: its owner replaces this file.
 */
#include "cli.h"

int cmd_stat(int argc, char **argv)
{
    (void)argc;
    cli_note("%s is not built yet", argv[0]);
    return CLI_ENVIRONMENT;
}
