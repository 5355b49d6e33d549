/* SPDX-License-Identifier: BSD-3-Clause */
/* Qtrees of the test of several clients: those of shared volumes stay, of its own a client makes,
 * renames and deletes some. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "tests/model/clients.h"

static const char *const cl_tree_names[] = {"ta", "tb", "tc", "td", "te"};

unsigned cl_find_tree(const struct cl_volume *volume, const char *name)
{
    for (unsigned t = 1; t < CL_TREES; t++)
    {
        if (volume->trees[t].is_there && strcmp(volume->trees[t].name, name) == 0)
            return t;
    }
    return 0;
}

unsigned cl_pick_tree(struct cl_client *client, int volume)
{
    if (volume < 0 || rng_percent(&client->rng, 40))
        return 0;
    unsigned t = (unsigned)rng_between(&client->rng, 1, CL_TREES - 1);
    return cl_volume_get(client, volume).trees[t].is_there ? t : 0;
}

static void cl_tree_create(struct cl_client *client, int v, struct cl_volume *volume, unsigned t,
                           const char *name)
{
    char path[48];
    snprintf(path, sizeof(path), "%s/%s", volume->name, name);
    cl_say(client, "qtree '%s'", path);
    cl_call_new(client);
    cl_call_sign(client, cl_tree_is_there, 0, "%s", path);
    cl_call_begin(client);
    if (!cl_call_end(client, "create qtree",
                     qtree_create(client->cl->pool, path, NULL, &client->why)))
        return;
    volume->trees[t].is_there = true;
    snprintf(volume->trees[t].name, sizeof(volume->trees[t].name), "%s", name);
    cl_volume_set(client, v, volume);
}

static void cl_tree_rename(struct cl_client *client, int v, struct cl_volume *volume, unsigned t,
                           const char *name)
{
    char path[48];
    snprintf(path, sizeof(path), "%s/%s", volume->name, volume->trees[t].name);
    cl_say(client, "rename qtree '%s' to '%s'", path, name);
    cl_call_new(client);
    cl_call_sign(client, cl_tree_is_gone, 0, "%s", path);
    cl_call_begin(client);
    if (!cl_call_end(client, "rename qtree",
                     qtree_rename(client->cl->pool, path, name, &client->why)))
        return;
    snprintf(volume->trees[t].name, sizeof(volume->trees[t].name), "%s", name);
    cl_volume_set(client, v, volume);
    for (unsigned i = 0; i < CL_LUNS; i++)
    {
        if (client->luns[i].is_there && client->luns[i].volume == v)
            cl_name_again(client, &client->luns[i]);
    }
}

/* Its rules go with it. */
static void cl_tree_delete(struct cl_client *client, int v, struct cl_volume *volume, unsigned t)
{
    char path[48];
    bool is_used = false;
    for (unsigned i = 0; i < CL_LUNS; i++)
        is_used |=
            client->luns[i].is_there && client->luns[i].volume == v && client->luns[i].tree == t;
    snprintf(path, sizeof(path), "%s/%s", volume->name, volume->trees[t].name);
    cl_say(client, "delete qtree '%s'", path);
    if (is_used)
    {
        int r = qtree_delete(client->cl->pool, path, &client->why);
        if (r != -EBUSY && !cl_is_off(client->cl))
            cl_fail(client, "deleting a qtree with LUNs gives %d: %s", r, client->why.text);
        return;
    }
    cl_call_new(client);
    cl_call_sign(client, cl_tree_is_gone, 0, "%s", path);
    cl_call_begin(client);
    if (!cl_call_end(client, "delete qtree", qtree_delete(client->cl->pool, path, &client->why)))
        return;
    memset(&volume->trees[t], 0, sizeof(volume->trees[t]));
    memset(volume->rules[t], 0, sizeof(volume->rules[t]));
    cl_volume_set(client, v, volume);
}

void cl_step_tree(struct cl_client *client)
{
    int v = rng_percent(&client->rng, 60) ? cl_own_volume(client) : cl_own_clone(client);
    struct cl_volume volume = cl_volume_get(client, v);
    if (!volume.is_there)
        return;
    unsigned t = (unsigned)rng_between(&client->rng, 1, CL_TREES - 1);
    const char *name = cl_tree_names[rng_below(&client->rng, ARRAY_SIZE(cl_tree_names))];
    bool is_taken = cl_find_tree(&volume, name) != 0;
    if (volume.trees[t].is_there && rng_percent(&client->rng, 30))
        cl_tree_delete(client, v, &volume, t);
    else if (volume.trees[t].is_there && !is_taken)
        cl_tree_rename(client, v, &volume, t, name);
    else if (!volume.trees[t].is_there && !is_taken)
        cl_tree_create(client, v, &volume, t, name);
}
