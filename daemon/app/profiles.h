#pragma once
/*
 * profiles: from a configuration to trust profiles and identities with who may use them.
 *
 * Threads:   any; it reads files (certificates, keys, revocation lists, the system's users), so a
 * reload does it on a worker.
 * Ownership: what is loaded is the caller's; credentials_deinit() frees it.
 * Errors:    an exit status, 1 (failure) or 2 (wrong configuration), with the reason in words. A
 * profile whose files cannot be used is no error: it verifies nothing, and says why.
 */
#include "app/app.h"
#include "rpc/credentials.h"

/* Fills *credentials, which is empty; also after an error it is to be freed. */
NODISCARD int profiles_load(struct credentials *credentials, const struct config *config,
                            const struct app_options *options, char *reason, size_t n_reason);
/* Is there a profile that cannot verify anything, or not all (trust_loses()), and is new or could
 * before? reason tells which and why. */
bool profiles_lose(const struct credentials *old, const struct credentials *new, char *reason,
                   size_t n_reason);
/* Log what is trusted, and what has expired or soon will: identities, revocation lists. */
void profiles_log(const struct credentials *credentials);
void profiles_log_expiry(const struct credentials *credentials); /* the latter alone */
