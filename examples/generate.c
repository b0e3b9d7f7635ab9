/* Text from a model in some sixty lines: open, tokenise, run, sample, decode, close.
 *
 *   cc generate.c $(pkg-config --cflags --libs hadal) -o generate
 *   ./generate DIR "Once upon a time" */
#include <hadal/model.h>
#include <hadal/text.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOKENS = 1024, N_NEW = 64 };

static hd_err err;

static void check(hd_status status)
{
    if (status == HD_OK) return;
    fprintf(stderr, "generate: %s\n", err.text);
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: generate DIR TEXT\n");
        return 2;
    }
    hd_tokenizer *tokenizer;
    hd_decoder *decoder;
    hd_model *model;
    hd_sampler *sampler;
    hd_seq *seq;
    hd_model_info info;
    hd_model_opts opts = {.max_ctx = MAX_TOKENS};
    int32_t ids[MAX_TOKENS];
    size_t n;

    check(hd_tokenizer_open(argv[1], &tokenizer, &err));
    check(hd_decoder_create(tokenizer, HD_DECODE_SKIP_SPECIAL, &decoder, &err));
    check(hd_model_open(argv[1], &opts, &model, &err));
    hd_model_get_info(model, &info);
    check(hd_sampler_create(info.vocab_size, &sampler, &err));
    check(hd_seq_create(model, &seq, &err));

    ids[0] = info.bos_id;
    check(hd_tokenizer_encode(tokenizer, argv[2], strlen(argv[2]), HD_ENCODE_PLAIN, ids + 1,
                              MAX_TOKENS - N_NEW - 1, &n, &err));
    n++;

    float *logits = malloc((size_t)info.vocab_size * sizeof *logits);
    hd_sampling how = HD_SAMPLING_DEFAULT;
    size_t fed = 0, n_prompt = n;
    while (logits && n < n_prompt + N_NEW) {
        hd_step_item item = {seq, ids + fed, (int32_t)(n - fed), 1, logits};
        check(hd_model_step(model, &item, 1, &err));
        fed = n;
        hd_sample_args draw = {.logits = logits,
                               .how = &how,
                               .position = n,
                               .ids = ids,
                               .n_ids = n,
                               .n_prompt = n_prompt};
        check(hd_sampler_draw(sampler, &draw, &ids[n], &err));
        if (ids[n] == info.eos_id) break;
        const char *text;
        size_t len;
        check(hd_decoder_push(decoder, ids[n++], &text, &len, &err));
        fwrite(text, 1, len, stdout);
    }
    printf("\n");

    free(logits);
    hd_seq_destroy(seq);
    hd_sampler_destroy(sampler);
    hd_model_close(model);
    hd_decoder_destroy(decoder);
    hd_tokenizer_close(tokenizer);
    return 0;
}
