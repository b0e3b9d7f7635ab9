/* DSML, the markup of tools in prompts: the block that offers tools, and the calls of past turns.
 *
 * What models write back in the same markup is read by outparse.h. Values in the markup are raw
 * text, not escaped: a parameter whose value contains a closing tag cannot be told from one that
 * ends there. That is the format's, and the reason why tags are single tokens. */
#ifndef HD_TEXT_DSML_H
#define HD_TEXT_DSML_H

#include "base/json.h"
#include "text/chat_rules.h"
#include "text/prompt.h"

/** The tools block: `tools` is an array of {"function": {...}}.
 *  @return HD_E_FORMAT with the path of what is wrong. */
hd_status hd_dsml_add_tools(hd_prompt *out, const hd_chat_rules *rules, const hd_json *tools,
                            hd_err *err) HD_WARN_UNUSED;

/** The calls block: `calls` is an array of {"function": {"name", "arguments"}}, not empty.
 *  Arguments that are no JSON object become one parameter named `arguments`. */
hd_status hd_dsml_add_calls(hd_prompt *out, const hd_chat_rules *rules, const hd_json *calls,
                            hd_err *err) HD_WARN_UNUSED;

#endif
