/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The resume file: how far a transfer has durably come.
 *
 * Replaced as a whole (written beside, synced, renamed), readable by its owner only, and without
 * the passwords of the URLs it names.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/cleanup.h"
#include "server/ctl/transfer_internal.h"
#include "server/mgmt/proto.h"

static const char transfer_state_kind[] = "lunette transfer 1";

void transfer_state_destroy(struct transfer_state *state)
{
    free(state->source);
    free(state->destination);
    free(state->source_identity);
    *state = (struct transfer_state){0};
}

static int transfer_state_number(const json_t *root, const char *key, uint64_t *value)
{
    const json_t *item = json_object_get(root, key);
    if (!json_is_integer(item) || json_integer_value(item) < 0)
        return -EBADMSG;
    *value = (uint64_t)json_integer_value(item);
    return 0;
}

static int transfer_state_text(const json_t *root, const char *key, char **value)
{
    const char *text = json_string_value(json_object_get(root, key));
    if (!text)
        return -EBADMSG;
    *value = strdup(text);
    return *value ? 0 : -ENOMEM;
}

static int transfer_state_parse(const json_t *root, struct transfer_state *state)
{
    const char *kind = json_string_value(json_object_get(root, "kind"));
    if (!kind || strcmp(kind, transfer_state_kind) != 0)
        return -EBADMSG;
    int r = transfer_state_text(root, "source", &state->source);
    r = keep_first(r, transfer_state_text(root, "destination", &state->destination));
    r = keep_first(r, transfer_state_text(root, "source_identity", &state->source_identity));
    r = keep_first(r, transfer_state_number(root, "size_bytes", &state->size_bytes));
    r = keep_first(r, transfer_state_number(root, "durable_bytes", &state->durable));
    r = keep_first(r, transfer_state_number(root, "read_bytes", &state->counts.read));
    r = keep_first(r, transfer_state_number(root, "hole_bytes", &state->counts.hole));
    r = keep_first(r, transfer_state_number(root, "written_bytes", &state->counts.written));
    r = keep_first(r, transfer_state_number(root, "zeroed_bytes", &state->counts.zeroed));
    r = keep_first(r, transfer_state_number(root, "skipped_bytes", &state->counts.skipped));
    state->skips_zeros = json_is_true(json_object_get(root, "skips_zeros"));
    if (r == 0 && state->durable > state->size_bytes)
        r = -EBADMSG;
    return r;
}

int transfer_state_load(const char *path, struct transfer_state *state, struct reason *why)
{
    *state = (struct transfer_state){0};
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return -ENOENT;
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    int r = root ? transfer_state_parse(root, state) : -EBADMSG;
    json_decref(root);
    if (r == -EBADMSG)
        r = reason_set(why, r,
                       "%s does not say how far a transfer has come (%s): remove it to begin anew",
                       path, root ? "fields are missing or wrong" : error.text);
    if (r < 0)
        transfer_state_destroy(state);
    return r;
}

static json_t *transfer_state_json(const struct transfer_state *state)
{
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:I, s:I, s:I, s:I, s:I}", "kind", transfer_state_kind,
        "source", state->source, "destination", state->destination, "source_identity",
        state->source_identity, "size_bytes", (json_int_t)state->size_bytes, "durable_bytes",
        (json_int_t)state->durable, "skips_zeros", (int)state->skips_zeros, "read_bytes",
        (json_int_t)state->counts.read, "hole_bytes", (json_int_t)state->counts.hole,
        "written_bytes", (json_int_t)state->counts.written, "zeroed_bytes",
        (json_int_t)state->counts.zeroed, "skipped_bytes", (json_int_t)state->counts.skipped);
}

static int transfer_state_write(const char *path, const char *text)
{
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    size_t len = strlen(text);
    ssize_t n = write(fd, text, len);
    if (n < 0 || (size_t)n < len)
        return n < 0 ? -errno : -ENOSPC;
    return fsync(fd) < 0 ? -errno : 0;
}

int transfer_state_save(const char *path, const struct transfer_state *state, struct reason *why)
{
    AUTO_FREE char *beside = NULL;
    if (asprintf(&beside, "%s.new", path) < 0)
    {
        beside = NULL;
        return -ENOMEM;
    }
    json_t *root = transfer_state_json(state);
    AUTO_FREE char *text = root ? proto_dump(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    if (!text) /* a path that is no UTF-8 cannot be written as JSON */
        return reason_set(why, -EINVAL, "cannot note the progress in %s: a name is not UTF-8",
                          path);
    int r = transfer_state_write(beside, text);
    if (r == 0 && rename(beside, path) < 0)
        r = -errno;
    if (r < 0)
    {
        unlink(beside);
        return reason_set(why, r, "cannot note the progress in %s: %s", path, strerror(-r));
    }
    return endpoint_sync_folder(path, why);
}

int transfer_save(struct transfer *t, struct reason *why)
{
    struct transfer_state state = {
        .source = t->source->name,
        .destination = t->destination->name,
        .source_identity = t->source->identity,
        .size_bytes = t->size_bytes,
        .durable = t->durable,
        .skips_zeros = t->skips_zeros,
        .counts = t->durable_counts,
    };
    return transfer_state_save(t->options->resume_file, &state, why);
}
