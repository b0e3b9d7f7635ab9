/* The compressor: compress_pool, and the carry that spans steps.
 *
 * A group of rows becomes one cache entry: a softmax over its rows for each channel by itself. Rows
 * of earlier steps are in the carry, with their k and finished gates, so a chunk may end anywhere.
 * A row at position p < 0 has weight 0, which is why a fresh sequence needs no cleared carry. */
#include "dev/hostref/rowfmt.h"

/* Rows that one group looks at: ratio 4 overlaps with the previous group. */
static int32_t pool_slots(int32_t ratio)
{
    return ratio == 4 ? 8 : ratio;
}

static int32_t channels_of(const hd_compress_pool_params *p)
{
    return p->ratio == 4 ? 2 * p->width : p->width;
}

/* The gate with its position term, as it also goes into the carry. */
static float gate_of(const hd_compress_pool_params *p, int32_t row, int32_t channel)
{
    size_t n = (size_t)channels_of(p), c = (size_t)channel;
    size_t phase = (size_t)(p->rows.row_pos[row] % p->ratio);
    return p->g[(size_t)row * n + c] + p->ape[phase * n + c];
}

/* A carry slot of a sequence: f32 [2, channels]; [0] is k, [1] is g + ape. */
static float *carry_of(const hd_compress_pool_params *p, int32_t seq, int32_t pos)
{
    size_t n = (size_t)channels_of(p), n_slots = (size_t)hd_carry_slots(p->ratio);
    size_t slot = (size_t)hd_carry_slot(p->ratio, pos);
    return p->carry + ((size_t)p->rows.seq_slot[seq] * n_slots + slot) * 2 * n;
}

/* k and gate of the row at position `pos`: from the step, or from the carry where older. */
static void fetch(const hd_compress_pool_params *p, int32_t seq, int32_t pos, int32_t channel,
                  float *k, float *gate)
{
    size_t n = (size_t)channels_of(p), c = (size_t)channel;
    int32_t ahead = pos - p->rows.seq_pos0[seq];
    if (ahead >= 0) {
        int32_t row = p->rows.seq_row0[seq] + ahead;
        *k = p->k[(size_t)row * n + c];
        *gate = gate_of(p, row, channel);
    } else {
        const float *slot = carry_of(p, seq, pos);
        *k = slot[c];
        *gate = slot[n + c];
    }
}

/* One channel of the group that ends with `row`: softmax of the gates in slot order (oldest
 * first), then Σ w·k in fused steps in the same order. */
static float pool_channel(const hd_compress_pool_params *p, int32_t row, int32_t channel)
{
    int32_t seq = p->rows.row_seq[row], pos = p->rows.row_pos[row];
    int32_t n_slots = pool_slots(p->ratio), n = 0;
    float k[128], e[128], most = -INFINITY;
    for (int32_t i = 0; i < n_slots; i++) {
        int32_t at = pos - n_slots + 1 + i;
        if (at < 0) continue;                   /* before the sequence: weight 0 */
        bool current = p->ratio != 4 || i >= 4; /* half b for the group's own four rows */
        int32_t half = p->ratio == 4 && current ? p->width : 0;
        fetch(p, seq, at, half + channel, &k[n], &e[n]);
        if (e[n] > most) most = e[n];
        n++;
    }
    float sum = 0.0f, acc = 0.0f;
    for (int32_t i = 0; i < n; i++) {
        e[i] = hd_expf(e[i] - most);
        sum += e[i];
    }
    for (int32_t i = 0; i < n; i++) acc = fmaf(e[i] / sum, k[i], acc);
    return acc;
}

/* Only after all groups are pooled: a slot may hold a row that a group of this step still needs. */
static void save_carry(const hd_compress_pool_params *p)
{
    int32_t n = channels_of(p);
    for (int32_t seq = 0; seq < p->rows.n_seqs; seq++) {
        int32_t len = p->rows.seq_len[seq], end = p->rows.seq_pos0[seq] + len;
        for (int32_t i = 0; i < len; i++) {
            int32_t row = p->rows.seq_row0[seq] + i, pos = p->rows.row_pos[row];
            if (!hd_carry_keeps(p->ratio, pos, end)) continue;
            float *slot = carry_of(p, seq, pos);
            for (int32_t c = 0; c < n; c++) {
                slot[c] = p->k[(size_t)row * (size_t)n + (size_t)c];
                slot[n + c] = gate_of(p, row, c);
            }
        }
    }
}

static hd_status compress_pool(const hd_compress_pool_params *p)
{
    if (!hd_hostref_rows_ok(&p->rows) || p->n_out < 0 || p->width <= 0) return HD_E_ARG;
    if (p->ratio != 4 && p->ratio != 128) return HD_E_UNSUPPORTED;
    for (int32_t i = 0; i < p->n_out; i++) {
        hd_bf16 *out = p->out + (size_t)i * (size_t)p->width;
        for (int32_t c = 0; c < p->width; c++) {
            out[c] = hd_bf16_from_f32(pool_channel(p, p->out_row[i], c));
        }
    }
    save_carry(p);
    return HD_OK;
}
HD_HOSTREF_OP(compress_pool)
