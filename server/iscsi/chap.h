/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CHAP (RFC 1994, RFC 7143 section 12.1.3): challenge and response, both directions.
 *
 * Secrets are compared in constant time and wiped; none of this is ever logged.
 */
#ifndef SERVER_ISCSI_CHAP_H
#define SERVER_ISCSI_CHAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/env.h"
#include "lun/base/err.h"

enum
{
    CHAP_CHALLENGE_MAX = 1024, /* of the initiator's, RFC 7143 */
    CHAP_CHALLENGE_BYTES = 32, /* of ours */
    CHAP_DIGEST_MAX = 32,
};

/* Numbers of the algorithms on the wire (CHAP_A). */
enum chap_algorithm
{
    CHAP_MD5 = 5,
    CHAP_SHA1 = 6,
    CHAP_SHA256 = 7,
    CHAP_SHA3_256 = 8,
};

/* Bytes of a response; 0: not an algorithm that this build can do. */
size_t chap_digest_len(unsigned algorithm);

/* The first algorithm of the initiator's comma-separated list that we can do. -ENOENT: none. */
MUST_CHECK int chap_choose_algorithm(const char *list, unsigned *algorithm);

/* hash(id, secret, challenge) into @digest of CHAP_DIGEST_MAX bytes. */
MUST_CHECK int chap_respond(unsigned algorithm, uint8_t id, const char *secret,
                            const uint8_t *challenge, size_t challenge_len, uint8_t *digest);

/* Whether @response is right, in time that does not depend on where it is wrong. */
bool chap_verify(unsigned algorithm, uint8_t id, const char *secret, const uint8_t *challenge,
                 size_t challenge_len, const uint8_t *response, size_t response_len);

/* Equal content, in time that depends on @len only. */
bool chap_equal(const void *a, const void *b, size_t len);
/* The same for strings: time depends on the length of @theirs only. */
bool chap_equal_text(const char *ours, const char *theirs);

#endif
