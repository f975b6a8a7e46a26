set(deps kahuna_sim kahuna_node kahuna_cli kahuna_client kahuna_net kahuna_engine kahuna_journal kahuna_partition
  kahuna_raft kahuna_codec kahuna_schemas kahuna_runtime flatbuffers::flatbuffers fmt::fmt Threads::Threads)
set(timeout 240)
# The tests start the binary that lies beside them in the build tree, or the one KAHUNA_BINARY names.
cmake_language(DEFER CALL add_dependencies cluster_tests kahuna)
