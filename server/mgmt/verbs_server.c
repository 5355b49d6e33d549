/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs on the server itself and on the configuration store. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "server/access.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/view.h"

/* ---- server -------------------------------------------------------------------------------- */

static json_t *verb_text(const char *text)
{
    return text ? json_string(text) : json_null();
}

/* How CHAP secrets lie in the pool, which key the server has, and which its file. */
static int verb_add_secrets(struct verb_request *request)
{
    struct reason problem = {.text = ""};
    const char *key_path = target_options_of(request->target)->key_path;
    struct access *access = target_access(request->target);
    struct access_chap_counts counts = {0};
    const char *key = access ? access_key_id(access) : NULL;
    if (access)
        access_chap_count(access, &counts);
    ignore_error(target_check_key(request->target, &problem), "the reason is what is shown");
    AUTO_JSON json_t *secrets =
        json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:o}", "key", verb_text(key), "key_file",
                  verb_text(key ? key_path : NULL), "key_problem",
                  verb_text(problem.text[0] ? problem.text : NULL), "secrets_in_clear",
                  (json_int_t)counts.clear, "secrets_wrapped", (json_int_t)counts.wrapped,
                  "secrets_locked", (json_int_t)counts.locked, "needed_key",
                  verb_text(counts.needed[0] ? counts.needed : NULL));
    return secrets && json_object_update(request->result, secrets) == 0 ? 0 : -ENOMEM;
}

int verb_server_status(struct verb_request *request)
{
    const struct target_options *options = target_options_of(request->target);
    struct pool_info info;
    pool_get_info(request->pool, &info);
    json_t *portals = json_array();
    for (size_t i = 0; i < target_iscsi_portals(request->target); i++)
        ignore_error(
            json_array_append_new(portals, json_string(target_iscsi_portal(request->target, i))),
            "shown only");
    uint64_t up_s = info.open_for_ns / 1000000000;
    request->result = json_pack(
        "{s:s, s:i, s:I, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:b}", /**/
        "version", LUNETTE_VERSION, "pid", (int)getpid(), "uptime_s", (json_int_t)up_s, "pool",
        info.name, "path", info.path, "health", pool_health_name(info.health), "socket",
        verb_text(options->mgmt_socket), "nbd_uri", verb_text(options->nbd_uri), "iscsi_portals",
        portals, "iscsi_target", verb_text(target_iscsi_name(request->target)), "management_group",
        verb_text(options->management_group), "conf", verb_text(options->conf_path), "connections",
        (json_int_t)request->connections, "luns", (json_int_t)info.lun_count, "may_change",
        (int)request->peer.may_change);
    return request->result ? verb_add_secrets(request) : -ENOMEM;
}

int verb_server_stop(struct verb_request *request)
{
    request->stop_server = request->is_done = true;
    request->result = json_pack("{s:i}", "pid", (int)getpid());
    return request->result ? 0 : -ENOMEM;
}

/* ---- configuration store ------------------------------------------------------------------- */

static json_t *verb_stored(const char *key, const void *value, size_t len)
{
    /* A NUL is no text either: nobody's parser takes it. */
    bool has_nul = len > 0 && memchr(value, '\0', len);
    json_t *text = has_nul ? NULL : json_stringn(value, len);
    return json_pack("{s:s, s:I, s:o}", "key", key, "bytes", (json_int_t)len, "value",
                     text ? text : json_null()); /* null: not text */
}

int verb_store_get(struct verb_request *request)
{
    AUTO_FREE void *value = NULL;
    size_t len;
    const char *key = verb_string(request, "key");
    int r = store_get(request->pool, key, &value, &len);
    if (r < 0)
        return reason_set(&request->why, r, "there is no '%s' in the store", key);
    request->result = verb_stored(key, value, len);
    return request->result ? 0 : -ENOMEM;
}

static int verb_store_each_cb(void *opaque, const char *key, const void *value, size_t len)
{
    return json_array_append_new(opaque, verb_stored(key, value, len)) == 0 ? 0 : -ENOMEM;
}

int verb_store_list(struct verb_request *request)
{
    const char *prefix = verb_string(request, "prefix");
    json_t *array = json_array();
    int r = store_list(request->pool, prefix ? prefix : "", verb_store_each_cb, array);
    request->result = view_listing("entries", array);
    return request->result ? r : -ENOMEM;
}
