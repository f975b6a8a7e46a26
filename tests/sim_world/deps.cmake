set(deps kahuna_sim kahuna_runtime)
