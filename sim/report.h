// `--report FILE`: one run as one HTML page that needs nothing else: no network, no other file.
//
// Lanes for every node (who led, in which term; down), for faults, for a scenario's steps, for
// client operations, with the checker's witness marked; messages between nodes near the failure;
// hash checkpoints; the line that replays the run. The page draws itself with the script in it
// (report_page.cc); this file gives it its data.
//
//   P1 below kPageBytesMax, whatever the run was: of what is plentiful (messages, operations), what
//      is near the failure or concerns the witness is kept, and samples of the rest.
#pragma once

#include <string>
#include <string_view>

#include "sim/runner.h"

namespace kahuna::sim {

inline constexpr size_t kPageBytesMax = size_t{5} << 20;

// `report` was made with RunOptions::record.
std::string report_page(const RunOptions& run, const RunReport& report, std::string_view replay);

// The page around the data; `data` is a JSON object that may stand inside a script element.
std::string page_around(std::string_view title, std::string_view data);

}  // namespace kahuna::sim
