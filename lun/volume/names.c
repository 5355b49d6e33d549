/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/volume/names.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lun/limits.h"

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

int name_join(char *full, size_t size, const char *lun, const char *snapshot, struct reason *why)
{
    int r = name_check(lun, "LUN", why);
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
    return name_check(name, "LUN", why);
}
