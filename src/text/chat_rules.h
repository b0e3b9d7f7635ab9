/* What differs between the chat formats of the V4 family, as data.
 *
 * One renderer and one parser serve all releases; a release is one of these records. Texts are
 * exactly what the models were trained on: they are data of the format, not prose of ours. */
#ifndef HD_TEXT_CHAT_RULES_H
#define HD_TEXT_CHAT_RULES_H

#include <stdbool.h>

#include "base/jsonw.h"
#include "base/str.h"

/* Control tokens by spelling; ids come from the tokenizer. U+FF5C and U+2581 inside. */
#define HD_TOKEN_BOS       "<｜begin▁of▁sentence｜>"
#define HD_TOKEN_EOS       "<｜end▁of▁sentence｜>"
#define HD_TOKEN_SYSTEM    "<｜System｜>"
#define HD_TOKEN_USER      "<｜User｜>"
#define HD_TOKEN_ASSISTANT "<｜Assistant｜>"
#define HD_TOKEN_REMINDER  "<｜latest_reminder｜>"
#define HD_TOKEN_THINK     "<think>"
#define HD_TOKEN_END_THINK "</think>"
#define HD_TOKEN_DSML      "｜DSML｜"
#define HD_TOKEN_FIM_BEGIN "<｜fim▁begin｜>"
#define HD_TOKEN_FIM_HOLE  "<｜fim▁hole｜>"
#define HD_TOKEN_FIM_END   "<｜fim▁end｜>"
#define HD_TOKEN_IMAGE     "<｜deepseek_image｜>"

typedef struct hd_chat_effort {
    const char *name;
    const char *prefix; /* "" for none */
} hd_chat_effort;

typedef struct hd_chat_rules {
    const char *version; /* "v4", "v4.1" */
    const char *release; /* "april", "0731"; NULL: the version has one set of rules */

    /* Tag names, written behind HD_TOKEN_DSML. */
    const char *calls, *invoke, *parameter;

    const hd_chat_effort *efforts;       /* ends with name NULL */
    const char *default_prefix;          /* when no effort is given */
    const char *scale_head, *scale_tail; /* around an effort 1..100; NULL: names only */
    bool falsy_effort_is_default;        /* "", false and 0 too: `not effort` in Python */

    bool has_system_token;    /* <｜System｜>, and later system messages act as turns */
    bool has_developer;       /* the role `developer` */
    bool has_content_blocks;  /* `content_blocks`; merged user messages keep the first's fields */
    bool names_unknown_parts; /* [Unsupported TYPE] in all messages; else only in users' */
    bool has_images;          /* image parts become HD_TOKEN_IMAGE */
    bool has_namespaces;      /* tools and calls may belong to one: ns::name */
    bool reads_object_args;   /* call arguments may be an object, or JSON encoded twice */

    /* What DeepSeek's service prints otherwise than the published encoder. */
    hd_jsonw_numbers service_numbers;
    bool service_skips_empty;      /* empty texts among neighbouring user messages */
    bool service_skips_line;       /* the empty line in a call without parameters */
    const char *service_json_text; /* for the response format json_object */
} hd_chat_rules;

/** The rules of a version ("v4", "v4.1"; empty: "v4") and release ("april", "0731"; empty: the
 *  newest). NULL if there is no such pair. */
const hd_chat_rules *hd_chat_rules_find(hd_str version, hd_str release);

/** Template of the tools block up to the schemas, and behind them. Placeholders: {C} {I} {P} the
 *  tag names with the DSML token, {T} and {E} the tokens that open and close thinking. */
extern const char hd_chat_tools_head[];
extern const char hd_chat_tools_tail[];
/** In front of the JSON of a response format. */
extern const char hd_chat_format_head[];

#endif
