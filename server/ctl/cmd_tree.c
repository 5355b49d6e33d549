/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tree: the lineage as text or as a graph.
 *
 * Lines come as a list with predecessors. They are printed by walking down without recursion, so a
 * chain of ten thousand clones needs no stack.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/ctl/ctl.h"
#include "server/units.h"

enum
{
    TREE_DEPTH_SHOWN = 200, /* columns of branches; deeper ones are not indented further */
};

struct tree_line
{
    const json_t *json;
    uint64_t id;
    size_t parent;      /* index, SIZE_MAX: a root */
    size_t first_child; /* index, SIZE_MAX: none; children are chained by next */
    size_t next;
    bool is_last; /* of its parent's children */
};

static int tree_compare(const void *a, const void *b)
{
    uint64_t x = ((const struct tree_line *)a)->id, y = ((const struct tree_line *)b)->id;
    return (x > y) - (x < y);
}

static size_t tree_find(const struct tree_line *lines, size_t count, uint64_t id)
{
    struct tree_line key = {.id = id};
    const struct tree_line *found = bsearch(&key, lines, count, sizeof(*lines), tree_compare);
    return found ? (size_t)(found - lines) : SIZE_MAX;
}

/* The lines by id, with parents and children joined. NULL: no memory. */
static struct tree_line *tree_build(const json_t *array, size_t *first_root)
{
    size_t count = json_array_size(array);
    struct tree_line *lines = calloc(count + 1, sizeof(*lines));
    *first_root = SIZE_MAX;
    if (!lines)
        return NULL;
    for (size_t i = 0; i < count; i++)
    {
        lines[i].json = json_array_get(array, i);
        lines[i].id = ctl_get(lines[i].json, "id");
        lines[i].first_child = SIZE_MAX;
    }
    qsort(lines, count, sizeof(*lines), tree_compare);
    /* From the last on, so that children come out in the order of their age. */
    for (size_t i = count; i-- > 0;)
    {
        uint64_t predecessor = ctl_get(lines[i].json, "predecessor");
        size_t parent = predecessor ? tree_find(lines, count, predecessor) : SIZE_MAX;
        size_t *first = parent == SIZE_MAX ? first_root : &lines[parent].first_child;
        lines[i].parent = parent;
        lines[i].is_last = *first == SIZE_MAX;
        lines[i].next = *first;
        *first = i;
    }
    return lines;
}

static const char *tree_label(const struct tree_line *line)
{
    const char *name = json_string_value(json_object_get(line->json, "name"));
    const char *kind = json_string_value(json_object_get(line->json, "kind"));
    if (kind && strcmp(kind, "dying") == 0)
        return "(being deleted)";
    return name && *name ? name : "(hidden)";
}

/* "|  " for each ancestor that has a sibling to come. */
static void tree_print_branches(const struct tree_line *lines, size_t i)
{
    const char *columns[TREE_DEPTH_SHOWN];
    size_t depth = 0;
    if (lines[i].parent == SIZE_MAX)
        return;
    for (size_t at = lines[i].parent; lines[at].parent != SIZE_MAX && depth < TREE_DEPTH_SHOWN;
         at = lines[at].parent)
        columns[depth++] = lines[at].is_last ? "   " : "|  ";
    while (depth > 0)
        fputs(columns[--depth], stdout);
    fputs(lines[i].is_last ? "`- " : "|- ", stdout);
}

static void tree_print_line(const struct tree_line *lines, size_t i)
{
    char mapped[UNITS_TEXT_MAX], own[UNITS_TEXT_MAX];
    tree_print_branches(lines, i);
    printf("%s  mapped %s, own %s\n", tree_label(&lines[i]),
           units_format_bytes(ctl_get(lines[i].json, "mapped_bytes"), 'h', mapped),
           units_format_bytes(ctl_get(lines[i].json, "own_bytes"), 'h', own));
}

static void tree_print(const struct tree_line *lines, size_t first_root)
{
    size_t i = first_root;
    while (i != SIZE_MAX)
    {
        tree_print_line(lines, i);
        if (lines[i].first_child != SIZE_MAX)
        {
            i = lines[i].first_child;
            continue;
        }
        while (i != SIZE_MAX && lines[i].next == SIZE_MAX)
            i = lines[i].parent;
        if (i != SIZE_MAX)
            i = lines[i].next;
    }
}

static void tree_print_dot(const struct tree_line *lines, size_t count)
{
    printf("digraph lunette {\n  rankdir=LR;\n  node [shape=box];\n");
    for (size_t i = 0; i < count; i++)
    {
        char own[UNITS_TEXT_MAX];
        const char *kind = json_string_value(json_object_get(lines[i].json, "kind"));
        bool is_lun = kind && strcmp(kind, "lun") == 0;
        printf("  n%" PRIu64 " [label=\"%s\\nown %s\"%s];\n", lines[i].id, tree_label(&lines[i]),
               units_format_bytes(ctl_get(lines[i].json, "own_bytes"), 'h', own),
               is_lun ? "" : " style=dashed");
        if (lines[i].parent != SIZE_MAX)
            printf("  n%" PRIu64 " -> n%" PRIu64 ";\n", lines[lines[i].parent].id, lines[i].id);
    }
    printf("}\n");
}

enum ctl_exit ctl_tree(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    size_t first_root;
    if (option_flag(in, "json") && option_flag(in, "dot"))
        return ctl_usage(in, "--json or --dot, not both");
    enum ctl_exit status = ctl_ask(in, "tree", NULL, &result);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
    {
        table_print_json(stdout, result);
        return CTL_DONE;
    }
    const json_t *array = json_object_get(result, "lines");
    AUTO_FREE struct tree_line *lines = tree_build(array, &first_root);
    if (!lines)
        return ctl_no_memory(in);
    if (option_flag(in, "dot"))
        tree_print_dot(lines, json_array_size(array));
    else
        tree_print(lines, first_root);
    return CTL_DONE;
}
