/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded into nbdkit beside a sanitizer's runtime.
 *
 * With AddressSanitizer preloaded, nbdkit 1.32 on Debian 12, whatever its plugin, waits for ever in
 * exit() once a connection's thread has logged an error with "%m": the destructor of libp11-kit
 * calls freelocale(), which waits for a lock that nobody holds. A locale that is not freed at the
 * end of the process harms nobody.
 */
#include <locale.h>

__attribute__((visibility("default"))) void freelocale(locale_t locale)
{
    (void)locale;
}
