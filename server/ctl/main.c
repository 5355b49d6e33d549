/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunette: the command line of a Lunette target.
 *
 * Online commands ask the server that holds the pool, through its management socket; offline ones
 * (pool create, and those given --pool) open the pool themselves, which a running server prevents.
 */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/ctl/ctl.h"
#include "server/ctl/hint.h"
#include "server/mgmt/proto.h"

/* "lunette", "lunette --help", "lunette -h", "lunette --version" have no command. */
static bool main_without_command(int argc, const char **argv, enum ctl_exit *status)
{
    *status = CTL_DONE;
    if (argc == 1)
    {
        command_print_overview(stderr, "");
        *status = CTL_USAGE;
        return true;
    }
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
    {
        command_print_overview(stdout, "");
        return true;
    }
    if (argc == 2 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0))
    {
        printf("lunette %s\n", LUNETTE_VERSION);
        return true;
    }
    return false;
}

/* Also where the command line is not understood. */
static bool main_wants_json(int argc, const char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "-json") == 0 ||
            strcmp(argv[i], "-j") == 0)
            return true;
    return false;
}

/* Commands that are told are for the server that was named, unless they find it by themselves. */
static void main_set_socket(const struct invocation *in)
{
    const char *named = option_text(in, "socket");
    AUTO_FREE char *usual = client_default_socket();
    if (named && usual && strcmp(named, usual) != 0)
        hint_set_socket(named);
}

static enum ctl_exit main_run_command(struct invocation *in)
{
    main_set_socket(in);
    if (option_flag(in, "json"))
        ctl_errors_as_json();
    if (!option_flag(in, "help"))
    {
        enum ctl_exit status = in->command->run(in);
        return status == CTL_EXISTS ? CTL_DONE : status;
    }
    if (!option_flag(in, "json"))
        command_print_help(stdout, in->command);
    else
        command_print_help_json(stdout, in->command);
    return CTL_DONE;
}

/* "lunette lun --help": the words are a family's, which help lists. */
static bool main_helps_family(int argc, const char **argv, enum ctl_exit *status)
{
    bool asks = false;
    AUTO_FREE char **words = calloc((size_t)argc, sizeof(*words));
    struct invocation in = {.args = words};
    for (int i = 1; words && i < argc; i++)
    {
        asks |= strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
        if (argv[i][0] != '-' || strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "-j") == 0)
            words[in.arg_count++] = (char *)argv[i];
    }
    if (asks)
        *status = ctl_help(&in);
    return asks;
}

static enum ctl_exit main_run(int argc, const char **argv)
{
    enum ctl_exit status;
    struct invocation in;
    struct reason why = {.text = ""};
    if (main_without_command(argc, argv, &status))
        return status;
    if (main_wants_json(argc, argv))
        ctl_errors_as_json();
    /* Not through popt: what is being completed or explained is no command line yet. */
    int used;
    const struct command *command = command_find(argc - 1, argv + 1, &used);
    if (command && (command->run == ctl_complete || command->run == ctl_help))
    {
        in = (struct invocation){.command = command,
                                 .args = (char **)argv + 1 + used,
                                 .arg_count = (size_t)(argc - 1 - used)};
        return command->run(&in);
    }
    int r = command_parse(argc - 1, argv + 1, &in, &why);
    if (r == -ENOMEM && in.command)
        status = ctl_no_memory(&in);
    else if (r == 0)
        status = main_run_command(&in);
    else if (in.command || !main_helps_family(argc, argv, &status))
        status = ctl_usage(&in, why.text);
    invocation_destroy(&in);
    return status;
}

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    setlocale(LC_NUMERIC, "C");
    signal(SIGPIPE, SIG_IGN);
    ctl_log_to_notes();
    proto_wipe_json();
    enum ctl_exit status = main_run(argc, (const char **)argv);
    /* An answer that could not be written was not given. */
    if (fflush(stdout) != 0 || ferror(stdout))
    {
        ctl_note("cannot write the answer to standard output");
        return status == CTL_DONE ? CTL_REFUSED : (int)status;
    }
    return (int)status;
}
