/* Turns, and calls against their results: see parse.h. */
#include "server/parse.h"

#include "base/strmap.h"
#include "base/utf8.h"

hd_status hd_parse_add_turn(hd_parser *p, hd_role role, const hd_json *source)
{
    hd_canon_turn *turn = hd_arena_try_alloc(p->arena, 1, sizeof *turn);
    if (!turn) return hd_parse_no_memory(p);
    turn->role = role;
    turn->source = source;
    if (p->last_turn)
        p->last_turn->next = turn;
    else
        p->out->turns = turn;
    p->last_turn = turn;
    p->last_call = NULL;
    return HD_OK;
}

bool hd_parse_is_blank(hd_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!memchr(" \t\r\n", s.ptr[i], 4)) return false;
    return true;
}

hd_status hd_parse_add_reasoning(hd_parser *p, hd_str text, const char *between)
{
    return hd_parse_is_blank(text) ? HD_OK
                                   : hd_parse_join(p, &p->last_turn->reasoning, between, text);
}

hd_status hd_parse_add_call(hd_parser *p, hd_str id, hd_str name, const hd_json *source)
{
    hd_canon_call *call = hd_arena_try_alloc(p->arena, 1, sizeof *call);
    if (!call) return hd_parse_no_memory(p);
    *call = (hd_canon_call){.id = id, .name = name, .short_name = name, .source = source};
    if (p->last_call)
        p->last_call->next = call;
    else
        p->last_turn->calls = call;
    p->last_call = call;
    return HD_OK;
}

/* ---- results ---- */

static hd_status bad_call(hd_parser *p, const hd_json *at, hd_str id, const char *what,
                          const char *advice)
{
    char path[128];
    hd_json_path(at, path, sizeof path);
    HD_SET_ERR(p->err, HD_E_ARG, "'%s': call '%.*s' %s%s", path, HD_STR_ARG(hd_utf8_cut(id, 64)),
               what, advice);
    hd_err_set_path(p->err, path);
    return HD_E_ARG;
}

/* The ids of a turn's calls, each with its place. */
static hd_status number_calls(hd_parser *p, const hd_canon_turn *turn, hd_strmap *places, size_t *n)
{
    bool is_new;
    *n = 0;
    hd_strmap_reset(places);
    for (const hd_canon_call *c = turn->calls; c; c = c->next) {
        uint64_t *place = hd_strmap_try_put(places, c->id, &is_new);
        if (!place) return hd_parse_no_memory(p);
        if (!is_new) return bad_call(p, c->source, c->id, "has an id that another one has", "");
        *place = (*n)++;
    }
    return HD_OK;
}

/* Put the results behind `turn` into the order of its calls; *last becomes the last of them. */
static hd_status match_results(hd_parser *p, hd_canon_turn *turn, hd_strmap *places,
                               const char *advice, hd_canon_turn **last)
{
    size_t n;
    HD_TRY(number_calls(p, turn, places, &n));
    hd_canon_turn **sorted = hd_arena_try_alloc(p->arena, n + 1, sizeof(hd_canon_turn *));
    if (!sorted) return hd_parse_no_memory(p);
    hd_canon_turn *t = turn->next;
    for (; t && t->role == HD_ROLE_TOOL; t = t->next) {
        const uint64_t *place = hd_strmap_get(places, t->call_id);
        if (!place)
            return bad_call(p, t->source, t->call_id, "was not made in the turn before", advice);
        if (sorted[*place]) return bad_call(p, t->source, t->call_id, "has a second result", "");
        sorted[*place] = t;
    }
    size_t i = 0;
    *last = turn;
    for (const hd_canon_call *c = turn->calls; c; c = c->next, i++) {
        if (!sorted[i])
            return bad_call(p, c->source, c->id, "has no result before the next message", advice);
        (*last)->next = sorted[i];
        *last = sorted[i];
    }
    (*last)->next = t;
    return HD_OK;
}

static hd_status check_results(hd_parser *p, hd_strmap *places, const char *advice)
{
    for (hd_canon_turn *t = p->out->turns; t; t = t->next) {
        if (t->role == HD_ROLE_TOOL)
            return bad_call(p, t->source, t->call_id, "was not made in the turn before", advice);
        if (t->calls) HD_TRY(match_results(p, t, places, advice, &t));
        p->last_turn = t;
    }
    return HD_OK;
}

hd_status hd_parse_check_results(hd_parser *p, const char *advice)
{
    hd_strmap places;
    hd_strmap_init(&places);
    hd_status status = check_results(p, &places, advice);
    hd_strmap_deinit(&places);
    return status;
}
