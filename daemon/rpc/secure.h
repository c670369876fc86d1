#pragma once
/*
 * secure: what a request says about TLS, checked and put into a dial.
 *
 * Threads: the request's io thread only.
 * Errors:  false: the request was answered with what is wrong, or *ret_fault tells.
 */
#include "rpc/credentials.h"
#include "rpc/request.h"

/* A member `profile` as dial->trust. */
NODISCARD bool secure_profile(struct request *request, bool given, const char *profile,
                              struct dial *dial);
/* A member `alpn`. */
NODISCARD bool secure_alpn(struct request *request, const struct proto_strings *alpn,
                           struct dial *dial);
/* A member `identity` as dial->identity, if the client may use it for that. */
NODISCARD bool secure_identity(const struct request *request, const char *identity,
                               const struct credentials_use *use, struct dial *dial,
                               struct fault *ret_fault);
