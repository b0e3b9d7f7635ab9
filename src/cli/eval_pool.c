/* Rows through the engine: see eval_pool.h. */
#include "cli/eval_pool.h"

#include <poll.h>
#include <unistd.h>

#include "cli/interrupt.h"

#define LOOK_MS 200 /* Ctrl-C is looked at so often */

void hd_eval_pool_init(hd_eval_pool *p)
{
    for (size_t i = 0; i < HD_EVAL_AT_ONCE; i++) hd_eval_answer_init(&p->entry[i].answer);
}

void hd_eval_pool_deinit(hd_eval_pool *p)
{
    for (size_t i = 0; i < HD_EVAL_AT_ONCE; i++) hd_eval_answer_deinit(&p->entry[i].answer);
}

hd_status hd_eval_pool_add(hd_eval_pool *p, const hd_eval_row *row, hd_err *err)
{
    hd_eval_entry *e = &p->entry[p->n_added % HD_EVAL_AT_ONCE];
    e->row = row;
    e->is_done = false;
    hd_ids_reset(&e->answer.ids);
    HD_TRY(hd_eval_prompt(p->session, p->tasks, row, &e->answer, err));
    hd_submit submit = {.ids = e->answer.prompt.ptr,
                        .n_ids = (int32_t)e->answer.prompt.len,
                        .max_new = row->max_tokens,
                        .how = *p->how};
    HD_TRY(hd_engine_submit(p->engine, &submit, &e->number, err));
    p->n_added++;
    return HD_OK;
}

/* The events that are there. */
static hd_status take_events(hd_eval_pool *p, hd_eval_entry *e, bool *is_busy, hd_err *err)
{
    hd_event event;
    while (!e->is_done) {
        hd_status st = hd_engine_next(p->engine, e->number, 0, &event, err);
        if (st == HD_E_TIMEOUT) return HD_OK;
        HD_TRY(st);
        *is_busy = true;
        if (event.kind == HD_EVENT_TOKEN) HD_TRY(hd_ids_push(&e->answer.ids, event.token, err));
        if (event.kind != HD_EVENT_END) continue;
        e->is_done = true;
        if (event.end == HD_END_STOP || event.end == HD_END_LENGTH) continue;
        HD_FAIL(err, event.end == HD_END_FAILED ? event.err.code : HD_E_TIMEOUT, "row %zu: %s",
                e->row->number, event.end == HD_END_FAILED ? event.err.text : "was not finished");
    }
    return HD_OK;
}

/* All rows are read in turn, so that none waits for room for its events. */
static hd_status wait_for(hd_eval_pool *p, const hd_eval_entry *oldest, hd_err *err)
{
    uint64_t count;
    while (!oldest->is_done) {
        bool is_busy = false;
        if (hd_interrupt_seen()) HD_FAIL(err, HD_E_CANCELLED, "interrupted");
        for (size_t i = p->n_taken; i < p->n_added; i++)
            HD_TRY(take_events(p, &p->entry[i % HD_EVAL_AT_ONCE], &is_busy, err));
        struct pollfd fd = {.fd = hd_engine_event_fd(p->engine), .events = POLLIN};
        if (!is_busy && poll(&fd, 1, LOOK_MS) > 0) (void)!read(fd.fd, &count, sizeof count);
    }
    return HD_OK;
}

hd_status hd_eval_pool_next(hd_eval_pool *p, const hd_eval_entry **out, hd_err *err)
{
    hd_eval_entry *e = &p->entry[p->n_taken % HD_EVAL_AT_ONCE];
    HD_TRY(wait_for(p, e, err));
    HD_TRY(hd_eval_score_ids(p->session, e->row, &e->answer, err));
    p->n_taken++;
    *out = e;
    return HD_OK;
}
