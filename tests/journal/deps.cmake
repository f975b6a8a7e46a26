set(deps kahuna_journal kahuna_raft kahuna_runtime)
set(timeout 300)
