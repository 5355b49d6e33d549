/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of nbdkit's callbacks, and nothing else.
 *
 * Elsewhere: parameters (config.c), the pool's life (service.c), what a connection negotiates
 * (export.c), requests (io.c), errors (nbd_error.c), how many clients there may be (clients.c),
 * ending idle clients (shutdown.c).
 */
#include <nbdkit-plugin.h>

#include "plugin/clients.h"
#include "plugin/config.h"
#include "plugin/export.h"
#include "plugin/io.h"
#include "plugin/service.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

static struct nbdkit_plugin plugin = {
    .name = "lunette",
    .longname = "Lunette",
    .version = LUNETTE_VERSION,
    .description = "Serves the LUNs of a Lunette pool and their snapshots; clones are instant.",
    .magic_config_key = "pool",
    .config_help = plugin_config_help,
    .errno_is_preserved = 1,

    .config = plugin_config_set,
    .config_complete = plugin_config_complete,
    .dump_plugin = plugin_config_dump_plugin,
    .get_ready = service_get_ready,
    .after_fork = service_after_fork,
    .cleanup = service_cleanup,
    .unload = service_unload,

    .preconnect = clients_preconnect,
    .list_exports = export_list,
    .default_export = export_default,
    .open = export_open,
    .close = export_close,
    .export_description = export_description,
    .get_size = export_get_size,
    .block_size = export_block_size,
    .can_write = export_can_write,
    .can_trim = export_can_write,
    .can_zero = export_can_write,
    .can_fast_zero = export_can_write,
    .can_flush = export_can_flush,
    .can_fua = export_can_fua,
    .can_extents = export_can_extents,
    .can_cache = export_can_cache,
    .can_multi_conn = export_can_multi_conn,
    .is_rotational = export_is_rotational,

    .pread = io_pread,
    .pwrite = io_pwrite,
    .flush = io_flush,
    .trim = io_trim,
    .zero = io_zero,
    .extents = io_extents,
    .cache = io_cache,
};

/* The only function that nbdkit looks up by name. */
struct nbdkit_plugin *plugin_init(void);

NBDKIT_REGISTER_PLUGIN(plugin)
