/* Which chat format a checkpoint was trained on, when nobody says so: its directory may hold the
 * published encoder, which is known by its SHA-256; else config.json may say "hadal.chat_release";
 * else it is 0731, the latest of V4. */
#ifndef HD_SERVER_RELEASE_H
#define HD_SERVER_RELEASE_H

#include "server/canon.h"

/** @param why [why_size]: what told, for people.
 *  @return HD_E_FORMAT: config.json names a release that is not known. */
hd_status hd_release_find(const char *dir, hd_release *out, char *why, size_t why_size,
                          hd_err *err) HD_WARN_UNUSED;
/** "april", "0731", "v4.1". */
const char *hd_release_name(hd_release release);

#endif
