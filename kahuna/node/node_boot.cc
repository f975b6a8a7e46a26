// From a data directory to running replicas.
#include "kahuna/node/engine_damage.h"
#include "kahuna/node/engine_salvage.h"
#include "kahuna/node/journals.h"
#include "kahuna/node/node_impl.h"
#include "kahuna/partition/position.h"
#include "runtime/probe.h"

namespace kahuna::node {

// --- boot ---

Result<> NodeImpl::boot(Suspend s) {
  ASSIGN_OR_RETURN(identity_, Identity::load(s, host_, options_.name, loops(), longest_promise()));
  if (identity_->removed()) return fail(was_removed(options_.name));
  // An address that is in use is found out before logs and engine are opened, which leaves
  // something in the directory each time: whoever supervises this node may start it again and
  // again.
  RETURN_IF_ERROR(host_.network->listen(options_.listen, [](std::unique_ptr<Stream>) {}));
  ASSIGN_OR_RETURN(only_copy_, is_only_copy(s, *host_.disk));
  RETURN_IF_ERROR(open_engine(s));
  RETURN_IF_ERROR(open_journals(s));
  ASSIGN_OR_RETURN(listener_,
                   host_.network->listen(options_.listen, [this](std::unique_ptr<Stream> stream) {
                     accept(std::move(stream));
                   }));
  if (options_.joins) begin_joining();
  if (identity_->founding()) return start_groups(s);
  for (const Founder& f : options_.founders)
    if (f.name != options_.name) dialers_.push_back(dial(f.name, f.address));
  consider_founding();
  return {};
}

Result<> NodeImpl::open_journals(Suspend s) {
  if (identity_->journals_left()) {
    RETURN_IF_ERROR(remove_other_journals(s, host_, options_.journal, identity_->layout()));
    RETURN_IF_ERROR(identity_->lay_out(s, host_, identity_->layout(), false));
  }
  if (identity_->layout().loops != loops()) return lay_out_journals(s);
  RETURN_IF_ERROR(open_journal(s, identity_->layout(), had_journals()));
  recovered_ = journal_->take_recovered();
  if (!shards_) return {};
  return shards_->open(s, identity_->layout(), options_.journal.dir, had_journals());
}

// A node is founded, or let in, with its journals open.
bool NodeImpl::had_journals() const {
  return identity_->founding().has_value();
}

Result<> NodeImpl::open_journal(Suspend s, const Layout& layout, bool must_exist) {
  journal::Options options = options_.journal;
  options.dir = layout.journal_dir(options.dir, 0);
  options.must_exist = must_exist;
  ASSIGN_OR_RETURN(journal_,
                   journal::Journal::open(s, host_, fibers_, std::move(options),
                                          [this, alive = std::weak_ptr<char>(alive_)](Error error) {
                                            if (!alive.expired()) fatal_later(std::move(error));
                                          }));
  return {};
}

// The number of loops has changed: journals.h.
Result<> NodeImpl::lay_out_journals(Suspend s) {
  SOMETIMES(journals_laid_out_anew);
  const Layout before = identity_->layout(), after{loops(), identity_->boot().number};
  if (auto copied = copy_journals(s, before, after); !copied) {
    Error error = std::move(copied.error());
    error.text += "; this while the logs were copied for --loops " + std::to_string(after.loops) +
                  "; they are as they were, for --loops " + std::to_string(before.loops);
    return fail(std::move(error));
  }
  RETURN_IF_ERROR(identity_->lay_out(s, host_, after, true));
  RETURN_IF_ERROR(remove_other_journals(s, host_, options_.journal, after));
  return identity_->lay_out(s, host_, after, false);
}

Result<> NodeImpl::copy_journals(Suspend s, const Layout& before, const Layout& after) {
  RETURN_IF_ERROR(identity_->lay_out(s, host_, before, true));
  ASSIGN_OR_RETURN(RecoveredGroups groups,
                   read_journals(s, host_, options_.journal, before, had_journals()));
  if (MUTANT(layout_stored_before_journals))
    RETURN_IF_ERROR(identity_->lay_out(s, host_, after, true));
  if (MUTANT(old_journals_removed_before_layout))
    RETURN_IF_ERROR(remove_other_journals(s, host_, options_.journal, after));
  RETURN_IF_ERROR(open_journal(s, after, false));
  recovered_ = take_groups_of(0, after, groups);
  if (shards_) {
    RETURN_IF_ERROR(shards_->open(s, after, options_.journal.dir, false));
    RETURN_IF_ERROR(shards_->adopt(s, after, groups));
  }
  return journal_->adopt(s, recovered_);
}

Result<> NodeImpl::start_groups(Suspend s) {
  const Founding& founding = *identity_->founding();
  if (is_only_member() && !only_copy_) {
    RETURN_IF_ERROR(note_only_copy(s, *host_.disk, true));
    only_copy_ = true;
  }
  if (shards_) {
    engine_queue_ = std::make_unique<EngineQueue>(*engine_, [this] {
      shards_->flushed(MUTANT(unflushed_marks_told) ? engine_->applied() : engine_->flushed());
      groups_->flushed();
    });
  }
  engine::Engine& engine = shards_ ? *engine_queue_ : *engine_;
  auto groups = std::make_unique<Groups>(host_, *this, *journal_, engine, identity_->node(),
                                         options_, observer_);
  Shard::Start start{identity_->node(),
                     founding,
                     is_alone(),
                     identity_->layout(),
                     identity_->longest_promise(),
                     engine_.get(),
                     engine_->applied()};
  auto hosted = add_groups(*groups, start, 0, recovered_);
  if (hosted) groups_ = std::move(groups);
  if (hosted && shards_) hosted = shards_->start(s, start);
  if (!hosted) {
    // The engine is all that is read there, on any loop.
    if (hosted.error().code == ErrorCode::kDamaged && !is_alone() &&
        !MUTANT(damage_on_another_loop_forgotten)) {
      RETURN_IF_ERROR(note_damaged_engine(s, *host_.disk));
      renews_engine_ = true;
    }
    return hosted;
  }
  Watermark stamp;
  for (PartitionId id : groups_->ids())
    if (partition::StateMachine* state = groups_->state(id))
      stamp = std::max(stamp, state->last_stamp());
  service_.open(partition::founding_descriptors(founding.partitions), identity_->node(), stamp);
  registry_.open(identity_->node(), identity_->boots(), encode_founding(founding));
  auto recorded = registry_.recorded(identity_->node());
  if (recorded && *recorded) RETURN_IF_ERROR(identity_->settle_boots(s, host_, **recorded));
  membership_.open(identity_->roster());
  groups_->start();
  signs_.begin(options_.sign_of_life_interval);
  started_ = true;
  scrubber_.open(fibers_, options_.scrub_interval);
  return {};
}

// --- a damaged engine ---

// With other replicas to ask, an engine that is damaged is set up anew with what of it is whole.
Result<> NodeImpl::open_engine(Suspend s) {
  const bool alone = is_alone();
  ASSIGN_OR_RETURN(bool known, is_engine_damaged(s, *host_.disk));
  std::string why = "as it found when it last ran";
  if (!known || alone) {
    if (!known) RETURN_IF_ERROR(remove_salvaged(s, *host_.disk, options_.engine_dir));
    auto opened = options_.open_engine(s, host_, fibers_, options_.engine_dir);
    if (opened) engine_ = std::move(*opened);
    if (opened || alone || opened.error().code != ErrorCode::kDamaged) {
      if (opened) return {};
      return fail(std::move(opened.error()));
    }
    why = opened.error().text;
    RETURN_IF_ERROR(note_damaged_engine(s, *host_.disk));
  }
  SOMETIMES(engine_set_up_anew);
  std::vector<partition::Descriptor> partitions;
  if (const auto& founding = identity_->founding())
    partitions = partition::founding_descriptors(founding->partitions);
  ASSIGN_OR_RETURN(Salvage salvage, salvage_engine(s, host_, fibers_, options_, partitions));
  engine_ = std::move(salvage.engine);
  on_damage(
      "the store of node '" + options_.name + "' is damaged (" + why + "): " +
      (salvage.kept == 0
           ? "all of it is fetched from the log and the other nodes"
           : "the states of " + std::to_string(salvage.kept) + " of " +
                 std::to_string(partitions.size()) +
                 " partitions are whole; the others are fetched from the log and the other nodes"));
  return {};
}

void NodeImpl::consider_only_copy() {
  if (!started_ || noting_only_) return;
  if (is_only_member()) {
    if (!only_copy_) note_only(true);
    return;
  }
  if (!only_copy_) return;
  auto decide = [this, alive = std::weak_ptr<char>(alive_)](const std::vector<LoopStatus>& others) {
    if (alive.expired()) return;
    noting_only_ = false;
    std::vector<ReplicaStatus> all = groups_->statuses();
    for (const LoopStatus& each : others)
      all.insert(all.end(), each.replicas.begin(), each.replicas.end());
    const bool shared =
        std::all_of(all.begin(), all.end(), [](const ReplicaStatus& each) { return each.shared; });
    const size_t hosted = partition::founding_descriptors(identity_->founding()->partitions).size();
    if (shared && all.size() == hosted && !is_only_member()) note_only(false);
  };
  noting_only_ = true;
  if (!shards_) return decide({});
  shards_->collect_status(decide);
}

void NodeImpl::note_only(bool only) {
  noting_only_ = true;
  fibers_.spawn("only copy", [this, only](Suspend s) {
    auto noted = note_only_copy(s, *host_.disk, only);
    noting_only_ = false;
    if (noted) {
      only_copy_ = only;
      if (!only) SOMETIMES(all_partitions_have_other_voters);
    } else if (noted.error().code != ErrorCode::kNoSpace) {  // else it is tried again
      fatal_later(noted.error());
    }
  });
}

void NodeImpl::on_engine_rotten(Error reason) {
  if (!is_alone()) return on_engine_damaged(std::move(reason));
  on_damage("the store of node '" + options_.name +
            "' is damaged, and no other node has what it holds: restore a backup; "
            "the node goes on until it meets the damage");
}

void NodeImpl::on_engine_damaged(Error reason) {
  if (is_alone()) return fatal_later(std::move(reason));
  if (std::exchange(engine_damaged_, true)) return;
  fibers_.spawn("engine damage", [this, reason = std::move(reason)](Suspend s) mutable {
    if (auto noted = note_damaged_engine(s, *host_.disk); !noted) return fatal_later(noted.error());
    renews_engine_ = true;
    reason.text +=
        "; the store is set up anew from the other nodes when this node is started again";
    fatal_later(std::move(reason));
  });
}

}  // namespace kahuna::node
