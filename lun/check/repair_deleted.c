/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Deleted lines whose walk cannot be finished.
 *
 * A line is going if it is deleted, or a hidden point of which all children are: nothing can look
 * at it any more, and nothing can come to stand on it. Going lines that stand on each other go
 * together, with the lowest of them, which stands on a line that stays, or on none. What was born
 * after that one froze is theirs alone, whichever of them made it, uses it or has dropped it (rules
 * 2 to 4): all of it is to be free once all their walks are over, and nothing else is. So where one
 * of their trees cannot be read, they are given up together, and what nothing else refers to is
 * free. Rules 9 to 11 are kept: no child is left of a point whose map is
 * dead, and where a point stays, a child that goes counts for it no more, as if it was walked.
 *
 * A line that lives is never given up, nor a part of it: what is lost there gives errors, and zeros
 * in its place would be a lie.
 */
#include "lun/check/repair_deleted.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "lun/base/checked.h"
#include "lun/base/size_text.h"
#include "lun/check/walk.h"
#include "lun/map/lineage.h"

void given_up_destroy(struct given_up *given)
{
    free(given->data);
    free(given->nodes);
    *given = (struct given_up){0};
}

/* ---- who goes ------------------------------------------------------------------------------ */

/* An id is larger than those of the lines below it. */
static int compare_ids(const void *a, const void *b)
{
    const struct line *x = *(struct line *const *)a, *y = *(struct line *const *)b;
    return x->object.id < y->object.id ? -1 : x->object.id > y->object.id;
}

/* Those that go together side by side, the upper ones first. */
static int compare_going(const void *a, const void *b)
{
    const struct line *x = *(struct line *const *)a, *y = *(struct line *const *)b;
    int r = compare_ids(&x->goes_with, &y->goes_with);
    return r ? r : compare_ids(b, a);
}

static bool line_is_going(const struct line *line)
{
    if (line->is_dying)
        return true;
    if (!line_is_hidden_point(line))
        return false;
    list_for_each (child, &line->children, struct line, child_link)
    {
        if (!child->goes_with)
            return false;
    }
    return true;
}

/* Sets line->goes_with of all @lines, to NULL for those that stay, and moves the others to the
 * front. Returns how many go. */
static size_t find_going(struct line **lines, size_t count)
{
    qsort(lines, count, sizeof(struct line *), compare_ids);
    for (size_t i = count; i-- > 0;)
        lines[i]->goes_with = line_is_going(lines[i]) ? lines[i] : NULL;
    size_t going = 0;
    for (size_t i = 0; i < count; i++)
    {
        struct line *line = lines[i];
        if (!line->goes_with)
            continue;
        if (line->predecessor && line->predecessor->goes_with)
            line->goes_with = line->predecessor->goes_with;
        lines[going++] = line;
    }
    qsort(lines, going, sizeof(struct line *), compare_going);
    return going;
}

/* ---- what they have ------------------------------------------------------------------------ */

struct survey
{
    struct pool *pool;
    uint32_t after;               /* what was born until then is others' */
    uint64_t *data, *nodes, lost; /* by block; NULL: only looks for what is lost */
};

static void survey_mark(struct survey *survey, uint64_t *bits, uint64_t blk, uint64_t len)
{
    if (!bits || !space_may_hold(survey->pool, blk, len))
        return;
    for (uint64_t i = blk; i < blk + len; i++)
        bits[i / 64] |= UINT64_C(1) << (i % 64);
}

static int survey_map_lost(void *opaque, struct node_ref ref)
{
    struct survey *survey = opaque;
    survey->lost++;
    if (ref.birth > survey->after)
        survey_mark(survey, survey->nodes, ref.blk, 1);
    return 0;
}

static int survey_map_node(void *opaque, const struct node *node, unsigned level,
                           struct tree_key low, struct tree_key high)
{
    (void)level, (void)low, (void)high;
    struct survey *survey = opaque;
    if (node->ref.birth <= survey->after)
        return survey->nodes != NULL; /* then nothing below is theirs either */
    survey_mark(survey, survey->nodes, node->ref.blk, 1);
    return 0;
}

static int survey_extent(void *opaque, const union disk_entry *entry, struct tree_key low,
                         struct tree_key high)
{
    (void)low, (void)high;
    struct survey *survey = opaque;
    if (le32_get(entry->map.birth) > survey->after)
        survey_mark(survey, survey->data, le40_get(entry->map.blk), le16_get(entry->map.len_blks));
    return 0;
}

static int survey_list_lost(void *opaque, struct node_ref ref)
{
    struct survey *survey = opaque;
    survey->lost++;
    survey_mark(survey, survey->nodes, ref.blk, 1);
    return 0;
}

static int survey_list_node(void *opaque, const struct node *node, unsigned level,
                            struct tree_key low, struct tree_key high)
{
    (void)level, (void)low, (void)high;
    struct survey *survey = opaque;
    survey_mark(survey, survey->nodes, node->ref.blk, 1);
    return 0;
}

static int survey_drop(void *opaque, const union disk_entry *entry, struct tree_key low,
                       struct tree_key high)
{
    (void)low, (void)high;
    struct survey *survey = opaque;
    const struct disk_drop_entry *drop = &entry->drop;
    if (le32_get(drop->birth) > survey->after)
        survey_mark(survey, drop->is_node ? survey->nodes : survey->data, le40_get(drop->blk),
                    le16_get(drop->len_blks));
    return 0;
}

/* As the check reads them. A dead map says nothing: what is left of it is in maps and drop lists
 * above it. Nor does a list that is forgotten say anything of what is in it. */
static int survey_line(struct survey *survey, const struct line *line)
{
    struct pool *pool = survey->pool;
    bool is_dead = line_is_hidden_point(line) && line->child_count > 0;
    bool is_forgotten = line->is_walking && line->walk_phase >= line->map.levels;
    struct tree_visit map = {
        .node = survey_map_node, .entry = survey_extent, .lost = survey_map_lost, .opaque = survey};
    struct tree_visit drops = {.node = survey_list_node,
                               .entry = is_forgotten ? NULL : survey_drop,
                               .lost = survey_list_lost,
                               .opaque = survey};
    int r = 0;
    if (!is_dead)
        r = line->is_walking ? tree_visit_unwalked(pool, line, &line->map, &map)
                             : tree_visit(pool, &line->map, &map);
    if (r < 0)
        return r;
    return line->is_walking ? tree_visit_unwalked(pool, line, &line->drops, &drops)
                            : tree_visit(pool, &line->drops, &drops);
}

static int survey_lines(struct survey *survey, struct line *const *lines, size_t count)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = survey_line(survey, lines[i]);
    return r;
}

/* ---- giving up ----------------------------------------------------------------------------- */

static void give_up_say(struct repair *repair, const struct line *first, uint64_t lost,
                        uint64_t data_blks, uint64_t node_blks)
{
    repair_say(repair, true,
               "trees of %s (line %" PRIu64 ") cannot be read in %" PRIu64 " place%s: what is left "
               "of it, %" PRIu64 " data and %" PRIu64 " metadata blocks, %s given up",
               first->is_dying ? "a deleted LUN" : "a deleted snapshot", first->object.id, lost,
               plural_s(lost), data_blks, node_blks, repair_is(repair));
}

static int given_up_alloc(struct pool *pool, struct given_up *given)
{
    size_t words = (size_t)div_round_up(atomic_load(&pool->size_blks), 64);
    if (!given->data)
        given->data = calloc(words, 8);
    if (!given->nodes)
        given->nodes = calloc(words, 8);
    return given->data && given->nodes ? 0 : -ENOMEM;
}

/* Lines that go together, if anything of them is lost. */
static int give_up_lines(struct pool *pool, struct given_up *given, struct line *const *lines,
                         size_t count)
{
    const struct line *lowest = lines[0]->goes_with, *first = lines[0];
    struct survey survey = {.pool = pool, .after = atomic_load(&lowest->own_after)};
    int r = survey_lines(&survey, lines, count);
    if (r < 0 || survey.lost == 0)
        return r;
    uint64_t data_blks = 0, node_blks = 0, lost = survey.lost;
    r = given_up_alloc(pool, given);
    if (r < 0)
        return r;
    survey.data = given->data;
    survey.nodes = given->nodes;
    r = survey_lines(&survey, lines, count);
    for (size_t i = 0; i < count; i++)
    {
        data_blks += atomic_load(&lines[i]->own_blks);
        node_blks += atomic_load(&lines[i]->own_node_blks);
    }
    if (r < 0)
        return r;
    give_up_say(pool->options.repair, first, lost, data_blks, node_blks);
    given->data_blks += data_blks;
    given->node_blks += node_blks;
    for (size_t i = 0; i < count; i++) /* children come before what they stand on */
        lineage_give_up(pool, lines[i]);
    return 0;
}

static int give_up_going(struct pool *pool, struct given_up *given, struct line *const *lines,
                         size_t count)
{
    int r = 0;
    for (size_t i = 0, end; r == 0 && i < count; i = end)
    {
        const struct line *lowest = lines[i]->goes_with;
        end = i + 1;
        while (end < count && lines[end]->goes_with == lowest)
            end++;
        r = give_up_lines(pool, given, &lines[i], end - i);
    }
    return r;
}

int repair_give_up_deleted(struct pool *pool, struct given_up *given)
{
    size_t count = 0;
    AUTO_FREE struct line **lines = calloc(pool->line_count + 1, sizeof(struct line *));
    if (!lines)
        return -ENOMEM;
    rwlock_take_exclusive(&pool->cp_gate);
    rwlock_take_exclusive(&pool->catalog_lock);
    list_for_each (line, &pool->lines, struct line, all_link)
        lines[count++] = line;
    int r = give_up_going(pool, given, lines, find_going(lines, count));
    rwlock_release(&pool->catalog_lock);
    rwlock_release(&pool->cp_gate);
    return r;
}
