/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How many NBD clients there may be.
 *
 * nbdkit sets no limit: each connection takes its threads (16 unless told otherwise) and three
 * descriptors, until the process can make neither and all others in it suffer, iSCSI and management
 * too. So a connection is counted from before its negotiation until its thread ends, and one too
 * many is hung up on.
 */
#ifndef PLUGIN_CLIENTS_H
#define PLUGIN_CLIENTS_H

/* Before the fork: raises the process's limit of descriptors as far as it may. */
void clients_raise_limits(void);
/* -errno. Once, before the first client. */
int clients_start(void);

/* The client of this thread has an export open: it has no deadline while it has. */
void clients_handshake_is_over(void);
/* It is closed. A client that only asked about it (NBD_OPT_INFO) is negotiating still. */
void clients_handshake_goes_on(void);

/* nbdkit's callback: 0, or -1 after nbdkit_error(). */
int clients_preconnect(int readonly);

#endif
