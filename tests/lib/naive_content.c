/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Content of the naive engine: sparse arrays of counted pages.
 *
 * Always true: a page with more than one reference is never changed; a chunk in the array holds at
 * least one page. Copying an array copies its pointers, so a clone costs what its source maps.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "tests/lib/naive_internal.h"

/* The position of the first chunk that does not lie before @page. */
static size_t nv_content_position(const struct nv_content *content, uint64_t page)
{
    size_t low = 0;
    size_t high = content->count;
    while (low < high)
    {
        size_t middle = (low + high) / 2;
        if (content->chunks[middle]->first_page + NV_CHUNK_PAGES <= page)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct nv_page **nv_content_slot(const struct nv_content *content, uint64_t page)
{
    size_t position = nv_content_position(content, page);
    if (position == content->count || content->chunks[position]->first_page > page)
        return NULL;
    return &content->chunks[position]->pages[page % NV_CHUNK_PAGES];
}

struct nv_page *nv_content_get(const struct nv_content *content, uint64_t page)
{
    struct nv_page **slot = nv_content_slot(content, page);
    return slot ? *slot : NULL;
}

/* The first page from @page on that lies in a chunk; UINT64_MAX: none. */
uint64_t nv_content_next_chunk(const struct nv_content *content, uint64_t page)
{
    size_t position = nv_content_position(content, page);
    if (position == content->count)
        return UINT64_MAX;
    return max_u64(page, content->chunks[position]->first_page);
}

static int nv_content_add_chunk(struct nv_content *content, uint64_t page)
{
    if (content->count == content->capacity)
    {
        size_t capacity = content->capacity ? 2 * content->capacity : 4;
        struct nv_chunk **grown = realloc(content->chunks, capacity * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        content->chunks = grown;
        content->capacity = capacity;
    }
    struct nv_chunk *chunk = calloc(1, sizeof(*chunk));
    if (!chunk)
        return -ENOMEM;
    chunk->first_page = page / NV_CHUNK_PAGES * NV_CHUNK_PAGES;
    size_t position = nv_content_position(content, page);
    memmove(content->chunks + position + 1, content->chunks + position,
            (content->count - position) * sizeof(*content->chunks));
    content->chunks[position] = chunk;
    content->count++;
    return 0;
}

static void nv_page_put(struct pool *pool, struct nv_page *page)
{
    if (--page->refs > 0)
        return;
    pool->page_count--;
    free(page);
}

int nv_content_copy(struct nv_content *to, const struct nv_content *from)
{
    struct nv_content copy = {.capacity = from->count, .mapped_pages = from->mapped_pages};
    copy.chunks = calloc(from->count + 1, sizeof(*copy.chunks));
    for (; copy.chunks && copy.count < from->count; copy.count++)
    {
        copy.chunks[copy.count] = malloc(sizeof(struct nv_chunk));
        if (!copy.chunks[copy.count])
            break;
        memcpy(copy.chunks[copy.count], from->chunks[copy.count], sizeof(struct nv_chunk));
    }
    if (copy.count < from->count || !copy.chunks)
    {
        while (copy.count > 0)
            free(copy.chunks[--copy.count]);
        free(copy.chunks);
        return -ENOMEM;
    }
    for (size_t i = 0; i < copy.count; i++)
    {
        for (unsigned j = 0; j < NV_CHUNK_PAGES; j++)
        {
            if (copy.chunks[i]->pages[j])
                copy.chunks[i]->pages[j]->refs++;
        }
    }
    *to = copy;
    return 0;
}

/* Makes [first_page, end_page) a hole. */
void nv_content_cut(struct pool *pool, struct nv_content *content, uint64_t first_page,
                    uint64_t end_page)
{
    size_t kept = 0;
    for (size_t i = 0; i < content->count; i++)
    {
        struct nv_chunk *chunk = content->chunks[i];
        for (unsigned j = 0; j < NV_CHUNK_PAGES; j++)
        {
            uint64_t page = chunk->first_page + j;
            if (!chunk->pages[j] || page < first_page || page >= end_page)
                continue;
            nv_page_put(pool, chunk->pages[j]);
            chunk->pages[j] = NULL;
            chunk->used--;
            content->mapped_pages--;
        }
        if (chunk->used > 0)
            content->chunks[kept++] = chunk;
        else
            free(chunk);
    }
    content->count = kept;
    if (kept > 0)
        return;
    free(content->chunks);
    content->chunks = NULL;
    content->capacity = 0;
}

void nv_content_read(const struct nv_content *content, void *buf, size_t len, uint64_t offset)
{
    uint8_t *to = buf;
    while (len > 0)
    {
        size_t in_page = (size_t)(offset % LUN_BLK_BYTES);
        size_t part = (size_t)min_u64(len, LUN_BLK_BYTES - in_page);
        struct nv_page *page = nv_content_get(content, offset / LUN_BLK_BYTES);
        if (page)
            memcpy(to, page->bytes + in_page, part);
        else
            memset(to, 0, part);
        to += part;
        offset += part;
        len -= part;
    }
}

/* How many pages a write to the range would add. */
static uint64_t nv_content_pages_needed(const struct nv_content *content, uint64_t len,
                                        uint64_t offset)
{
    uint64_t needed = 0;
    for (uint64_t i = offset / LUN_BLK_BYTES; i < div_round_up(offset + len, LUN_BLK_BYTES); i++)
    {
        struct nv_page *page = nv_content_get(content, i);
        needed += !page || page->refs > 1;
    }
    return needed;
}

/* The page at @index, made private to this content, and made at all if need be. */
static int nv_content_own_page(struct pool *pool, struct nv_content *content, uint64_t index,
                               struct nv_page **result)
{
    struct nv_page **slot = nv_content_slot(content, index);
    if (!slot)
    {
        int r = nv_content_add_chunk(content, index);
        if (r < 0)
            return r;
        slot = nv_content_slot(content, index);
    }
    if (!*slot || (*slot)->refs > 1)
    {
        struct nv_page *fresh = calloc(1, sizeof(*fresh));
        INVARIANT(fresh != NULL);
        fresh->refs = 1;
        pool->page_count++;
        if (*slot)
        {
            memcpy(fresh->bytes, (*slot)->bytes, LUN_BLK_BYTES);
            nv_page_put(pool, *slot);
        }
        else
        {
            content->chunks[nv_content_position(content, index)]->used++;
            content->mapped_pages++;
        }
        *slot = fresh;
    }
    *result = *slot;
    return 0;
}

/* Whole or refused. @buf NULL: zeros. */
int nv_content_write(struct pool *pool, struct nv_content *content, const void *buf, size_t len,
                     uint64_t offset)
{
    uint64_t free_pages = pool->size_bytes / LUN_BLK_BYTES - pool->page_count;
    if (nv_content_pages_needed(content, len, offset) > free_pages)
        return -ENOSPC;
    const uint8_t *from = buf;
    while (len > 0)
    {
        size_t in_page = (size_t)(offset % LUN_BLK_BYTES);
        size_t part = (size_t)min_u64(len, LUN_BLK_BYTES - in_page);
        struct nv_page *page = NULL;
        int r = nv_content_own_page(pool, content, offset / LUN_BLK_BYTES, &page);
        if (r < 0)
            return r;
        if (from)
            memcpy(page->bytes + in_page, from, part);
        else
            memset(page->bytes + in_page, 0, part);
        from = from ? from + part : NULL;
        offset += part;
        len -= part;
    }
    return 0;
}

/* Zeros in those pages of the range that are mapped; holes stay holes. */
static int nv_content_zero_mapped(struct pool *pool, struct nv_content *content, uint64_t len,
                                  uint64_t offset)
{
    uint64_t end = offset + len;
    while (offset < end)
    {
        uint64_t page = nv_content_next_chunk(content, offset / LUN_BLK_BYTES);
        if (page > (end - 1) / LUN_BLK_BYTES)
            return 0;
        offset = max_u64(offset, page * LUN_BLK_BYTES);
        uint64_t part = min_u64(end - offset, LUN_BLK_BYTES - offset % LUN_BLK_BYTES);
        if (nv_content_get(content, page))
        {
            int r = nv_content_write(pool, content, NULL, (size_t)part, offset);
            if (r < 0)
                return r;
        }
        offset += part;
    }
    return 0;
}

/* Whole pages become holes. */
int nv_content_zero(struct pool *pool, struct nv_content *content, uint64_t len, uint64_t offset)
{
    uint64_t first = div_round_up(offset, LUN_BLK_BYTES);
    uint64_t end = (offset + len) / LUN_BLK_BYTES;
    if (first >= end)
        return nv_content_zero_mapped(pool, content, len, offset);
    int r = nv_content_zero_mapped(pool, content, first * LUN_BLK_BYTES - offset, offset);
    if (r == 0)
        r = nv_content_zero_mapped(pool, content, offset + len - end * LUN_BLK_BYTES,
                                   end * LUN_BLK_BYTES);
    if (r == 0)
        nv_content_cut(pool, content, first, end);
    return r;
}

uint64_t nv_content_own_pages(const struct nv_content *content)
{
    uint64_t own = 0;
    for (size_t i = 0; i < content->count; i++)
    {
        for (unsigned j = 0; j < NV_CHUNK_PAGES; j++)
            own += content->chunks[i]->pages[j] && content->chunks[i]->pages[j]->refs == 1;
    }
    return own;
}
