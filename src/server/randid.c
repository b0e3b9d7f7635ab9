#include "server/randid.h"

#include <stdint.h>
#include <sys/random.h>

#include "base/status.h"

void hd_randid(char *out, size_t n)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint8_t bytes[64];
    size_t n_bytes = 0;
    for (size_t i = 0; i < n;) {
        if (n_bytes == 0) {
            /* Up to 256 bytes come whole, and no signal interrupts. */
            HD_ASSERT(getrandom(bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
            n_bytes = sizeof bytes;
        }
        uint8_t b = bytes[--n_bytes];
        if (b < 4 * 62) out[i++] = digits[b % 62]; /* the rest would favour some digits */
    }
}
