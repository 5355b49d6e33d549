/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The naive engine makes no promises and has no quotas: what sim_promise.c, sim_books.c and
 * oracle_quota.c would ask of it is not asked, and no run has them among its operations.
 */
#include "tests/sim/sim.h"

const struct sim_op sim_promise_ops[] = {{NULL, 0, false}};
const size_t sim_promise_op_count = 0;

int sim_end_promises(struct sim *sim)
{
    (void)sim;
    return 0;
}

int sim_make_first_promise(struct sim *sim)
{
    (void)sim;
    return SIM_NOTHING;
}

int sim_first_promise(struct sim *sim, uint64_t number)
{
    (void)sim, (void)number;
    return SIM_NOTHING;
}

void sim_prove_promises(struct sim *sim)
{
    (void)sim;
}

struct sim_room sim_room(struct sim *sim)
{
    (void)sim;
    return (struct sim_room){0};
}

void sim_check_whole(struct sim *sim)
{
    (void)sim;
}

bool sim_fits_books(struct sim *sim, struct oracle *oracle, struct pool *pool, bool adopt,
                    struct oracle_verdict *verdict)
{
    (void)sim, (void)oracle, (void)pool, (void)adopt, (void)verdict;
    return true;
}

bool oracle_fits_quotas(const struct oracle *oracle, struct pool *pool,
                        struct oracle_verdict *verdict)
{
    (void)oracle, (void)pool, (void)verdict;
    return true;
}
