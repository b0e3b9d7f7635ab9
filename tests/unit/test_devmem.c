/* What every device promises about memory, weights and events, on each one that opens here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "dev/dev.h"
#include "support/devtest.h"

static devtest t;

static void assert_ok(hd_status st)
{
    devtest_check(&t, st, "a call that must succeed");
}

static void *new_memory(size_t bytes)
{
    void *p;
    assert_ok(t.dev->mem.alloc(t.dev, bytes, &p, NULL));
    assert_int_equal((uintptr_t)p % 256, 0);
    return p;
}

static void copies_keep_their_order(void)
{
    hd_dev_mem_ops *mem = &t.dev->mem;
    uint8_t host[64], back[64];
    uint8_t *a = new_memory(64), *b = new_memory(64);
    for (int i = 0; i < 64; i++) host[i] = (uint8_t)i;
    assert_ok(mem->upload(t.stream, a, host, 64));
    memset(host, 0, sizeof host); /* the caller's again */
    assert_ok(mem->fill(t.stream, b, 0xEE, 64));
    /* Three rows of 5 bytes: from every 20th byte to every 16th. */
    assert_ok(mem->copy2d(t.stream, b + 1, 16, a, 20, 5, 3));
    assert_ok(mem->fill(t.stream, a, 0, 64)); /* behind the copy */
    assert_ok(mem->download(t.stream, back, b, 64));
    assert_ok(t.dev->stream.sync(t.stream, -1, NULL));
    for (int i = 0; i < 64; i++) {
        int row = (i - 1) / 16, column = (i - 1) % 16;
        bool copied = i >= 1 && row < 3 && column < 5;
        assert_int_equal(back[i], copied ? 20 * row + column : 0xEE);
    }
    assert_ok(mem->upload(t.stream, NULL, NULL, 0));
    assert_ok(mem->download(t.stream, NULL, NULL, 0));
    assert_ok(mem->fill(t.stream, NULL, 0, 0));
    assert_ok(mem->copy2d(t.stream, NULL, 0, NULL, 0, 0, 3));
    assert_ok(mem->copy2d(t.stream, NULL, 0, NULL, 0, 8, 0));
    assert_ok(t.dev->stream.sync(t.stream, 1000, NULL));
    mem->free(t.dev, a);
    mem->free(t.dev, b);
    mem->free(t.dev, new_memory(0));
    mem->free(t.dev, NULL);
}

static void constants_are_adopted(void)
{
    hd_dev_mem_ops *mem = &t.dev->mem;
    static const uint8_t host[33] HD_ALIGNED(16) = "constants, thirty-two bytes long";
    const void *aligned, *odd;
    uint8_t back[32];
    assert_ok(mem->adopt(t.dev, host, 32, 16, &aligned, NULL));
    assert_ok(mem->adopt(t.dev, host + 1, 32, 4, &odd, NULL));
    if (!t.dev->props.maps_host) assert_ptr_not_equal(aligned, host);
    assert_int_equal((uintptr_t)aligned % 16, 0);
    assert_int_equal((uintptr_t)odd % 4, 0);
    assert_ok(mem->download(t.stream, back, odd, 32));
    assert_ok(t.dev->stream.sync(t.stream, -1, NULL));
    assert_memory_equal(back, host + 1, 32);
    mem->release(t.dev, odd);
    mem->release(t.dev, aligned);
}

/* Row r of `x` = e_r picks column r of W, of every format: W[1][0] = 1.5, W[0][1] = -2. */
static void weights_of_every_format(void)
{
    uint8_t fp8[2 * 32] = {0}, fp8_scale[] = {128}; /* 2^1 */
    uint8_t fp4[2 * 16] = {0}, fp4_scale[] = {127, 128};
    float f32[2 * 32] = {[1] = -2.0f, [32] = 1.5f}, y[4];
    hd_bf16 bf16[2 * 32] = {[1] = 0xC000, [32] = 0x3FC0};
    hd_bf16 x[2 * 32] = {[0] = 0x3F80, [33] = 0x3F80};
    fp8[1] = 0xB8, fp8[32] = 0x34; /* -1, 0.75, times 2 */
    fp4[0] = 0xC0, fp4[16] = 0x01; /* code 12: -2; code 1: 0.5, times 2 = 1 */
    const struct {
        hd_weight_format format;
        const void *data, *scale;
        float w10;
    } cases[] = {{HD_WEIGHT_F32, f32, NULL, 1.5f},
                 {HD_WEIGHT_BF16, bf16, NULL, 1.5f},
                 {HD_WEIGHT_FP8, fp8, fp8_scale, 1.5f},
                 {HD_WEIGHT_FP4, fp4, fp4_scale, 1.0f}};
    void *x_dev = devtest_put(&t, x, sizeof x), *y_dev = devtest_put(&t, NULL, sizeof y);
    for (size_t i = 0; i < HD_COUNT(cases); i++) {
        hd_weight *w = devtest_weight(&t, cases[i].format, 2, 32, cases[i].data, cases[i].scale);
        hd_linear_params p = {
            .n_rows = 2, .n_groups = 1, .y_kind = HD_Y_F32, .x = x_dev, .w = w, .y = y_dev};
        assert_ok(hd_op_linear(t.stream, &p));
        devtest_get(&t, y, y_dev, sizeof y);
        assert_true(y[0] == 0.0f && y[1] == cases[i].w10);
        assert_true(y[2] == -2.0f && y[3] == 0.0f);
    }
    t.dev->mem.unpack(t.dev, NULL);
    devtest_clear(&t);
}

static void weights_without_sense(void)
{
    static const float data[64];
    const void *parts[] = {data};
    hd_weight *w;
    hd_weight_desc d = {HD_WEIGHT_F32, 0, 32, 1, parts, NULL};
    assert_int_not_equal(t.dev->mem.pack(t.dev, &d, &w, NULL), HD_OK);
    d = (hd_weight_desc){HD_WEIGHT_FP4, 2, 31, 1, parts, parts};
    assert_int_not_equal(t.dev->mem.pack(t.dev, &d, &w, NULL), HD_OK);
}

static void lack_of_memory(void)
{
    static const float data[64];
    const void *parts[] = {data};
    hd_weight_desc d = {HD_WEIGHT_F32, 2, 32, 1, parts, NULL};
    hd_weight *w = NULL;
    hd_status st = HD_E_NOMEM;
    int n_failed = 0;
    for (long after = 0; st != HD_OK; after++) {
        assert_true(after < 20);
        hd_mem_fail_after(after);
        st = t.dev->mem.pack(t.dev, &d, &w, NULL);
        hd_mem_fail_after(-1);
        if (st == HD_OK) break;
        assert_int_equal(st, HD_E_NOMEM);
        n_failed++;
    }
    assert_true(n_failed > 0); /* packing needs memory, and did fail */
    t.dev->mem.unpack(t.dev, w);
    void *p;
    hd_mem_fail_after(0);
    st = t.dev->mem.alloc(t.dev, 64, &p, NULL);
    hd_mem_fail_after(-1);
    assert_int_equal(st, HD_E_NOMEM);
}

static void events_order_streams(void)
{
    hd_dev_stream_ops *stream = &t.dev->stream;
    hd_stream *other;
    hd_event *e;
    uint8_t back = 0, *a = new_memory(1);
    assert_ok(stream->create(t.dev, &other, NULL));
    assert_ok(stream->event_create(t.dev, &e, NULL));
    for (int i = 1; i <= 3; i++) {
        assert_ok(t.dev->mem.fill(other, a, i, 1));
        assert_ok(stream->event_record(other, e));
        assert_ok(stream->event_wait(t.stream, e));
        assert_ok(t.dev->mem.download(t.stream, &back, a, 1));
        assert_ok(stream->sync(t.stream, -1, NULL));
        assert_int_equal(back, i);
    }
    stream->event_destroy(e);
    stream->destroy(other);
    t.dev->mem.free(t.dev, a);
}

static void on_every_device(void **state)
{
    (void)state;
    setenv("HADAL_TRACE", "/dev/null", 1);
    int n = 0;
    for (const devtest_spec *spec = devtest_specs; spec->name; spec++) {
        if (!devtest_open(&t, spec, NULL)) {
            print_message("  %s %s: not here, skipped\n", spec->name, spec->isa ? spec->isa : "");
            continue;
        }
        print_message("  %s\n", t.label);
        copies_keep_their_order();
        constants_are_adopted();
        weights_of_every_format();
        weights_without_sense();
        lack_of_memory();
        events_order_streams();
        devtest_close(&t);
        n++;
    }
    assert_true(n >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(on_every_device)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
