/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/volume/names.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool name_is_begin(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

int name_check(const char *name, const char *what, struct reason *why)
{
    if (!name || !*name)
        return reason_set(why, -EINVAL, "a %s needs a name", what);
    size_t len = strlen(name);
    if (len > LUN_NAME_MAX)
        return reason_set(why, -EINVAL, "%s name has %zu bytes; at most %d are allowed", what, len,
                          LUN_NAME_MAX);
    if (strchr(name, '/'))
        return reason_set(why, -EINVAL,
                          "%s name '%s' holds '/', which is reserved for volumes and qtrees", what,
                          name);
    if (!name_is_begin(name[0]))
        return reason_set(why, -EINVAL, "%s name '%s' must begin with a letter, a digit or '_'",
                          what, name);
    for (const char *c = name; *c; c++)
    {
        if (!name_is_begin(*c) && !strchr(".:+-", *c))
            return reason_set(why, -EINVAL,
                              "%s name '%s' may hold only letters, digits and . _ : + -", what,
                              name);
    }
    if (strstr(name, ".."))
        return reason_set(why, -EINVAL, "%s name '%s' holds '..', which means a difference", what,
                          name);
    return 0;
}

const char *name_strip(const char *name)
{
    static const char prefix[] = "/vol/";
    bool has_prefix = name && strncmp(name, prefix, sizeof(prefix) - 1) == 0;
    return has_prefix ? name + sizeof(prefix) - 1 : name;
}

const char *name_own(const char *full)
{
    const char *at = strrchr(full, '@');
    const char *slash = strrchr(full, '/');
    if (at)
        return at + 1;
    return slash ? slash + 1 : full;
}

void name_copy(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from ? from : "");
}

static int name_split_part(const char *path, const char *slash, const char *what, char *part,
                           struct reason *why)
{
    const char *begin = strchr(path, '/') == slash ? path : strchr(path, '/') + 1;
    snprintf(part, LUN_NAME_MAX + 1, "%.*s", (int)(slash - begin), begin);
    int r = name_check(part, what, why);
    snprintf(part, LUN_NAME_MAX + 1, "%.*s", (int)(slash - path), path);
    return r;
}

int name_split(const char *path, struct name_path *parts, struct reason *why)
{
    *parts = (struct name_path){.lun = path};
    if (!path || !*path)
        return name_check(path, "LUN", why);
    if (strlen(path) > LUN_NAME_MAX)
        return reason_set(why, -EINVAL, "LUN name has %zu bytes; at most %d are allowed",
                          strlen(path), LUN_NAME_MAX);
    const char *slash = strchr(path, '/'), *second = slash ? strchr(slash + 1, '/') : NULL;
    int r = 0;
    if (slash)
        r = name_split_part(path, slash, "volume", parts->volume, why);
    if (r == 0 && second)
        r = name_split_part(path, second, "qtree", parts->qtree, why);
    if (r < 0)
        return r;
    parts->lun = second ? second + 1 : slash ? slash + 1 : path;
    if (strchr(parts->lun, '/'))
        return reason_set(why, -EINVAL,
                          "'%s' has too many parts: a LUN is VOLUME/LUN or VOLUME/QTREE/LUN", path);
    return name_check(parts->lun, "LUN", why);
}

int name_join(char *full, size_t size, const char *lun, const char *snapshot, struct reason *why)
{
    struct name_path parts;
    int r = name_split(lun, &parts, why);
    if (r == 0)
        r = name_check(snapshot, "snapshot", why);
    if (r == 0)
        snprintf(full, size, "%s@%s", lun, snapshot);
    return r;
}

int name_from_template(char *name, size_t size, const char *template, uint32_t number,
                       struct reason *why)
{
    const char *percent = strchr(template, '%');
    const char *at = percent ? percent + 1 : "";
    unsigned width = 0;
    bool zeros = *at == '0';
    while (isdigit((unsigned char)*at) && width < 100)
        width = width * 10 + (unsigned)(*at++ - '0');
    if (!percent || (*at != 'd' && *at != 'u') || strchr(at, '%') || width > 20)
        return reason_set(why, -EINVAL,
                          "the name of clones made together needs one number, such as "
                          "'vm-%%05d', not '%s'",
                          template);
    char digits[32];
    int len = zeros ? snprintf(digits, sizeof(digits), "%0*u", (int)width, number)
                    : snprintf(digits, sizeof(digits), "%u", number);
    (void)len;
    int prefix = (int)(percent - template);
    if (snprintf(name, size, "%.*s%s%s", prefix, template, digits, at + 1) >= (int)size)
        return reason_set(why, -EINVAL, "clone names made from '%s' are longer than %d bytes",
                          template, LUN_NAME_MAX);
    struct name_path parts;
    return name_split(name, &parts, why);
}
