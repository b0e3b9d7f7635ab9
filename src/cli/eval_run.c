/* Running rows: see eval_run.h. */
#include "cli/eval_run.h"

#include "cli/interrupt.h"

#define MAX_IDS           ((size_t)1 << 25)
#define MAX_REQUEST_BYTES ((size_t)1 << 29)

void hd_eval_answer_init(hd_eval_answer *a)
{
    *a = (hd_eval_answer){0};
    hd_ids_init(&a->prompt, MAX_IDS);
    hd_ids_init(&a->ids, MAX_IDS);
    hd_eval_score_init(&a->score);
}

void hd_eval_answer_deinit(hd_eval_answer *a)
{
    hd_eval_score_deinit(&a->score);
    hd_ids_deinit(&a->ids);
    hd_ids_deinit(&a->prompt);
}

hd_status hd_eval_prompt(hd_session *s, const hd_eval_tasks *t, const hd_eval_row *row,
                         hd_eval_answer *out, hd_err *err)
{
    hd_buf request;
    hd_buf_init(&request, MAX_REQUEST_BYTES);
    hd_ids_reset(&out->prompt);
    hd_status status = hd_eval_request(t, row, &request, err);
    if (status == HD_OK)
        status =
            hd_request_render(&s->prompter, hd_buf_str(&request), &out->prompt, &out->start, err);
    hd_buf_deinit(&request);
    if (status == HD_OK) return HD_OK;
    return hd_err_context(err, status, "row %zu: 'request'", row->number);
}

/* Draw until the model ends by itself, or the row allows no more. */
static hd_status answer(hd_session *s, const hd_eval_row *row, hd_eval_answer *out, hd_err *err)
{
    int32_t id = -1;
    hd_ids_reset(&out->ids);
    while (id != s->info.eos_id && out->ids.len < (size_t)row->max_tokens &&
           hd_session_has_room(s)) {
        if (hd_interrupt_seen()) HD_FAIL(err, HD_E_CANCELLED, "interrupted");
        HD_TRY(hd_session_next(s, &id, err));
        HD_TRY(hd_ids_push(&out->ids, id, err));
    }
    return HD_OK;
}

hd_status hd_eval_score_ids(hd_session *s, const hd_eval_row *row, hd_eval_answer *out, hd_err *err)
{
    bool has_ended = out->ids.len > 0 && out->ids.ptr[out->ids.len - 1] == s->config.eos_id;
    hd_eval_output given = {.ids = out->ids.ptr,
                            .n = out->ids.len - has_ended,
                            .start = out->start,
                            .has_ended = has_ended};
    return hd_eval_score_answer(&out->score, row, s->tokenizer, &given, err);
}

hd_status hd_eval_run_row(hd_session *s, const hd_eval_tasks *t, const hd_eval_row *row,
                          hd_eval_answer *out, hd_err *err)
{
    HD_TRY(hd_eval_prompt(s, t, row, out, err));
    HD_TRY(hd_session_prompt(s, out->prompt.ptr, out->prompt.len, err));
    HD_TRY(answer(s, row, out, err));
    return hd_eval_score_ids(s, row, out, err);
}
