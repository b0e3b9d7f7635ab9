/* Ctrl-C: asks a running answer to stop instead of ending the program. */
#ifndef HD_CLI_INTERRUPT_H
#define HD_CLI_INTERRUPT_H

#include <stdbool.h>

typedef enum hd_interrupt_mode {
    HD_INTERRUPT_TWICE_KILLS, /* for a command: the second Ctrl-C ends the program */
    HD_INTERRUPT_NEVER_KILLS  /* for a dialogue */
} hd_interrupt_mode;

/** Catch SIGINT from now on. */
void hd_interrupt_install(hd_interrupt_mode mode);
/** Whether Ctrl-C was pressed since install or clear. */
bool hd_interrupt_seen(void);
void hd_interrupt_clear(void);

#endif
