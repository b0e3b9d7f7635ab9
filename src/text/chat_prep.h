/* From the messages of a request to the messages that are rendered.
 *
 * A request has one message per event; the prompt has turns. So tool results and neighbouring user
 * messages are merged into one user message made of blocks, results are put into the order of the
 * calls they answer, and, where reasoning of past turns is dropped, so are the messages that only
 * mattered to it. Nothing is copied: the result points into the request's JSON. */
#ifndef HD_TEXT_CHAT_PREP_H
#define HD_TEXT_CHAT_PREP_H

#include "base/json.h"
#include "text/chat_rules.h"

typedef enum hd_chat_role {
    HD_ROLE_SYSTEM,
    HD_ROLE_USER, /* tool results become user messages */
    HD_ROLE_ASSISTANT,
    HD_ROLE_DEVELOPER,
    HD_ROLE_REMINDER,
    HD_ROLE_SEARCH, /* direct_search_results: not dropped, and not renderable */
    HD_ROLE_UNKNOWN
} hd_chat_role;

/** A piece of a user message. */
typedef struct hd_chat_block hd_chat_block;
struct hd_chat_block {
    hd_chat_block *next;
    const hd_json *content; /* string, list, one part (object), or NULL for nothing */
    hd_str call_id;         /* of a result */
    bool is_result;         /* printed inside <tool_result> */
};

typedef struct hd_chat_message {
    hd_chat_role role;
    const hd_json *src; /* where the other fields are read; of merged messages the first */
    hd_chat_block *first, *last;
    size_t n_results;
    const hd_json *tools; /* not empty, or NULL */
    const hd_json *task;  /* truthy, or NULL */
} hd_chat_message;

typedef struct hd_chat_list {
    hd_chat_message *items; /* [n] */
    size_t n;
} hd_chat_list;

/** Merge `messages` (an array).
 *  @param tools taken for the first message's; may be NULL. */
hd_status hd_chat_merge(const hd_json *messages, const hd_json *tools, const hd_chat_rules *rules,
                        hd_arena *arena, hd_chat_list *out, hd_err *err) HD_WARN_UNUSED;

/** Put the results of each user message into the order of the calls before it. */
hd_status hd_chat_sort_results(hd_chat_list *list, hd_arena *arena, hd_err *err) HD_WARN_UNUSED;

/** Index of the last message that counts as the user's, -1 if none. */
ptrdiff_t hd_chat_last_user(const hd_chat_list *list, const hd_chat_rules *rules);

/** Remove what vanishes together with old reasoning: developer messages and those of unknown roles
 *  before the last user message. */
void hd_chat_drop(hd_chat_list *list, const hd_chat_rules *rules);

/** Whether this message is a user's, or one that acts like it (index = its place in the list). */
bool hd_chat_is_turn(const hd_chat_message *m, size_t index, const hd_chat_rules *rules);

/** What a message says: `content_blocks` if the format knows them, else `content`; NULL if none. */
const hd_json *hd_chat_content(const hd_json *message, const hd_chat_rules *rules);

/** What Python's `if value` says. */
bool hd_chat_truthy(const hd_json *value);

#endif
