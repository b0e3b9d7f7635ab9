/* A device with one fault, for tests that show that a fault is caught.
 *
 * An opened model keeps its device, `cpu` or `ref`; one slot of the device's op table (two for the
 * Hadamard transform, which is in two ops; `pack` for the layout of weights) is replaced by a
 * function that spoils its arguments or its result and hands on to the original. All other slots
 * stay. Reads device memory through the host, as only these two devices allow.
 *
 * One model at a time has a fault. */
#ifndef HD_TEST_FAULTDEV_H
#define HD_TEST_FAULTDEV_H

#include "model/v4.h"

typedef enum faultdev_fault {
    FAULTDEV_NONE,
    FAULTDEV_ROPE_OFF_BY_ONE, /* compressed rows are rotated as one position further on */
    FAULTDEV_NO_INVERSE_ROPE, /* attention's output stays rotated */
    FAULTDEV_NIBBLES,         /* FP4 weights: element 2i from the high nibble */
    FAULTDEV_NO_HADAMARD,     /* index queries and keys are quantised untransformed */
    FAULTDEV_STALE_CARRY,     /* a new sequence pools with the rows that the last one left */
    FAULTDEV_UNCLAMPED,       /* the shared expert without its limit */
    FAULTDEV_MASKED           /* attention sees the window only */
} faultdev_fault;

/** Give the model's device a fault. It must have none. Ends the program when the weights cannot be
 *  loaded anew (FAULTDEV_NIBBLES). */
void faultdev_bend(hd_model *m, faultdev_fault fault);
/** Take it away again; before the model is closed. */
void faultdev_mend(void);

#endif
