/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Exports: what a client names, lists and negotiates.
 *
 * Names go to the engine as they come: "LUN", "VOLUME/QTREE/LUN", "LUN@SNAPSHOT", "A..B". A LUN
 * that an import fills is not listed and found only by the name that its importer has
 * (server/import.h). Names from clients are made printable before they are logged.
 */
#include "plugin/export.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <nbdkit-plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/lun.h"
#include "plugin/clients.h"
#include "plugin/config.h"
#include "plugin/nbd_error.h"
#include "plugin/service.h"
#include "plugin/shutdown.h"
#include "server/import.h"
#include "server/qos/qos.h"

enum
{
    EXPORT_LIST_MAX = 10000, /* nbdkit answers with an error and no list when there is one more */
    EXPORT_DESCRIPTION_BYTES = 1024,
    EXPORT_NAME_BYTES = sizeof(((struct lun_info *)0)->name),
    EXPORT_SHOWN_NAME_BYTES = 2 * EXPORT_NAME_BYTES, /* of a name in a message, "A..B" too */
    EXPORT_PREFERRED_BLOCK_BYTES = LUN_BLK_BYTES,
};

static struct list export_all = {&export_all, &export_all}; /* under export_all_lock */
static struct lock export_all_lock = {.mutex = PTHREAD_MUTEX_INITIALIZER, .rank = LOCK_RANK_LEAF};

/* ---- text ---------------------------------------------------------------------------------- */

/* For a message: what is not printable ASCII becomes '?', what is too long is cut. */
static const char *export_shown(char *shown, size_t size, const char *text)
{
    size_t i = 0;
    for (; text[i] != '\0' && i + 1 < size; i++)
        shown[i] =
            isascii((unsigned char)text[i]) && isprint((unsigned char)text[i]) ? text[i] : '?';
    shown[i] = '\0';
    return shown;
}

struct export_size_text
{
    char text[24];
};

/* "512 B", "4.0 KiB", "1.5 TiB". */
static struct export_size_text export_size_text(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    struct export_size_text result;
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1024 && unit + 1 < ARRAY_SIZE(units); unit++)
        value /= 1024;
    snprintf(result.text, sizeof(result.text), unit == 0 ? "%.0f %s" : "%.1f %s", value,
             units[unit]);
    return result;
}

/* "LUN of 10.0 GiB, mapped 1.2 GiB, own 8.0 KiB, clone of golden; COMMENT" */
static void export_describe(char *text, size_t size, const struct lun_info *info)
{
    int len =
        snprintf(text, size, "%s of %s, mapped %s, own %s",
                 info->kind == OBJECT_LUN ? "LUN" : "read-only snapshot",
                 export_size_text(info->size_bytes).text, export_size_text(info->mapped_bytes).text,
                 export_size_text(info->own_bytes).text);
    if (len > 0 && (size_t)len < size && info->origin[0])
        len += snprintf(text + len, size - (size_t)len, ", clone of %s", info->origin);
    if (len > 0 && (size_t)len < size && info->comment[0])
        snprintf(text + len, size - (size_t)len, "; %s", info->comment);
}

/* ---- list and default ---------------------------------------------------------------------- */

static int export_list_add(struct nbdkit_exports *exports, const struct lun_info *info)
{
    char text[EXPORT_DESCRIPTION_BYTES];
    export_describe(text, sizeof(text), info);
    return nbdkit_add_export(exports, info->name, text);
}

/* Adds LUNs only or all, until the list is full. */
static int export_list_fill(struct nbdkit_exports *exports, const struct lun_info *list,
                            size_t count, bool luns_only)
{
    AUTO_FREE uint64_t *imports = NULL;
    size_t added = 0, import_count = 0;
    if (import_list(service_pool(), &imports, &import_count) < 0)
        return -1;
    for (size_t i = 0; i < count && added < EXPORT_LIST_MAX; i++)
    {
        if ((luns_only && list[i].kind != OBJECT_LUN) ||
            import_is_among(imports, import_count, list[i].lun_id))
            continue;
        if (export_list_add(exports, &list[i]) < 0)
            return -1;
        added++;
    }
    if (added == EXPORT_LIST_MAX && count > added)
        nbdkit_error("warning: nbdkit can list %d exports, the pool has %zu LUNs and snapshots; "
                     "the others can be opened by name ('lunette lun show' lists them)",
                     EXPORT_LIST_MAX, count);
    return 0;
}

int export_list(int readonly, int is_tls, struct nbdkit_exports *exports)
{
    (void)readonly;
    (void)is_tls;
    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0;
    struct reason why;
    reason_clear(&why);
    int r = lun_list(service_pool(), NULL, &list, &count, &why);
    if (r < 0)
    {
        nbdkit_error("cannot list the exports: %s", why.text[0] ? why.text : strerror(-r));
        errno = nbd_error_of(r)->nbd_errno;
        return -1;
    }
    /* LUNs before snapshots where not all find room. */
    return export_list_fill(exports, list, count, count > EXPORT_LIST_MAX);
}

/* The name of the only LUN, into @name; false if there is another number of them. */
static bool export_only_lun(char name[EXPORT_NAME_BYTES], uint64_t *lun_count)
{
    struct pool_info pool;
    pool_get_info(service_pool(), &pool);
    *lun_count = pool.lun_count;
    if (pool.lun_count != 1)
        return false;

    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0;
    const struct lun_info *only = NULL;
    if (lun_list(service_pool(), NULL, &list, &count, NULL) < 0)
        return false;
    for (size_t i = 0; i < count; i++)
    {
        if (list[i].kind != OBJECT_LUN)
            continue;
        if (only)
            return false; /* one was made since */
        only = &list[i];
    }
    if (!only)
        return false;
    memcpy(name, only->name, EXPORT_NAME_BYTES);
    return true;
}

const char *export_default(int readonly, int is_tls)
{
    (void)readonly;
    (void)is_tls;
    if (plugin_config_get()->default_export)
        return plugin_config_get()->default_export;

    /* nbdkit copies it at once. Its own interned strings are no use here: without a connection they
     * go to a list that connections share without a lock. */
    static __thread char name[EXPORT_NAME_BYTES];
    uint64_t lun_count = 0;
    if (export_only_lun(name, &lun_count))
        return name;
    nbdkit_error("a client named no export, and the pool has %" PRIu64
                 " LUNs: name one (nbdinfo --list URI shows them), or start nbdkit with "
                 "default-export=NAME",
                 lun_count);
    return NULL;
}

/* ---- open and close ------------------------------------------------------------------------ */

static void export_destroy(struct export *export)
{
    if (!export)
        return;
    qos_lun_close(export->qos);
    lun_close(export->lun);
    lock_destroy(&export->lock);
    free(export->name);
    free(export->description);
    free(export);
}

static void cleanup_export(struct export **export)
{
    export_destroy(*export);
}
#define AUTO_EXPORT CLEANUP(cleanup_export)

/* Tells the log why @name cannot be opened, and sets errno for nbdkit. */
static void *export_refuse(const char *name, int err, const struct reason *why)
{
    char shown[EXPORT_SHOWN_NAME_BYTES];
    char reason[sizeof(why->text)]; /* which may quote the name */
    nbdkit_error("cannot open export \"%s\": %s%s", export_shown(shown, sizeof(shown), name),
                 export_shown(reason, sizeof(reason), why->text[0] ? why->text : strerror(-err)),
                 err == -ENOENT ? " What there is: nbdinfo --list URI, or 'lunette lun show'."
                                : "");
    errno = nbd_error_of(err)->nbd_errno;
    return NULL;
}

/* Writable if the export can be and @read_only is not asked for. */
static int export_open_lun(const char *name, bool read_only, struct lun **lun, struct reason *why)
{
    int r = -EROFS;
    if (!read_only)
        r = lun_open(service_pool(), name, 0, lun, why);
    if (r == -EROFS)
    {
        reason_clear(why);
        r = lun_open(service_pool(), name, LUN_READ_ONLY, lun, why);
    }
    return r;
}

/*
 * By which reservations know the LUN. @import_id: the one that an importer is after, which others
 * of its name are not; 0: a client's, which does not get what is not whole.
 */
static int export_find_id(struct export *export, uint64_t import_id, struct reason *why)
{
    struct lun_info info;
    if (strstr(export->name, ".."))
        return 0;
    int r = lun_describe(export->lun, &info);
    if (r == 0 && import_id == 0)
        r = import_check(service_pool(), &info, why);
    if (r == 0 && import_id != 0 && info.id != import_id)
        r = -ESTALE;
    if (r == 0)
        export->lun_id = info.id;
    return r;
}

/* The LUN that the importer's name @export means, by its present name; -ENOENT also if its import
 * is over. */
static int export_find_import(uint64_t id, char name[EXPORT_NAME_BYTES], struct reason *why)
{
    struct lun_info info;
    int r = lun_get_info_by_id(service_pool(), id, &info);
    if (r == 0)
        r = import_check(service_pool(), &info, why);
    if (r < 0 && r != -EBUSY)
        return r;
    if (r == 0)
        return reason_set(why, -ENOENT, "LUN '%s' is whole: its import is over.", info.name);
    reason_clear(why);
    memcpy(name, info.name, EXPORT_NAME_BYTES);
    return 0;
}

static bool export_is_over_cb(void *opaque, int reason)
{
    (void)reason;
    return export_is_over(opaque);
}

void *export_open(int readonly)
{
    const char *name = nbdkit_export_name();
    if (!name)
        return NULL;
    AUTO_EXPORT struct export *export = calloc(1, sizeof(*export));
    struct reason why;
    reason_clear(&why);
    if (!export)
        return export_refuse(name, -ENOMEM, &why);
    list_init(&export->link);
    lock_init(&export->lock, LOCK_RANK_LEAF);
    export->name = strdup(name);
    export->description = malloc(EXPORT_DESCRIPTION_BYTES);
    if (!export->name || !export->description)
        return export_refuse(name, -ENOMEM, &why);
    int r = 0;
    uint64_t import_id = 0;
    char filled[EXPORT_NAME_BYTES];
    const char *opened = name;
    if (import_is_export(name, &import_id))
    {
        r = export_find_import(import_id, filled, &why);
        opened = filled;
    }
    if (r == 0)
        r = export_open_lun(opened, readonly, &export->lun, &why);
    if (r == 0)
        r = export_find_id(export, import_id, &why);
    if (r == 0)
        r = qos_lun_open(service_target() ? target_qos(service_target()) : NULL, export->lun,
                         &export->qos);
    if (r < 0)
        return export_refuse(name, r, &why);
    /* Who hangs up leaves no write behind that waits for room, and keeps the LUN open. */
    lun_set_is_over(export->lun, export_is_over_cb, export);

    clients_handshake_is_over();
    AUTO_LOCK(&export_all_lock);
    list_add_tail(&export_all, &export->link);
    return take_ptr(&export);
}

static void export_close_one(struct export *export)
{
    lock_take(&export_all_lock);
    list_remove(&export->link);
    lock_release(&export_all_lock);
    export_destroy(export);
}

void export_close(void *handle)
{
    export_close_one(handle);
    clients_handshake_goes_on();
}

void export_close_all(void)
{
    list_for_each_safe (export, &export_all, struct export, link)
        export_close_one(export);
}

bool export_is_over(struct export *export)
{
    AUTO_LOCK(&export->lock);
    if (shutdown_is_told())
        return true;
    /* nbdkit tells nobody that a client hung up, but ends such a sleep early, and logs that. */
    if (!export->is_hung_up)
        export->is_hung_up = nbdkit_nanosleep(0, 1) < 0;
    return export->is_hung_up;
}

/* ---- negotiation --------------------------------------------------------------------------- */

const char *export_description(void *handle)
{
    struct export *export = handle;
    struct lun_info info;
    /* No description is no error in the protocol. */
    if (lun_describe(export->lun, &info) < 0)
        return NULL;
    if (strstr(export->name, ".."))
        snprintf(export->description, EXPORT_DESCRIPTION_BYTES,
                 "read-only difference of %s: what is equal in both is a hole",
                 export_size_text(lun_size_bytes(export->lun)).text);
    else
        export_describe(export->description, EXPORT_DESCRIPTION_BYTES, &info);
    return export->description;
}

int64_t export_get_size(void *handle)
{
    struct export *export = handle;
    return (int64_t)lun_size_bytes(export->lun);
}

int export_block_size(void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{
    (void)handle;
    *minimum = 1;
    *preferred = EXPORT_PREFERRED_BLOCK_BYTES;
    *maximum = LUN_IO_MAX_BYTES;
    return 0;
}

int export_can_write(void *handle)
{
    struct export *export = handle;
    return !lun_is_read_only(export->lun);
}

/* Also of what is read-only: it costs nothing, and clients that flush before they close work. */
int export_can_flush(void *handle)
{
    (void)handle;
    return 1;
}

int export_can_fua(void *handle)
{
    (void)handle;
    return NBDKIT_FUA_NATIVE;
}

int export_can_extents(void *handle)
{
    (void)handle;
    return 1;
}

int export_can_cache(void *handle)
{
    (void)handle;
    return NBDKIT_CACHE_NATIVE;
}

/* A flush makes every completed write of the LUN durable, whichever connection it came by. */
int export_can_multi_conn(void *handle)
{
    (void)handle;
    return 1;
}

int export_is_rotational(void *handle)
{
    (void)handle;
    return 0;
}

/* ---- errors -------------------------------------------------------------------------------- */

/* Whether it is the first error of its kind on this connection. */
static bool export_is_news(struct export *export, const struct nbd_error *error)
{
    unsigned kind = 1u << nbd_error_index(error);
    AUTO_LOCK(&export->lock);
    bool is_news = !(export->logged & kind);
    export->logged |= kind;
    return is_news;
}

void export_log_refusal(struct export *export, const struct nbd_error *error, const char *what,
                        const struct reason *why)
{
    char shown[EXPORT_SHOWN_NAME_BYTES];
    if (export_is_news(export, error))
        nbdkit_error("export \"%s\": %s refused: %s (logged once per connection)",
                     export_shown(shown, sizeof(shown), export->name), what,
                     why->text[0] ? why->text : error->text);
}

void export_log_error(struct export *export, const struct nbd_error *error, const char *what,
                      uint64_t len, uint64_t offset)
{
    if (!export_is_news(export, error))
        return;
    char shown[EXPORT_SHOWN_NAME_BYTES];
    nbdkit_error("export \"%s\": %s of %" PRIu64 " bytes at %" PRIu64
                 " failed: %s (logged once per connection)",
                 export_shown(shown, sizeof(shown), export->name), what, len, offset, error->text);
}
