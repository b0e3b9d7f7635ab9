#include "engine/draft_pace.h"

/* What one more row adds to a step of one row: attention and experts of its own, while the dense
 * weights are read anyway. */
#define ROW_COST   (HD_PACE_ONE / 4)

#define FIRST_RATE (HD_PACE_ONE * 7 / 10)
#define AGAIN_RATE (HD_PACE_ONE / 2)
#define GOOD_RATE  (HD_PACE_ONE * 3 / 4)
/* A rate is the mean of about this many drafted tokens. */
#define MEMORY     16
#define FIRST_REST 32
#define MAX_RESTS  5 /* doublings */

void hd_pace_begin(hd_pace *p)
{
    *p = (hd_pace){.rate = FIRST_RATE};
}

/* A step of n rows costs 1 + (n − 1)·c and brings n tokens: a further row, which costs c, is to
 * bring as much for its cost. */
int32_t hd_pace_price(int32_t n_rows)
{
    int64_t n = n_rows > 1 ? n_rows : 1;
    return (int32_t)(ROW_COST * n * HD_PACE_ONE / (HD_PACE_ONE + (n - 1) * ROW_COST));
}

int32_t hd_pace_length(const hd_pace *p, int32_t n_rows, int32_t max)
{
    int32_t n = 0;
    if (p->rest > 0) return 0;
    for (int64_t chance = p->rate; n < max; n++, chance = chance * p->rate / HD_PACE_ONE)
        if (chance < hd_pace_price(n_rows + n)) break;
    return n;
}

void hd_pace_pass(hd_pace *p)
{
    if (p->rest > 0) p->rest--;
}

void hd_pace_learn(hd_pace *p, int32_t n_drafted, int32_t n_right)
{
    for (int32_t i = 0; i < n_right; i++) p->rate += (HD_PACE_ONE - p->rate) / MEMORY;
    if (n_right < n_drafted) p->rate -= p->rate / MEMORY;
    if (p->rate >= GOOD_RATE) p->n_rests = 0;
    if (p->rate >= hd_pace_price(1)) return;
    p->rest = FIRST_REST << (p->n_rests < MAX_RESTS ? p->n_rests : MAX_RESTS);
    p->n_rests++;
    p->rate = AGAIN_RATE;
}
