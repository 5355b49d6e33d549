/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands that give a LUN to a host over iSCSI. Names and addresses come from the server: the
 * characters that iSCSI names and igroups may have need no quotes in a shell. Users of CHAP do.
 */
#include "server/ctl/attach_iscsi.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/ctl/hint.h"

struct iscsi_way
{
    const char *target, *igroup, *initiator;
    char portal[300]; /* HOST:PORT, what a host can dial */
    char host[280];   /* without the port and, for IPv6, the brackets */
    char port[8];
    int number;
    const char *user, *mutual_user; /* of CHAP, for a shell; NULL: none is asked for */
    const char *xml_user;
};

/* What stands for secrets, which no command shows. */
#define WAY_SECRET "SECRET"
#define WAY_MUTUAL_SECRET "MUTUAL-SECRET"

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

/* A setting of the node records of open-iscsi. */
static void way_node_setting(FILE *file, const struct iscsi_way *way, const char *name,
                             const char *value)
{
    fprintf(file, "iscsiadm -m node -T %s -o update -n node.session.auth.%s -v %s\n", way->target,
            name, value);
}

static void way_open_iscsi_chap(FILE *file, const struct iscsi_way *way)
{
    if (!way->user)
        return;
    way_node_setting(file, way, "authmethod", "CHAP");
    way_node_setting(file, way, "username", way->user);
    way_node_setting(file, way, "password", WAY_SECRET);
    if (!way->mutual_user)
        return;
    way_node_setting(file, way, "username_in", way->mutual_user);
    way_node_setting(file, way, "password_in", WAY_MUTUAL_SECRET);
}

static void way_open_iscsi(FILE *file, const struct iscsi_way *way)
{
    fprintf(file,
            "grep -x InitiatorName=%s /etc/iscsi/initiatorname.iscsi\n"
            "iscsiadm -m discovery -t sendtargets -p %s\n",
            way->initiator, way->portal);
    way_open_iscsi_chap(file, way);
    fprintf(file,
            "iscsiadm -m node -T %s -p %s --login\n"
            "iscsiadm -m session -P 3",
            way->target, way->portal);
    if (way->number < 256) /* above, the kernel's name of the device is another */
        fprintf(file, "\nls -l /dev/disk/by-path/ip-*:%s-iscsi-%s-lun-%d", way->port, way->target,
                way->number);
}

/* All paths lead to one server, so all are used; while it restarts, I/O waits. */
static void way_multipath(FILE *file, const struct iscsi_way *way)
{
    fprintf(file, "iscsiadm -m discovery -t sendtargets -p %s\n", way->portal);
    way_open_iscsi_chap(file, way);
    fprintf(file,
            "iscsiadm -m node -T %s --login\n"
            "mkdir -p /etc/multipath/conf.d\n"
            "cat >/etc/multipath/conf.d/lunette.conf <<'END'\n"
            "devices {\n"
            "    device {\n"
            "        vendor \"LUNETTE\"\n"
            "        product \"LUN\"\n"
            "        path_grouping_policy group_by_prio\n"
            "        prio alua\n"
            "        path_checker tur\n"
            "        failback immediate\n"
            "        no_path_retry 24\n"
            "    }\n"
            "}\n"
            "END\n"
            "systemctl enable --now multipathd\n"
            "multipathd reconfigure\n"
            "multipath -ll",
            way->target);
}

static void way_qemu(FILE *file, const struct iscsi_way *way)
{
    fprintf(file, "qemu-system-x86_64 -iscsi initiator-name=%s", way->initiator);
    if (way->user)
        fprintf(file, ",user=%s,password=" WAY_SECRET, way->user);
    fprintf(file, " -drive file=iscsi://%s/%s/%d,format=raw,if=virtio,discard=unmap", way->portal,
            way->target, way->number);
    if (way->mutual_user)
        fprintf(file, "\n# qemu cannot ask the target for a secret; it logs in without doing so.");
}

static void way_libvirt(FILE *file, const struct iscsi_way *way)
{
    fprintf(file,
            "<disk type='network' device='disk'>\n"
            "  <driver name='qemu' type='raw' discard='unmap'/>\n"
            "  <source protocol='iscsi' name='%s/%d'>\n"
            "    <host name='%s' port='%s'/>\n",
            way->target, way->number, way->host, way->port);
    if (way->user)
        fprintf(file,
                "    <auth username='%s'>\n"
                "      <secret type='iscsi' usage='%s'/>\n"
                "    </auth>\n",
                way->xml_user, way->target);
    fprintf(file,
            "    <initiator><iqn name='%s'/></initiator>\n"
            "  </source>\n  <target dev='vda' bus='virtio'/>\n</disk>",
            way->initiator);
}

static void way_proxmox(FILE *file, const struct iscsi_way *way)
{
    if (way->user)
    {
        fprintf(file, "iscsiadm -m discovery -t sendtargets -p %s\n", way->portal);
        way_open_iscsi_chap(file, way);
    }
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
            "esxcli iscsi adapter discovery sendtarget add --adapter=$adapter --address=%s\n",
            way->portal);
    if (way->user)
        fprintf(file,
                "esxcli iscsi adapter auth chap set --adapter=$adapter --direction=uni "
                "--level=required --authname=%s --secret=" WAY_SECRET "\n",
                way->user);
    if (way->mutual_user)
        fprintf(file,
                "esxcli iscsi adapter auth chap set --adapter=$adapter --direction=mutual "
                "--level=required --authname=%s --secret=" WAY_MUTUAL_SECRET "\n",
                way->mutual_user);
    fputs("esxcli storage core adapter rescan --adapter=$adapter", file);
}

static void way_windows(FILE *file, const struct iscsi_way *way)
{
    fprintf(file,
            "Start-Service MSiSCSI\n"
            "New-IscsiTargetPortal -TargetPortalAddress %s -TargetPortalPortNumber %s\n",
            way->host, way->port);
    if (way->mutual_user)
        fprintf(file, "Set-IscsiChapSecret -ChapSecret " WAY_MUTUAL_SECRET "\n");
    fprintf(file, "Connect-IscsiTarget -NodeAddress %s -IsPersistent $true", way->target);
    if (way->user)
        fprintf(file, " -AuthenticationType %s -ChapUsername %s -ChapSecret " WAY_SECRET,
                way->mutual_user ? "MUTUALCHAP" : "ONEWAYCHAP", way->user);
    fputs("\nGet-Disk | Where-Object BusType -eq iSCSI", file);
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
    if (!json && way->user)
        printf("# CHAP is asked for: put in what stands for " WAY_SECRET "%s.\n",
               way->mutual_user ? " and " WAY_MUTUAL_SECRET : "");
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
    return *initiator ? CTL_DONE : ctl_no_memory(in);
}

/* Whether a CHAP record of @subject is what counts for the host, and how special that is. */
static int way_chap_rank(const struct iscsi_way *way, const char *subject)
{
    if (strcasecmp(subject, way->initiator) == 0)
        return 3;
    if (strncmp(subject, "igroup:", strlen("igroup:")) == 0 &&
        strcmp(subject + strlen("igroup:"), way->igroup) == 0)
        return 2;
    return strcmp(subject, "*") == 0 ? 1 : 0;
}

/* The record that counts; NULL: none. */
static const json_t *way_find_chap(const struct iscsi_way *way, const json_t *chap)
{
    const json_t *found = NULL;
    int best = 0;
    size_t i;
    json_t *record;
    json_array_foreach(json_object_get(chap, "records"), i, record)
    {
        const char *subject = json_string_value(json_object_get(record, "subject"));
        int rank = subject ? way_chap_rank(way, subject) : 0;
        if (rank <= best)
            continue;
        best = rank;
        found = record;
    }
    return found;
}

/* A user of @record as it has to be written; NULL: there is none. Free it. */
static char *way_user(const json_t *record, const char *key, bool xml)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:_@%+-";
    const char *user = json_string_value(json_object_get(record, key));
    if (!user || !*user)
        return NULL;
    return user[strspn(user, plain)] ? attach_quote(user, xml) : strdup(user);
}

/* The commands for one mapping. */
static enum ctl_exit attach_one(const struct invocation *in, const json_t *portal,
                                const json_t *mapping, const json_t *chap, json_t *list)
{
    AUTO_FREE char *initiator = NULL;
    struct iscsi_way way = {.number = (int)ctl_get(mapping, "lun_id")};
    way.target = json_string_value(json_object_get(portal, "target"));
    way.igroup = json_string_value(json_object_get(mapping, "igroup"));
    way_set_portal(&way, json_string_value(json_object_get(portal, "address")));
    enum ctl_exit status = way_initiator(in, way.igroup, &initiator);
    if (status != CTL_DONE)
        return status;
    way.initiator = initiator;
    const json_t *record = way_find_chap(&way, chap);
    AUTO_FREE char *user = way_user(record, "user", false);
    AUTO_FREE char *xml_user = way_user(record, "user", true);
    AUTO_FREE char *mutual_user = way_user(record, "mutual_user", false);
    way.user = user;
    way.xml_user = xml_user ? xml_user : "";
    way.mutual_user = mutual_user;
    way_say(&way, option_flag(in, "json"), list);
    return CTL_DONE;
}

enum ctl_exit attach_iscsi(const struct invocation *in, const char *name, json_t *result)
{
    AUTO_JSON json_t *portals = NULL;
    AUTO_JSON json_t *mappings = NULL;
    AUTO_JSON json_t *chap = NULL;
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
    if (status == CTL_DONE)
        status = ctl_ask(in, "iscsi.chap.show", NULL, &chap);
    json_t *list = json_array();
    ctl_put(result, "iscsi", list);
    json_array_foreach(json_object_get(mappings, "mappings"), i, mapping)
    {
        status = attach_one(in, portal, mapping, chap, list);
        if (status != CTL_DONE)
            return status;
    }
    if (status == CTL_DONE && !json && i == 0)
        hint_printf(
            stdout,
            "\n# iSCSI: %s is mapped to no igroup; 'lunette lun map %s --igroup IGROUP' does it\n",
            name, name);
    return status;
}
