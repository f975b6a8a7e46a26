// The write-ahead log shared by all Raft groups of an event loop: one sync per batch, whatever the
// number of groups. While a sync is in flight everything that arrives joins the next batch.
//
// Disk shape: journal/format.md. Recovery rules: DESIGN §4, reference/protocol-traps.md 21-24, 31.
//
//   J1 a completion reported by append() means: body and header of its batch were synced, and so
//      was every batch before it;
//   J2 what recovery returns for a group is exactly a prefix of what was appended to it, at least
//      up to the last reported completion, or it says what is damaged (an error, or `faulty`):
//      never less, silently;
//   J3 a released record is never returned unless it is above the released index again;
//   J4 a sync or write error is final: on_fatal is called and nothing is acknowledged afterwards.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kahuna/raft/replica.h"
#include "runtime/fiber.h"
#include "runtime/host.h"

namespace kahuna::journal {

struct Options {
  std::string dir = "journal";              // inside the node's data directory
  size_t segment_bytes = size_t{32} << 20;  // preallocated, zero-filled, recycled
  size_t batch_bytes_max = size_t{4} << 20;
  size_t pending_bytes_max = size_t{64} << 20;  // queued beyond the batch in flight
  bool direct = false;                          // ask for unbuffered files
  // It was opened before in this directory. One that has no segment any more was lost, with votes
  // and entries that others count on: kDamaged.
  bool must_exist = false;
  size_t spare_segments = 1;  // kept ready ahead of the one being written
  // Beyond this many segments in use, what is live in the oldest is copied forward if it is little.
  size_t copy_forward_segments = 3;
  // Report a last batch whose header is whole as faulty even when its body provably never reached
  // the disk. For disks that may lose or misdirect a write and still report a good sync.
  bool distrust_tears = false;
  // Opening reads segments up to three times; those that take no more memory than this, once.
  size_t recovery_bytes_max = size_t{64} << 20;
};

// The largest payload of an entry that append() takes: it and its framing fit one segment.
size_t entry_bytes_max(const Options& options);

// What recovery found of one group.
struct RecoveredGroup {
  raft::HardState hard_state;
  // Contiguous; entries[0].index is at most released + 1. Empty when nothing is stored.
  std::vector<raft::Entry> entries;
  Index commit;    // highest commit index noted
  Index released;  // release(group, index) known to recovery (may lag; safe)
  // What follows `entries`, when content is lost that was perhaps acknowledged (traps 21, 22):
  // begins with a lost entry; intact ones may follow. kahuna/raft/repair.h says what that means.
  // Reported again at every open, until append() puts the content back, or something else in its
  // place.
  std::vector<raft::TailEntry> faulty;
  std::string damage;  // where on disk, for people; "" when not known
};

struct Statistics {
  uint64_t batches = 0;  // each was made durable on its own
  uint64_t bytes = 0;    // written in batches, bodies and headers
  uint64_t records = 0;
  uint64_t segments = 0;  // in use now
  uint64_t recycled = 0;
  uint64_t copied = 0;    // records copied forward
  bool no_space = false;  // the last attempt to prepare a segment found the disk full
};

// The entry at that index as this replica holds it in memory, if just that is durable in its log;
// of an index whose content the state has made unnecessary, a kBase entry. Does not suspend.
using Memory = std::function<std::optional<raft::Entry>(PartitionId, Index)>;

struct ScrubReport {
  uint64_t bytes = 0;                // read
  std::vector<std::string> damaged;  // a sentence for each segment that is
  size_t repaired = 0;               // of these: nothing depends on them any more
};

class Journal {
 public:
  // Opens or creates the journal and recovers it. Suspends. Errors: kDamaged (text names segment,
  // offset, groups; nothing was changed on disk), kVersion, kIo, kNoSpace.
  // `on_fatal` is called once, from a completion, when the disk fails (J4).
  static Result<std::unique_ptr<Journal>> open(Suspend suspend, Host& host, Fibers& fibers,
                                               Options options, Callback<void(Error)> on_fatal);
  virtual ~Journal() = default;

  // What a journal that nobody has open holds. Changes nothing on disk. Suspends. Empty when there
  // is no such directory; errors as of open().
  static Result<std::map<PartitionId, RecoveredGroup>> read(Suspend suspend, Host& host,
                                                            const Options& options);

  // The groups found at open; moves them out.
  virtual std::map<PartitionId, RecoveredGroup> take_recovered() = 0;

  // Queues one replica's persist effect; `done` runs after the batch that holds it is synced (J1).
  // Never suspends. `persist.entries` replace everything at or above entries[0].index in this
  // group, but for those up to `persist.restored`, which replace one entry each. Errors, nothing
  // was queued: kOverloaded when pending_bytes_max would be passed; kNoSpace when the disk is full
  // (a later append may succeed); kTooLarge when one entry exceeds a segment; kIo after on_fatal.
  // `done` is not called after the Journal is destroyed. When only `commit` is new nothing is
  // written: it is noted with the group's next record, and `done` runs after those queued before.
  // An empty log may begin at any index; what lies below then counts as released.
  virtual Result<> append(PartitionId group, const raft::Persist& persist,
                          Callback<void()> done) = 0;

  // The group's records up to `index` are no longer needed: the engine has flushed past them.
  // Lazy: takes effect with later batches. Segments with nothing live are recycled; when the oldest
  // is pinned by little, its live records are copied forward (trap 31).
  virtual void release(PartitionId group, Index index) = 0;

  // Takes over groups as another journal's recovery returned them, faulty tails included. Once it
  // has returned well, recovery here returns the same of them, whatever happens. None of them is
  // known here yet. Suspends; does not return when the disk fails (on_fatal). kNoSpace, kTooLarge:
  // some of it may have been written; this journal is of no use then.
  virtual Result<> adopt(Suspend suspend, std::map<PartitionId, RecoveredGroup> groups) = 0;

  // False while the disk is too full for another segment; asking makes the journal try again soon.
  virtual bool has_room() = 0;

  virtual const Statistics& statistics() const = 0;

  // Where live entries are had from when they are to be appended again. Without it, or for what it
  // lacks, they are read from the disk, and a scrub does not free their segment. Called until it is
  // set anew.
  virtual void set_memory(Memory memory) { (void)memory; }

  // Reads back from the disk what is at rest there: the synced batches of the segments in use, and
  // those that are kept for use. A segment in which anything is damaged, needed or not, is left:
  // what is live in it, and in older ones, is appended again from memory, and its file removed
  // (core_scrub.cc). What cannot be had from memory now keeps it; a later call goes on.
  // `bytes_per_second`, above 0, is what is read and appended again. Suspends, for long; one call
  // at a time.
  virtual ScrubReport scrub(Suspend suspend, size_t bytes_per_second) {
    (void)suspend, (void)bytes_per_second;
    return {};
  }
};

}  // namespace kahuna::journal
