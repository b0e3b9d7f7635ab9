/* Ctrl-C: see interrupt.h. */
#include "cli/interrupt.h"

#include <signal.h>

static volatile sig_atomic_t is_seen;
static volatile sig_atomic_t mode_now;

static void on_interrupt(int number)
{
    if (is_seen && mode_now == HD_INTERRUPT_TWICE_KILLS) {
        signal(number, SIG_DFL);
        raise(number);
    }
    is_seen = 1;
}

void hd_interrupt_install(hd_interrupt_mode mode)
{
    /* No SA_RESTART: a read of the next line must return. */
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    mode_now = mode;
    is_seen = 0;
    sigaction(SIGINT, &action, NULL);
}

bool hd_interrupt_seen(void)
{
    return is_seen;
}

void hd_interrupt_clear(void)
{
    is_seen = 0;
}
