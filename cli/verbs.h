#pragma once
/* verbs: the verbs, one file each. */
#include "cli/verb.h"

extern const struct cli_verb verb_call;
extern const struct cli_verb verb_check;
extern const struct cli_verb verb_close;
extern const struct cli_verb verb_completion;
extern const struct cli_verb verb_connect;
extern const struct cli_verb verb_drain;
extern const struct cli_verb verb_errors;
extern const struct cli_verb verb_events;
extern const struct cli_verb verb_help;
extern const struct cli_verb verb_log;
extern const struct cli_verb verb_ls;
extern const struct cli_verb verb_policy;
extern const struct cli_verb verb_pool;
extern const struct cli_verb verb_session;
extern const struct cli_verb verb_reload;
extern const struct cli_verb verb_ssh_proxy;
extern const struct cli_verb verb_stats;
extern const struct cli_verb verb_users;
extern const struct cli_verb verb_tunnel;
extern const struct cli_verb verb_version;
