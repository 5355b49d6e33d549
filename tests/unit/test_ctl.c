/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line without a server: the table of commands is sound, command lines are understood
 * or refused, listings look right, the manual page and the completion say what the table says.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/ctl/client.h"
#include "server/ctl/command.h"
#include "server/ctl/ctl.h"
#include "server/ctl/hint.h"
#include "server/ctl/suggest.h"
#include "server/ctl/table.h"
#include "server/ctl/uri.h"
#include "server/ctl/vocabulary.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/view.h"
#include "tests/lib/cunit_main.h"

/* ---- the table of commands ----------------------------------------------------------------- */

static void test_commands(void)
{
    for (const struct command *command = command_table; command->words; command++)
    {
        const struct command_option *options[COMMAND_OPTIONS_MAX];
        size_t count = command_all_options(command, options);
        CU_ASSERT_PTR_NOT_NULL(command->run);
        CU_ASSERT_TRUE(command->summary[0] >= 'a' && command->summary[0] <= 'z');
        CU_ASSERT_NOT_EQUAL(command->summary[strlen(command->summary) - 1], '.');
        CU_ASSERT_EQUAL(strncmp(command->example, "lunette ", 8), 0);
        CU_ASSERT_EQUAL(command->example[strlen(command->example) - 1], '\n');
        for (size_t a = 0; a < count; a++)
            for (size_t b = 0; b < a; b++)
            {
                CU_ASSERT_STRING_NOT_EQUAL(options[a]->name, options[b]->name);
                CU_ASSERT_TRUE(options[a]->letter == 0 || options[a]->letter != options[b]->letter);
            }
        for (const struct command *other = command_table; other != command; other++)
            CU_ASSERT_STRING_NOT_EQUAL(other->words, command->words);
    }
}

static const struct command *find_words(const char *words)
{
    for (const struct command *command = command_table; command->words; command++)
        if (strcmp(command->words, words) == 0)
            return command;
    return NULL;
}

/* Commands without --dry-run: each takes, frees and destroys nothing, or ends with what ran. */
static const char *const without_dry_run[] = {
    /* They look. */
    "pool show", "pool check", "pool autodelete show", "pool dump", "lun show", "lun attach",
    "lun reservation show", "lun maxsize", "snapshot show", "snapshot policy show", "refresh show",
    "volume show", "volume autodelete show", "volume clone show", "volume clone split estimate",
    "volume clone split show", "qtree show", "quota rule show", "quota report", "explain space",
    "explain quota", "igroup show", "mapping show", "iscsi portal show", "iscsi session show",
    "iscsi chap show", "key show", "qos class show", "qos show", "top", "metrics", "tree", "df",
    "freed", "event show", "job show", "job wait", "server status", "help",
    /* They give names and notes, keep something longer, or let somebody see it. A key is a file of
     * a line, and replaces none. */
    "lun rename", "lun comment", "snapshot rename", "snapshot lock", "volume rename",
    "qtree create", "qtree rename", "igroup create", "igroup add", "iscsi chap set", "key create",
    /* They set limits, which bind from then on. */
    "quota rule create", "quota rule modify", "quota on", "quota off", "qos class create",
    "qos class modify", "qos set",
    /* They start and end what runs; a scrub writes only what was there. */
    "serve", "server stop", "job cancel", "pool scrub"};

/* Whatever takes or frees space or destroys has --dry-run: who adds a command decides. */
static void test_dry_run(void)
{
    for (const struct command *command = command_table; command->words; command++)
    {
        bool is_exempt = command->flags & COMMAND_HIDDEN;
        for (size_t i = 0; i < ARRAY_SIZE(without_dry_run); i++)
            is_exempt |= strcmp(without_dry_run[i], command->words) == 0;
        if (is_exempt == ((command->flags & COMMAND_DRY_RUN) != 0))
            printf("\n%s: --dry-run, or a place in without_dry_run?\n", command->words);
        CU_ASSERT_NOT_EQUAL(is_exempt, (command->flags & COMMAND_DRY_RUN) != 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(without_dry_run); i++)
        CU_ASSERT_PTR_NOT_NULL(find_words(without_dry_run[i]));
}

static void test_aliases(void)
{
    for (const struct command_alias *alias = command_aliases; alias->words; alias++)
    {
        CU_ASSERT_PTR_NOT_NULL(find_words(alias->target));
        CU_ASSERT_PTR_NULL(find_words(alias->words));
    }
}

/* Splits @line at blanks; quotes are taken off. */
static int split(char *line, const char **words, int max)
{
    int count = 0;
    for (char *at = line; *at && count < max;)
    {
        while (*at == ' ')
            at++;
        if (!*at)
            break;
        char *end = *at == '\'' ? strchr(at + 1, '\'') : at + strcspn(at, " ");
        words[count++] = *at == '\'' ? at + 1 : at;
        at = *end ? end + 1 : end;
        *end = '\0';
    }
    return count;
}

static int parse(const char *text, struct invocation *in, struct reason *why)
{
    static char line[1024];
    const char *words[64];
    snprintf(line, sizeof(line), "%s", text);
    return command_parse(split(line, words, 64), words, in, why);
}

/* Every example in help and manual is a command line that is understood, of its own command. */
static void test_examples(void)
{
    for (const struct command *command = command_table; command->words; command++)
        for (const char *at = command->example; *at; at += strcspn(at, "\n") + 1)
        {
            char line[512];
            struct invocation in;
            struct reason why = {.text = ""};
            size_t len = strcspn(at, "\n|>");
            snprintf(line, sizeof(line), "%.*s", (int)len, at);
            if (command->run == ctl_help || command->run == ctl_complete)
                continue;
            int r = parse(line + strlen("lunette "), &in, &why);
            if (r < 0)
                printf("\n%s -> %s\n", line, why.text);
            CU_ASSERT_EQUAL(r, 0);
            CU_ASSERT_PTR_EQUAL(in.command, command);
            invocation_destroy(&in);
        }
}

static void test_parse(void)
{
    struct invocation in;
    CU_ASSERT_EQUAL(parse("lun create vm1 --size 10G -n --comment=ab", &in, NULL), 0);
    CU_ASSERT_STRING_EQUAL(option_text(&in, "size"), "10G");
    CU_ASSERT_TRUE(option_flag(&in, "dry-run"));
    CU_ASSERT_FALSE(option_flag(&in, "json"));
    CU_ASSERT_PTR_NULL(option_text(&in, "sector"));
    CU_ASSERT_EQUAL(in.arg_count, 1);
    invocation_destroy(&in);

    CU_ASSERT_EQUAL(parse("volume file clone create -source-path a -destination-path b", &in, NULL),
                    0);
    CU_ASSERT_STRING_EQUAL(in.command->words, "lun clone");
    CU_ASSERT_STRING_EQUAL(option_text(&in, "source-path"), "a");
    CU_ASSERT_STRING_EQUAL(option_text(&in, "destination-path"), "b");
    invocation_destroy(&in);

    CU_ASSERT_EQUAL(parse("lun clone create a b", &in, NULL), 0);
    CU_ASSERT_EQUAL(in.arg_count, 2);
    CU_ASSERT_STRING_EQUAL(in.args[0], "a");
    invocation_destroy(&in);

    CU_ASSERT_EQUAL(parse("--socket /x --json pool show", &in, NULL), 0);
    CU_ASSERT_STRING_EQUAL(option_text(&in, "socket"), "/x");
    CU_ASSERT_TRUE(option_flag(&in, "json"));
    invocation_destroy(&in);

    CU_ASSERT_EQUAL(
        parse("serve --pool /p --iscsi a:1 --iscsi b:2 -- --filter=rate rate=1G", &in, NULL), 0);
    size_t count;
    char *const *portals = option_texts(&in, "iscsi", &count);
    CU_ASSERT_EQUAL(count, 2);
    CU_ASSERT_STRING_EQUAL(portals[1], "b:2");
    CU_ASSERT_EQUAL(in.arg_count, 2);
    CU_ASSERT_STRING_EQUAL(in.args[0], "--filter=rate");
    invocation_destroy(&in);

    /* --help needs no arguments. */
    CU_ASSERT_EQUAL(parse("lun create --help", &in, NULL), 0);
    CU_ASSERT_TRUE(option_flag(&in, "help"));
    invocation_destroy(&in);
}

static void test_usage(void)
{
    static const struct
    {
        const char *line, *says;
    } cases[] = {
        {"", "no command given"},
        {"--json", "no command given, only the option --json"},
        {"fly", "\"fly\" is no command"},
        {"lun", "\"lun\" needs a word behind it"},
        {"lun fly", "\"lun fly\" is no command"},
        {"lun create", "needs NAME SIZE"},
        {"lun rename a", "needs NAME NEW-NAME"},
        {"lun rename a b c", "no use for \"c\""},
        {"lun create a --size", "missing argument"},
        {"lun create a --sise 1", "--sise: no such option; did you mean --size?"},
        {"lun create a --siez=1", "--siez=1: no such option; did you mean --size?"},
        {"qos set --poll x", "did you mean --pool?"},
        {"lun reservation", "\"lun reservation\" needs a word behind it"},
        {"lun shwo", "\"lun shwo\" is no command; did you mean \"lunette lun show\"?"},
        {"snapsot", "\"snapsot\" is no command; did you mean \"lunette snapshot\"?"},
        {"snapsot craete a@b", "did you mean \"lunette snapshot create\"?"},
        {"volume clone splt show", "did you mean \"lunette volume clone split show\"?"},
        /* Other orders, other names. */
        {"create lun a 1G", "did you mean \"lunette lun create\"?"},
        {"import a b", "did you mean \"lunette lun import\"?"},
        {"stop", "did you mean \"lunette server stop\"?"},
        {"status", "did you mean \"lunette server status\"?"},
        {"check", "did you mean \"lunette pool check\"?"},
        {"igroup ls", "did you mean \"lunette igroup show\"?"},
        {"igroup rm web", "did you mean \"lunette igroup delete\"?"},
        {"lun create a --json=1 --size 1G", "--json=1"},
        {"lun create a --size 1 --size 2", "--size is given twice"},
        {"tree x", "no use for \"x\""},
        {"volume create db -space-guarante none", "--space-guarante: no such option"},
        {"lun show -sdb", "--sdb: no such option"},
        {"lun show -x", "-x: no such option"},
        {"snapshot create -volume v", "needs -snapshot"},
        {"lun clone a b -volume v", "-volume v says nothing without a path"},
        {"lun create -path a -path b", "-path is given twice"},
        {"lun create -path -size 1", "-path needs PATH behind it"},
        {"lun create -path a -ostype dos", "no \"dos\" here, only aix|"},
        {"volume clone create -type DP", "only RW"},
        {"snapshot restore -restore-path x", "lun clone LUN@SNAPSHOT NAME"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        struct invocation in;
        struct reason why = {.text = ""};
        int r = parse(cases[i].line, &in, &why);
        if (r != -EINVAL || !strstr(why.text, cases[i].says))
            printf("\n%s -> %d %s\n", cases[i].line, r, why.text);
        CU_ASSERT_EQUAL(r, -EINVAL);
        CU_ASSERT_PTR_NOT_NULL(strstr(why.text, cases[i].says));
        invocation_destroy(&in);
    }
}

/* What is like nothing gets no advice, and nothing of any length does harm. */
static void test_no_advice(void)
{
    char longest[600] = "";
    memset(longest, 'y', sizeof(longest) - 1);
    const char *const lines[] = {"fly", "lun fly", "x", "lun x", "lun create a --fly", longest};
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
    {
        struct invocation in;
        struct reason why = {.text = ""};
        CU_ASSERT_EQUAL(parse(lines[i], &in, &why), -EINVAL);
        if (strstr(why.text, "mean"))
            printf("\n%s: %s\n", lines[i], why.text);
        CU_ASSERT_PTR_NULL(strstr(why.text, "mean"));
        invocation_destroy(&in);
    }
}

static void test_suggest(void)
{
    static const struct
    {
        const char *typed, *offered[4], *nearest;
    } cases[] = {
        {"show", {"show"}, "show"},
        {"shwo", {"stop", "show"}, "show"}, /* swapped */
        {"sho", {"show", "shoo"}, "show"},  /* missing; the first of two */
        {"showw", {"show"}, "show"},        /* too many */
        {"shew", {"show"}, "show"},         /* another */
        {"shwa", {"show"}, ""},             /* two wrong of four */
        {"deltee", {"create", "delete"}, "delete"},
        {"snapshto", {"snapshot"}, "snapshot"},
        {"spanshto", {"snapshot"}, "snapshot"},
        {"list", {"create", "show"}, "show"}, /* what others call it */
        {"list", {"create"}, ""},
        {"x", {"", "a", "b"}, ""}, /* nothing of it would be right */
        {"reserve", {"no-owner", "space-reserve", "no-reserve"}, "space-reserve"}, /* a part */
        {"reserve", {"space-reserve", "reserved"}, "reserved"}, /* what is spelt so goes before */
        {"parent", {"parent-volume"}, "parent-volume"},
        {"disk", {"soft-disk-limit"}, "soft-disk-limit"},
        {"reserve", {"unreserve-it", "space-reserved"}, ""}, /* no whole part */
        {"fix", {"fix-it"}, ""},                             /* too short */
        {"", {"a"}, ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        struct suggestion suggestion;
        suggest_begin(&suggestion, cases[i].typed, strlen(cases[i].typed));
        for (size_t j = 0; j < ARRAY_SIZE(cases[i].offered) && cases[i].offered[j]; j++)
            suggest_offer(&suggestion, cases[i].offered[j], strlen(cases[i].offered[j]));
        CU_ASSERT_STRING_EQUAL(suggestion.nearest, cases[i].nearest);
    }
}

/* ---- manual and completion ----------------------------------------------------------------- */

static char *read_whole(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return NULL;
    char *text = calloc(1, 1 << 20);
    size_t len = text ? fread(text, 1, (1 << 20) - 1, file) : 0;
    fclose(file);
    if (text)
        text[len] = '\0';
    return text;
}

/* conf/lunette.1 is what the table makes today. */
static void test_manual_is_current(void)
{
    char path[4096], *made = NULL;
    size_t size;
    const char *source = getenv("LUNETTE_SOURCE");
    snprintf(path, sizeof(path), "%s/conf/lunette.1", source ? source : ".");
    AUTO_FREE char *kept = read_whole(path);
    FILE *file = open_memstream(&made, &size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    command_print_manual(file);
    fclose(file);
    CU_ASSERT_PTR_NOT_NULL_FATAL(kept);
    if (strcmp(kept, made) != 0)
        printf("\n%s is old: lunette __manual >conf/lunette.1\n", path);
    CU_ASSERT_STRING_EQUAL(kept, made);
    free(made);
}

/* Each command and option is in the page, in the section of its command. */
static void test_manual_is_complete(void)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    command_print_manual(file);
    fclose(file);
    for (const struct command *command = command_table; command->words; command++)
    {
        const struct command_option *options[COMMAND_OPTIONS_MAX];
        size_t count = command_all_options(command, options);
        char heading[64], option[64];
        snprintf(heading, sizeof(heading), ".SS \"%s\"\n", command->words);
        char *at = strstr(text, heading);
        CU_ASSERT_EQUAL(at != NULL, !(command->flags & COMMAND_HIDDEN));
        char *end = at ? strstr(at + 1, ".SS ") : NULL;
        for (size_t i = 0; at && i < count; i++)
        {
            char *to = stpcpy(option, "\\-\\-");
            for (const char *from = options[i]->name; *from; from++)
                to = stpcpy(to, *from == '-' ? "\\-" : (char[]){*from, '\0'});
            const char *found = strstr(at, option);
            bool is_common = strstr(text, ".SH COMMANDS") > strstr(text, option);
            CU_ASSERT_TRUE(is_common || (found && (!end || found < end)));
        }
    }
    free(text);
}

static void complete(const char *words, const char *expected)
{
    char line[256], *made = NULL;
    const char *argv[16];
    size_t size;
    snprintf(line, sizeof(line), "%s", words);
    int argc = split(line, argv, 15);
    if (!*words || words[strlen(words) - 1] == ' ')
        argv[argc++] = "";
    FILE *file = open_memstream(&made, &size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    command_print_completions(file, argc, argv);
    fclose(file);
    if (strcmp(made, expected) != 0)
        printf("\n\"%s\" -> %s", words, made);
    CU_ASSERT_STRING_EQUAL(made, expected);
    free(made);
}

static void test_completion(void)
{
    complete("",
             "pool\nserve\nlun\nclone\nsnapshot\nrefresh\nvolume\nqtree\nquota\nexplain\nigroup\n"
             "mapping\niscsi\nkey\nqos\ntop\nmetrics\ntree\ndf\nfreed\nevent\njob\nserver\nhelp\n");
    complete("qos ", "class\nset\nshow\n");
    complete("qos class create x --ma", "--max-iops=\n--max-bps=\n");
    complete("s", "serve\nsnapshot\nserver\n");
    complete("snapshot ", "create\nshow\ndelete\nlock\nrename\nrestore\npolicy\n");
    complete("volume ", "create\nshow\nmodify\nresize\nrename\ndelete\nautodelete\nclone\n");
    complete("volume clone s", "show\nsplit\n");
    complete("quota ", "rule\non\noff\nreport\n");
    complete("snapshot re", "rename\nrestore\n");
    complete("snapshot fly", "");
    complete("iscsi ", "portal\nsession\nchap\n");
    complete("iscsi chap ", "set\nshow\ndelete\nrewrap\n");
    complete("igroup ", "create\nadd\nremove\nshow\ndelete\n");
    complete("lun map --i", "--igroup=\n");
    complete("lun clone --d", "--destination-path=\n--dry-run\n");
    complete("tree --", "--dot\n--json\n--socket=\n--help\n");
    complete("tree --j", "--json\n");
    complete("lun create x -spa", "-space-allocation\n-space-reserve\n");
    complete("volume snapshot create -vo", "-volume\n");
}

/* ---- what ONTAP writes ---------------------------------------------------------------------- */

/* What @line is with options of the table: both are parsed, and have to be the same. */
static void expect_same(const char *line, const char *plain)
{
    struct invocation in, wanted;
    struct reason why = {.text = ""}, why_plain = {.text = ""};
    int r = parse(line, &in, &why), r_plain = parse(plain, &wanted, &why_plain);
    bool same =
        r == 0 && r_plain == 0 && in.command == wanted.command && in.arg_count == wanted.arg_count;
    for (size_t i = 0; same && i < in.arg_count; i++)
        same = strcmp(in.args[i], wanted.args[i]) == 0;
    for (size_t i = 0; same && i < in.option_count; i++)
    {
        same = in.value_counts[i] == wanted.value_counts[i];
        for (size_t j = 0; same && j < in.value_counts[i]; j++)
            same = strcmp(in.values[i][j], wanted.values[i][j]) == 0;
    }
    if (!same)
        printf("\n%s is not %s: %d %d %s %s\n", line, plain, r, r_plain, why.text, why_plain.text);
    CU_ASSERT_TRUE(same);
    invocation_destroy(&in);
    invocation_destroy(&wanted);
}

static void test_vocabulary(void)
{
    expect_same("lun create -vserver v -path /vol/v/l -size 10g -ostype linux",
                "lun create /vol/v/l --size 10g");
    expect_same("lun create -volume v -qtree q -lun l -size 1g", "lun create v/q/l --size 1g");
    expect_same("lun show -volume v", "lun show v/*");
    expect_same("lun mapping create -path l -igroup g -lun-id 3",
                "lun map l --igroup g --lun-id 3");
    expect_same("lun mapping show -path l", "mapping show l");
    expect_same("volume snapshot create -volume v -snapshot s", "snapshot create v@s");
    expect_same("volume snapshot show -volume v", "snapshot show v");
    expect_same("volume snapshot rename -volume v -snapshot s -new-name t",
                "snapshot rename v@s t");
    expect_same("volume snapshot restore-file -volume v -snapshot s -path /l",
                "snapshot restore v/l@s");
    expect_same("volume snapshot restore-file -volume v -snapshot s -path /vol/v/l",
                "snapshot restore /vol/v/l@s");
    expect_same("volume quota report -path /vol/v/q", "quota report /vol/v/q");
    expect_same("volume quota policy rule create -vserver x -policy-name d -volume v -type tree "
                "-target q -qtree '' -disk-limit 1g",
                "quota rule create v --type tree --target q --disk-limit 1g");
    expect_same("volume file clone create -volume v -source-path a -destination-path b "
                "-snapshot-name s -no-reserve true -autodelete true",
                "lun clone --source-path v/a --destination-path v/b --from-snapshot s --no-reserve "
                "--autodelete true");
    expect_same("volume file clone create -source-path a -destination-path b -s s",
                "lun clone --source-path a --destination-path b --from-snapshot s");
    expect_same("lun clone a b -s s", "lun clone a b --socket s");
    expect_same("lun delete -path /vol/v/l -force true", "lun delete /vol/v/l --force");
    expect_same("lun delete a -force false", "lun delete a");
    expect_same("lun delete --force true", "lun delete true --force");
    expect_same("lun clone -no-reserve false a b", "lun clone a b");
    expect_same("volume file clone autodelete -clone-path l -enable true",
                "lun modify l --autodelete true");
    expect_same("volume file clone show-autodelete -clone-path l",
                "lun show l --fields name,autodelete");
    expect_same("volume file clone show-autodelete -fields name", "lun show --fields name");
    expect_same("volume clone split start -flexclone c", "volume clone split start c");
    expect_same("consistency-group clone create -clone-consistency-group c "
                "-source-parent-consistency-group v -source-snapshot-name s",
                "volume clone create --flexclone c --parent-volume v --parent-snapshot s");
    expect_same("lun igroup create -igroup g -protocol iscsi -ostype linux -initiator iqn.a,iqn.b",
                "igroup create g iqn.a iqn.b");
    expect_same("clone create --group a=b c=d", "clone create --group -- a=b c=d");
    expect_same("clone create a=b --group x", "clone create a=b --quota-group x");
    expect_same("df -s db", "df --savings db");
    expect_same("df -s /run/x", "df --socket /run/x");
    expect_same("lun clone a b -snapshot-name ''", "lun clone a b --from-snapshot=");
    /* What is a value of another option is no word of these. */
    expect_same("lun create a --size 1g --comment -path", "lun create a --size=1g --comment=-path");
}

static void expect_refused(const char *line, const char *text)
{
    struct invocation in;
    struct reason why = {.text = ""};
    int r = parse(line, &in, &why);
    bool is_refused = r == -EINVAL && strstr(why.text, text);
    if (!is_refused)
        printf("\n%s: %d %s", line, r, why.text);
    CU_ASSERT_TRUE(is_refused);
    invocation_destroy(&in);
}

/* What an option names is not left out, nor taken for another option. */
static void test_vocabulary_values(void)
{
    expect_refused("lun delete -volume '' -lun x", "-volume is empty");
    expect_refused("lun show -path ''", "-path is empty");
    expect_refused("snapshot delete -volume v --snapshot=", "-snapshot is empty");
    expect_refused("lun delete a --path=--force", "begins with '-'");
    expect_refused("igroup create -igroup g -initiator iqn.a,--if-not-exists", "begins with '-'");
    expect_refused("igroup create -igroup g -initiator iqn.a,--json,iqn.b", "begins with '-'");
}

/* Rows that commands have, and arguments for all parts. */
static void test_vocabulary_rows(void)
{
    for (const struct vocabulary_row *row = vocabulary_rows; row->commands; row++)
        for (const char *at = row->commands; *at && *at != '*';)
        {
            char words[64];
            size_t len = strcspn(at, "|"), i = 0;
            snprintf(words, sizeof(words), "%.*s", (int)len, at);
            const struct command *command = find_words(words);
            if (!command)
                printf("\nno command %s\n", words);
            CU_ASSERT_PTR_NOT_NULL_FATAL(command);
            const struct command_option *options[COMMAND_OPTIONS_MAX];
            size_t count = command_all_options(command, options);
            bool is_option = strncmp(row->becomes, "--", 2) == 0;
            while (is_option && i < count && strcmp(options[i]->name, row->becomes + 2) != 0)
                i++;
            if (is_option)
                CU_ASSERT_TRUE(i < count && (options[i]->value != NULL) == (row->value != NULL));
            const struct vocabulary_arguments *to = vocabulary_arguments;
            while (isalpha((unsigned char)*row->becomes) && to->commands &&
                   !strstr(to->commands, words))
                to++;
            CU_ASSERT_PTR_NOT_NULL(to->commands);
            at += len + (at[len] == '|');
        }
}

/* ---- listings ------------------------------------------------------------------------------ */

static const struct field fields[] = {
    {"name", "Name", FIELD_TEXT, false},
    {"size_bytes", "Size", FIELD_BYTES, false},
    {"ratio", "Ratio", FIELD_RATIO, false},
    {"open", "Open", FIELD_COUNT, true},
    {"part", "Part", FIELD_PERCENT, true},
    {"there", "There", FIELD_TEXT, true},
    {0},
};

static char *print(const char *json, const struct table_options *options, int *r)
{
    char *text = NULL;
    size_t size;
    AUTO_JSON json_t *result = json_loads(json, 0, NULL);
    FILE *file = open_memstream(&text, &size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_PTR_NOT_NULL_FATAL(result);
    *r = table_print(file, result, "rows", fields, options, NULL);
    fclose(file);
    return text;
}

static void test_table(void)
{
    static const char rows[] = "{\"rows\":[{\"name\":\"a\",\"size_bytes\":1536,\"ratio\":2.5,"
                               "\"open\":3,\"part\":12.34,\"there\":true},"
                               "{\"name\":\"bbbbbb\\u001b[2J\",\"size_bytes\":0,\"ratio\":10,"
                               "\"there\":null}],\"count\":2}";
    int r;
    AUTO_FREE char *plain = print(rows, &(struct table_options){.unit = 'h'}, &r);
    CU_ASSERT_EQUAL(r, 0);
    CU_ASSERT_STRING_EQUAL(plain, "Name           Size    Ratio\n"
                                  "a           1.5 KiB   2.50:1\n"
                                  "bbbbbb?[2J      0 B  10.00:1\n"
                                  "2 entries were displayed.\n");
    AUTO_FREE char *chosen =
        print(rows, &(struct table_options){.unit = 'B', .fields = "there,size,open,part"}, &r);
    CU_ASSERT_STRING_EQUAL(chosen, "There    Size  Open   Part\n"
                                   "yes    1536 B     3  12.3%\n"
                                   "-         0 B     -      -\n"
                                   "2 entries were displayed.\n");
    AUTO_FREE char *json =
        print(rows, &(struct table_options){.fields = "open,name", .json = true}, &r);
    AUTO_JSON json_t *parsed = json_loads(json, 0, NULL);
    const json_t *first = json_array_get(json_object_get(parsed, "rows"), 0);
    CU_ASSERT_EQUAL(json_object_size(first), 2);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(parsed, "count")), 2);
    AUTO_FREE char *none = print("{\"rows\":[]}", &(struct table_options){.unit = 'h'}, &r);
    CU_ASSERT_STRING_EQUAL(none, "0 entries were displayed.\n");
    AUTO_FREE char *one = print("{\"rows\":[{\"name\":\"x\"}]}",
                                &(struct table_options){.unit = 'h', .fields = "name"}, &r);
    CU_ASSERT_STRING_EQUAL(one, "Name\nx\n1 entry was displayed.\n");
}

static void test_fields(void)
{
    struct reason why = {.text = ""};
    CU_ASSERT_EQUAL(table_check_fields("name,size_bytes,size", fields, &why), 0);
    CU_ASSERT_EQUAL(table_check_fields("name,sise", fields, &why), -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "\"sise\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "name,size_bytes,ratio,open,part,there"));
    CU_ASSERT_EQUAL(table_check_fields("", fields, &why), -EINVAL);
    CU_ASSERT_EQUAL(table_check_fields("nam", fields, &why), -EINVAL);
    CU_ASSERT_EQUAL(table_check_fields(",", fields, &why), -EINVAL);
}

static void test_savings(void)
{
    CU_ASSERT_EQUAL(view_savings_ratio(0, 0), 1.0);
    CU_ASSERT_EQUAL(view_savings_ratio(800, 260), 3.07);
    CU_ASSERT_EQUAL(view_savings_ratio(100, 200), 1.0);
    CU_ASSERT_EQUAL(view_savings_ratio(100, 0), 1.0);
}

/* ---- addresses ----------------------------------------------------------------------------- */

static void test_uris(void)
{
    struct nbd_address address;
    AUTO_FREE char *server = uri_of_socket("/run/a b/nbd?.sock");
    CU_ASSERT_STRING_EQUAL(server, "nbd+unix:///?socket=/run/a%20b/nbd%3F.sock");
    AUTO_FREE char *export = uri_of_export(server, "vm1@s");
    CU_ASSERT_STRING_EQUAL(export, "nbd+unix:///vm1@s?socket=/run/a%20b/nbd%3F.sock");
    CU_ASSERT_EQUAL(uri_parse(server, &address), 0);
    CU_ASSERT_STRING_EQUAL(address.socket, "/run/a b/nbd?.sock");
    uri_free_address(&address);

    AUTO_FREE char *tcp = uri_of_address("::1", "10810");
    CU_ASSERT_STRING_EQUAL(tcp, "nbd://[::1]:10810/");
    CU_ASSERT_EQUAL(uri_parse(tcp, &address), 0);
    CU_ASSERT_FALSE(address.is_tls);
    CU_ASSERT_STRING_EQUAL(address.host, "::1");
    CU_ASSERT_STRING_EQUAL(address.port, "10810");
    uri_free_address(&address);
    AUTO_FREE char *no_slash = uri_of_export("nbd://host", "a");
    CU_ASSERT_STRING_EQUAL(no_slash, "nbd://host/a");
    CU_ASSERT_EQUAL(uri_parse("nbd://host", &address), 0);
    CU_ASSERT_STRING_EQUAL(address.port, "10809");
    uri_free_address(&address);
    CU_ASSERT_EQUAL(uri_parse("http://host", &address), -EINVAL);
    CU_ASSERT_EQUAL(uri_parse("nbd+unix:///", &address), -EINVAL);
    CU_ASSERT_EQUAL(uri_parse("", &address), -EINVAL);
}

static void test_tls_uris(void)
{
    struct nbd_address address;
    AUTO_FREE char *socket = uri_of_socket("/run/s");
    AUTO_FREE char *keys = uri_with_tls(socket, NULL, "/etc/a&b.psk", "alice");
    CU_ASSERT_STRING_EQUAL(keys, "nbds+unix://alice@/?socket=/run/s&tls-psk-file=/etc/a%26b.psk");
    AUTO_FREE char *export = uri_of_export(keys, "vm1");
    CU_ASSERT_STRING_EQUAL(export,
                           "nbds+unix://alice@/vm1?socket=/run/s&tls-psk-file=/etc/a%26b.psk");
    CU_ASSERT_EQUAL_FATAL(uri_parse(export, &address), 0);
    CU_ASSERT_TRUE(address.is_tls);
    CU_ASSERT_STRING_EQUAL(address.user, "alice");
    CU_ASSERT_STRING_EQUAL(address.keys, "/etc/a&b.psk");
    CU_ASSERT_STRING_EQUAL(address.socket, "/run/s");
    CU_ASSERT_PTR_NULL(address.certificates);
    uri_free_address(&address);

    AUTO_FREE char *tcp = uri_of_address("", "10809");
    AUTO_FREE char *certified = uri_with_tls(tcp, "/etc/pki", NULL, NULL);
    CU_ASSERT_STRING_EQUAL(certified, "nbds://0.0.0.0:10809/?tls-certificates=/etc/pki");
    AUTO_FREE char *reachable = uri_reachable(certified, "target1");
    CU_ASSERT_STRING_EQUAL(reachable, "nbds://target1:10809/?tls-certificates=/etc/pki");
    CU_ASSERT_EQUAL_FATAL(uri_parse(reachable, &address), 0);
    CU_ASSERT_STRING_EQUAL(address.host, "target1");
    CU_ASSERT_STRING_EQUAL(address.certificates, "/etc/pki");
    uri_free_address(&address);
    AUTO_FREE char *six = uri_reachable("nbds://bob@[::]:10809/", "target1");
    CU_ASSERT_STRING_EQUAL(six, "nbds://bob@target1:10809/");
    AUTO_FREE char *same = uri_reachable("nbd+unix:///?socket=/a@0.0.0.0:1", "target1");
    CU_ASSERT_STRING_EQUAL(same, "nbd+unix:///?socket=/a@0.0.0.0:1");
    AUTO_FREE char *plain = uri_with_tls("nbd://host/", NULL, NULL, NULL);
    CU_ASSERT_STRING_EQUAL(plain, "nbds://host/");
    CU_ASSERT_PTR_NULL(uri_with_tls("http://host/", NULL, NULL, NULL));
}

/* ---- commands in what is said --------------------------------------------------------------- */

static void expect_hint(const char *text, const char *localized)
{
    AUTO_FREE char *hint = hint_localize(text);
    CU_ASSERT_STRING_EQUAL(hint, localized);
}

static void test_hints(void)
{
    expect_hint("lunette df", "lunette df");
    hint_set_socket("/run/two/mgmt.sock");
    expect_hint("lunette lun show a", "lunette lun show a --socket /run/two/mgmt.sock");
    expect_hint("LUN 'a' is 'lunette df' says; `lunette tree` too",
                "LUN 'a' is 'lunette df --socket /run/two/mgmt.sock' says; "
                "`lunette tree --socket /run/two/mgmt.sock` too");
    /* Those that ask no server, or one that was named. */
    static const char *const alone[] = {"lunette lun show --help",
                                        "lunette help lun",
                                        "lunette serve --pool p",
                                        "'lunette pool repair p' mends it",
                                        "lunette pool check --pool p",
                                        "lunette df --socket x",
                                        "apt install nbdkit",
                                        "a lunette 'lunettes' 'lunette df",
                                        ""};
    for (size_t i = 0; i < ARRAY_SIZE(alone); i++)
        expect_hint(alone[i], alone[i]);
    hint_set_socket("it's/a b");
    expect_hint("lunette df", "lunette df --socket 'it'\\''s/a b'");
    hint_set_socket(NULL);
    expect_hint("'lunette df'", "'lunette df'");
}

static CU_TestInfo ctl_tests[] = {
    {"the table of commands is sound", test_commands},
    {"what takes, frees or destroys has --dry-run", test_dry_run},
    {"aliases", test_aliases},
    {"every example is understood", test_examples},
    {"command lines", test_parse},
    {"usage errors", test_usage},
    {"no advice", test_no_advice},
    {"near misses", test_suggest},
    {"hints name the server", test_hints},
    {"the manual page is current", test_manual_is_current},
    {"the manual page is complete", test_manual_is_complete},
    {"completion", test_completion},
    {"what ONTAP writes", test_vocabulary},
    {"rows of what ONTAP writes", test_vocabulary_rows},
    {"values of what ONTAP writes", test_vocabulary_values},
    {"tables", test_table},
    {"fields", test_fields},
    {"savings", test_savings},
    {"NBD addresses", test_uris},
    {"NBD addresses with TLS, and of all of a machine", test_tls_uris},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"ctl", NULL, NULL, NULL, NULL, ctl_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
