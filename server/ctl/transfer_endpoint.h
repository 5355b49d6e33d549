/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One side of a transfer: something with a size that is read, written and asked for its holes.
 *
 * The pipeline gives an endpoint requests and gets each back once, on ->completed, in any order.
 * Nothing here blocks but opening and reconnecting: an endpoint says what it waits for (pollfds)
 * and moves on when that is there (service). All calls come from one thread.
 *
 * Always true: a request that was submitted is on ->completed after finitely many service() calls,
 * or at once after disconnect(); an endpoint that is ->lost has no request under way.
 */
#ifndef SERVER_CTL_TRANSFER_ENDPOINT_H
#define SERVER_CTL_TRANSFER_ENDPOINT_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/base/list.h"

enum
{
    ENDPOINT_FDS_MAX = 16,     /* of one endpoint */
    ENDPOINT_EXTENTS_MAX = 64, /* that one request for a map brings back */
    ENDPOINT_CONNECT_MS = 20000,
};

struct block_extent
{
    uint64_t offset_bytes, len_bytes;
    bool is_zero; /* reads as zeros, and need not be read */
};

enum request_kind
{
    REQUEST_READ,
    REQUEST_WRITE,
    REQUEST_ZERO,  /* afterwards the range reads as zeros; its space may be given back */
    REQUEST_FLUSH, /* covers every write and zero that was completed before it was submitted */
    REQUEST_MAP,
};

struct request
{
    enum request_kind kind;
    uint64_t offset_bytes;
    uint64_t len_bytes;
    uint8_t *data;                /* read into, written from */
    struct block_extent *extents; /* of a map: ENDPOINT_EXTENTS_MAX places */
    size_t extent_count;          /* at least one, covering from offset_bytes on without a gap */
    int result;                   /* 0 or: -ENOTCONN connection lost, -EAGAIN busy, send it again,
                                     -ENOTSUP cannot zero or map, other: for good */
    char text[160];               /* with a failure: what else there is to say, or "" */
    void *owner;                  /* the pipeline's */
    void *carrier;                /* the endpoint's */
    void *command;                /* the same */
    struct list link;             /* the endpoint's until completed */
};

struct endpoint;

struct endpoint_ops
{
    void (*submit)(struct endpoint *endpoint, struct request *request);
    /* At most ENDPOINT_FDS_MAX. Lowers *timeout_ms if it cannot wait that long. */
    size_t (*pollfds)(struct endpoint *endpoint, struct pollfd *fds, int *timeout_ms);
    void (*service)(struct endpoint *endpoint, const struct pollfd *fds, size_t count);
    /* Gives up the connection: completes all with -ENOTCONN. NULL: cannot be lost. */
    void (*disconnect)(struct endpoint *endpoint);
    /* Connects a lost one again, clears ->lost; sets ->size_bytes anew. */
    int (*reconnect)(struct endpoint *endpoint, struct reason *why);
    /* Lets go of everything; @undo: removes what opening has made. */
    void (*destroy)(struct endpoint *endpoint, bool undo);
};

/* Something that lives as long as an endpoint: the child process that it talks to. */
struct companion
{
    /* What became of it, for an error message: "" or a clause. */
    void (*explain)(struct companion *companion, char *text, size_t size);
    void (*release)(struct companion *companion, bool undo);
};

struct endpoint
{
    const struct endpoint_ops *ops;
    struct companion *companion; /* released after the endpoint; NULL: none */
    bool no_reconnect;           /* what is lost stays lost */
    char *name;                  /* for messages, no secrets; owned */
    uint64_t size_bytes;
    uint32_t align_bytes;    /* of every offset and length; a power of two */
    uint32_t max_io_bytes;   /* of one read or write */
    uint64_t max_zero_bytes; /* of one zero request */
    bool can_map, can_zero;
    bool reads_as_zero;    /* all of it, when it was opened */
    bool is_created;       /* by opening it */
    bool lost;             /* the connection */
    uint32_t in_flight;    /* submitted, not yet taken by the pipeline */
    struct list completed; /* struct request */
    char identity[128];    /* changes when the content was exchanged, as far as one can tell */
};

struct endpoint_open_args
{
    const char *place;
    const char *format; /* may be NULL */
    bool is_destination;
    bool overwrite;       /* of a destination */
    bool resume;          /* of a destination: it exists, and is kept */
    uint64_t size_bytes;  /* of a destination that has to be made */
    uint32_t connections; /* at most */
    uint32_t depth;
};

/* Whatever the place asks for. @endpoint is freed with endpoint_destroy(). */
MUST_CHECK int endpoint_open(const struct endpoint_open_args *args, struct endpoint **endpoint,
                             struct reason *why);
void endpoint_destroy(struct endpoint *endpoint, bool undo); /* NULL is accepted */

/* The kinds, for endpoint_open(). */
MUST_CHECK int endpoint_open_file(const struct endpoint_open_args *args, struct endpoint **endpoint,
                                  struct reason *why);
MUST_CHECK int endpoint_open_image(const struct endpoint_open_args *args, const char *format,
                                   struct endpoint **endpoint, struct reason *why);
MUST_CHECK int endpoint_open_nbd(const struct endpoint_open_args *args, struct endpoint **endpoint,
                                 struct reason *why);
MUST_CHECK int endpoint_open_iscsi(const struct endpoint_open_args *args,
                                   struct endpoint **endpoint, struct reason *why);

/* Makes the name of the new file @path durable. */
MUST_CHECK int endpoint_sync_folder(const char *path, struct reason *why);

/* The format that QEMU finds in the file @path. */
MUST_CHECK int image_probe(const char *path, char *format, size_t format_size, struct reason *why);

/* For endpoints: sets the fields that all have alike. -ENOMEM. */
MUST_CHECK int endpoint_init(struct endpoint *endpoint, const struct endpoint_ops *ops,
                             const char *place);
/* For endpoints: hands @request back. @text may be NULL. */
void endpoint_complete(struct endpoint *endpoint, struct request *request, int result,
                       const char *text);
/* For endpoints: hands back a map request that is all data. */
void endpoint_complete_all_data(struct endpoint *endpoint, struct request *request);

/* For the pipeline: submits, counts. */
void endpoint_submit(struct endpoint *endpoint, struct request *request);
/* For the pipeline: the next one that is done, or NULL. */
struct request *endpoint_take_completed(struct endpoint *endpoint);

#endif
