/* SPDX-License-Identifier: BSD-3-Clause */
/* What clones, snapshots, space and quotas promise, on the engine and a simulated disk. */
#include "tests/features/features.h"

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"clones", NULL, NULL, NULL, NULL, clone_feature_tests},
        {"snapshots", NULL, NULL, NULL, NULL, snapshot_feature_tests},
        {"space and quotas", NULL, NULL, NULL, NULL, space_feature_tests},
        {"security", NULL, NULL, NULL, NULL, security_feature_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
