/* Arguments of calls, for clients that want them in another form.
 *
 * A custom tool takes raw text. The model sees a function with one string parameter, so its text
 * comes as a JSON object with one member, in pieces: hd_unwrap takes the string out, byte by byte.
 * And where arguments must be an object (Messages), hd_unwrap_object makes one of arguments that
 * were cut off. */
#ifndef HD_SERVER_UNWRAP_H
#define HD_SERVER_UNWRAP_H

#include <stdint.h>

#include "base/buf.h"

typedef enum hd_unwrap_state {
    HD_UNWRAP_NAME,   /* before the colon */
    HD_UNWRAP_VALUE,  /* behind it */
    HD_UNWRAP_STRING, /* in the string */
    HD_UNWRAP_ESCAPE,
    HD_UNWRAP_HEX,
    HD_UNWRAP_OTHER, /* in a value that is no string: copied */
    HD_UNWRAP_DONE
} hd_unwrap_state;

/** Zeros are the beginning of an object. */
typedef struct hd_unwrap {
    hd_unwrap_state state;
    bool is_in_string, is_escaped; /* NAME, OTHER */
    int32_t depth;                 /* OTHER: open brackets */
    int32_t n_hex;
    uint32_t code, high; /* of \u; high: a first half that waits for the second, or 0 */
} hd_unwrap;

/** Take some of the arguments; text of the first member goes to `out`. Splits anywhere. */
void hd_unwrap_push(hd_unwrap *u, hd_str args, hd_buf *out);
/** No more will come. */
void hd_unwrap_finish(hd_unwrap *u, hd_buf *out);

/** The arguments as an object, without white space: what they are, or, when they were cut off, the
 *  members that are whole; what is no JSON at all becomes {"arguments": "…"}. */
void hd_unwrap_object(hd_str args, hd_buf *out);

/** Well-formed JSON without the white space between its tokens: fits a line. */
void hd_unwrap_compact(hd_str json, hd_buf *out);

#endif
