/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands that give a LUN to a host over iSCSI. Names and addresses come from the server: the
 * characters that iSCSI names and igroups may have need no quotes in a shell.
 */
#include "server/ctl/attach_iscsi.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct iscsi_way
{
    const char *target, *igroup, *initiator;
    char portal[300]; /* HOST:PORT, what a host can dial */
    char host[280];   /* without the port and, for IPv6, the brackets */
    char port[8];
    int number;
};

/* A portal that listens on all addresses is reached by the server's name. */
static void way_set_portal(struct iscsi_way *way, const char *address)
{
    const char *colon = strrchr(address, ':');
    size_t len = colon ? (size_t)(colon - address) : strlen(address);
    char host[256];
    snprintf(way->port, sizeof(way->port), "%s", colon ? colon + 1 : "3260");
    snprintf(way->host, sizeof(way->host), "%.*s", (int)len, address);
    snprintf(way->portal, sizeof(way->portal), "%s", address);
    bool is_any = strcmp(way->host, "0.0.0.0") == 0 || strcmp(way->host, "[::]") == 0;
    if (is_any && gethostname(host, sizeof(host)) == 0)
    {
        host[sizeof(host) - 1] = '\0';
        snprintf(way->host, sizeof(way->host), "%s", host);
        snprintf(way->portal, sizeof(way->portal), "%s:%s", way->host, way->port);
    }
    len = strlen(way->host);
    if (way->host[0] == '[' && len > 2)
    {
        memmove(way->host, way->host + 1, len - 2);
        way->host[len - 2] = '\0';
    }
}

static void way_open_iscsi(FILE *file, const struct iscsi_way *way)
{
    fprintf(file,
            "grep -x InitiatorName=%s /etc/iscsi/initiatorname.iscsi\n"
            "iscsiadm -m discovery -t sendtargets -p %s\n"
            "iscsiadm -m node -T %s -p %s --login\n"
            "iscsiadm -m session -P 3",
            way->initiator, way->portal, way->target, way->portal);
    if (way->number < 256) /* above, the kernel's name of the device is another */
        fprintf(file, "\nls -l /dev/disk/by-path/ip-*:%s-iscsi-%s-lun-%d", way->port, way->target,
                way->number);
}

static void way_multipath(FILE *file, const struct iscsi_way *way)
{
    fprintf(file,
            "iscsiadm -m discovery -t sendtargets -p %s\n"
            "iscsiadm -m node -T %s --login\n"
            "systemctl enable --now multipathd\n"
            "multipath -r\n"
            "multipath -ll",
            way->portal, way->target);
}

static void way_qemu(FILE *file, const struct iscsi_way *way)
{
    fprintf(file,
            "qemu-system-x86_64 -iscsi initiator-name=%s "
            "-drive file=iscsi://%s/%s/%d,format=raw,if=virtio,discard=unmap",
            way->initiator, way->portal, way->target, way->number);
}

static void way_libvirt(FILE *file, const struct iscsi_way *way)
{
    fprintf(file,
            "<disk type='network' device='disk'>\n"
            "  <driver name='qemu' type='raw' discard='unmap'/>\n"
            "  <source protocol='iscsi' name='%s/%d'>\n"
            "    <host name='%s' port='%s'/>\n"
            "    <initiator><iqn name='%s'/></initiator>\n"
            "  </source>\n  <target dev='vda' bus='virtio'/>\n</disk>",
            way->target, way->number, way->host, way->port, way->initiator);
}

static void way_proxmox(FILE *file, const struct iscsi_way *way)
{
    fprintf(file,
            "pvesm add iscsi lunette --portal %s --target %s --content images\n"
            "pvesm list lunette",
            way->portal, way->target);
}

static void way_esxi(FILE *file, const struct iscsi_way *way)
{
    fprintf(file,
            "esxcli iscsi software set --enabled=true\n"
            "adapter=$(esxcli iscsi adapter list | awk '/iscsi_vmk/ { print $1; exit }')\n"
            "esxcli iscsi adapter discovery sendtarget add --adapter=$adapter --address=%s\n"
            "esxcli storage core adapter rescan --adapter=$adapter",
            way->portal);
}

static void way_windows(FILE *file, const struct iscsi_way *way)
{
    fprintf(file,
            "Start-Service MSiSCSI\n"
            "New-IscsiTargetPortal -TargetPortalAddress %s -TargetPortalPortNumber %s\n"
            "Connect-IscsiTarget -NodeAddress %s -IsPersistent $true\n"
            "Get-Disk | Where-Object BusType -eq iSCSI",
            way->host, way->port, way->target);
}

static const struct
{
    const char *key, *title;
    void (*print)(FILE *file, const struct iscsi_way *way);
} iscsi_ways[] = {
    {"open_iscsi", "open-iscsi (Linux, as root)", way_open_iscsi},
    {"multipath", "open-iscsi over all portals, with multipath", way_multipath},
    {"qemu", "qemu (package qemu-block-extra)", way_qemu},
    {"libvirt", "libvirt, in <devices> of the domain", way_libvirt},
    {"proxmox", "Proxmox VE", way_proxmox},
    {"esxi", "ESXi", way_esxi},
    {"windows", "Windows (PowerShell, as administrator)", way_windows},
};

static char *way_text(size_t i, const struct iscsi_way *way)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    if (!file)
        return NULL;
    iscsi_ways[i].print(file, way);
    return fclose(file) == 0 ? text : (free(text), NULL);
}

/* Prints the commands of @way, or adds them to @list. */
static void way_say(const struct iscsi_way *way, bool json, json_t *list)
{
    json_t *commands = json_object();
    char url[1024];
    snprintf(url, sizeof(url), "iscsi://%s/%s/%d", way->portal, way->target, way->number);
    if (!json)
        printf("\n# iSCSI, hosts of igroup %s: LUN %d\n# %s\n", way->igroup, way->number, url);
    for (size_t i = 0; i < sizeof(iscsi_ways) / sizeof(*iscsi_ways); i++)
    {
        AUTO_FREE char *text = way_text(i, way);
        ctl_put_text(commands, iscsi_ways[i].key, text);
        if (!json && text)
            printf("\n# %s:\n%s\n", iscsi_ways[i].title, text);
    }
    json_t *entry = json_object();
    ctl_put_text(entry, "igroup", way->igroup);
    ctl_put(entry, "lun_id", json_integer(way->number));
    ctl_put_text(entry, "target", way->target);
    ctl_put_text(entry, "portal", way->portal);
    ctl_put_text(entry, "url", url);
    ctl_put(entry, "commands", commands);
    ignore_error(json_array_append_new(list, entry), "out of memory shows as a shorter list");
}

/* The first initiator of @igroup, to be freed; one to be put in, if it has none yet. */
static enum ctl_exit way_initiator(const struct invocation *in, const char *igroup,
                                   char **initiator)
{
    AUTO_JSON json_t *result = NULL;
    json_t *args = json_object();
    ctl_put_text(args, "name", igroup);
    enum ctl_exit status = ctl_ask(in, "igroup.show", args, &result);
    if (status != CTL_DONE)
        return status;
    const json_t *entry = json_array_get(json_object_get(result, "igroups"), 0);
    const char *first = json_string_value(json_array_get(json_object_get(entry, "initiators"), 0));
    *initiator = strdup(first ? first : "INITIATOR");
    return *initiator ? CTL_DONE : ctl_refuse(in, "no memory", NULL);
}

enum ctl_exit attach_iscsi(const struct invocation *in, const char *name, json_t *result)
{
    AUTO_JSON json_t *portals = NULL;
    AUTO_JSON json_t *mappings = NULL;
    bool json = option_flag(in, "json");
    size_t i;
    json_t *mapping;
    enum ctl_exit status = ctl_ask(in, "iscsi.portal.show", NULL, &portals);
    const json_t *portal = json_array_get(json_object_get(portals, "portals"), 0);
    if (status != CTL_DONE || !portal || strstr(name, ".."))
        return status;
    json_t *args = json_object();
    ctl_put_text(args, "name", name);
    status = ctl_ask(in, "mapping.show", args, &mappings);
    json_t *list = json_array();
    ctl_put(result, "iscsi", list);
    json_array_foreach(json_object_get(mappings, "mappings"), i, mapping)
    {
        AUTO_FREE char *initiator = NULL;
        struct iscsi_way way = {.number = (int)ctl_get(mapping, "lun_id")};
        way.target = json_string_value(json_object_get(portal, "target"));
        way.igroup = json_string_value(json_object_get(mapping, "igroup"));
        way_set_portal(&way, json_string_value(json_object_get(portal, "address")));
        status = way_initiator(in, way.igroup, &initiator);
        if (status != CTL_DONE)
            return status;
        way.initiator = initiator;
        way_say(&way, json, list);
    }
    if (status == CTL_DONE && !json && i == 0)
        printf("\n# iSCSI: %s is mapped to no igroup; lunette lun map %s --igroup IGROUP does it\n",
               name, name);
    return status;
}
