/* A scratch directory for a test program, and files in it. */
#ifndef HD_TEST_TMPDIR_H
#define HD_TEST_TMPDIR_H

#include <stddef.h>

#include "base/str.h"

/** A new empty directory below TMPDIR (or /tmp); it and its contents go when the program ends.
 *  The pointer stays valid until then. Aborts when it cannot be made. */
const char *test_tmpdir(void);

/** dir + "/" + name, in one of eight static buffers used in turn. */
const char *test_path(const char *dir, const char *name);

/** Write, replace or read a whole file; abort when that fails. */
void test_write(const char *path, hd_str data);
/** The bytes of a file, in a buffer that the next call reuses. */
hd_str test_read(const char *path);

#endif
