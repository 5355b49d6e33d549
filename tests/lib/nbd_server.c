/* SPDX-License-Identifier: BSD-3-Clause */
/* nbdkit with a plugin, as a child process. */
#include "tests/lib/nbd_server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lun/base/cleanup.h"

enum
{
    NBD_SERVER_ARGS_MAX = 64,
    NBD_SERVER_FD = 3, /* where socket activation puts the first socket */
};

#define NBD_SERVER_ASAN_OPTIONS "detect_leaks=0:abort_on_error=1:verify_asan_link_order=0"

#ifdef NBD_SERVER_PRELOAD
#define NBD_SERVER_LIST NBD_SERVER_GUARD ":" NBD_SERVER_PRELOAD
#else
#define NBD_SERVER_LIST NBD_SERVER_GUARD
#endif

static int nbd_server_listen(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path) + 1);
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    unlink(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 64) < 0)
        return -errno;
    return take_fd(&fd);
}

/*
 * LSan is left out: nbdkit unloads the plugin before the check for leaks, and then every stack is
 * unknown. Leaks of the engine are the business of tests in one process. The guard against clients
 * that hang up (plugin/hangup_guard.h) stands before the sanitizer's own send(), as behind it it
 * would not see who calls; AddressSanitizer has to be told not to mind.
 */
static void nbd_server_preload(void)
{
    const char *more = getenv(NBD_SERVER_MORE);
    char list[1024];
    snprintf(list, sizeof(list), "%s%s%s", NBD_SERVER_LIST, more ? ":" : "", more ? more : "");
    setenv("LD_PRELOAD", list, 1);
#ifdef NBD_SERVER_PRELOAD
    setenv("ASAN_OPTIONS", NBD_SERVER_ASAN_OPTIONS, 0);
    setenv("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1", 0);
    const char *given = getenv("TSAN_OPTIONS");
    char options[1024];
    snprintf(options, sizeof(options), "%s:suppressions=%s", given ? given : "halt_on_error=1",
             NBD_SERVER_SUPPRESSIONS);
    setenv("TSAN_OPTIONS", options, 1);
#endif
}

const char *const *nbd_server_prefix(void)
{
    static const char *const words[] = {
        "env",
        "LD_PRELOAD=" NBD_SERVER_LIST,
#ifdef NBD_SERVER_PRELOAD
        "ASAN_OPTIONS=" NBD_SERVER_ASAN_OPTIONS,
#endif
        NULL,
    };
    return words;
}

/* In the child. */
__attribute__((noreturn)) static void nbd_server_exec(int socket_fd, const char *log_path,
                                                      pid_t parent, const char *const *args)
{
    char *argv[NBD_SERVER_ARGS_MAX + 3] = {"nbdkit", "-f"};
    size_t argc = 2;
    while (*args && argc < NBD_SERVER_ARGS_MAX)
        argv[argc++] = (char *)*args++;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    char pid[16];
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    nbd_server_preload();
    /* dup2() onto itself would leave close-on-exec set. */
    if (socket_fd == NBD_SERVER_FD)
        fcntl(socket_fd, F_SETFD, 0);
    if (getppid() == parent && log_fd >= 0 && dup2(log_fd, STDERR_FILENO) >= 0 &&
        (socket_fd == NBD_SERVER_FD || dup2(socket_fd, NBD_SERVER_FD) >= 0))
        execvp(argv[0], argv);
    _exit(127);
}

/*
 * Whether somebody greets on the socket: nbdkit does so once the plugin is ready. Takes its leave
 * properly, so that the log has no error of it.
 */
static bool nbd_server_greets(const char *path)
{
    static const char leave[] = "\0\0\0\3IHAVEOPT\0\0\0\2\0\0\0"; /* flags, NBD_OPT_ABORT */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char greeting[18] = "";
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        recv(fd, greeting, sizeof(greeting), MSG_WAITALL) != sizeof(greeting) ||
        memcmp(greeting, "NBDMAGIC", 8) != 0)
        return false;
    if (send(fd, leave, sizeof(leave), MSG_NOSIGNAL) == sizeof(leave))
        while (recv(fd, greeting, sizeof(greeting), 0) > 0)
        {
        }
    return true;
}

static int nbd_server_wait(struct nbd_server *server)
{
    int status = 0;
    while (waitpid(server->pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    server->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int nbd_server_start(struct nbd_server *server, const char *dir, const char *const *args)
{
    *server = (struct nbd_server){0};
    snprintf(server->socket_path, sizeof(server->socket_path), "%s/nbd", dir);
    snprintf(server->log_path, sizeof(server->log_path), "%s/nbdkit.log", dir);
    int fd = nbd_server_listen(server->socket_path);
    if (fd < 0)
        return fd;
    pid_t parent = getpid();
    server->pid = fork();
    if (server->pid == 0)
        nbd_server_exec(fd, server->log_path, parent, args);
    int r = server->pid < 0 ? -errno : 0;
    /* From now on only the child has it open: when it ends, clients are refused. */
    close(fd);
    if (r < 0)
        return r;
    if (nbd_server_greets(server->socket_path))
        return 0;
    nbd_server_kill(server);
    return -ECHILD;
}

int nbd_server_stop(struct nbd_server *server)
{
    if (server->pid <= 0)
        return -ESRCH;
    kill(server->pid, SIGTERM);
    return nbd_server_wait(server);
}

void nbd_server_kill(struct nbd_server *server)
{
    if (server->pid <= 0)
        return;
    kill(server->pid, SIGKILL);
    nbd_server_wait(server);
}

int nbd_server_run(const char *const *args, char **output)
{
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return -errno;
    AUTO_CLOSE int from = pipe_fds[0];
    struct nbd_server server = {.pid = fork()};
    if (server.pid == 0)
    {
        char *argv[NBD_SERVER_ARGS_MAX + 1] = {"nbdkit"};
        for (size_t i = 0; args[i] && i + 1 < NBD_SERVER_ARGS_MAX; i++)
            argv[i + 1] = (char *)args[i];
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        nbd_server_preload();
        if (dup2(pipe_fds[1], STDOUT_FILENO) >= 0 && dup2(pipe_fds[1], STDERR_FILENO) >= 0)
            execvp(argv[0], argv);
        _exit(127);
    }
    close(pipe_fds[1]);
    if (server.pid < 0)
        return -errno;
    size_t len = 0;
    FILE *out = open_memstream(output, &len);
    char buf[4096];
    for (ssize_t n = read(from, buf, sizeof(buf)); n > 0; n = read(from, buf, sizeof(buf)))
        fwrite(buf, 1, (size_t)n, out);
    fclose(out);
    return nbd_server_wait(&server);
}

char *nbd_server_log(const struct nbd_server *server)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    FILE *in = fopen(server->log_path, "re");
    char buf[4096];
    for (size_t n = 1; in && n > 0;)
    {
        n = fread(buf, 1, sizeof(buf), in);
        fwrite(buf, 1, n, out);
    }
    if (in)
        fclose(in);
    fclose(out);
    return text;
}

bool nbd_server_logged(const struct nbd_server *server, const char *text)
{
    AUTO_FREE char *log = nbd_server_log(server);
    return strstr(log, text) != NULL;
}
