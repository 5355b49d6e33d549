/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of verbs: it is sound, arguments are held to it, hints are filled in. */
#include "server/mgmt/verbs.h"

#include <errno.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/mgmt/proto.h"
#include "tests/lib/cunit_main.h"

static void test_table(void)
{
    for (size_t i = 0; verb_at(i); i++)
    {
        const struct verb *verb = verb_at(i);
        CU_ASSERT_PTR_NOT_NULL(verb->handler);
        CU_ASSERT_PTR_EQUAL(verb_find(verb->name), verb); /* no name twice */
        for (size_t a = 0; a < VERB_ARGS_MAX && verb->args[a].name; a++)
            for (size_t b = 0; b < a; b++)
                CU_ASSERT_STRING_NOT_EQUAL(verb->args[a].name, verb->args[b].name);
    }
    CU_ASSERT_PTR_NULL(verb_find("lun"));
    CU_ASSERT_PTR_NULL(verb_find(""));
}

/* What only looks is harmless: no verb whose name says that it changes things may be a looking one.
 */
static void test_access(void)
{
    static const char *const looking[] = {"show",  "list",   "follow",         "wait",
                                          "tree",  "df",     "freed",          "status",
                                          "space", "report", "split_estimate", "quota"};
    for (size_t i = 0; verb_at(i); i++)
    {
        const struct verb *verb = verb_at(i);
        const char *dot = strrchr(verb->name, '.');
        bool looks = false;
        for (size_t j = 0; j < ARRAY_SIZE(looking); j++)
            looks |= strcmp(dot ? dot + 1 : verb->name, looking[j]) == 0;
        bool is_store = strncmp(verb->name, "store.", 6) == 0; /* may hold secrets */
        if ((verb->access == VERB_LOOKS) != (looks && !is_store))
            printf("\n%s\n", verb->name);
        CU_ASSERT_EQUAL(verb->access == VERB_LOOKS, looks && !is_store);
    }
}

static int check(const char *name, const char *args, struct reason *why)
{
    AUTO_JSON json_t *json = json_loads(args, JSON_DECODE_ANY, NULL);
    const struct verb *verb = verb_find(name);
    CU_ASSERT_PTR_NOT_NULL_FATAL(json);
    CU_ASSERT_PTR_NOT_NULL_FATAL(verb);
    return verb_check_args(verb, json, why);
}

static void test_args(void)
{
    static const struct
    {
        const char *verb, *args, *says;
    } bad[] = {
        {"lun.create", "{}", "needs \"name\""},
        {"lun.create", "{\"name\":\"a\"}", "needs \"size_bytes\""},
        {"lun.create", "{\"name\":1,\"size_bytes\":1}", "\"name\" has to be a string"},
        {"lun.create", "{\"name\":\"a\",\"size_bytes\":-1}", "0 or more"},
        {"lun.create", "{\"name\":\"a\",\"size_bytes\":1.5}", "whole number"},
        {"lun.create", "{\"name\":\"a\",\"size_bytes\":\"1\"}", "whole number"},
        {"lun.create", "{\"name\":\"a\",\"size_bytes\":1,\"sise\":1}", "no argument \"sise\""},
        {"lun.delete", "{\"name\":\"a\",\"force\":1}", "true or false"},
        {"lun.freed", "{\"names\":\"a\"}", "array of strings"},
        {"lun.freed", "{\"names\":[\"a\",1]}", "array of strings"},
        {"igroup.create", "{\"name\":\"g\",\"initiators\":\"a\"}", "array of strings"},
        {"igroup.add", "{\"name\":\"g\"}", "needs \"initiator\""},
        {"lun.map", "{\"name\":\"a\"}", "needs \"igroup\""},
        {"lun.map", "{\"name\":\"a\",\"igroup\":\"g\",\"lun_id\":-1}", "0 or more"},
        {"iscsi.chap.set", "{\"subject\":\"*\",\"user\":\"u\"}", "needs \"secret\""},
        {"iscsi.session.terminate", "{\"tsih\":\"1\"}", "whole number"},
        {"lun.show", "[]", "has to be an object"},
        {"lun.show", "null", "has to be an object"},
        {"tree", "{\"x\":null}", "no argument \"x\""},
    };
    struct reason why;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    {
        reason_clear(&why);
        CU_ASSERT_EQUAL(check(bad[i].verb, bad[i].args, &why), -EINVAL);
        CU_ASSERT_PTR_NOT_NULL(strstr(why.text, bad[i].says));
    }
    CU_ASSERT_EQUAL(check("lun.create", "{\"name\":\"a\",\"size_bytes\":0}", &why), 0);
    CU_ASSERT_EQUAL(check("lun.freed", "{\"names\":[]}", &why), 0);
    CU_ASSERT_EQUAL(check("tree", "{}", &why), 0);
}

static void hint(const char *verb, int err, const char *args, const char *why, const char *expected)
{
    char text[256];
    AUTO_JSON json_t *json = json_loads(args, 0, NULL);
    verb_hint(verb_find(verb), err, json, why, text, sizeof(text));
    CU_ASSERT_STRING_EQUAL(text, expected);
}

static void test_hints(void)
{
    hint("lun.show", -ENOENT, "{\"name\":\"x\"}", "", "lunette lun show");
    hint("snapshot.restore", -EBUSY, "{\"lun\":\"a\",\"snapshot\":\"b\"}", "open",
         "lunette snapshot restore a@b --force");
    hint("lun.delete", -EBUSY, "{\"name\":\"x\"}", "use --with-snapshots",
         "lunette lun delete x --with-snapshots --dry-run");
    hint("lun.delete", -EBUSY, "{\"name\":\"x\"}", "3 clients have it open",
         "lunette lun delete x --force --dry-run");
    hint("lun.rename", -EEXIST, "{}", "", "lunette lun show ...");
    hint("lun.map", -EBUSY, "{\"name\":\"a\",\"igroup\":\"g\"}", "taken",
         "lunette mapping show --igroup g");
    hint("igroup.add", -EEXIST, "{\"name\":\"g\"}", "", "lunette igroup show g");
    hint("igroup.show", -ENOENT, "{}", "see `lunette igroup create`", "");
    hint("iscsi.session.terminate", -ENOTSUP, "{}", "no portal", "lunette serve --help");
    hint("lun.show", -EIO, "{}", "", "");
    /* A reason that names a command needs no other. */
    hint("lun.show", -ENOENT, "{}", "see lunette help", "");
    /* A hint that does not fit is none: half a command would be worse. */
    char small[16] = "unset";
    AUTO_JSON json_t *args = json_object();
    verb_hint(verb_find("pool.grow"), -ENOSPC, args, "", small, sizeof(small));
    CU_ASSERT_STRING_EQUAL(small, "");
}

static CU_TestInfo verbs_tests[] = {
    {"the table is sound", test_table},
    {"looking and changing", test_access},
    {"arguments", test_args},
    {"hints", test_hints},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"mgmt/verbs", NULL, NULL, NULL, NULL, verbs_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
