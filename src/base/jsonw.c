#include "base/jsonw.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- strings ---- */

static void add_escape(hd_buf *out, unsigned char c)
{
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    const char *p = c ? strchr(from, c) : NULL;
    if (p) {
        hd_buf_addc(out, '\\');
        hd_buf_addc(out, to[p - from]);
    } else {
        hd_buf_addf(out, "\\u%04x", c);
    }
}

void hd_jsonw_str_part(hd_buf *out, hd_str s)
{
    size_t done = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        hd_buf_add(out, s.ptr + done, i - done);
        add_escape(out, c);
        done = i + 1;
    }
    if (s.len) hd_buf_add(out, s.ptr + done, s.len - done);
}

void hd_jsonw_str(hd_buf *out, hd_str s)
{
    hd_buf_addc(out, '"');
    hd_jsonw_str_part(out, s);
    hd_buf_addc(out, '"');
}

/* ---- floats ---- */

/* digits d1 d2 … dn stand for d1.d2…dn · 10^exp10 */
typedef struct decimal {
    char digits[20];
    int n;
    int exp10;
} decimal;

/* x (finite, > 0) correctly rounded to n digits. Only digits are taken from printf, so whatever
 * the locale has for a decimal point does not matter. */
static decimal round_to(double x, int n)
{
    char text[64];
    decimal d = {.n = 0};
    snprintf(text, sizeof text, "%.*e", n - 1, x);
    char *e = strrchr(text, 'e');
    for (const char *p = text; p < e; p++)
        if (*p >= '0' && *p <= '9') d.digits[d.n++] = *p;
    d.exp10 = (int)strtol(e + 1, NULL, 10);
    return d;
}

static double value_of(const decimal *d)
{
    /* "17976e304": without a decimal point, strtod reads the same in every locale. */
    char text[64];
    snprintf(text, sizeof text, "%.*se%d", d->n, d->digits, d->exp10 - (d->n - 1));
    return strtod(text, NULL);
}

/* One unit up in the last digit. */
static void step_up(decimal *d)
{
    int i = d->n - 1;
    while (i >= 0 && d->digits[i] == '9') d->digits[i--] = '0';
    if (i >= 0) {
        d->digits[i]++;
        return;
    }
    d->digits[0] = '1'; /* 999 became 000: 100 with one more power of ten */
    d->exp10++;
}

/* The shortest digits that read back as x (finite, > 0), and of those the nearest. 15 digits
 * survive a round trip through any normal double, so a shorter form is those 15 less their zeros;
 * subnormals carry fewer and are tried from one digit on. At a power of two the doubles below lie
 * closer than those above, so the nearest n digits may miss where the next ones up do not. */
static decimal shortest(double x)
{
    int exponent;
    bool is_power_of_two = frexp(x, &exponent) == 0.5;
    decimal d;
    for (int n = x < 0x1p-1022 ? 1 : 15; n < 17; n++) {
        d = round_to(x, n);
        if (value_of(&d) == x) goto trim;
        if (!is_power_of_two) continue;
        step_up(&d);
        if (value_of(&d) == x) goto trim;
    }
    d = round_to(x, 17);
trim:
    while (d.n > 1 && d.digits[d.n - 1] == '0') d.n--;
    return d;
}

static void add_zeros(hd_buf *out, int n)
{
    for (int i = 0; i < n; i++) hd_buf_addc(out, '0');
}

/* @param plain_from exponents below this one are written with an e; Python's is -4. */
static void add_f64(hd_buf *out, double x, int plain_from)
{
    int exponent_digits = plain_from < -4 ? 1 : 2;
    if (isnan(x)) {
        hd_buf_addz(out, "NaN");
        return;
    }
    if (signbit(x)) hd_buf_addc(out, '-');
    x = fabs(x);
    if (isinf(x) || x == 0) {
        hd_buf_addz(out, x == 0 ? "0.0" : "Infinity");
        return;
    }
    decimal d = shortest(x);
    size_t n = (size_t)d.n;
    if (d.exp10 < plain_from || d.exp10 >= 16) {
        hd_buf_addc(out, d.digits[0]);
        if (n > 1) hd_buf_addc(out, '.');
        hd_buf_add(out, d.digits + 1, n - 1);
        hd_buf_addf(out, "e%c%0*d", d.exp10 < 0 ? '-' : '+', exponent_digits, abs(d.exp10));
    } else if (d.exp10 < 0) {
        hd_buf_addz(out, "0.");
        add_zeros(out, -d.exp10 - 1);
        hd_buf_add(out, d.digits, n);
    } else if (d.n <= d.exp10 + 1) {
        hd_buf_add(out, d.digits, n);
        add_zeros(out, d.exp10 + 1 - d.n);
        hd_buf_addz(out, ".0");
    } else {
        size_t whole = (size_t)d.exp10 + 1;
        hd_buf_add(out, d.digits, whole);
        hd_buf_addc(out, '.');
        hd_buf_add(out, d.digits + whole, n - whole);
    }
}

void hd_jsonw_f64(hd_buf *out, double x)
{
    add_f64(out, x, -4);
}

/* ---- numbers and trees ---- */

static bool is_integer(hd_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] != '-' && (text.ptr[i] < '0' || text.ptr[i] > '9')) return false;
    return true;
}

/* Whether an integer is one of i64 or u64; Rust's JSON reader makes all others floats, and -0. */
static bool fits_64_bits(hd_str text)
{
    bool minus = text.ptr[0] == '-';
    hd_str digits = hd_str_skip(text, minus);
    hd_str most = minus ? HD_STR("9223372036854775808") : HD_STR("18446744073709551615");
    if (digits.len != most.len) return digits.len < most.len && !hd_str_eqz(text, "-0");
    return memcmp(digits.ptr, most.ptr, most.len) <= 0;
}

static void add_number(hd_buf *out, hd_str text, hd_jsonw_numbers numbers)
{
    double x;
    if (is_integer(text) && (numbers == HD_NUMBERS_PYTHON || fits_64_bits(text)))
        hd_buf_add_str(out, hd_str_eqz(text, "-0") ? HD_STR("0") : text);
    else if (hd_json_number_f64(text, &x))
        add_f64(out, x, numbers == HD_NUMBERS_SERVICE_V4 ? -5 : -4);
    else
        out->status = HD_E_NOMEM;
}

void hd_jsonw_number(hd_buf *out, hd_str text)
{
    add_number(out, text, HD_NUMBERS_PYTHON);
}

static void add_scalar(hd_buf *out, const hd_json *v, hd_jsonw_numbers numbers)
{
    switch (v->kind) {
    case HD_JSON_NULL: hd_buf_addz(out, "null"); break;
    case HD_JSON_BOOL: hd_buf_addz(out, v->truth ? "true" : "false"); break;
    case HD_JSON_NUMBER: add_number(out, v->text, numbers); break;
    case HD_JSON_STRING: hd_jsonw_str(out, v->text); break;
    case HD_JSON_ARRAY: hd_buf_addz(out, "[]"); break;
    case HD_JSON_OBJECT: hd_buf_addz(out, "{}"); break;
    }
}

/* Walks with the parent links instead of recursion: the depth of a tree is its reader's choice. */
void hd_jsonw_value_as(hd_buf *out, const hd_json *value, hd_jsonw_numbers numbers)
{
    const hd_json *v = value;
    for (;;) {
        if (v != value && v->parent->kind == HD_JSON_OBJECT) {
            hd_jsonw_str(out, v->key);
            hd_buf_addz(out, ": ");
        }
        if (v->child) {
            hd_buf_addc(out, v->kind == HD_JSON_OBJECT ? '{' : '[');
            v = v->child;
            continue;
        }
        add_scalar(out, v, numbers);
        while (v != value && !v->next) {
            v = v->parent;
            hd_buf_addc(out, v->kind == HD_JSON_OBJECT ? '}' : ']');
        }
        if (v == value) return;
        hd_buf_addz(out, ", ");
        v = v->next;
    }
}

void hd_jsonw_value(hd_buf *out, const hd_json *value)
{
    hd_jsonw_value_as(out, value, HD_NUMBERS_PYTHON);
}
