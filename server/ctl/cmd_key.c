/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * key create, show: the file that wraps secrets in a pool. Neither needs a server, and nothing here
 * prints a key. "show" also tells which key a server has in memory, if one answers.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "lun/base/cleanup.h"
#include "server/ctl/ctl.h"
#include "server/host_key.h"

enum
{
    KEY_HINT_BYTES = 512,
};

static enum ctl_exit key_say(const struct invocation *in, const struct host_key *key)
{
    AUTO_JSON json_t *result = json_pack("{s:s, s:s}", "file", in->args[0], "key", key->id);
    if (!result)
        return ctl_no_memory(in);
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    return CTL_DONE;
}

enum ctl_exit ctl_key_create(struct invocation *in)
{
    CLEANUP(host_key_wipe) struct host_key key = {0};
    char hint[KEY_HINT_BYTES];
    struct reason why = {.text = ""};
    ignore_error(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "it is here for a moment");
    int r = host_key_create(in->args[0], &key, &why);
    snprintf(hint, sizeof(hint), "lunette key show %s", in->args[0]);
    if (r < 0)
        return ctl_fail(in, r, why.text, r == -EEXIST ? hint : NULL);
    if (!option_flag(in, "json"))
        printf("Made key %s in %s. Keep a copy of the file away from the pool: without it the "
               "secrets that it wraps are lost.\n"
               "Serve with it: lunette serve --key-file %s ...\n",
               key.id, in->args[0], in->args[0]);
    return key_say(in, &key);
}

/* ---- show ---------------------------------------------------------------------------------- */

/* What the server says of itself; NULL: none answers, which is no error here. */
static json_t *key_ask_server(const struct invocation *in)
{
    const char *named = option_text(in, "socket");
    AUTO_FREE char *path = named ? strdup(named) : client_default_socket();
    struct client client;
    struct client_refusal refusal;
    json_t *status = NULL;
    if (!path || client_connect(&client, path, NULL) < 0)
        return NULL;
    if (client_call(&client, "server.status", NULL, NULL, NULL, &status, &refusal) < 0)
        status = NULL;
    client_close(&client);
    return status;
}

static const char *key_text(const json_t *status, const char *field)
{
    return json_string_value(json_object_get(status, field));
}

/* The server's key beside that of a file; @id NULL: of none. */
static void key_print_server(const json_t *status, const char *id)
{
    const char *key = key_text(status, "key"), *path = key_text(status, "key_file");
    const char *problem = key_text(status, "key_problem");
    if (!key)
        printf("The server has no key.\n");
    else if (id && strcmp(id, key) == 0)
        printf("The server works with the same.\n");
    else
        printf("The server works with %s %s%s%s.\n", id ? "another, the key" : "the key", key,
               path ? ", which it read from " : "", path ? path : "");
    if (key_text(status, "needed_key"))
        printf("CHAP secrets in the pool need the key %s.\n", key_text(status, "needed_key"));
    if (problem)
        ctl_note("warning: %s", problem);
}

static enum ctl_exit key_print(const struct invocation *in, const char *id, const json_t *status)
{
    AUTO_JSON json_t *result = json_pack(
        "{s:s?, s:s?, s:s?, s:s?, s:s?, s:s?}", "file", id ? in->args[0] : NULL, "key", id,
        "server_key", key_text(status, "key"), "server_key_file", key_text(status, "key_file"),
        "problem", key_text(status, "key_problem"), "needed_key", key_text(status, "needed_key"));
    if (!result)
        return ctl_no_memory(in);
    if (option_flag(in, "json"))
    {
        table_print_json(stdout, result);
        return CTL_DONE;
    }
    if (id)
        printf("%s has the key %s.\n", in->args[0], id);
    if (status)
        key_print_server(status, id);
    return CTL_DONE;
}

enum ctl_exit ctl_key_show(struct invocation *in)
{
    CLEANUP(host_key_wipe) struct host_key key = {0};
    AUTO_JSON json_t *status = NULL;
    struct reason why = {.text = ""};
    if (in->arg_count == 0)
    {
        enum ctl_exit exit = ctl_ask(in, "server.status", NULL, &status);
        return exit == CTL_DONE ? key_print(in, NULL, status) : exit;
    }
    ignore_error(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "it is here for a moment");
    int r = host_key_read(in->args[0], &key, &why);
    if (r < 0)
        return ctl_fail(in, r, why.text, NULL);
    status = key_ask_server(in);
    return key_print(in, key.id, status);
}
