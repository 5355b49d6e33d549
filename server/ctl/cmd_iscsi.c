/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iscsi session show, terminate; iscsi chap set, show, delete; iscsi portal show.
 *
 * Secrets are read, sent to the server and wiped; nothing here prints one.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "server/access.h"
#include "server/ctl/ctl.h"

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
    return ctl_do(in, "iscsi.chap.set", args, "Set CHAP of %s: user %s%s%s.", in->args[0], user,
                  mutual_user ? ", mutual user " : "", mutual_user ? mutual_user : "");
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
