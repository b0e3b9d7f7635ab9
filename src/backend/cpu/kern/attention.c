/* Softmax attention over FP8 rows that are key and value of all heads.
 *
 * One unit of work is one row of the step with up to 64 heads. Its keys come in blocks of 64 slots:
 * a block is decoded once, as a panel for q · k (lanes along the 512 columns) and as pairs of rows
 * for P · V (lanes along the channels, the earlier slot in the odd half), both small enough for the
 * second-level cache; then all heads of the unit use it. */
#include "backend/cpu/kern/tile.h"

enum {
    UNIT_HEADS = 64,
    DOT_STEPS = HD_HEAD_DIM / 32,
    N_PAIRS = HD_KEY_BLOCK / 2,
    CHANNEL_VECS = 4, /* vectors of 16 channels per group */
    N_CHANNEL_GROUPS = HD_HEAD_DIM / 16 / CHANNEL_VECS,
    PV_HEADS = PV_TILE_HEADS
};

/** A lane's scratch during attention. */
typedef struct work {
    HD_ALIGNED(64) hd_bf16 row[HD_KEY_BLOCK][HD_HEAD_DIM];           /* the block, decoded */
    HD_ALIGNED(64) uint8_t key[HD_KEY_BLOCK][DOT_STEPS * PAN_BYTES]; /* panels of TILE_ROWS */
    /* group, pair, vector of the group: lane l holds channel l of both rows */
    HD_ALIGNED(64) uint8_t value[N_CHANNEL_GROUPS][N_PAIRS][CHANNEL_VECS][PAN_BYTES];
    HD_ALIGNED(64) uint8_t q[UNIT_HEADS][DOT_STEPS * PAN_BYTES];
    HD_ALIGNED(64) float score[UNIT_HEADS][HD_KEY_BLOCK];
    HD_ALIGNED(64) float acc[UNIT_HEADS][HD_HEAD_DIM];
    uint32_t pair[UNIT_HEADS][N_PAIRS]; /* two weights as bf16, the earlier slot in the high half */
    float max[UNIT_HEADS], sum[UNIT_HEADS], alpha[UNIT_HEADS];
} work;
_Static_assert(sizeof(work) <= HD_CPU_SCRATCH_BYTES, "a lane's scratch is too small for attention");
_Static_assert(HD_KEY_BLOCK % TILE_ROWS == 0, "a block is whole panels");

/* ---- the key list of a row ------------------------------------------------------------------ */

/** What one row sees. */
typedef struct key_list {
    const hd_attention_params *p;
    int32_t row, seq, pos, pos0;
    int32_t n_slots;
    int32_t n_window; /* slots before the compressed entries, or before the block (draft) */
} key_list;

HD_INLINE const uint8_t *paged_row(const hd_paged_rows *p, int32_t seq, int32_t i)
{
    int64_t page = p->page[(int64_t)seq * p->max_pages + i / HD_PAGE_ROWS];
    return (const uint8_t *)p->pool + (page * HD_PAGE_ROWS + i % HD_PAGE_ROWS) * HD_KV_ROW_BYTES;
}

static key_list list_keys(const hd_attention_params *p, int32_t row)
{
    int32_t seq = p->rows.row_seq[row];
    key_list k = {.p = p,
                  .row = row,
                  .seq = seq,
                  .pos = p->rows.row_pos[row],
                  .pos0 = p->rows.seq_pos0[seq],
                  .n_window = HD_WINDOW};
    if (p->kind == HD_ATTN_DRAFT) {
        k.n_window = MIN(k.pos0, HD_WINDOW);
        k.n_slots = k.n_window + p->rows.seq_len[seq];
    } else {
        int32_t visible = p->ratio ? (k.pos + 1) / p->ratio : 0;
        k.n_slots = HD_WINDOW + (p->ratio && p->sel ? p->n_sel : visible);
    }
    return k;
}

/* The window row at a position: of this step, or from the ring. */
static const uint8_t *window_row(const key_list *k, int32_t pos)
{
    if (pos < k->pos0) return paged_row(&k->p->window, k->seq, pos % HD_RING_SLOTS);
    return k->p->new_rows +
           (int64_t)(k->p->rows.seq_row0[k->seq] + pos - k->pos0) * HD_KV_ROW_BYTES;
}

/* NULL where the slot is masked. */
static const uint8_t *key_at(const key_list *k, int32_t slot)
{
    const hd_attention_params *p = k->p;
    if (p->kind == HD_ATTN_DRAFT) {
        int32_t last = k->pos0 - 1;
        if (slot < k->n_window) return window_row(k, last - (last - slot) % HD_WINDOW);
        return window_row(k, k->pos0 + slot - k->n_window);
    }
    if (slot < HD_WINDOW) {
        int32_t pos = MAX(k->pos - HD_WINDOW + 1, 0) + slot;
        return pos <= k->pos ? window_row(k, pos) : NULL;
    }
    int32_t entry = slot - HD_WINDOW;
    if (p->sel) entry = p->sel[(int64_t)k->row * p->n_sel + entry];
    return entry >= 0 ? paged_row(&p->compressed, k->seq, entry) : NULL;
}

/* ---- a block of keys ------------------------------------------------------------------------ */

static void decode_row(hd_bf16 *out, const uint8_t *row, const hd_cpu_tables *tables)
{
    for (int c = 0; c < HD_NOPE_DIM; c += HD_KV_GROUP)
        fp8_to_bf16(row + c, v8_load(tables, row[HD_KV_ROW_SCALE_AT + c / HD_KV_GROUP]), out + c);
    memcpy(out + HD_NOPE_DIM, row + HD_KV_ROW_ROPE_AT, HD_ROPE_DIM * sizeof *out);
}

/* Returns the mask of valid slots. A masked row is −0 throughout: its weight is +0, and a step that
 * adds −0 leaves every sum as it is, −0 too. */
static uint64_t load_rows(work *w, const key_list *k, int32_t slot0, const hd_cpu_tables *tables)
{
    uint64_t valid = 0;
    for (int i = 0; i < HD_KEY_BLOCK; i++) {
        const uint8_t *key = slot0 + i < k->n_slots ? key_at(k, slot0 + i) : NULL;
        if (key) {
            valid |= (uint64_t)1 << i;
            decode_row(w->row[i], key, tables);
        } else {
            for (int c = 0; c < HD_HEAD_DIM; c++) w->row[i][c] = 0x8000u;
        }
    }
    return valid;
}

static void build_panels(work *w, int n_keys)
{
    for (int i = 0; i < n_keys; i++) {
        uint8_t *panel = w->key[i / TILE_ROWS * TILE_ROWS];
        for (int j = 0; j < DOT_STEPS; j++)
            vw_pan_store(panel + (j * TILE_ROWS + i % TILE_ROWS) * PAN_BYTES,
                         vw_bf16(w->row[i] + 32 * j));
    }
    for (int i = 0; i < n_keys; i += 2) {
        for (int c = 0; c < HD_HEAD_DIM / 16; c++)
            vw_pan_store(w->value[c / CHANNEL_VECS][i / 2][c % CHANNEL_VECS],
                         vw_rows(w->row[i] + 16 * c, w->row[i + 1] + 16 * c));
    }
}

/* ---- one block for all heads of a unit ------------------------------------------------------ */

static void scores(work *w, int n_heads, int n_keys)
{
    memset(w->score, 0, sizeof w->score[0] * (size_t)n_heads);
    for (int i = 0; i < n_keys; i += TILE_ROWS)
        tile_rows(TILE_ROWS, w->key[i], w->q[0], n_heads, DOT_STEPS, &w->score[0][i], HD_KEY_BLOCK);
}

/* Scores become weights; the running maximum and sum move on. */
static void softmax(work *w, int h, float scale, const float *masked)
{
    enum { N = HD_KEY_BLOCK / 16 };
    vf s[N], most = vf_set1(w->max[h]);
    for (int i = 0; i < N; i++) {
        /* masked holds 0, or −inf, which stays whatever is added */
        s[i] =
            vf_add(vf_mul(vf_load(w->score[h] + 16 * i), vf_set1(scale)), vf_load(masked + 16 * i));
        most = vf_max(s[i], most);
    }
    float max = vf_hmax(most);
    vf sum = vf_zero();
    for (int i = 0; i < N; i++) {
        s[i] = vf_exp(vf_sub(s[i], vf_set1(max)));
        sum = vf_add(sum, s[i]);
    }
    w->alpha[h] = hd_expf(w->max[h] - max);
    w->sum[h] = w->sum[h] * w->alpha[h] + vf_hsum(sum);
    w->max[h] = max;
    hd_bf16 p[HD_KEY_BLOCK];
    for (int i = 0; i < N; i++) vf_store_bf16(p + 16 * i, s[i]);
    for (int i = 0; i < N_PAIRS; i++) w->pair[h][i] = (uint32_t)p[2 * i] << 16 | p[2 * i + 1];
}

/* One group of channels of n_heads heads from h on: × α, then two slots a step. */
HD_INLINE void weigh_values(work *w, int n_heads, int h, int group, int n_pairs)
{
    vf acc[PV_HEADS][CHANNEL_VECS];
    for (int i = 0; i < n_heads; i++) {
        const float *from = w->acc[h + i] + group * CHANNEL_VECS * 16;
        for (int c = 0; c < CHANNEL_VECS; c++)
            acc[i][c] = vf_mul(vf_load(from + 16 * c), vf_set1(w->alpha[h + i]));
    }
    for (int j = 0; j < n_pairs; j++) {
        vw value[CHANNEL_VECS];
        for (int c = 0; c < CHANNEL_VECS; c++) value[c] = vw_pan(w->value[group][j][c]);
        for (int i = 0; i < n_heads; i++) {
            vw p = vw_pair(w->pair[h + i][j]);
            for (int c = 0; c < CHANNEL_VECS; c++) acc[i][c] = vw_dot(acc[i][c], value[c], p);
        }
    }
    for (int i = 0; i < n_heads; i++) {
        float *to = w->acc[h + i] + group * CHANNEL_VECS * 16;
        for (int c = 0; c < CHANNEL_VECS; c++) vf_store(to + 16 * c, acc[i][c]);
    }
}

static void values(work *w, int n_heads, int n_pairs)
{
    for (int group = 0; group < N_CHANNEL_GROUPS; group++) {
        int h = 0;
        for (; h + PV_HEADS <= n_heads; h += PV_HEADS) weigh_values(w, PV_HEADS, h, group, n_pairs);
        for (; h < n_heads; h++) weigh_values(w, 1, h, group, n_pairs);
    }
}

static void attend_block(work *w, int n_heads, float scale, uint64_t valid)
{
    HD_ALIGNED(64) float masked[HD_KEY_BLOCK];
    for (int i = 0; i < HD_KEY_BLOCK; i++) masked[i] = valid >> i & 1 ? 0.0f : -INFINITY;
    int n_keys = 64 - __builtin_clzll(valid); /* behind them all slots are masked */
    n_keys = (n_keys + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    build_panels(w, n_keys);
    scores(w, n_heads, n_keys);
    for (int h = 0; h < n_heads; h++) softmax(w, h, scale, masked);
    values(w, n_heads, n_keys / 2);
}

/* ---- units ---------------------------------------------------------------------------------- */

static void attend(const hd_cpu_lane *lane, const hd_attention_params *p, int32_t row,
                   int32_t head0, int32_t n_heads)
{
    work *w = (work *)(void *)lane->scratch;
    int64_t at = ((int64_t)row * p->n_heads + head0) * HD_HEAD_DIM;
    for (int32_t h = 0; h < n_heads; h++) {
        pack_row(w->q[h], p->q + at + (int64_t)h * HD_HEAD_DIM, HD_HEAD_DIM);
        w->max[h] = -INFINITY;
        w->sum[h] = 0.0f;
    }
    memset(w->acc, 0, sizeof w->acc[0] * (size_t)n_heads);
    key_list keys = list_keys(p, row);
    for (int32_t slot0 = 0; slot0 < keys.n_slots; slot0 += HD_KEY_BLOCK) {
        uint64_t valid = load_rows(w, &keys, slot0, lane->tables);
        if (valid) attend_block(w, n_heads, p->scale, valid);
    }
    for (int32_t h = 0; h < n_heads; h++) {
        bool has_key = w->sum[h] != 0.0f; /* the greatest weight is 1; NaN must show */
        vf sum = vf_set1(w->sum[h] + hd_expf(p->sink[head0 + h] - w->max[h]));
        hd_bf16 *o = p->o + at + (int64_t)h * HD_HEAD_DIM;
        for (int c = 0; c < HD_HEAD_DIM; c += 16)
            vf_store_bf16(o + c, has_key ? vf_div(vf_load(w->acc[h] + c), sum) : vf_zero());
    }
}

/* Heads per unit: many share a decoded block, but a few rows must keep all threads busy. */
static int32_t unit_heads(const hd_attention_params *p, int n_threads)
{
    int32_t heads = MIN(p->n_heads, UNIT_HEADS);
    while (heads > 8 && (int64_t)p->rows.n_rows * ((p->n_heads + heads - 1) / heads) < n_threads)
        heads = (heads + 1) / 2;
    return heads;
}

void KERN(attention)(const hd_cpu_lane *lane, const hd_attention_params *p)
{
    int32_t heads = unit_heads(p, lane->n), n_units = (p->n_heads + heads - 1) / heads;
    for (;;) {
        int64_t unit = hd_par_take(lane->par, 0, 1);
        if (unit >= (int64_t)p->rows.n_rows * n_units) return;
        int32_t head0 = (int32_t)(unit % n_units) * heads;
        attend(lane, p, (int32_t)(unit / n_units), head0, MIN(heads, p->n_heads - head0));
    }
}
