/* A device that computes nothing: it records the ops that it is given, and copies memory at once.
 * For tests of what stands between the model and a backend. */
#ifndef HD_TEST_FAKEDEV_H
#define HD_TEST_FAKEDEV_H

#include "dev/dev.h"

typedef union fake_params {
#define FAKE_MEMBER(name) hd_##name##_params name;
    HD_OPS(FAKE_MEMBER)
#undef FAKE_MEMBER
} fake_params;

typedef struct fake_call {
    hd_op op;
    fake_params p;
} fake_call;

enum { FAKE_MAX_CALLS = 256 };

/** What happened since fake_reset, and how the next device behaves. */
typedef struct fake_state {
    fake_call call[FAKE_MAX_CALLS];
    int n_calls;
    int n_open, n_streams, n_events, n_memory; /* not given back */
    bool with_fused; /* devices opened from now on have the fused ops and need 7 bytes each */
    bool refuses;    /* `refused` returns HD_E_UNSUPPORTED */
    hd_op refused;
    hd_status open_status;  /* what open returns */
    const char *sync_fault; /* text of the fault that sync reports; NULL: none */
} fake_state;
extern fake_state fake;

extern const hd_backend fake_backend;

void fake_reset(void);

#endif
