/* The wrapping devices: trace finds bad calls, defer is as late as the contract allows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/mem.h"
#include "dev/dev.h"
#include "support/fakedev.h"
#include "support/tmpdir.h"

static hd_dev *dev;
static hd_stream *stream;
static const char *log_path;

/* "trace", or "defer", or "trace" around "defer", around a recording device. */
static hd_dev *wrap(const char *name, hd_dev *inner)
{
    const hd_backend *b;
    hd_dev *outer;
    for (int i = 0; (b = hd_backend_at(i)) && strcmp(b->name, name) != 0; i++) {}
    assert_non_null(b);
    assert_int_equal(hd_dev_open_backend(b, NULL, inner, &outer, NULL), HD_OK);
    return outer;
}

static void open_wrapped(const char *name)
{
    fake_reset();
    assert_int_equal(hd_dev_open_backend(&fake_backend, NULL, NULL, &dev, NULL), HD_OK);
    dev = wrap(name, dev);
    assert_int_equal(dev->stream.create(dev, &stream, NULL), HD_OK);
}

static int open_trace(void **state)
{
    (void)state;
    log_path = test_path(test_tmpdir(), "trace.log");
    setenv("HADAL_TRACE", log_path, 1);
    setenv("HADAL_TRACE_SUMS", "0", 1);
    open_wrapped("trace");
    return 0;
}

static int open_defer(void **state)
{
    (void)state;
    open_wrapped("defer");
    return 0;
}

static int close_wrapped(void **state)
{
    (void)state;
    if (stream) dev->stream.destroy(stream);
    stream = NULL;
    hd_dev_close(dev);
    return fake.n_open || fake.n_memory || fake.n_streams || fake.n_events;
}

static void *alloc(size_t bytes)
{
    void *p;
    assert_int_equal(dev->mem.alloc(dev, bytes, &p, NULL), HD_OK);
    return p;
}

static hd_weight *pack(hd_weight_format format, int32_t rows, int32_t cols, int32_t n_parts)
{
    hd_weight_desc desc = {.format = format, .rows = rows, .cols = cols, .n_parts = n_parts};
    hd_weight *w;
    assert_int_equal(dev->mem.pack(dev, &desc, &w, NULL), HD_OK);
    return w;
}

static void assert_fault(hd_stream *s, const char *text)
{
    hd_err err = {0};
    assert_int_equal(dev->stream.sync(s, -1, &err), HD_E_DEVICE);
    assert_string_equal(err.text, text);
}

/* ---- trace ---------------------------------------------------------------------------------- */

/* The last call was refused for this reason, and it did not reach the inner device. */
static void assert_refused(hd_status st, const char *reason)
{
    assert_int_equal(st, HD_E_ARG);
    hd_str log = test_read(log_path);
    const char *last = memrchr(log.ptr, '\n', log.len - 1);
    hd_str line = hd_str_skip(log, last ? (size_t)(last + 1 - log.ptr) : 0);
    if (hd_str_find(line, hd_str_from(reason), 0) == line.len)
        fail_msg("'%.*s' lacks '%s'", HD_STR_ARG(line), reason);
}

static void trace_finds_bad_pointers(void **state)
{
    (void)state;
    static const hd_bf16 w_host[256];
    hd_bf16 host[512] HD_ALIGNED(16);
    const void *w;
    hd_bf16 *x = alloc(2 * 256 * 2), *y = alloc(2 * 256 * 2);
    assert_int_equal(dev->mem.adopt(dev, w_host, sizeof w_host, 2, &w, NULL), HD_OK);
    const hd_rms_norm_params good = {.n_rows = 2, .dim = 256, .x = x, .w = w, .y = y};
    hd_rms_norm_params p = good;
    assert_int_equal(hd_op_rms_norm(stream, &p), HD_OK);
    p.y = x; /* allowed by its comment */
    assert_int_equal(hd_op_rms_norm(stream, &p), HD_OK);
    p = (hd_rms_norm_params){.n_rows = 0, .dim = 256}; /* nothing to do */
    assert_int_equal(hd_op_rms_norm(stream, &p), HD_OK);
    assert_int_equal(fake.n_calls, 3);

    p = good, p.x = NULL;
    assert_refused(hd_op_rms_norm(stream, &p), "'x' of 1024 bytes is NULL");
    p = good, p.x = host;
    assert_refused(hd_op_rms_norm(stream, &p), "'x' of 1024 bytes is not device memory");
    p = good, p.n_rows = 3;
    assert_refused(hd_op_rms_norm(stream, &p), "'x' of 1536 bytes reaches beyond its allocation");
    p = good, p.n_rows = -1;
    assert_refused(hd_op_rms_norm(stream, &p), "'x' has a size of -1");
    p = good, p.n_rows = 1, p.x = x + 1;
    assert_refused(hd_op_rms_norm(stream, &p), "'x' is not aligned to 16 bytes");
    p = good, p.n_rows = 1, p.y = (hd_bf16 *)(uintptr_t)w;
    assert_refused(hd_op_rms_norm(stream, &p), "'y' of 512 bytes is constant (adopted)");
    p = good, p.n_rows = 1, p.y = x + 128;
    assert_refused(hd_op_rms_norm(stream, &p), "'y' overlaps 'x'");
    hd_kv_pack_params kv = {.n_rows = 1, .x = x, .rows = (uint8_t *)x};
    assert_refused(hd_op_kv_pack(stream, &kv), "'rows' overlaps 'x'");
    dev->mem.free(dev, y);
    assert_refused(hd_op_rms_norm(stream, &good), "'y' of 1024 bytes is not device memory");
    assert_int_equal(fake.n_calls, 3);

    /* A caller that ignores the status meets the first bad call at sync. */
    assert_fault(stream, "bad call of 'rms_norm': 'x' of 1024 bytes is NULL");
    dev->mem.release(dev, w);
    dev->mem.free(dev, x);
}

static void trace_finds_bad_shapes(void **state)
{
    (void)state;
    void *x = alloc(4096), *y = alloc(4096);
    hd_weight *w = pack(HD_WEIGHT_FP8, 96, 128, 1), *experts = pack(HD_WEIGHT_FP4, 96, 128, 3);
    const hd_linear_params good = {
        .n_rows = 2, .n_groups = 1, .x_kind = HD_X_ACT, .x = x, .w = w, .y = y};
    hd_linear_params p = good;
    assert_int_equal(hd_op_linear(stream, &p), HD_OK);
    p = good, p.n_groups = 2;
    assert_refused(hd_op_linear(stream, &p), "expected at least one group, and one for");
    p = good, p.n_groups = 5, p.x_kind = HD_X_BF16;
    assert_refused(hd_op_linear(stream, &p), "expected rows that divide by the groups");
    p = good, p.w = experts;
    assert_refused(hd_op_linear(stream, &p), "expected a weight of one part");
    p = good, p.w = y;
    assert_refused(hd_op_linear(stream, &p), "'w' is not a packed weight of this device");
    p = good, p.n_rows = 32; /* 4096 codes, then 32 scales behind the end of x */
    p.y = NULL;
    assert_refused(hd_op_linear(stream, &p), "'scale of it' of 32 bytes is not device memory");
    hd_route_params r = {.n_rows = 1, .n_experts = 4, .n_chosen = 5, .z = x, .bias = x};
    assert_refused(hd_op_route(stream, &r), "expected 1 to n_experts chosen experts");
    r.n_chosen = 2, r.bias = NULL;
    assert_refused(hd_op_route(stream, &r), "expected either bias or tid2eid");
    hd_attention_params a = {.rows = {.n_rows = 1, .n_seqs = 2, .end_pos = 1}, .ratio = 4};
    assert_refused(hd_op_attention(stream, &a), "expected between one sequence and one per row");
    a.rows.n_seqs = 1, a.ratio = 3;
    assert_refused(hd_op_attention(stream, &a), "expected a ratio of 0, 4 or 128");
    a.ratio = 4, a.window.max_pages = 7;
    assert_refused(hd_op_attention(stream, &a), "expected max_pages for all positions");
    assert_int_equal(fake.n_calls, 1);
    dev->mem.unpack(dev, experts);
    dev->mem.unpack(dev, w);
    dev->mem.free(dev, x);
    dev->mem.free(dev, y);
}

static void trace_finds_bad_copies(void **state)
{
    (void)state;
    uint8_t host[64] = {0};
    uint8_t *x = alloc(64), *y = alloc(64);
    assert_int_equal(dev->mem.upload(stream, x, host, 64), HD_OK);
    assert_int_equal(dev->mem.copy2d(stream, y, 32, x, 0, 16, 2), HD_OK);
    assert_refused(dev->mem.upload(stream, x + 1, host, 64), "'dst' reaches beyond");
    assert_refused(dev->mem.upload(stream, host, x, 64), "'dst' is not device memory");
    assert_refused(dev->mem.upload(stream, x, NULL, 64), "'src' is NULL");
    assert_refused(dev->mem.download(stream, x, host, 64), "'src' is not device memory");
    assert_refused(dev->mem.download(stream, NULL, x, 64), "'dst' is NULL");
    assert_refused(dev->mem.fill(stream, x + 60, 0, 5), "'dst' reaches beyond");
    assert_refused(dev->mem.copy2d(stream, y, 48, x, 16, 32, 2), "'dst' reaches beyond");
    assert_refused(dev->mem.copy2d(stream, y, 32, x, 48, 32, 2), "'src' reaches beyond");
    assert_refused(dev->mem.copy2d(stream, y, 16, x, 32, 32, 2), "'dst' has rows that overlap");
    assert_int_equal(dev->mem.fill(stream, NULL, 0, 0), HD_OK);
    dev->mem.free(dev, host); /* not ours: ignored, and said in the log */
    dev->mem.free(dev, x);
    dev->mem.free(dev, y);
    hd_str log = test_read(log_path);
    assert_true(hd_str_find(log, HD_STR("ignored 'free' of"), 0) < log.len);
}

static void trace_logs_calls_sums_and_leaks(void **state)
{
    (void)state;
    setenv("HADAL_TRACE_SUMS", "1", 1);
    open_wrapped("trace");
    hd_bf16 *x = alloc(1024);
    hd_weight *w = pack(HD_WEIGHT_BF16, 4, 256, 1);
    assert_int_equal(dev->mem.fill(stream, x, 'a', 8), HD_OK);
    fake.refuses = true;
    fake.refused = HD_OP_add;
    hd_linear_params p = {.n_rows = 1, .n_groups = 1, .x = x + 8, .w = w, .y = x};
    assert_int_equal(hd_op_linear(stream, &p), HD_OK);
    hd_add_params add = {.n_rows = 0};
    assert_int_equal(hd_op_add(stream, &add), HD_E_UNSUPPORTED);
    dev->stream.destroy(stream);
    stream = NULL;
    dev->mem.free(dev, x);
    hd_dev_close(dev);
    fake.n_memory--;
    free(w);
    static const char *const lines[] = {
        "1 fill 8 B",
        /* FNV-1a of "aaaaaaaa", from the published algorithm in another language. */
        "2 linear w=bf16[1,4,256] x=bf16[1,256] y=bf16[1,4]#05f43545f9e846cd 520 B",
        "3 add 0 B",
        " refused: E_UNSUPPORTED",
        "trace:fake: 3 calls",
        "1 allocations, adoptions or weights were not given back",
    };
    hd_str log = test_read(log_path);
    for (size_t i = 0; i < HD_COUNT(lines); i++)
        if (hd_str_find(log, hd_str_from(lines[i]), 0) == log.len)
            fail_msg("no '%s' in\n%.*s", lines[i], HD_STR_ARG(log));
}

static void trace_needs_a_log_it_can_write(void **state)
{
    (void)state;
    hd_err err;
    hd_dev *out;
    const hd_backend *b;
    for (int i = 0; (b = hd_backend_at(i)) && strcmp(b->name, "trace") != 0; i++) {}
    fake_reset();
    assert_int_equal(hd_dev_open_backend(&fake_backend, NULL, NULL, &dev, NULL), HD_OK);
    setenv("HADAL_TRACE", "/nonexistent/trace.log", 1);
    assert_int_equal(hd_dev_open_backend(b, NULL, dev, &out, &err), HD_E_IO);
    assert_non_null(strstr(err.text, "cannot write '/nonexistent/trace.log' (HADAL_TRACE)"));
    hd_dev_close(dev); /* still the caller's */
    assert_int_equal(fake.n_open, 0);
}

static void trace_composes_where_all_can_see_it(void **state)
{
    (void)state;
    assert_true(dev->composed[HD_OP_q_norm_rope]);
    hd_q_norm_rope_params p = {.n_rows = 1, .n_heads = 1};
    assert_refused(hd_op_q_norm_rope(stream, &p), "bad call of 'q_norm'");
    assert_int_equal(close_wrapped(state), 0);
    fake.with_fused = true;
    assert_int_equal(hd_dev_open_backend(&fake_backend, NULL, NULL, &dev, NULL), HD_OK);
    dev = wrap("trace", dev);
    assert_int_equal(dev->stream.create(dev, &stream, NULL), HD_OK);
    assert_false(dev->composed[HD_OP_q_norm_rope]);
    assert_refused(hd_op_q_norm_rope(stream, &p), "bad call of 'q_norm_rope'");
}

/* ---- defer ---------------------------------------------------------------------------------- */

static void defer_runs_nothing_before_a_sync(void **state)
{
    (void)state;
    int32_t ids[4] = {1, 2, 3, 4}, back[4] = {9, 9, 9, 9};
    int32_t *x = alloc(sizeof ids), *y = alloc(sizeof ids);
    hd_argmax_params p = {.n_rows = 7};
    assert_int_equal(dev->mem.upload(stream, x, ids, sizeof ids), HD_OK);
    assert_int_equal(hd_op_argmax(stream, &p), HD_OK);
    p.n_rows = 8; /* the caller's copy is the caller's */
    assert_int_equal(dev->mem.copy2d(stream, y, 4, x, 4, 4, 4), HD_OK);
    assert_int_equal(dev->mem.download(stream, back, y, sizeof back), HD_OK);
    assert_int_equal(fake.n_calls, 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal((uint32_t)ids[i], 0xA5A5A5A5u); /* the source is spoilt */
        assert_int_equal((uint32_t)back[i], 0xA5A5A5A5u);
        assert_int_equal(x[i], -1); /* new memory is poison; a test may look, the fake is a host */
    }
    assert_int_equal(dev->stream.sync(stream, -1, NULL), HD_OK);
    assert_int_equal(fake.n_calls, 1);
    assert_int_equal(fake.call[0].p.argmax.n_rows, 7);
    for (int i = 0; i < 4; i++) assert_int_equal(back[i], i + 1);
    dev->mem.free(dev, x);
    dev->mem.free(dev, y);
}

static void defer_leaves_what_may_not_be_written(void **state)
{
    (void)state;
    size_t bytes = 200000; /* more than one piece of the pattern */
    uint8_t *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(page, MAP_FAILED);
    memset(page, 'p', bytes);
    uint8_t *x = alloc(bytes);
    assert_int_equal(mprotect(page, bytes, PROT_READ), 0);
    assert_int_equal(dev->mem.upload(stream, x, page, bytes), HD_OK);
    assert_int_equal(page[0], 'p');
    assert_int_equal(mprotect(page, bytes, PROT_READ | PROT_WRITE), 0);
    assert_int_equal(dev->mem.upload(stream, x, page, bytes), HD_OK);
    assert_int_equal(page[0], 0xA5);
    assert_int_equal(page[bytes - 1], 0xA5);
    assert_int_equal(dev->stream.sync(stream, -1, NULL), HD_OK);
    assert_int_equal(x[bytes - 1], 'p');
    munmap(page, bytes);
    dev->mem.free(dev, x);
}

static void defer_keeps_the_order_of_events(void **state)
{
    (void)state;
    hd_stream *other;
    hd_event *e1, *e2;
    assert_int_equal(dev->stream.create(dev, &other, NULL), HD_OK);
    assert_int_equal(dev->stream.event_create(dev, &e1, NULL), HD_OK);
    assert_int_equal(dev->stream.event_create(dev, &e2, NULL), HD_OK);
    hd_argmax_params p = {0};
    /* other: 1 | e1 2 [wait e2] 5; stream: [wait e1] 3 | e2 4 */
#define RUN(s, n) assert_int_equal(((p.n_rows = (n)), hd_op_argmax((s), &p)), HD_OK)
    assert_int_equal(dev->stream.event_wait(stream, e1), HD_OK); /* never recorded: no wait */
    RUN(other, 1);
    assert_int_equal(dev->stream.event_record(other, e1), HD_OK);
    RUN(other, 2);
    assert_int_equal(dev->stream.event_wait(stream, e1), HD_OK);
    RUN(stream, 3);
    assert_int_equal(dev->stream.event_record(stream, e2), HD_OK);
    RUN(stream, 4);
    assert_int_equal(dev->stream.event_wait(other, e2), HD_OK);
    RUN(other, 5);
    /* Recorded anew: earlier waits mean the earlier record. */
    assert_int_equal(dev->stream.event_record(other, e1), HD_OK);
    dev->stream.event_destroy(e1);
    dev->stream.event_destroy(e2);
    assert_int_equal(fake.n_calls, 0);
    assert_int_equal(dev->stream.sync(stream, -1, NULL), HD_OK);
    const int first[] = {1, 3, 4}, all[] = {1, 3, 4, 2, 5};
    assert_int_equal(fake.n_calls, 3);
    for (int i = 0; i < 3; i++) assert_int_equal(fake.call[i].p.argmax.n_rows, first[i]);
    assert_int_equal(dev->stream.sync(other, -1, NULL), HD_OK);
    assert_int_equal(fake.n_calls, 5);
    for (int i = 0; i < 5; i++) assert_int_equal(fake.call[i].p.argmax.n_rows, all[i]);
#undef RUN
    dev->stream.destroy(other);
}

static void defer_finishes_a_stream_that_others_wait_for(void **state)
{
    (void)state;
    hd_stream *other;
    hd_event *e;
    hd_argmax_params p = {.n_rows = 1};
    assert_int_equal(dev->stream.create(dev, &other, NULL), HD_OK);
    assert_int_equal(dev->stream.event_create(dev, &e, NULL), HD_OK);
    assert_int_equal(hd_op_argmax(other, &p), HD_OK);
    assert_int_equal(dev->stream.event_record(other, e), HD_OK);
    assert_int_equal(dev->stream.event_wait(stream, e), HD_OK);
    p.n_rows = 2;
    assert_int_equal(hd_op_argmax(stream, &p), HD_OK);
    dev->stream.destroy(other); /* waits for what was submitted */
    assert_int_equal(fake.n_calls, 1);
    dev->stream.event_destroy(e);
    assert_int_equal(dev->stream.sync(stream, -1, NULL), HD_OK);
    assert_int_equal(fake.n_calls, 2);
    assert_int_equal(fake.call[1].p.argmax.n_rows, 2);
}

static void defer_shows_faults_at_sync(void **state)
{
    (void)state;
    hd_stream *other;
    hd_event *e;
    fake.refuses = true;
    fake.refused = HD_OP_argmax;
    hd_argmax_params bad = {.n_rows = 1};
    hd_add_params add = {.n_rows = 1};
    assert_int_equal(dev->stream.create(dev, &other, NULL), HD_OK);
    assert_int_equal(dev->stream.event_create(dev, &e, NULL), HD_OK);
    assert_int_equal(hd_op_argmax(other, &bad), HD_OK);
    assert_int_equal(hd_op_add(other, &add), HD_OK); /* dropped behind the fault */
    assert_int_equal(dev->stream.event_record(other, e), HD_OK);
    assert_int_equal(dev->stream.event_wait(stream, e), HD_OK);
    assert_int_equal(hd_op_add(stream, &add), HD_OK);
    assert_fault(stream, "deferred 'event_wait' failed: deferred 'argmax' failed: "
                         "E_UNSUPPORTED");
    assert_fault(other, "deferred 'argmax' failed: E_UNSUPPORTED");
    assert_fault(other, "deferred 'argmax' failed: E_UNSUPPORTED"); /* sticky */
    assert_int_equal(fake.n_calls, 1);
    dev->stream.event_destroy(e);
    dev->stream.destroy(other);
    fake.sync_fault = "card fell off";
    hd_stream *third;
    assert_int_equal(dev->stream.create(dev, &third, NULL), HD_OK);
    assert_fault(third, "card fell off");
    dev->stream.destroy(third);
}

static void defer_reports_lack_of_memory(void **state)
{
    (void)state;
    uint8_t byte = 7;
    uint8_t *x = alloc(1);
    hd_mem_fail_after(0);
    hd_status st = dev->mem.upload(stream, x, &byte, 1);
    hd_mem_fail_after(-1);
    assert_int_equal(st, HD_E_NOMEM);
    assert_int_equal(byte, 7);
    dev->mem.free(dev, x);
}

static void trace_around_defer(void **state)
{
    (void)state;
    unsetenv("HADAL_TRACE");
    open_wrapped("defer");
    dev->stream.destroy(stream);
    dev = wrap("trace", dev);
    assert_string_equal(dev->props.name, "trace:defer:fake");
    assert_int_equal(dev->stream.create(dev, &stream, NULL), HD_OK);
    hd_event *e;
    uint8_t host = 5, *x = alloc(1);
    assert_int_equal(dev->stream.event_create(dev, &e, NULL), HD_OK);
    assert_int_equal(dev->mem.upload(stream, x, &host, 1), HD_OK);
    assert_int_equal(dev->stream.event_record(stream, e), HD_OK);
    assert_int_equal(dev->stream.event_wait(stream, e), HD_OK);
    assert_int_equal(x[0], 0xFF);
    assert_int_equal(dev->stream.sync(stream, 1000, NULL), HD_OK);
    assert_int_equal(x[0], 5);
    dev->stream.event_destroy(e);
    dev->mem.free(dev, x);
    close_wrapped(state);
    assert_int_equal(fake.n_open, 0);
}

#define WITH_TRACE(f) cmocka_unit_test_setup_teardown(f, open_trace, close_wrapped)
#define WITH_DEFER(f) cmocka_unit_test_setup_teardown(f, open_defer, close_wrapped)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_TRACE(trace_finds_bad_pointers),
        WITH_TRACE(trace_finds_bad_shapes),
        WITH_TRACE(trace_finds_bad_copies),
        WITH_TRACE(trace_composes_where_all_can_see_it),
        cmocka_unit_test(trace_logs_calls_sums_and_leaks),
        cmocka_unit_test(trace_needs_a_log_it_can_write),
        cmocka_unit_test(trace_around_defer),
        WITH_DEFER(defer_runs_nothing_before_a_sync),
        WITH_DEFER(defer_leaves_what_may_not_be_written),
        WITH_DEFER(defer_keeps_the_order_of_events),
        WITH_DEFER(defer_finishes_a_stream_that_others_wait_for),
        WITH_DEFER(defer_shows_faults_at_sync),
        WITH_DEFER(defer_reports_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
