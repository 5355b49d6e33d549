/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/base/err.h"

#include <stdarg.h>
#include <stdio.h>

int reason_set(struct reason *why, int err, const char *format, ...)
{
    if (why)
    {
        va_list args;
        va_start(args, format);
        vsnprintf(why->text, sizeof(why->text), format, args);
        va_end(args);
    }
    return err;
}

void reason_clear(struct reason *why)
{
    if (why)
        why->text[0] = '\0';
}
