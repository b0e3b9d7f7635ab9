/* The model's own matrices, as they were loaded: the device multiplies by the whole packed matrix,
 * `ref` by some rows of the file's. One layer of each kind, the draft head, the output head; for
 * routed experts a few of them. Rows: all of a small matrix, else the first, the last and some in
 * between, so that a layout that goes wrong at an edge shows. */
#include <stdio.h>
#include <string.h>

#include "dev/hostref/hostref.h"
#include "verify/layers.h"
#include "verify/run.h"

#define SEED 4711u
enum { PIECE = 64, MAX_PIECES = 3, ALL_BELOW = 200, BLOCK = 128, N_PLACES = 6 };

/* A matrix of the model on both devices. */
typedef struct matrix {
    char name[40];
    hd_op op; /* which multiplies by it: linear or grouped_linear */
    const hd_weight *w;
    const hd_ref_weight *ref;
    int32_t n_groups;
    hd_x_kind x_kind;
    hd_y_kind y_kind;
} matrix;

/* What a case's function gets. */
typedef struct job {
    const hd_verify *v;
    const matrix *m; /* NULL: the embedding */
} job;

/* Rows first … first + n − 1. */
typedef struct piece {
    int32_t first, n;
} piece;

/* ---- pieces of a matrix ---------------------------------------------------------------------- */

/* Pieces begin where a block of scales does, and end within a group of the output projection. */
static int choose_pieces(hd_opcase *c, const matrix *m, piece *out)
{
    int32_t rows = m->w->rows, group = rows / m->n_groups;
    if (rows <= ALL_BELOW && m->n_groups == 1) {
        out[0] = (piece){0, rows};
        return 1;
    }
    int32_t last = (rows - 1) / BLOCK;
    int32_t at[MAX_PIECES] = {0, hd_opcase_int(c, 0, last), last};
    for (int i = 0; i < MAX_PIECES; i++) {
        int32_t first = at[i] * BLOCK, end = first + (i == 2 ? BLOCK : PIECE);
        int32_t group_end = (first / group + 1) * group;
        if (end > rows) end = rows;
        if (end > group_end) end = group_end;
        out[i] = (piece){first, end - first};
    }
    return MAX_PIECES;
}

static size_t row_bytes(const hd_weight *w)
{
    size_t cols = (size_t)w->cols;
    switch (w->format) {
    case HD_WEIGHT_F32: return 4 * cols;
    case HD_WEIGHT_BF16: return 2 * cols;
    case HD_WEIGHT_FP8: return cols;
    default: return cols / 2;
    }
}

static size_t scale_at(const hd_weight *w, int32_t row)
{
    size_t cols = (size_t)w->cols, r = (size_t)row;
    if (w->format == HD_WEIGHT_FP8) return r / BLOCK * ((cols + HD_ACT_GROUP - 1) / HD_ACT_GROUP);
    return w->format == HD_WEIGHT_FP4 ? r * (cols / HD_FP4_GROUP) : 0;
}

/* Rows of every part of the file's matrix, as a weight of `ref`. */
static hd_weight *rows_of(hd_opcase *c, const hd_ref_weight *w, piece p)
{
    size_t n = (size_t)w->base.n_parts;
    const void **data = hd_opcase_host(c, n * sizeof *data);
    const void **scale = hd_opcase_host(c, n * sizeof *scale);
    for (size_t i = 0; i < n; i++) {
        data[i] = w->data[i] + (size_t)p.first * row_bytes(&w->base);
        scale[i] = w->scale[i] ? w->scale[i] + scale_at(&w->base, p.first) : NULL;
    }
    bool has_scale = w->base.format == HD_WEIGHT_FP8 || w->base.format == HD_WEIGHT_FP4;
    return hd_opdev_pack(c->d, &(hd_weight_desc){.format = w->base.format,
                                                 .rows = p.n,
                                                 .cols = w->base.cols,
                                                 .n_parts = w->base.n_parts,
                                                 .data = data,
                                                 .scale = has_scale ? scale : NULL});
}

static bool is_ref(const hd_opcase *c)
{
    return ((const job *)c->ctx)->v->ref->dev == c->d->dev;
}

static size_t y_size(const matrix *m)
{
    return m->y_kind == HD_Y_F32 ? 4 : 2;
}

static hd_opcase_kind y_kind(const matrix *m)
{
    return m->y_kind == HD_Y_F32 ? HD_OPCASE_F32 : HD_OPCASE_BF16;
}

/* Columns of y [n, rows of the matrix], put together and kept. */
static void keep_columns(hd_opcase *c, const matrix *m, const uint8_t *y, int32_t n, piece p)
{
    size_t width = (size_t)p.n * y_size(m), pitch = (size_t)m->w->rows * y_size(m);
    uint8_t *out = hd_opcase_new(c, (size_t)n * width);
    if (!hd_opdev_ok(c->d)) return;
    hd_opdev_check(c->d,
                   c->d->dev->mem.copy2d(c->d->stream, out, width, y + (size_t)p.first * y_size(m),
                                         pitch, width, (size_t)n),
                   "copy2d");
    hd_opcase_keep(c, y_kind(m), out, n, p.n);
}

/* ---- linear ---------------------------------------------------------------------------------- */

static void multiply(hd_opcase *c, const matrix *m, int32_t n, int32_t n_groups, const void *x,
                     const hd_weight *w, void *y)
{
    hd_linear_params p = {.n_rows = n,
                          .n_groups = n_groups,
                          .x_kind = m->x_kind,
                          .y_kind = m->y_kind,
                          .x = x,
                          .w = w,
                          .y = y};
    HD_OPCASE_SUBMIT(c, linear, &p);
}

/* The part of x [n, groups, cols] that a piece is multiplied with, dense. */
static const void *x_of_group(hd_opcase *c, const matrix *m, const void *x, int32_t n, piece p)
{
    if (m->n_groups == 1) return x;
    size_t width = (size_t)m->w->cols * 2, pitch = width * (size_t)m->n_groups;
    size_t group = (size_t)(p.first / (m->w->rows / m->n_groups));
    uint8_t *out = hd_opcase_room(c, width * (size_t)n);
    if (!hd_opdev_ok(c->d)) return NULL;
    hd_opdev_check(c->d,
                   c->d->dev->mem.copy2d(c->d->stream, out, width,
                                         (const uint8_t *)x + group * width, pitch, width,
                                         (size_t)n),
                   "copy2d");
    return out;
}

static void case_linear(hd_opcase *c)
{
    const matrix *m = ((const job *)c->ctx)->m;
    piece pieces[MAX_PIECES];
    int32_t n = c->index ? 5 : 1, cols = m->w->cols, rows = m->w->rows;
    int n_pieces = choose_pieces(c, m, pieces);
    hd_opcase_shape(c, "%s [%d, %d], %d rows", m->name, rows, cols, n);
    hd_bf16 *values = hd_opcase_bf16(c, (size_t)n * (size_t)m->n_groups * (size_t)cols, 1.0f);
    const void *x = values;
    if (m->x_kind == HD_X_ACT) {
        void *act = hd_opcase_room(c, hd_act_bytes(c->d->dev, n, cols));
        HD_OPCASE_RUN(c, quantize_act, n, cols, values, act);
        x = act;
    }
    if (!is_ref(c)) {
        uint8_t *y = hd_opcase_room(c, (size_t)n * (size_t)rows * y_size(m));
        multiply(c, m, n, m->n_groups, x, m->w, y);
        for (int i = 0; i < n_pieces; i++) keep_columns(c, m, y, n, pieces[i]);
        return;
    }
    for (int i = 0; i < n_pieces; i++) {
        void *y = hd_opcase_new(c, (size_t)n * (size_t)pieces[i].n * y_size(m));
        multiply(c, m, n, 1, x_of_group(c, m, x, n, pieces[i]), rows_of(c, m->ref, pieces[i]), y);
        hd_opcase_keep(c, y_kind(m), y, n, pieces[i].n);
    }
}

/* ---- experts --------------------------------------------------------------------------------- */

/* Borders of N_PLACES places among n experts, ascending: host i32 [n + 1]. */
static int32_t *random_borders(hd_opcase *c, int32_t n)
{
    int32_t *offset = hd_opcase_host(c, (size_t)(n + 1) * 4);
    for (int i = 0; i < N_PLACES; i++) {
        int32_t e = hd_opcase_int(c, 0, n - 1);
        if (i == 0) e = n - 1; /* the last one is among them */
        for (int32_t k = e + 1; k <= n; k++) offset[k]++;
    }
    return offset;
}

static void multiply_grouped(hd_opcase *c, const void *x, const int32_t *offset, const hd_weight *w,
                             hd_bf16 *y)
{
    hd_grouped_linear_params p = {.n_rows = N_PLACES,
                                  .n_x_rows = N_PLACES,
                                  .x_kind = HD_X_ACT,
                                  .x = x,
                                  .divisor = 1,
                                  .offset = offset,
                                  .w = w,
                                  .y = y};
    HD_OPCASE_SUBMIT(c, grouped_linear, &p);
}

static void case_grouped(hd_opcase *c)
{
    const matrix *m = ((const job *)c->ctx)->m;
    piece pieces[MAX_PIECES];
    int n_pieces = choose_pieces(c, m, pieces);
    hd_opcase_shape(c, "%s [%d, %d] of %d experts", m->name, m->w->rows, m->w->cols, m->w->n_parts);
    const int32_t *host = random_borders(c, m->w->n_parts);
    const int32_t *offset = hd_opcase_put(c, host, (size_t)(m->w->n_parts + 1) * 4);
    const void *x = hd_opcase_act(c, N_PLACES, m->w->cols);
    if (!is_ref(c)) {
        uint8_t *y = hd_opcase_room(c, (size_t)N_PLACES * (size_t)m->w->rows * 2);
        multiply_grouped(c, x, offset, m->w, (hd_bf16 *)(void *)y);
        for (int i = 0; i < n_pieces; i++) keep_columns(c, m, y, N_PLACES, pieces[i]);
        return;
    }
    for (int i = 0; i < n_pieces; i++) {
        hd_bf16 *y = hd_opcase_new(c, (size_t)N_PLACES * (size_t)pieces[i].n * 2);
        multiply_grouped(c, x, offset, rows_of(c, m->ref, pieces[i]), y);
        hd_opcase_keep(c, HD_OPCASE_BF16, y, N_PLACES, pieces[i].n);
    }
}

/* ---- the embedding --------------------------------------------------------------------------- */

static void case_embed(hd_opcase *c)
{
    const hd_verify *v = ((const job *)c->ctx)->v;
    const hd_model *m = is_ref(c) ? v->ref : v->m;
    int32_t n = 9, dim = m->cfg.dim;
    hd_opcase_shape(c, "the embedding [%d, %d], %d ids", m->cfg.vocab_size, dim, n);
    const int32_t *id = hd_opcase_ints(c, (size_t)n, 0, m->cfg.vocab_size - 1);
    hd_bf16 *y = hd_opcase_new(c, (size_t)n * HD_STREAMS * (size_t)dim * 2);
    HD_OPCASE_RUN(c, embed, n, HD_STREAMS, id, m->w.embed, y);
    hd_opcase_keep(c, HD_OPCASE_BF16, y, n, (int64_t)HD_STREAMS * dim);
}

/* ---- the list -------------------------------------------------------------------------------- */

typedef struct matrices_run {
    hd_verify *v;
    hd_verify_check *const *check;
    hd_opdev device, ref;
    int n_left;
} matrices_run;

static void run_case(matrices_run *r, const hd_opcase_entry *e, int index, const matrix *m)
{
    hd_opcase want, got;
    job j = {r->v, m};
    hd_opcase_which which = {.seed = SEED, .index = index, .ctx = &j};
    hd_verify_check *c = r->check[e->op];
    if (c->cases && hd_verify_left_s(r->v) <= 0.0) {
        r->n_left++;
        return;
    }
    hd_opcase_run(&want, &r->ref, e, &which);
    hd_opcase_run(&got, &r->device, e, &which);
    hd_verify_compare(r->v, c, &want, &got, hd_verify_op_rule(r->v->m->dev));
    hd_opcase_deinit(&want);
    hd_opcase_deinit(&got);
}

static void run_matrix(matrices_run *r, const char *where, const char *what, matrix m)
{
    if (!m.w) return; /* this kind of layer has none */
    snprintf(m.name, sizeof m.name, "%s %s", where, what);
    bool is_grouped = m.op == HD_OP_grouped_linear;
    hd_opcase_entry e = {.op = m.op, .fn = is_grouped ? case_grouped : case_linear};
    for (int i = 0; i < (is_grouped ? 1 : 2); i++) run_case(r, &e, i, &m);
}

/* The matrix `field` of a, on the device, and of b, on ref. */
#define MATRIX(field, x, y)                                                                        \
    run_matrix(r, where, #field,                                                                   \
               (matrix){.op = HD_OP_linear,                                                        \
                        .w = a->field,                                                             \
                        .ref = (const hd_ref_weight *)b->field,                                    \
                        .n_groups = 1,                                                             \
                        .x_kind = (x),                                                             \
                        .y_kind = (y)})
#define EXPERTS(field)                                                                             \
    run_matrix(r, where, #field,                                                                   \
               (matrix){.op = HD_OP_grouped_linear,                                                \
                        .w = a->field,                                                             \
                        .ref = (const hd_ref_weight *)b->field,                                    \
                        .n_groups = 1,                                                             \
                        .x_kind = HD_X_ACT})

static void run_block(matrices_run *r, const char *where, const hd_v4_block *a,
                      const hd_v4_block *b)
{
    hd_verify_progress(r->v, "matrices of %s", where);
    MATRIX(wq_a, HD_X_ACT, HD_Y_BF16);
    MATRIX(wq_b, HD_X_ACT, HD_Y_BF16);
    MATRIX(wkv, HD_X_ACT, HD_Y_BF16);
    run_matrix(r, where, "wo_a",
               (matrix){.op = HD_OP_linear,
                        .w = a->wo_a,
                        .ref = (const hd_ref_weight *)b->wo_a,
                        .n_groups = r->v->m->cfg.o_groups});
    MATRIX(wo_b, HD_X_ACT, HD_Y_BF16);
    MATRIX(comp.wkv, HD_X_BF16, HD_Y_F32);
    MATRIX(comp.wgate, HD_X_BF16, HD_Y_F32);
    MATRIX(index_comp.wkv, HD_X_BF16, HD_Y_F32);
    MATRIX(index_comp.wgate, HD_X_BF16, HD_Y_F32);
    MATRIX(index_wq_b, HD_X_ACT, HD_Y_BF16);
    MATRIX(index_proj, HD_X_BF16, HD_Y_BF16);
    MATRIX(gate, HD_X_BF16, HD_Y_F32);
    MATRIX(s1, HD_X_ACT, HD_Y_BF16);
    MATRIX(s3, HD_X_ACT, HD_Y_BF16);
    MATRIX(s2, HD_X_ACT, HD_Y_BF16);
    EXPERTS(w1);
    EXPERTS(w3);
    EXPERTS(w2);
}

static void run_heads(matrices_run *r, const hd_v4_weights *a, const hd_v4_weights *b)
{
    static const char where[] = "the model's";
    hd_opcase_entry embed = {.op = HD_OP_embed, .fn = case_embed};
    run_case(r, &embed, 0, NULL);
    MATRIX(head, HD_X_BF16, HD_Y_F32);
    MATRIX(mtp_e_proj, HD_X_ACT, HD_Y_BF16);
    MATRIX(mtp_h_proj, HD_X_ACT, HD_Y_BF16);
    MATRIX(main_proj, HD_X_ACT, HD_Y_BF16);
    MATRIX(markov_w2, HD_X_BF16, HD_Y_F32);
    MATRIX(confidence, HD_X_BF16, HD_Y_F32);
}

void hd_verify_matrices(hd_verify *v, hd_verify_check *const check[HD_OP_COUNT])
{
    char where[24];
    int32_t layer[HD_VERIFY_MAX_KINDS];
    matrices_run r = {.v = v, .check = check};
    const hd_v4_weights *a = &v->m->w, *b = &v->ref->w;
    hd_opdev_init(&r.device, v->m->dev, v->m->stream);
    hd_opdev_init(&r.ref, v->ref->dev, v->ref->stream);
    run_heads(&r, a, b);
    int n = hd_verify_kinds(&v->m->cfg, layer);
    for (int i = 0; i < n; i++) {
        snprintf(where, sizeof where, "layer %d", layer[i]);
        run_block(&r, where, &a->layer[layer[i]], &b->layer[layer[i]]);
    }
    for (int32_t i = 0; v->m->has_draft && i < v->m->cfg.n_stages; i++) {
        snprintf(where, sizeof where, "stage %d", i);
        run_block(&r, where, &a->stage[i], &b->stage[i]);
    }
    hd_opdev_deinit(&r.device);
    hd_opdev_deinit(&r.ref);
    if (r.n_left)
        hd_verify_leave_out(v, "op.*: %d products by the model's matrices, no time", r.n_left);
}
