/* SPDX-License-Identifier: BSD-3-Clause */
/* The linked list: order, both directions, removal while walking. */
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/list.h"
#include "tests/lib/cunit_main.h"

struct item
{
    char name;
    struct list node; /* not first: container_of() has something to subtract */
};

static struct item items[5];
static struct list list;

static int setup(void)
{
    list_init(&list);
    for (size_t i = 0; i < ARRAY_SIZE(items); i++)
    {
        items[i].name = (char)('a' + i);
        list_init(&items[i].node);
    }
    return 0;
}

/* Whether walking @head both ways gives @names. */
static bool list_reads(struct list *head, const char *names)
{
    size_t at = 0;
    list_for_each (item, head, struct item, node)
    {
        if (item->name != names[at])
            return false;
        at++;
    }
    if (names[at])
        return false;
    for (struct list *node = head->prev; node != head; node = node->prev)
    {
        if (at == 0 || container_of(node, struct item, node)->name != names[at - 1])
            return false;
        at--;
    }
    return at == 0;
}

static void fill(size_t count)
{
    setup();
    for (size_t i = 0; i < count; i++)
        list_add_tail(&list, &items[i].node);
}

static void test_empty(void)
{
    setup();
    CU_ASSERT_TRUE(list_is_empty(&list));
    CU_ASSERT_TRUE(list_reads(&list, ""));
    list_remove(&items[0].node); /* in no list: allowed */
    CU_ASSERT_TRUE(list_is_empty(&items[0].node));
}

static void test_order(void)
{
    setup();
    list_add_tail(&list, &items[1].node);
    list_add_tail(&list, &items[2].node);
    list_add_head(&list, &items[0].node);
    CU_ASSERT_FALSE(list_is_empty(&list));
    CU_ASSERT_TRUE(list_reads(&list, "abc"));
}

static void test_remove(void)
{
    fill(5);
    list_remove(&items[2].node);
    CU_ASSERT_TRUE(list_reads(&list, "abde"));
    list_remove(&items[0].node);
    CU_ASSERT_TRUE(list_reads(&list, "bde"));
    list_remove(&items[4].node);
    CU_ASSERT_TRUE(list_reads(&list, "bd"));
    list_remove(&items[4].node); /* twice is harmless */
    CU_ASSERT_TRUE(list_reads(&list, "bd"));
    list_add_tail(&list, &items[4].node);
    CU_ASSERT_TRUE(list_reads(&list, "bde"));
    CU_ASSERT_TRUE(list_is_empty(&items[0].node));
}

static void test_splice(void)
{
    struct list other;
    list_init(&other);
    fill(2);
    list_splice_tail(&list, &other);
    CU_ASSERT_TRUE(list_reads(&list, "ab"));
    list_add_tail(&other, &items[2].node);
    list_add_tail(&other, &items[3].node);
    list_splice_tail(&list, &other);
    CU_ASSERT_TRUE(list_reads(&list, "abcd"));
    CU_ASSERT_TRUE(list_is_empty(&other));
    list_splice_tail(&other, &list);
    CU_ASSERT_TRUE(list_reads(&other, "abcd"));
    CU_ASSERT_TRUE(list_is_empty(&list));
}

static void test_removal_while_walking(void)
{
    fill(5);
    char seen[6] = "";
    list_for_each_safe (item, &list, struct item, node)
    {
        seen[strlen(seen)] = item->name;
        if (item->name != 'c')
            list_remove(&item->node);
    }
    CU_ASSERT_STRING_EQUAL(seen, "abcde");
    CU_ASSERT_TRUE(list_reads(&list, "c"));
    list_for_each_safe (item, &list, struct item, node)
        list_remove(&item->node);
    CU_ASSERT_TRUE(list_is_empty(&list));
    list_for_each_safe (item, &list, struct item, node)
        CU_FAIL("an empty list has no item");
}

static CU_TestInfo list_tests[] = {
    {"empty", test_empty},
    {"order", test_order},
    {"removal", test_remove},
    {"splicing", test_splice},
    {"removal while walking", test_removal_while_walking},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"list", NULL, NULL, NULL, NULL, list_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
