/* SPDX-License-Identifier: BSD-3-Clause */
/* Help, manual page and completion, all from the table of commands. */
#include <string.h>

#include "lun/base/checked.h"
#include "server/ctl/ctl.h"
#include "server/ctl/vocabulary.h"

enum
{
    HELP_WIDTH = 96
};

/* Prints @text in lines of at most HELP_WIDTH, each after @indent blanks. */
static void help_print_wrapped(FILE *file, const char *text, int indent, int at)
{
    while (*text)
    {
        int len = (int)strcspn(text, " ");
        if (at > indent && at + len + 1 > HELP_WIDTH)
        {
            fprintf(file, "\n%*s", indent, "");
            at = indent;
        }
        else if (at > indent)
        {
            fputc(' ', file);
            at++;
        }
        fprintf(file, "%.*s", len, text);
        at += len;
        text += len;
        text += strspn(text, " ");
    }
    fputc('\n', file);
}

static void help_print_option(FILE *file, const struct command_option *option)
{
    char text[64];
    int at = option->letter ? fprintf(file, "  -%c, ", option->letter) : fprintf(file, "      ");
    snprintf(text, sizeof(text), "--%s%s%s", option->name, option->value ? "=" : "",
             option->value ? option->value : "");
    at += fprintf(file, "%-24s", text);
    fputc(' ', file);
    help_print_wrapped(file, option->help, 31, at < 31 ? 31 : at);
}

static bool help_is_shown(const struct command *command)
{
    return command->words && !(command->flags & COMMAND_HIDDEN);
}

void command_print_help(FILE *file, const struct command *command)
{
    const struct command_option *options[COMMAND_OPTIONS_MAX];
    size_t count = command_all_options(command, options);
    fprintf(file, "usage: lunette %s [OPTION...]%s%s\n", command->words,
            *command->arguments ? " " : "", command->arguments);
    fprintf(file, "%c%s.\n", command->summary[0] - 'a' + 'A', command->summary + 1);
    if (command->details)
    {
        fputc('\n', file);
        help_print_wrapped(file, command->details, 0, 0);
    }
    fprintf(file, "\noptions:\n");
    for (size_t i = 0; i < count; i++)
        help_print_option(file, options[i]);
    vocabulary_print_help(file, command);
    for (const struct command_alias *alias = command_aliases; alias->words; alias++)
        if (strcmp(alias->target, command->words) == 0)
            fprintf(file, "\nalso written: lunette %s", alias->words);
    fprintf(file, "\nexample:\n");
    for (const char *at = command->example; *at;)
    {
        int len = (int)strcspn(at, "\n");
        fprintf(file, "  %.*s\n", len, at);
        at += len;
        at += *at == '\n';
    }
}

void command_print_overview(FILE *file, const char *prefix)
{
    size_t len = strlen(prefix);
    fprintf(file, "usage: lunette COMMAND [OPTION...] [ARGUMENT...]\n\n");
    for (const struct command *command = command_table; command->words; command++)
        if (help_is_shown(command) && strncmp(command->words, prefix, len) == 0)
            fprintf(file, "  %-28s %s\n", command->words, command->summary);
    fprintf(file,
            "\n\"lunette COMMAND --help\" explains one, with an example. Exit status: 0 done, 1 "
            "refused,\n2 not understood, 3 no server answers.\n");
}

/* Lines of @text as an array. */
static json_t *help_lines(const char *text)
{
    json_t *lines = json_array();
    for (const char *at = text; *at; at += strcspn(at, "\n"))
    {
        at += *at == '\n';
        if (*at)
            ignore_error(json_array_append_new(lines, json_stringn(at, strcspn(at, "\n"))),
                         "shown only");
    }
    return lines;
}

static json_t *help_view(const struct command *command)
{
    const struct command_option *options[COMMAND_OPTIONS_MAX];
    size_t count = command_all_options(command, options);
    json_t *list = json_array(), *also = json_array();
    for (size_t i = 0; i < count; i++)
        ignore_error(
            json_array_append_new(
                list,
                json_pack("{s:s, s:o, s:s?, s:s, s:b}", "name", options[i]->name, "letter",
                          options[i]->letter ? json_stringn(&options[i]->letter, 1) : json_null(),
                          "value", options[i]->value, "help", options[i]->help, "repeats",
                          (int)options[i]->repeats)),
            "shown only");
    for (const struct command_alias *alias = command_aliases; alias->words; alias++)
        if (strcmp(alias->target, command->words) == 0)
            ignore_error(json_array_append_new(also, json_string(alias->words)), "shown only");
    return json_pack("{s:s, s:s, s:s, s:s?, s:o, s:o, s:o}", "command", command->words, "arguments",
                     command->arguments, "summary", command->summary, "details", command->details,
                     "options", list, "examples", help_lines(command->example), "also_written",
                     also);
}

void command_print_help_json(FILE *file, const struct command *command)
{
    AUTO_JSON json_t *view = help_view(command);
    table_print_json(file, view);
}

void command_print_overview_json(FILE *file, const char *prefix)
{
    json_t *list = json_array();
    for (const struct command *command = command_table; command->words; command++)
        if (help_is_shown(command) && strncmp(command->words, prefix, strlen(prefix)) == 0)
            ignore_error(json_array_append_new(list, help_view(command)), "shown only");
    AUTO_JSON json_t *view =
        json_pack("{s:o, s:I}", "commands", list, "count", (json_int_t)json_array_size(list));
    table_print_json(file, view);
}

/*
 * Leaves the words in @in, and *asks_help whether there was --help. It is not parsed, since what is
 * explained is no command line yet. Returns whether there was --json.
 */
static bool help_take_options(struct invocation *in, bool *asks_help)
{
    size_t kept = 0;
    bool json = false;
    *asks_help = false;
    for (size_t i = 0; i < in->arg_count; i++)
    {
        const char *arg = in->args[i];
        bool is_json = strcmp(arg, "--json") == 0 || strcmp(arg, "-j") == 0;
        bool is_help = strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
        json |= is_json;
        *asks_help |= is_help;
        if (!is_json && !is_help)
            in->args[kept++] = in->args[i];
    }
    in->arg_count = kept;
    return json;
}

/* Of words that no command has. */
static enum ctl_exit help_unknown(const struct invocation *in)
{
    struct reason why = {.text = ""};
    struct invocation nothing = {.command = NULL};
    ignore_error(command_unknown((int)in->arg_count, (const char *const *)in->args, &nothing, &why),
                 "it is what is said");
    return ctl_usage(&nothing, why.text);
}

enum ctl_exit ctl_help(struct invocation *in)
{
    int used;
    bool asks_help, json = help_take_options(in, &asks_help);
    const struct command *command =
        command_find((int)in->arg_count, (const char *const *)in->args, &used);
    if (in->arg_count == 0 && asks_help && in->command)
        command = in->command; /* "help --help" */
    if (command && used == (int)in->arg_count)
    {
        (json ? command_print_help_json : command_print_help)(stdout, command);
        return CTL_DONE;
    }
    char prefix[256] = "";
    for (size_t i = 0, len = 0; i < in->arg_count && len < sizeof(prefix); i++)
        len += (size_t)snprintf(prefix + len, sizeof(prefix) - len, "%s%s", i > 0 ? " " : "",
                                in->args[i]);
    for (command = command_table; command->words; command++)
        if (help_is_shown(command) && strncmp(command->words, prefix, strlen(prefix)) == 0)
            break;
    if (!command->words)
        return help_unknown(in);
    (json ? command_print_overview_json : command_print_overview)(stdout, prefix);
    return CTL_DONE;
}

/* ---- manual -------------------------------------------------------------------------------- */

/* Text for man(7): no line begins with a control character, hyphens that are typed stay hyphens. */
static void manual_text(FILE *file, const char *text)
{
    bool starts = true;
    for (; *text; text++)
    {
        if (starts && (*text == '.' || *text == '\''))
            fputs("\\&", file);
        starts = *text == '\n';
        if (*text == '-')
            fputs("\\-", file);
        else if (*text == '\\')
            fputs("\\e", file);
        else
            fputc(*text, file);
    }
}

static void manual_option(FILE *file, const struct command_option *option)
{
    fputs(".TP\n\\fB", file);
    if (option->letter)
        fprintf(file, "\\-%c\\fR, \\fB", option->letter);
    fputs("\\-\\-", file);
    manual_text(file, option->name);
    fputs("\\fR", file);
    if (option->value)
    {
        fputs("=\\fI", file);
        manual_text(file, option->value);
        fputs("\\fR", file);
    }
    fputc('\n', file);
    manual_text(file, option->help);
    fputc('\n', file);
}

static bool manual_is_common(const struct command_option *option)
{
    for (const struct command_option *common = command_common_options; common->name; common++)
        if (common == option)
            return true;
    return false;
}

static void manual_command(FILE *file, const struct command *command)
{
    const struct command_option *options[COMMAND_OPTIONS_MAX];
    size_t count = command_all_options(command, options);
    fputs(".SS \"", file);
    manual_text(file, command->words);
    fputs("\"\n\\fBlunette ", file);
    manual_text(file, command->words);
    fputs("\\fR [\\fIoption\\fR...] \\fI", file);
    manual_text(file, command->arguments);
    fprintf(file, "\\fR\n.PP\n%c", command->summary[0] - 'a' + 'A');
    manual_text(file, command->summary + 1);
    fputs(".\n", file);
    if (command->details)
    {
        manual_text(file, command->details);
        fputc('\n', file);
    }
    for (size_t i = 0; i < count; i++)
        if (!manual_is_common(options[i]))
            manual_option(file, options[i]);
    for (const struct command_alias *alias = command_aliases; alias->words; alias++)
        if (strcmp(alias->target, command->words) == 0)
        {
            fputs(".PP\nAlso written: \\fBlunette ", file);
            manual_text(file, alias->words);
            fputs("\\fR.\n", file);
        }
    fputs(".PP\n.EX\n", file);
    manual_text(file, command->example);
    fputs(".EE\n", file);
}

static const char manual_head[] =
    ".\\\" SPDX-License-Identifier: BSD-3-Clause\n"
    ".\\\" Made by \"lunette __manual\" from the table in server/ctl/commands.c; do not edit.\n"
    ".TH LUNETTE 1 \"\" \"Lunette\" \"User Commands\"\n"
    ".SH NAME\n"
    "lunette \\- manage a storage target with instant clones\n"
    ".SH SYNOPSIS\n"
    "\\fBlunette\\fR \\fIcommand\\fR [\\fIoption\\fR...] [\\fIargument\\fR...]\n"
    ".SH DESCRIPTION\n"
    "A pool is one file or block device that holds LUNs (virtual disks), their snapshots and "
    "clones. "
    "\\fBlunette serve\\fR starts a server for a pool, which LUNs are reached through over NBD and "
    "iSCSI. "
    "All "
    "other commands ask that server through its management socket, except \\fBpool create\\fR, "
    "\\fBpool repair\\fR and those given \\fB\\-\\-pool\\fR, which open the pool themselves while "
    "no "
    "server has it, and \\fBkey create\\fR and \\fBkey show\\fR, which look at a file.\n"
    ".PP\n"
    "A command that has returned is durable. Names have letters, digits and . _ : + \\-; a "
    "LUN in a "
    "volume is named \\fIVOLUME\\fR/\\fILUN\\fR or \\fIVOLUME\\fR/\\fIQTREE\\fR/\\fILUN\\fR (/vol/ "
    "may stand before it), a snapshot \\fILUN\\fR@\\fISNAPSHOT\\fR or "
    "\\fIVOLUME\\fR@\\fISNAPSHOT\\fR. Sizes are binary: 512M, 10G, 1.5T, or bytes. Long "
    "options "
    "may be written with one dash.\n"
    ".PP\n"
    "Root, the user the server runs as, and the members of the management group may change things; "
    "everybody else who reaches the socket may look.\n"
    ".SH OPTIONS OF ALL COMMANDS\n";

static const char manual_tail[] =
    ".SH EXIT STATUS\n"
    ".TP\n0\nDone.\n"
    ".TP\n1\nRefused or failed; standard error says why, and which command helps.\n"
    ".TP\n2\nThe command line was not understood.\n"
    ".TP\n3\nNo server answers on the management socket.\n"
    ".SH JSON\n"
    "With \\fB\\-\\-json\\fR a command prints one JSON object on standard output, and \\fBtop\\fR "
    "of "
    "several tables and \\fBevent show \\-\\-follow\\fR one on each line. Sizes are bytes, times "
    "seconds since 1970. A listing is an array under a key, with \\fIcount\\fR beside it. A change "
    "says of what it was (the arguments it was given, names, ids), what was done (\\fIdeleted\\fR, "
    "\\fImappings\\fR, \\fItaken_bytes\\fR, \\fIpromised_bytes\\fR and others), and with "
    "\\fIdry_run\\fR whether it was done; a dry run of something that deletes has "
    "\\fIgoes\\fR and \\fIfreed_bytes\\fR, of settings \\fIchanges\\fR with \\fIbefore\\fR and "
    "\\fIafter\\fR. \\fBlunette help \\-\\-json\\fR lists all commands and options.\n"
    ".PP\n"
    "An error is one object on one line of standard error, whatever its kind; standard output is "
    "empty then, but for commands that look and find something wrong (\\fBpool check\\fR, \\fBpool "
    "scrub\\fR, \\fBpool repair\\fR, \\fBlun salvage\\fR), which print what they found, and "
    "\\fB\\-\\-dry\\-run\\fR of \\fBlun delete\\fR, \\fBlun resize\\fR and \\fBvolume delete\\fR, "
    "which "
    "print what would go if only an option lacks (\\fIneeds\\fR):\n"
    ".PP\n.EX\n"
    "{\"error\":{\"message\":\"cannot create LUN a: a LUN named 'a' is there already\",\n"
    "\"reason\":\"a LUN named 'a' is there already\",\"errno\":\"EEXIST\",\"exit\":1,\n"
    "\"command\":\"lun create\",\"try\":\"lunette lun show a\"}}\n"
    ".EE\n.PP\n"
    "\\fIexit\\fR is the exit status; \\fIerrno\\fR and \\fIcommand\\fR may be null; "
    "\\fItry\\fR, a command that helps, may be missing. What is to be known beside a result is "
    "{\"note\":\"...\"} on a line there.\n"
    ".SH ENVIRONMENT\n"
    ".TP\n\\fBLUNETTE_SOCKET\\fR\nThe management socket, if \\fB\\-\\-socket\\fR is not given.\n"
    ".TP\n\\fBLIBISCSI_CHAP_USERNAME\\fR, \\fBLIBISCSI_CHAP_PASSWORD\\fR\n"
    "For \\fBlun import\\fR and \\fBlun export\\fR with iscsi:// URLs.\n"
    ".SH FILES\n"
    ".TP\n/etc/lunette/lunette.conf\nThe conf file of \\fBlunette serve\\fR; the example explains "
    "each key.\n"
    ".TP\n/run/lunette/mgmt.sock\nThe management socket. For users other than root "
    "$XDG_RUNTIME_DIR/lunette/mgmt.sock, if it exists.\n"
    ".SH SEE ALSO\n"
    "nbdkit(1), nbdcopy(1), nbdinfo(1), qemu\\-img(1), nbd\\-client(8)\n";

void command_print_manual(FILE *file)
{
    fputs(manual_head, file);
    for (const struct command_option *option = command_common_options; option->name; option++)
        manual_option(file, option);
    fputs(".SH COMMANDS\n", file);
    for (const struct command *command = command_table; command->words; command++)
        if (help_is_shown(command))
            manual_command(file, command);
    vocabulary_print_manual(file, manual_text);
    fputs(manual_tail, file);
}

enum ctl_exit ctl_manual(struct invocation *in)
{
    (void)in;
    command_print_manual(stdout);
    return CTL_DONE;
}

/* ---- completion ---------------------------------------------------------------------------- */

/* The word of @words that follows those of @argv[0, typed), if it begins with the one being typed.
 */
static const char *complete_next(const char *words, int typed, const char *const *argv,
                                 const char *prefix, int *len)
{
    for (int i = 0; i < typed; i++)
    {
        size_t word_len = strcspn(words, " ");
        if (strlen(argv[i]) != word_len || strncmp(argv[i], words, word_len) != 0 ||
            words[word_len] == '\0')
            return NULL;
        words += word_len + 1;
    }
    *len = (int)strcspn(words, " ");
    return strncmp(words, prefix, strlen(prefix)) == 0 ? words : NULL;
}

static void complete_words(FILE *file, int typed, const char *const *argv, const char *prefix)
{
    const char *last = "";
    int last_len = 0;
    for (const struct command *command = command_table; command->words; command++)
    {
        int len;
        const char *next = help_is_shown(command)
                               ? complete_next(command->words, typed, argv, prefix, &len)
                               : NULL;
        /* Commands of one family stand together, so a word repeats only right behind itself. */
        if (!next || (len == last_len && strncmp(next, last, (size_t)len) == 0))
            continue;
        fprintf(file, "%.*s\n", len, next);
        last = next;
        last_len = len;
    }
}

void command_print_completions(FILE *file, int argc, const char *const *argv)
{
    const struct command_option *options[COMMAND_OPTIONS_MAX];
    const char *prefix = argc > 0 ? argv[argc - 1] : "";
    int typed = argc > 0 ? argc - 1 : 0, used;
    const struct command *command = command_find(typed, argv, &used);
    if (!command || used < typed || *prefix != '-')
        complete_words(file, typed, argv, prefix);
    if (!command || *prefix != '-')
        return;
    if (prefix[1] != '-' && prefix[1] != '\0')
        vocabulary_print_completions(file, command, prefix);
    size_t count = command_all_options(command, options);
    for (size_t i = 0; i < count; i++)
        if (strncmp(prefix, "--", strlen(prefix) < 2 ? strlen(prefix) : 2) == 0 &&
            (strlen(prefix) <= 2 || strncmp(options[i]->name, prefix + 2, strlen(prefix) - 2) == 0))
            fprintf(file, "--%s%s\n", options[i]->name, options[i]->value ? "=" : "");
}

/* Names in the listing of @verb; without a server there are none, and nothing is said. */
static void complete_listing(const char *verb, json_t *args, const char *key, const char *prefix)
{
    AUTO_FREE char *path = client_default_socket();
    AUTO_JSON json_t *result = NULL;
    struct client client;
    struct client_refusal refusal;
    if (!path || client_connect(&client, path, NULL) < 0)
    {
        json_decref(args);
        return;
    }
    int r = client_call(&client, verb, args, NULL, NULL, &result, &refusal);
    client_close(&client);
    size_t i;
    json_t *entry;
    json_array_foreach(r == 0 ? json_object_get(result, key) : NULL, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name && strncmp(name, prefix, strlen(prefix)) == 0)
            printf("%s\n", name);
    }
}

static void complete_luns(const struct command *command, const char *prefix)
{
    bool snapshots = strstr(command->arguments, "SNAPSHOT") || strstr(command->words, "clone") ||
                     strstr(command->words, "freed") || strstr(command->words, "export");
    complete_listing("lun.show", json_pack("{s:b}", "snapshots", (int)snapshots), "luns", prefix);
}

/* Whether LUNs, or QoS classes, are what @command takes. */
static bool complete_takes_luns(const struct command *command)
{
    static const char *const others[] = {"freed", "top", "qos set", "qos show"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strcmp(command->words, others[i]) == 0)
            return true;
    return strcmp(command->words, "lun create") != 0 &&
           (strstr(command->words, "lun ") || strstr(command->words, "snapshot ") ||
            strstr(command->words, "refresh "));
}

static bool complete_takes_classes(const struct command *command)
{
    return strcmp(command->words, "qos class create") != 0 && strstr(command->words, "qos ") &&
           strstr(command->arguments, "CLASS");
}

enum ctl_exit ctl_complete(struct invocation *in)
{
    int argc = (int)in->arg_count, used;
    const char *const *argv = (const char *const *)in->args;
    const char *prefix = argc > 0 ? argv[argc - 1] : "";
    command_print_completions(stdout, argc, argv);
    const struct command *command = command_find(argc > 0 ? argc - 1 : 0, argv, &used);
    if (!command || *prefix == '-')
        return CTL_DONE;
    if (complete_takes_luns(command))
        complete_luns(command, prefix);
    if (complete_takes_classes(command))
        complete_listing("qos.class.show", NULL, "classes", prefix);
    return CTL_DONE;
}
