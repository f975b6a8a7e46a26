set(deps kahuna_sim kahuna_node kahuna_client kahuna_engine kahuna_journal kahuna_partition kahuna_raft
  kahuna_codec kahuna_schemas kahuna_runtime fmt::fmt)
