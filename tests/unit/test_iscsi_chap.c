/* SPDX-License-Identifier: BSD-3-Clause */
/* CHAP: known answers (worked out with another implementation of the hashes), and comparison. */
#include <errno.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/iscsi/chap.h"
#include "server/iscsi/text.h"
#include "tests/lib/cunit_main.h"

/* id 27h, secret "twelve-bytes!", challenge 00 01 .. 0f */
static const struct
{
    unsigned algorithm;
    size_t len;
    const char *digest;
} vectors[] = {
    {CHAP_MD5, 16, "0x888361312369c52b1c781ca63c553163"},
    {CHAP_SHA1, 20, "0x37e13416aa5d3bcd8d520455d6a6181334b3eb02"},
    {CHAP_SHA256, 32, "0x391beb1511f662060883dc403dc68c1ef17370d5dcd75eebeaf7e2f89024ab39"},
    {CHAP_SHA3_256, 32, "0x84d29c590fbfbb58d9953b478c3db3295d011f8bb8fb4afac68b0005d0d754cd"},
};

static void test_vectors(void)
{
    uint8_t challenge[16], digest[CHAP_DIGEST_MAX], expected[CHAP_DIGEST_MAX];
    for (size_t i = 0; i < sizeof(challenge); i++)
        challenge[i] = (uint8_t)i;
    for (size_t i = 0; i < ARRAY_SIZE(vectors); i++)
    {
        unsigned algorithm = vectors[i].algorithm;
        size_t len;
        CU_ASSERT_EQUAL(text_get_binary(vectors[i].digest, expected, sizeof(expected), &len), 0);
        CU_ASSERT_EQUAL_FATAL(len, vectors[i].len);
        CU_ASSERT_EQUAL(chap_digest_len(algorithm), len);
        CU_ASSERT_EQUAL(
            chap_respond(algorithm, 0x27, "twelve-bytes!", challenge, sizeof(challenge), digest),
            0);
        CU_ASSERT_EQUAL(memcmp(digest, expected, len), 0);
        CU_ASSERT(chap_verify(algorithm, 0x27, "twelve-bytes!", challenge, sizeof(challenge),
                              expected, len));
        CU_ASSERT(!chap_verify(algorithm, 0x28, "twelve-bytes!", challenge, sizeof(challenge),
                               expected, len));
        CU_ASSERT(!chap_verify(algorithm, 0x27, "twelve-bytes?", challenge, sizeof(challenge),
                               expected, len));
        CU_ASSERT(!chap_verify(algorithm, 0x27, "twelve-bytes!", challenge, 15, expected, len));
        CU_ASSERT(!chap_verify(algorithm, 0x27, "twelve-bytes!", challenge, sizeof(challenge),
                               expected, len - 1));
        for (size_t byte = 0; byte < len; byte++)
        {
            expected[byte] ^= 0x80;
            CU_ASSERT(!chap_verify(algorithm, 0x27, "twelve-bytes!", challenge, sizeof(challenge),
                                   expected, len));
            expected[byte] ^= 0x80;
        }
    }
}

static void test_choose(void)
{
    unsigned algorithm = 0;
    uint8_t digest[CHAP_DIGEST_MAX];
    CU_ASSERT_EQUAL(chap_choose_algorithm("5", &algorithm), 0);
    CU_ASSERT_EQUAL(algorithm, CHAP_MD5);
    CU_ASSERT_EQUAL(chap_choose_algorithm("4,99,x,8,7", &algorithm), 0);
    CU_ASSERT_EQUAL(algorithm, CHAP_SHA3_256);
    CU_ASSERT_EQUAL(chap_choose_algorithm("7,5", &algorithm), 0);
    CU_ASSERT_EQUAL(algorithm, CHAP_SHA256);
    CU_ASSERT_EQUAL(chap_choose_algorithm("", &algorithm), -ENOENT);
    CU_ASSERT_EQUAL(chap_choose_algorithm("1,2,3", &algorithm), -ENOENT);
    CU_ASSERT_EQUAL(chap_respond(1, 0, "", digest, 0, digest), -EINVAL);
    CU_ASSERT_EQUAL(chap_digest_len(1), 0);
}

static void test_equal(void)
{
    CU_ASSERT(chap_equal("abc", "abd", 2));
    CU_ASSERT(!chap_equal("abc", "abd", 3));
    CU_ASSERT(chap_equal_text("user", "user"));
    CU_ASSERT(!chap_equal_text("user", "use"));
    CU_ASSERT(!chap_equal_text("user", "useruser"));
    CU_ASSERT(!chap_equal_text("user", ""));
    CU_ASSERT(!chap_equal_text("", "user"));
    CU_ASSERT(chap_equal_text("", ""));
}

static CU_TestInfo chap_tests[] = {
    {"known answers", test_vectors},
    {"choice of the algorithm", test_choose},
    {"comparison", test_equal},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"iscsi_chap", NULL, NULL, NULL, NULL, chap_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
