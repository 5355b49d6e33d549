/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Quotas against a model that knows nothing of how they are kept: random commands on LUNs, rules,
 * crashes; after each, what was refused is what the model refuses, and the counters are a recount.
 * Then several threads at once below one limit. LUNETTE_SEED=N takes another seed.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/env.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

enum
{
    MIB = 1 << 20,
    VOLUMES = 2,
    TREES = 3, /* the volume itself, and two qtrees */
    NAMES = 4, /* of users and of groups; 0 is nobody */
    ROOT = 3,  /* a user and a group who are only counted */
    LUNS = 24,
    STEPS = 6000,
    THREADS = 4,
    THREAD_STEPS = 2000,
};

#define NONE UINT64_MAX
#define RULE_DEFAULT NAMES /* in the place of a name; of a tree: that of each qtree */

static const char *const trees[TREES] = {"", "q1", "q2"};
static const char *const users[NAMES] = {"", "ann", "bob", "root"};
static const char *const groups[NAMES] = {"", "dev", "ops", "root"};

/* Where a LUN is and whose it is. */
struct spot
{
    int volume; /* -1: in none */
    int tree, user, group;
};

struct model_lun
{
    bool is_there;
    struct spot spot;
    uint64_t mib;
    char name[64];
};

struct model_delta
{
    struct spot spot;
    int64_t mib;
};

static struct engine_host host;
static struct rng rng;
static struct model_lun luns[LUNS];
static bool is_on[VOLUMES];
/* [type][volume][tree][name]; of trees the name is 0, or RULE_DEFAULT with tree 0. In MiB. */
static uint64_t rules[3][VOLUMES][TREES][NAMES + 1];
static unsigned next_name, refusals, overs;

/* ---- the model ----------------------------------------------------------------------------- */

static bool counts_for(const struct spot *spot, enum quota_type type, int volume, int tree,
                       int name)
{
    return spot->volume == volume && (tree == 0 || spot->tree == tree) &&
           (type != QUOTA_USER || (name && spot->user == name)) &&
           (type != QUOTA_GROUP || (name && spot->group == name));
}

static uint64_t used_mib(enum quota_type type, int volume, int tree, int name, uint64_t *count)
{
    uint64_t sum = 0;
    *count = 0;
    for (int i = 0; i < LUNS; i++)
        if (luns[i].is_there && counts_for(&luns[i].spot, type, volume, tree, name))
            sum += luns[i].mib, ++*count;
    return sum;
}

static uint64_t limit_mib(enum quota_type type, int volume, int tree, int name, bool *is_default)
{
    uint64_t own = rules[type][volume][tree][type == QUOTA_TREE ? 0 : name];
    *is_default = own == NONE;
    if (own != NONE)
        return own;
    if (type == QUOTA_TREE)
        return tree ? rules[type][volume][0][RULE_DEFAULT] : NONE;
    return rules[type][volume][tree][RULE_DEFAULT];
}

static bool subject_refuses(enum quota_type type, int volume, int tree, int name,
                            const struct model_delta *deltas, size_t count, bool is_clone)
{
    int64_t added = 0;
    uint64_t n;
    bool is_default;
    for (size_t i = 0; i < count; i++)
        if (counts_for(&deltas[i].spot, type, volume, tree, name))
            added += deltas[i].mib;
    uint64_t limit = limit_mib(type, volume, tree, name, &is_default);
    if (added <= 0 || limit == NONE ||
        used_mib(type, volume, tree, name, &n) + (uint64_t)added <= limit)
        return false;
    if (type == QUOTA_TREE || (!is_clone && name != ROOT))
        return true;
    overs++; /* let through, and over-allocated */
    return false;
}

static bool model_refuses(const struct model_delta *deltas, size_t count, bool is_clone)
{
    bool refuses = false;
    for (int v = 0; v < VOLUMES; v++)
        for (int t = 0; is_on[v] && t < TREES; t++)
            for (int name = 0; name < NAMES; name++)
                for (enum quota_type type = QUOTA_TREE; type <= QUOTA_GROUP; type++)
                    if (type == QUOTA_TREE ? name == 0 : name > 0)
                        refuses |= subject_refuses(type, v, t, name, deltas, count, is_clone);
    refusals += refuses;
    return refuses;
}

/* ---- commands ------------------------------------------------------------------------------ */

static int any(int end)
{
    return (int)rng_below(&rng, (uint64_t)end);
}

static struct spot any_spot(void)
{
    struct spot spot = {.volume = any(VOLUMES + 1) - 1, .user = any(NAMES), .group = any(NAMES)};
    spot.tree = spot.volume < 0 ? 0 : any(TREES);
    return spot;
}

static void name_at(const struct spot *spot, char name[64])
{
    char volume[16] = "";
    if (spot->volume >= 0)
        snprintf(volume, sizeof(volume), "v%d/", spot->volume);
    snprintf(name, 64, "%s%s%sn%u", volume, trees[spot->tree], spot->tree ? "/" : "", next_name++);
}

static struct model_lun *any_lun(void)
{
    struct model_lun *lun = &luns[any(LUNS)];
    return lun->is_there ? lun : NULL;
}

static struct model_lun *any_gap(void)
{
    struct model_lun *lun = &luns[any(LUNS)];
    return lun->is_there ? NULL : lun;
}

static void expect(int r, bool refused, const char *what)
{
    if (r == (refused ? -EDQUOT : 0))
        return;
    printf("\n%s gives %d (%s), the model %s\n", what, r, host.why.text,
           refused ? "refuses it" : "does it");
    CU_FAIL("the model does not agree");
}

static void do_create(void)
{
    struct model_lun *lun = any_gap();
    if (!lun)
        return;
    struct model_lun made = {.is_there = true, .spot = any_spot(), .mib = 1 + (uint64_t)any(40)};
    name_at(&made.spot, made.name);
    const struct model_delta delta = {made.spot, (int64_t)made.mib};
    bool refused = model_refuses(&delta, 1, false);
    const struct lun_create_args args = {
        .name = made.name,
        .size_bytes = made.mib * MIB,
        .attributes = {.owner = users[made.spot.user], .group = groups[made.spot.group]}};
    expect(lun_create(host.pool, &args, &host.why), refused, "create");
    if (!refused)
        *lun = made;
}

/* Two clones of one instant, all or none, with the source's owner or another. */
static void do_clone(void)
{
    struct model_lun *source = any_lun(), *gaps[2] = {any_gap(), any_gap()};
    if (!source || !gaps[0] || !gaps[1] || gaps[0] == gaps[1])
        return;
    struct spot spot = any_spot();
    bool inherits = rng_percent(&rng, 50);
    if (inherits)
        spot.user = source->spot.user, spot.group = source->spot.group;
    char template[72];
    name_at(&spot, template);
    size_t len = strlen(template);
    stpcpy(template + len, "-%d");
    const struct model_delta delta = {spot, 2 * (int64_t)source->mib};
    bool refused = model_refuses(&delta, 1, true);
    const struct lun_clone_args args = {.source = source->name,
                                        .name = template,
                                        .count = 2,
                                        .owner = inherits ? NULL : users[spot.user],
                                        .group = inherits ? NULL : groups[spot.group]};
    expect(lun_clone(host.pool, &args, &host.why), refused, "clone");
    for (int i = 0; !refused && i < 2; i++)
    {
        *gaps[i] = (struct model_lun){.is_there = true, .spot = spot, .mib = source->mib};
        snprintf(gaps[i]->name, sizeof(gaps[i]->name), "%.*s-%d", (int)min_u64(len, 50), template,
                 i);
    }
}

static void do_resize(void)
{
    struct model_lun *lun = any_lun();
    uint64_t mib = 1 + (uint64_t)any(60);
    if (!lun)
        return;
    const struct model_delta delta = {lun->spot, (int64_t)mib - (int64_t)lun->mib};
    bool refused = model_refuses(&delta, 1, false);
    expect(lun_resize(host.pool, lun->name, mib * MIB, LUN_FORCE, &host.why), refused, "resize");
    if (!refused)
        lun->mib = mib;
}

static void do_delete(void)
{
    struct model_lun *lun = any_lun();
    if (!lun)
        return;
    expect(lun_delete(host.pool, lun->name, false, 0, &host.why), false, "delete");
    lun->is_there = false;
}

/* From place to place, through volumes. */
static void do_move(void)
{
    struct model_lun *lun = any_lun();
    struct spot to = any_spot();
    char name[64];
    if (!lun)
        return;
    to.user = lun->spot.user, to.group = lun->spot.group;
    name_at(&to, name);
    const struct model_delta deltas[] = {{lun->spot, -(int64_t)lun->mib}, {to, (int64_t)lun->mib}};
    bool refused = model_refuses(deltas, 2, false);
    expect(lun_rename(host.pool, lun->name, name, &host.why), refused, "rename");
    if (refused)
        return;
    lun->spot = to;
    snprintf(lun->name, sizeof(lun->name), "%s", name);
}

static void do_chown(void)
{
    struct model_lun *lun = any_lun();
    struct spot to = any_spot();
    if (!lun)
        return;
    to.volume = lun->spot.volume, to.tree = lun->spot.tree;
    const struct model_delta deltas[] = {{lun->spot, -(int64_t)lun->mib}, {to, (int64_t)lun->mib}};
    bool refused = model_refuses(deltas, 2, false);
    const struct lun_attributes attributes = {.owner = users[to.user], .group = groups[to.group]};
    expect(lun_set_attributes(host.pool, lun->name, LUN_SET_OWNER | LUN_SET_GROUP, &attributes,
                              &host.why),
           refused, "chown");
    if (!refused)
        lun->spot = to;
}

static void do_rule(void)
{
    enum quota_type type = (enum quota_type)any(3);
    int volume = any(VOLUMES), tree = any(TREES), name = 1 + any(NAMES);
    struct quota_rule rule = {.type = type,
                              .soft_bytes = UINT64_MAX,
                              .threshold_bytes = UINT64_MAX,
                              .hard_bytes = (uint64_t)(10 + any(300)) * MIB};
    snprintf(rule.volume, sizeof(rule.volume), "v%d", volume);
    if (type == QUOTA_TREE)
    {
        name = rng_percent(&rng, 30) ? RULE_DEFAULT : 0;
        tree = name ? 0 : tree;
        snprintf(rule.target, sizeof(rule.target), "%s", name ? "*" : trees[tree]);
    }
    else
    {
        const char *const *names = type == QUOTA_USER ? users : groups;
        snprintf(rule.target, sizeof(rule.target), "%s", name == RULE_DEFAULT ? "*" : names[name]);
        snprintf(rule.qtree, sizeof(rule.qtree), "%s", trees[tree]);
    }
    uint64_t *limit = &rules[type][volume][tree][name];
    if (*limit != NONE && rng_percent(&rng, 50))
    {
        CU_ASSERT_EQUAL(quota_rule_delete(host.pool, &rule, &host.why), 0);
        *limit = NONE;
        return;
    }
    CU_ASSERT_EQUAL(quota_rule_set(host.pool, &rule, &host.why), 0);
    *limit = rule.hard_bytes / MIB;
}

static void do_switch(void)
{
    int volume = any(VOLUMES);
    is_on[volume] = rng_percent(&rng, 85);
    CU_ASSERT_EQUAL(quota_set_enabled(host.pool, volume ? "v1" : "v0", is_on[volume], &host.why),
                    0);
}

/* ---- the recount --------------------------------------------------------------------------- */

static int find_name(const char *const *names, const char *name)
{
    for (int i = 0; i < NAMES; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return RULE_DEFAULT;
}

static void compare_usage(const struct quota_usage *usage)
{
    const struct quota_rule *rule = &usage->rule;
    int volume = rule->volume[1] - '0', name = 0;
    const char *tree_name = rule->type == QUOTA_TREE ? rule->target : rule->qtree;
    int tree = 0;
    bool is_default = false;
    for (int t = 0; t < TREES; t++)
        tree = strcmp(trees[t], tree_name) == 0 ? t : tree;
    if (rule->type != QUOTA_TREE)
        name = find_name(rule->type == QUOTA_USER ? users : groups, rule->target);
    if (name == RULE_DEFAULT || strcmp(rule->target, "*") == 0)
        return; /* counts for nobody by itself */
    uint64_t count, used = used_mib(rule->type, volume, tree, name, &count);
    uint64_t limit = limit_mib(rule->type, volume, tree, name, &is_default);
    CU_ASSERT_EQUAL(usage->used_bytes, used * MIB);
    CU_ASSERT_EQUAL(usage->lun_count, count);
    CU_ASSERT_EQUAL(rule->hard_bytes, limit * MIB);
    CU_ASSERT_EQUAL(usage->is_default, is_default);
    CU_ASSERT_EQUAL(usage->is_enabled, is_on[volume]);
}

static void recount(void)
{
    AUTO_FREE struct quota_usage *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL(quota_report(host.pool, NULL, &list, &count, &host.why), 0);
    for (size_t i = 0; i < count; i++)
        compare_usage(&list[i]);
    for (int i = 0; i < LUNS; i++)
        if (luns[i].is_there)
            CU_ASSERT_EQUAL(host_info(&host, luns[i].name).size_bytes, luns[i].mib * MIB);
}

/* ---- the tests ----------------------------------------------------------------------------- */

static void begin(uint64_t seed)
{
    host_start(&host, NULL);
    rng = rng_of(seed);
    memset(luns, 0, sizeof(luns));
    memset(rules, 0xff, sizeof(rules));
    for (int v = 0; v < VOLUMES; v++)
    {
        char path[32];
        const struct volume_attributes attributes = {0};
        snprintf(path, sizeof(path), "v%d", v);
        CU_ASSERT_EQUAL_FATAL(volume_create(host.pool, path, &attributes, &host.why), 0);
        CU_ASSERT_EQUAL_FATAL(quota_set_enabled(host.pool, path, true, &host.why), 0);
        is_on[v] = true;
        for (int t = 1; t < TREES; t++)
        {
            snprintf(path, sizeof(path), "v%d/%s", v, trees[t]);
            CU_ASSERT_EQUAL_FATAL(qtree_create(host.pool, path, NULL, &host.why), 0);
        }
    }
}

static void test_random(void)
{
    static void (*const commands[])(void) = {do_create, do_create, do_clone, do_resize, do_resize,
                                             do_delete, do_move,   do_chown, do_rule};
    const char *given = getenv("LUNETTE_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 4;
    begin(seed);
    for (int i = 0; i < STEPS && CU_get_number_of_failures() == 0; i++)
    {
        commands[any(ARRAY_SIZE(commands))]();
        if (i % 40 == 0)
            do_switch();
        if (i % 10 == 0)
            recount();
        if (i % 500 == 499)
        {
            host_crash_open(&host);
            recount();
        }
        if (i % 200 == 0)
            host_settle(&host);
    }
    if (CU_get_number_of_failures() > 0)
        printf("\nLUNETTE_SEED=%" PRIu64 " repeats it\n", seed);
    /* It has been tried. */
    CU_ASSERT(refusals > 100);
    CU_ASSERT(overs > 50);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

static atomic_bool has_ended;
static pthread_barrier_t gate;

/* Makes, clones, grows and deletes LUNs of its own below the limit of all. */
static void *crowd(void *opaque)
{
    unsigned number = (unsigned)(uintptr_t)opaque, refused = 0;
    struct rng own = rng_of(number);
    pthread_barrier_wait(&gate);
    for (unsigned i = 0; i < THREAD_STEPS; i++)
    {
        char name[64], clone[72];
        snprintf(name, sizeof(name), "v0/q1/t%u-%u", number, (unsigned)rng_below(&own, 3));
        snprintf(clone, sizeof(clone), "%s-c", name);
        const struct lun_create_args create = {.name = name,
                                               .size_bytes = rng_between(&own, 1, 4) * MIB};
        const struct lun_clone_args clones = {.source = name, .name = clone};
        int r = 0;
        switch (rng_below(&own, 5))
        {
        case 0:
            r = lun_create(host.pool, &create, NULL);
            break;
        case 1:
            r = lun_clone(host.pool, &clones, NULL);
            break;
        case 2:
            r = lun_resize(host.pool, name, create.size_bytes, LUN_FORCE, NULL);
            break;
        case 3:
            r = lun_delete(host.pool, name, false, 0, NULL);
            break;
        case 4:
            r = lun_delete(host.pool, clone, false, 0, NULL);
            break;
        }
        refused += r == -EDQUOT;
        if (r != 0 && r != -EDQUOT && r != -ENOENT && r != -EEXIST)
            return "a command failed";
    }
    return refused ? NULL : "nothing was refused";
}

static void *watch(void *opaque)
{
    uint64_t limit = *(const uint64_t *)opaque;
    while (!atomic_load(&has_ended))
    {
        AUTO_FREE struct quota_usage *list = NULL;
        size_t count = 0;
        if (quota_report(host.pool, "v0/q1", &list, &count, NULL) < 0 || count != 1 ||
            list[0].used_bytes > limit)
            return "more is used than is allowed";
    }
    return NULL;
}

static void test_threads(void)
{
    pthread_t threads[THREADS], watcher;
    uint64_t limit = 9 * MIB;
    void *said;
    begin(1);
    host.env.env = *env_system(); /* the one from a seed is for one thread */
    const struct quota_rule rule = {.type = QUOTA_TREE,
                                    .volume = "v0",
                                    .target = "q1",
                                    .hard_bytes = limit,
                                    .soft_bytes = UINT64_MAX,
                                    .threshold_bytes = UINT64_MAX};
    CU_ASSERT_EQUAL_FATAL(quota_rule_set(host.pool, &rule, &host.why), 0);
    atomic_store(&has_ended, false);
    pthread_barrier_init(&gate, NULL, THREADS);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&watcher, NULL, watch, &limit), 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, crowd, (void *)i), 0);
    for (unsigned i = 0; i < THREADS; i++)
    {
        pthread_join(threads[i], &said);
        CU_ASSERT_PTR_NULL(said);
    }
    atomic_store(&has_ended, true);
    pthread_join(watcher, &said);
    pthread_barrier_destroy(&gate);
    CU_ASSERT_PTR_NULL(said);
    host_settle(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

static CU_TestInfo quota_tests[] = {
    {"random commands against a model", test_random},
    {"several threads below one limit", test_threads},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"quotas at random", NULL, NULL, NULL, NULL, quota_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
