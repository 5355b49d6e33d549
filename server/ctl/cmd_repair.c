/* SPDX-License-Identifier: BSD-3-Clause */
/* pool repair. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/size_text.h"
#include "server/ctl/ctl.h"
#include "server/mgmt/view.h"

/* One run; *result as --json prints it. */
static enum ctl_exit repair_run(const struct invocation *in, bool dry_run, json_t **result)
{
    struct repair_options options = {.dry_run = dry_run,
                                     .take_over = option_flag(in, "take-over"),
                                     .discard_journal = option_flag(in, "discard-journal")};
    struct repair_result found;
    struct reason why = {.text = ""};
    AUTO_JSON json_t *findings = json_array();
    int r =
        pool_repair(env_system(), in->args[0], &options, view_add_finding, findings, &found, &why);
    if (r < 0)
    {
        size_t i;
        json_t *finding;
        json_array_foreach(findings, i, finding)
            ctl_note("%s", json_string_value(json_object_get(finding, "text")));
        if (dry_run && found.mended > 0)
            ctl_note("nothing was written");
        return ctl_fail(in, r, why.text, r == -EBUSY ? "lunette server stop" : NULL);
    }
    *result =
        json_pack("{s:b, s:I, s:I, s:O}", "dry_run", (int)dry_run, "mended",
                  (json_int_t)found.mended, "left", (json_int_t)found.left, "findings", findings);
    return *result ? CTL_DONE : ctl_no_memory(in);
}

static void repair_print(const json_t *result)
{
    bool dry_run = json_is_true(json_object_get(result, "dry_run"));
    size_t i;
    json_t *finding;
    json_array_foreach(json_object_get(result, "findings"), i, finding)
    {
        bool is_left = json_is_true(json_object_get(finding, "error"));
        printf("%s: %s\n",
               is_left   ? "LEFT"
               : dry_run ? "to mend"
                         : "mended",
               json_string_value(json_object_get(finding, "text")));
    }
    uint64_t mended = ctl_get(result, "mended"), left = ctl_get(result, "left");
    if (mended + left == 0)
        printf("The pool is sound; there is nothing to repair.\n");
    else
        printf("%" PRIu64 " finding%s %s mended, %" PRIu64 " %s.\n", mended, plural_s(mended),
               dry_run       ? "can be"
               : mended == 1 ? "was"
                             : "were",
               left,
               dry_run     ? "cannot"
               : left == 1 ? "is left"
                           : "are left");
}

static enum ctl_exit repair_conclude(const struct invocation *in, const json_t *result)
{
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else
        repair_print(result);
    char hint[512];
    if (ctl_get(result, "left") == 0)
        return CTL_DONE;
    snprintf(hint, sizeof(hint), "lunette lun salvage --list --pool %.400s", in->args[0]);
    return ctl_conclude(in,
                        "what is left cannot be made anew; LUNs that are not named are whole, "
                        "and lun salvage copies what can be read of the others; once they are "
                        "deleted, a repair frees their space",
                        hint);
}

enum ctl_exit ctl_pool_repair(struct invocation *in)
{
    AUTO_JSON json_t *planned = NULL;
    AUTO_JSON json_t *done = NULL;
    enum ctl_exit status = repair_run(in, true, &planned);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "dry-run") || ctl_get(planned, "mended") == 0)
        return repair_conclude(in, planned);
    if (ctl_asks(in))
        repair_print(planned);
    status = ctl_confirm(in);
    if (status == CTL_DONE)
        status = repair_run(in, false, &done);
    return status == CTL_DONE ? repair_conclude(in, done) : status;
}
