#include "server/metrics.h"

#include <inttypes.h>

#include "base/jsonw.h"

/* ---- histograms -------------------------------------------------------------------------------*/

static const double bounds[HD_HIST_BUCKETS] = {
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2,  0.5,  1,    2,
    5,     10,    20,    50,   100,  200,  500, 1000, 2000, 5000, 10000,
};

void hd_hist_add(hd_hist *h, double seconds)
{
    int i = 0;
    while (i < HD_HIST_BUCKETS && seconds > bounds[i]) i++;
    h->count[i]++;
    h->n++;
    h->sum_s += seconds;
}

double hd_hist_quantile(const hd_hist *h, double q)
{
    double want = q * (double)h->n, before = 0.0;
    for (int i = 0; i < HD_HIST_BUCKETS && h->n; i++) {
        double here = (double)h->count[i], from = i ? bounds[i - 1] : 0.0;
        if (here > 0.0 && before + here >= want)
            return from + (bounds[i] - from) * (want - before) / here;
        before += here;
    }
    return h->n ? bounds[HD_HIST_BUCKETS - 1] : 0.0;
}

/* ---- pools ------------------------------------------------------------------------------------*/

typedef struct pool {
    const char *name;
    uint64_t used, max;
} pool;

enum { N_POOLS = 4 };

static void list_pools(const hd_engine_stats *s, pool out[N_POOLS])
{
    out[0] = (pool){"sequences", s->n_running, s->max_seqs};
    out[1] = (pool){"pages_ratio_4", s->n_csa_pages, s->max_csa_pages};
    out[2] = (pool){"pages_ratio_128", s->n_hca_pages, s->max_hca_pages};
    out[3] = (pool){"snapshots", s->n_kept_snapshots, s->max_snapshots};
}

static double share(const pool *p)
{
    return p->max ? (double)p->used / (double)p->max : 0.0;
}

static const pool *tightest(const pool pools[N_POOLS])
{
    const pool *best = pools;
    for (int i = 1; i < N_POOLS; i++)
        if (share(&pools[i]) > share(best)) best = &pools[i];
    return best;
}

/* ---- Prometheus -------------------------------------------------------------------------------*/

typedef struct sample {
    const char *name, *type, *help;
    double value;
} sample;

/* Floats as Prometheus reads them, whatever the locale. */
static void add_value(hd_buf *out, double x)
{
    hd_jsonw_f64(out, x);
    hd_buf_addc(out, '\n');
}

static void add_label(hd_buf *out, const char *label, const char *value)
{
    hd_buf_addf(out, "%s=", label);
    hd_jsonw_str(out, hd_str_from(value));
}

static void add_sample(const hd_metrics_view *v, const sample *s, hd_buf *out)
{
    hd_buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n%s{", s->name, s->help, s->name, s->type,
                s->name);
    add_label(out, "model_name", v->model);
    hd_buf_addz(out, "} ");
    add_value(out, s->value);
}

static void add_hist(const hd_metrics_view *v, const char *name, const char *help, const hd_hist *h,
                     hd_buf *out)
{
    uint64_t n = 0;
    hd_buf_addf(out, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);
    for (int i = 0; i <= HD_HIST_BUCKETS; i++) {
        n += h->count[i];
        hd_buf_addf(out, "%s_bucket{", name);
        add_label(out, "model_name", v->model);
        hd_buf_addz(out, ",le=\"");
        if (i < HD_HIST_BUCKETS)
            hd_jsonw_f64(out, bounds[i]);
        else
            hd_buf_addz(out, "+Inf");
        hd_buf_addf(out, "\"} %" PRIu64 "\n", n);
    }
    hd_buf_addf(out, "%s_sum{", name);
    add_label(out, "model_name", v->model);
    hd_buf_addz(out, "} ");
    add_value(out, h->sum_s);
    hd_buf_addf(out, "%s_count{", name);
    add_label(out, "model_name", v->model);
    hd_buf_addf(out, "} %" PRIu64 "\n", h->n);
}

static void add_engine(const hd_metrics_view *v, hd_buf *out)
{
    const hd_engine_stats *e = v->engine;
    const sample samples[] = {
        {"hadal_steps_total", "counter", "Steps of the model.", (double)e->n_steps},
        {"hadal_rows_total", "counter", "Rows in all steps.", (double)e->n_rows},
        {"hadal_prefix_hits_total", "counter", "Requests that began behind a cached prefix.",
         (double)e->n_hits},
        {"hadal_prefix_disk_hits_total", "counter", "Requests that files spared work.",
         (double)e->n_disk_hits},
        {"hadal_preempted_total", "counter", "Requests that gave their sequence back for a while.",
         (double)e->n_preempted},
        {"hadal_evicted_total", "counter", "Blocks of the prefix cache that made room.",
         (double)e->n_evicted},
        {"hadal_drafted_tokens_total", "counter", "Guessed tokens.", (double)e->n_drafted},
        {"hadal_accepted_tokens_total", "counter", "Guessed tokens that were right.",
         (double)e->n_accepted},
        {"vllm:num_requests_running", "gauge", "Requests that have a sequence.",
         (double)e->n_running},
        {"vllm:num_requests_waiting", "gauge", "Requests that wait for a sequence.",
         (double)e->n_waiting},
        {"vllm:prefix_cache_queries_total", "counter", "Tokens of prompts.", (double)e->n_prompt},
        {"vllm:prefix_cache_hits_total", "counter", "Tokens of prompts that were cached.",
         (double)e->n_cached},
        {"vllm:num_preemptions_total", "counter", "Preemptions.", (double)e->n_preempted},
    };
    for (size_t i = 0; i < HD_COUNT(samples); i++) add_sample(v, &samples[i], out);
}

static void add_server(const hd_metrics_view *v, hd_buf *out)
{
    const hd_metrics *m = v->counts;
    const sample samples[] = {
        {"hadal_uptime_seconds", "gauge", "Seconds since the start.", v->uptime_s},
        {"hadal_connections", "gauge", "Open connections.", v->n_connections},
        {"hadal_requests_open", "gauge", "Requests under way.", v->n_open},
        {"hadal_requests_done_total", "counter", "Requests that were answered.", (double)m->n_done},
        {"hadal_requests_failed_total", "counter", "Requests that failed.", (double)m->n_failed},
        {"hadal_requests_cancelled_total", "counter", "Requests whose client left.",
         (double)m->n_cancelled},
        {"hadal_requests_refused_total", "counter", "Requests that were refused.",
         (double)m->n_refused},
        {"vllm:prompt_tokens_total", "counter", "Tokens of prompts.", (double)m->n_prompt},
        {"vllm:generation_tokens_total", "counter", "Generated tokens.", (double)m->n_generated},
    };
    for (size_t i = 0; i < HD_COUNT(samples); i++) add_sample(v, &samples[i], out);
}

static void add_pools(const hd_metrics_view *v, hd_buf *out)
{
    pool pools[N_POOLS];
    list_pools(v->engine, pools);
    hd_buf_addz(out, "# HELP hadal_pool_used Places of a pool in use.\n"
                     "# TYPE hadal_pool_used gauge\n");
    for (int i = 0; i < N_POOLS; i++)
        hd_buf_addf(out, "hadal_pool_used{pool=\"%s\"} %" PRIu64 "\n", pools[i].name,
                    pools[i].used);
    hd_buf_addz(out, "# HELP hadal_pool_max Places of a pool.\n# TYPE hadal_pool_max gauge\n");
    for (int i = 0; i < N_POOLS; i++)
        hd_buf_addf(out, "hadal_pool_max{pool=\"%s\"} %" PRIu64 "\n", pools[i].name, pools[i].max);
    add_sample(v,
               &(sample){"vllm:kv_cache_usage_perc", "gauge", "Share of the tightest pool in use.",
                         share(tightest(pools))},
               out);
}

void hd_metrics_prometheus(const hd_metrics_view *v, hd_buf *out)
{
    add_server(v, out);
    add_engine(v, out);
    add_pools(v, out);
    add_hist(v, "vllm:time_to_first_token_seconds", "From the request to its first token.",
             &v->counts->first_token, out);
    add_hist(v, "vllm:inter_token_latency_seconds", "Between two tokens of an answer.",
             &v->counts->gap, out);
    add_hist(v, "vllm:e2e_request_latency_seconds", "From the request to its end.",
             &v->counts->whole, out);
}

/* ---- JSON -------------------------------------------------------------------------------------*/

static void add_quantiles(hd_buf *out, const char *name, const hd_hist *h)
{
    hd_buf_addf(out, "\"%s\":{\"p50\":", name);
    hd_jsonw_f64(out, 1e3 * hd_hist_quantile(h, 0.5));
    hd_buf_addz(out, ",\"p95\":");
    hd_jsonw_f64(out, 1e3 * hd_hist_quantile(h, 0.95));
    hd_buf_addz(out, "}");
}

void hd_metrics_json(const hd_metrics_view *v, hd_buf *out)
{
    const hd_metrics *m = v->counts;
    const hd_engine_stats *e = v->engine;
    pool pools[N_POOLS];
    list_pools(e, pools);
    hd_buf_addz(out, "{\"uptime_s\":");
    hd_jsonw_f64(out, v->uptime_s);
    hd_buf_addf(out, ",\"version\":\"%s\",\"model\":", v->version);
    hd_jsonw_str(out, hd_str_from(v->model));
    hd_buf_addf(out,
                ",\"draining\":%s,\"requests\":{\"running\":%" PRIu64 ",\"waiting\":%" PRIu64
                ",\"done\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"cancelled\":%" PRIu64
                ",\"refused\":%" PRIu64 ",\"open\":%d,\"connections\":%d}",
                v->is_draining ? "true" : "false", e->n_running, e->n_waiting, m->n_done,
                m->n_failed, m->n_cancelled, m->n_refused, v->n_open, v->n_connections);
    hd_buf_addf(out,
                ",\"tokens\":{\"prompt\":%" PRIu64 ",\"cached\":%" PRIu64 ",\"generated\":%" PRIu64
                ",\"drafted\":%" PRIu64 ",\"accepted\":%" PRIu64 "},\"pools\":{",
                e->n_prompt, e->n_cached, e->n_generated, e->n_drafted, e->n_accepted);
    for (int i = 0; i < N_POOLS; i++)
        hd_buf_addf(out, "%s\"%s\":{\"used\":%" PRIu64 ",\"max\":%" PRIu64 "}", i ? "," : "",
                    pools[i].name, pools[i].used, pools[i].max);
    hd_buf_addf(out, "},\"tightest\":\"%s\",\"latency_ms\":{", tightest(pools)->name);
    add_quantiles(out, "first_token", &m->first_token);
    hd_buf_addc(out, ',');
    add_quantiles(out, "gap", &m->gap);
    hd_buf_addz(out, "}}");
}
