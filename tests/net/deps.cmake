set(deps kahuna_net kahuna_runtime)
