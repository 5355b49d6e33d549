/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/volume/news.h"

#include <stdlib.h>
#include <string.h>

#include "lun/pool/pool_internal.h"

struct lun_news_item
{
    uint64_t id;
    char *name;
};

void lun_news_add(struct lun_news *news, uint64_t id, const char *name)
{
    if (news->count == news->capacity)
    {
        size_t capacity = news->capacity ? 2 * news->capacity : 64;
        struct lun_news_item *items = realloc(news->items, capacity * sizeof(*items));
        if (!items)
            return;
        news->items = items;
        news->capacity = capacity;
    }
    char *copy = strdup(name);
    if (copy)
        news->items[news->count++] = (struct lun_news_item){.id = id, .name = copy};
}

void lun_news_tell(const struct lun_news *news, struct pool *pool, enum lun_change change)
{
    for (size_t i = 0; i < news->count; i++)
        pool_notify(pool, change, news->items[i].id, news->items[i].name);
}

void lun_news_destroy(struct lun_news *news)
{
    for (size_t i = 0; i < news->count; i++)
        free(news->items[i].name);
    free(news->items);
    *news = (struct lun_news){0};
}
