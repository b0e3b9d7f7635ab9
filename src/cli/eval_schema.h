/* The part of JSON Schema that evaluations check, and when two JSON values are the same.
 *
 * A schema is used as it was parsed. hd_schema_check looks at it once, when the file that holds it
 * is read, and refuses what could not be checked later: a keyword that constrains and that we do
 * not know must not pass in silence. After that hd_schema_obeys cannot fail.
 *
 * Known: type (a name or a list of names), properties, required, additionalProperties, items, enum,
 * const, minimum, maximum, minItems, maxItems, minLength, maxLength, and the schemas true and
 * false. Without effect: title, description, default, examples, deprecated, $schema, $id, $comment.
 */
#ifndef HD_CLI_EVAL_SCHEMA_H
#define HD_CLI_EVAL_SCHEMA_H

#include "base/json.h"

/** Whether `schema` is one that can be checked.
 *  @return HD_E_FORMAT (broken) or HD_E_UNSUPPORTED (a keyword that is not known), with the path.
 */
hd_status hd_schema_check(const hd_json *schema, hd_err *err) HD_WARN_UNUSED;

/** Whether `value` is what the schema asks for. @param schema one that hd_schema_check let pass. */
bool hd_schema_obeys(const hd_json *schema, const hd_json *value);

/** Equal as JSON values: the order of members does not count, numbers compare by value (1 is 1.0),
 *  kinds differ ("1" is not 1). Both without duplicate keys. */
bool hd_json_same(const hd_json *a, const hd_json *b);

/** Fail with `code`: the text is the node's name in quotes, then `what`; the path is set. */
hd_status hd_json_refuse(const hd_json *node, hd_status code, const char *what, hd_err *err);

#endif
