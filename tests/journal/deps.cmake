set(deps kahuna_journal kahuna_raft kahuna_runtime)
