/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of errors. */
#include "plugin/nbd_error.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

#include "lun/base/checked.h"

/* The first row also stands for every error that has none. */
static const struct nbd_error nbd_errors[] = {
    {EIO, EIO, "the device of the pool failed (see 'lunette event show')"},
    {EBADMSG, EIO, "damaged metadata or data: run 'lunette pool check'"},
    {ENOMEM, ENOMEM, "no memory"},
    {ENOSPC, ENOSPC,
     "the pool or the LUN's volume is full; 'lunette explain space' says what helps"},
    {EDQUOT, ENOSPC, "a quota is used up"},
    {EROFS, EROFS, "the export or the pool is read-only"},
    {EPERM, EPERM, "not allowed, or reserved by an iSCSI initiator"},
    {EINVAL, EINVAL, "outside the export, or not valid"},
    {ENOTSUP, ENOTSUP, "would be as slow as writing"},
    {ESTALE, ESHUTDOWN, "deleted, cut off or replaced under this client; connect again"},
    {ENOENT, ESHUTDOWN, "deleted under this client"},
    {ECANCELED, ESHUTDOWN, "cancelled"},
    {EBUSY, EIO, "in use"},
    {EAGAIN, EIO, "no checkpoint came in time"},
    {ETIMEDOUT, EIO, "not in time"},
};

static_assert(ARRAY_SIZE(nbd_errors) <= NBD_ERROR_KINDS_MAX, "a bit for each row");

const struct nbd_error *nbd_error_of(int err)
{
    for (size_t i = 0; i < ARRAY_SIZE(nbd_errors); i++)
        if (nbd_errors[i].engine_errno == -err)
            return &nbd_errors[i];
    return &nbd_errors[0];
}

unsigned nbd_error_index(const struct nbd_error *error)
{
    return (unsigned)(error - nbd_errors);
}
