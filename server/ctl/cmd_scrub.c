/* SPDX-License-Identifier: BSD-3-Clause */
/* pool scrub: in the server, or with --pool here. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/size_text.h"
#include "server/ctl/ctl.h"
#include "server/mgmt/view.h"

enum
{
    SCRUB_RATE_MIN_BYTES = 64 << 10,
    SCRUB_RATE_BYTES = 32 << 20, /* unless it is said */
};

static bool scrub_shows_progress(const struct invocation *in)
{
    return isatty(STDERR_FILENO) && !option_flag(in, "json");
}

static int scrub_progress_cb(void *opaque, const json_t *progress)
{
    const struct invocation *in = opaque;
    if (scrub_shows_progress(in))
        fprintf(stderr,
                "\r%" PRIu64 " %% read, %" PRIu64 " of some %" PRIu64 " blocks; %" PRIu64
                " damaged\033[K",
                ctl_get(progress, "percent"), ctl_get(progress, "blocks_read"),
                ctl_get(progress, "blocks_total"), ctl_get(progress, "damaged"));
    return 0;
}

static enum ctl_exit scrub_wait(const struct invocation *in, uint64_t id, json_t **result)
{
    enum ctl_exit status =
        ctl_ask_progress(in, "pool.scrub.wait", json_pack("{s:I}", "id", (json_int_t)id),
                         scrub_progress_cb, (void *)(uintptr_t)in, result);
    if (scrub_shows_progress(in))
        fputs("\r\033[K", stderr);
    return status;
}

static void scrub_print(const json_t *result)
{
    size_t i;
    json_t *finding;
    json_array_foreach(json_object_get(result, "findings"), i, finding)
    {
        bool is_error = json_is_true(json_object_get(finding, "error"));
        printf("%s%s\n", is_error ? "DAMAGED: " : "",
               json_string_value(json_object_get(finding, "text")));
    }
    const char *state = json_string_value(json_object_get(result, "state"));
    if (strcmp(state, "none") == 0)
    {
        printf("No scrub was started since the pool was opened.\n");
        return;
    }
    printf("Scrub %s%s: read %" PRIu64 " of %" PRIu64 " blocks of metadata: %" PRIu64
           " damaged, %" PRIu64 " of them written anew",
           state, strcmp(state, "finished") == 0 ? "" : " before its end",
           ctl_get(result, "blocks_read"), ctl_get(result, "blocks_total"),
           ctl_get(result, "damaged"), ctl_get(result, "repaired"));
    uint64_t spare = ctl_get(result, "spare");
    if (spare > 0)
        printf(", %" PRIu64 " of them of no need while another is whole", spare);
    printf(".\n");
}

/* What it came to, as an exit status. */
static enum ctl_exit scrub_conclude(const struct invocation *in, const json_t *result)
{
    const char *state = json_string_value(json_object_get(result, "state"));
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else
        scrub_print(result);
    uint64_t left =
        ctl_get(result, "damaged") - ctl_get(result, "repaired") - ctl_get(result, "spare");
    if (strcmp(state, "failed") == 0)
        return ctl_fail(in, -EIO, json_string_value(json_object_get(result, "error")), NULL);
    if (left == 0)
        return CTL_DONE;
    char text[160];
    snprintf(text, sizeof(text),
             "the pool is damaged: %" PRIu64 " damaged block%s of metadata %s not written anew",
             left, plural_s(left), left == 1 ? "was" : "were");
    return ctl_conclude_damage(in, text);
}

/* Here, on a pool that nobody has open. */
static enum ctl_exit scrub_offline(const struct invocation *in, json_t **result)
{
    struct pool *pool;
    struct scrub_info info = {0};
    struct reason why = {.text = ""};
    const struct pool_open_options look = {.read_only = true};
    const struct scrub_options options = {0}; /* there is nobody whom it could hold up */
    uint64_t id;
    enum ctl_exit status = ctl_open_pool(in, &look, &pool);
    if (status != CTL_DONE)
        return status;
    AUTO_JSON json_t *findings = json_array();
    int r = pool_scrub_start(pool, &options, &id, &why);
    for (int more = r == 0; more > 0;)
    {
        more = pool_scrub_step(pool);
        if (pool_scrub_get(pool, &info, NULL, NULL) < 0 || !scrub_shows_progress(in))
            continue;
        AUTO_JSON json_t *progress = view_scrub(&info, json_array());
        scrub_progress_cb((void *)(uintptr_t)in, progress);
    }
    if (scrub_shows_progress(in))
        fputs("\r\033[K", stderr);
    if (r == 0)
        r = pool_scrub_get(pool, &info, view_add_finding, findings);
    ignore_error(pool_close(pool), "opened read-only: nothing to write");
    if (r < 0)
        return ctl_fail(in, r, why.text, NULL);
    *result = view_scrub(&info, take_ptr(&findings));
    return *result ? CTL_DONE : ctl_no_memory(in);
}

static enum ctl_exit scrub_start(const struct invocation *in, json_t **started)
{
    const char *rate = option_text(in, "rate");
    uint64_t rate_bytes = SCRUB_RATE_BYTES;
    enum ctl_exit status = rate ? ctl_size(in, rate, UINT64_MAX, &rate_bytes) : CTL_DONE;
    if (status != CTL_DONE)
        return status;
    if (rate_bytes < SCRUB_RATE_MIN_BYTES)
        return ctl_usage(in, "--rate is at least 64K a second");
    return ctl_ask(in, "pool.scrub", json_pack("{s:I}", "rate_bytes", (json_int_t)rate_bytes),
                   started);
}

enum ctl_exit ctl_pool_scrub(struct invocation *in)
{
    AUTO_JSON json_t *started = NULL;
    AUTO_JSON json_t *result = NULL;
    enum ctl_exit status;
    if (option_text(in, "pool") && (option_flag(in, "last") || option_flag(in, "background")))
        return ctl_usage(in, "--last and --background need a server, not --pool");
    if (option_text(in, "pool"))
        status = scrub_offline(in, &result);
    else if (option_flag(in, "last"))
        status = ctl_ask(in, "pool.scrub.show", NULL, &result);
    else
    {
        status = scrub_start(in, &started);
        uint64_t id = ctl_get(started, "id");
        if (status == CTL_DONE && option_flag(in, "background"))
        {
            if (option_flag(in, "json"))
                table_print_json(stdout, started);
            else
                printf("Scrub of the pool started, job %" PRIu64 ".\n", id);
            return CTL_DONE;
        }
        if (status == CTL_DONE)
            status = scrub_wait(in, id, &result);
    }
    return status == CTL_DONE ? scrub_conclude(in, result) : status;
}
