/* From sequences and ids to the arrays of a step.
 *
 * All of it is small integers and rope rows; it is filled on the host in one block and uploaded in
 * one copy, so that a captured graph can be replayed over the same device addresses. */
#include "model/v4.h"

#define TAKE_I32(dev_field, n)                                                                     \
    (int32_t *)hd_v4_meta_take(meta, (size_t)(n) * sizeof(int32_t), (const void **)&(dev_field))
#define TAKE_F32(dev_field, n)                                                                     \
    (float *)hd_v4_meta_take(meta, (size_t)(n) * sizeof(float), (const void **)&(dev_field))

static int32_t pool_row(const hd_seq *seq, hd_page_kind kind, int32_t i)
{
    return seq->page[kind][i / HD_PAGE_ROWS] * HD_PAGE_ROWS + i % HD_PAGE_ROWS;
}

static void fill_rows(hd_model *m, const hd_v4_part *part, int32_t n_parts, hd_v4_step *st)
{
    hd_v4_meta *meta = &m->meta;
    hd_step_rows *r = &st->rows;
    int32_t *id = TAKE_I32(st->id, r->n_rows);
    int32_t *row_seq = TAKE_I32(r->row_seq, r->n_rows);
    int32_t *row_pos = TAKE_I32(r->row_pos, r->n_rows);
    int32_t *ring_row = TAKE_I32(st->ring_row, r->n_rows);
    float *plain = TAKE_F32(st->rope_plain, r->n_rows * HD_ROPE_DIM);
    float *yarn = TAKE_F32(st->rope_yarn, r->n_rows * HD_ROPE_DIM);
    for (int32_t s = 0, t = 0; s < n_parts; s++) {
        const hd_v4_part *p = &part[s];
        for (int32_t i = 0; i < p->n; i++, t++) {
            int32_t pos = p->pos0 + i;
            id[t] = p->ids[i];
            row_seq[t] = s;
            row_pos[t] = pos;
            /* A long chunk passes over the ring more than once: only the last pass stays. */
            ring_row[t] = i + HD_RING_SLOTS < p->n
                              ? -1
                              : pool_row(p->seq, HD_PAGE_WINDOW, pos % HD_RING_SLOTS);
            hd_rope_row(&m->rope_plain, pos, plain + (size_t)t * HD_ROPE_DIM);
            hd_rope_row(&m->rope_yarn, pos, yarn + (size_t)t * HD_ROPE_DIM);
        }
    }
}

static void fill_seqs(hd_model *m, const hd_v4_part *part, int32_t n_parts, hd_v4_step *st)
{
    hd_v4_meta *meta = &m->meta;
    hd_step_rows *r = &st->rows;
    int32_t *row0 = TAKE_I32(r->seq_row0, n_parts);
    int32_t *len = TAKE_I32(r->seq_len, n_parts);
    int32_t *pos0 = TAKE_I32(r->seq_pos0, n_parts);
    int32_t *slot = TAKE_I32(r->seq_slot, n_parts);
    for (int32_t s = 0, t = 0; s < n_parts; t += part[s++].n) {
        row0[s] = t;
        len[s] = part[s].n;
        pos0[s] = part[s].pos0;
        slot[s] = part[s].seq->slot;
    }
    for (int k = 0; k < HD_PAGE_KINDS; k++) {
        int32_t max = m->state.max_pages[k];
        int32_t *page = TAKE_I32(st->page[k], n_parts * max);
        for (int32_t s = 0; s < n_parts; s++)
            for (int32_t i = 0; i < max; i++)
                page[s * max + i] = i < part[s].seq->n_pages[k] ? part[s].seq->page[k][i] : -1;
    }
}

static int32_t count_groups(const hd_v4_part *part, int32_t n_parts, int32_t ratio)
{
    int32_t n = 0;
    for (int32_t s = 0; s < n_parts; s++)
        if (!part[s].is_replay) n += (part[s].pos0 + part[s].n) / ratio - part[s].pos0 / ratio;
    return n;
}

static void fill_groups(hd_model *m, const hd_v4_part *part, int32_t n_parts, int32_t ratio,
                        hd_v4_groups *g)
{
    hd_v4_meta *meta = &m->meta;
    hd_page_kind kind = ratio == HD_CSA_RATIO ? HD_PAGE_CSA : HD_PAGE_HCA;
    g->n = count_groups(part, n_parts, ratio);
    g->first_entry = part[0].pos0 / ratio;
    int32_t *out_row = TAKE_I32(g->out_row, g->n);
    int32_t *dst_row = TAKE_I32(g->dst_row, g->n);
    float *cos_sin = TAKE_F32(g->cos_sin, g->n * HD_ROPE_DIM);
    int32_t n = 0;
    for (int32_t s = 0, row0 = 0; s < n_parts; row0 += part[s++].n) {
        int32_t end = (part[s].pos0 + part[s].n) / ratio;
        if (part[s].is_replay) continue;
        for (int32_t entry = part[s].pos0 / ratio; entry < end; entry++, n++) {
            out_row[n] = row0 + entry * ratio + ratio - 1 - part[s].pos0;
            dst_row[n] = pool_row(part[s].seq, kind, entry);
            hd_rope_row(&m->rope_yarn, entry * ratio, cos_sin + (size_t)n * HD_ROPE_DIM);
        }
    }
}

static void fill_outputs(hd_model *m, const hd_v4_part *part, int32_t n_parts, hd_v4_step *st)
{
    hd_v4_meta *meta = &m->meta;
    st->n_out_rows = 0;
    for (int32_t s = 0; s < n_parts; s++) st->n_out_rows += part[s].n_logits;
    int32_t *row = TAKE_I32(st->out_id, st->n_out_rows);
    for (int32_t s = 0, row0 = 0, n = 0; s < n_parts; row0 += part[s++].n)
        for (int32_t i = part[s].n - part[s].n_logits; i < part[s].n; i++) row[n++] = row0 + i;
}

void hd_v4_step_build(hd_model *m, const hd_v4_part *part, int32_t n_parts, hd_attn_kind kind,
                      hd_v4_step *out)
{
    *out = (hd_v4_step){.rows = {.n_seqs = n_parts}, .pos0 = part[0].pos0};
    for (int32_t s = 0; s < n_parts; s++) {
        int32_t end = part[s].pos0 + part[s].n;
        out->rows.n_rows += part[s].n;
        if (end > out->rows.end_pos) out->rows.end_pos = end;
    }
    HD_ASSERT(out->rows.n_rows <= m->max_rows);
    out->n_score = out->rows.end_pos / HD_CSA_RATIO;
    m->meta.used = 0;
    fill_rows(m, part, n_parts, out);
    fill_seqs(m, part, n_parts, out);
    fill_outputs(m, part, n_parts, out);
    if (kind == HD_ATTN_DRAFT) return;
    fill_groups(m, part, n_parts, HD_CSA_RATIO, &out->csa);
    fill_groups(m, part, n_parts, HD_HCA_RATIO, &out->hca);
}
