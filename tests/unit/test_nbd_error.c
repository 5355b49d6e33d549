/* SPDX-License-Identifier: BSD-3-Clause */
/* Every error of the engine has an NBD error that nbdkit passes on as it is. */
#include "plugin/nbd_error.h"

#include <errno.h>

#include "lun/base/checked.h"
#include "tests/lib/cunit_main.h"

/* nbdkit turns everything else into EINVAL. */
static const int passed_on[] = {EPERM, EIO, ENOMEM, EINVAL, ENOSPC, ENOTSUP, ESHUTDOWN, EROFS};

static bool is_passed_on(int nbd_errno)
{
    for (size_t i = 0; i < ARRAY_SIZE(passed_on); i++)
        if (passed_on[i] == nbd_errno)
            return true;
    return false;
}

static void test_every_error(void)
{
    /* lun/base/err.h, but for EEXIST and EILSEQ, which no request of NBD's leads to. */
    static const int engine[] = {ENOMEM, ENOSPC,  EDQUOT,    EIO,       EBADMSG,
                                 EROFS,  ENOENT,  EBUSY,     EINVAL,    EAGAIN,
                                 ESTALE, ENOTSUP, ECANCELED, ETIMEDOUT, EPERM};
    unsigned seen = 0;
    for (size_t i = 0; i < ARRAY_SIZE(engine); i++)
    {
        const struct nbd_error *error = nbd_error_of(-engine[i]);
        CU_ASSERT_EQUAL(error->engine_errno, engine[i]);
        CU_ASSERT(is_passed_on(error->nbd_errno));
        CU_ASSERT_NOT_EQUAL(error->text[0], '\0');
        CU_ASSERT_FATAL(nbd_error_index(error) < NBD_ERROR_KINDS_MAX);
        CU_ASSERT_EQUAL(seen & 1u << nbd_error_index(error), 0);
        seen |= 1u << nbd_error_index(error);
    }
}

static void test_what_clients_act_on(void)
{
    static const struct
    {
        int engine, nbd;
    } cases[] = {
        {ENOSPC, ENOSPC}, {EDQUOT, ENOSPC},   {ESTALE, ESHUTDOWN}, {EBADMSG, EIO},
        {EROFS, EROFS},   {ENOTSUP, ENOTSUP}, {EINVAL, EINVAL},    {ENOMEM, ENOMEM},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        CU_ASSERT_EQUAL(nbd_error_of(-cases[i].engine)->nbd_errno, cases[i].nbd);
}

static void test_unknown(void)
{
    CU_ASSERT_EQUAL(nbd_error_of(-EXDEV)->nbd_errno, EIO);
    CU_ASSERT_EQUAL(nbd_error_of(-100000)->nbd_errno, EIO);
}

static CU_TestInfo nbd_error_tests[] = {
    {"every error of the engine has a row", test_every_error},
    {"errors that clients act on", test_what_clients_act_on},
    {"an error that nobody knows is an I/O error", test_unknown},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"nbd_error", NULL, NULL, NULL, NULL, nbd_error_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
