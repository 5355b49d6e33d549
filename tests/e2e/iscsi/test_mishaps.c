/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens to the machine below a server that is in use: a witness of each protocol writes and
 * verifies meanwhile, and notices none of it but the last.
 *
 *   another file takes the name of the pool, or the pool is removed
 *   the file system below is full, for a pool that had its room promised, and for one that had not
 *   the clock is set by years
 *   the file of the pool is cut off: errors, but no wrong byte
 *
 * The file system is a small one (tmpfs) in a namespace of this process, where that may be had.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "tests/e2e/iscsi/witness.h"

enum
{
    MIB = 1 << 20,
    YEAR_S = 31557600,
};

static struct both both;
static bool is_right = true;
static bool is_whole = true; /* all of it could be tried */

static void expect(bool is_so, const char *what)
{
    if (!is_so)
        fprintf(stderr, "not so: %s\n%s\n", what, both.said);
    is_right = is_right && is_so;
}

static void path_of(const char *name, char path[static 128])
{
    INVARIANT((size_t)snprintf(path, 128, "%s/%s", both.dir, name) < 128);
}

/* What goes on while the pool is served, whatever there is below. */
static void manage(const char *prefix)
{
    expect(witnesses_get_on(), "the witnesses get on");
    both_do(&both, "lun clone witness-nbd %s-a --no-reserve", prefix);
    both_do(&both, "lun clone witness-iscsi %s-b --no-reserve", prefix);
    both_do(&both, "snapshot create witness-nbd@%s", prefix);
    expect(witnesses_get_on(), "the witnesses get on after clones");
    both_do(&both, "snapshot delete witness-nbd@%s", prefix);
    both_do(&both, "lun delete %s-a %s-b", prefix, prefix);
    both_do(&both, "job wait --timeout 2m");
    both_do(&both, "pool check");
    expect(witnesses_get_on(), "the witnesses get on after deletes");
}

/* ---- the name of the pool ------------------------------------------------------------------ */

static void try_names(void)
{
    char pool[128], moved[128];
    both_start(&both, "256M");
    path_of("pool", pool);
    path_of("moved", moved);
    witnesses_start(&both);
    INVARIANT(rename(pool, moved) == 0);
    manage("gone");
    AUTO_CLOSE int fd = open(pool, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    static const char other[] = "the file of somebody else";
    INVARIANT(fd >= 0 && write(fd, other, sizeof(other)) == sizeof(other));
    manage("other");
    char now[sizeof(other) + 1] = "";
    AUTO_CLOSE int again = open(pool, O_RDONLY | O_CLOEXEC);
    INVARIANT(again >= 0);
    expect(read(again, now, sizeof(now)) == sizeof(other) && strcmp(now, other) == 0,
           "the other file is as it was");
    INVARIANT(unlink(pool) == 0 && rename(moved, pool) == 0);
    expect(witnesses_stop(), "all is there under the new name");
    both_end(&both);
}

/* ---- a full file system -------------------------------------------------------------------- */

static char small_folder[40];

/* A file system of @mib MiB, where the servers' folder will be. False: there is none to be had.
 * Not /tmp itself, where the programs may be. */
static bool mount_small(int mib)
{
    char options[64];
    static bool is_private;
    if (!is_private &&
        (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0))
        return false;
    is_private = true;
    snprintf(options, sizeof(options), "size=%dm,mode=1777", mib);
    snprintf(small_folder, sizeof(small_folder), "/tmp/lunette-small-XXXXXX");
    INVARIANT(mkdtemp(small_folder));
    if (mount("lunette-test", small_folder, "tmpfs", 0, options) < 0)
    {
        rmdir(small_folder);
        return false;
    }
    setenv("TMPDIR", small_folder, 1);
    return true;
}

static void unmount_small(void)
{
    unsetenv("TMPDIR");
    INVARIANT(umount2(small_folder, MNT_DETACH) == 0);
    INVARIANT(rmdir(small_folder) == 0);
}

/* Takes what room there is. */
static void fill_up(void)
{
    char path[128];
    static char block[MIB];
    path_of("filler", path);
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    INVARIANT(fd >= 0);
    for (size_t len = sizeof(block); len >= 512; len /= 2)
        while (write(fd, block, len) == (ssize_t)len)
            continue;
    INVARIANT(errno == ENOSPC);
}

static void make_room(void)
{
    char path[128];
    path_of("filler", path);
    INVARIANT(unlink(path) == 0);
}

/* Writes @mib MiB to LUN "hog"; how many went. */
static int hog_writes(int mib)
{
    static char block[MIB];
    memset(block, 7, sizeof(block));
    struct nbd_handle *nbd = both_connect(&both, "hog");
    int done = 0;
    while (done < mib && nbd_pwrite(nbd, block, MIB, (uint64_t)done * MIB, 0) == 0)
        done++;
    int error = done < mib ? nbd_get_errno() : 0;
    expect(done == mib || error == ENOSPC, "a write that has no room gets ENOSPC");
    printf("%d of %d MiB went\n", done, mib);
    nbd_close(nbd);
    return done;
}

/* All the room of the pool is promised, so its file has it: a full file system is no matter. */
static void try_full_promised(void)
{
    if (!mount_small(300))
    {
        is_whole = false;
        return;
    }
    both_start(&both, "256M");
    witnesses_start(&both);
    both_do(&both, "lun create hog 64M");
    fill_up();
    manage("full");
    expect(hog_writes(32) == 32, "the pool's own room is there");
    manage("fuller");
    make_room();
    expect(witnesses_stop(), "all is there after a full file system");
    both_end(&both);
    unmount_small();
}

/* Nothing is promised: who wants new blocks gets ENOSPC, who has his own goes on. */
static void try_full_thin(void)
{
    if (!mount_small(192))
        return; /* said above */
    both_start(&both, "512M");
    both_do(&both, "lun create hog 256M");
    witnesses_start_thin(&both);
    expect(hog_writes(8) == 8, "there is room at first");
    fill_up();
    expect(hog_writes(200) < 200, "there is an end of it");
    expect(witnesses_get_on(), "who has his own blocks goes on");
    both_do(&both, "lun show");
    both_do(&both, "df");
    both_do(&both, "pool check");
    both_do(&both, "lun create more 16M");
    both_do(&both, "lun delete more");
    expect(witnesses_get_on(), "the witnesses get on after commands");
    make_room();
    expect(hog_writes(32) == 32, "there is room again");
    manage("again");
    expect(witnesses_stop(), "all is there after a full file system below a thin pool");
    both_end(&both);
    unmount_small();
}

/* ---- the clock ----------------------------------------------------------------------------- */

static void set_clock(const char *path, long ahead_s)
{
    char text[33];
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    snprintf(text, sizeof(text), "%-31ld\n", ahead_s);
    INVARIANT(fd >= 0 && pwrite(fd, text, 32, 0) == 32);
}

static void try_clock(void)
{
    char path[] = "/tmp/lunette-clock-XXXXXX";
    int fd = mkstemp(path);
    INVARIANT(fd >= 0);
    close(fd);
    set_clock(path, 0);
    setenv("LUNETTE_TEST_CLOCK", path, 1);
    setenv(NBD_SERVER_MORE, MISHAPS_CLOCK_SHIM, 1);
    both_start(&both, "256M");
    witnesses_start(&both);
    both_do(&both, "lun create leased 16M --expire 1h");
    static const long jumps_s[] = {30 * YEAR_S, -20L * YEAR_S, 3600, -3600, 0};
    for (size_t i = 0; i < sizeof(jumps_s) / sizeof(jumps_s[0]); i++)
    {
        set_clock(path, jumps_s[i]);
        manage(i % 2 ? "past" : "future");
    }
    expect(witnesses_stop(), "all is there after clocks that jump");
    both_end(&both);
    unsetenv(NBD_SERVER_MORE);
    unsetenv("LUNETTE_TEST_CLOCK");
    unlink(path);
}

/* ---- the file is cut off ------------------------------------------------------------------- */

static void try_cut(void)
{
    char pool[128];
    both_start(&both, "256M");
    path_of("pool", pool);
    witnesses_start(&both);
    expect(witnesses_get_on(), "the witnesses get on");
    INVARIANT(truncate(pool, 4 * MIB) == 0);
    /* Both go on until they meet an error; what they read until then is right. */
    expect(witnesses_stop_in_error(), "errors, and no wrong byte");
    both_do(&both, "lun show");
    both_do(&both, "server status");
    int status = nbd_server_stop(&both.server);
    expect(status == 0 || status == 1, "the server ends");
    expect(both_try(&both, "pool check --pool %s/pool", both.dir) == 1, "the check says so");
    both_clear(&both);
}

int main(void)
{
    if (!both_is_durable())
    {
        printf("SKIP: the engine in memory has no file\n");
        return 77;
    }
    try_names();
    try_clock();
    try_cut();
    try_full_promised();
    try_full_thin();
    if (is_right && !is_whole)
    {
        printf("SKIP: a full file system, as none may be mounted; all else was tried\n");
        return 77;
    }
    return !is_right;
}
