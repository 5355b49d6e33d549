/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds and loads lunette-transfer.so. */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "server/ctl/transfer_module.h"

static void *transfer_open_module(void)
{
    static const char *const places[] = {"", "/../lib/lunette"};
    char here[4096], path[sizeof(here) + 64];
    ssize_t len = readlink("/proc/self/exe", here, sizeof(here) - 1);
    here[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(here, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; slash && i < ARRAY_SIZE(places); i++)
    {
        snprintf(path, sizeof(path), "%s%s/lunette-transfer.so", here, places[i]);
        if (access(path, F_OK) == 0)
            return dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    return dlopen("lunette-transfer.so", RTLD_NOW | RTLD_LOCAL);
}

int transfer_module_load(const struct transfer_module **module, struct reason *why)
{
    void *handle = transfer_open_module();
    const struct transfer_module *found = handle ? dlsym(handle, TRANSFER_MODULE_SYMBOL) : NULL;
    if (!found)
        return reason_set(why, -ENOENT, "its part for images cannot be loaded: %s", dlerror());
    *module = found;
    return 0;
}
