/* SPDX-License-Identifier: BSD-3-Clause */
/* What a command on many LUNs tells the change hook: collected under pool->management, told once it
 * is durable and no lock is held. */
#ifndef LUN_VOLUME_NEWS_H
#define LUN_VOLUME_NEWS_H

#include <stddef.h>
#include <stdint.h>

#include "lun/lun.h"

struct lun_news
{
    struct lun_news_item *items;
    size_t count, capacity;
};

/* @name is copied. Without memory the LUN is not told of. */
void lun_news_add(struct lun_news *news, uint64_t id, const char *name);
void lun_news_tell(const struct lun_news *news, struct pool *pool, enum lun_change change);
void lun_news_destroy(struct lun_news *news);
#define AUTO_LUN_NEWS CLEANUP(lun_news_destroy)

#endif
