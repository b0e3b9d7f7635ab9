#include "server/tracefile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

struct hd_tracefile {
    FILE *file;
    uint64_t n_requests; /* each has a row of its own */
};

hd_status hd_tracefile_open(const char *path, hd_tracefile **out, hd_err *err)
{
    FILE *file = fopen(path, "we");
    if (!file) HD_FAIL(err, HD_E_IO, "cannot write '%s': %s", path, strerror(errno));
    hd_tracefile *t = hd_mem_calloc(1, sizeof *t);
    t->file = file;
    fputs("[\n", file); /* readers do without the closing bracket, so a killed server leaves a trace
                         */
    *out = t;
    return HD_OK;
}

void hd_tracefile_close(hd_tracefile *t)
{
    if (!t) return;
    fputs("{}]\n", t->file);
    fclose(t->file);
    hd_mem_free(t);
}

static void add_span(const hd_tracefile *t, const char *name, const hd_trace_request *r,
                     int64_t from_ns, int64_t to_ns)
{
    if (!from_ns || !to_ns) return;
    fprintf(t->file,
            "{\"name\":\"%s\",\"cat\":\"request\",\"ph\":\"X\",\"pid\":1,\"tid\":%" PRIu64
            ",\"ts\":%" PRId64 ".%03d,\"dur\":%" PRId64
            ".%03d,\"args\":{\"id\":\"%s\",\"how\":\"%s\",\"prompt\":%d,"
            "\"cached\":%d,\"generated\":%d}},\n",
            name, t->n_requests, from_ns / 1000, (int)(from_ns % 1000), (to_ns - from_ns) / 1000,
            (int)((to_ns - from_ns) % 1000), r->id, r->how, r->n_prompt, r->n_cached,
            r->n_generated);
}

void hd_tracefile_add(hd_tracefile *t, const hd_trace_request *r)
{
    if (!t) return;
    t->n_requests++;
    add_span(t, "request", r, r->began_ns, r->end_ns);
    add_span(t, "read", r, r->began_ns, r->submitted_ns);
    add_span(t, "first token", r, r->submitted_ns, r->first_ns);
    add_span(t, "generate", r, r->first_ns, r->end_ns);
    fflush(t->file);
}
