set(deps kahuna_net kahuna_sim kahuna_runtime)
