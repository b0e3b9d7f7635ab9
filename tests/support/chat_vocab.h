/* A small tokenizer that has the tokens of chats: a byte is a token, so prompts decode at once. */
#ifndef HD_TEST_CHAT_VOCAB_H
#define HD_TEST_CHAT_VOCAB_H

#include "hadal/text.h"

/** Bytes have ids 0 … 255, the tokens of chats those behind. Aborts when it cannot be made. */
hd_tokenizer *chat_vocab_open(void);

#endif
