/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Engine errors as NBD errors: one table.
 *
 * NBD knows EPERM, EIO, ENOMEM, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP and ESHUTDOWN. nbdkit makes
 * EPERM of EROFS, and EINVAL of everything else it is given, so the table hands it nothing else.
 */
#ifndef PLUGIN_NBD_ERROR_H
#define PLUGIN_NBD_ERROR_H

struct nbd_error
{
    int engine_errno; /* positive */
    int nbd_errno;    /* what nbdkit is told */
    const char *text; /* for the log, behind "export X: read of N bytes at M failed: " */
};

enum
{
    NBD_ERROR_KINDS_MAX = 32, /* rows, so that a word can note which were logged */
};

/* The row of @err, a negative errno. Never NULL: what is not in the table is an I/O error. */
const struct nbd_error *nbd_error_of(int err);

/* The place of @error in the table, below NBD_ERROR_KINDS_MAX. */
unsigned nbd_error_index(const struct nbd_error *error);

#endif
