/* SPDX-License-Identifier: BSD-3-Clause */
/* lun attach: the commands that give a LUN to a host. Prints only; runs none of them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/ctl/attach_iscsi.h"
#include "server/ctl/ctl.h"
#include "server/ctl/uri.h"

struct attach
{
    const char *name;
    char *uri; /* of the export */
    struct nbd_address address;
    bool is_read_only;
    char host[256]; /* this one's name */
};

static void attach_destroy(struct attach *attach)
{
    free(attach->uri);
    uri_free_address(&attach->address);
}

char *attach_quote(const char *text, bool xml)
{
    char *quoted = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&quoted, &size);
    if (!file)
        return NULL;
    if (!xml)
        fputc('\'', file);
    for (; *text; text++)
    {
        if (!xml && *text == '\'')
            fputs("'\\''", file);
        else if (xml && strchr("<>&'\"", *text))
            fprintf(file, "&#%d;", *text);
        else
            fputc(*text, file);
    }
    if (!xml)
        fputc('\'', file);
    return fclose(file) == 0 ? quoted : (free(quoted), NULL);
}

/* The object that qemu's NBD client takes its secrets from. */
static void attach_qemu_tls(FILE *file, const struct nbd_address *address)
{
    const char *slash = address->keys ? strrchr(address->keys, '/') : NULL;
    AUTO_FREE char *folder = slash ? strndup(address->keys, (size_t)(slash - address->keys)) : NULL;
    AUTO_FREE char *place = attach_quote(folder                  ? folder
                                         : address->certificates ? address->certificates
                                                                 : "/etc/pki/qemu",
                                         false);
    if (folder)
        fprintf(file, "-object tls-creds-psk,id=tls,endpoint=client,username=%s,dir=%s ",
                address->user ? address->user : "USER", place);
    else
        fprintf(file, "-object tls-creds-x509,id=tls,endpoint=client,dir=%s ", place);
}

static void attach_qemu(FILE *file, const struct attach *at)
{
    const char *tls = at->address.is_tls ? ",tls-creds=tls" : "";
    /* A socket has no name that the server's certificate could be compared with. */
    bool needs_name = at->address.is_tls && at->address.socket && !at->address.keys;
    const char *read_only = at->is_read_only ? ",read-only=on" : "";
    fprintf(file, "qemu-system-x86_64 -device virtio-blk-pci,drive=lun ");
    if (at->address.is_tls)
        attach_qemu_tls(file, &at->address);
    if (at->address.socket)
    {
        AUTO_FREE char *socket = attach_quote(at->address.socket, false);
        fprintf(file,
                "-blockdev driver=nbd,node-name=lun,server.type=unix,server.path=%s,export=%s,"
                "discard=unmap%s%s%s%s",
                socket, at->name, tls, needs_name ? ",tls-hostname=" : "",
                needs_name ? at->host : "", read_only);
    }
    else
        fprintf(file,
                "-blockdev driver=nbd,node-name=lun,server.type=inet,server.host=%s,"
                "server.port=%s,export=%s,discard=unmap%s%s",
                at->address.host, at->address.port, at->name, tls, read_only);
}

static void attach_nbd_client(FILE *file, const struct attach *at)
{
    if (at->address.keys)
    {
        fprintf(file,
                "# (it knows certificates, and not the pre-shared keys that this server has)");
        return;
    }
    AUTO_FREE char *place =
        attach_quote(at->address.socket ? at->address.socket : at->address.host, false);
    if (at->address.socket)
        fprintf(file, "nbd-client -unix %s /dev/nbd0 -name %s -persist%s", place, at->name,
                at->is_read_only ? " -readonly" : "");
    else
        fprintf(file, "nbd-client %s %s /dev/nbd0 -name %s -persist%s", place, at->address.port,
                at->name, at->is_read_only ? " -readonly" : "");
    if (!at->address.is_tls)
        return;
    AUTO_FREE char *folder =
        attach_quote(at->address.certificates ? at->address.certificates : "/etc/pki/nbd", false);
    fprintf(file,
            " -cacertfile %s/ca-cert.pem -certfile %s/client-cert.pem -keyfile %s/client-key.pem",
            folder, folder, folder);
}

static void attach_nbdcopy(FILE *file, const struct attach *at)
{
    AUTO_FREE char *uri = attach_quote(at->uri, false);
    const char *slash = strrchr(at->name, '/'); /* a LUN of a volume: the file lies here, too */
    fprintf(file, "nbdcopy %s %s.raw", uri, slash ? slash + 1 : at->name);
}

static void attach_nbdinfo(FILE *file, const struct attach *at)
{
    AUTO_FREE char *uri = attach_quote(at->uri, false);
    fprintf(file, "nbdinfo %s", uri);
}

static void attach_libvirt(FILE *file, const struct attach *at)
{
    AUTO_FREE char *place =
        attach_quote(at->address.socket ? at->address.socket : at->address.host, true);
    fprintf(file, "<disk type='network' device='disk'>\n"
                  "  <driver name='qemu' type='raw' discard='unmap'/>\n");
    fprintf(file, "  <source protocol='nbd' name='%s'%s>\n", at->name,
            at->address.is_tls ? " tls='yes'" : "");
    if (at->address.socket)
        fprintf(file, "    <host transport='unix' socket='%s'/>\n", place);
    else
        fprintf(file, "    <host name='%s' port='%s'/>\n", place, at->address.port);
    fprintf(file, "  </source>\n  <target dev='vda' bus='virtio'/>\n%s</disk>",
            at->is_read_only ? "  <readonly/>\n" : "");
}

static const struct
{
    const char *key;
    const char *title;
    void (*print)(FILE *file, const struct attach *at);
} attach_ways[] = {
    {"qemu", "qemu", attach_qemu},
    {"nbd_client", "the kernel (as root, modprobe nbd first)", attach_nbd_client},
    {"nbdinfo", "look at it", attach_nbdinfo},
    {"nbdcopy", "copy it to a file", attach_nbdcopy},
    {"libvirt", "libvirt, in <devices> of the domain", attach_libvirt},
};

static char *attach_text(size_t i, const struct attach *at)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    if (!file)
        return NULL;
    attach_ways[i].print(file, at);
    return fclose(file) == 0 ? text : (free(text), NULL);
}

static enum ctl_exit attach_print(const struct invocation *in, const struct attach *at)
{
    AUTO_JSON json_t *commands = json_object();
    bool json = option_flag(in, "json");
    if (!json)
        printf("# %s\n", at->uri);
    for (size_t i = 0; i < sizeof(attach_ways) / sizeof(*attach_ways); i++)
    {
        AUTO_FREE char *text = attach_text(i, at);
        if (!text)
            return ctl_no_memory(in);
        ctl_put_text(commands, attach_ways[i].key, text);
        if (!json)
            printf("\n# %s:\n%s\n", attach_ways[i].title, text);
    }
    AUTO_JSON json_t *result = json_pack("{s:s, s:s, s:b, s:O}", "name", at->name, "uri", at->uri,
                                         "read_only", (int)at->is_read_only, "commands", commands);
    enum ctl_exit status = result ? attach_iscsi(in, at->name, result) : CTL_DONE;
    if (json && status == CTL_DONE)
        table_print_json(stdout, result);
    return status;
}

/* Whether NAME is there to be attached; a difference is only opened, so its two ends are asked for.
 */
static enum ctl_exit attach_check_name(const struct invocation *in, const char *name)
{
    AUTO_JSON json_t *result = NULL;
    const char *dots = strstr(name, "..");
    AUTO_FREE char *first = dots ? strndup(name, (size_t)(dots - name)) : strdup(name);
    if (!first)
        return ctl_no_memory(in);
    enum ctl_exit status =
        ctl_ask(in, "lun.show", json_pack("{s:s, s:b}", "name", first, "snapshots", 0), &result);
    if (status == CTL_DONE)
        status = ctl_check_whole(in, result);
    return status == CTL_DONE && dots ? attach_check_name(in, dots + 2) : status;
}

enum ctl_exit ctl_lun_attach(struct invocation *in)
{
    AUTO_JSON json_t *server = NULL;
    const char *name = in->args[0];
    enum ctl_exit status = attach_check_name(in, name);
    if (status == CTL_DONE)
        status = ctl_ask(in, "server.status", NULL, &server);
    if (status != CTL_DONE)
        return status;
    const char *nbd_uri = json_string_value(json_object_get(server, "nbd_uri"));
    if (!nbd_uri)
        return ctl_fail(in, -ENOTSUP, "the server was not told where NBD clients reach it",
                        "lunette serve, which tells it, instead of nbdkit by hand (or nbd-uri=)");
    CLEANUP(attach_destroy)
    struct attach attach = {.name = name, .is_read_only = strchr(name, '@') || strstr(name, "..")};
    if (gethostname(attach.host, sizeof(attach.host) - 1) < 0 || !attach.host[0])
        snprintf(attach.host, sizeof(attach.host), "localhost");
    AUTO_FREE char *reachable = uri_reachable(nbd_uri, attach.host);
    attach.uri = reachable ? uri_of_export(reachable, name) : NULL;
    if (!attach.uri || uri_parse(reachable, &attach.address) < 0)
        return ctl_fail(in, -EINVAL, "the server's NBD address makes no sense",
                        "lunette server status");
    return attach_print(in, &attach);
}
