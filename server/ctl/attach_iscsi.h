/* SPDX-License-Identifier: BSD-3-Clause */
/* The part of lun attach that is about iSCSI. */
#ifndef SERVER_CTL_ATTACH_ISCSI_H
#define SERVER_CTL_ATTACH_ISCSI_H

#include "server/ctl/ctl.h"

/*
 * For each igroup that @name is mapped to, with one portal or more: prints the commands, or with
 * --json puts them into @result as "iscsi":[{igroup, lun_id, target, portal, url, commands}].
 * Nothing without portals. On failure all has been said.
 */
enum ctl_exit attach_iscsi(const struct invocation *in, const char *name, json_t *result);

/* @text with what the shell or XML would take for its own taken out of harm's way; free it. */
char *attach_quote(const char *text, bool xml);

#endif
