set(deps kahuna_runtime)
