/* SPDX-License-Identifier: BSD-3-Clause */
/* The only thing that lunette-transfer.so shows of itself. */
#include "server/ctl/transfer_module.h"

extern const struct transfer_module lunette_transfer_module;

__attribute__((visibility("default"))) const struct transfer_module lunette_transfer_module = {
    .size = transfer_size,
    .run = transfer_run,
    .redact = transfer_redact,
};
