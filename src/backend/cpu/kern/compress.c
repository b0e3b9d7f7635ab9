/* The compressor's pooling and the carry that spans steps: 16 channels at a time. */
#include "backend/cpu/kern/rows.h"

enum { MAX_SLOTS = 128 };

/* Rows that one group looks at: ratio 4 overlaps with the previous group. */
static int32_t pool_slots(int32_t ratio)
{
    return ratio == 4 ? 8 : ratio;
}

static int64_t channels_of(const hd_compress_pool_params *p)
{
    return p->ratio == 4 ? 2 * (int64_t)p->width : p->width;
}

/* Carry of a sequence, slot of `pos`: k [channels], then g + ape [channels]. */
static float *carry_of(const hd_compress_pool_params *p, int32_t seq, int32_t pos)
{
    int64_t slot = (int64_t)p->rows.seq_slot[seq] * hd_carry_slots(p->ratio);
    return p->carry + (slot + hd_carry_slot(p->ratio, pos)) * 2 * channels_of(p);
}

HD_INLINE vf gate_of(const hd_compress_pool_params *p, int32_t row, int64_t c, int64_t n)
{
    int64_t channels = channels_of(p), phase = p->rows.row_pos[row] % p->ratio;
    return vf_add(ld_f32(p->g + row * channels + c, n), ld_f32(p->ape + phase * channels + c, n));
}

/* k and gate at position `pos`, n channels from c on: from the step, or older ones from the carry.
 */
HD_INLINE void fetch(const hd_compress_pool_params *p, int32_t seq, int32_t pos, int64_t c,
                     int64_t n, vf *k, vf *gate)
{
    int64_t channels = channels_of(p);
    int32_t ahead = pos - p->rows.seq_pos0[seq];
    if (ahead >= 0) {
        int32_t row = p->rows.seq_row0[seq] + ahead;
        *k = ld_f32(p->k + row * channels + c, n);
        *gate = gate_of(p, row, c, n);
    } else {
        const float *slot = carry_of(p, seq, pos);
        *k = ld_f32(slot + c, n);
        *gate = ld_f32(slot + channels + c, n);
    }
}

/* Channels c … c + 15 of the group that ends with `row`: slots oldest first. */
static vf pool16(const hd_compress_pool_params *p, int32_t row, int64_t c, int64_t n)
{
    int32_t seq = p->rows.row_seq[row], pos = p->rows.row_pos[row];
    int32_t n_slots = pool_slots(p->ratio), used = 0;
    vf k[MAX_SLOTS], e[MAX_SLOTS], most = vf_set1(-INFINITY);
    for (int32_t i = 0; i < n_slots; i++) {
        int32_t at = pos - n_slots + 1 + i;
        if (at < 0) continue;                                  /* before the sequence: weight 0 */
        int64_t half = p->ratio == 4 && i >= 4 ? p->width : 0; /* the group's own rows: half b */
        fetch(p, seq, at, half + c, n, &k[used], &e[used]);
        most = vf_max(e[used], most);
        used++;
    }
    vf sum = vf_zero(), acc = vf_zero();
    for (int32_t i = 0; i < used; i++) {
        e[i] = vf_exp(vf_sub(e[i], most));
        sum = vf_add(sum, e[i]);
    }
    for (int32_t i = 0; i < used; i++) acc = vf_fma(vf_div(e[i], sum), k[i], acc);
    return acc;
}

static void save_row(const hd_compress_pool_params *p, int32_t seq, int32_t row)
{
    int64_t channels = channels_of(p);
    float *slot = carry_of(p, seq, p->rows.row_pos[row]);
    memcpy(slot, p->k + row * channels, (size_t)channels * sizeof *slot);
    for (int64_t c = 0; c < channels; c += 16)
        st_f32(slot + channels + c, gate_of(p, row, c, channels - c), channels - c);
}

void KERN(compress_pool)(const hd_cpu_lane *lane, const hd_compress_pool_params *p)
{
    int64_t blocks = (p->width + 15) / 16;
    hd_par_range r = my_rows(lane, p->n_out * blocks);
    for (int64_t i = r.begin; i < r.end; i++) {
        int64_t c = i % blocks * 16, n = p->width - c;
        vf x = pool16(p, p->out_row[i / blocks], c, n);
        st_bf16(p->out + i / blocks * p->width + c, x, n);
    }
    /* A slot may hold a row that another thread's group still needs. */
    hd_par_barrier(lane->par);
    for (int32_t seq = 0; seq < p->rows.n_seqs; seq++) {
        int32_t len = p->rows.seq_len[seq], pos0 = p->rows.seq_pos0[seq];
        for (int32_t i = 0, row = p->rows.seq_row0[seq]; i < len; i++, row++)
            if (row % lane->n == lane->i && hd_carry_keeps(p->ratio, pos0 + i, pos0 + len))
                save_row(p, seq, row);
    }
}
