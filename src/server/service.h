/* The service manager: told when the server is ready, alive and about to end (systemd's protocol;
 * without libsystemd, or without a manager, nothing happens). */
#ifndef HD_SERVER_SERVICE_H
#define HD_SERVER_SERVICE_H

void hd_service_ready(const char *status);
void hd_service_stopping(void);
/** Once a second while the loop runs: tells that it does, as often as the manager wants to hear. */
void hd_service_alive(void);

#endif
