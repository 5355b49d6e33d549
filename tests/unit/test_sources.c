/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections in all and by source. */
#include "server/net/sources.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/cunit_main.h"

static int enter(struct sources *sources, const char *text, struct source_seat *seat)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    *seat = (struct source_seat){0};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return sources_enter(sources, (struct sockaddr *)&v4, seat);
    CU_ASSERT_EQUAL_FATAL(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return sources_enter(sources, (struct sockaddr *)&v6, seat);
}

static void test_each(void)
{
    struct sources sources;
    struct source_seat seats[8];
    sources_init(&sources, 5, 2);
    CU_ASSERT_EQUAL(enter(&sources, "10.0.0.1", &seats[0]), 0);
    CU_ASSERT_EQUAL(enter(&sources, "::ffff:10.0.0.1", &seats[1]), 0); /* the same */
    CU_ASSERT_PTR_EQUAL(seats[0].source, seats[1].source);
    CU_ASSERT_EQUAL(enter(&sources, "10.0.0.1", &seats[2]), -EDQUOT);
    CU_ASSERT_FALSE(seats[2].is_taken);
    CU_ASSERT_EQUAL(enter(&sources, "10.0.0.2", &seats[2]), 0);
    CU_ASSERT_PTR_NOT_EQUAL(seats[0].source, seats[2].source);
    CU_ASSERT_EQUAL(enter(&sources, "2001:db8::1", &seats[3]), 0);
    CU_ASSERT_EQUAL(enter(&sources, "2001:db8::2", &seats[4]), 0);
    CU_ASSERT_PTR_EQUAL(seats[3].source, seats[4].source);
    /* All are taken, whoever asks. */
    CU_ASSERT_EQUAL(enter(&sources, "10.0.0.3", &seats[5]), -EUSERS);
    CU_ASSERT_EQUAL(sources_enter(&sources, NULL, &seats[5]), -EUSERS);
    sources_leave(&sources, &seats[5]);
    CU_ASSERT_EQUAL(sources.count, 5);
    sources_leave(&sources, &seats[0]);
    sources_leave(&sources, &seats[0]); /* once only */
    CU_ASSERT_EQUAL(sources.count, 4);
    CU_ASSERT_EQUAL(enter(&sources, "10.0.0.1", &seats[0]), 0);
    for (int i = 0; i < 5; i++)
        sources_leave(&sources, &seats[i]);
    CU_ASSERT_EQUAL(sources.count, 0);
    sources_destroy(&sources);
}

static void test_kinds(void)
{
    struct sources sources;
    struct source_seat seats[5];
    sources_init(&sources, 5, 1);
    /* Those of one link are not one source because their first halves are alike. */
    CU_ASSERT_EQUAL(enter(&sources, "fe80::1", &seats[0]), 0);
    CU_ASSERT_EQUAL(enter(&sources, "fe80::2", &seats[1]), 0);
    CU_ASSERT_EQUAL(enter(&sources, "fe80::2", &seats[2]), -EDQUOT);
    /* Who has no address is limited by the whole only. */
    const struct sockaddr local = {.sa_family = AF_UNIX};
    CU_ASSERT_EQUAL(sources_enter(&sources, &local, &seats[2]), 0);
    CU_ASSERT_EQUAL(sources_enter(&sources, &local, &seats[3]), 0);
    CU_ASSERT_EQUAL(sources_enter(&sources, NULL, &seats[4]), 0);
    CU_ASSERT_PTR_NULL(seats[2].source);
    for (int i = 0; i < 5; i++)
        sources_leave(&sources, &seats[i]);
    sources_destroy(&sources);
}

/* As many sources as there are connections, and nothing is kept of those that have gone. */
static void test_many(void)
{
    enum
    {
        COUNT = 20000
    };
    struct sources sources;
    struct source_seat *seats = calloc(COUNT, sizeof(*seats));
    CU_ASSERT_PTR_NOT_NULL_FATAL(seats);
    sources_init(&sources, COUNT, 1);
    for (int round = 0; round < 2; round++)
    {
        for (uint32_t i = 0; i < COUNT; i++)
        {
            const struct sockaddr_in v4 = {.sin_family = AF_INET,
                                           .sin_addr = {.s_addr = htonl(0x0A000000 + i)}};
            CU_ASSERT_EQUAL(sources_enter(&sources, (const struct sockaddr *)&v4, &seats[i]), 0);
        }
        for (int i = 0; i < COUNT; i++)
            sources_leave(&sources, &seats[i]);
        for (int i = 0; i < SOURCES_BUCKETS; i++)
            CU_ASSERT(list_is_empty(&sources.buckets[i]));
    }
    sources_destroy(&sources);
    free(seats);
}

static CU_TestInfo sources_tests[] = {
    {"a limit for all and for each", test_each},
    {"what is one source", test_kinds},
    {"many sources", test_many},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"sources", NULL, NULL, NULL, NULL, sources_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
