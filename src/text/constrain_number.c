/* Numbers within bounds, as automata over their digits.
 *
 * A bound is a decimal: a sign, digits before and behind the point, its exponent worked in. A range
 * splits at zero; what is left compares magnitudes, digit by digit from the left, for integers of
 * equal length. Nothing is rounded. Exponents are not offered to the model where there are bounds,
 * because 1e3 and 1000 would need two comparisons at once. */
#include "text/constrain_build.h"

#define MAX_DIGITS 40

/* Magnitude 0.d d d ... * 10^point: digits without zeros at the ends. */
typedef struct decimal {
    bool is_negative;
    char whole[MAX_DIGITS + 1];    /* "0" or no leading zero */
    char fraction[MAX_DIGITS + 1]; /* no trailing zeros; may be "" */
} decimal;

/* False: not a decimal of so few digits. */
static bool read_decimal(hd_str text, decimal *out)
{
    char digit[2 * MAX_DIGITS];
    int n = 0, point = 0, power = 0;
    size_t i = 0;
    *out = (decimal){.whole = "0"};
    if (text.len && text.ptr[0] == '-') out->is_negative = ++i;
    bool behind = false;
    for (; i < text.len && (text.ptr[i] | 0x20) != 'e'; i++) {
        char c = text.ptr[i];
        if (c == '.') {
            behind = true;
            continue;
        }
        if (n == 0 && c == '0') {
            point -= behind;
            continue;
        }
        if (n == MAX_DIGITS) return false;
        digit[n++] = c;
        point += !behind;
    }
    if (i < text.len) {
        bool minus = ++i < text.len && text.ptr[i] == '-';
        if (i < text.len && (text.ptr[i] == '-' || text.ptr[i] == '+')) i++;
        for (; i < text.len && power < 1000; i++) power = 10 * power + (text.ptr[i] - '0');
        point += minus ? -power : power;
    }
    while (n && digit[n - 1] == '0') n--;
    if (n == 0) {
        out->is_negative = false;
        return true;
    }
    if (point > MAX_DIGITS - 1 || n - point > MAX_DIGITS - 1) return false;
    int w = 0, f = 0;
    for (int k = 0; k < point; k++) out->whole[w++] = k < n ? digit[k] : '0';
    for (int k = point; k < n; k++) out->fraction[f++] = k < 0 ? '0' : digit[k];
    if (w) out->whole[w] = 0;
    out->fraction[f] = 0;
    return true;
}

static int compare_whole(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n != m) return n < m ? -1 : 1;
    return strcmp(a, b);
}

static void add_one(char *whole)
{
    size_t n = strlen(whole), i = n;
    while (i && whole[i - 1] == '9') whole[--i] = '0';
    if (i) {
        whole[i - 1]++;
        return;
    }
    memmove(whole + 1, whole, n + 1);
    whole[0] = '1';
}

/* Of a magnitude > 0. */
static void take_one(char *whole)
{
    size_t n = strlen(whole), i = n;
    while (i && whole[i - 1] == '0') whole[--i] = '9';
    if (i) whole[i - 1]--;
    if (n > 1 && whole[0] == '0') memmove(whole, whole + 1, n);
}

/* ---- magnitudes ---- */

static void digit_range(hd_cc *cc, uint32_t from, uint32_t to, char lo, char hi)
{
    if (lo <= hi) hd_cc_bytes(cc, from, to, (uint8_t)lo, (uint8_t)hi, 0);
}

static uint32_t any_digits(hd_cc *cc, uint32_t from, size_t n)
{
    for (; n; n--) {
        uint32_t to = hd_cc_node(cc);
        digit_range(cc, from, to, '0', '9');
        from = to;
    }
    return from;
}

/* Numbers of the same length n: lo <= x <= hi, digit by digit. */
static void same_length(hd_cc *cc, uint32_t from, uint32_t to, const char *lo, const char *hi)
{
    size_t n = strlen(lo);
    uint32_t both = from, above = HD_AUTO_NONE, below = HD_AUTO_NONE;
    for (size_t i = 0; i < n; i++) {
        size_t rest = n - i - 1;
        uint32_t next_above = above == HD_AUTO_NONE ? above : hd_cc_node(cc);
        uint32_t next_below = below == HD_AUTO_NONE ? below : hd_cc_node(cc);
        if (above != HD_AUTO_NONE) { /* equal to lo so far, less than hi already */
            digit_range(cc, above, next_above, lo[i], lo[i]);
            uint32_t free = hd_cc_node(cc);
            digit_range(cc, above, free, (char)(lo[i] + 1), '9');
            hd_cc_empty(cc, any_digits(cc, free, rest), to);
        }
        if (below != HD_AUTO_NONE) {
            digit_range(cc, below, next_below, hi[i], hi[i]);
            uint32_t free = hd_cc_node(cc);
            digit_range(cc, below, free, '0', (char)(hi[i] - 1));
            hd_cc_empty(cc, any_digits(cc, free, rest), to);
        }
        if (both != HD_AUTO_NONE) {
            uint32_t next = HD_AUTO_NONE;
            if (lo[i] == hi[i]) {
                next = hd_cc_node(cc);
                digit_range(cc, both, next, lo[i], lo[i]);
            } else {
                next_above = hd_cc_node(cc);
                next_below = hd_cc_node(cc);
                digit_range(cc, both, next_above, lo[i], lo[i]);
                digit_range(cc, both, next_below, hi[i], hi[i]);
                uint32_t free = hd_cc_node(cc);
                digit_range(cc, both, free, (char)(lo[i] + 1), (char)(hi[i] - 1));
                hd_cc_empty(cc, any_digits(cc, free, rest), to);
            }
            both = next;
        }
        above = next_above;
        below = next_below;
    }
    if (both != HD_AUTO_NONE) hd_cc_empty(cc, both, to);
    if (above != HD_AUTO_NONE) hd_cc_empty(cc, above, to);
    if (below != HD_AUTO_NONE) hd_cc_empty(cc, below, to);
}

/* Whole magnitudes lo <= x <= hi without leading zeros; hi NULL: no most. */
static void whole_range(hd_cc *cc, uint32_t from, uint32_t to, const char *lo, const char *hi)
{
    char nines[MAX_DIGITS + 2], ones[MAX_DIGITS + 2];
    size_t n = strlen(lo), m = hi ? strlen(hi) : n;
    if (hi && compare_whole(lo, hi) > 0) return;
    for (size_t len = n; len <= m; len++) {
        memset(nines, '9', len);
        memset(ones, '0', len);
        nines[len] = ones[len] = 0;
        ones[0] = '1';
        same_length(cc, from, to, len == n ? lo : ones, hi && len == m ? hi : nines);
    }
    if (hi) return;
    uint32_t more = hd_cc_node(cc);
    digit_range(cc, from, more, '1', '9');
    more = any_digits(cc, more, n);
    digit_range(cc, more, more, '0', '9');
    hd_cc_empty(cc, more, to);
}

/* ---- fractions, from behind the whole part ---- */

typedef struct edge {
    const char *fraction; /* NULL: no bound */
    bool is_open;         /* the bound itself is outside */
} edge;

/* Digits f (behind a point that was read) with 0.f above `lo` and below `hi`. At position i the
 * digits so far equal those of lo (or not), and of hi (or not). */
static void fraction_digits(hd_cc *cc, uint32_t from, uint32_t to, edge lo, edge hi)
{
    bool on_lo = lo.fraction != NULL, on_hi = hi.fraction != NULL;
    if (!on_lo && !on_hi) {
        uint32_t any = any_digits(cc, from, 1);
        digit_range(cc, any, any, '0', '9');
        hd_cc_empty(cc, any, to);
        return;
    }
    char a = on_lo ? (*lo.fraction ? *lo.fraction : '0') : '0';
    char b = on_hi ? (*hi.fraction ? *hi.fraction : '0') : '9';
    edge none = {0}, lo_next = lo, hi_next = hi;
    if (on_lo && *lo.fraction) lo_next.fraction++;
    if (on_hi && *hi.fraction) hi_next.fraction++;
    for (char c = a; c <= b; c++) {
        bool at_lo = on_lo && c == a, at_hi = on_hi && c == b;
        edge l = at_lo ? lo_next : none, h = at_hi ? hi_next : none;
        uint32_t next = hd_cc_node(cc);
        digit_range(cc, from, next, c, c);
        /* May it end here? The rest of a bound counts as zeros behind what was read. */
        bool lo_left = at_lo && *l.fraction, hi_left = at_hi && *h.fraction;
        bool above = !at_lo || (!lo_left && !l.is_open);
        bool below = !at_hi || hi_left || !h.is_open;
        if (above && below) hd_cc_empty(cc, next, to);
        bool lo_loop = at_lo && !*lo.fraction, hi_loop = at_hi && !*hi.fraction;
        bool is_same =
            (at_lo == on_lo && at_hi == on_hi) && (!on_lo || lo_loop) && (!on_hi || hi_loop);
        if (is_same)
            hd_cc_empty(cc, next, from); /* only zeros from here: a loop */
        else if (at_lo || at_hi)
            fraction_digits(cc, next, to, l, h);
        else {
            digit_range(cc, next, next, '0', '9');
            hd_cc_empty(cc, next, to);
        }
    }
}

static void fraction_part(hd_cc *cc, uint32_t from, uint32_t to, edge lo, edge hi)
{
    bool above = !lo.fraction || (!*lo.fraction && !lo.is_open);
    bool below = !hi.fraction || *hi.fraction || !hi.is_open;
    if (above && below) hd_cc_empty(cc, from, to);
    fraction_digits(cc, hd_cc_byte(cc, from, '.', 0), to, lo, hi);
}

/* Magnitudes between two decimals; hi NULL: no most. */
static void decimal_range(hd_cc *cc, uint32_t from, uint32_t to, const decimal *lo, bool lo_open,
                          const decimal *hi, bool hi_open)
{
    edge l = {lo->fraction, lo_open}, h = {hi ? hi->fraction : NULL, hi_open}, none = {0};
    int order = hi ? compare_whole(lo->whole, hi->whole) : -1;
    if (order > 0) return;
    uint32_t whole = hd_cc_text(cc, from, hd_str_from(lo->whole));
    if (order == 0) {
        fraction_part(cc, whole, to, l, h);
        return;
    }
    fraction_part(cc, whole, to, l, none);
    if (hi) fraction_part(cc, hd_cc_text(cc, from, hd_str_from(hi->whole)), to, none, h);
    char first[MAX_DIGITS + 2], last[MAX_DIGITS + 2];
    memcpy(first, lo->whole, sizeof lo->whole);
    add_one(first);
    if (hi) {
        memcpy(last, hi->whole, sizeof hi->whole);
        take_one(last);
    }
    uint32_t between = hd_cc_node(cc);
    whole_range(cc, from, between, first, hi ? last : NULL);
    fraction_part(cc, between, to, none, none);
}

/* ---- ranges ---- */

typedef struct bound {
    bool is_set, is_open;
    decimal at;
} bound;

static bound read_bound(hd_cc *cc, hd_str text, bool is_open)
{
    bound b = {.is_open = is_open};
    if (text.len == 0) return b;
    b.is_set = read_decimal(text, &b.at);
    if (!b.is_set) hd_cc_fail(cc, HD_E_LIMIT, "a bound of more than %d digits", MAX_DIGITS - 1);
    return b;
}

/* The nearest integer inside, as a closed bound. */
static void round_inwards(bound *b, bool is_lower)
{
    if (!b->is_set) return;
    bool has_fraction = b->at.fraction[0] != 0;
    /* A lower bound moves up: a positive magnitude grows, a negative one shrinks. */
    bool grows = is_lower != b->at.is_negative;
    b->at.fraction[0] = 0;
    bool is_zero = strcmp(b->at.whole, "0") == 0;
    if (grows && (has_fraction || b->is_open)) {
        add_one(b->at.whole);
    } else if (!grows && !has_fraction && b->is_open) {
        if (is_zero) { /* just below 0 as an upper bound: -1; the mirror cannot occur */
            add_one(b->at.whole);
            b->at.is_negative = !is_lower;
        } else {
            take_one(b->at.whole);
        }
    }
    if (strcmp(b->at.whole, "0") == 0) b->at.is_negative = false;
    b->is_open = false;
}

static void magnitudes(hd_cc *cc, uint32_t from, uint32_t to, const bound *lo, const bound *hi,
                       bool is_integer)
{
    if (is_integer)
        whole_range(cc, from, to, lo->at.whole, hi->is_set ? hi->at.whole : NULL);
    else
        decimal_range(cc, from, to, &lo->at, lo->is_open, hi->is_set ? &hi->at : NULL, hi->is_open);
}

static uint32_t ranged(hd_cc *cc, uint32_t from, const hd_cc_range *range, bool is_integer)
{
    bound lo = read_bound(cc, range->lo, range->lo_open);
    bound hi = read_bound(cc, range->hi, range->hi_open);
    bound zero = {.is_set = true, .at = {.whole = "0"}}, above_zero = zero;
    uint32_t to = hd_cc_node(cc);
    if (cc->status != HD_OK) return to;
    if (is_integer) {
        round_inwards(&lo, true);
        round_inwards(&hi, false);
        memcpy(above_zero.at.whole, "1", 2);
    } else {
        above_zero.is_open = true;
    }
    bool lo_negative = !lo.is_set || lo.at.is_negative,
         hi_negative = hi.is_set && hi.at.is_negative;
    bool hi_is_zero =
        hi.is_set && !hi.at.is_negative && !hi.at.fraction[0] && strcmp(hi.at.whole, "0") == 0;
    if (!hi_negative && !(hi_is_zero && hi.is_open))
        magnitudes(cc, from, to, lo_negative ? &zero : &lo, &hi, is_integer);
    if (lo_negative)
        magnitudes(cc, hd_cc_byte(cc, from, '-', 0), to, hi_negative ? &hi : &above_zero, &lo,
                   is_integer);
    return to;
}

uint32_t hd_cc_integer(hd_cc *cc, uint32_t from, const hd_cc_range *range)
{
    return ranged(cc, from, range, true);
}

uint32_t hd_cc_decimal(hd_cc *cc, uint32_t from, const hd_cc_range *range)
{
    return ranged(cc, from, range, false);
}
