/* Drawing rules: see constrain_build.h. */
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/constrain_build.h"

#define MAX_NODES ((uint32_t)1 << 18) /* of one rule */
#define MAX_EDGES ((uint32_t)1 << 19)

void hd_cc_init(hd_cc *cc, hd_cc_ids ids, hd_arena *arena, unsigned limit_ms, hd_err *err)
{
    *cc = (hd_cc){.ids = ids, .arena = arena, .err = err};
    cc->deadline_ns = hd_clock_thread_ns() + (int64_t)limit_ms * 1000000;
    hd_cc_act(cc, HD_ACT_NONE, 0);
    hd_cc_spec(cc, &(hd_spec){.hi = UINT32_MAX});
}

void hd_cc_deinit(hd_cc *cc)
{
    hd_auto_deinit(&cc->a);
    hd_mem_free(cc->node);
    hd_mem_free(cc->edge);
}

/* ---- failing ---- */

void hd_cc_place(const hd_cc *cc, char *out, size_t out_size)
{
    char path[128] = "";
    if (cc->place) hd_json_path(cc->place, path, sizeof path);
    if (path[0])
        snprintf(out, out_size, "'%s'", path);
    else
        snprintf(out, out_size, "the root");
}

hd_status hd_cc_fail(hd_cc *cc, hd_status code, const char *fmt, ...)
{
    if (cc->status != HD_OK) return cc->status;
    char what[240], place[160], path[128] = "";
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    hd_cc_place(cc, place, sizeof place);
    hd_err_set(cc->err, code, __FILE__, __LINE__, "%s, at %s", what, place);
    if (cc->place) hd_json_path(cc->place, path, sizeof path);
    hd_err_set_path(cc->err, path);
    return cc->status = code;
}

bool hd_cc_ok(hd_cc *cc)
{
    if (cc->status == HD_OK && hd_clock_thread_ns() > cc->deadline_ns)
        hd_cc_fail(cc, HD_E_LIMIT, "grammar takes too long to compile");
    return cc->status == HD_OK;
}

void hd_cc_warn(hd_cc *cc, const char *fmt, ...)
{
    if (!cc->warnings) return;
    char what[240], place[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    hd_cc_place(cc, place, sizeof place);
    hd_buf_addf(cc->warnings, "%s: %s\n", place, what);
}

bool hd_cc_room(hd_cc *cc, void *table, uint32_t *cap, uint32_t n, size_t size, uint32_t most)
{
    if (cc->status != HD_OK) return false;
    if (n < *cap) return true;
    if (n >= most) {
        hd_cc_fail(cc, HD_E_LIMIT, "grammar needs too many states");
        return false;
    }
    uint32_t wanted = *cap ? *cap * 2 : 64;
    if (wanted > most) wanted = most;
    void *old, *grown;
    memcpy(&old, table, sizeof old);
    grown = hd_mem_try_realloc(old, wanted, size);
    if (!grown) {
        hd_cc_fail(cc, HD_E_NOMEM, "out of memory for a grammar");
        return false;
    }
    memcpy(table, &grown, sizeof grown);
    *cap = wanted;
    return true;
}

/* ---- nodes and edges ---- */

uint32_t hd_cc_node(hd_cc *cc)
{
    if (!hd_cc_room(cc, &cc->node, &cc->cap_nodes, cc->n_nodes, sizeof *cc->node, MAX_NODES))
        return 0;
    cc->node[cc->n_nodes] = HD_AUTO_NONE;
    return cc->n_nodes++;
}

static void add_edge(hd_cc *cc, uint32_t from, hd_nfa_edge e)
{
    if (!hd_cc_room(cc, &cc->edge, &cc->cap_edges, cc->n_edges, sizeof *cc->edge, MAX_EDGES))
        return;
    e.next = cc->node[from];
    cc->node[from] = cc->n_edges;
    cc->edge[cc->n_edges++] = e;
}

void hd_cc_empty(hd_cc *cc, uint32_t from, uint32_t to)
{
    add_edge(cc, from, (hd_nfa_edge){.kind = HD_EDGE_EMPTY, .to = to});
}

void hd_cc_bytes(hd_cc *cc, uint32_t from, uint32_t to, uint8_t lo, uint8_t hi, uint16_t act)
{
    add_edge(cc, from,
             (hd_nfa_edge){.kind = HD_EDGE_BYTES, .to = to, .lo = lo, .hi = hi, .act = act});
}

void hd_cc_call_to(hd_cc *cc, uint32_t from, uint32_t to, hd_use use)
{
    add_edge(cc, from,
             (hd_nfa_edge){.kind = HD_EDGE_CALL, .to = to, .what = use.rule, .spec = use.spec});
}

void hd_cc_token_to(hd_cc *cc, uint32_t from, uint32_t to, int32_t id, uint16_t act)
{
    if (id < 0) return; /* not in this vocabulary: no way */
    add_edge(cc, from,
             (hd_nfa_edge){.kind = HD_EDGE_TOKEN, .to = to, .what = (uint32_t)id, .act = act});
}

uint32_t hd_cc_byte(hd_cc *cc, uint32_t from, uint8_t c, uint16_t act)
{
    uint32_t to = hd_cc_node(cc);
    hd_cc_bytes(cc, from, to, c, c, act);
    return to;
}

uint32_t hd_cc_text(hd_cc *cc, uint32_t from, hd_str text)
{
    for (size_t i = 0; i < text.len && cc->status == HD_OK; i++)
        from = hd_cc_byte(cc, from, (uint8_t)text.ptr[i], 0);
    return from;
}

uint32_t hd_cc_textz(hd_cc *cc, uint32_t from, const char *text)
{
    return hd_cc_text(cc, from, hd_str_from(text));
}

uint32_t hd_cc_call(hd_cc *cc, uint32_t from, hd_use use)
{
    uint32_t to = hd_cc_node(cc);
    hd_cc_call_to(cc, from, to, use);
    return to;
}

uint32_t hd_cc_token(hd_cc *cc, uint32_t from, int32_t id, uint16_t act)
{
    uint32_t to = hd_cc_node(cc);
    hd_cc_token_to(cc, from, to, id, act);
    return to;
}

uint32_t hd_cc_space(hd_cc *cc, uint32_t from)
{
    uint32_t to = hd_cc_call(cc, from, (hd_use){cc->rules.space, cc->rules.space_spec});
    hd_cc_empty(cc, from, to);
    return to;
}

/* ---- code points ---- */

/* A range whose ends have the same number of bytes, and differ only in such a way that each byte
 * is a range of its own. */
static void add_sequence(hd_cc *cc, uint32_t from, uint32_t to, uint32_t range[2], uint16_t act)
{
    char lo[4], hi[4];
    size_t n = hd_utf8_put(lo, range[0]);
    hd_utf8_put(hi, range[1]);
    for (size_t i = 0; i < n; i++) {
        uint32_t next = i + 1 < n ? hd_cc_node(cc) : to;
        hd_cc_bytes(cc, from, next, (uint8_t)lo[i], (uint8_t)hi[i], i ? 0 : act);
        from = next;
    }
}

void hd_cc_points(hd_cc *cc, uint32_t from, uint32_t to, uint32_t lo, uint32_t hi, uint16_t act)
{
    static const uint32_t borders[] = {0x7F, 0x7FF, 0xD7FF, 0xDFFF, 0xFFFF};
    while (lo <= hi && cc->status == HD_OK) {
        uint32_t end = hi;
        for (size_t i = HD_COUNT(borders); i-- > 0;)
            if (lo <= borders[i] && borders[i] < end) end = borders[i];
        /* Cut so that all bytes behind the first that differs run over all of 80..BF. */
        for (unsigned shift = lo > 0xFFFF ? 18 : lo > 0x7FF ? 12 : lo > 0x7F ? 6 : 0; shift;) {
            uint32_t below = ((uint32_t)1 << shift) - 1;
            shift -= 6;
            if ((lo & ~below) == (end & ~below)) continue;
            if (lo & below)
                end = lo | below;
            else if ((end & below) != below)
                end = (end & ~below) - 1;
            else
                break;
        }
        if (lo < 0xD800 || lo > 0xDFFF) add_sequence(cc, from, to, (uint32_t[]){lo, end}, act);
        lo = end + 1;
    }
}

static void add_escape(hd_cc *cc, uint32_t from, uint32_t to, uint32_t cp)
{
    hd_buf text;
    char c = (char)cp;
    hd_buf_init(&text, 16);
    hd_jsonw_str_part(&text, (hd_str){&c, 1});
    hd_cc_empty(cc, hd_cc_text(cc, from, hd_buf_str(&text)), to);
    hd_buf_deinit(&text);
}

void hd_cc_json_points(hd_cc *cc, uint32_t from, uint32_t to, uint32_t lo, uint32_t hi)
{
    static const uint32_t cuts[][2] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0x10FFFF}};
    for (uint32_t c = lo; c <= hi && c < 0x20; c++) add_escape(cc, from, to, c);
    if (lo <= '"' && '"' <= hi) add_escape(cc, from, to, '"');
    if (lo <= '\\' && '\\' <= hi) add_escape(cc, from, to, '\\');
    for (size_t i = 0; i < HD_COUNT(cuts); i++) {
        uint32_t a = lo > cuts[i][0] ? lo : cuts[i][0], b = hi < cuts[i][1] ? hi : cuts[i][1];
        if (a <= b) hd_cc_points(cc, from, to, a, b, 0);
    }
}

uint32_t hd_cc_json_text(hd_cc *cc, uint32_t from, hd_str text)
{
    hd_buf out;
    hd_buf_init(&out, 6 * text.len + 1);
    hd_jsonw_str_part(&out, text);
    if (out.status == HD_OK)
        from = hd_cc_text(cc, from, hd_buf_str(&out));
    else
        hd_cc_fail(cc, HD_E_NOMEM, "out of memory for a grammar");
    hd_buf_deinit(&out);
    return from;
}

/* ---- rules ---- */

uint16_t hd_cc_act(hd_cc *cc, hd_act_kind kind, hd_bits bits)
{
    hd_auto *a = &cc->a;
    for (uint32_t i = a->n_acts; i-- > 0 && a->n_acts - i < 64;)
        if (a->act[i].kind == kind && a->act[i].bits == bits) return (uint16_t)i;
    if (!hd_cc_room(cc, &a->act, &a->cap_acts, a->n_acts, sizeof *a->act, UINT16_MAX)) return 0;
    a->act[a->n_acts] = (hd_act){kind, bits};
    return (uint16_t)a->n_acts++;
}

uint16_t hd_cc_spec(hd_cc *cc, const hd_spec *spec)
{
    hd_auto *a = &cc->a;
    if (a->n_specs && !spec->is_object && spec->lo == 0 && spec->hi == UINT32_MAX) return 0;
    if (!hd_cc_room(cc, &a->spec, &a->cap_specs, a->n_specs, sizeof *a->spec, UINT16_MAX)) return 0;
    a->spec[a->n_specs] = *spec;
    return (uint16_t)a->n_specs++;
}

void hd_cc_need(hd_cc *cc, uint32_t rule)
{
    hd_auto *a = &cc->a;
    if (!hd_cc_room(cc, &a->need, &a->cap_needs, a->n_needs, sizeof *a->need, 1u << 16)) return;
    hd_spec *s = &a->spec[a->n_specs - 1];
    if (s->n_needs++ == 0) s->need = a->n_needs;
    a->need[a->n_needs++] = rule;
}

uint32_t hd_cc_declare(hd_cc *cc)
{
    hd_auto *a = &cc->a;
    if (!hd_cc_room(cc, &a->rule, &a->cap_rules, a->n_rules, sizeof *a->rule, HD_AUTO_MAX_RULES))
        return 0;
    a->rule[a->n_rules] = HD_AUTO_NONE;
    return a->n_rules++;
}
