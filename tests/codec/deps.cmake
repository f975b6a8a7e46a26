set(deps kahuna_codec kahuna_runtime)
