/* Stop strings in a stream of text.
 *
 * The string that is complete first ends the text before it; of several that are complete at the
 * same byte, the longest. Text that may be the start of one is held back, nothing else. */
#ifndef HD_TEXT_STOPS_H
#define HD_TEXT_STOPS_H

#include <stdint.h>

#include "base/buf.h"

typedef struct hd_stops {
    hd_str *items; /* [n], not empty; owned with their text */
    size_t n;
    bool is_off;    /* text passes through: an answer may not end yet */
    size_t i_found; /* the one that ended the stream; n: none did */
    hd_buf held;    /* the end of the text so far */
} hd_stops;

/** @param list [n] NUL-terminated, copied. @return HD_E_ARG for an empty one; HD_E_NOMEM. */
hd_status hd_stops_init(hd_stops *s, const char *const *list, size_t n, hd_err *err) HD_WARN_UNUSED;
/** Also after a failed init, and for a zeroed struct. */
void hd_stops_deinit(hd_stops *s);

/** Take `text`, append to `out` what may be shown; true when a stop string was found, which ends
 *  the stream. Memory failures show in `held` and `out`. */
bool hd_stops_feed(hd_stops *s, hd_str text, hd_buf *out);

/** Append what is held back to `out`: the text goes on elsewhere, or ends. */
void hd_stops_flush(hd_stops *s, hd_buf *out);

#endif
