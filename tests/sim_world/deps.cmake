set(deps kahuna_sim kahuna_codec kahuna_runtime)
