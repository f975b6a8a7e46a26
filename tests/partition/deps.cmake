set(deps kahuna_partition kahuna_engine kahuna_runtime)
