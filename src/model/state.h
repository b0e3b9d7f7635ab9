/* What a sequence holds, for those who share and keep it: pages, snapshots, replay.
 *
 *   compressed rows   in counted pages (pages.h); a sequence has one table per kind
 *   window, carries   of the last positions only; in the sequence's own ring and slot
 *
 * A prefix of n tokens, n a multiple of 128, is therefore: its pages, and a snapshot at n, which is
 * the last 128 window rows of every block and, for ratio 4, the group before n. Ratio 128 needs
 * nothing: its groups end there. Without a snapshot the window and the carries come back by running
 * tokens again (hd_v4_replay_from). Both give the same bits as a run from the start. */
#ifndef HD_MODEL_STATE_H
#define HD_MODEL_STATE_H

#include "hadal/model.h"
#include "model/pages.h"

typedef enum hd_page_kind { HD_PAGE_WINDOW, HD_PAGE_CSA, HD_PAGE_HCA, HD_PAGE_KINDS } hd_page_kind;

/** Snapshots and shared prefixes end at multiples of this. */
#define HD_SNAP_STEP 128

/** Pages of a kind (CSA, HCA) that n positions fill or begin. */
int32_t hd_v4_pages_for(int32_t n_positions, hd_page_kind kind);

/** Hold the pages that positions len … new_len − 1 of the sequence write to, copying shared ones:
 *  all or nothing. @return HD_E_LIMIT (max_ctx, or too few free pages); HD_E_DEVICE. */
hd_status hd_v4_state_reserve(hd_seq *seq, int32_t new_len, hd_err *err) HD_WARN_UNUSED;
/** How many free pages of a kind hd_v4_state_reserve would take. */
int32_t hd_v4_state_wants(const hd_seq *seq, hd_page_kind kind, int32_t new_len);

/** Let an empty sequence begin behind `len` positions, a multiple of 128: csa i32 [len / 128] and
 *  hca i32 [pages of len] are held, not copied. The window and the carries are still to come, by
 *  hd_v4_snap_load at len or by hd_v4_state_replay. */
void hd_v4_state_adopt(hd_seq *seq, int32_t len, const int32_t *csa, const int32_t *hca);
/** Run positions from … len − 1 again, as steps whose parts are replays: the rows stay. `from` is
 *  where a snapshot was just loaded, or before the positions that the sequence holds a window of:
 *  then the window in front of it is cleared, since what stands there by chance may be no number.
 *  @return HD_E_DEVICE. */
hd_status hd_v4_state_replay(hd_seq *seq, int32_t from, hd_err *err) HD_WARN_UNUSED;
/** Shorten to `len` positions whose window and carries are still held: len ≥ old len − 8, the
 *  longest draft. Nothing is copied. */
void hd_v4_state_rollback(hd_seq *seq, int32_t len);

/** Bytes of a snapshot. */
size_t hd_v4_snap_bytes(const hd_model *m);
/** Whether a snapshot at `pos` can be taken now: a multiple of 128, its window not overwritten. */
bool hd_v4_snap_ok(const hd_seq *seq, int32_t pos);
/** Snapshot at pos to host memory u8 [snap_bytes]. hd_v4_snap_ok must hold. @return HD_E_DEVICE. */
hd_status hd_v4_snap_save(hd_seq *seq, int32_t pos, uint8_t *host, hd_err *err) HD_WARN_UNUSED;
/** The inverse, for a sequence that holds rows of at least `pos` positions, adopted or its own: its
 *  window and carries are those at `pos`, which is its length now. Rows behind it are kept for a
 *  replay; to go on in another way, call hd_v4_state_rollback(seq, pos). @return HD_E_DEVICE. */
hd_status hd_v4_snap_load(hd_seq *seq, int32_t pos, const uint8_t *host,
                          hd_err *err) HD_WARN_UNUSED;

/** Where the compressed rows of 128 positions lie: a page of ratio 4, a row of a page of 128. */
typedef struct hd_v4_rows_at {
    int32_t csa, hca, hca_row;
} hd_v4_rows_at;

/** Bytes of the rows of 128 positions, all layers. */
size_t hd_v4_rows_bytes(const hd_model *m);
/** To and from host u8 [rows_bytes]; queued: `save` has written it by the next sync of the stream.
 *  @return what the device says. */
hd_status hd_v4_rows_save(hd_model *m, const hd_v4_rows_at *at, uint8_t *host) HD_WARN_UNUSED;
hd_status hd_v4_rows_load(hd_model *m, const hd_v4_rows_at *at, const uint8_t *host) HD_WARN_UNUSED;
/** The first n rows of page src to page dst, in all pools of the kind; queued. */
hd_status hd_v4_rows_copy(hd_model *m, hd_page_kind kind, int32_t src, int32_t dst,
                          int32_t n) HD_WARN_UNUSED;

/** The position from which tokens must run again so that window and carries are right at `pos`, if
 *  nothing before it is known: each layer looks back 128 positions further. A snapshot between the
 *  two makes it shorter. */
int32_t hd_v4_replay_from(const hd_model *m, int32_t pos);

#endif
