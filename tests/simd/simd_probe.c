#include "simd/simd_probe.h"

#include "backend/cpu/kern/kern.h"

static vf in_f32(const uint8_t *in, int i)
{
    float x[16];
    memcpy(x, in + 64 * i, sizeof x);
    return vf_load(x);
}

static void out_f32(uint8_t *out, int i, vf x)
{
    float y[16];
    vf_store(y, x);
    memcpy(out + 64 * i, y, sizeof y);
}

static vi in_int(const uint8_t *in, int i)
{
    return vi_of(in_f32(in, i));
}

static void out_int(uint8_t *out, int i, vi x)
{
    out_f32(out, i, vf_of(x));
}

#define IN       const hd_cpu_tables *tables HD_UNUSED, const uint8_t *in, uint8_t *out
#define A        in_f32(in, 0)
#define B        in_f32(in, 1)
#define C        in_f32(in, 2)
#define PROBE(x) static void probe_##x(IN)

#define BINARY(name)                                                                               \
    PROBE(name)                                                                                    \
    {                                                                                              \
        out_f32(out, 0, vf_##name(A, B));                                                          \
    }
BINARY(add)
BINARY(sub)
BINARY(mul)
BINARY(div)
BINARY(max)
BINARY(min)
#undef BINARY
#define BINARY(name)                                                                               \
    PROBE(int_##name)                                                                              \
    {                                                                                              \
        out_int(out, 0, vi_##name(in_int(in, 0), in_int(in, 1)));                                  \
    }
BINARY(add)
BINARY(sub)
BINARY(and)
BINARY(or)
BINARY(xor)
BINARY(max)
#undef BINARY

PROBE(fma)
{
    out_f32(out, 0, vf_fma(A, B, C));
}

PROBE(less)
{
    out_f32(out, 0, vf_sel(vf_lt(A, B), A, B));
}

PROBE(nan)
{
    out_f32(out, 0, vf_sel(vf_nan(A), B, A));
}

PROBE(shift)
{
    out_int(out, 0, vi_shl(in_int(in, 0), 7));
    out_int(out, 1, vi_shr(in_int(in, 0), 9));
}

PROBE(narrow)
{
    vi x = in_int(in, 0);
    uint16_t words[16];
    vi_store_u16(words, vi_and(x, vi_set1(0xffff)));
    memcpy(out, words, sizeof words);
    vi_store_u8(out + sizeof words, vi_and(x, vi_set1(0xff)));
}

PROBE(widen)
{
    uint16_t words[16];
    memcpy(words, in, sizeof words);
    out_int(out, 0, vi_load_u16(words));
}

PROBE(swap)
{
    out_f32(out, 0, vf_swap(A, 1));
    out_f32(out, 1, vf_swap(A, 2));
    out_f32(out, 2, vf_swap(A, 4));
    out_f32(out, 3, vf_swap(A, 8));
}

PROBE(hsum)
{
    float sum = vf_hsum(A);
    memcpy(out, &sum, sizeof sum);
}

PROBE(hmax)
{
    float max = vf_hmax(A);
    int32_t int_max = vi_hmax(in_int(in, 0));
    memcpy(out, &max, sizeof max);
    memcpy(out + 4, &int_max, sizeof int_max);
}

PROBE(hsum8)
{
    vf v[8];
    float sum[8];
    for (int i = 0; i < 8; i++) v[i] = in_f32(in, i);
    vf_hsum8(v, sum);
    memcpy(out, sum, sizeof sum);
}

PROBE(load_bf16)
{
    hd_bf16 x[16];
    memcpy(x, in, sizeof x);
    out_f32(out, 0, vf_load_bf16(x));
}

PROBE(store_bf16)
{
    hd_bf16 y[16];
    vf_store_bf16(y, A);
    memcpy(out, y, sizeof y);
}

PROBE(round_bf16)
{
    out_f32(out, 0, vf_round_bf16(A));
}

PROBE(exp)
{
    out_f32(out, 0, vf_exp(A));
}

PROBE(silu)
{
    out_f32(out, 0, vf_silu(A));
}

PROBE(e4m3)
{
    out_int(out, 0, vi_e4m3(A));
}

PROBE(from_e4m3)
{
    uint16_t code[16];
    for (int i = 0; i < 16; i++) code[i] = in[i];
    out_f32(out, 0, vf_from_e4m3(vi_load_u16(code)));
}

PROBE(e2m1)
{
    out_int(out, 0, vi_e2m1(A));
}

PROBE(dot_bf16)
{
    out_f32(out, 0, vw_dot(A, vw_bf16(in + 64), vw_bf16(in + 128)));
}

PROBE(dot_panel)
{
    HD_ALIGNED(64) uint8_t pan[2][2 * PAN_BYTES];
    hd_bf16 x[2][32];
    memcpy(x, in + 64, sizeof x);
    pack_row(pan[0], x[0], 32);
    pack_row(pan[1], x[1], 32);
    vf acc = vw_dot(A, vw_pan(pan[0]), vw_pan(pan[1]));
    out_f32(out, 0, vw_dot(acc, vw_pan(pan[0] + PAN_BYTES), vw_pan(pan[1] + PAN_BYTES)));
}

PROBE(dot_pair)
{
    uint32_t word;
    memcpy(&word, in + 128, sizeof word);
    out_f32(out, 0, vw_dot(A, vw_bf16(in + 64), vw_pair(word)));
}

PROBE(dot_rows)
{
    hd_bf16 a[16], b[16];
    memcpy(a, in + 64, sizeof a);
    memcpy(b, in + 96, sizeof b);
    out_f32(out, 0, vw_dot(A, vw_rows(a, b), vw_bf16(in + 128)));
}

PROBE(dot_fp4)
{
    out_f32(out, 0, vw_dot(A, vw_fp4(in + 128, tables, in[144]), vw_bf16(in + 64)));
}

PROBE(dot_fp8)
{
    vw w[2];
    vw_fp8x2(in + 192, v8_load(tables, in[256]), w);
    vf acc = vw_dot(A, w[0], vw_bf16(in + 64));
    out_f32(out, 0, vw_dot(acc, w[1], vw_bf16(in + 128)));
}

PROBE(fp8_to_bf16)
{
    hd_bf16 y[64];
    fp8_to_bf16(in, v8_load(tables, in[64]), y);
    memcpy(out, y, sizeof y);
}

PROBE(dot_f32)
{
    out_f32(out, 0, vp_dot(A, vp_f32(in + 64), vp_bf16(in + 192)));
}

typedef void (*probe_fn)(const hd_cpu_tables *, const uint8_t *, uint8_t *);

static void run(int id, const hd_cpu_tables *tables, const uint8_t *in, uint8_t *out)
{
    static const probe_fn probes[SIMD_COUNT] = {
#define ENTRY(name, n_in, n_out) probe_##name,
        SIMD_PROBES(ENTRY)
#undef ENTRY
    };
    probes[id](tables, in, out);
}

static float peak(int64_t n)
{
    hd_bf16 x[32];
    for (int i = 0; i < 32; i++) x[i] = 0x3f80;
    vw w = vw_bf16(x);
    vf acc[16], sum = vf_zero();
    for (int i = 0; i < 16; i++) acc[i] = vf_set1((float)i);
    for (int64_t j = 0; j < n; j++)
        for (int i = 0; i < 16; i++) acc[i] = vw_dot(acc[i], w, w);
    for (int i = 0; i < 16; i++) sum = vf_add(sum, acc[i]);
    return vf_hsum(sum);
}

#define NAME_PASTE(isa)  #isa
#define NAME_EXPAND(isa) NAME_PASTE(isa)
extern const simd_probe KERN(probe);
const simd_probe KERN(probe) = {NAME_EXPAND(HD_ISA), run, peak};
