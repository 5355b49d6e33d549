/* SPDX-License-Identifier: BSD-3-Clause */
/* lun maxsize; lun offline and online, which LUNs have no state for. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/ctl/ctl.h"

enum
{
    MAXSIZE_NAMES = 100, /* that are tried, until one is free */
};

const struct command_option command_maxsize_options[] = {
    {"owner", 0, "USER", "of a LUN of this user, whose quotas count", false},
    {0},
};

const char command_maxsize_details[] =
    "Of a thin LUN, which is bounded by quotas and by what a LUN can have at most, and of one made "
    "with --space-reserve yes, whose space has to be there. It is what lun create --dry-run finds "
    "no fault with. Without VOLUME: of a LUN in none.";

const char command_lun_state_details[] =
    "LUNs have no state that is offline: a host sees a LUN as long as it is mapped to its igroup.";

/* ---- maxsize -------------------------------------------------------------------------------- */

static const struct field maxsize_fields[] = {
    {"volume", "In", FIELD_TEXT, false},
    {"reserved", "Reserved", FIELD_TEXT, false},
    {"size_bytes", "Max size", FIELD_BYTES, false},
    {"reason", "A larger one", FIELD_TEXT, false},
    {0},
};

struct maxsize
{
    const struct invocation *in;
    struct client client;
    char name[LUN_NAME_MAX + 1]; /* of a LUN that there is not */
    bool is_reserved;
    struct client_refusal refusal; /* the last one */
};

/* Whether a LUN of @size_bytes could be made; an errno of the server's if not. */
static int maxsize_try(struct maxsize *maxsize, uint64_t size_bytes)
{
    AUTO_JSON json_t *result = NULL;
    json_t *args =
        json_pack("{s:s, s:o, s:b, s:b}", "name", maxsize->name, "size_bytes",
                  proto_json_uint(size_bytes), "reserve", (int)maxsize->is_reserved, "dry_run", 1);
    ctl_put(args, "sector_bytes", json_integer(512));
    ctl_put_text(args, "owner", option_text(maxsize->in, "owner"));
    return client_call(&maxsize->client, "lun.create", args, NULL, NULL, &result,
                       &maxsize->refusal);
}

/* A name that is free, in what the argument names. */
static int maxsize_choose_name(struct maxsize *maxsize)
{
    int r = -EEXIST;
    const char *in = maxsize->in->arg_count > 0 ? maxsize->in->args[0] : "";
    for (int i = 0; i < MAXSIZE_NAMES && r == -EEXIST; i++)
    {
        int len =
            snprintf(maxsize->name, sizeof(maxsize->name), "%s%smaxsize.%d", in, *in ? "/" : "", i);
        if ((size_t)len >= sizeof(maxsize->name))
            return reason_set(&maxsize->refusal.why, -EINVAL, "the name is too long");
        r = maxsize_try(maxsize, LUN_BLK_BYTES);
    }
    return r;
}

/* Bisects: what is refused at one size is at all larger ones. */
static int maxsize_find(struct maxsize *maxsize, bool is_reserved, json_t *rows)
{
    uint64_t fits_blks = 0, refused_blks = INT64_MAX / LUN_BLK_BYTES + 1;
    struct client_refusal refusal = {.hint = ""};
    maxsize->is_reserved = is_reserved;
    while (refused_blks - fits_blks > 1)
    {
        uint64_t blks = fits_blks + (refused_blks - fits_blks) / 2;
        int r = maxsize_try(maxsize, blks * LUN_BLK_BYTES);
        if (r == -ENOTCONN || r == -EACCES || r == -EPERM)
            return r;
        if (r == 0)
            fits_blks = blks;
        else
        {
            refused_blks = blks;
            refusal = maxsize->refusal;
        }
    }
    return json_array_append_new(
               rows, json_pack("{s:s, s:b, s:o, s:s}", "volume",
                               maxsize->in->arg_count > 0 ? maxsize->in->args[0] : "no volume",
                               "reserved", (int)is_reserved, "size_bytes",
                               proto_json_uint(fits_blks * LUN_BLK_BYTES), "reason",
                               refusal.why.text)) == 0
               ? 0
               : -ENOMEM;
}

enum ctl_exit ctl_lun_maxsize(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    struct maxsize maxsize = {.in = in};
    enum ctl_exit status = ctl_table_options(in, maxsize_fields, &options);
    if (status == CTL_DONE)
        status = ctl_connect(in, &maxsize.client);
    if (status != CTL_DONE)
        return status;
    json_t *rows = json_array();
    int r = maxsize_choose_name(&maxsize);
    if (r == 0 || r == -ENOSPC || r == -EDQUOT)
        r = maxsize_find(&maxsize, false, rows);
    if (r == 0)
        r = maxsize_find(&maxsize, true, rows);
    client_close(&maxsize.client);
    result = json_pack("{s:o, s:I}", "sizes", rows, "count", (json_int_t)json_array_size(rows));
    if (r == -ENOTCONN)
        return ctl_no_server(in, r, maxsize.refusal.why.text);
    if (r < 0)
        return ctl_fail(in, r, maxsize.refusal.why.text, maxsize.refusal.hint);
    return ctl_list(in, result, "sizes", maxsize_fields);
}

/* ---- offline, online ------------------------------------------------------------------------ */

enum ctl_exit ctl_lun_state(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    AUTO_FREE char *hint = NULL;
    bool online = strcmp(in->command->words, "lun online") == 0;
    enum ctl_exit status =
        ctl_ask(in, "mapping.show", json_pack("{s:s}", "name", in->args[0]), &result);
    if (status != CTL_DONE)
        return status;
    const json_t *first = json_array_get(json_object_get(result, "mappings"), 0);
    const char *igroup = json_string_value(json_object_get(first, "igroup"));
    if (igroup && !online &&
        asprintf(&hint, "lunette lun unmap %s --igroup %s", in->args[0], igroup) < 0)
        hint = NULL;
    if (online)
        return ctl_refuse(in,
                          igroup ? "LUNs are always online; this one is mapped, so hosts see it"
                                 : "LUNs are always online; hosts see it once 'lunette lun map' "
                                   "maps it to their igroup",
                          "lunette lun map --help");
    return ctl_refuse(in,
                      igroup ? "LUNs have no state that is offline; 'lunette lun unmap' takes it "
                               "from hosts, and 'lunette lun modify --read-only yes' from writes"
                             : "LUNs have no state that is offline; this one is mapped to no "
                               "igroup, so iSCSI hosts do not see it",
                      hint ? hint : "lunette lun unmap --help");
}
