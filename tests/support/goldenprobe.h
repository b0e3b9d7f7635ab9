/* Golden intermediates and a probe: fed from golden tensors, captured and compared with them. Wrong
 * names and shapes end the program: they are mistakes of the test. */
#ifndef HD_TEST_GOLDENPROBE_H
#define HD_TEST_GOLDENPROBE_H

#include "model/probe.h"
#include "support/golden.h"

/** Put a golden tensor in the place of the computed value. @param name "L0.attn_in". */
void golden_feed(hd_probe *p, const char *name, const hd_st_tensor *t);
void golden_capture(hd_probe *p, const char *name);
/** How far the captured value is from the golden one. */
golden_error golden_compare_captured(const hd_probe *p, const char *name, const hd_st_tensor *want);

#endif
