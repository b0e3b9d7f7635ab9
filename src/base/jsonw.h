/* Writing JSON as Python's json.dumps(ensure_ascii=False) does.
 *
 * Appends to an hd_buf. Chat prompts hold tool schemas in exactly this form, so every byte counts:
 * separators ", " and ": ", insertion order, non-ASCII raw, only \" \\ \n \r \t \b \f and \u00xx
 * escaped, floats as Python's repr. */
#ifndef HD_BASE_JSONW_H
#define HD_BASE_JSONW_H

#include "base/buf.h"
#include "base/json.h"

/** "s" with quotes and escapes. */
void hd_jsonw_str(hd_buf *out, hd_str s);
/** The escapes alone, without quotes: for a string that is written in pieces. */
void hd_jsonw_str_part(hd_buf *out, hd_str s);
/** A number token as Python prints it after parsing: integers keep their digits (-0 becomes 0),
 *  floats become repr(float(text)); NaN, Infinity and overflow print as Python does. */
void hd_jsonw_number(hd_buf *out, hd_str text);
/** repr(x): shortest digits that round-trip, exponent form iff < 1e-4 or >= 1e16. */
void hd_jsonw_f64(hd_buf *out, double x);
/** A whole tree, one line. */
void hd_jsonw_value(hd_buf *out, const hd_json *value);

/** How numbers are spelled. DeepSeek's service reads integers beyond 64 bits as floats (-0 too);
 *  and its V4 encoder writes small floats as JavaScript does: 0.00001, 1e-7. */
typedef enum hd_jsonw_numbers {
    HD_NUMBERS_PYTHON,
    HD_NUMBERS_SERVICE,
    HD_NUMBERS_SERVICE_V4
} hd_jsonw_numbers;

/** As hd_jsonw_value, with numbers in a given spelling. */
void hd_jsonw_value_as(hd_buf *out, const hd_json *value, hd_jsonw_numbers numbers);

#endif
