#include "server/release.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/sha256.h"

#define MAX_ENCODER_BYTES ((size_t)1 << 20)
#define MAX_CONFIG_BYTES  ((size_t)16 << 20)

static const char *const names[] = {
    [HD_RELEASE_APRIL] = "april", [HD_RELEASE_0731] = "0731", [HD_RELEASE_V41] = "v4.1"};

const char *hd_release_name(hd_release release)
{
    return names[release];
}

/* The first bytes of the SHA-256 of the encoders that DeepSeek has published. */
static const struct {
    uint8_t digest[4];
    hd_release release;
} encoders[] = {
    {{0xab, 0xc0, 0xd2, 0x61}, HD_RELEASE_0731},
    {{0xb4, 0xbd, 0x8a, 0x06}, HD_RELEASE_V41}, /* revision df42c109 */
    {{0x50, 0x2b, 0xda, 0xec}, HD_RELEASE_V41}, /* revision dba1be0a */
};

static bool is_known_encoder(const char *path, hd_release *out)
{
    uint8_t digest[HD_SHA256_BYTES];
    hd_sha256 h;
    hd_buf text;
    hd_buf_init(&text, MAX_ENCODER_BYTES);
    bool is_read = hd_fs_read_all(path, &text, NULL) == HD_OK;
    hd_sha256_init(&h);
    hd_sha256_add(&h, text.ptr, text.len);
    hd_sha256_end(&h, digest);
    hd_buf_deinit(&text);
    for (size_t i = 0; is_read && i < HD_COUNT(encoders); i++) {
        if (memcmp(digest, encoders[i].digest, sizeof encoders[i].digest) != 0) continue;
        *out = encoders[i].release;
        return true;
    }
    return false;
}

/* Python files of the directory, and of `encoding` in it. */
static bool find_encoder(const char *dir, hd_release *out, char *why, size_t why_size)
{
    static const char *const places[] = {".", "encoding"};
    bool is_found = false;
    for (size_t i = 0; i < HD_COUNT(places) && !is_found; i++) {
        char place[4096], path[4096];
        if (hd_fs_join(dir, places[i], place, sizeof place, NULL) != HD_OK) continue;
        DIR *d = opendir(place);
        for (const struct dirent *e; d && !is_found && (e = readdir(d));) {
            if (!hd_str_ends(hd_str_from(e->d_name), HD_STR(".py"))) continue;
            if (hd_fs_join(place, e->d_name, path, sizeof path, NULL) != HD_OK) continue;
            is_found = is_known_encoder(path, out);
            if (is_found) snprintf(why, why_size, "the encoder %s", e->d_name);
        }
        if (d) closedir(d);
    }
    return is_found;
}

static hd_status read_config(const char *dir, hd_release *out, bool *is_there, hd_err *err)
{
    char path[4096];
    hd_buf text;
    hd_arena arena;
    const hd_json *root;
    hd_str name = {0};
    HD_TRY(hd_fs_join(dir, "config.json", path, sizeof path, err));
    hd_buf_init(&text, MAX_CONFIG_BYTES);
    hd_arena_init(&arena, MAX_CONFIG_BYTES * 8);
    hd_status st = hd_fs_read_all(path, &text, err);
    if (st == HD_OK) st = hd_json_parse(hd_buf_str(&text), NULL, &arena, &root, err);
    *is_there = st == HD_OK && hd_json_get(root, "hadal.chat_release");
    if (*is_there) st = hd_json_get_str(root, "hadal.chat_release", &name, err);
    if (*is_there && st == HD_OK) {
        size_t i = 0;
        while (i < HD_COUNT(names) && !hd_str_eqz(name, names[i])) i++;
        *out = (hd_release)i;
        if (i == HD_COUNT(names))
            st = HD_SET_ERR(err, HD_E_FORMAT,
                            "'hadal.chat_release' in '%s' must be april, 0731 or v4.1", path);
    }
    hd_arena_deinit(&arena);
    hd_buf_deinit(&text);
    return st;
}

hd_status hd_release_find(const char *dir, hd_release *out, char *why, size_t why_size, hd_err *err)
{
    bool is_there;
    if (find_encoder(dir, out, why, why_size)) return HD_OK;
    HD_TRY(read_config(dir, out, &is_there, err));
    snprintf(why, why_size, is_there ? "config.json" : "nothing says otherwise");
    if (!is_there) *out = HD_RELEASE_0731;
    return HD_OK;
}
