#include "server/workers.h"

#include <pthread.h>

#include "base/mem.h"

struct hd_workers {
    void (*work)(void *item);
    pthread_mutex_t lock;
    pthread_cond_t more;
    pthread_t *thread; /* [n_threads] */
    int n_threads;
    void **item; /* [cap], a ring */
    int cap, first, n_items;
    bool is_ending;
};

static void *run(void *arg)
{
    hd_workers *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (w->n_items == 0 && !w->is_ending) pthread_cond_wait(&w->more, &w->lock);
        if (w->n_items == 0) break;
        void *item = w->item[w->first];
        w->first = (w->first + 1) % w->cap;
        w->n_items--;
        pthread_mutex_unlock(&w->lock);
        w->work(item);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

hd_status hd_workers_create(int n, int cap, void (*work)(void *item), hd_workers **out, hd_err *err)
{
    hd_workers *w = hd_mem_calloc(1, sizeof *w);
    *w = (hd_workers){.work = work, .cap = cap};
    w->item = hd_mem_calloc((size_t)cap, sizeof *w->item);
    w->thread = hd_mem_calloc((size_t)n, sizeof *w->thread);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    for (; w->n_threads < n; w->n_threads++) {
        if (pthread_create(&w->thread[w->n_threads], NULL, run, w) == 0) continue;
        hd_workers_destroy(w);
        HD_FAIL(err, HD_E_NOMEM, "cannot start a thread");
    }
    *out = w;
    return HD_OK;
}

void hd_workers_destroy(hd_workers *w)
{
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->is_ending = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->n_threads; i++) pthread_join(w->thread[i], NULL);
    pthread_cond_destroy(&w->more);
    pthread_mutex_destroy(&w->lock);
    hd_mem_free(w->thread);
    hd_mem_free(w->item);
    hd_mem_free(w);
}

bool hd_workers_push(hd_workers *w, void *item)
{
    pthread_mutex_lock(&w->lock);
    bool has_room = w->n_items < w->cap && !w->is_ending;
    if (has_room) {
        w->item[(w->first + w->n_items++) % w->cap] = item;
        pthread_cond_signal(&w->more);
    }
    pthread_mutex_unlock(&w->lock);
    return has_room;
}
