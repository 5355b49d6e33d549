/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iscsi session show, terminate; iscsi chap set, show, delete, rewrap; iscsi portal show.
 *
 * Secrets are read, sent to the server and wiped; nothing here prints one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <termios.h>
#include <unistd.h>

#include "lun/base/size_text.h"
#include "server/access.h"
#include "server/ctl/ctl.h"
#include "server/host_key.h"

static const struct field session_fields[] = {
    {"tsih", "Id", FIELD_COUNT, false},
    {"initiator", "Initiator", FIELD_TEXT, false},
    {"address", "Address", FIELD_TEXT, false},
    {"portal", "Portal", FIELD_TEXT, false},
    {"age_s", "Age (s)", FIELD_COUNT, false},
    {"read_bytes", "Read", FIELD_BYTES, false},
    {"written_bytes", "Written", FIELD_BYTES, false},
    {"outstanding", "Outstanding", FIELD_COUNT, false},
    {"alias", "Alias", FIELD_TEXT, true},
    {"commands", "Commands", FIELD_COUNT, true},
    {"isid", "ISID", FIELD_TEXT, true},
    {0},
};

static const struct field chap_fields[] = {
    {"subject", "Subject", FIELD_TEXT, false},
    {"user", "User", FIELD_TEXT, false},
    {"mutual_user", "Mutual user", FIELD_TEXT, false},
    {"stored", "Secret is", FIELD_TEXT, false},
    {"key", "Key", FIELD_TEXT, false},
    {0},
};

static const struct field portal_fields[] = {
    {"address", "Address", FIELD_TEXT, false},
    {"target", "Target", FIELD_TEXT, false},
    {0},
};

static enum ctl_exit iscsi_list(const struct invocation *in, const char *verb, const char *key,
                                const struct field *fields)
{
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    enum ctl_exit status = ctl_table_options(in, fields, &options);
    if (status == CTL_DONE)
        status = ctl_ask(in, verb, NULL, &result);
    return status == CTL_DONE ? ctl_list(in, result, key, fields) : status;
}

enum ctl_exit ctl_portal_show(struct invocation *in)
{
    return iscsi_list(in, "iscsi.portal.show", "portals", portal_fields);
}

/* ---- sessions ------------------------------------------------------------------------------ */

enum ctl_exit ctl_session_show(struct invocation *in)
{
    return iscsi_list(in, "iscsi.session.show", "sessions", session_fields);
}

static void session_print_plan(const json_t *plan)
{
    size_t i;
    json_t *session;
    json_array_foreach(json_object_get(plan, "sessions"), i, session)
        printf("Would end session %d of %s from %s.\n", (int)ctl_get(session, "tsih"),
               json_string_value(json_object_get(session, "initiator")),
               json_string_value(json_object_get(session, "address")));
}

enum ctl_exit ctl_session_terminate(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    uint64_t tsih = 0;
    bool dry_run = option_flag(in, "dry-run");
    enum ctl_exit status = ctl_number(in, "id", 1, UINT16_MAX, &tsih);
    if (status != CTL_DONE)
        return status;
    if ((in->arg_count > 0) == (tsih != 0))
        return ctl_usage(in, "name either an INITIATOR or a session's --id");
    AUTO_JSON json_t *args = json_object();
    if (tsih)
        ctl_put(args, "tsih", json_integer((json_int_t)tsih));
    else
        ctl_put_text(args, "initiator", in->args[0]);
    if (dry_run || ctl_asks(in))
    {
        AUTO_JSON json_t *plan = NULL;
        json_t *dry = json_copy(args);
        ctl_put(dry, "dry_run", json_true());
        status = ctl_ask(in, "iscsi.session.terminate", dry, &plan);
        if (status == CTL_DONE && option_flag(in, "json"))
            table_print_json(stdout, plan);
        else if (status == CTL_DONE)
            session_print_plan(plan);
    }
    if (status == CTL_DONE && !dry_run)
        status = ctl_confirm(in);
    if (status != CTL_DONE || dry_run)
        return status;
    status = ctl_ask(in, "iscsi.session.terminate", take_ptr(&args), &result);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else
        printf("Sessions ended: %d. Initiators may log in again unless they are removed from their "
               "igroups.\n",
               (int)ctl_get(result, "ended"));
    return CTL_DONE;
}

/* ---- CHAP ---------------------------------------------------------------------------------- */

struct chap_input
{
    char secret[ACCESS_CHAP_SECRET_MAX + 3]; /* with a newline, a byte too many, NUL */
};

static void chap_wipe(struct chap_input *input)
{
    explicit_bzero(input, sizeof(*input));
}

/* One line of @file, asked for as @what and without echo if it is a terminal. */
static int chap_read_line(FILE *file, const char *what, struct chap_input *input)
{
    struct termios before, quiet;
    bool asks = isatty(fileno(file)) && tcgetattr(fileno(file), &before) == 0;
    if (asks)
    {
        fprintf(stderr, "%s: ", what);
        quiet = before;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        asks = tcsetattr(fileno(file), TCSAFLUSH, &quiet) == 0;
    }
    char *line = fgets(input->secret, sizeof(input->secret), file);
    if (asks)
    {
        ignore_error(tcsetattr(fileno(file), TCSAFLUSH, &before), "the terminal went away");
        fputc('\n', stderr);
    }
    if (!line)
        return -ENODATA;
    input->secret[strcspn(input->secret, "\r\n")] = '\0';
    return strlen(input->secret) > ACCESS_CHAP_SECRET_MAX ? -EMSGSIZE : 0;
}

/* From --@option, the file --@option-file ("-": standard input), or standard input. */
static enum ctl_exit chap_read_secret(const struct invocation *in, const char *option,
                                      const char *what, struct chap_input *input)
{
    char file_option[32], text[512];
    snprintf(file_option, sizeof(file_option), "%s-file", option);
    const char *secret = option_text(in, option), *path = option_text(in, file_option);
    if (secret && path)
    {
        snprintf(text, sizeof(text), "--%s or --%s, not both", option, file_option);
        return ctl_usage(in, text);
    }
    if (secret)
        return snprintf(input->secret, sizeof(input->secret), "%s", secret) > ACCESS_CHAP_SECRET_MAX
                   ? ctl_fail(in, -EMSGSIZE, "the secret has more than 255 bytes", NULL)
                   : CTL_DONE;
    bool is_stdin = !path || strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "re");
    int r = file ? chap_read_line(file, what, input) : -errno;
    if (file && !is_stdin)
        fclose(file);
    if (r == 0)
        return CTL_DONE;
    const char *why = r == -ENODATA    ? "there is no line to read"
                      : r == -EMSGSIZE ? "the secret has more than 255 bytes"
                                       : strerror(-r);
    snprintf(text, sizeof(text), "%s from %.300s: %s", what, is_stdin ? "standard input" : path,
             why);
    return ctl_fail(in, r, text, "lunette iscsi chap set --help");
}

/* Sends it, and says where the secret lies now. */
static enum ctl_exit chap_send(const struct invocation *in, json_t *args, const char *user,
                               const char *mutual_user)
{
    AUTO_JSON json_t *result = NULL;
    enum ctl_exit status = ctl_ask(in, "iscsi.chap.set", args, &result);
    if (status == CTL_DONE && option_flag(in, "json"))
        table_print_json(stdout, result);
    else if (status == CTL_DONE)
        printf("Set CHAP of %s: user %s%s%s. The secret lies in the pool %s.\n", in->args[0], user,
               mutual_user ? ", mutual user " : "", mutual_user ? mutual_user : "",
               json_string_value(json_object_get(result, "stored")));
    const char *warning = json_string_value(json_object_get(result, "warning"));
    if (warning)
        ctl_note("warning: %s; give that file its key back, or start the server again and 'lunette "
                 "iscsi chap rewrap' with the old key",
                 warning);
    return status;
}

enum ctl_exit ctl_chap_set(struct invocation *in)
{
    CLEANUP(chap_wipe) struct chap_input secret = {0};
    CLEANUP(chap_wipe) struct chap_input mutual = {0};
    const char *user = option_text(in, "user"), *mutual_user = option_text(in, "mutual-user");
    if (!user)
        return ctl_usage(in, "\"iscsi chap set\" needs --user");
    if (!mutual_user && (option_text(in, "mutual-secret") || option_text(in, "mutual-secret-file")))
        return ctl_usage(in, "a mutual secret needs --mutual-user");
    enum ctl_exit status = chap_read_secret(in, "secret", "the secret", &secret);
    if (status == CTL_DONE && mutual_user)
        status = chap_read_secret(in, "mutual-secret", "the mutual secret", &mutual);
    if (status != CTL_DONE)
        return status;
    json_t *args = json_object();
    ctl_put_text(args, "subject", in->args[0]);
    ctl_put_text(args, "user", user);
    ctl_put_text(args, "secret", secret.secret);
    ctl_put_text(args, "mutual_user", mutual_user);
    if (mutual_user)
        ctl_put_text(args, "mutual_secret", mutual.secret);
    return chap_send(in, args, user, mutual_user);
}

enum ctl_exit ctl_chap_show(struct invocation *in)
{
    return iscsi_list(in, "iscsi.chap.show", "records", chap_fields);
}

enum ctl_exit ctl_chap_delete(struct invocation *in)
{
    AUTO_JSON json_t *args = json_object();
    bool dry_run = option_flag(in, "dry-run");
    ctl_put_text(args, "subject", in->args[0]);
    if (dry_run)
    {
        ctl_put(args, "dry_run", json_true());
        return ctl_do(in, "iscsi.chap.delete", take_ptr(&args),
                      "Would delete the CHAP record of %s.", in->args[0]);
    }
    enum ctl_exit status = ctl_confirm(in);
    if (status != CTL_DONE)
        return status;
    return ctl_do(in, "iscsi.chap.delete", take_ptr(&args), "Deleted the CHAP record of %s.",
                  in->args[0]);
}

/* ---- rewrap -------------------------------------------------------------------------------- */

/* The line of --old-key's file, which nobody but its owner may read. */
static enum ctl_exit rewrap_read_old(const struct invocation *in, json_t *args)
{
    CLEANUP(host_key_wipe) struct host_key key = {0};
    char text[HOST_KEY_TEXT_BYTES];
    struct reason why = {.text = ""};
    const char *path = option_text(in, "old-key");
    if (!path)
        return CTL_DONE;
    ignore_error(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "it is here for a moment");
    int r = host_key_read(path, &key, &why);
    if (r < 0)
        return ctl_fail(in, r, why.text, NULL);
    host_key_print(&key, text);
    ctl_put_text(args, "old_key", text);
    explicit_bzero(text, sizeof(text));
    return CTL_DONE;
}

static bool rewrap_shows_progress(const struct invocation *in)
{
    return isatty(STDERR_FILENO) && !option_flag(in, "json");
}

static int rewrap_progress_cb(void *opaque, const json_t *progress)
{
    uint64_t total = ctl_get(progress, "total_bytes");
    if (rewrap_shows_progress(opaque))
        fprintf(stderr, "\r%" PRIu64 " %% of the pool looked through\033[K",
                total > 0 ? ctl_get(progress, "done_bytes") * 100 / total : 100);
    return 0;
}

static void rewrap_print(const struct invocation *in, const json_t *result)
{
    bool dry_run = option_flag(in, "dry-run");
    uint64_t wrapped = ctl_get(result, "wrapped"), moved = ctl_get(result, "moved");
    uint64_t blks = ctl_get(result, "wiped_blocks");
    printf("%s %" PRIu64 " CHAP secret%s that lay in clear with the key %s, and %" PRIu64
           " of the old key; %" PRIu64 " had it already.\n",
           dry_run ? "Would wrap" : "Wrapped", wrapped, plural_s(wrapped),
           json_string_value(json_object_get(result, "key")), moved, ctl_get(result, "kept"));
    if (dry_run)
        printf("Then the journal and all that is left of old metadata in free blocks would be "
               "overwritten.\n");
    else
        printf("Overwrote the journal and %" PRIu64
               " old block%s of metadata. Copies and snapshots "
               "of the pool's file that were made before still have the secrets, and so may the "
               "disk below: change the secrets if that matters.\n",
               blks, plural_s(blks));
}

/* What it came to, as an exit status. */
static enum ctl_exit rewrap_conclude(const struct invocation *in, const json_t *result)
{
    char text[256];
    const char *needed = json_string_value(json_object_get(result, "needed_key"));
    uint64_t locked = ctl_get(result, "locked"), left = ctl_get(result, "left_blocks");
    if (locked > 0)
    {
        snprintf(text, sizeof(text),
                 "%" PRIu64 " CHAP secret%s cannot be unwrapped, and stay%s so%s%s%s", locked,
                 plural_s(locked), locked == 1 ? "s" : "",
                 needed ? "; --old-key with the file of the key " : "", needed ? needed : "",
                 needed ? " moves what that wraps" : "");
        return ctl_conclude(in, text, "lunette iscsi chap show");
    }
    if (left == 0)
        return CTL_DONE;
    snprintf(text, sizeof(text),
             "%" PRIu64 " block%s of old metadata could not be overwritten: the pool is too full",
             left, plural_s(left));
    return ctl_conclude(in, text, "lunette explain space");
}

enum ctl_exit ctl_chap_rewrap(struct invocation *in)
{
    AUTO_JSON json_t *args = json_object();
    AUTO_JSON json_t *result = NULL;
    enum ctl_exit status = rewrap_read_old(in, args);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "dry-run"))
        ctl_put(args, "dry_run", json_true());
    status =
        ctl_ask_progress(in, "iscsi.chap.rewrap", take_ptr(&args), rewrap_progress_cb, in, &result);
    if (rewrap_shows_progress(in))
        fputs("\r\033[K", stderr);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else
        rewrap_print(in, result);
    return rewrap_conclude(in, result);
}
