set(deps kahuna_engine kahuna_runtime)
# RocksDB must find our replacements of its hidden thread and entropy (kahuna/engine/rocks_interpose.h).
add_link_options(-rdynamic)
