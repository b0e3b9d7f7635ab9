/* Single primitives that look across rows, against golden values (golden_units.c): the indexer's
 * scores, the softmax of the attention, the compressor's pooling. */
#include "dev/hostref/attend.h"
#include "verify/golden_units.h"

/* ---- index and attention --------------------------------------------------------------------- */

/* The golden keys have values that fq4 made, so quantising them again loses nothing. */
/* Returns how many did lose something. */
static size_t pack_index_keys(const hd_st_tensor *k, uint8_t *rows)
{
    size_t n_lost = 0;
    for (size_t i = 0; i < hd_units_count(k); i += HD_FP4_GROUP) {
        hd_bf16 group[HD_FP4_GROUP];
        uint8_t code[HD_FP4_GROUP];
        memcpy(group, k->data + i * sizeof group[0], sizeof group);
        uint8_t *row = rows + i / HD_INDEX_DIM * HD_INDEX_ROW_BYTES;
        size_t g = i % HD_INDEX_DIM / HD_FP4_GROUP;
        row[HD_INDEX_ROW_SCALE_AT + g] = hd_hostref_quant_e2m1(group, HD_FP4_GROUP, code);
        float s = hd_f32_from_e8m0(row[HD_INDEX_ROW_SCALE_AT + g]);
        for (size_t c = 0; c < HD_FP4_GROUP; c++) {
            n_lost += hd_f32_from_e2m1(code[c]) * s != hd_f32_from_bf16(group[c]);
            uint8_t *byte = &row[(g * HD_FP4_GROUP + c) / 2];
            *byte = (uint8_t)(*byte | code[c] << (c % 2 * 4));
        }
    }
    return n_lost;
}

static void check_index_score(const hd_units *u)
{
    const hd_st_tensor *q = hd_units_tensor(u, "index_score.q"),
                       *k = hd_units_tensor(u, "index_score.k");
    enum { ROWS = 5, KEYS = 60, PAGES = 2 };
    static uint8_t pool[PAGES * HD_PAGE_ROWS * HD_INDEX_ROW_BYTES];
    memset(pool, 0, sizeof pool);
    size_t n_lost = pack_index_keys(k, pool);
    hd_units_report_steps(u, "index_score.k", false, n_lost, hd_units_count(k), 0);
    /* Each row is a sequence of its own, all over the same pages and at the position that sees
     * just the golden keys. */
    int32_t page[ROWS * PAGES], index[ROWS], one[ROWS], pos[ROWS];
    for (int32_t i = 0; i < ROWS; i++) {
        page[PAGES * i] = 0;
        page[PAGES * i + 1] = 1;
        index[i] = i;
        one[i] = 1;
        pos[i] = 4 * KEYS - 1;
    }
    hd_step_rows rows = {.n_rows = ROWS,
                         .n_seqs = ROWS,
                         .row_seq = hd_opdev_put(u->d, index, sizeof index),
                         .row_pos = hd_opdev_put(u->d, pos, sizeof pos),
                         .seq_row0 = hd_opdev_put(u->d, index, sizeof index),
                         .seq_len = hd_opdev_put(u->d, one, sizeof one),
                         .seq_pos0 = hd_opdev_put(u->d, pos, sizeof pos),
                         .seq_slot = hd_opdev_put(u->d, index, sizeof index),
                         .end_pos = 4 * KEYS};
    hd_bf16 *score = hd_opdev_put(u->d, NULL, ROWS * KEYS * sizeof *score);
    hd_index_score_params p = {.rows = rows,
                               .n_rows = ROWS,
                               .n_heads = (int32_t)q->shape[1],
                               .factor = 1.0f, /* golden w has it already */
                               .q = hd_units_put(u, "index_score.q"),
                               .w = hd_units_put(u, "index_score.w"),
                               .keys = {hd_opdev_put(u->d, pool, sizeof pool),
                                        hd_opdev_put(u->d, page, sizeof page), PAGES},
                               .n_score = KEYS,
                               .score = score};
    HD_OPDEV_SUBMIT(u->d, index_score, &p);
    hd_units_compare_bf16(u, "index_score", score, hd_units_tensor(u, "index_score.score"), true);
}

/* The golden keys are plain BF16, which no cache row can hold: the softmax that hostref's
 * attention is made of, fed directly. Devices are compared with hostref elsewhere. */
static void ref_sparse_attn(const hd_units *u)
{
    const hd_st_tensor *q = hd_units_tensor(u, "sparse_attn.q"),
                       *kv = hd_units_tensor(u, "sparse_attn.kv");
    const hd_st_tensor *idx = hd_units_tensor(u, "sparse_attn.idx"),
                       *o = hd_units_tensor(u, "sparse_attn.o");
    size_t n_rows = (size_t)q->shape[0], n_heads = (size_t)q->shape[1];
    size_t n_slots = (size_t)idx->shape[1], n_off = 0;
    int worst = 0;
    static hd_ref_key_block block;
    for (size_t i = 0; i < n_rows * n_heads; i++) {
        hd_ref_softmax softmax;
        float query[HD_HEAD_DIM];
        for (size_t c = 0; c < HD_HEAD_DIM; c++) query[c] = hd_units_at(q, i * HD_HEAD_DIM + c);
        hd_hostref_attend_init(&softmax);
        for (size_t slot0 = 0; slot0 < n_slots; slot0 += HD_KEY_BLOCK) {
            for (size_t k = 0; k < HD_KEY_BLOCK; k++) {
                int32_t row = -1;
                if (slot0 + k < n_slots)
                    memcpy(&row, idx->data + (i / n_heads * n_slots + slot0 + k) * 4, 4);
                block.is_valid[k] = row >= 0;
                for (size_t c = 0; row >= 0 && c < HD_HEAD_DIM; c++)
                    block.key[k][c] = hd_units_at(kv, (size_t)row * HD_HEAD_DIM + c);
            }
            hd_hostref_attend_block(&softmax, query, 0.04419417382415922f, &block);
        }
        hd_bf16 out[HD_HEAD_DIM];
        hd_hostref_attend_finish(
            &softmax, hd_units_at(hd_units_tensor(u, "sparse_attn.sink"), i % n_heads), out);
        for (size_t c = 0; c < HD_HEAD_DIM; c++) {
            int steps =
                hd_units_bf16_steps(out[c], hd_bf16_from_f32(hd_units_at(o, i * HD_HEAD_DIM + c)));
            if (steps > worst) worst = steps;
            n_off += steps != 0;
        }
    }
    hd_units_report_steps(u, "sparse_attn", true, n_off, hd_units_count(o), worst);
}

/* Eight rows of k and g with all terms in g: ratio 4 with both halves of the channels equal to
 * them and ape 0. The golden result is FP32, the op's is rounded to BF16. */
static void check_compress_pool(const hd_units *u)
{
    const hd_st_tensor *k = hd_units_tensor(u, "compress_pool.k"),
                       *g = hd_units_tensor(u, "compress_pool.g");
    enum { ROWS = 8, WIDTH = 512, CHANNELS = 2 * WIDTH };
    static float k2[ROWS * CHANNELS], g2[ROWS * CHANNELS], ape[4 * CHANNELS];
    for (size_t i = 0; i < ROWS * CHANNELS; i++) {
        k2[i] = hd_units_at(k, i / CHANNELS * WIDTH + i % WIDTH);
        g2[i] = hd_units_at(g, i / CHANNELS * WIDTH + i % WIDTH);
    }
    int32_t seq[ROWS] = {0}, pos[ROWS], zero = 0, len = ROWS, last = ROWS - 1;
    for (int32_t i = 0; i < ROWS; i++) pos[i] = i;
    hd_step_rows rows = {.n_rows = ROWS,
                         .n_seqs = 1,
                         .row_seq = hd_opdev_put(u->d, seq, sizeof seq),
                         .row_pos = hd_opdev_put(u->d, pos, sizeof pos),
                         .seq_row0 = hd_opdev_put(u->d, &zero, sizeof zero),
                         .seq_len = hd_opdev_put(u->d, &len, sizeof len),
                         .seq_pos0 = hd_opdev_put(u->d, &zero, sizeof zero),
                         .seq_slot = hd_opdev_put(u->d, &zero, sizeof zero),
                         .end_pos = ROWS};
    hd_bf16 *out = hd_opdev_put(u->d, NULL, WIDTH * sizeof *out);
    size_t carry_bytes = (size_t)hd_carry_slots(4) * 2 * (sizeof k2 / ROWS);
    hd_compress_pool_params p = {.rows = rows,
                                 .ratio = 4,
                                 .width = WIDTH,
                                 .k = hd_opdev_put(u->d, k2, sizeof k2),
                                 .g = hd_opdev_put(u->d, g2, sizeof g2),
                                 .ape = hd_opdev_put(u->d, ape, sizeof ape),
                                 .carry = hd_opdev_put(u->d, NULL, carry_bytes),
                                 .n_out = 1,
                                 .out_row = hd_opdev_put(u->d, &last, sizeof last),
                                 .out = out};
    HD_OPDEV_SUBMIT(u->d, compress_pool, &p);
    hd_units_compare_bf16(u, "compress_pool", out, hd_units_tensor(u, "compress_pool.y"), true);
}

/* ---- all of them ----------------------------------------------------------------------------- */

void hd_units_check_keys(const hd_units *u)
{
    check_index_score(u);
    check_compress_pool(u);
}

void hd_units_check_keys_ref(const hd_units *u)
{
    ref_sparse_attn(u);
}
