/* Earlier turns as they were sampled, and this one for the turns to come.
 *
 * What a client sends back of a turn is its own version of it. In the order of trust: the replay
 * map knows the whole turn by the ids of its calls; a seal holds the ids of its reasoning; else
 * there is the reasoning as text; else none. The first two make the prompt begin with exactly the
 * ids that are in the prefix cache. */
#include <string.h>

#include "server/serve_parts.h"

/* ---- whose turns -----------------------------------------------------------------------------*/

/* What the disk keeps is found again after a restart, so this is a function of key and user alone.
 */
static uint64_t group_of(const hd_exchange *x)
{
    static const char purpose[] = "hadal isolation group";
    uint8_t digest[HD_SHA256_BYTES];
    uint64_t group;
    hd_sha256 h;
    hd_sha256_init(&h);
    hd_sha256_add(&h, purpose, sizeof purpose);
    hd_sha256_add(&h, x->key, sizeof x->key); /* zeros without a key */
    hd_sha256_add(&h, x->canon.user.ptr, x->canon.user.len);
    hd_sha256_end(&h, digest);
    memcpy(&group, digest, sizeof group);
    return group;
}

/* ---- earlier turns ----------------------------------------------------------------------------*/

static bool restore_turn(hd_exchange *x, hd_canon_turn *turn)
{
    hd_replay_turn known;
    if (!turn->calls || !hd_replay_get(x->s->replay, x->group, turn->calls->id, &x->arena, &known))
        return false;
    turn->sampled = known.ids;
    turn->n_sampled = known.n;
    turn->sampled_thinks = known.thinks;
    return true;
}

static bool restore_thought(hd_exchange *x, hd_canon_turn *turn)
{
    hd_ids ids;
    int32_t *copy = NULL;
    if (turn->seal.len == 0) return false;
    hd_ids_init(&ids, turn->seal.len);
    if (hd_unseal(&x->s->sealer, x->group, turn->seal, &ids) && ids.len > 0)
        copy = hd_arena_try_alloc(&x->arena, ids.len, sizeof *copy);
    if (copy) {
        memcpy(copy, ids.ptr, ids.len * sizeof *copy);
        turn->thought = copy;
        turn->n_thought = (int32_t)ids.len;
    }
    hd_ids_deinit(&ids);
    return copy != NULL;
}

hd_status hd_history_restore(hd_exchange *x, hd_err *err)
{
    int32_t i = 0;
    x->group = group_of(x);
    for (hd_canon_turn *t = x->canon.turns; t; t = t->next, i++) {
        if (t->role != HD_ROLE_ASSISTANT || restore_turn(x, t) || restore_thought(x, t)) continue;
        if (!x->canon.thinks || !t->calls || t->reasoning.len) continue;
        if (x->s->opts.is_strict)
            HD_FAIL(
                err, HD_E_ARG,
                "turn %d has calls but not its reasoning: in thinking mode it must be sent back",
                i);
        hd_canon_warn(&x->canon, "reasoning-missing");
    }
    return HD_OK;
}

/* ---- this turn --------------------------------------------------------------------------------*/

/* Whether somebody will want to know later what was sampled. */
static bool is_wanted(const hd_exchange *x)
{
    return x->canon.input == HD_INPUT_CHAT && (x->canon.tools || x->canon.thinks);
}

hd_status hd_history_begin(hd_exchange *x, const hd_ids *prompt, hd_err *err)
{
    size_t at = prompt->len;
    if (!is_wanted(x)) return HD_OK;
    while (at > 0 && prompt->ptr[at - 1] != x->s->think_id &&
           prompt->ptr[at - 1] != x->s->no_think_id)
        at--;
    if (at == 0) return HD_OK;
    x->thinks = prompt->ptr[at - 1] == x->s->think_id;
    return hd_ids_add(&x->sampled, prompt->ptr + at, prompt->len - at, err);
}

void hd_history_take(hd_exchange *x, int32_t id)
{
    if (!is_wanted(x) || id == x->s->info.eos_id) return;
    if (hd_ids_push(&x->sampled, id, NULL) != HD_OK) x->sampled.len = 0;
}

/* Nothing is sealed of reasoning that no </think> has ended. */
void hd_history_seal(void *ctx, hd_buf *out)
{
    const hd_exchange *x = ctx;
    size_t n = 0;
    while (x->thinks && n < x->sampled.len && x->sampled.ptr[n] != x->s->no_think_id) n++;
    if (n == x->sampled.len) n = 0;
    hd_seal(&x->s->sealer, x->group, x->sampled.ptr, n, out);
}

void hd_history_keep(hd_exchange *x)
{
    enum { MAX_KEPT = 64 };
    hd_str id[MAX_KEPT];
    int32_t n = hd_writer_n_calls(x->writer);
    if (n > MAX_KEPT) n = MAX_KEPT;
    if (n == 0 || x->sampled.len == 0) return;
    for (int32_t i = 0; i < n; i++) id[i] = hd_writer_call_id(x->writer, i);
    const hd_replay_turn turn = {x->sampled.ptr, (int32_t)x->sampled.len, x->thinks};
    hd_replay_put(x->s->replay, x->group, id, n, &turn);
}
