/* Fused ops made of mandatory ones: what a backend gets where it has no kernel of its own.
 *
 * Each function submits the ops that the comment at its params struct names, in that order, on the
 * same stream, and returns the first refusal. So the bits are those of the unfused path by
 * construction, and a fused kernel of a backend is tested against this. */
#ifndef HD_DEV_COMPOSE_H
#define HD_DEV_COMPOSE_H

#include "dev/dev.h"

/** Every piece of a composition's workspace begins at a multiple of this. */
#define HD_COMPOSE_ALIGN 256u
/** index_topk takes as many rows at a time as fit their scores into this, but at least one. */
#define HD_COMPOSE_SCORE_BYTES (32u << 20)

#define HD_COMPOSE_DECL(name)  hd_status hd_compose_##name(hd_stream *, const hd_##name##_params *);
HD_FUSED_OPS(HD_COMPOSE_DECL)
#undef HD_COMPOSE_DECL

/** Bytes that the composition of `op` needs at params->work, enough for smaller shapes too:
 *  index_topk min(T · n_score · 2, max(32 MiB, n_score · 2)); moe_experts gate and up, bf16 [n, F]
 *  each, and the quantised activation [n, F]; others 0. Each piece is rounded up to 256. */
size_t hd_compose_work_bytes(const hd_dev *dev, hd_op op, const void *params);

#endif
