#include "server/service.h"

#include <stdint.h>

#ifdef HD_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>

#include "base/clock.h"

void hd_service_ready(const char *status)
{
    (void)sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void hd_service_stopping(void)
{
    (void)sd_notify(0, "STOPPING=1");
}

/* Half of the time after which the manager would lose patience, as it recommends. */
void hd_service_alive(void)
{
    static int64_t last_ns;
    uint64_t limit_us;
    int64_t now = hd_clock_ns();
    if (sd_watchdog_enabled(0, &limit_us) <= 0) return;
    if (now - last_ns < (int64_t)(limit_us / 2) * 1000) return;
    last_ns = now;
    (void)sd_notify(0, "WATCHDOG=1");
}

#else

void hd_service_ready(const char *status)
{
    (void)status;
}

void hd_service_stopping(void) {}

void hd_service_alive(void) {}

#endif
