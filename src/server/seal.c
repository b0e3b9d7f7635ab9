#include "server/seal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/fs.h"
#include "base/mem.h"

enum { VERSION = 1, NONCE_BYTES = 12, TAG_BYTES = 16, ID_BYTES = 3 };
#define HEAD_BYTES    ((size_t)1 + NONCE_BYTES)
#define MAX_IDS       (((size_t)1 << 24) - 1)
#define MAX_RAW_BYTES (HEAD_BYTES + ID_BYTES * (MAX_IDS + 1) + TAG_BYTES)

/* ---- the key ----------------------------------------------------------------------------------*/

static hd_status make_key(hd_sealer *s, const char *path, hd_err *err)
{
    HD_ASSERT(getrandom(s->key, sizeof s->key, 0) == (ssize_t)sizeof s->key);
    if (!path) return HD_OK;
    return hd_fs_write_private(path, (hd_str){(const char *)s->key, sizeof s->key}, err);
}

hd_status hd_sealer_init(hd_sealer *s, const char *path, int32_t vocab_size, hd_err *err)
{
    hd_buf text;
    *s = (hd_sealer){.vocab_size = vocab_size};
    if (!path || access(path, F_OK) != 0) return make_key(s, path, err);
    hd_buf_init(&text, 4096);
    hd_status st = hd_fs_read_all(path, &text, err);
    if (st == HD_OK && text.len != sizeof s->key)
        st = HD_SET_ERR(err, HD_E_FORMAT, "'%s' has %zu bytes, expected a key of %zu", path,
                        text.len, sizeof s->key);
    if (st == HD_OK) memcpy(s->key, text.ptr, sizeof s->key);
    if (text.ptr) explicit_bzero(text.ptr, text.cap);
    hd_buf_deinit(&text);
    return st;
}

/* ---- base64url --------------------------------------------------------------------------------*/

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void add_base64(hd_buf *out, const uint8_t *src, size_t n)
{
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i < 3 ? n - i : 3;
        uint32_t x = (uint32_t)src[i] << 16;
        if (left > 1) x |= (uint32_t)src[i + 1] << 8;
        if (left > 2) x |= src[i + 2];
        for (size_t k = 0; k <= left; k++) hd_buf_addc(out, digits[x >> (18 - 6 * k) & 63]);
    }
}

static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* dst u8 [3 · len / 4]; SIZE_MAX: it is not base64url. */
static size_t read_base64(hd_str text, uint8_t *dst)
{
    uint32_t x = 0;
    size_t n = 0, n_bits = 0;
    if (text.len % 4 == 1) return SIZE_MAX;
    for (size_t i = 0; i < text.len; i++) {
        int d = digit_of(text.ptr[i]);
        if (d < 0) return SIZE_MAX;
        x = x << 6 | (uint32_t)d;
        n_bits += 6;
        if (n_bits < 8) continue;
        n_bits -= 8;
        dst[n++] = (uint8_t)(x >> n_bits);
    }
    return n;
}

/* ---- sealing ----------------------------------------------------------------------------------*/

static void put_u24(uint8_t *dst, uint32_t x)
{
    for (int i = 0; i < ID_BYTES; i++) dst[i] = (uint8_t)(x >> (8 * i));
}

static uint32_t get_u24(const uint8_t *src)
{
    return (uint32_t)src[0] | (uint32_t)src[1] << 8 | (uint32_t)src[2] << 16;
}

/* text u8 [n] in place; the tag is behind it. */
static bool encrypt(const hd_sealer *s, uint64_t group, uint8_t *raw, size_t n)
{
    int len;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    uint8_t *text = raw + HEAD_BYTES;
    bool is_done = c && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, s->key, raw + 1) == 1 &&
                   EVP_EncryptUpdate(c, NULL, &len, (const uint8_t *)&group, sizeof group) == 1 &&
                   EVP_EncryptUpdate(c, text, &len, text, (int)n) == 1 &&
                   EVP_EncryptFinal_ex(c, text + n, &len) == 1 &&
                   EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, text + n) == 1;
    EVP_CIPHER_CTX_free(c);
    return is_done;
}

static bool decrypt(const hd_sealer *s, uint64_t group, uint8_t *raw, size_t n)
{
    int len;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    uint8_t *text = raw + HEAD_BYTES;
    bool is_done = c && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, s->key, raw + 1) == 1 &&
                   EVP_DecryptUpdate(c, NULL, &len, (const uint8_t *)&group, sizeof group) == 1 &&
                   EVP_DecryptUpdate(c, text, &len, text, (int)n) == 1 &&
                   EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, text + n) == 1 &&
                   EVP_DecryptFinal_ex(c, text + n, &len) == 1;
    EVP_CIPHER_CTX_free(c);
    return is_done;
}

void hd_seal(const hd_sealer *s, uint64_t group, const int32_t *ids, size_t n, hd_buf *out)
{
    hd_buf raw;
    if (n > MAX_IDS) n = 0;
    size_t n_text = ID_BYTES * (n + 1);
    hd_buf_init(&raw, MAX_RAW_BYTES);
    uint8_t *p = (uint8_t *)hd_buf_room(&raw, HEAD_BYTES + n_text + TAG_BYTES);
    if (p) {
        p[0] = VERSION;
        HD_ASSERT(getrandom(p + 1, NONCE_BYTES, 0) == NONCE_BYTES);
        put_u24(p + HEAD_BYTES, (uint32_t)n);
        for (size_t i = 0; i < n; i++)
            put_u24(p + HEAD_BYTES + ID_BYTES * (i + 1), (uint32_t)ids[i]);
        if (encrypt(s, group, p, n_text)) add_base64(out, p, HEAD_BYTES + n_text + TAG_BYTES);
    }
    hd_buf_deinit(&raw);
}

static bool take_ids(const hd_sealer *s, const uint8_t *text, size_t n_text, hd_ids *out)
{
    size_t n = get_u24(text), before = out->len;
    if (n_text != ID_BYTES * (n + 1)) return false;
    for (size_t i = 0; i < n; i++) {
        uint32_t id = get_u24(text + ID_BYTES * (i + 1));
        if (id < (uint32_t)s->vocab_size && hd_ids_push(out, (int32_t)id, NULL) == HD_OK) continue;
        out->len = before;
        return false;
    }
    return true;
}

bool hd_unseal(const hd_sealer *s, uint64_t group, hd_str seal, hd_ids *out)
{
    size_t least = HEAD_BYTES + ID_BYTES + TAG_BYTES;
    if (seal.len / 4 * 3 > MAX_RAW_BYTES || seal.len * 3 / 4 < least) return false;
    uint8_t *raw = hd_mem_try_calloc(seal.len / 4 * 3 + 3, 1);
    if (!raw) return false;
    size_t n = read_base64(seal, raw);
    bool is_ours = n != SIZE_MAX && n >= least && raw[0] == VERSION &&
                   decrypt(s, group, raw, n - HEAD_BYTES - TAG_BYTES) &&
                   take_ids(s, raw + HEAD_BYTES, n - HEAD_BYTES - TAG_BYTES, out);
    hd_mem_free(raw);
    return is_ours;
}
