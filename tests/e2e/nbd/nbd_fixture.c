/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool in a temporary directory, nbdkit serving it, and clients. */
#include "tests/e2e/nbd/nbd_fixture.h"

#include <CUnit/CUnit.h>
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/cleanup.h"

enum
{
    FIXTURE_ARGS_MAX = 32
};

static struct fixture *fixture_current; /* NULL: none is up */
static struct fixture fixture_copy; /* of it: the test's own may be gone when it is taken down */

bool fixture_engine_is_durable(void)
{
    return NBD_FIXTURE_DURABLE;
}

const char *fixture_plugin(void)
{
    return NBD_FIXTURE_PLUGIN;
}

static int fixture_remove_cb(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* After a failure: what the server has to say of it. */
static void fixture_print_log(const struct nbd_server *server)
{
    AUTO_FREE char *log = nbd_server_log(server);
    fprintf(stderr, "\n--- %s\n%s---\n", server->log_path, log);
}

static void fixture_take_down(void)
{
    if (!fixture_current)
        return;
    fixture_current = NULL;
    if (fixture_copy.server.pid > 0) /* the test did not get to fixture_end() */
        fixture_print_log(&fixture_copy.server);
    nbd_server_kill(&fixture_copy.server);
    nftw(fixture_copy.dir, fixture_remove_cb, 16, FTW_DEPTH | FTW_PHYS);
}

static void fixture_note(struct fixture *f)
{
    fixture_current = f;
    fixture_copy = *f;
}

void fixture_make(struct fixture *f, uint64_t pool_bytes)
{
    static bool is_registered;
    if (!is_registered)
        atexit(fixture_take_down);
    is_registered = true;
    fixture_take_down();

    *f = (struct fixture){0};
    const char *tmp = getenv("TMPDIR");
    snprintf(f->dir, sizeof(f->dir), "%.40s/lunette-nbd-XXXXXX", tmp ? tmp : "/tmp");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(f->dir));
    snprintf(f->pool_path, sizeof(f->pool_path), "%s/pool", f->dir);
    snprintf(f->verb_path, sizeof(f->verb_path), "%s/verbs", f->dir);
    fixture_note(f);

    const struct pool_create_options options = {.size_bytes = pool_bytes};
    struct reason why;
    int r = pool_create(env_system(), f->pool_path, &options, &why);
    if (r < 0)
        fprintf(stderr, "pool_create: %s\n", why.text);
    CU_ASSERT_EQUAL_FATAL(r, 0);
}

void fixture_serve(struct fixture *f, const char *const *args)
{
    char pool[160];
    char verbs[160];
    snprintf(pool, sizeof(pool), "pool=%s", f->pool_path);
    snprintf(verbs, sizeof(verbs), "mgmt-socket=%s", f->verb_path);
    const char *all[FIXTURE_ARGS_MAX] = {0};
    size_t count = 0;
    /* nbdkit's own options, which begin with '-', go before the plugin, parameters behind it. */
    for (size_t i = 0; args && args[i]; i++)
        if (args[i][0] == '-')
            all[count++] = args[i];
    all[count++] = fixture_plugin();
    all[count++] = pool;
    all[count++] = verbs;
    for (size_t i = 0; args && args[i]; i++)
        if (args[i][0] != '-')
            all[count++] = args[i];
    int r = nbd_server_start(&f->server, f->dir, all);
    if (r < 0)
        fixture_print_log(&f->server);
    fixture_note(f);
    CU_ASSERT_EQUAL_FATAL(r, 0);
}

void fixture_start(struct fixture *f, uint64_t pool_bytes)
{
    fixture_make(f, pool_bytes);
    fixture_serve(f, NULL);
}

void fixture_end(struct fixture *f)
{
    if (f->server.pid > 0)
    {
        fixture_do(f, "check");
        int status = nbd_server_stop(&f->server);
        CU_ASSERT_EQUAL(status, 0);
        if (status != 0)
            fixture_print_log(&f->server);
    }
    fixture_note(f);
    fixture_take_down();
}

__attribute__((format(printf, 2, 0))) static int fixture_try_v(struct fixture *f,
                                                               const char *format, va_list args)
{
    char line[512];
    vsnprintf(line, sizeof(line), format, args);
    f->text[0] = '\0';
    return pool_verb_send(f->verb_path, line, f->text);
}

void fixture_do(struct fixture *f, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int r = fixture_try_v(f, format, args);
    va_end(args);
    if (r != 0)
        fprintf(stderr, "\n    %s: %d: %s\n", format, r, f->text);
    CU_ASSERT_EQUAL_FATAL(r, 0);
}

int fixture_try(struct fixture *f, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int r = fixture_try_v(f, format, args);
    va_end(args);
    return r;
}

uint64_t fixture_said(const struct fixture *f, const char *word)
{
    const char *at = strstr(f->text, word);
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    return at ? strtoull(at + strlen(word), NULL, 10) : 0;
}

struct nbd_handle *fixture_try_connect(struct fixture *f, const char *export)
{
    struct nbd_handle *nbd = nbd_create();
    CU_ASSERT_PTR_NOT_NULL_FATAL(nbd);
    nbd_set_export_name(nbd, export);
    nbd_set_full_info(nbd, true);
    nbd_add_meta_context(nbd, LIBNBD_CONTEXT_BASE_ALLOCATION);
    nbd_set_strict_mode(nbd, 0);
    if (nbd_connect_unix(nbd, f->server.socket_path) == 0)
        return nbd;
    nbd_close(nbd);
    return NULL;
}

struct nbd_handle *fixture_connect(struct fixture *f, const char *export)
{
    struct nbd_handle *nbd = fixture_try_connect(f, export);
    if (!nbd)
        fprintf(stderr, "\n    export %s: %s\n", export, nbd_get_error());
    CU_ASSERT_PTR_NOT_NULL_FATAL(nbd);
    return nbd;
}

static uint8_t fixture_byte(uint64_t offset, unsigned seed)
{
    uint64_t x =
        (offset / 8 + 1) * UINT64_C(0x9e3779b97f4a7c15) + seed * UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 31;
    return (uint8_t)(x >> (offset % 8 * 8));
}

void fixture_fill(void *buf, size_t len, uint64_t offset, unsigned seed)
{
    uint8_t *bytes = buf;
    for (size_t i = 0; i < len; i++)
        bytes[i] = fixture_byte(offset + i, seed);
}

bool fixture_is_filled(const void *buf, size_t len, uint64_t offset, unsigned seed)
{
    const uint8_t *bytes = buf;
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != fixture_byte(offset + i, seed))
        {
            fprintf(stderr, "\n    wrong byte at %" PRIu64 "\n", offset + i);
            return false;
        }
    return true;
}

bool fixture_is_zero(const void *buf, size_t len)
{
    const uint8_t *bytes = buf;
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

uint64_t fixture_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}
