/* The op table: each slot checks its params and lets the whole team run the kernel. */
#include "backend/cpu/cpu.h"

enum { MAX_EXPERTS = 65536, MAX_INDEX_HEADS = HD_SEGMENT };

typedef struct call {
    hd_cpu_stream *stream;
    const void *params;
} call;

/* ---- arguments ------------------------------------------------------------------------------ */

static bool step_ok(const hd_step_rows *r)
{
    return r->n_rows >= 0 && r->n_seqs >= 0;
}

static bool mix_ok(const hd_hc_mix_params *p)
{
    return p->dim > 0 && p->fn && p->fn->format == HD_WEIGHT_F32 &&
           p->fn->rows == (p->head ? HD_STREAMS : 2 * HD_STREAMS + HD_STREAMS * HD_STREAMS) &&
           p->fn->cols == HD_STREAMS * p->dim;
}

static bool rows_in_step(const hd_step_rows *rows, int32_t row0, int32_t n)
{
    return step_ok(rows) && row0 >= 0 && row0 <= rows->n_rows - n;
}

static bool experts_ok(const hd_moe_experts_params *p)
{
    if (!p->w1 || !p->w3 || !p->w2 || !p->work) return false;
    if (!p->offset && (p->order || p->w1->n_parts != 1 || p->n_x_rows != p->n_rows)) return false;
    return p->w3->rows == p->w1->rows && p->w2->cols == p->w1->rows &&
           (!p->order || p->divisor >= 1);
}

/* X(name, rows, ok): how many rows there are (0: nothing to do, below: refused), and what must
 * hold besides. */
#define CHECKS(X)                                                                                  \
    X(embed, p->n_rows, p->n_copies >= 0 && p->table && p->table->format == HD_WEIGHT_BF16)        \
    X(gather_rows, p->n_rows, true)                                                                \
    X(scatter_rows, p->n_rows, true)                                                               \
    X(add, p->n_rows, p->n_repeat >= 0 && p->dim >= 0)                                             \
    X(stream_mean, p->n_rows, p->dim >= 0 && p->y_stride >= p->dim)                                \
    X(rms_norm, p->n_rows, p->dim > 0)                                                             \
    X(q_norm, p->n_rows, p->n_heads >= 0)                                                          \
    X(rope, p->n_rows, p->n_heads >= 0 && p->dim >= HD_ROPE_DIM)                                   \
    X(hadamard_quant, p->n_rows, true)                                                             \
    X(quantize_act, p->n_rows, p->dim > 0)                                                         \
    X(linear, p->n_rows,                                                                           \
      p->w && p->n_groups >= 1 && p->w->rows % p->n_groups == 0 &&                                 \
          (p->x_kind == HD_X_BF16 || p->n_groups == 1))                                            \
    X(kv_pack, p->n_rows, true)                                                                    \
    X(index_pack, p->n_rows, true)                                                                 \
    X(compress_pool, p->rows.n_rows,                                                               \
      step_ok(&p->rows) && p->n_out >= 0 && p->width > 0 && (p->ratio == 4 || p->ratio == 128))    \
    X(index_score, p->n_rows,                                                                      \
      rows_in_step(&p->rows, p->row0, p->n_rows) && p->n_score >= 0 && p->n_heads >= 1 &&          \
          p->n_heads <= MAX_INDEX_HEADS)                                                           \
    X(top_k, p->n_rows,                                                                            \
      rows_in_step(&p->rows, p->row0, p->n_rows) && p->k >= 0 && p->ratio >= 1 && p->n_score >= 0) \
    X(attention, p->rows.n_rows,                                                                   \
      step_ok(&p->rows) && p->n_heads >= 0 && p->n_sel >= 0 && p->ratio >= 0 &&                    \
          (p->kind == HD_ATTN_CAUSAL || !p->ratio))                                                \
    X(route, p->n_rows,                                                                            \
      p->n_chosen >= 1 && p->n_chosen <= p->n_experts && p->n_experts <= MAX_EXPERTS &&            \
          !p->tid2eid != !p->bias)                                                                 \
    X(moe_group, p->n_rows, p->n_experts >= 1 && p->n_chosen >= 1)                                 \
    X(grouped_linear, p->n_rows, p->w && (!p->order || p->divisor >= 1))                           \
    X(swiglu, p->n_rows, p->dim >= 0)                                                              \
    X(combine, p->n_rows, p->n_chosen >= 0 && p->dim >= 0)                                         \
    X(hc_mix, p->n_rows, mix_ok(p))                                                                \
    X(hc_collapse, p->n_rows, p->dim >= 0)                                                         \
    X(hc_merge, p->n_rows, p->dim >= 0)                                                            \
    X(argmax, p->n_rows, p->dim > 0)                                                               \
    X(find_nonfinite, p->n, true)                                                                  \
    X(hc_pre, p->mix.n_rows, !p->mix.head && mix_ok(&p->mix))                                      \
    X(rms_norm_quant, p->norm.n_rows, p->norm.dim > 0)                                             \
    X(q_norm_rope, p->n_rows, p->n_heads >= 0)                                                     \
    X(kv_norm_rope_pack, p->n_rows, true)                                                          \
    X(index_topk, p->rows.n_rows,                                                                  \
      step_ok(&p->rows) && p->k >= 0 && p->n_score >= 0 && (p->work || !p->n_score) &&             \
          p->n_heads >= 1 && p->n_heads <= MAX_INDEX_HEADS)                                        \
    X(moe_experts, p->n_rows, experts_ok(p))

/* ---- slots ---------------------------------------------------------------------------------- */

static hd_cpu_lane lane_of(const hd_cpu_stream *s, int i)
{
    const hd_cpu_dev *dev = (const hd_cpu_dev *)s->base.dev;
    return (hd_cpu_lane){.par = s->par,
                         .i = i,
                         .n = hd_par_n_threads(s->par),
                         .tables = dev->tables,
                         .scratch = s->scratch + (size_t)i * HD_CPU_SCRATCH_BYTES};
}

#define SLOT(name, rows, ok)                                                                       \
    static void run_##name(void *arg, int i)                                                       \
    {                                                                                              \
        const call *c = arg;                                                                       \
        hd_cpu_lane lane = lane_of(c->stream, i);                                                  \
        unsigned fp_state = hd_fp_flush_subnormals();                                              \
        ((const hd_cpu_dev *)c->stream->base.dev)->kernels->name(&lane, c->params);                \
        hd_fp_restore(fp_state);                                                                   \
    }                                                                                              \
    static hd_status op_##name(hd_stream *s, const hd_##name##_params *p)                          \
    {                                                                                              \
        if ((rows) < 0 || ((rows) > 0 && !(ok))) return HD_E_ARG;                                  \
        if ((rows) == 0) return HD_OK;                                                             \
        call c = {(hd_cpu_stream *)s, p};                                                          \
        hd_par_run(c.stream->par, run_##name, &c);                                                 \
        return HD_OK;                                                                              \
    }
CHECKS(SLOT)

void hd_cpu_ops_init(hd_dev_ops *ops){
#define SET(name) ops->name = op_##name;
    HD_OPS(SET)
#undef SET
}

/* ---- workspace ------------------------------------------------------------------------------ */

size_t hd_cpu_expert_bytes(const hd_moe_experts_params *p)
{
    size_t half = (size_t)p->n_rows * (size_t)p->w1->rows * sizeof(hd_bf16);
    return 2 * ((half + 63) / 64 * 64);
}

size_t hd_cpu_work_bytes(const hd_dev *dev, hd_op op, const void *params)
{
    if (op == HD_OP_index_topk) {
        const hd_index_topk_params *p = params;
        if (p->rows.n_rows <= 0 || p->n_score <= 0) return 0;
        return (size_t)dev->props.n_threads * (size_t)p->n_score * sizeof(hd_bf16);
    }
    if (op == HD_OP_moe_experts) {
        const hd_moe_experts_params *p = params;
        return p->n_rows > 0 && p->w1 ? hd_cpu_expert_bytes(p) : 0;
    }
    return 0;
}
