/* Every op of every device that this machine can open, against `ref`, bit for bit.
 *
 * The tables of src/opcase hold the cases; an op without any is an error. Prints one line per op
 * and device. Usage: op_test_ops [SEED] [OP]; another seed makes other cases, a failing line says
 * which case it was. Links base, dev, opcase and the backends only, so that a cross build runs
 * under an emulator.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opcase/opcase.h"
#include "support/devtest.h"

#define MAX_DEVICES 16

static devtest devices[MAX_DEVICES]; /* the first is ref */
static int n_devices;

/* All that can be opened. Three threads: not a power of two, and more than a small machine has.
 * False if one is missing that every machine has. */
static bool open_devices(void)
{
    hd_dev_opts opts = {.n_threads = 3};
    int n_needed = 0;
    for (const devtest_spec *spec = devtest_specs; spec->name; spec++) {
        if (devtest_open(&devices[n_devices], spec, &opts)) {
            const char *label = devices[n_devices++].label;
            n_needed += strcmp(label, "ref") == 0 || strcmp(label, "cpu portable") == 0;
        } else {
            printf("%s%s%s: not here, skipped\n", spec->name, spec->isa ? " " : "",
                   spec->isa ? spec->isa : "");
        }
    }
    return n_needed == 2;
}

/* FNV-1a over all that ref wrote: two machines that print the same digest for the same seed have
 * the same ref to the bit. */
static uint64_t digest = 0xcbf29ce484222325u;

static void add_to_digest(const hd_opcase *c)
{
    for (size_t i = 0; i < c->n_out; i++)
        for (size_t k = 0; k < c->out[i].bytes; k++)
            digest = (digest ^ c->out[i].data[k]) * 0x100000001b3u;
}

/* What the cases of one op came to on one device. */
typedef struct tally {
    size_t n_off; /* differing elements */
    double worst;
    int n_bad; /* cases */
    char first_bad[256];
} tally;

/* A device that fails has failed the test. */
static void run_on(hd_opcase *c, devtest *t, const hd_opcase_entry *e, const hd_opcase_which *which)
{
    hd_opcase_run(c, &t->on, e, which);
    if (c->err.code == HD_OK) return;
    fprintf(stderr, "%s, case %d: %s\n", hd_op_name(e->op), which->index, c->err.text);
    exit(1);
}

static void run_case(const hd_opcase_entry *e, const hd_opcase_which *which, tally *tallies)
{
    hd_opcase ref, other;
    run_on(&ref, &devices[0], e, which);
    add_to_digest(&ref);
    for (int d = 1; d < n_devices; d++) {
        tally *sum = &tallies[d];
        run_on(&other, &devices[d], e, which);
        hd_opcase_diff diff = hd_opcase_compare(&ref, &other);
        for (int k = 0; k < HD_OPCASE_KINDS; k++)
            if (diff.worst[k] > sum->worst) sum->worst = diff.worst[k];
        if (diff.n_differ && sum->n_bad++ == 0)
            snprintf(sum->first_bad, sizeof sum->first_bad,
                     "case %d: %s: output %zu, row %lld, column %lld: %g instead of %g",
                     which->index, ref.shape, diff.output, (long long)diff.row, (long long)diff.col,
                     diff.got, diff.want);
        sum->n_off += diff.n_differ;
        hd_opcase_deinit(&other);
    }
    hd_opcase_deinit(&ref);
}

/* True if all devices agree. */
static bool run_entry(const hd_opcase_entry *e, uint64_t seed)
{
    tally tallies[MAX_DEVICES] = {0};
    bool ok = true;
    for (int i = 0; i < e->n_cases; i++)
        run_case(e, &(hd_opcase_which){.seed = seed, .index = i}, tallies);
    for (int d = 1; d < n_devices; d++) {
        const tally *sum = &tallies[d];
        bool is_fused = e->op >= HD_OP_hc_pre && !devices[d].dev->composed[e->op];
        printf("%-18s %-16s %2d cases%s, ", hd_op_name(e->op), devices[d].label, e->n_cases,
               is_fused ? ", fused" : "");
        if (sum->n_off) {
            ok = false;
            printf("%zu elements differ, worst %.2e, in %d cases; %s\n", sum->n_off, sum->worst,
                   sum->n_bad, sum->first_bad);
        } else {
            printf("equal\n");
        }
    }
    return ok;
}

static bool is_covered(hd_op op)
{
    const hd_opcase_entry *e;
    for (int i = 0; (e = hd_opcase_entry_at(i)); i++)
        if (e->op == op) return true;
    return false;
}

/* The comparison itself: runs with other random numbers must not look equal. */
static bool sees_differences(void)
{
    hd_opcase a, b;
    const hd_opcase_entry *e = &hd_opcase_cache_ops[0];
    run_on(&a, &devices[0], e, &(hd_opcase_which){.seed = 1});
    run_on(&b, &devices[0], e, &(hd_opcase_which){.seed = 2});
    hd_opcase_diff diff = hd_opcase_compare(&a, &b);
    hd_opcase_deinit(&a);
    hd_opcase_deinit(&b);
    return diff.n_differ > 0 && diff.worst[HD_OPCASE_BF16] > 0.0;
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    const char *only = argc > 2 ? argv[2] : NULL;
    bool ok = true;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!open_devices()) {
        fprintf(stderr, "devices 'ref' and 'cpu' in portable code cannot both be opened\n");
        return 1;
    }
    if (!sees_differences()) {
        fprintf(stderr, "the comparison sees no difference between different cases\n");
        return 1;
    }
    const hd_opcase_entry *e;
    for (int i = 0; (e = hd_opcase_entry_at(i)); i++)
        if (!only || strcmp(only, hd_op_name(e->op)) == 0) ok = run_entry(e, seed) && ok;
    for (int op = 0; op < HD_OP_COUNT; op++) {
        if (is_covered((hd_op)op)) continue;
        printf("%-18s has no case\n", hd_op_name((hd_op)op));
        ok = false;
    }
    for (int d = 0; d < n_devices; d++) devtest_close(&devices[d]);
    printf("digest of ref %016llx\n", (unsigned long long)digest);
    printf(ok ? "all equal\n" : "FAILED\n");
    return ok ? 0 : 1;
}
