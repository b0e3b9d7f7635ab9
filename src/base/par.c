#include "base/par.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

/* Longer than any gap between two ops of a step, much shorter than a person notices. */
#define SPIN_NS 200000

/* A counter that threads wait on. Each gate has cache lines of its own. */
typedef struct gate {
    _Alignas(64) atomic_uint word;
    atomic_uint n_sleepers;
} gate;

typedef struct counter {
    _Alignas(64) _Atomic int64_t next;
} counter;

struct hd_par {
    int n_threads;
    bool may_spin;
    hd_par_fn fn; /* of the run under way; published by gate `start` */
    void *arg;
    bool quit;
    gate start;                        /* one step per run */
    gate done;                         /* one step per run, by the helper that finishes last */
    gate phase;                        /* one step per barrier, by the thread that comes last */
    _Alignas(64) atomic_int n_running; /* helpers that have not finished the run */
    _Alignas(64) atomic_int n_arrived; /* at the barrier */
    _Alignas(64) atomic_bool resting;
    counter counters[HD_PAR_COUNTERS];
    pthread_t threads[HD_PAR_MAX_THREADS]; /* [1 … n_threads − 1] */
};

typedef struct start_arg {
    hd_par *par;
    int i_thread;
} start_arg;

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

/* True when the word has left `seen`; false when spinning should end. */
static bool spin(const gate *g, unsigned seen, const atomic_bool *stop)
{
    int64_t end = 0;
    for (;;) {
        for (int i = 0; i < 64; i++) {
            if (atomic_load_explicit(&g->word, memory_order_acquire) != seen) return true;
            relax();
        }
        if (stop && atomic_load_explicit(stop, memory_order_relaxed)) return false;
        int64_t now = hd_clock_ns();
        if (end == 0) end = now + SPIN_NS;
        if (now > end) return false;
    }
}

/* Wait until the gate's word differs from `seen`. The sleeper counts itself before it looks again,
 * and the opener steps the word before it looks for sleepers, so one of them sees the other. */
static void gate_wait(const hd_par *par, gate *g, unsigned seen, const atomic_bool *stop)
{
    if (par->may_spin && spin(g, seen, stop)) return;
    atomic_fetch_add(&g->n_sleepers, 1);
    while (atomic_load(&g->word) == seen)
        syscall(SYS_futex, &g->word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&g->n_sleepers, 1);
}

static void gate_open(gate *g)
{
    atomic_fetch_add(&g->word, 1);
    if (atomic_load(&g->n_sleepers) > 0)
        syscall(SYS_futex, &g->word, FUTEX_WAKE_PRIVATE, HD_PAR_MAX_THREADS, NULL, NULL, 0);
}

static void *helper_main(void *opaque)
{
    start_arg *start = opaque;
    hd_par *par = start->par;
    int i_thread = start->i_thread;
    hd_mem_free(start);
    unsigned seen = 0;
    for (;;) {
        gate_wait(par, &par->start, seen, &par->resting);
        seen++;
        if (par->quit) return NULL;
        par->fn(par->arg, i_thread);
        if (atomic_fetch_sub(&par->n_running, 1) == 1) gate_open(&par->done);
    }
}

int hd_par_n_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

static bool start_helper(hd_par *par, int i_thread)
{
    start_arg *arg = hd_mem_try_calloc(1, sizeof *arg);
    if (!arg) return false;
    *arg = (start_arg){par, i_thread};
    if (pthread_create(&par->threads[i_thread], NULL, helper_main, arg) == 0) return true;
    hd_mem_free(arg);
    return false;
}

hd_status hd_par_create(int n_threads, hd_par **out, hd_err *err)
{
    *out = NULL;
    int n_cpus = hd_par_n_cpus();
    if (n_threads == 0) n_threads = n_cpus < HD_PAR_MAX_THREADS ? n_cpus : HD_PAR_MAX_THREADS;
    if (n_threads < 1 || n_threads > HD_PAR_MAX_THREADS)
        HD_FAIL(err, HD_E_ARG, "cannot run %d threads, expected 1 to %d", n_threads,
                HD_PAR_MAX_THREADS);
    hd_par *par = hd_mem_try_aligned(64, sizeof *par);
    if (!par) HD_FAIL(err, HD_E_NOMEM, "out of memory for a team of %d threads", n_threads);
    memset(par, 0, sizeof *par);
    par->may_spin = n_threads <= n_cpus;
    par->n_threads = 1;

    /* Signals belong to the program's own threads: helpers inherit a full mask. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (par->n_threads < n_threads && start_helper(par, par->n_threads)) par->n_threads++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (par->n_threads < n_threads) {
        int n_started = par->n_threads;
        hd_par_destroy(par);
        HD_FAIL(err, HD_E_NOMEM, "only %d of %d threads could be started", n_started, n_threads);
    }
    *out = par;
    return HD_OK;
}

void hd_par_destroy(hd_par *par)
{
    if (!par) return;
    par->quit = true;
    gate_open(&par->start);
    for (int i = 1; i < par->n_threads; i++) pthread_join(par->threads[i], NULL);
    hd_mem_free(par);
}

int hd_par_n_threads(const hd_par *par)
{
    return par->n_threads;
}

void hd_par_run(hd_par *par, hd_par_fn fn, void *arg)
{
    for (int i = 0; i < HD_PAR_COUNTERS; i++)
        atomic_store_explicit(&par->counters[i].next, 0, memory_order_relaxed);
    if (par->n_threads == 1) {
        fn(arg, 0);
        return;
    }
    par->fn = fn;
    par->arg = arg;
    atomic_store_explicit(&par->resting, false, memory_order_relaxed);
    atomic_store_explicit(&par->n_running, par->n_threads - 1, memory_order_relaxed);
    unsigned seen = atomic_load_explicit(&par->done.word, memory_order_relaxed);
    gate_open(&par->start);
    fn(arg, 0);
    gate_wait(par, &par->done, seen, NULL);
}

void hd_par_barrier(hd_par *par)
{
    if (par->n_threads == 1) return;
    unsigned seen = atomic_load_explicit(&par->phase.word, memory_order_relaxed);
    if (atomic_fetch_add(&par->n_arrived, 1) + 1 == par->n_threads) {
        atomic_store_explicit(&par->n_arrived, 0, memory_order_relaxed);
        gate_open(&par->phase);
    } else {
        gate_wait(par, &par->phase, seen, NULL);
    }
}

int64_t hd_par_take(hd_par *par, int i_counter, int64_t n)
{
    return atomic_fetch_add_explicit(&par->counters[i_counter].next, n, memory_order_relaxed);
}

void hd_par_rest(hd_par *par)
{
    atomic_store_explicit(&par->resting, true, memory_order_relaxed);
}
