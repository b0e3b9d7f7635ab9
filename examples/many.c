/* Many texts at once: an engine, a request for each argument, their answers as they come.
 *
 *   cc many.c $(pkg-config --cflags --libs hadal) -o many
 *   ./many DIR "Once upon a time" "The sea is" "Add 2 and 2:" */
#include <hadal/engine.h>
#include <hadal/text.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PROMPT = 1024, N_NEW = 48 };

static hd_err err;

static void check(hd_status status)
{
    if (status == HD_OK) return;
    fprintf(stderr, "many: %s\n", err.text);
    exit(1);
}

static uint64_t submit(hd_engine *engine, int32_t bos, const char *text)
{
    int32_t ids[MAX_PROMPT] = {bos};
    size_t n;
    uint64_t id;
    check(hd_tokenizer_encode(hd_engine_tokenizer(engine), text, strlen(text), HD_ENCODE_PLAIN,
                              ids + 1, MAX_PROMPT - 1, &n, &err));
    hd_submit request = {.ids = ids,
                         .n_ids = (int32_t)n + 1,
                         .max_new = N_NEW,
                         .how = HD_SAMPLING_DEFAULT,
                         .output = HD_OUTPUT_TEXT};
    check(hd_engine_submit(engine, &request, &id, &err));
    return id;
}

/* All of them run while the first is read. */
static void show(hd_engine *engine, uint64_t id)
{
    hd_event event;
    do {
        check(hd_engine_next(engine, id, -1, &event, &err));
        if (event.kind == HD_EVENT_TEXT) fwrite(event.text, 1, event.len, stdout);
        fflush(stdout);
    } while (event.kind != HD_EVENT_END);
    printf("\n[%d of %d prompt tokens from the cache]\n", event.n_cached, event.n_prompt);
}

int main(int argc, char **argv)
{
    hd_engine *engine;
    hd_model_info info;
    uint64_t id[64];
    if (argc < 3 || argc > 66) {
        fprintf(stderr, "usage: many DIR TEXT...\n");
        return 2;
    }
    check(hd_engine_open(argv[1], NULL, &engine, &err));
    hd_engine_get_info(engine, &info);
    for (int i = 2; i < argc; i++) id[i - 2] = submit(engine, info.bos_id, argv[i]);
    for (int i = 2; i < argc; i++) {
        printf("%s", argv[i]);
        show(engine, id[i - 2]);
    }
    hd_engine_close(engine);
    return 0;
}
