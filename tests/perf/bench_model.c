/* Speed of a whole model: prefill and decode, beside what the machine can read.
 *
 *     bench_model DIR [THREADS] [DEVICE]
 *
 * Decode is bound by memory: its share is (bytes that a token must touch × tokens/s) over a plain
 * read by the same number of threads, measured next to it in the same process, because neighbours
 * change what the machine gives from minute to minute. Prefill is given as a ratio to decode. A
 * benchmark, not a test: it asserts nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/par.h"
#include "hadal/model.h"
#include "model/names.h"

enum { N_PREFILL = 512, N_DECODE = 24, N_ROUNDS = 5, READ_MB = 1024 };

static hd_err err;

static void check(hd_status st)
{
    if (st == HD_OK) return;
    fprintf(stderr, "bench_model: %s\n", err.text);
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- what the machine gives -------------------------------------------------------------------
 */

typedef struct reader {
    hd_par *team;
    const uint64_t *data; /* [n] */
    size_t n;
    uint64_t sum[HD_PAR_MAX_THREADS]; /* keeps the loads alive */
} reader;

/* A plain linear read of each thread's part, with sums that the compiler turns into vectors. */
static void read_part(void *arg, int i_thread)
{
    reader *r = arg;
    hd_par_range part = hd_par_split((int64_t)r->n, 64, i_thread, hd_par_n_threads(r->team));
    uint64_t s[32] = {0};
    for (int64_t i = part.begin; i + 32 <= part.end; i += 32) {
        __builtin_prefetch(r->data + i + 512);
        for (int k = 0; k < 32; k++) s[k] += r->data[i + k];
    }
    for (int k = 0; k < 32; k++) r->sum[i_thread] += s[k];
}

static double read_bytes_per_s(reader *r)
{
    double start = now_s();
    hd_par_run(r->team, read_part, r);
    hd_par_rest(r->team);
    return (double)(r->n * sizeof *r->data) / (now_s() - start);
}

static void reader_init(reader *r, int n_threads)
{
    r->n = (size_t)READ_MB << 17;
    uint64_t *data = hd_mem_try_aligned(4096, r->n * sizeof *data);
    if (!data) check(HD_SET_ERR(&err, HD_E_NOMEM, "out of memory for the read test"));
    memset(data, 1, r->n * sizeof *data);
    r->data = data;
    check(hd_par_create(n_threads, &r->team, &err));
}

/* ---- what a token must touch ------------------------------------------------------------------
 */

/* All weights but the embedding table, the hash tables and the experts that are not chosen. */
static double bytes_per_token(const char *dir)
{
    hd_config c;
    hd_ckpt *ck;
    check(hd_config_load(dir, &c, &err));
    check(hd_ckpt_open(dir, 0, NULL, &ck, &err));
    check(hd_names_resolve(ck, &c, NULL, &err));
    double share = (double)c.n_active_experts / c.n_experts, bytes = 0.0;
    hd_names_iter it;
    hd_tensor_spec spec;
    hd_names_begin(&it, &c);
    while (hd_names_next(&it, &spec)) {
        if (spec.block >= c.n_layers || spec.weight == HD_W_EMBED) continue;
        if (spec.weight == HD_W_GATE_TID2EID) continue;
        bytes += (double)hd_names_bytes(&spec) * (spec.expert >= 0 ? share : 1.0);
    }
    hd_ckpt_close(ck);
    return bytes;
}

/* ---- the runs ---------------------------------------------------------------------------------
 */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return v[n / 2];
}

static int32_t *random_ids(int32_t n, int32_t vocab)
{
    uint64_t state = 1;
    int32_t *ids = hd_mem_calloc((size_t)n, sizeof *ids);
    for (int32_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        ids[i] = (int32_t)((state >> 33) % (uint64_t)vocab);
    }
    return ids;
}

typedef struct speed {
    double prefill_tok_s, decode_tok_s, decode_share;
} speed;

static speed run_round(hd_seq *seq, hd_model *m, const int32_t *ids, float *logits, reader *r,
                       double bytes)
{
    speed s;
    hd_seq_reset(seq);
    double start = now_s();
    check(hd_model_step(m, &(hd_step_item){seq, ids, N_PREFILL, 1, logits}, 1, &err));
    s.prefill_tok_s = N_PREFILL / (now_s() - start);
    double before = read_bytes_per_s(r);
    start = now_s();
    for (int32_t i = 0; i < N_DECODE; i++)
        check(hd_model_step(m, &(hd_step_item){seq, ids + N_PREFILL + i, 1, 1, logits}, 1, &err));
    s.decode_tok_s = N_DECODE / (now_s() - start);
    double after = read_bytes_per_s(r);
    s.decode_share = s.decode_tok_s * bytes / (0.5 * (before + after));
    return s;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_model DIR [THREADS] [DEVICE] [ISA]\n");
        return 2;
    }
    hd_model_opts opts = {.n_threads = argc > 2 ? (int32_t)strtol(argv[2], NULL, 10) : 0,
                          .device = argc > 3 ? argv[3] : "cpu",
                          .isa = argc > 4 ? argv[4] : NULL,
                          .max_ctx = N_PREFILL + N_DECODE,
                          .max_seqs = 1};
    hd_model *m;
    hd_seq *seq;
    hd_model_info info;
    static reader r;
    double prefill[N_ROUNDS], decode[N_ROUNDS], share[N_ROUNDS];
    double bytes = bytes_per_token(argv[1]);
    check(hd_model_open(argv[1], &opts, &m, &err));
    hd_model_get_info(m, &info);
    check(hd_seq_create(m, &seq, &err));
    reader_init(&r, opts.n_threads);
    int32_t *ids = random_ids(N_PREFILL + N_DECODE, info.vocab_size);
    float *logits = hd_mem_calloc((size_t)info.vocab_size, sizeof *logits);

    printf("%s on %s\n%.3f GB of weights per token\n", info.variant, info.device, bytes / 1e9);
    run_round(seq, m, ids, logits, &r, bytes); /* warms the page cache */
    for (int i = 0; i < N_ROUNDS; i++) {
        speed s = run_round(seq, m, ids, logits, &r, bytes);
        prefill[i] = s.prefill_tok_s;
        decode[i] = s.decode_tok_s;
        share[i] = s.decode_share;
    }
    double p = median(prefill, N_ROUNDS), d = median(decode, N_ROUNDS);
    printf("read       %6.1f GB/s\n", read_bytes_per_s(&r) / 1e9);
    printf("prefill %d %6.1f tok/s   %.1f x decode\n", N_PREFILL, p, p / d);
    printf("decode     %6.1f tok/s   %.2f of a plain read\n", d, median(share, N_ROUNDS));

    hd_mem_free(ids);
    hd_mem_free(logits);
    hd_mem_free((void *)(uintptr_t)r.data);
    hd_par_destroy(r.team);
    hd_seq_destroy(seq);
    hd_model_close(m);
    return 0;
}
