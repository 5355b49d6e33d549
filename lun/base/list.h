/* SPDX-License-Identifier: BSD-3-Clause */
/* Doubly linked list, intrusive, circular; the head is a struct list of its own. */
#ifndef LUN_BASE_LIST_H
#define LUN_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list
{
    struct list *next, *prev;
};

#define container_of(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline void list_init(struct list *list)
{
    list->next = list->prev = list;
}

static inline bool list_is_empty(const struct list *list)
{
    return list->next == list;
}

static inline void list_insert_between(struct list *node, struct list *prev, struct list *next)
{
    node->next = next;
    node->prev = prev;
    prev->next = node;
    next->prev = node;
}

static inline void list_add_head(struct list *list, struct list *node)
{
    list_insert_between(node, list, list->next);
}

static inline void list_add_tail(struct list *list, struct list *node)
{
    list_insert_between(node, list->prev, list);
}

/* Safe on a node that is initialised but in no list. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* Moves all of @from to the end of @to. */
static inline void list_splice_tail(struct list *to, struct list *from)
{
    if (list_is_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define list_for_each(item, list, type, member)                                                    \
    for (type *item = container_of((list)->next, type, member); &item->member != (list);           \
         item = container_of(item->member.next, type, member))

/* The loop body may remove @item. */
#define list_for_each_safe(item, list, type, member)                                               \
    for (type *item = container_of((list)->next, type, member),                                    \
              *item##_next = container_of(item->member.next, type, member);                        \
         &item->member != (list);                                                                  \
         item = item##_next, item##_next = container_of(item##_next->member.next, type, member))

#endif
