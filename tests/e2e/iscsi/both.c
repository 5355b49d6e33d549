/* SPDX-License-Identifier: BSD-3-Clause */
/* A server process with both protocols, and clients of either. */
#include "tests/e2e/iscsi/both.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"

enum
{
    BOTH_ANSWER_S = 120,
    BOTH_ATTENTIONS_MAX = 8,
    BOTH_WORDS_MAX = 32,
};

bool both_is_durable(void)
{
    return BOTH_DURABLE;
}

__attribute__((noreturn)) static void both_give_up(const struct both *both, const char *what)
{
    AUTO_FREE char *log = nbd_server_log(&both->server);
    fprintf(stderr, "\n%s\n%s\nlog of the server:\n%s\n", what, both->said, log);
    abort();
}

/* ---- the server ---------------------------------------------------------------------------- */

/* The string behind @key in what a command said in JSON, to @value. */
static bool both_find_text(const struct both *both, const char *key, char *value, size_t size)
{
    const char *at = strstr(both->said, key);
    at = at ? strchr(at + strlen(key), '"') : NULL;
    const char *end = at ? strchr(at + 1, '"') : NULL;
    if (!end || (size_t)(end - at - 1) >= size)
        return false;
    memcpy(value, at + 1, (size_t)(end - at - 1));
    value[end - at - 1] = '\0';
    return true;
}

void both_serve(struct both *both, bool with_portal)
{
    char pool[128], socket[128];
    snprintf(pool, sizeof(pool), "pool=%s/pool", both->dir);
    snprintf(socket, sizeof(socket), "mgmt-socket=%s/mgmt", both->dir);
    const char *args[BOTH_WORDS_MAX];
    size_t count = 0;
    const char *const *option = both->options;
    for (; option && *option && **option == '-'; option++)
        args[count++] = *option;
    args[count++] = BOTH_PLUGIN;
    args[count++] = pool;
    args[count++] = socket;
    if (with_portal)
        args[count++] = "iscsi-portal=127.0.0.1:0";
    for (; option && *option; option++)
        args[count++] = *option;
    INVARIANT(count < BOTH_WORDS_MAX);
    args[count] = NULL;
    if (nbd_server_start(&both->server, both->dir, args) < 0)
        both_give_up(both, "the server does not start");
    both->has_portal = with_portal;
    both_do(both, "server status --wait 60s --json");
    if (with_portal &&
        (!both_find_text(both, "\"iscsi_portals\": [", both->portal, sizeof(both->portal)) ||
         !both_find_text(both, "\"iscsi_target\":", both->target, sizeof(both->target))))
        both_give_up(both, "no portal");
}

void both_start(struct both *both, const char *size)
{
    both_start_with(both, size, NULL);
}

void both_start_with(struct both *both, const char *size, const char *const *options)
{
    const char *tmp = getenv("TMPDIR");
    *both = (struct both){.options = options};
    snprintf(both->dir, sizeof(both->dir), "%.40s/lunette-both-XXXXXX", tmp ? tmp : "/tmp");
    INVARIANT(mkdtemp(both->dir));
    both_do(both, "pool create %s/pool %s", both->dir, size);
    both_serve(both, true);
    both_do(both, "igroup create g " BOTH_A " " BOTH_B);
}

void both_end(struct both *both)
{
    if (nbd_server_stop(&both->server) != 0)
        both_give_up(both, "the server did not end well");
    both_do(both, "pool check --pool %s/pool", both->dir);
    both_clear(both);
}

void both_clear(struct both *both)
{
    static const char *const files[] = {"pool", "nbd", "mgmt", "mgmt.lock", "nbdkit.log"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
    {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", both->dir, files[i]);
        unlink(path);
    }
    if (rmdir(both->dir) < 0)
        both_give_up(both, "something is left in the folder");
}

static int both_run(struct both *both, const char *format, va_list args) PRINTF_LIKE(2, 0);

static int both_run(struct both *both, const char *format, va_list args)
{
    char words[4096], command[8192];
    vsnprintf(words, sizeof(words), format, args);
    int len = snprintf(command, sizeof(command), "LUNETTE_SOCKET='%s/mgmt' '%s' %s 2>&1 </dev/null",
                       both->dir, BOTH_LUNETTE, words);
    INVARIANT(len > 0 && (size_t)len < sizeof(command));
    int fds[2], status = 0;
    INVARIANT(pipe2(fds, O_CLOEXEC) == 0);
    pid_t pid = fork();
    INVARIANT(pid >= 0);
    if (pid == 0)
    {
        if (dup2(fds[1], STDOUT_FILENO) >= 0)
            execl("/bin/sh", "sh", "-c", command, NULL);
        _exit(127);
    }
    close(fds[1]);
    FILE *from = fdopen(fds[0], "r");
    INVARIANT(from);
    size_t said = fread(both->said, 1, sizeof(both->said) - 1, from);
    both->said[said] = '\0';
    while (fgetc(from) != EOF)
        continue;
    fclose(from);
    INVARIANT(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int both_try(struct both *both, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int r = both_run(both, format, args);
    va_end(args);
    return r;
}

void both_do(struct both *both, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int r = both_run(both, format, args);
    va_end(args);
    if (r != 0)
        both_give_up(both, format);
}

/* ---- iSCSI --------------------------------------------------------------------------------- */

int both_result(struct scsi_task *task)
{
    if (!task)
        return -1;
    int result = task->status;
    if (task->status == SCSI_STATUS_CHECK_CONDITION)
        result = (int)task->sense.key << 16 | task->sense.ascq;
    else if (task->status > 0xff) /* cancelled, failed, timed out: not the target's */
        result = -1;
    scsi_free_scsi_task(task);
    return result;
}

struct iscsi_context *both_try_login(const struct both *both, const char *initiator, unsigned isid,
                                     int lun)
{
    struct iscsi_context *iscsi = iscsi_create_context(initiator);
    INVARIANT(iscsi);
    iscsi_set_noautoreconnect(iscsi, 1);
    iscsi_set_timeout(iscsi, BOTH_ANSWER_S);
    iscsi_set_targetname(iscsi, both->target);
    iscsi_set_session_type(iscsi, ISCSI_SESSION_NORMAL);
    iscsi_set_isid_en(iscsi, isid, 0);
    iscsi_set_header_digest(iscsi,
                            isid % 2 ? ISCSI_HEADER_DIGEST_CRC32C : ISCSI_HEADER_DIGEST_NONE);
    if (iscsi_connect_sync(iscsi, both->portal) == 0 && iscsi_login_sync(iscsi) == 0)
    {
        for (int i = 0; i < BOTH_ATTENTIONS_MAX; i++)
        {
            int result = both_result(iscsi_testunitready_sync(iscsi, lun));
            if (result == 0)
                return iscsi;
            if (result >> 16 != SCSI_SENSE_UNIT_ATTENTION)
                break;
        }
    }
    iscsi_destroy_context(iscsi);
    return NULL;
}

struct iscsi_context *both_login(const struct both *both, const char *initiator, unsigned isid,
                                 int lun)
{
    struct iscsi_context *iscsi = both_try_login(both, initiator, isid, lun);
    if (!iscsi)
        both_give_up(both, "no iSCSI session");
    return iscsi;
}

int both_read(struct iscsi_context *iscsi, int lun, uint32_t sector, void *buf, uint32_t len,
              uint64_t offset)
{
    struct scsi_task *task =
        iscsi_read16_sync(iscsi, lun, offset / sector, len, (int)sector, 0, 0, 0, 0, 0);
    if (task && task->status == SCSI_STATUS_GOOD)
    {
        INVARIANT(task->datain.size == (int)len);
        memcpy(buf, task->datain.data, len);
    }
    return both_result(task);
}

int both_write(struct iscsi_context *iscsi, int lun, uint32_t sector, const void *buf, uint32_t len,
               uint64_t offset)
{
    return both_result(iscsi_write16_sync(iscsi, lun, offset / sector, (unsigned char *)buf, len,
                                          (int)sector, 0, 0, 0, 0, 0));
}

int both_flush(struct iscsi_context *iscsi, int lun)
{
    return both_result(iscsi_synchronizecache16_sync(iscsi, lun, 0, 0, 0, 0));
}

int both_reserve_out(struct iscsi_context *iscsi, int lun, int action, int type, uint64_t key,
                     uint64_t action_key, bool aptpl)
{
    struct scsi_persistent_reserve_out_basic basic = {
        .reservation_key = key, .service_action_reservation_key = action_key, .aptpl = aptpl};
    return both_result(iscsi_persistent_reserve_out_sync(
        iscsi, lun, action, SCSI_PERSISTENT_RESERVE_SCOPE_LU, type, &basic));
}

/* ---- NBD ----------------------------------------------------------------------------------- */

struct nbd_handle *both_try_connect(const struct both *both, const char *export)
{
    struct nbd_handle *nbd = nbd_create();
    INVARIANT(nbd);
    if (nbd_set_export_name(nbd, export) == 0 &&
        nbd_connect_unix(nbd, both->server.socket_path) == 0)
        return nbd;
    nbd_close(nbd);
    return NULL;
}

struct nbd_handle *both_connect(const struct both *both, const char *export)
{
    struct nbd_handle *nbd = both_try_connect(both, export);
    if (!nbd)
        both_give_up(both, nbd_get_error());
    return nbd;
}
