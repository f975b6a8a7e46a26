// The journals of a node: one per event loop, laid out anew when the number of loops has changed.
//
// Laying out: what the old journals hold is read (they are not changed), every loop takes its
// groups over into a new journal, and when all of that is durable the identity's layout is
// replaced, in one atomic step. Before that step the old journals count, after it the new ones; at
// no time do both. No replica runs before it, so nobody was told anything that only a journal of
// the other side knows. What is left over of either side is removed afterwards, or at the next
// boot.
#pragma once

#include <map>

#include "kahuna/journal/journal.h"
#include "kahuna/node/identity.h"
#include "runtime/fiber.h"
#include "runtime/host.h"

namespace kahuna::node {

using RecoveredGroups = std::map<PartitionId, journal::RecoveredGroup>;

// Everything that the journals of `layout` hold. Suspends. kDamaged: one is, or one holds a group
// that belongs to another, or `must_exist` and does not (journal::Options).
Result<RecoveredGroups> read_journals(Suspend suspend, Host& host, const journal::Options& options,
                                      const Layout& layout, bool must_exist);

// Removes every journal that is not of `layout`. Suspends.
Result<> remove_other_journals(Suspend suspend, Host& host, const journal::Options& options,
                               const Layout& layout);

// Moves out of `groups` those of one loop.
RecoveredGroups take_groups_of(size_t loop, const Layout& layout, RecoveredGroups& groups);

}  // namespace kahuna::node
