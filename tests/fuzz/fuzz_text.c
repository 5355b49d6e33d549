/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text that people and files hand in outside of management: sizes and durations, addresses, the
 * conf file, what a resumed import says of how far it came. The first byte says which (modulo 5);
 * values that are accepted are held to what their headers promise.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "server/config.h"
#include "server/ctl/transfer_internal.h"
#include "server/ctl/uri.h"
#include "server/units.h"
#include "tests/fuzz/fuzz.h"

enum kind
{
    KIND_UNITS,
    KIND_ADDRESS,
    KIND_URI,
    KIND_CONFIG,
    KIND_STATE,
    KINDS,
};

enum
{
    FUZZ_TEXT_MAX = 16 << 10
};

static void must_explain(int r, const struct reason *why)
{
    INVARIANT(r == 0 || (r < 0 && why->text[0]));
}

static void fuzz_units(const char *text)
{
    char formatted[UNITS_TEXT_MAX];
    struct reason why = {.text = ""};
    uint64_t value;
    bool flag;
    int r = units_parse_bytes(text, &value, &why);
    must_explain(r, &why);
    if (r == 0)
        INVARIANT(strlen(units_format_bytes(value, 'h', formatted)) < sizeof(formatted));
    reason_clear(&why);
    r = units_parse_number(text, 3, 1000, &value, &why);
    must_explain(r, &why);
    INVARIANT(r < 0 || (value >= 3 && value <= 1000));
    reason_clear(&why);
    must_explain(units_parse_ms(text, &value, &why), &why);
    reason_clear(&why);
    must_explain(units_parse_bool(text, &flag, &why), &why);
}

static void fuzz_address(const char *text)
{
    char host[256] = "", port[32] = "";
    struct reason why = {.text = ""};
    int r = config_parse_address(text, host, sizeof(host), port, sizeof(port), &why);
    must_explain(r, &why);
    if (r == 0)
        INVARIANT(port[0] && strlen(host) < sizeof(host) && strlen(port) < sizeof(port));
}

static void fuzz_uri(const char *text)
{
    struct nbd_address address;
    AUTO_FREE char *export = uri_of_export(text, "golden");
    AUTO_FREE char *socket = uri_of_socket(text);
    INVARIANT(export && socket);
    INVARIANT(uri_parse(socket, &address) == 0 && strcmp(address.socket, text) == 0);
    uri_free_address(&address);
    if (uri_parse(text, &address) < 0)
        return;
    INVARIANT(address.socket || (address.host && address.port));
    uri_free_address(&address);
}

/* Calls @load with the path of a file that holds the text. */
static void fuzz_file(const char *text, size_t len, void (*load)(const char *path))
{
    char path[64];
    int fd = memfd_create("fuzz-text", MFD_CLOEXEC);
    INVARIANT(fd >= 0 && write(fd, text, len) == (ssize_t)len);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    load(path);
    close(fd);
}

static void fuzz_config(const char *path)
{
    struct reason why = {.text = ""};
    struct config *config = NULL;
    int r = config_load(path, &config, &why);
    must_explain(r, &why);
    INVARIANT((r == 0) == (config != NULL));
    config_free(config);
}

static void fuzz_state(const char *path)
{
    struct reason why = {.text = ""};
    struct transfer_state state;
    int r = transfer_state_load(path, &state, &why);
    must_explain(r, &why);
    if (r < 0)
        return;
    INVARIANT(state.source && state.destination && state.source_identity);
    INVARIANT(state.durable <= state.size_bytes);
    transfer_state_destroy(&state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[FUZZ_TEXT_MAX + 1];
    if (size < 1 || size > FUZZ_TEXT_MAX)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    switch ((enum kind)(data[0] % KINDS))
    {
    case KIND_UNITS:
        fuzz_units(text);
        break;
    case KIND_ADDRESS:
        fuzz_address(text);
        break;
    case KIND_URI:
        fuzz_uri(text);
        break;
    case KIND_CONFIG:
        fuzz_file(text, size - 1, fuzz_config);
        break;
    case KIND_STATE:
        fuzz_file(text, size - 1, fuzz_state);
        break;
    case KINDS:
        break;
    }
    return 0;
}
