/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/base/log.h"

#include <stdarg.h>
#include <stdio.h>

static log_sink *current_sink;
static enum log_level current_level = LOG_LEVEL_INFO;

void log_set_sink(log_sink *sink)
{
    current_sink = sink;
}

void log_set_level(enum log_level level)
{
    current_level = level;
}

void log_write(enum log_level level, const char *format, ...)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    if (level > current_level)
        return;
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (current_sink)
        current_sink(level, text);
    else
        fprintf(stderr, "lunette: %s: %s\n", names[level], text);
}
