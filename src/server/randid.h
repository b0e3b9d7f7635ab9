/* Ids that nobody can guess. */
#ifndef HD_SERVER_RANDID_H
#define HD_SERVER_RANDID_H

#include <stddef.h>

/** n random characters of 0-9A-Za-z (log2(62) bits each), not terminated. Any thread. Ends the
 *  program when the kernel has no random numbers. */
void hd_randid(char *out, size_t n);

#endif
