set(deps kahuna_cli kahuna_client kahuna_codec kahuna_schemas kahuna_runtime flatbuffers::flatbuffers fmt::fmt)
