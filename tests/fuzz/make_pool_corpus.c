/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes the corpus of fuzz_journal: the records of a journal as they should be, one after the
 * other and all of them, for the fuzzer to spoil.
 *
 *   make_pool_corpus FOLDER
 */
#include <stdio.h>
#include <stdlib.h>

#include "lun/base/invariant.h"
#include "tests/fuzz/pool_image.h"

struct corpus
{
    const char *folder;
    struct writer all;
    unsigned count;
};

static void corpus_write(struct corpus *corpus, const char *name, const void *bytes, size_t len)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", corpus->folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, len, file) != len || fclose(file) != 0)
    {
        fprintf(stderr, "cannot write %s\n", path);
        exit(EXIT_FAILURE);
    }
}

static void corpus_add(void *opaque, const uint8_t *actions, size_t len, const uint64_t *nodes,
                       unsigned node_count)
{
    struct corpus *corpus = opaque;
    char name[32];
    if (node_count > UINT8_MAX || len > UINT16_MAX)
        return;
    writer_le16(&corpus->all, (uint16_t)len);
    writer_u8(&corpus->all, (uint8_t)node_count);
    writer_bytes(&corpus->all, actions, len);
    for (unsigned i = 0; i < node_count; i++)
        writer_le16(&corpus->all, (uint16_t)nodes[i]);
    snprintf(name, sizeof(name), "first-%02u", ++corpus->count);
    corpus_write(corpus, name, corpus->all.bytes, corpus->all.len);
}

int main(int argc, char **argv)
{
    if (argc != 2)
    {
        fprintf(stderr, "usage: make_pool_corpus FOLDER\n");
        return EXIT_FAILURE;
    }
    struct corpus corpus = {.folder = argv[1]};
    writer_u8(&corpus.all, POOL_IMAGE_PENDING | 16);
    pool_image_each_record(corpus_add, &corpus);
    INVARIANT(!corpus.all.failed);
    writer_destroy(&corpus.all);
    return EXIT_SUCCESS;
}
