/* Speed of the CPU backend's ops, beside what the machine gives.
 *
 *     bench_ops [THREADS] [ISA] [PREFIX]      PREFIX: only ops whose name begins so
 *
 * Two roofs are measured in the same process: a plain linear read by the same number of threads,
 * next to every memory-bound sample, since neighbours change it from minute to minute; and the
 * dot step of the instruction set on registers. One token streams distinct matrices, 256 MB of
 * them, so that nothing comes from a cache; many tokens use one matrix. Medians of a few samples. A
 * benchmark, not a test: it asserts nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "simd/simd_probe.h"

enum { POOL_BYTES = 256 << 20, MAX_TOKENS = 512, MAX_COLS = 8192, N_SAMPLES = 7 };

static hd_dev *dev;
static hd_stream *stream;
static hd_par *team; /* for the read */
static hd_err err;
static uint8_t *pool; /* weights: POOL_BYTES of codes without NaN */
static uint8_t *scales;
static hd_bf16 *x;        /* bf16 [MAX_TOKENS · 4, MAX_COLS] */
static uint8_t *y, *work; /* outputs */
static double peak_flops;
static const char *prefix = "";

static void check(hd_status st)
{
    if (st == HD_OK) return;
    fprintf(stderr, "bench_ops: status %d %s\n", st, err.text);
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double p = *(const double *)a, q = *(const double *)b;
    return (p > q) - (p < q);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return v[n / 2];
}

static void *take(size_t bytes)
{
    void *p = hd_mem_try_aligned(4096, bytes);
    if (!p) check(HD_SET_ERR(&err, HD_E_NOMEM, "out of memory"));
    memset(p, 0, bytes);
    return p;
}

/* ---- roofs ---------------------------------------------------------------------------------- */

typedef struct reading {
    size_t bytes;
    uint64_t sum[HD_PAR_MAX_THREADS]; /* keeps the loads alive */
} reading;

static void read_part(void *arg, int i)
{
    reading *r = arg;
    hd_par_range part = hd_par_split((int64_t)r->bytes / 8, 512, i, hd_par_n_threads(team));
    const uint64_t *data = (const uint64_t *)(const void *)pool;
    uint64_t s[32] = {0};
    for (int64_t k = part.begin; k + 32 <= part.end; k += 32) {
        __builtin_prefetch(data + k + 512);
        for (int l = 0; l < 32; l++) s[l] += data[k + l];
    }
    for (int l = 0; l < 32; l++) r->sum[i] += s[l];
}

/* Seconds for a plain read of the first n bytes of the pool. */
static double read_s(size_t n)
{
    static reading r;
    r.bytes = n;
    double start = now_s();
    hd_par_run(team, read_part, &r);
    return now_s() - start;
}

static void peak_part(void *arg, int i)
{
    const simd_probe *p = arg;
    (void)i;
    if (p->peak(200000) < 0.0f) check(HD_E_BUG); /* keeps the work alive */
}

static double measure_peak(const char *isa)
{
    const simd_probe *p = NULL;
    for (int i = 0; (p = simd_probe_at(i)) && isa && strcmp(p->isa, isa) != 0; i++) {}
    if (!p) check(HD_SET_ERR(&err, HD_E_ARG, "no such instruction set"));
    double flops[N_SAMPLES];
    for (int i = 0; i < N_SAMPLES; i++) {
        double start = now_s();
        hd_par_run(team, peak_part, (void *)(uintptr_t)p);
        flops[i] = 200000.0 * 16 * 64 * hd_par_n_threads(team) / (now_s() - start);
    }
    return median(flops, N_SAMPLES);
}

/* ---- matrices ------------------------------------------------------------------------------- */

static const char *format_name(hd_weight_format format)
{
    static const char *const names[] = {"f32", "bf16", "fp8", "fp4"};
    return names[format];
}

static size_t part_bytes(hd_weight_format format, int rows, int cols)
{
    static const size_t half_bytes[] = {8, 4, 2, 1};
    return (size_t)rows * (size_t)cols * half_bytes[format] / 2;
}

/* Bytes that a product reads per part, scales included. */
static size_t read_bytes(hd_weight_format format, int rows, int cols)
{
    size_t scale = format == HD_WEIGHT_FP4 ? (size_t)rows * (size_t)cols / 32 : 0;
    return part_bytes(format, rows, cols) + scale;
}

/* n_parts matrices, one behind the other in the pool. */
static hd_weight *make_weight(hd_weight_format format, int rows, int cols, int n_parts)
{
    const void **data = hd_mem_calloc((size_t)n_parts, sizeof *data);
    const void **scale = hd_mem_calloc((size_t)n_parts, sizeof *scale);
    for (int i = 0; i < n_parts; i++) {
        data[i] = pool + (size_t)i * part_bytes(format, rows, cols);
        scale[i] = scales + (size_t)i * (size_t)rows * (size_t)cols / 32 % (POOL_BYTES / 32);
    }
    hd_weight *w;
    hd_weight_desc desc = {format, rows, cols, n_parts, data, scale};
    check(dev->mem.pack(dev, &desc, &w, &err));
    hd_mem_free(data);
    hd_mem_free(scale);
    return w;
}

static bool wanted(const char *name)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static void report(const char *name, double seconds, double bytes, double flops, double share)
{
    printf("%-34s %9.1f us %7.1f GB/s %8.1f GFLOP/s", name, seconds * 1e6, bytes / seconds / 1e9,
           flops / seconds / 1e9);
    if (share > 0) printf("   %.2f of read", share);
    if (flops > 0) printf("   %.2f of peak", flops / seconds / peak_flops);
    printf("\n");
}

/* One token, every matrix of the pool once per sample. */
static void bench_gemv(hd_weight_format format, int rows, int cols, int n_tok)
{
    char name[64];
    snprintf(name, sizeof name, "linear %s %dx%d n=%d", format_name(format), rows, cols, n_tok);
    if (!wanted(name)) return;
    int n = (int)(POOL_BYTES / part_bytes(format, rows, cols));
    if (n > 256) n = 256;
    hd_weight **w = hd_mem_calloc((size_t)n, sizeof *w);
    hd_weight *all = make_weight(format, rows, cols, n);
    for (int i = 0; i < n; i++) {
        const void *data = pool + (size_t)i * part_bytes(format, rows, cols), *scale = scales;
        hd_weight_desc desc = {format, rows, cols, 1, &data, &scale};
        check(dev->mem.pack(dev, &desc, &w[i], &err));
    }
    size_t bytes = (size_t)n * read_bytes(format, rows, cols);
    double took[N_SAMPLES], share[N_SAMPLES];
    for (int s = 0; s < N_SAMPLES; s++) {
        double read = read_s(bytes), start = now_s();
        for (int i = 0; i < n; i++)
            check(hd_op_linear(stream,
                               &(hd_linear_params){n_tok, 1, HD_X_BF16, HD_Y_BF16, x, w[i], y}));
        took[s] = now_s() - start;
        share[s] = 0.5 * (read + read_s(bytes)) / took[s];
    }
    double flops = 2.0 * n * n_tok * rows * cols;
    report(name, median(took, N_SAMPLES), (double)bytes, flops, median(share, N_SAMPLES));
    for (int i = 0; i < n; i++) dev->mem.unpack(dev, w[i]);
    dev->mem.unpack(dev, all);
    hd_mem_free(w);
}

static void bench_gemm(hd_weight_format format, int rows, int cols, int n_tok)
{
    char name[64];
    snprintf(name, sizeof name, "linear %s %dx%d n=%d", format_name(format), rows, cols, n_tok);
    if (!wanted(name)) return;
    hd_weight *w = make_weight(format, rows, cols, 1);
    double took[N_SAMPLES];
    for (int s = 0; s < N_SAMPLES; s++) {
        double start = now_s();
        check(hd_op_linear(stream, &(hd_linear_params){n_tok, 1, HD_X_BF16, HD_Y_BF16, x, w, y}));
        took[s] = now_s() - start;
    }
    report(name, median(took, N_SAMPLES), (double)read_bytes(format, rows, cols),
           2.0 * n_tok * rows * cols, 0);
    dev->mem.unpack(dev, w);
}

/* Top-6 of n_experts, spread evenly. */
static void bench_experts(hd_weight_format format, int rows, int cols, int n_experts, int n_tok)
{
    enum { K = 6 };
    static int32_t expert[MAX_TOKENS * K], order[MAX_TOKENS * K], place[MAX_TOKENS * K];
    static int32_t offset[257];
    char name[64];
    snprintf(name, sizeof name, "grouped_linear %s %dx%d %dx%d", format_name(format), rows, cols,
             n_tok, n_experts);
    if (!wanted(name)) return;
    for (int i = 0; i < n_tok * K; i++) expert[i] = (i * 5 + i / K) % n_experts;
    hd_weight *w = make_weight(format, rows, cols, n_experts);
    check(hd_op_moe_group(
        stream, &(hd_moe_group_params){n_tok, n_experts, K, expert, order, place, offset}));
    double took[N_SAMPLES], share[N_SAMPLES], active = 0;
    for (int e = 0; e < n_experts; e++) active += offset[e + 1] > offset[e];
    double bytes = active * (double)read_bytes(format, rows, cols);
    for (int s = 0; s < N_SAMPLES; s++) {
        double read = read_s(POOL_BYTES), start = now_s(); /* which also empties the caches */
        check(hd_op_grouped_linear(stream, &(hd_grouped_linear_params){n_tok * K, n_tok, HD_X_BF16,
                                                                       x, order, K, offset, w,
                                                                       (hd_bf16 *)(void *)y}));
        took[s] = now_s() - start;
        share[s] = read * bytes / POOL_BYTES / took[s];
    }
    report(name, median(took, N_SAMPLES), bytes, 2.0 * n_tok * K * rows * cols,
           median(share, N_SAMPLES));
    dev->mem.unpack(dev, w);
}

/* ---- a sequence's rows ---------------------------------------------------------------------- */

static int32_t row_seq[MAX_TOKENS], row_pos[MAX_TOKENS], pages[16384];
static int32_t seq_row0, seq_len, seq_pos0, seq_slot;

/* One sequence: n rows from position pos0 on. */
static hd_step_rows make_step(int n, int pos0)
{
    for (int i = 0; i < n; i++) row_pos[i] = pos0 + i;
    for (int i = 0; i < (int)HD_COUNT(pages); i++) pages[i] = i;
    seq_len = n;
    seq_pos0 = pos0;
    return (hd_step_rows){.n_rows = n,
                          .n_seqs = 1,
                          .row_seq = row_seq,
                          .row_pos = row_pos,
                          .seq_row0 = &seq_row0,
                          .seq_len = &seq_len,
                          .seq_pos0 = &seq_pos0,
                          .seq_slot = &seq_slot,
                          .end_pos = pos0 + n};
}

static void bench_attention(int n_heads, int n, int pos0, int ratio)
{
    char name[64];
    snprintf(name, sizeof name, "attention H%d ratio %d %d@%d", n_heads, ratio, n, pos0);
    if (!wanted(name)) return;
    static float sink[256];
    hd_step_rows rows = make_step(n, pos0);
    hd_attention_params p = {.rows = rows,
                             .kind = HD_ATTN_CAUSAL,
                             .n_heads = n_heads,
                             .scale = 0.0442f,
                             .q = x,
                             .new_rows = pool,
                             .window = {pool + (1 << 20), pages, 8},
                             .ratio = ratio,
                             .compressed = {pool + (2 << 20), pages, HD_COUNT(pages)},
                             .sink = sink,
                             .o = (hd_bf16 *)(void *)y};
    double took[N_SAMPLES], keys = 0;
    for (int i = 0; i < n; i++)
        keys += (row_pos[i] < 127 ? row_pos[i] + 1 : 128) + (ratio ? (row_pos[i] + 1) / ratio : 0);
    for (int s = 0; s < N_SAMPLES; s++) {
        double start = now_s();
        check(hd_op_attention(stream, &p));
        took[s] = now_s() - start;
    }
    report(name, median(took, N_SAMPLES), keys * HD_KV_ROW_BYTES, keys * n_heads * 4 * HD_HEAD_DIM,
           0);
}

static void bench_index(int n_heads, int n, int pos0)
{
    char name[64];
    snprintf(name, sizeof name, "index_topk H%d %d@%d", n_heads, n, pos0);
    if (!wanted(name)) return;
    hd_step_rows rows = make_step(n, pos0);
    hd_index_topk_params p = {.rows = rows,
                              .n_heads = n_heads,
                              .k = 512,
                              .n_score = (pos0 + n) / 4,
                              .factor = 0.011f,
                              .q = x,
                              .w = x,
                              .keys = {pool, pages, HD_COUNT(pages)},
                              .sel = (int32_t *)(void *)y,
                              .work = work};
    double took[N_SAMPLES], keys = (double)n * (pos0 + 0.5 * n) / 4;
    for (int s = 0; s < N_SAMPLES; s++) {
        double start = now_s();
        check(hd_op_index_topk(stream, &p));
        took[s] = now_s() - start;
    }
    report(name, median(took, N_SAMPLES), (double)p.n_score * HD_INDEX_ROW_BYTES,
           keys * n_heads * 2 * HD_INDEX_DIM, 0);
}

/* The small ops that every layer runs: T rows of D = 4096. */
static void bench_small(int n)
{
    enum { D = 4096, H = 64 };
    static float f[MAX_TOKENS * 64];
    char name[64];
    float *mix = (float *)(void *)work;
    hd_weight *fn = make_weight(HD_WEIGHT_F32, 24, 4 * D, 1);
    hd_bf16 *out = (hd_bf16 *)(void *)y;
    hd_hc_mix_params m = {n,  D, false, 20,  1e-6f,        1e-6f,        x,
                          fn, f, f,     mix, mix + n * 24, mix + n * 28, mix + n * 32};
#define BENCH(op, bytes, ...)                                                                      \
    do {                                                                                           \
        double took[N_SAMPLES];                                                                    \
        snprintf(name, sizeof name, #op " n=%d", n);                                               \
        if (!wanted(name)) break;                                                                  \
        for (int s = 0; s < N_SAMPLES; s++) {                                                      \
            double start = now_s();                                                                \
            for (int i = 0; i < 5; i++) check(hd_op_##op(stream, &(hd_##op##_params)__VA_ARGS__)); \
            took[s] = (now_s() - start) / 5;                                                       \
        }                                                                                          \
        report(name, median(took, N_SAMPLES), (double)(bytes), 0, 0);                              \
    } while (0)
    size_t row = (size_t)n * D * 2;
    BENCH(hc_pre, 4 * row + 24 * 16 * D, {m, x, out});
    BENCH(hc_merge, 9 * row, {n, D, x, x, f, f, out});
    BENCH(rms_norm_quant, 3 * row, {{n, D, 1e-6f, x, x, out}, work});
    BENCH(quantize_act, 2 * row, {n, D, x, out});
    BENCH(swiglu, 3 * row, {n, D, 10.0f, x, x, f, NULL, out});
    BENCH(q_norm_rope, 2 * 8 * row, {n, H, 1e-6f, f, x});
    BENCH(kv_norm_rope_pack, (size_t)n * 1608, {n, 1e-6f, out, x, f, work});
    BENCH(hadamard_quant, (size_t)n * H * 512, {n * H, out});
#undef BENCH
    dev->mem.unpack(dev, fn);
}

static void fill_inputs(void)
{
    uint64_t rng = 1;
    for (size_t i = 0; i < POOL_BYTES; i += 8) {
        rng = rng * 6364136223846793005u + 1442695040888963407u;
        uint64_t codes = (rng ^ rng >> 29) & 0xbfbfbfbfbfbfbfbfu; /* |FP8 code| < 64: below 2 */
        memcpy(pool + i, &codes, sizeof codes);
    }
    memset(scales, 120, POOL_BYTES / 16);
    for (size_t i = 0; i < (size_t)MAX_TOKENS * 4 * MAX_COLS; i++)
        x[i] = hd_bf16_from_f32((float)((int)(i * 2654435761u >> 8 & 255) - 128) / 64.0f);
}

int main(int argc, char **argv)
{
    hd_dev_opts opts = {.n_threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0,
                        .isa = argc > 2 ? argv[2] : NULL};
    if (argc > 3) prefix = argv[3];
    check(hd_dev_open("cpu", &opts, &dev, &err));
    check(dev->stream.create(dev, &stream, &err));
    check(hd_par_create(dev->props.n_threads, &team, &err));
    pool = take(POOL_BYTES + POOL_BYTES / 16); /* FP4 with its scales reads that much */
    scales = take(POOL_BYTES / 16);
    x = take((size_t)MAX_TOKENS * 4 * MAX_COLS * sizeof *x);
    y = take((size_t)MAX_TOKENS * 6 * MAX_COLS * 4);
    work = take((size_t)64 << 20);
    fill_inputs();
    double read[N_SAMPLES];
    for (int i = 0; i < N_SAMPLES; i++) read[i] = POOL_BYTES / read_s(POOL_BYTES);
    peak_flops = measure_peak(opts.isa);
    printf("%s\nread %.1f GB/s, dot peak %.0f GFLOP/s\n", dev->props.description,
           median(read, N_SAMPLES) / 1e9, peak_flops / 1e9);

    static const hd_weight_format formats[] = {HD_WEIGHT_FP4, HD_WEIGHT_FP8, HD_WEIGHT_BF16};
    for (size_t i = 0; i < HD_COUNT(formats); i++) {
        static const int few[] = {1, 2, 4, 8}, many[] = {8, 32, 128, 512};
        for (size_t k = 0; k < HD_COUNT(few); k++) bench_gemv(formats[i], 2048, 4096, few[k]);
        bench_gemv(formats[i], 4096, 2048, 1);
        for (size_t k = 0; k < HD_COUNT(many); k++) bench_gemm(formats[i], 2048, 4096, many[k]);
    }
    bench_experts(HD_WEIGHT_FP4, 2048, 4096, 32, 1);
    bench_experts(HD_WEIGHT_FP4, 2048, 4096, 32, 8);
    bench_experts(HD_WEIGHT_FP4, 2048, 4096, 32, 64);
    bench_experts(HD_WEIGHT_FP4, 2048, 4096, 32, 512);
    bench_attention(64, 1, 4000, 128);
    bench_attention(64, 1, 2047, 4);
    bench_attention(64, 128, 384, 4);
    bench_index(64, 1, 65536);
    bench_index(64, 16, 4096);
    bench_small(1);
    bench_small(512);

    stream->dev->stream.destroy(stream);
    hd_dev_close(dev);
    hd_par_destroy(team);
    hd_mem_free(pool);
    hd_mem_free(scales);
    hd_mem_free(x);
    hd_mem_free(y);
    hd_mem_free(work);
    return 0;
}
