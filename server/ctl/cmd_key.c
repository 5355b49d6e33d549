/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * key create, show: the file that wraps secrets in a pool. Neither needs a server, and nothing here
 * prints a key.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "server/ctl/ctl.h"
#include "server/host_key.h"

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
    struct reason why = {.text = ""};
    ignore_error(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "it is here for a moment");
    int r = host_key_create(in->args[0], &key, &why);
    if (r < 0)
        return ctl_fail(in, r, why.text, r == -EEXIST ? "lunette key show FILE" : NULL);
    if (!option_flag(in, "json"))
        printf("Made key %s in %s. Keep a copy of the file away from the pool: without it the "
               "secrets that it wraps are lost.\n"
               "Serve with it: lunette serve --key-file %s ...\n",
               key.id, in->args[0], in->args[0]);
    return key_say(in, &key);
}

enum ctl_exit ctl_key_show(struct invocation *in)
{
    CLEANUP(host_key_wipe) struct host_key key = {0};
    struct reason why = {.text = ""};
    ignore_error(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "it is here for a moment");
    int r = host_key_read(in->args[0], &key, &why);
    if (r < 0)
        return ctl_fail(in, r, why.text, NULL);
    if (!option_flag(in, "json"))
        printf("%s has the key %s.\n", in->args[0], key.id);
    return key_say(in, &key);
}
