/* SPDX-License-Identifier: BSD-3-Clause */
/* Persistent reservations: state changes as SPC-4 section 5.12 has them. Storage: pr_store.c. */
#include "server/scsi/pr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"

bool pr_port_equal(const struct pr_port *a, const struct pr_port *b)
{
    return a->target_port == b->target_port && memcmp(a->isid, b->isid, sizeof(a->isid)) == 0 &&
           strcmp(a->name, b->name) == 0;
}

void pr_state_init(struct pr_state *state)
{
    *state = (struct pr_state){.holder = PR_NO_HOLDER};
}

void pr_state_clear(struct pr_state *state)
{
    free(state->list);
    pr_state_init(state);
}

int pr_state_copy(const struct pr_state *from, struct pr_state *to)
{
    AUTO_FREE struct pr_registration *list = NULL;
    if (from->count)
    {
        list = malloc(from->count * sizeof(*list));
        if (!list)
            return -ENOMEM;
        memcpy(list, from->list, from->count * sizeof(*list));
    }
    *to = *from;
    to->list = take_ptr(&list);
    return 0;
}

uint32_t pr_find(const struct pr_state *state, const struct pr_port *port)
{
    for (uint32_t i = 0; i < state->count; i++)
        if (pr_port_equal(&state->list[i].port, port))
            return i;
    return PR_NO_HOLDER;
}

bool pr_is_holder(const struct pr_state *state, uint32_t index)
{
    if (state->type == PR_NONE || index >= state->count)
        return false;
    return pr_type_all_registrants(state->type) || state->holder == index;
}

/* Removes one registration; the reservation's index follows. The caller saw to its release. */
static void pr_remove_at(struct pr_state *state, uint32_t index)
{
    memmove(&state->list[index], &state->list[index + 1],
            (state->count - index - 1) * sizeof(*state->list));
    state->count--;
    if (state->holder == PR_NO_HOLDER)
        return;
    INVARIANT(state->holder != index);
    if (state->holder > index)
        state->holder--;
}

static enum pr_result pr_add(struct pr_state *state, const struct pr_port *port, uint64_t key)
{
    if (state->count >= PR_REGISTRATIONS_MAX)
        return PR_NO_RESOURCES;
    struct pr_registration *list = realloc(state->list, (state->count + 1) * sizeof(*state->list));
    if (!list)
        return PR_NO_MEMORY;
    state->list = list;
    list[state->count++] = (struct pr_registration){.port = *port, .key = key};
    return PR_DONE;
}

static void pr_release_now(struct pr_state *state)
{
    state->type = PR_NONE;
    state->holder = PR_NO_HOLDER;
}

/* @port, perhaps none, is not told: it did it. */
static void pr_notify_all(struct pr_change *change, enum pr_notice notice)
{
    for (uint32_t i = 0; i < change->before->count; i++)
        if (!pr_port_equal(&change->before->list[i].port, change->port) && !change->notices[i])
            change->notices[i] = (uint8_t)notice;
}

/* The registration of who asks; its key must be the RESERVATION KEY. */
static enum pr_result pr_require(const struct pr_change *change, uint32_t *index)
{
    *index = pr_find(change->after, change->port);
    if (*index == PR_NO_HOLDER || change->after->list[*index].key != change->key)
        return PR_CONFLICT;
    return PR_DONE;
}

/*
 * Takes one registration away. Its reservation goes with it, except an "all registrants" one that
 * others still hold; who is registered for a "registrants only" one is told.
 */
static void pr_unregister(struct pr_change *change, uint32_t index)
{
    struct pr_state *state = change->after;
    bool all = pr_type_all_registrants(state->type);
    if (pr_is_holder(state, index) && (!all || state->count == 1))
    {
        if (pr_type_registrants(state->type))
            pr_notify_all(change, PR_NOTICE_RELEASED);
        pr_release_now(state);
    }
    pr_remove_at(state, index);
}

enum pr_result pr_register(struct pr_change *change, bool ignore_key, const struct pr_port *ports,
                           uint32_t port_count)
{
    struct pr_state *state = change->after;
    uint32_t own = pr_find(state, change->port);
    if (!ignore_key && change->key != (own == PR_NO_HOLDER ? 0 : state->list[own].key))
        return PR_CONFLICT;
    if (own == PR_NO_HOLDER && change->action_key == 0)
        return PR_DONE;
    for (uint32_t i = 0; i < port_count; i++)
    {
        uint32_t index = pr_find(state, &ports[i]);
        if (change->action_key == 0)
        {
            if (index != PR_NO_HOLDER)
                pr_unregister(change, index);
        }
        else if (index != PR_NO_HOLDER)
        {
            state->list[index].key = change->action_key;
        }
        else
        {
            enum pr_result result = pr_add(state, &ports[i], change->action_key);
            if (result != PR_DONE)
                return result;
        }
    }
    state->is_persistent = change->aptpl;
    state->generation++;
    return PR_DONE;
}

enum pr_result pr_reserve(struct pr_change *change)
{
    uint32_t own;
    enum pr_result result = pr_require(change, &own);
    if (result != PR_DONE)
        return result;
    struct pr_state *state = change->after;
    if (state->type != PR_NONE)
        return pr_is_holder(state, own) && state->type == change->type ? PR_DONE : PR_CONFLICT;
    state->type = change->type;
    state->holder = pr_type_all_registrants(change->type) ? PR_NO_HOLDER : own;
    return PR_DONE;
}

enum pr_result pr_release(struct pr_change *change)
{
    uint32_t own;
    enum pr_result result = pr_require(change, &own);
    if (result != PR_DONE)
        return result;
    struct pr_state *state = change->after;
    if (!pr_is_holder(state, own))
        return PR_DONE;
    if (state->type != change->type)
        return PR_INVALID_RELEASE;
    if (pr_type_registrants(state->type))
        pr_notify_all(change, PR_NOTICE_RELEASED);
    pr_release_now(state);
    return PR_DONE;
}

enum pr_result pr_clear(struct pr_change *change)
{
    uint32_t own;
    enum pr_result result = pr_require(change, &own);
    if (result != PR_DONE)
        return result;
    struct pr_state *state = change->after;
    pr_notify_all(change, PR_NOTICE_PREEMPTED);
    pr_release_now(state);
    state->count = 0;
    state->generation++;
    return PR_DONE;
}

/* Removes all others with @key (0: all others). Returns how many. */
static uint32_t pr_remove_matching(struct pr_change *change, uint64_t key)
{
    struct pr_state *state = change->after;
    uint32_t removed = 0;
    for (uint32_t i = state->count; i-- > 0;)
    {
        const struct pr_registration *registration = &state->list[i];
        if ((key && registration->key != key) || pr_port_equal(&registration->port, change->port))
            continue;
        uint32_t index_before = pr_find(change->before, &registration->port);
        change->notices[index_before] = PR_NOTICE_REGISTRATION_PREEMPTED;
        pr_remove_at(state, i);
        removed++;
    }
    return removed;
}

enum pr_result pr_preempt(struct pr_change *change)
{
    uint32_t own;
    enum pr_result result = pr_require(change, &own);
    if (result != PR_DONE)
        return result;
    struct pr_state *state = change->after;
    uint8_t old_type = state->type;
    bool all = pr_type_all_registrants(old_type);
    if (change->action_key == 0 && !all)
        return PR_INVALID_KEY;
    bool takes_reservation =
        old_type != PR_NONE &&
        (all ? change->action_key == 0 : state->list[state->holder].key == change->action_key);
    if (takes_reservation)
        pr_release_now(state);
    uint32_t removed = pr_remove_matching(change, change->action_key);
    if (takes_reservation)
    {
        state->type = change->type;
        state->holder =
            pr_type_all_registrants(change->type) ? PR_NO_HOLDER : pr_find(state, change->port);
        if (old_type != change->type)
            pr_notify_all(change, PR_NOTICE_RELEASED);
    }
    else if (removed == 0 && state->list[own].key != change->action_key)
    {
        return PR_CONFLICT; /* the key is nobody's */
    }
    state->generation++;
    return PR_DONE;
}

enum pr_result pr_evict(struct pr_change *change, const char *initiator)
{
    struct pr_state *state = change->after;
    uint32_t evicted = 0;
    for (uint32_t i = 0; i < state->count; i++)
        if (!initiator || strcasecmp(state->list[i].port.name, initiator) == 0)
        {
            change->notices[i] = initiator ? PR_NOTICE_REGISTRATION_PREEMPTED : PR_NOTICE_PREEMPTED;
            evicted++;
        }
    if (evicted == 0)
        return PR_CONFLICT;
    for (uint32_t i = state->count; i-- > 0;)
        if (change->notices[i] == PR_NOTICE_REGISTRATION_PREEMPTED ||
            change->notices[i] == PR_NOTICE_PREEMPTED)
            pr_unregister(change, i);
    state->is_persistent = state->is_persistent && state->count > 0;
    state->generation++;
    return PR_DONE;
}

enum pr_result pr_register_and_move(struct pr_change *change, const struct pr_port *to,
                                    bool unregister)
{
    uint32_t own;
    enum pr_result result = pr_require(change, &own);
    if (result != PR_DONE)
        return result;
    struct pr_state *state = change->after;
    if (!pr_is_holder(state, own) || pr_type_all_registrants(state->type))
        return PR_CONFLICT;
    if (change->action_key == 0)
        return PR_INVALID_KEY;
    if (pr_port_equal(to, change->port))
        return PR_INVALID_PORT;
    uint32_t index = pr_find(state, to);
    if (index == PR_NO_HOLDER)
    {
        result = pr_add(state, to, change->action_key);
        if (result != PR_DONE)
            return result;
        index = state->count - 1;
    }
    state->list[index].key = change->action_key;
    state->holder = index;
    if (unregister)
        pr_remove_at(state, own);
    state->is_persistent = change->aptpl;
    state->generation++;
    return PR_DONE;
}
