/* Inside constrain: how front ends (schema, regex, EBNF, tools) describe rules.
 *
 * A rule is drawn as a nondeterministic automaton between two nodes and then made deterministic by
 * hd_cc_define. Drawing functions take the node to start from and return the node where they end,
 * so that a sequence is a chain of calls. The first failure (a limit, the time, memory) sticks in
 * `status`; drawing goes on without effect, and the caller checks once. */
#ifndef HD_TEXT_CONSTRAIN_BUILD_H
#define HD_TEXT_CONSTRAIN_BUILD_H

#include "base/json.h"
#include "text/constrain.h"
#include "text/constrain_auto.h"

typedef enum hd_edge_kind {
    HD_EDGE_EMPTY,
    HD_EDGE_BYTES,
    HD_EDGE_CALL,
    HD_EDGE_TOKEN
} hd_edge_kind;

typedef struct hd_nfa_edge {
    uint32_t to, next; /* next edge of the same node */
    uint32_t what;     /* rule, or token id */
    uint16_t act, spec;
    uint8_t kind, lo, hi;
} hd_nfa_edge;

/* A rule to call, and the limits to call it with. */
typedef struct hd_use {
    uint32_t rule;
    uint16_t spec;
} hd_use;

/* Token ids that grammars name; -1: not in the vocabulary. */
typedef struct hd_cc_ids {
    int32_t eos, end_think, dsml;
} hd_cc_ids;

/* Rules that every grammar begins with; their states have the same numbers in all grammars of a
 * vocabulary, which therefore share the masks of these states. */
typedef struct hd_cc_rules {
    uint32_t space;    /* one blank, or a line feed and up to 32 blanks and tabs */
    uint32_t string;   /* a JSON string; counts characters */
    uint32_t key;      /* the rest of a member name, from behind its opening quote */
    uint32_t key_body; /* state: inside such a name, between characters */
    uint32_t number, integer;
    uint32_t value, object, array; /* any */
    uint32_t nonstring;            /* any value but strings */
    uint32_t raw;       /* text of a string parameter, and "</" DSML; counts characters */
    uint32_t name;      /* rest of a DSML name and its closing quote */
    uint32_t name_body; /* state: inside such a name */
    uint32_t until_eos, until_dsml, until_think; /* any text, and the token that ends it */
    uint32_t n_states, n_rules;
    uint16_t space_spec;
} hd_cc_rules;

typedef struct hd_cc {
    hd_auto a;
    hd_cc_rules rules;
    hd_cc_ids ids;
    uint32_t *node; /* first edge of each */
    hd_nfa_edge *edge;
    uint32_t n_nodes, n_edges, cap_nodes, cap_edges;
    int64_t deadline_ns;
    const hd_json *place; /* what is being compiled, for errors; NULL: unknown */
    hd_arena *arena;      /* scratch of this compilation */
    hd_buf *warnings;     /* or NULL */
    struct hd_cc_schema *schemas;
    hd_status status;
    hd_err *err;
} hd_cc;

void hd_cc_init(hd_cc *cc, hd_cc_ids ids, hd_arena *arena, unsigned limit_ms, hd_err *err);
void hd_cc_deinit(hd_cc *cc);

/** Remember the first failure, with the place. @return its status. */
hd_status hd_cc_fail(hd_cc *cc, hd_status code, const char *fmt, ...) HD_PRINTF(3, 4);
/** Whether nothing has failed, the clock included. */
bool hd_cc_ok(hd_cc *cc);
/** One line of warnings: "path: text". */
void hd_cc_warn(hd_cc *cc, const char *fmt, ...) HD_PRINTF(2, 3);
/** "'a.b[3]'" or "the root". */
void hd_cc_place(const hd_cc *cc, char *out, size_t out_size);

/* ---- drawing ---- */

uint32_t hd_cc_node(hd_cc *cc);
void hd_cc_empty(hd_cc *cc, uint32_t from, uint32_t to);
void hd_cc_bytes(hd_cc *cc, uint32_t from, uint32_t to, uint8_t lo, uint8_t hi, uint16_t act);
void hd_cc_call_to(hd_cc *cc, uint32_t from, uint32_t to, hd_use use);
void hd_cc_token_to(hd_cc *cc, uint32_t from, uint32_t to, int32_t id, uint16_t act);
uint32_t hd_cc_byte(hd_cc *cc, uint32_t from, uint8_t c, uint16_t act);
uint32_t hd_cc_text(hd_cc *cc, uint32_t from, hd_str text);
uint32_t hd_cc_textz(hd_cc *cc, uint32_t from, const char *text);
uint32_t hd_cc_call(hd_cc *cc, uint32_t from, hd_use use);
uint32_t hd_cc_token(hd_cc *cc, uint32_t from, int32_t id, uint16_t act);
/** Optional JSON white space. */
uint32_t hd_cc_space(hd_cc *cc, uint32_t from);

/** The code points lo .. hi (surrogates left out) as UTF-8; `act` on the first byte. */
void hd_cc_points(hd_cc *cc, uint32_t from, uint32_t to, uint32_t lo, uint32_t hi, uint16_t act);
/** The same as they stand in a JSON string: the shortest escapes where one is needed. */
void hd_cc_json_points(hd_cc *cc, uint32_t from, uint32_t to, uint32_t lo, uint32_t hi);
/** Text as json.dumps writes it between quotes. */
uint32_t hd_cc_json_text(hd_cc *cc, uint32_t from, hd_str text);

/* ---- rules ---- */

uint16_t hd_cc_act(hd_cc *cc, hd_act_kind kind, hd_bits bits);
uint16_t hd_cc_spec(hd_cc *cc, const hd_spec *spec);
/** Rule `rule` must be called under the spec added last. */
void hd_cc_need(hd_cc *cc, uint32_t rule);
/** Number of a rule that is defined later. */
uint32_t hd_cc_declare(hd_cc *cc);
/** Give rule `rule` what was drawn between two nodes, and forget the drawing. */
void hd_cc_define(hd_cc *cc, uint32_t rule, uint32_t start, uint32_t end);

/** Room for one more element of a growing table; false once `most` is reached. */
bool hd_cc_room(hd_cc *cc, void *table, uint32_t *cap, uint32_t n, size_t size, uint32_t most);

/** Draw and define the rules that all grammars begin with. */
void hd_cc_common(hd_cc *cc);

/* ---- front ends: each returns the rule of the whole ---- */

typedef struct hd_cc_range {
    hd_str lo, hi; /* JSON numbers; empty: none */
    bool lo_open, hi_open;
} hd_cc_range;

/** An integer, or a number without exponent, within bounds. @return the end node. */
uint32_t hd_cc_integer(hd_cc *cc, uint32_t from, const hd_cc_range *range);
uint32_t hd_cc_decimal(hd_cc *cc, uint32_t from, const hd_cc_range *range);

typedef enum hd_cc_coding { HD_CODING_RAW, HD_CODING_JSON } hd_cc_coding;

/** A regular expression. @param is_whole it must match all of the text; else it is searched for,
 *  as JSON Schema does. @return the end node. */
uint32_t hd_cc_regex(hd_cc *cc, uint32_t from, hd_str pattern, hd_cc_coding coding, bool is_whole);

/** Define `rule` as what of rule `pattern`, which was defined last, has length->lo .. hi
 * characters. */
void hd_cc_bound_length(hd_cc *cc, uint32_t rule, uint32_t pattern, const hd_spec *length,
                        hd_cc_coding coding);

uint32_t hd_cc_ebnf(hd_cc *cc, hd_str text);

/* ---- members of objects, parameters of tools ---- */

typedef struct hd_cc_member {
    hd_str name; /* as it stands between the quotes */
    uint32_t to; /* node behind the closing quote */
    hd_bits bit;
} hd_cc_member;

/** Draw the names, from behind the opening quote. Sorts `m`. */
void hd_cc_members(hd_cc *cc, uint32_t from, hd_cc_member *m, size_t n);
/** The rule of all other names, closing quote included: `body` is the state of rules.key_body or
 *  rules.name_body. `m` is sorted. */
uint32_t hd_cc_other_names(hd_cc *cc, const hd_cc_member *m, size_t n, uint32_t body);

/* ---- schemas ---- */

/** What of a schema's values is wanted. */
typedef enum hd_cc_part { HD_PART_ALL, HD_PART_NONSTRING, HD_PART_RAW_STRING } hd_cc_part;

typedef struct hd_schema_job hd_schema_job;

typedef struct hd_cc_schema hd_cc_schema;

/* A document of schemas: where references lead, and the rules made so far. */
struct hd_cc_schema {
    hd_cc *cc;
    hd_cc_schema *next;  /* in cc->schemas */
    const hd_json *root; /* what "#" means */
    bool strict, any_order;
    unsigned depth;      /* of schemas drawn in place */
    hd_schema_job *todo; /* rules that are used and not yet defined */
    hd_schema_job *jobs; /* all */
};

/** NULL after a failure. */
hd_cc_schema *hd_cc_schema_new(hd_cc *cc, const hd_json *root, bool strict, bool any_order);

/** Draw a schema's values of that part. RAW_STRING draws the text and its closing "</" DSML.
 *  @return false if there is none. */
bool hd_cc_schema_part(hd_cc_schema *s, const hd_json *node, hd_cc_part part, uint32_t from,
                       uint32_t to);
/** The rule of a schema; defined by hd_cc_schema_finish. */
hd_use hd_cc_schema_use(hd_cc_schema *s, const hd_json *node);
/** Define all rules that are used. */
void hd_cc_schema_finish(hd_cc_schema *s);
/** After hd_auto_finish: fails if a schema was used that no value can match. */
void hd_cc_schema_check(const hd_cc_schema *s);
/** Whether `name` is declared and may be there. */
bool hd_cc_schema_has(const hd_json *node, hd_str name);

/** Whether `node` says anything that is not supported: fails if strict, else warns. */
bool hd_cc_schema_known(hd_cc_schema *s, const hd_json *node);
/** Schemas that stand behind "$ref"; NULL after a failure. */
const hd_json *hd_cc_schema_resolve(hd_cc_schema *s, const hd_json *node);
/** "additionalProperties": NULL for false, and where it is absent beside declared properties. */
const hd_json *hd_cc_schema_others(const hd_json *node);
bool hd_cc_schema_requires(const hd_json *node, hd_str name);

/** Draw the body of an object or array rule; `spec` is what it must be called with. */
hd_spec hd_cc_object_spec(hd_cc_schema *s, const hd_json *node);
void hd_cc_draw_object(hd_cc_schema *s, const hd_json *node, uint32_t from, uint32_t to);
hd_spec hd_cc_array_spec(hd_cc_schema *s, const hd_json *node);
/** Say which rules an object or array must call under the spec added last. */
void hd_cc_object_needs(hd_cc_schema *s, const hd_json *node);
void hd_cc_array_needs(hd_cc_schema *s, const hd_json *node);
void hd_cc_draw_array(hd_cc_schema *s, const hd_json *node, uint32_t from, uint32_t to);
/** A member that is a whole number >= 0; `absent` if it is not there. */
uint32_t hd_cc_schema_count(hd_cc_schema *s, const hd_json *node, const char *key, uint32_t absent);

/* ---- tools ---- */

/** The rule of a calls block, from behind the DSML token that opens it to its end. No drawing may
 *  be in progress. */
hd_use hd_cc_tools(hd_cc *cc, const hd_json *tools, const hd_grammar_source *source);

#endif
