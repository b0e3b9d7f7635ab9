/* Texts of config.json for tests: the published releases and a tiny model, with single keys
 * changed. Values of the releases are those of their own config.json files. */
#ifndef HD_TEST_V4_CONFIG_H
#define HD_TEST_V4_CONFIG_H

#include "base/str.h"

typedef enum test_release {
    TEST_FLASH,
    TEST_FLASH_0731,
    TEST_FLASH_BASE,
    TEST_PRO,
    TEST_PRO_0813,
    TEST_PRO_BASE,
    TEST_TINY,     /* 3 layers (0, 4, 128), FP4 experts, DSpark of 2 stages; some 100 KB */
    TEST_TINY_MTP, /* the same with FP8 experts and an MTP block */
    TEST_TINY_BARE /* the same without a draft head; expert_dtype is left out */
} test_release;

typedef struct test_config {
    char text[8192];
} test_config;

void test_config_make(test_config *c, test_release release);

/** Replace the value of a top-level key, or append the key; a value of NULL removes it. Values are
 *  JSON text. Aborts when there is no such key to remove. */
void test_config_set(test_config *c, const char *key, const char *value);

#endif
