/* SPDX-License-Identifier: BSD-3-Clause */
/* lun salvage. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "server/ctl/ctl.h"
#include "server/units.h"

static const struct field salvage_fields[] = {
    {"name", "Name", FIELD_TEXT, false},
    {"size_bytes", "Size", FIELD_BYTES, false},
    {"mapped_bytes", "Mapped", FIELD_BYTES, false},
    {"lost_bytes", "Lost", FIELD_BYTES, false},
    {"lost_ranges", "Places", FIELD_COUNT, false},
    {"state", "State", FIELD_TEXT, false},
    {0},
};

struct lost_range
{
    uint64_t from, to;
};

struct copying
{
    int fd;    /* -1: nothing is written */
    int error; /* of writing */
    bool shows_progress;
    uint64_t mapped_bytes, copied_bytes, lost_bytes;
    uint64_t end; /* of what was told */
    struct lost_range *lost;
    size_t lost_count, lost_capacity;
};

/* @found: what of it can be read. */
static const char *salvage_state(const struct salvage_item *item, const struct copying *found)
{
    if (!item->is_there || (found->lost_bytes > 0 && found->copied_bytes == 0))
        return "lost";
    if (item->is_old)
        return "of an old page";
    if (found->lost_bytes > 0)
        return "lost in part";
    return item->is_unnamed ? "without a name" : "there";
}

/* ---- copying ------------------------------------------------------------------------------- */

static int copying_lose(struct copying *copying, uint64_t offset, uint64_t len)
{
    struct lost_range *last = copying->lost_count ? &copying->lost[copying->lost_count - 1] : NULL;
    copying->lost_bytes += len;
    if (last && last->to == offset)
    {
        last->to += len;
        return 0;
    }
    if (!copying->lost || copying->lost_count == copying->lost_capacity)
    {
        size_t capacity = copying->lost_capacity ? 2 * copying->lost_capacity : 64;
        struct lost_range *lost = realloc(copying->lost, capacity * sizeof(*lost));
        if (!lost)
            return -ENOMEM;
        copying->lost = lost;
        copying->lost_capacity = capacity;
    }
    copying->lost[copying->lost_count++] = (struct lost_range){offset, offset + len};
    return 0;
}

static int copying_part_cb(void *opaque, uint64_t offset, uint64_t len, const void *bytes)
{
    struct copying *copying = opaque;
    copying->end = offset + len;
    if (!bytes)
        return copying_lose(copying, offset, len);
    for (uint64_t done = 0; copying->fd >= 0 && done < len;)
    {
        ssize_t n =
            pwrite(copying->fd, (const uint8_t *)bytes + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return copying->error = n < 0 ? -errno : -ENOSPC;
        done += (uint64_t)n;
    }
    copying->copied_bytes += len;
    if (copying->shows_progress && copying->mapped_bytes > 0)
        fprintf(stderr, "\r%" PRIu64 " %% copied, %" PRIu64 " bytes lost\033[K",
                min_u64(100, copying->copied_bytes / (copying->mapped_bytes / 100 + 1)),
                copying->lost_bytes);
    return 0;
}

static void map_line(FILE *file, uint64_t from, uint64_t to, char status)
{
    if (to > from)
        fprintf(file, "0x%08" PRIX64 "  0x%08" PRIX64 "  %c\n", from, to - from, status);
}

/* In the form of ddrescue: '+' is there, '-' is lost. */
static int salvage_write_map(const struct copying *copying, const char *path, uint64_t size_bytes)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return -errno;
    fprintf(file, "# Mapfile. Created by lunette lun salvage\n"
                  "# current_pos  current_status  current_pass\n"
                  "0x00000000     +               1\n"
                  "#      pos        size  status\n");
    uint64_t at = 0;
    for (size_t i = 0; i < copying->lost_count; i++)
    {
        map_line(file, at, copying->lost[i].from, '+');
        map_line(file, copying->lost[i].from, copying->lost[i].to, '-');
        at = copying->lost[i].to;
    }
    map_line(file, at, size_bytes, '+');
    bool failed = ferror(file) != 0;
    return fclose(file) != 0 || failed ? -EIO : 0;
}

static enum ctl_exit salvage_refuse(const struct invocation *in, int err, const char *why)
{
    char hint[512];
    snprintf(hint, sizeof(hint), "lunette lun salvage --list --pool %.400s",
             option_text(in, "pool"));
    return ctl_fail(in, err, why, hint);
}

/* ---- listing ------------------------------------------------------------------------------- */

/* What of @item is lost, by its map; of one whose map is lost that is not known. */
static json_t *salvage_view(struct salvage *salvage, const struct salvage_item *item)
{
    struct copying looking = {.fd = -1};
    int r = item->is_there ? salvage_read_map(salvage, item->name, copying_part_cb, &looking, NULL)
                           : -EBADMSG;
    free(looking.lost);
    return json_pack("{s:s, s:I, s:I, s:o, s:o, s:s}", "name", item->name, "size_bytes",
                     (json_int_t)item->size_bytes, "mapped_bytes", (json_int_t)item->mapped_bytes,
                     "lost_bytes", r == 0 ? proto_json_uint(looking.lost_bytes) : json_null(),
                     "lost_ranges", r == 0 ? proto_json_uint(looking.lost_count) : json_null(),
                     "state", r == 0 ? salvage_state(item, &looking) : "lost");
}

static enum ctl_exit salvage_list(const struct invocation *in, struct salvage *salvage)
{
    char text[128];
    size_t count = salvage_count(salvage), damaged = 0;
    json_t *items = json_array();
    AUTO_JSON json_t *listing = json_pack("{s:o}", "items", items);
    for (size_t i = 0; i < count; i++)
    {
        json_t *view = salvage_view(salvage, salvage_item(salvage, i));
        const json_t *lost_bytes = json_object_get(view, "lost_bytes");
        damaged +=
            !lost_bytes || !json_is_integer(lost_bytes) || json_integer_value(lost_bytes) > 0;
        if (json_array_append_new(items, view) != 0)
            return ctl_no_memory(in);
    }
    ctl_put(listing, "count", proto_json_uint(count));
    ctl_put(listing, "damaged", proto_json_uint(damaged));
    enum ctl_exit status = ctl_list(in, listing, "items", salvage_fields);
    if (status == CTL_DONE && salvage_way(salvage) == SALVAGE_RAW)
        return ctl_conclude(in, "the catalog is damaged: what is not listed is lost with it",
                            "lunette lun salvage --help");
    if (status != CTL_DONE || damaged == 0)
        return status;
    snprintf(text, sizeof(text), "%zu of %zu LUNs and snapshots lack%s something", damaged, count,
             damaged == 1 ? "s" : "");
    return ctl_conclude(in, text, "lunette lun salvage --help");
}

/* ---- one of them --------------------------------------------------------------------------- */

static void salvage_print(const struct invocation *in, const struct salvage_item *item,
                          const struct copying *copying, enum salvage_way way)
{
    static const char *const ways[] = {"whole", "repaired", "raw"};
    char copied[UNITS_TEXT_MAX], lost[UNITS_TEXT_MAX];
    const char *to = option_text(in, "to");
    bool dry_run = option_flag(in, "dry-run");
    AUTO_JSON json_t *result =
        json_pack("{s:s, s:s?, s:I, s:I, s:I, s:I, s:s, s:s, s:b}", "name", item->name, "to", to,
                  "size_bytes", (json_int_t)item->size_bytes, "copied_bytes",
                  (json_int_t)copying->copied_bytes, "lost_bytes", (json_int_t)copying->lost_bytes,
                  "lost_ranges", (json_int_t)copying->lost_count, "pool", ways[way], "state",
                  salvage_state(item, copying), "dry_run", (int)dry_run);
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else
        printf("%s %s of %s%s%s; %s %s lost%s%zu%s\n", dry_run ? "Would copy" : "Copied",
               units_format_bytes(copying->copied_bytes, 'h', copied), item->name, to ? " to " : "",
               to ? to : "", units_format_bytes(copying->lost_bytes, 'h', lost),
               dry_run                    ? "would be"
               : copying->lost_bytes == 1 ? "is"
                                          : "are",
               ", in ", copying->lost_count, copying->lost_count == 1 ? " place." : " places.");
    if (way == SALVAGE_REPAIRED)
        ctl_note("the pool does not open; its last changes may not be there");
    if (way == SALVAGE_RAW)
        ctl_note("the catalog is damaged; this is as the last checkpoint left it");
    if (item->is_old)
        ctl_note("%s was found on a page that may be out of date; parts of it may be data of "
                 "others",
                 item->name);
}

static enum ctl_exit salvage_conclude(const struct invocation *in, const struct salvage_item *item,
                                      const struct copying *copying)
{
    char text[sizeof(item->name) + 128], lost[UNITS_TEXT_MAX];
    if (copying->lost_bytes > 0)
        snprintf(text, sizeof(text), "%s of '%s' %s lost; --map FILE lists where",
                 units_format_bytes(copying->lost_bytes, 'h', lost), item->name, "are");
    else
        snprintf(text, sizeof(text), "'%s' may hold data of others", item->name);
    return copying->lost_bytes > 0 || item->is_old ? ctl_conclude(in, text, NULL) : CTL_DONE;
}

static enum ctl_exit salvage_copy(const struct invocation *in, struct salvage *salvage,
                                  const struct salvage_item *item, struct copying *copying)
{
    struct reason why = {.text = ""};
    const char *map = option_text(in, "map");
    bool writes = copying->fd >= 0;
    int r = salvage_read(salvage, item->name, copying_part_cb, copying, &why);
    if (copying->shows_progress)
        fputs("\r\033[K", stderr);
    if (r < 0 && copying->error < 0)
        ignore_error(
            reason_set(&why, r, "'%s' cannot be written: %s", option_text(in, "to"), strerror(-r)),
            "said below");
    if (r < 0)
        return salvage_refuse(in, r, why.text);
    uint64_t size_bytes = item->size_bytes ? item->size_bytes : copying->end;
    if (writes && item->size_bytes && ftruncate(copying->fd, (off_t)item->size_bytes) < 0)
        r = -errno;
    if (writes && fsync(copying->fd) < 0)
        r = -errno;
    if (r < 0)
        return ctl_fail(in, r, NULL, NULL);
    if (writes && map)
        r = salvage_write_map(copying, map, size_bytes);
    if (r < 0)
    {
        reason_set(&why, r, "the map '%s' cannot be written: %s", map, strerror(-r));
        return ctl_fail(in, r, why.text, NULL);
    }
    salvage_print(in, item, copying, salvage_way(salvage));
    return salvage_conclude(in, item, copying);
}

static const struct salvage_item *salvage_find(const struct salvage *salvage, const char *name)
{
    for (size_t i = 0; i < salvage_count(salvage); i++)
    {
        if (strcmp(salvage_item(salvage, i)->name, name) == 0)
            return salvage_item(salvage, i);
    }
    return NULL;
}

static enum ctl_exit salvage_one(const struct invocation *in, struct salvage *salvage)
{
    const char *to = option_text(in, "to");
    char why[2048];
    bool dry_run = option_flag(in, "dry-run"), overwrite = option_flag(in, "overwrite");
    const struct salvage_item *item = salvage_find(salvage, in->args[0]);
    if (!item || !item->is_there)
    {
        snprintf(why, sizeof(why),
                 item ? "the map of '%s' is lost as a whole" : "'%s' was not found", in->args[0]);
        return salvage_refuse(in, item ? -EBADMSG : -ENOENT, why);
    }
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (overwrite ? O_TRUNC : O_EXCL);
    int r = 0;
    AUTO_CLOSE int fd = dry_run ? -1 : open(to, flags, 0600);
    if (dry_run && to && !overwrite && access(to, F_OK) == 0)
        r = -EEXIST;
    else if (!dry_run && fd < 0)
        r = -errno;
    if (r < 0)
    {
        snprintf(why, sizeof(why), "'%s' cannot be made: %s%s", to, strerror(-r),
                 r == -EEXIST ? "; --overwrite replaces it" : "");
        return ctl_fail(in, r, why, NULL);
    }
    struct copying copying = {.fd = fd,
                              .shows_progress = isatty(STDERR_FILENO) && !option_flag(in, "json"),
                              .mapped_bytes = item->mapped_bytes};
    enum ctl_exit status = salvage_copy(in, salvage, item, &copying);
    free(copying.lost);
    return status;
}

enum ctl_exit ctl_lun_salvage(struct invocation *in)
{
    bool list = option_flag(in, "list");
    struct salvage *salvage;
    struct reason why = {.text = ""};
    struct table_options options;
    enum ctl_exit status = ctl_table_options(in, salvage_fields, &options);
    if (status != CTL_DONE)
        return status;
    if (!option_text(in, "pool"))
        return ctl_usage(in, "--pool says of which pool; of one that is served, use lun export");
    if (list == (in->arg_count > 0) ||
        (!list && !option_text(in, "to") && !option_flag(in, "dry-run")))
        return ctl_usage(in, "give --list, or a NAME and --to FILE");
    int r = salvage_open(env_system(), option_text(in, "pool"), &salvage, &why);
    if (r < 0)
        return ctl_fail(in, r, why.text, r == -EBUSY ? "lunette lun export --help" : NULL);
    status = list ? salvage_list(in, salvage) : salvage_one(in, salvage);
    salvage_close(salvage);
    return status;
}
