/* What the tokens of one request say: text or the parts of a chat's answer, as events.
 *
 * Made where the request is submitted, then used by the engine's thread alone. Stop strings are
 * looked for here, so that a request ends with the token that completes one. */
#ifndef HD_ENGINE_OUTPUT_H
#define HD_ENGINE_OUTPUT_H

#include "engine/events.h"
#include "text/detok.h"
#include "text/outparse.h"
#include "text/stops.h"

typedef struct hd_output {
    hd_output_kind kind;
    hd_outparse *parse; /* CHAT */
    hd_detok detok;     /* TEXT, with the next three */
    hd_stops stops;
    hd_buf decoded, text; /* scratch */
    int32_t n_reasoning, n_calls;
} hd_output;

/** @param t NULL only for HD_OUTPUT_IDS. @return HD_E_ARG (stops, start), HD_E_NOMEM,
 *  HD_E_UNSUPPORTED (no tokenizer). */
hd_status hd_output_init(hd_output *o, const hd_tokenizer *t, hd_output_kind kind,
                         const hd_outparse_opts *opts, hd_err *err) HD_WARN_UNUSED;
/** Also for a zeroed struct, and after a failed init. */
void hd_output_deinit(hd_output *o);

/** Take a token that does not end the answer by itself, and put what can be shown to `events`.
 *  @param may_stop  stop strings count.
 *  @param has_ended out: a stop string is complete. */
hd_status hd_output_push(hd_output *o, int32_t id, bool may_stop, hd_events *events,
                         bool *has_ended, hd_err *err) HD_WARN_UNUSED;
/** The answer ends: put what was held back. */
hd_status hd_output_finish(hd_output *o, hd_finish reason, hd_events *events,
                           hd_err *err) HD_WARN_UNUSED;
/** Number of the stop string that ended it; −1: none did. */
int32_t hd_output_stop_string(const hd_output *o);

#endif
