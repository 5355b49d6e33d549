/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log lines, to standard error by default; the plugin sends them to nbdkit instead.
 *
 * Logged once, where it is decided what to do. No secrets. Never on the data path on success.
 */
#ifndef LUN_BASE_LOG_H
#define LUN_BASE_LOG_H

#include "lun/base/err.h"

enum log_level
{
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
};

/* @text is one line without its newline. May be called from any thread. */
typedef void log_sink(enum log_level level, const char *text);

/* NULL restores standard error. Call before threads start. */
void log_set_sink(log_sink *sink);

/* Lines beyond @level are dropped; LOG_LEVEL_INFO at first. */
void log_set_level(enum log_level level);

void log_write(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
