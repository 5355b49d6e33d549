/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What clang-tidy has to be told; clang_tidy.py puts this before every file but err.c.
 *
 * The analyzer sees only declarations of other files' functions, so it does not know that
 * reason_set() returns its second argument, nor that a fatal assertion of CUnit does not return
 * when it fails.
 */
#ifndef TESTS_LINT_ANALYZER_H
#define TESTS_LINT_ANALYZER_H

#include <CUnit/CUnit.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/err.h"

void analyzer_reason(struct reason *why, const char *format, ...) PRINTF_LIKE(2, 3);

#define reason_set(why, err, ...) (analyzer_reason((why), __VA_ARGS__), (err))

#undef CU_ASSERT_FATAL
#undef CU_ASSERT_TRUE_FATAL
#undef CU_ASSERT_EQUAL_FATAL
#undef CU_ASSERT_PTR_NOT_NULL_FATAL
#undef CU_ASSERT_PTR_NOT_EQUAL_FATAL
#define CU_ASSERT_FATAL(value) ((value) ? (void)0 : abort())
#define CU_ASSERT_TRUE_FATAL(value) CU_ASSERT_FATAL(value)
#define CU_ASSERT_EQUAL_FATAL(actual, expected) CU_ASSERT_FATAL((actual) == (expected))
#define CU_ASSERT_PTR_NOT_NULL_FATAL(value) CU_ASSERT_FATAL((value) != NULL)
#define CU_ASSERT_PTR_NOT_EQUAL_FATAL(actual, expected) CU_ASSERT_FATAL((actual) != (expected))

#endif
