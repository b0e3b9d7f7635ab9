#include "base/queue.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

typedef struct cell {
    /* i: free for the push with number i; i + 1: holds its item, for the pop with number i. */
    _Atomic uint64_t turn;
    void *item;
} cell;

struct hd_queue {
    cell *cells; /* [mask + 1] */
    uint64_t mask;
    int fd;
    _Atomic int sleeps; /* the popping thread is about to sleep, or does */
    _Alignas(64) _Atomic uint64_t n_pushed;
    _Alignas(64) uint64_t n_popped; /* of the popping thread alone */
};

hd_status hd_queue_create(uint32_t cap, hd_queue **out, hd_err *err)
{
    if (cap == 0 || cap > HD_QUEUE_MAX || (cap & (cap - 1)))
        HD_FAIL(err, HD_E_ARG, "a queue of %u places, expected a power of two up to %u", cap,
                HD_QUEUE_MAX);
    hd_queue *q = hd_mem_calloc(1, sizeof *q);
    q->fd = -1;
    q->mask = cap - 1;
    q->cells = hd_mem_try_calloc(cap, sizeof *q->cells);
    if (!q->cells) {
        hd_queue_destroy(q);
        HD_FAIL(err, HD_E_NOMEM, "out of memory for a queue of %u places", cap);
    }
    for (uint32_t i = 0; i < cap; i++) atomic_init(&q->cells[i].turn, i);
    q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->fd < 0) {
        int why = errno;
        hd_queue_destroy(q);
        HD_FAIL(err, HD_E_IO, "no eventfd for a queue: %s", strerror(why));
    }
    *out = q;
    return HD_OK;
}

void hd_queue_destroy(hd_queue *q)
{
    if (!q) return;
    if (q->fd >= 0) close(q->fd);
    hd_mem_free(q->cells);
    hd_mem_free(q);
}

void hd_queue_wake(hd_queue *q)
{
    uint64_t one = 1;
    ssize_t n;
    do n = write(q->fd, &one, sizeof one);
    while (n < 0 && errno == EINTR); /* EAGAIN: it is awake many times over */
}

bool hd_queue_push(hd_queue *q, void *item)
{
    uint64_t n = atomic_load_explicit(&q->n_pushed, memory_order_relaxed);
    for (;;) {
        cell *c = &q->cells[n & q->mask];
        int64_t ahead = (int64_t)(atomic_load_explicit(&c->turn, memory_order_acquire) - n);
        if (ahead < 0) return false; /* its item of the last round is still there */
        if (ahead > 0) {             /* another thread took this number */
            n = atomic_load_explicit(&q->n_pushed, memory_order_relaxed);
            continue;
        }
        if (!atomic_compare_exchange_weak_explicit(&q->n_pushed, &n, n + 1, memory_order_relaxed,
                                                   memory_order_relaxed))
            continue;
        c->item = item;
        /* Sequentially consistent, as is the load behind it: of this and "I sleep, is there
         * nothing?" in wait, one sees the other. */
        atomic_store(&c->turn, n + 1);
        if (atomic_load(&q->sleeps)) hd_queue_wake(q);
        return true;
    }
}

static bool has_item(hd_queue *q)
{
    return atomic_load(&q->cells[q->n_popped & q->mask].turn) == q->n_popped + 1;
}

bool hd_queue_pop(hd_queue *q, void **item)
{
    cell *c = &q->cells[q->n_popped & q->mask];
    if (!has_item(q)) return false;
    *item = c->item;
    atomic_store_explicit(&c->turn, q->n_popped + q->mask + 1, memory_order_release);
    q->n_popped++;
    return true;
}

bool hd_queue_wait(hd_queue *q, int timeout_ms)
{
    struct pollfd p = {.fd = q->fd, .events = POLLIN};
    uint64_t count;
    atomic_store(&q->sleeps, 1);
    if (!has_item(q))
        (void)poll(&p, 1, timeout_ms); /* a signal ends it early: the caller asks again */
    atomic_store(&q->sleeps, 0);
    while (read(q->fd, &count, sizeof count) < 0 && errno == EINTR);
    return has_item(q);
}
