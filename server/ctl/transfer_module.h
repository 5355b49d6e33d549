/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transfer.h as a module that is loaded when it is needed.
 *
 * The libraries of NBD and iSCSI bring some twenty others along; loading them takes longer than all
 * that most commands do. So they hang on lunette-transfer.so, which only import and export load.
 */
#ifndef SERVER_CTL_TRANSFER_MODULE_H
#define SERVER_CTL_TRANSFER_MODULE_H

#include "server/ctl/transfer.h"

struct transfer_module
{
    int (*size)(const char *source, const char *format, uint64_t *size_bytes, struct reason *why);
    int (*run)(const struct transfer_options *options, struct transfer_result *result,
               struct reason *why);
    char *(*redact)(const char *place);
};

/* The symbol that the module exports. */
#define TRANSFER_MODULE_SYMBOL "lunette_transfer_module"

/* Loads it, for the life of the program. -ENOENT: it is not beside this program nor installed. */
MUST_CHECK int transfer_module_load(const struct transfer_module **module, struct reason *why);

#endif
