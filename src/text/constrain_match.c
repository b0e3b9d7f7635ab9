/* Matchers: one sequence's place in a grammar, and the way back. */
#include "text/constrain_match.h"

#include "base/mem.h"

static hd_config *now(hd_matcher *m)
{
    return &m->at[m->now];
}

static hd_status failed(const hd_sim *s, hd_err *err)
{
    if (s->status == HD_E_LIMIT) HD_FAIL(err, HD_E_LIMIT, "grammar is too ambiguous to follow");
    HD_FAIL(err, HD_E_NOMEM, "out of memory for a grammar's state");
}

/* Put the configuration into the sim, to compute from. */
static hd_status load(hd_matcher *m, const hd_config *c, hd_err *err)
{
    hd_sim *s = &m->sim;
    s->status = HD_OK;
    s->stop = s->n_steps = s->peak = 0;
    s->ends = false;
    if (!hd_match_room(&s->thread, &s->cap_threads, (size_t)c->n_threads + 1, sizeof *s->thread) ||
        !hd_match_room(&s->frame, &s->cap_frames, (size_t)c->n_frames + 1, sizeof *s->frame))
        HD_FAIL(err, HD_E_NOMEM, "out of memory for a grammar's state");
    if (c->n_threads) memcpy(s->thread, c->thread, c->n_threads * sizeof *s->thread);
    memcpy(s->frame, c->frame, c->n_frames * sizeof *s->frame);
    s->n_threads = c->n_threads;
    s->n_frames = c->n_frames;
    return HD_OK;
}

/* Threads first.. of the sim into `c`, with the frames that they need. Parents come before their
 * children, so one pass from the back marks and one from the front copies. */
static hd_status store(hd_matcher *m, uint32_t first, hd_config *c, hd_err *err)
{
    const hd_sim *s = &m->sim;
    uint32_t n_threads = s->n_threads - first, n = 0;
    if (s->status != HD_OK) return failed(s, err);
    if (!hd_match_room(&m->map, &m->cap_map, s->n_frames, sizeof *m->map) ||
        !hd_match_room(&c->thread, &c->cap_threads, n_threads, sizeof *c->thread) ||
        !hd_match_room(&c->frame, &c->cap_frames, s->n_frames, sizeof *c->frame))
        HD_FAIL(err, HD_E_NOMEM, "out of memory for a grammar's state");
    memset(m->map, 0, s->n_frames * sizeof *m->map);
    m->map[0] = 1;
    for (uint32_t i = first; i < s->n_threads; i++) m->map[s->thread[i].frame] = 1;
    for (uint32_t i = s->n_frames; i-- > 1;)
        if (m->map[i]) m->map[s->frame[i].parent] = 1;
    for (uint32_t i = 0; i < s->n_frames; i++) {
        if (!m->map[i]) continue;
        c->frame[n] = s->frame[i];
        c->frame[n].parent = m->map[s->frame[i].parent];
        m->map[i] = n++;
    }
    c->frame[0].parent = 0;
    c->n_frames = n;
    for (uint32_t i = 0; i < n_threads; i++) {
        c->thread[i] = s->thread[first + i];
        c->thread[i].frame = m->map[c->thread[i].frame];
    }
    c->n_threads = n_threads;
    c->ends = s->ends;
    return HD_OK;
}

static hd_status start(hd_matcher *m, hd_err *err)
{
    hd_sim *s = &m->sim;
    m->now = m->n_back = 0;
    s->status = HD_OK;
    s->n_frames = s->n_threads = s->stop = s->peak = 0;
    if (!hd_match_room(&s->frame, &s->cap_frames, 1, sizeof *s->frame))
        HD_FAIL(err, HD_E_NOMEM, "out of memory for a grammar's state");
    s->frame[s->n_frames++] = (hd_frame){0};
    hd_sim_push(s, (hd_thread){.state = m->g->a.rule[m->g->root]});
    hd_sim_close(s, 0, 1);
    return store(m, 0, now(m), err);
}

hd_status hd_matcher_create(hd_grammar *g, hd_matcher **out, hd_err *err)
{
    hd_matcher *m = hd_mem_try_calloc(1, sizeof *m);
    if (!m) HD_FAIL(err, HD_E_NOMEM, "out of memory for a grammar's state");
    m->g = hd_grammar_ref(g);
    m->sim.a = &g->a;
    m->above = hd_mem_try_calloc(g->trie->n_words, sizeof *m->above);
    hd_status status = HD_E_NOMEM;
    if (m->above)
        status = start(m, err);
    else
        HD_SET_ERR(err, HD_E_NOMEM, "out of memory for a grammar's state");
    if (status == HD_OK)
        *out = m;
    else
        hd_matcher_destroy(m);
    return status;
}

static bool copy_config(hd_config *to, const hd_config *from)
{
    if (!hd_match_room(&to->thread, &to->cap_threads, from->n_threads, sizeof *to->thread) ||
        !hd_match_room(&to->frame, &to->cap_frames, from->n_frames, sizeof *to->frame))
        return false;
    if (from->n_threads) memcpy(to->thread, from->thread, from->n_threads * sizeof *to->thread);
    if (from->n_frames) memcpy(to->frame, from->frame, from->n_frames * sizeof *to->frame);
    to->n_threads = from->n_threads;
    to->n_frames = from->n_frames;
    to->ends = from->ends;
    return true;
}

hd_status hd_matcher_clone(const hd_matcher *m, hd_matcher **out, hd_err *err)
{
    hd_matcher *copy = hd_mem_try_calloc(1, sizeof *copy);
    bool is_ok = copy != NULL;
    if (is_ok) {
        copy->g = hd_grammar_ref(m->g);
        copy->sim.a = m->sim.a;
        copy->now = m->now;
        copy->n_back = m->n_back;
        copy->above = hd_mem_try_calloc(m->g->trie->n_words, sizeof *copy->above);
        is_ok = copy->above != NULL;
    }
    for (unsigned i = 0; is_ok && i < HD_COUNT(m->at); i++)
        is_ok = copy_config(&copy->at[i], &m->at[i]);
    if (!is_ok) {
        hd_matcher_destroy(copy);
        HD_FAIL(err, HD_E_NOMEM, "out of memory for a grammar's state");
    }
    *out = copy;
    return HD_OK;
}

void hd_matcher_destroy(hd_matcher *m)
{
    if (!m) return;
    for (unsigned i = 0; i < HD_COUNT(m->at); i++) {
        hd_mem_free(m->at[i].thread);
        hd_mem_free(m->at[i].frame);
    }
    hd_sim_deinit(&m->sim);
    hd_mem_free(m->map);
    hd_mem_free(m->exit);
    hd_mem_free(m->above);
    hd_grammar_unref(m->g);
    hd_mem_free(m);
}

hd_status hd_matcher_reset(hd_matcher *m, hd_err *err)
{
    return start(m, err);
}

/* ---- advancing ---- */

static bool passes(const hd_auto *a, uint16_t act, hd_thread *t)
{
    return !act || !t->spec || hd_auto_act(a, act, t->spec, &t->value);
}

/* An added token: the edges that name it. */
static void take_atom(hd_matcher *m, int32_t id)
{
    hd_sim *s = &m->sim;
    uint32_t n = s->n_threads, frames = s->n_frames;
    for (uint32_t i = 0; i < n; i++) {
        const hd_auto_state *st = &s->a->state[s->thread[i].state];
        for (unsigned k = 0; k < st->n_tokens; k++) {
            const hd_auto_token *x = &s->a->token[st->token + k];
            hd_thread t = s->thread[i];
            if (x->id != id || !passes(s->a, x->act, &t)) continue;
            t.state = x->to;
            hd_sim_push(s, t);
        }
    }
    hd_sim_close(s, n, frames);
}

hd_status hd_matcher_advance(hd_matcher *m, int32_t id, hd_err *err)
{
    const hd_vtrie *v = m->g->trie;
    hd_sim *s = &m->sim;
    hd_str bytes = hd_vocab_token_bytes(v->vocab, id);
    HD_TRY(load(m, now(m), err));
    uint32_t first = 0, n = s->n_threads;
    if (hd_vocab_flags(v->vocab, id) & HD_TOKEN_ADDED) {
        take_atom(m, id);
        first = n;
    } else {
        for (size_t i = 0; i < bytes.len && n && s->status == HD_OK; i++) {
            hd_sim_step(s, first, n, (uint8_t)bytes.ptr[i]);
            first += n;
            n = s->n_threads - first;
            if (n == 0 && i + 1 < bytes.len) s->ends = false;
        }
    }
    if (s->status != HD_OK) return failed(s, err);
    n = s->n_threads - first;
    if (bytes.len == 0 || (n == 0 && !s->ends))
        HD_FAIL(err, HD_E_ARG, "token %d is not allowed here", id);
    unsigned next = (m->now + 1) % HD_COUNT(m->at);
    HD_TRY(store(m, first, &m->at[next], err));
    m->now = next;
    if (m->n_back < HD_CONSTRAIN_ROLLBACK) m->n_back++;
    return HD_OK;
}

bool hd_matcher_rollback(hd_matcher *m, unsigned n)
{
    if (n > m->n_back) return false;
    m->now = (m->now + (unsigned)HD_COUNT(m->at) - n) % (unsigned)HD_COUNT(m->at);
    m->n_back -= n;
    return true;
}

bool hd_matcher_can_end(const hd_matcher *m)
{
    const hd_config *c = &m->at[m->now];
    const hd_auto *a = &m->g->a;
    int32_t eos = m->g->trie->ids.eos;
    if (c->ends) return true;
    for (uint32_t i = 0; i < c->n_threads; i++) {
        const hd_auto_state *st = &a->state[c->thread[i].state];
        for (unsigned k = 0; k < st->n_tokens; k++)
            if (a->token[st->token + k].id == eos) return true;
    }
    return false;
}

/* Threads that can consume nothing are not kept. */
bool hd_matcher_is_complete(const hd_matcher *m)
{
    const hd_config *c = &m->at[m->now];
    const hd_auto *a = &m->g->a;
    for (uint32_t i = 0; i < c->n_threads; i++) {
        const hd_auto_state *st = &a->state[c->thread[i].state];
        if (!c->ends || st->n_arcs) return false;
        for (unsigned k = 0; k < st->n_tokens; k++)
            if (a->token[st->token + k].id != m->g->trie->ids.eos) return false;
    }
    return true;
}

size_t hd_matcher_mask_words(const hd_matcher *m)
{
    return m->g->trie->n_words;
}

/* ---- masks ---- */

static void set_bit(uint32_t *mask, int32_t id)
{
    mask[(uint32_t)id / 32] |= 1u << ((uint32_t)id % 32);
}

hd_status hd_matcher_fill(hd_matcher *m, uint32_t *mask, hd_err *err)
{
    const hd_config *c = now(m);
    const hd_auto *a = &m->g->a;
    memset(mask, 0, m->g->trie->n_words * sizeof *mask);
    HD_TRY(load(m, c, err));
    for (uint32_t i = 0; i < c->n_threads && m->sim.status == HD_OK; i++) {
        hd_thread t = c->thread[i];
        const hd_auto_state *st = &a->state[t.state];
        for (unsigned k = 0; k < st->n_tokens; k++) {
            const hd_auto_token *x = &a->token[st->token + k];
            hd_thread copy = t;
            if (passes(a, x->act, &copy)) set_bit(mask, x->id);
        }
        if (st->n_arcs) hd_mask_thread(m, &t, mask);
    }
    return m->sim.status == HD_OK ? HD_OK : failed(&m->sim, err);
}
