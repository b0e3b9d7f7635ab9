/* What the checks of state share: a text, and its logits from a run from the start. */
#ifndef HD_VERIFY_STATES_H
#define HD_VERIFY_STATES_H

#include "verify/run.h"

/** Rows of logits that are compared: those of the last positions of the text. */
#define HD_STATES_LAST 24
/** Tokens that a request generates. */
#define HD_STATES_NEW 4

typedef struct hd_states {
    hd_verify *v;
    hd_model *m;
    int32_t n;         /* length of the text, more than 128 + HD_STATES_LAST */
    int32_t *ids;      /* host i32 [n] */
    int32_t *others;   /* host i32 [n]: another text */
    const float *cold; /* f32 [HD_STATES_LAST, V]: in one run from the start */
    double cold_s;     /* seconds that it took */
    hd_err err;
} hd_states;

/** A check: adds it, or leaves it out when `runs` such runs do not fit the time that is left. NULL:
 *  left out. */
hd_verify_check *hd_states_begin(hd_states *s, const char *name, double runs);
/** Its end: st is how the run went. */
void hd_states_end(hd_states *s, hd_verify_check *c, hd_status st);
/** Equal bits are asked for. */
hd_verify_rule hd_states_rule(void);

/** sched_states.c: through the engine's scheduler. */
void hd_states_run_sched(hd_states *s);

#endif
