/* The chat formats as data: see chat_rules.h. */
#include "text/chat_rules.h"

#include "base/compiler.h"

#define EFFORT_THOROUGH                                                                            \
    "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n"                            \
    "You MUST be very thorough in your thinking and comprehensively decompose the problem to "     \
    "resolve the root cause, rigorously stress-testing your logic against all potential paths, "   \
    "edge cases, and adversarial scenarios.\n"                                                     \
    "Explicitly write out your entire deliberation process, documenting every intermediate step, " \
    "considered alternative, and rejected hypothesis to ensure absolutely no assumption is left "  \
    "unchecked.\n\n"

#define EFFORT_BEYOND                                                                              \
    "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n"             \
    "You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: "      \
    "exhaustively decompose the problem into its most fundamental components, trace every causal " \
    "chain to its root, and resolve the underlying cause rather than any surface symptom.\n"       \
    "Do not stop reasoning until you have independently verified the solution from multiple "      \
    "angles and are certain that no assumption remains unchecked and no error remains "            \
    "undiscovered.\n\n"

#define SCALE_HEAD "Reasoning Effort: "
#define SCALE_TAIL " (range 1-100, the higher the value, the more thorough the reasoning)\n\n"

#define FORMAT_HEAD                                                                                \
    "## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n"
#define V4_JSON_TEXT                                                                               \
    "You are a helpful assistant designed to output JSON.\n## Response Format:\n\n"                \
    "Reply with JSON object ONLY."

static const hd_chat_effort april_efforts[] = {{"high", ""}, {"max", EFFORT_THOROUGH}, {0}};
static const hd_chat_effort july_efforts[] = {
    {"low", ""}, {"high", EFFORT_THOROUGH}, {"max", EFFORT_BEYOND}, {0}};
static const hd_chat_effort v41_efforts[] = {{"low", SCALE_HEAD "50" SCALE_TAIL},
                                             {"high", SCALE_HEAD "75" SCALE_TAIL},
                                             {"max", SCALE_HEAD "100" SCALE_TAIL},
                                             {0}};

/* The newest release of a version comes first. */
static const hd_chat_rules all_rules[] = {
    {.version = "v4",
     .release = "0731",
     .calls = "tool_calls",
     .invoke = "invoke",
     .parameter = "parameter",
     .efforts = july_efforts,
     .default_prefix = "",
     .falsy_effort_is_default = true,
     .has_developer = true,
     .names_unknown_parts = true,
     .service_numbers = HD_NUMBERS_SERVICE_V4,
     .service_skips_empty = true,
     .service_skips_line = true,
     .service_json_text = V4_JSON_TEXT},
    {.version = "v4",
     .release = "april",
     .calls = "tool_calls",
     .invoke = "invoke",
     .parameter = "parameter",
     .efforts = april_efforts,
     .default_prefix = "",
     .has_developer = true,
     .names_unknown_parts = true,
     .service_numbers = HD_NUMBERS_SERVICE_V4,
     .service_skips_empty = true,
     .service_skips_line = true,
     .service_json_text = V4_JSON_TEXT},
    {.version = "v4.1",
     .calls = " calls",
     .invoke = " invoke",
     .parameter = " parameter",
     .efforts = v41_efforts,
     .default_prefix = SCALE_HEAD "75" SCALE_TAIL,
     .scale_head = SCALE_HEAD,
     .scale_tail = SCALE_TAIL,
     .has_system_token = true,
     .has_content_blocks = true,
     .has_images = true,
     .has_namespaces = true,
     .reads_object_args = true,
     .service_numbers = HD_NUMBERS_SERVICE,
     .service_json_text = FORMAT_HEAD "{\"type\": \"json_object\"}"},
};

const hd_chat_rules *hd_chat_rules_find(hd_str version, hd_str release)
{
    if (version.len == 0) version = HD_STR("v4");
    for (size_t i = 0; i < HD_COUNT(all_rules); i++) {
        const hd_chat_rules *r = &all_rules[i];
        if (!hd_str_eqz(version, r->version)) continue;
        if (release.len == 0 || !r->release || hd_str_eqz(release, r->release)) return r;
    }
    return NULL;
}

const char hd_chat_tools_head[] =
    "## Tools\n\n"
    "You have access to a set of tools to help answer the user's question. You can invoke tools "
    "by writing a \"<{C}>\" block like the following:\n\n"
    "<{C}>\n"
    "<{I} name=\"$TOOL_NAME\">\n"
    "<{P} name=\"$PARAMETER_NAME\" string=\"true|false\">$PARAMETER_VALUE</{P}>\n"
    "...\n"
    "</{I}>\n"
    "<{I} name=\"$TOOL_NAME2\">\n"
    "...\n"
    "</{I}>\n"
    "</{C}>\n\n"
    "String parameters should be specified as is and set `string=\"true\"`. For all other types "
    "(numbers, booleans, arrays, objects), pass the value in JSON format and set "
    "`string=\"false\"`.\n\n"
    "If thinking_mode is enabled (triggered by {T}), you MUST output your complete reasoning "
    "inside {T}...{E} BEFORE any tool calls or final response.\n\n"
    "Otherwise, output directly after {E} with tool calls or final response.\n\n"
    "### Available Tool Schemas\n\n";

const char hd_chat_tools_tail[] = "\nYou MUST strictly follow the above defined tool name and "
                                  "parameter schemas to invoke tool calls.\n";

const char hd_chat_format_head[] = FORMAT_HEAD;
