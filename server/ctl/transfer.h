/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copies a disk image from one place to another: what `lun import` and `lun export` stand on.
 *
 * A place is one of
 *   PATH                            a raw file or a block device, or (by its format) an image that
 *                                   QEMU knows, through a child qemu-nbd on a private Unix socket
 *   nbd://HOST[:PORT]/EXPORT        and nbds:// (TLS), nbd+unix:///EXPORT?socket=PATH,
 *                                   nbds+unix://: several connections where the server allows it
 *   iscsi://[USER[%PASSWORD]@]HOST[:PORT]/TARGET/LUN
 *                                   CHAP also from LIBISCSI_CHAP_USERNAME and _PASSWORD
 *
 * Always true:
 *  - at most depth x block_bytes of memory hold data, whatever the size of the image;
 *  - a range that is counted as durable was written and then flushed;
 *  - a password of a URL is in no message and in no file that this module writes;
 *  - a child process and every connection are gone when transfer_run() returns.
 *
 * Formats: a source PATH without a format is probed (by qemu-img) if it is a regular file, and is
 * raw if it is a block device. With format "raw" nothing is ever probed: bytes are bytes, also if a
 * guest wrote another format's magic into them. An image that names other files (a backing file,
 * extents) is read through them if they are in its folder or below; else it is refused, as they are
 * read with the rights of whoever runs this.
 */
#ifndef SERVER_CTL_TRANSFER_H
#define SERVER_CTL_TRANSFER_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "lun/base/err.h"

enum
{
    TRANSFER_DEPTH_DEFAULT = 32,
    TRANSFER_DEPTH_MAX = 256,
    TRANSFER_BLOCK_BYTES_DEFAULT = 256 << 10,
    TRANSFER_BLOCK_BYTES_MIN = 4096,
    TRANSFER_BLOCK_BYTES_MAX = 16 << 20,
    TRANSFER_RETRIES_DEFAULT = 5,
};

enum transfer_phase
{
    TRANSFER_COPYING,
    TRANSFER_VERIFYING,
};

struct transfer_progress
{
    enum transfer_phase phase;
    uint64_t total_bytes;   /* of the source */
    uint64_t done_bytes;    /* everything below it is done; falls when a lost connection to the
                                  destination sends the copy back to what is durable */
    uint64_t durable_bytes; /* everything below it is written and flushed */
    uint64_t read_bytes;    /* as in struct transfer_result */
    uint64_t written_bytes;
    uint64_t skipped_bytes;
    uint64_t rate_bytes_per_s; /* of done_bytes, over the last few seconds */
    uint64_t elapsed_ms;
    uint32_t reconnects;
};

/* Called from the thread that runs the transfer. */
typedef void transfer_progress_fn(void *opaque, const struct transfer_progress *progress);

/* Zeroed is valid: whatever is 0 or NULL takes the default that its line names. */
struct transfer_options
{
    const char *source;
    const char *source_format; /* of a PATH: "raw", "qcow2", "vmdk", ...; NULL: see above */
    const char *destination;
    const char *destination_format; /* of a PATH; NULL: by its suffix (.qcow2 .vmdk .vdi .vhdx),
                                       else raw */
    bool overwrite;                 /* although the destination PATH exists or is a block device; a
                                             file is made anew then, without what it held */
    bool destination_is_zero;       /* it reads as zeros now (a new LUN): nothing is sent for zeros.
                                             Known anyway of a PATH that is made here */
    bool keep_zeros;                /* write zeros found in data as data, do not look for them */
    bool ignore_map;                /* read everything; do not ask the source for its holes */
    bool verify;                    /* afterwards read both sides again and compare */
    uint32_t depth;                 /* blocks in flight; TRANSFER_DEPTH_DEFAULT */
    uint32_t block_bytes;           /* power of two; TRANSFER_BLOCK_BYTES_DEFAULT */
    uint32_t connections;           /* to an NBD server, at most; 4 */
    uint32_t retries;     /* reconnects in a row without progress; TRANSFER_RETRIES_DEFAULT;
                                   TRANSFER_NO_RETRIES: none */
    uint64_t flush_bytes; /* flush and note the offset each so many bytes; 256 MiB */
    /*
     * A small JSON file that says how far an interrupted transfer has come; no secret is in it.
     * Exists: go on from there, or refuse (-ESTALE) if it is about another source or destination.
     * Written at each flush, removed at the end. NULL: do not resume; a PATH that this call made is
     * then removed again on failure.
     */
    const char *resume_file;
    transfer_progress_fn *progress; /* may be NULL */
    void *progress_opaque;
    uint32_t progress_ms; /* shortest time between two calls; 200; the last is always made */
    const volatile sig_atomic_t *cancel; /* not 0: stop, flush, note the offset, -ECANCELED. May be
                                            NULL; set it from a signal handler or from progress */
};

#define TRANSFER_NO_RETRIES UINT32_MAX

/*
 * Sums over the image, each byte once, whatever was retried; a resumed transfer counts what was
 * done before too. read + hole = written + zeroed + skipped = total when it has succeeded.
 */
struct transfer_result
{
    uint64_t total_bytes;   /* size of the source */
    uint64_t read_bytes;    /* read from the source */
    uint64_t hole_bytes;    /* not read: the source says that they are zeros */
    uint64_t written_bytes; /* written as data */
    uint64_t zeroed_bytes;  /* zeroed by command: trimmed, write zeroes, punched */
    uint64_t skipped_bytes; /* not sent: zeros, and the destination reads as zeros already */
    uint64_t verified_bytes;
    uint64_t resumed_from_bytes; /* 0: began at the beginning */
    uint64_t durable_bytes;      /* where a next run would go on; total on success */
    uint64_t elapsed_ms;
    uint32_t reconnects;
};

/*
 * The size of what @source (@format as in transfer_options) holds: opens it, asks and closes. A raw
 * file may have any size; round it up to the sector size for a LUN.
 */
MUST_CHECK int transfer_size(const char *source, const char *format, uint64_t *size_bytes,
                             struct reason *why);

/*
 * Copies. Returns when all of it is durable at the destination, which may be larger than the source
 * (what lies behind is left alone). @result is filled in on failure too, may be NULL.
 *
 * @why names the side, the offset and the figures. -ECANCELED: cancelled. -ENOSPC: the destination
 * is too small or full. -EEXIST: the destination exists. -ESTALE: the resume file is about
 * something else. -EIO: read or write error, a source that has shrunk. -EILSEQ: verify found a
 * difference. -ENOTCONN: a connection was lost and could not be had again. -EINVAL: options, URL.
 */
MUST_CHECK int transfer_run(const struct transfer_options *options, struct transfer_result *result,
                            struct reason *why);

/* @place without the user and passwords of its URL, for messages. Free it. NULL: no memory. */
char *transfer_redact(const char *place);

#endif
