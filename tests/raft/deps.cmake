set(deps kahuna_raft kahuna_runtime)
