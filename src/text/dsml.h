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

/* ---- as DeepSeek's service writes it ---- */

/** The tools block around schemas that are written already.
 *  @param lines one JSON object and its line feed for each tool. */
void hd_dsml_add_tool_lines(hd_prompt *out, const hd_chat_rules *rules, hd_str lines);

/** The tag that opens a calls block, and its line feed; the tag that closes one. */
void hd_dsml_open_calls(hd_prompt *out, const hd_chat_rules *rules);
void hd_dsml_close_calls(hd_prompt *out, const hd_chat_rules *rules);

/** One call. `arguments` that are no JSON object, or hold what has no value (NaN, 1e400), or more
 *  than 127 levels, become one parameter of that name with the text as it is. */
hd_status hd_dsml_add_text_call(hd_prompt *out, const hd_chat_rules *rules, hd_str name,
                                hd_str arguments, hd_err *err) HD_WARN_UNUSED;

#endif
