/* Index and shards put together. First all names of the index, then all shards; a tensor that is
 * not where the index places it is looked at last, when every shard is known. */
#include "io/ckpt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strmap.h"
#include "io/ckpt_files.h"

#define INDEX_NAME      "model.safetensors.index.json"
#define MAX_INDEX_BYTES ((size_t)256 << 20)

typedef struct shard {
    char *name; /* owned */
    hd_st *st;  /* NULL: refused, missing or unreadable */
    bool is_refused, is_missing;
} shard;

struct hd_ckpt {
    hd_map index_map;
    hd_arena index_tree; /* some names live here, the others in the map or in the shards */
    bool has_index, has_headers;
    int64_t total_size; /* metadata.total_size; -1 when the index does not say */
    shard *shards;      /* [n_shards] */
    size_t n_shards, cap_shards;
    hd_ckpt_entry *entries; /* [n_entries] */
    size_t n_entries, cap_entries;
    hd_strmap by_name; /* -> index in entries */
};

/* What the functions of this file hand to each other while a directory is opened. */
typedef struct opener {
    hd_ckpt *ck;
    const char *dir;
    unsigned flags;
    hd_defects *defects;
    hd_err *err;
    hd_strmap by_shard; /* name -> index in shards */
} opener;

static hd_status no_memory(const opener *o)
{
    HD_FAIL(o->err, HD_E_NOMEM, "no memory for the names of checkpoint '%s'", o->dir);
}

/* Double `*array` of `size`-byte elements when n has reached its capacity. */
static bool grow(void **array, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) return true;
    size_t more = *cap ? 2 * *cap : 64;
    void *p = hd_mem_try_realloc(*array, more, size);
    if (!p) return false;
    *array = p;
    *cap = more;
    return true;
}

/* The entry of `name`, made if it is new. */
static hd_status put_entry(opener *o, hd_str name, hd_ckpt_entry **out, bool *is_new)
{
    hd_ckpt *ck = o->ck;
    if (!grow((void **)&ck->entries, ck->n_entries, &ck->cap_entries, sizeof *ck->entries))
        return no_memory(o);
    uint64_t *slot = hd_strmap_try_put(&ck->by_name, name, is_new);
    if (!slot) return no_memory(o);
    if (*is_new) {
        *slot = ck->n_entries;
        ck->entries[ck->n_entries++] = (hd_ckpt_entry){.name = name};
    }
    *out = &ck->entries[*slot];
    return HD_OK;
}

static hd_status put_shard(opener *o, hd_str name, size_t *index, bool *is_new)
{
    hd_ckpt *ck = o->ck;
    if (!grow((void **)&ck->shards, ck->n_shards, &ck->cap_shards, sizeof *ck->shards))
        return no_memory(o);
    uint64_t *slot = hd_strmap_get(&o->by_shard, name);
    *is_new = !slot;
    if (*is_new) {
        char *copy = hd_mem_try_calloc(name.len + 1, 1);
        if (!copy) return no_memory(o);
        memcpy(copy, name.ptr, name.len);
        ck->shards[ck->n_shards++] = (shard){.name = copy};
        slot = hd_strmap_try_put(&o->by_shard, (hd_str){copy, name.len}, NULL);
        if (!slot) return no_memory(o);
        *slot = ck->n_shards - 1;
    }
    *index = (size_t)*slot;
    return HD_OK;
}

/* ---- the index ---- */

static hd_status index_defect(const opener *o, hd_defect_code code, const char *what)
{
    return hd_defect_report(o->defects, code, HD_STR(INDEX_NAME), o->err, "%s", what);
}

/* As parse_header in safetensors.c: a repeated member leaves the rest readable. */
static hd_status parse_index(opener *o, hd_str text, const hd_json **root)
{
    hd_err why;
    hd_json_opts opts = {.allow_duplicates = true};
    hd_arena *tree = &o->ck->index_tree;
    hd_arena_init(tree, hd_st_tree_bytes(text.len));
    hd_status status = hd_json_parse(text, NULL, tree, root, &why);
    if (status == HD_OK) return HD_OK;
    if (status == HD_E_NOMEM) HD_FAIL(o->err, status, "'" INDEX_NAME "': %s", why.text);
    hd_arena_reset(tree);
    if (hd_json_parse(text, &opts, tree, root, NULL) == HD_OK)
        return index_defect(o, HD_DEFECT_DUPLICATE_NAME, why.text);
    *root = NULL;
    return index_defect(o, HD_DEFECT_BAD_INDEX, why.text);
}

static hd_status read_placement(opener *o, const hd_json *e)
{
    hd_ckpt_entry *entry;
    size_t index;
    bool is_new;
    if (e->kind != HD_JSON_STRING)
        return hd_defect_report(o->defects, HD_DEFECT_BAD_INDEX, e->key, o->err,
                                "weight_map holds %s, expected the name of a file",
                                hd_json_kind_name(e->kind));
    HD_TRY(put_shard(o, e->text, &index, &is_new));
    o->ck->shards[index].is_refused = !hd_ckpt_is_plain_name(e->text);
    if (is_new && o->ck->shards[index].is_refused)
        HD_TRY(hd_defect_report(o->defects, HD_DEFECT_BAD_SHARD_NAME, e->text, o->err,
                                "expected the plain name of a file of the directory"));
    HD_TRY(put_entry(o, e->key, &entry, &is_new));
    entry->shard = index;
    return HD_OK;
}

static hd_status read_total_size(opener *o, const hd_json *root)
{
    const hd_json *total = hd_json_get(hd_json_get(root, "metadata"), "total_size");
    if (!total || hd_json_i64(total, 0, INT64_MAX, &o->ck->total_size, NULL) == HD_OK) return HD_OK;
    return index_defect(o, HD_DEFECT_BAD_INDEX, "metadata.total_size is no size in bytes");
}

/* has_index stays false when there is no index that could be used. */
static hd_status read_index(opener *o)
{
    const hd_json *root;
    hd_str text = {(const char *)o->ck->index_map.ptr, o->ck->index_map.len};
    if (text.len > MAX_INDEX_BYTES)
        return index_defect(o, HD_DEFECT_BAD_INDEX, "longer than 256 MiB");
    HD_TRY(parse_index(o, text, &root));
    if (!root) return HD_OK;
    const hd_json *map = hd_json_get(root, "weight_map");
    if (!map || map->kind != HD_JSON_OBJECT)
        return index_defect(o, HD_DEFECT_BAD_INDEX, "it has no 'weight_map' object");
    o->ck->has_index = true;
    HD_TRY(read_total_size(o, root));
    for (const hd_json *e = map->child; e; e = e->next) HD_TRY(read_placement(o, e));
    return HD_OK;
}

static hd_status open_index(opener *o)
{
    char path[4096];
    hd_err why;
    HD_TRY(hd_fs_join(o->dir, INDEX_NAME, path, sizeof path, o->err));
    hd_status status = hd_map_open(path, &o->ck->index_map, &why);
    if (status == HD_OK) return read_index(o);
    return status == HD_E_NOTFOUND ? HD_OK : index_defect(o, HD_DEFECT_UNREADABLE_FILE, why.text);
}

static hd_status list_shards(opener *o)
{
    hd_ckpt_files files;
    HD_TRY(hd_ckpt_files_list(o->dir, o->defects, &files, o->err));
    hd_status status = HD_OK;
    for (size_t i = 0; i < files.n && status == HD_OK; i++) {
        size_t index;
        bool is_new;
        status = put_shard(o, hd_str_from(files.names[i]), &index, &is_new);
    }
    hd_ckpt_files_free(&files);
    return status;
}

/* ---- the shards ---- */

/* Open shard i; a file that is not there is only marked. */
static hd_status open_shard(opener *o, size_t i)
{
    shard *s = &o->ck->shards[i];
    char path[4096];
    hd_err why;
    hd_str name = hd_str_from(s->name);
    if (s->is_refused) return HD_OK;
    HD_TRY(hd_fs_join(o->dir, s->name, path, sizeof path, o->err));
    hd_status status = hd_st_open(path, o->flags, o->defects, &s->st, &why);
    if (status == HD_OK) return HD_OK;
    s->is_missing = status == HD_E_NOTFOUND;
    if (s->is_missing) return HD_OK;
    if (status == HD_E_IO)
        return hd_defect_report(o->defects, HD_DEFECT_UNREADABLE_FILE, name, o->err, "%s",
                                why.text);
    if (o->err) *o->err = why;
    return status;
}

static hd_status open_shards(opener *o)
{
    hd_ckpt *ck = o->ck;
    bool any_file = false;
    for (size_t i = 0; i < ck->n_shards; i++) {
        HD_TRY(open_shard(o, i));
        any_file |= !ck->shards[i].is_refused && !ck->shards[i].is_missing;
    }
    ck->has_headers = any_file || !(o->flags & HD_ST_HEADERS);
    for (size_t i = 0; i < ck->n_shards && ck->has_headers; i++) {
        if (!ck->shards[i].is_missing) continue;
        HD_TRY(hd_defect_report(o->defects, HD_DEFECT_MISSING_SHARD,
                                hd_str_from(ck->shards[i].name), o->err,
                                "the index names this file, but it is not there"));
    }
    return HD_OK;
}

/* ---- index against shards ---- */

/* Give the tensors of shard i to the entries that expect them there. */
static hd_status attach_shard(opener *o, size_t i)
{
    const hd_st *st = o->ck->shards[i].st;
    for (size_t k = 0; st && k < hd_st_count(st); k++) {
        const hd_st_tensor *t = hd_st_at(st, k);
        hd_ckpt_entry *e;
        bool is_new = false;
        HD_TRY(put_entry(o, t->name, &e, &is_new));
        if (is_new && o->ck->has_index)
            HD_TRY(hd_defect_report(o->defects, HD_DEFECT_NOT_IN_INDEX, t->name, o->err,
                                    "stored in '%s', but not in the index", o->ck->shards[i].name));
        if (is_new) e->shard = i;
        if (e->shard == i) e->tensor = t;
    }
    return HD_OK;
}

/* Tensors of shard i that their entries expect elsewhere. */
static hd_status check_strays(opener *o, size_t i)
{
    const shard *s = &o->ck->shards[i];
    for (size_t k = 0; s->st && k < hd_st_count(s->st); k++) {
        const hd_st_tensor *t = hd_st_at(s->st, k);
        hd_ckpt_entry *e = &o->ck->entries[*hd_strmap_get(&o->ck->by_name, t->name)];
        if (e->shard == i) continue;
        const char *other = o->ck->shards[e->shard].name;
        if (e->tensor) {
            HD_TRY(hd_defect_report(o->defects, HD_DEFECT_DUPLICATE_NAME, t->name, o->err,
                                    "stored in '%s' and in '%s'", other, s->name));
            continue;
        }
        HD_TRY(hd_defect_report(o->defects, HD_DEFECT_NOT_IN_SHARD, t->name, o->err,
                                "the index places it in '%s', but it is in '%s'", other, s->name));
        e->shard = i;
        e->tensor = t;
    }
    return HD_OK;
}

/* Entries that no shard has. A shard that could not be read is one defect, not thousands. */
static hd_status check_absent(opener *o)
{
    const hd_ckpt *ck = o->ck;
    for (size_t i = 0; i < ck->n_entries; i++) {
        const hd_ckpt_entry *e = &ck->entries[i];
        const shard *s = &ck->shards[e->shard];
        if (e->tensor || !s->st || !hd_st_has_header(s->st)) continue;
        HD_TRY(hd_defect_report(o->defects, HD_DEFECT_NOT_IN_SHARD, e->name, o->err,
                                "the index places it in '%s', which lacks it", s->name));
    }
    return HD_OK;
}

/* Only in lenient mode: nobody needs the number. A sum that lacks something is not compared. */
static hd_status check_total_size(opener *o)
{
    const hd_ckpt *ck = o->ck;
    uint64_t sum = 0;
    for (size_t i = 0; i < ck->n_entries; i++) {
        const hd_st_tensor *t = ck->entries[i].tensor;
        if (!t || t->is_bad) return HD_OK;
        sum += t->n_bytes;
    }
    if (!ck->has_index || ck->total_size < 0 || (uint64_t)ck->total_size == sum) return HD_OK;
    return hd_defect_report(o->defects, HD_DEFECT_WRONG_TOTAL_SIZE, HD_STR(INDEX_NAME), o->err,
                            "metadata.total_size is %" PRId64 ", the tensors have %" PRIu64
                            " bytes",
                            ck->total_size, sum);
}

static hd_status open_all(opener *o)
{
    HD_TRY(open_index(o));
    if (!o->ck->has_index) HD_TRY(list_shards(o)); /* or (lenient) in place of a bad one */
    HD_TRY(open_shards(o));
    if (!o->ck->has_headers) return HD_OK;
    for (size_t i = 0; i < o->ck->n_shards; i++) HD_TRY(attach_shard(o, i));
    for (size_t i = 0; i < o->ck->n_shards; i++) HD_TRY(check_strays(o, i));
    HD_TRY(check_absent(o));
    return o->defects ? check_total_size(o) : HD_OK;
}

hd_status hd_ckpt_open(const char *dir, unsigned flags, hd_defects *defects, hd_ckpt **out,
                       hd_err *err)
{
    *out = NULL;
    opener o = {.dir = dir, .flags = flags, .defects = defects, .err = err};
    o.ck = hd_mem_try_calloc(1, sizeof *o.ck);
    if (!o.ck) return no_memory(&o);
    o.ck->total_size = -1;
    hd_status status = open_all(&o);
    hd_strmap_deinit(&o.by_shard);
    if (status != HD_OK) {
        hd_ckpt_close(o.ck);
        return hd_err_context(err, status, "cannot open checkpoint '%s'", dir);
    }
    *out = o.ck;
    return HD_OK;
}

void hd_ckpt_close(hd_ckpt *ck)
{
    if (!ck) return;
    for (size_t i = 0; i < ck->n_shards; i++) {
        hd_st_close(ck->shards[i].st);
        hd_mem_free(ck->shards[i].name);
    }
    hd_mem_free(ck->shards);
    hd_mem_free(ck->entries);
    hd_strmap_deinit(&ck->by_name);
    hd_arena_deinit(&ck->index_tree);
    hd_map_close(&ck->index_map);
    hd_mem_free(ck);
}

/* ---- looking at it ---- */

size_t hd_ckpt_count(const hd_ckpt *ck)
{
    return ck->n_entries;
}

const hd_ckpt_entry *hd_ckpt_at(const hd_ckpt *ck, size_t i)
{
    HD_ASSERT(i < ck->n_entries);
    return &ck->entries[i];
}

const hd_ckpt_entry *hd_ckpt_find(const hd_ckpt *ck, hd_str name)
{
    const uint64_t *slot = hd_strmap_get(&ck->by_name, name);
    return slot ? &ck->entries[*slot] : NULL;
}

size_t hd_ckpt_index(const hd_ckpt *ck, const hd_ckpt_entry *e)
{
    return (size_t)(e - ck->entries);
}

bool hd_ckpt_has_headers(const hd_ckpt *ck)
{
    return ck->has_headers;
}

size_t hd_ckpt_n_shards(const hd_ckpt *ck)
{
    return ck->n_shards;
}

const char *hd_ckpt_shard_name(const hd_ckpt *ck, size_t i)
{
    HD_ASSERT(i < ck->n_shards);
    return ck->shards[i].name;
}

const hd_st *hd_ckpt_shard(const hd_ckpt *ck, size_t i)
{
    HD_ASSERT(i < ck->n_shards);
    return ck->shards[i].st;
}
