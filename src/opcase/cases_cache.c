/* Cases of the ops that look across rows: the compressor, the indexer, attention. Each makes a
 * step of several sequences at different positions, with caches whose pages lie in any order. */
#include <stdio.h>
#include <string.h>

#include "opcase/opcase.h"

static size_t area(int32_t a, int32_t b)
{
    return (size_t)a * (size_t)b;
}

/* ---- a step ---------------------------------------------------------------------------------- */

enum { MAX_SEQS = 4, MAX_ROWS = 1024 };

/* The step on the host, and the same on the device. */
typedef struct step {
    int32_t n_rows, n_seqs, end_pos;
    int32_t row_seq[MAX_ROWS], row_pos[MAX_ROWS];
    int32_t seq_row0[MAX_SEQS], seq_len[MAX_SEQS], seq_pos0[MAX_SEQS], seq_slot[MAX_SEQS];
    hd_step_rows dev;
} step;

static void add_sequence(step *s, int32_t pos0, int32_t len)
{
    int32_t seq = s->n_seqs++;
    s->seq_row0[seq] = s->n_rows;
    s->seq_len[seq] = len;
    s->seq_pos0[seq] = pos0;
    for (int32_t i = 0; i < len; i++) {
        s->row_seq[s->n_rows] = seq;
        s->row_pos[s->n_rows++] = pos0 + i;
    }
    if (pos0 + len > s->end_pos) s->end_pos = pos0 + len;
}

static void finish_step(hd_opcase *c, step *s)
{
    hd_opcase_shuffle(c, s->seq_slot, MAX_SEQS);
    s->dev = (hd_step_rows){.n_rows = s->n_rows,
                            .n_seqs = s->n_seqs,
                            .row_seq = hd_opcase_put(c, s->row_seq, (size_t)s->n_rows * 4),
                            .row_pos = hd_opcase_put(c, s->row_pos, (size_t)s->n_rows * 4),
                            .seq_row0 = hd_opcase_put(c, s->seq_row0, (size_t)s->n_seqs * 4),
                            .seq_len = hd_opcase_put(c, s->seq_len, (size_t)s->n_seqs * 4),
                            .seq_pos0 = hd_opcase_put(c, s->seq_pos0, (size_t)s->n_seqs * 4),
                            .seq_slot = hd_opcase_put(c, s->seq_slot, (size_t)s->n_seqs * 4),
                            .end_pos = s->end_pos};
}

/* One to four sequences: beginnings, single decoded tokens, chunks in the middle. Fewer rows at a
 * model's shapes: ref is slow. */
static void random_step(hd_opcase *c, step *s, int32_t max_len)
{
    int32_t n_seqs = HD_OPCASE_PICK(c, 1, 0, 2, 4);
    if (c->sizes && max_len > 3) max_len = 3;
    *s = (step){0};
    for (int32_t i = 0; i < n_seqs; i++) {
        int32_t pos0 = HD_OPCASE_PICK(c, 0, 130, 3, 127, 128, 500, 256, 1021);
        int32_t len = HD_OPCASE_PICK(c, 1, 7, 140, 2, 128, 5, 33);
        add_sequence(s, pos0, len < max_len ? len : max_len);
    }
    finish_step(c, s);
}

/* ---- paged rows ------------------------------------------------------------------------------ */

/* KV rows as kv_pack leaves them: any codes but NaN, scales that bring values to about 1. */
static void fill_kv_row(hd_opcase *c, uint8_t *row)
{
    for (int32_t i = 0; i < HD_NOPE_DIM; i++) {
        row[i] = (uint8_t)hd_opcase_random(c);
        if ((row[i] & 0x7f) == 0x7f) row[i] = 0x80;
    }
    hd_opcase_fill_bf16(c, (hd_bf16 *)(void *)(row + HD_KV_ROW_ROPE_AT), HD_ROPE_DIM, 1.0f);
    for (int32_t i = 0; i < HD_NOPE_DIM / HD_KV_GROUP; i++)
        row[HD_KV_ROW_SCALE_AT + i] = (uint8_t)hd_opcase_int(c, 127 - 11, 127 - 6);
    row[HD_KV_ROW_BYTES - 1] = 0;
}

static void fill_index_row(hd_opcase *c, uint8_t *row)
{
    for (int32_t i = 0; i < HD_INDEX_ROW_SCALE_AT; i++) row[i] = (uint8_t)hd_opcase_random(c);
    for (int32_t i = HD_INDEX_ROW_SCALE_AT; i < HD_INDEX_ROW_BYTES; i++)
        row[i] = (uint8_t)hd_opcase_int(c, 124, 128);
}

/* Each sequence has pages for max_rows rows, scattered over the pool. */
static hd_paged_rows random_pages(hd_opcase *c, int32_t n_seqs, int32_t max_rows, int32_t row_bytes)
{
    int32_t max_pages = (max_rows + HD_PAGE_ROWS - 1) / HD_PAGE_ROWS;
    int32_t n_pages = n_seqs * max_pages, n_rows = n_pages * HD_PAGE_ROWS;
    uint8_t *pool = hd_opcase_host(c, area(n_rows, row_bytes));
    int32_t *page = hd_opcase_host(c, (size_t)n_pages * 4);
    hd_opcase_shuffle(c, page, n_pages);
    for (int32_t i = 0; i < n_rows; i++) {
        uint8_t *row = pool + area(i, row_bytes);
        if (row_bytes == HD_KV_ROW_BYTES) {
            fill_kv_row(c, row);
        } else {
            fill_index_row(c, row);
        }
    }
    return (hd_paged_rows){hd_opcase_put(c, pool, area(n_rows, row_bytes)),
                           hd_opcase_put(c, page, (size_t)n_pages * 4), max_pages};
}

/* ---- the compressor -------------------------------------------------------------------------- */

static void case_compress_pool(hd_opcase *c)
{
    int32_t ratio = HD_OPCASE_PICK(c, 4, 128), width = HD_OPCASE_PICK(c, 512, 128);
    if (ratio == 128) width = 512;
    int32_t channels = ratio == 4 ? 2 * width : width, n_slots = hd_carry_slots(ratio), n_out = 0;
    static step s;
    static int32_t out_row[MAX_ROWS];
    random_step(c, &s, MAX_ROWS / MAX_SEQS);
    for (int32_t t = 0; t < s.n_rows; t++)
        if ((s.row_pos[t] + 1) % ratio == 0) out_row[n_out++] = t;
    hd_opcase_shape(c, "ratio %d, width %d, %d rows of %d sequences", ratio, width, s.n_rows,
                    s.n_seqs);
    size_t n_carry = area(MAX_SEQS * n_slots * 2, channels);
    float *host = hd_opcase_host(c, n_carry * 4);
    for (size_t i = 0; i < n_carry; i++) host[i] = (float)hd_opcase_int(c, -2000, 2000) * 0x1p-9f;
    float *carry = hd_opcase_inout(c, host, n_carry * 4);
    hd_bf16 *out = hd_opcase_new(c, area(n_out, width) * 2);
    HD_OPCASE_RUN(c, compress_pool, s.dev, ratio, width,
                  hd_opcase_f32(c, area(s.n_rows, channels), 1.0f),
                  hd_opcase_f32(c, area(s.n_rows, channels), 3.0f),
                  hd_opcase_f32(c, area(ratio, channels), 1.0f), carry, n_out,
                  hd_opcase_put(c, out_row, (size_t)n_out * 4), out);
    hd_opcase_keep(c, HD_OPCASE_BF16, out, n_out, width);
    hd_opcase_keep(c, HD_OPCASE_F32, carry, MAX_SEQS * n_slots * 2, channels);
}

/* ---- the indexer ----------------------------------------------------------------------------- */

/* Some rows in the middle of the step, or all of them. */
static void pick_rows(hd_opcase *c, const step *s, int32_t *row0, int32_t *n_rows)
{
    *row0 = s->n_rows ? hd_opcase_int(c, 0, s->n_rows - 1) : 0;
    *n_rows = s->n_rows - *row0;
    if (hd_opcase_int(c, 0, 1)) *n_rows = hd_opcase_int(c, 0, *n_rows);
}

static void case_index_score(hd_opcase *c)
{
    int32_t heads = HD_OPCASE_SIZE(c, index_heads, 64, 4, 1, 17), row0, n_rows;
    static step s;
    random_step(c, &s, 20);
    pick_rows(c, &s, &row0, &n_rows);
    int32_t n_score = s.end_pos / 4 + HD_OPCASE_PICK(c, 0, 1, 60);
    hd_opcase_shape(c, "%d heads, rows %d + %d, %d entries", heads, row0, n_rows, n_score);
    hd_bf16 *score = hd_opcase_new(c, area(n_rows, n_score) * 2);
    HD_OPCASE_RUN(c, index_score, s.dev, row0, n_rows, heads, 0.011f,
                  hd_opcase_bf16(c, area(s.n_rows * heads, HD_INDEX_DIM), 1.0f),
                  hd_opcase_bf16(c, area(s.n_rows, heads), 1.0f),
                  random_pages(c, s.n_seqs, n_score, HD_INDEX_ROW_BYTES), n_score, score);
    hd_opcase_keep(c, HD_OPCASE_BF16, score, n_rows, n_score);
}

/* Few distinct scores, both zeros and −inf among them, so that the cut runs through ties. */
static void case_top_k(hd_opcase *c)
{
    int32_t k = HD_OPCASE_SIZE(c, index_topk, 8, 1, 96, 512), row0, n_rows,
            n_values = HD_OPCASE_PICK(c, 9, 3, 3000);
    static step s;
    random_step(c, &s, 20);
    pick_rows(c, &s, &row0, &n_rows);
    int32_t n_score = s.end_pos / 4 + HD_OPCASE_PICK(c, 0, 1, 60);
    hd_opcase_shape(c, "%d of %d, rows %d + %d", k, n_score, row0, n_rows);
    int32_t top = hd_opcase_int(c, 0, n_values - 1); /* how many steps the best score is above 0 */
    hd_bf16 *score = hd_opcase_host(c, area(n_rows, n_score) * 2);
    for (size_t i = 0; i < area(n_rows, n_score); i++) {
        float x = (float)(top - hd_opcase_int(c, 0, n_values - 1)) * 0.0625f;
        if (hd_opcase_int(c, 0, 5) == 0) x = -0.0f;
        if (hd_opcase_int(c, 0, 60) == 0) x = -INFINITY;
        score[i] = hd_bf16_from_f32(x);
    }
    int32_t *sel = hd_opcase_new(c, area(s.n_rows, k) * 4);
    HD_OPCASE_RUN(c, top_k, s.dev, row0, n_rows, 4, k, n_score,
                  hd_opcase_put(c, score, area(n_rows, n_score) * 2), sel);
    hd_opcase_keep(c, HD_OPCASE_I32, sel, s.n_rows, k);
}

static void case_index_topk(hd_opcase *c)
{
    int32_t heads = HD_OPCASE_SIZE(c, index_heads, 16, 4, 64);
    int32_t k = HD_OPCASE_SIZE(c, index_topk, 8, 96, 512, 1);
    static step s;
    random_step(c, &s, 20);
    int32_t n_score = s.end_pos / 4 + HD_OPCASE_PICK(c, 0, 60);
    hd_opcase_shape(c, "%d heads, %d of %d, %d rows", heads, k, n_score, s.n_rows);
    hd_index_topk_params p = {.rows = s.dev,
                              .n_heads = heads,
                              .k = k,
                              .n_score = n_score,
                              .factor = 0.011f,
                              .q = hd_opcase_bf16(c, area(s.n_rows * heads, HD_INDEX_DIM), 1.0f),
                              .w = hd_opcase_bf16(c, area(s.n_rows, heads), 1.0f),
                              .keys = random_pages(c, s.n_seqs, n_score, HD_INDEX_ROW_BYTES),
                              .sel = hd_opcase_new(c, area(s.n_rows, k) * 4)};
    p.work = hd_opcase_work(c, HD_OP_index_topk, &p);
    HD_OPCASE_SUBMIT(c, index_topk, &p);
    hd_opcase_keep(c, HD_OPCASE_I32, p.sel, s.n_rows, k);
}

/* ---- attention ------------------------------------------------------------------------------- */

static hd_attention_params random_attention(hd_opcase *c, const step *s, hd_attn_kind kind)
{
    int32_t heads = HD_OPCASE_SIZE(c, n_heads, 4, 1, 17, 8, 64, 3);
    if (s->n_rows > 30 && heads > 17) heads = 17;
    if (s->n_rows > 60 && heads > 3) heads = 2; /* ref is slow */
    uint8_t *rows = hd_opcase_host(c, area(s->n_rows, HD_KV_ROW_BYTES));
    for (int32_t t = 0; t < s->n_rows; t++) fill_kv_row(c, rows + area(t, HD_KV_ROW_BYTES));
    /* Now and then queries so large that most weights vanish and the maximum moves a lot. */
    float width = hd_opcase_int(c, 0, 3) ? 1.0f : 30.0f;
    return (hd_attention_params){
        .rows = s->dev,
        .kind = kind,
        .n_heads = heads,
        .scale = 0.04419417382415922f,
        .q = hd_opcase_bf16(c, area(s->n_rows * heads, HD_HEAD_DIM), width),
        .new_rows = hd_opcase_put(c, rows, area(s->n_rows, HD_KV_ROW_BYTES)),
        .window = random_pages(c, s->n_seqs, HD_RING_SLOTS, HD_KV_ROW_BYTES),
        .sink = hd_opcase_f32(c, (size_t)heads, 3.0f),
        .o = hd_opcase_new(c, area(s->n_rows * heads, HD_HEAD_DIM) * 2)};
}

static void run_attention(hd_opcase *c, const step *s, const hd_attention_params *p)
{
    HD_OPCASE_SUBMIT(c, attention, p);
    hd_opcase_keep(c, HD_OPCASE_BF16, p->o, s->n_rows * p->n_heads, HD_HEAD_DIM);
}

/* Picks as top_k leaves them: ascending, then −1. */
static int32_t *random_sel(hd_opcase *c, const step *s, int32_t ratio, int32_t n_sel)
{
    int32_t *sel = hd_opcase_host(c, area(s->n_rows, n_sel) * 4);
    for (int32_t t = 0; t < s->n_rows; t++) {
        int32_t n_visible = (s->row_pos[t] + 1) / ratio, left = n_sel;
        if (left > n_visible) left = n_visible;
        int32_t *row = sel + area(t, n_sel), n = 0;
        for (int32_t j = 0; j < n_visible && left; j++) {
            if (hd_opcase_int(c, 1, n_visible - j) > left) continue;
            row[n++] = j;
            left--;
        }
        while (n < n_sel) row[n++] = -1;
    }
    return hd_opcase_put(c, sel, area(s->n_rows, n_sel) * 4);
}

static void case_attention(hd_opcase *c)
{
    static step s;
    random_step(c, &s, HD_OPCASE_PICK(c, 140, 5, 20));
    int32_t how = HD_OPCASE_PICK(c, 0, 4, 128, 5); /* 5: ratio 4, all entries instead of picks */
    hd_attention_params p = random_attention(c, &s, HD_ATTN_CAUSAL);
    p.ratio = how == 5 ? 4 : how;
    p.n_sel = how == 4 ? HD_OPCASE_SIZE(c, index_topk, 16, 96, 64, 1) : 0;
    hd_opcase_shape(c, "%d heads, ratio %d, %d picks, %d rows of %d sequences", p.n_heads, p.ratio,
                    p.n_sel, s.n_rows, s.n_seqs);
    if (p.ratio) {
        int32_t n = s.end_pos / p.ratio;
        p.compressed = random_pages(c, s.n_seqs, n ? n : 1, HD_KV_ROW_BYTES);
    }
    if (how == 4) p.sel = random_sel(c, &s, 4, p.n_sel);
    run_attention(c, &s, &p);
}

static void case_attention_draft(hd_opcase *c)
{
    static step s;
    s = (step){0};
    int32_t n_seqs = HD_OPCASE_PICK(c, 1, 2, 4), len = HD_OPCASE_PICK(c, 5, 1, 3);
    for (int32_t i = 0; i < n_seqs; i++)
        add_sequence(&s, HD_OPCASE_PICK(c, 60, 0, 1, 127, 128, 129, 255, 256, 900), len);
    finish_step(c, &s);
    hd_attention_params p = random_attention(c, &s, HD_ATTN_DRAFT);
    hd_opcase_shape(c, "draft, %d heads, %d rows of %d sequences", p.n_heads, s.n_rows, s.n_seqs);
    run_attention(c, &s, &p);
}

const hd_opcase_entry hd_opcase_cache_ops[] = {
    {HD_OP_compress_pool, case_compress_pool, 24, 0},
    {HD_OP_index_score, case_index_score, 20, 3},
    {HD_OP_top_k, case_top_k, 30, 4},
    {HD_OP_index_topk, case_index_topk, 12, 3},
    {HD_OP_attention, case_attention, 28, 4},
    {HD_OP_attention, case_attention_draft, 16, 4},
    {HD_OP_COUNT, NULL, 0, 0},
};
