#include "server/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/mem.h"

#define N_BUCKETS      16384u /* a power of two */
#define MAX_CALLS      128
#define MAX_ID_BYTES   64
#define MAX_FILE_BYTES ((size_t)2 << 30)
#define MAX_LINE_BYTES ((size_t)32 << 20)

typedef struct entry {
    struct turn *turn;
    struct entry *next; /* in the bucket */
    uint8_t len;
    char id[MAX_ID_BYTES];
} entry;

typedef struct turn {
    uint64_t group;
    int32_t *ids; /* i32 [n] */
    int32_t n, n_calls;
    bool thinks;
    entry *call; /* [n_calls] */
    size_t bytes;
    struct turn *newer;
} turn;

struct hd_replay {
    pthread_mutex_t lock;
    entry *bucket[N_BUCKETS];
    turn *oldest, *newest;
    size_t max_bytes;
    hd_replay_stats stats;
    int fd; /* −1: no file */
};

/* ---- memory -----------------------------------------------------------------------------------*/

static entry **bucket_of(hd_replay *r, hd_str id)
{
    return &r->bucket[hd_hash_str(id) & (N_BUCKETS - 1)];
}

static void free_turn(turn *t)
{
    if (!t) return;
    hd_mem_free(t->ids);
    hd_mem_free(t->call);
    hd_mem_free(t);
}

static void drop_oldest(hd_replay *r)
{
    turn *t = r->oldest;
    for (int32_t i = 0; i < t->n_calls; i++) {
        entry **at = bucket_of(r, (hd_str){t->call[i].id, t->call[i].len});
        while (*at != &t->call[i]) at = &(*at)->next;
        *at = t->call[i].next;
    }
    r->oldest = t->newer;
    if (!r->oldest) r->newest = NULL;
    r->stats.n_turns--;
    r->stats.n_bytes -= t->bytes;
    free_turn(t);
}

static turn *make_turn(uint64_t group, const hd_str *call_id, int32_t n_calls,
                       const hd_replay_turn *src)
{
    turn *t = hd_mem_try_calloc(1, sizeof *t);
    if (!t) return NULL;
    t->ids = hd_mem_try_calloc((size_t)src->n, sizeof *t->ids);
    t->call = hd_mem_try_calloc((size_t)n_calls, sizeof *t->call);
    if (!t->ids || !t->call) {
        free_turn(t);
        return NULL;
    }
    t->group = group;
    t->n = src->n;
    t->thinks = src->thinks;
    t->bytes = sizeof *t + (size_t)src->n * sizeof *t->ids + (size_t)n_calls * sizeof *t->call;
    memcpy(t->ids, src->ids, (size_t)src->n * sizeof *t->ids);
    for (int32_t i = 0; i < n_calls; i++) {
        if (call_id[i].len == 0 || call_id[i].len > MAX_ID_BYTES) continue;
        entry *e = &t->call[t->n_calls++];
        e->turn = t;
        e->len = (uint8_t)call_id[i].len;
        memcpy(e->id, call_id[i].ptr, e->len);
    }
    return t;
}

static bool keep(hd_replay *r, turn *t)
{
    if (!t || t->bytes > r->max_bytes) {
        free_turn(t);
        return false;
    }
    for (int32_t i = 0; i < t->n_calls; i++) {
        entry **at = bucket_of(r, (hd_str){t->call[i].id, t->call[i].len});
        t->call[i].next = *at;
        *at = &t->call[i];
    }
    *(r->newest ? &r->newest->newer : &r->oldest) = t;
    r->newest = t;
    r->stats.n_turns++;
    r->stats.n_bytes += t->bytes;
    while (r->stats.n_bytes > r->max_bytes) drop_oldest(r);
    return true;
}

/* ---- the file ---------------------------------------------------------------------------------*/

static void write_turn(const turn *t, hd_buf *out)
{
    hd_buf_addf(out, "{\"group\":%" PRIu64 ",\"thinks\":%s,\"calls\":[", t->group,
                t->thinks ? "true" : "false");
    for (int32_t i = 0; i < t->n_calls; i++) {
        if (i) hd_buf_addc(out, ',');
        hd_jsonw_str(out, (hd_str){t->call[i].id, t->call[i].len});
    }
    hd_buf_addz(out, "],\"ids\":[");
    for (int32_t i = 0; i < t->n; i++) hd_buf_addf(out, i ? ",%" PRId32 : "%" PRId32, t->ids[i]);
    hd_buf_addz(out, "]}\n");
}

/* One write, so that a line of this process is whole or, when the disk is full, cut at its end. */
static void append(hd_replay *r, const turn *t)
{
    hd_buf line;
    if (r->fd < 0) return;
    hd_buf_init(&line, MAX_LINE_BYTES);
    write_turn(t, &line);
    if (hd_buf_status(&line, "a turn", NULL) == HD_OK)
        (void)!write(r->fd, line.ptr, line.len); /* what is not kept is made up for by the client */
    hd_buf_deinit(&line);
}

static hd_status read_turn(const hd_json *row, turn **out, hd_err *err)
{
    hd_str calls[MAX_CALLS];
    const hd_json *group = hd_json_get(row, "group"), *ids = hd_json_get(row, "ids"),
                  *list = hd_json_get(row, "calls");
    int32_t n_calls = 0;
    bool thinks;
    HD_TRY(hd_json_get_bool(row, "thinks", &thinks, err));
    if (!group || group->kind != HD_JSON_NUMBER || !ids || ids->kind != HD_JSON_ARRAY || !list ||
        list->kind != HD_JSON_ARRAY || list->n > MAX_CALLS || ids->n == 0 || ids->n > INT32_MAX)
        HD_FAIL(err, HD_E_FORMAT, "not a turn");
    for (const hd_json *c = list->child; c; c = c->next)
        if (c->kind == HD_JSON_STRING) calls[n_calls++] = c->text;
    uint64_t number = 0;
    for (size_t i = 0; i < group->text.len; i++) {
        if (group->text.ptr[i] < '0' || group->text.ptr[i] > '9')
            HD_FAIL(err, HD_E_FORMAT, "not a group");
        number = number * 10 + (uint64_t)(group->text.ptr[i] - '0');
    }
    int32_t *copy = hd_mem_try_calloc(ids->n ? ids->n : 1, sizeof *copy);
    if (!copy) HD_FAIL(err, HD_E_NOMEM, "out of memory for a turn");
    hd_replay_turn t = {copy, 0, thinks};
    hd_status st = HD_OK;
    for (const hd_json *i = ids->child; i && st == HD_OK; i = i->next) {
        int64_t id;
        st = hd_json_i64(i, 0, INT32_MAX, &id, err);
        if (st == HD_OK) copy[t.n++] = (int32_t)id;
    }
    *out = st == HD_OK ? make_turn(number, calls, n_calls, &t) : NULL;
    hd_mem_free(copy);
    return st;
}

static void read_line(hd_replay *r, hd_str line, hd_arena *arena)
{
    const hd_json *row;
    turn *t;
    hd_arena_reset(arena);
    if (hd_json_parse(line, NULL, arena, &row, NULL) == HD_OK && read_turn(row, &t, NULL) == HD_OK)
        (void)keep(r, t);
}

/* The file again with what is still kept: what was thrown out leaves it. */
static hd_status rewrite(hd_replay *r, const char *path, hd_err *err)
{
    hd_buf all;
    hd_buf_init(&all, MAX_FILE_BYTES);
    for (const turn *t = r->oldest; t; t = t->newer) write_turn(t, &all);
    hd_status st = hd_buf_status(&all, "the replay file", err);
    if (st == HD_OK) st = hd_fs_write_private(path, hd_buf_str(&all), err);
    hd_buf_deinit(&all);
    return st;
}

static hd_status open_file(hd_replay *r, const char *path, hd_err *err)
{
    hd_buf text;
    hd_arena arena;
    if (access(path, F_OK) == 0) {
        hd_buf_init(&text, MAX_FILE_BYTES);
        hd_arena_init(&arena, MAX_LINE_BYTES * 8);
        hd_status st = hd_fs_read_all(path, &text, err);
        hd_str rest = hd_buf_str(&text);
        while (st == HD_OK && rest.len) {
            size_t end = hd_str_find(rest, HD_STR("\n"), 0);
            read_line(r, (hd_str){rest.ptr, end}, &arena);
            rest = hd_str_skip(rest, end < rest.len ? end + 1 : end);
        }
        hd_buf_deinit(&text);
        hd_arena_deinit(&arena);
        HD_TRY(st);
        HD_TRY(rewrite(r, path, err));
    }
    r->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (r->fd < 0) HD_FAIL(err, HD_E_IO, "cannot write '%s': %s", path, strerror(errno));
    return HD_OK;
}

/* ---- the interface ----------------------------------------------------------------------------*/

hd_status hd_replay_create(const char *path, size_t max_bytes, hd_replay **out, hd_err *err)
{
    hd_replay *r = hd_mem_calloc(1, sizeof *r);
    r->max_bytes = max_bytes;
    r->fd = -1;
    pthread_mutex_init(&r->lock, NULL);
    hd_status st = path ? open_file(r, path, err) : HD_OK;
    if (st == HD_OK)
        *out = r;
    else
        hd_replay_destroy(r);
    return st;
}

void hd_replay_destroy(hd_replay *r)
{
    if (!r) return;
    while (r->oldest) drop_oldest(r);
    if (r->fd >= 0) close(r->fd);
    pthread_mutex_destroy(&r->lock);
    hd_mem_free(r);
}

void hd_replay_put(hd_replay *r, uint64_t group, const hd_str *call_id, int32_t n_calls,
                   const hd_replay_turn *src)
{
    if (n_calls < 1 || n_calls > MAX_CALLS || src->n < 1) return;
    turn *t = make_turn(group, call_id, n_calls, src);
    pthread_mutex_lock(&r->lock);
    if (keep(r, t)) append(r, t); /* the newest stays */
    pthread_mutex_unlock(&r->lock);
}

bool hd_replay_get(hd_replay *r, uint64_t group, hd_str call_id, hd_arena *arena,
                   hd_replay_turn *out)
{
    bool is_known = false;
    pthread_mutex_lock(&r->lock);
    const entry *e = *bucket_of(r, call_id);
    while (e && !(e->turn->group == group && hd_str_eq((hd_str){e->id, e->len}, call_id)))
        e = e->next;
    int32_t *ids = e ? hd_arena_try_alloc(arena, (size_t)e->turn->n, sizeof *ids) : NULL;
    if (ids) {
        memcpy(ids, e->turn->ids, (size_t)e->turn->n * sizeof *ids);
        *out = (hd_replay_turn){ids, e->turn->n, e->turn->thinks};
        is_known = true;
    }
    is_known ? r->stats.n_hits++ : r->stats.n_misses++;
    pthread_mutex_unlock(&r->lock);
    return is_known;
}

void hd_replay_get_stats(hd_replay *r, hd_replay_stats *out)
{
    pthread_mutex_lock(&r->lock);
    *out = r->stats;
    pthread_mutex_unlock(&r->lock);
}
