set(deps kahuna_node kahuna_partition kahuna_engine kahuna_journal kahuna_raft kahuna_schemas kahuna_runtime flatbuffers::flatbuffers)
list(APPEND sources ${CMAKE_CURRENT_SOURCE_DIR}/engine/model_disk.cc)
