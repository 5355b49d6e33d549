/* SPDX-License-Identifier: BSD-3-Clause */
/* In place of clients_policy.c where the engine is tried alone. */
#include "tests/model/clients.h"

void cl_policy_open(struct cl *cl)
{
    cl->policy = NULL;
}

void cl_policy_close(struct cl *cl)
{
    cl->policy = NULL;
}

void cl_check_policy(struct cl_client *client, int v)
{
    (void)client;
    (void)v;
}

void cl_step_policy(struct cl_client *client)
{
    (void)client;
}

void cl_policy_work(struct cl_client *client)
{
    (void)client;
}
