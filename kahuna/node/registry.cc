#include "kahuna/node/registry.h"

#include <algorithm>
#include <charconv>

#include "runtime/probe.h"

namespace kahuna::node {
namespace {

constexpr const char* kFoundingKey = "__kahuna:founding";

std::string boot_key(NodeId node) {
  return "__kahuna:boot/" + std::to_string(node.value());
}

std::string encode_boot(Boot boot) {
  return std::to_string(boot.number) + " " + std::to_string(boot.nonce);
}

std::optional<Boot> decode_boot(std::string_view text) {
  Boot boot;
  const char* end = text.data() + text.size();
  auto number = std::from_chars(text.data(), end, boot.number);
  if (number.ec != std::errc() || number.ptr == end || *number.ptr != ' ') return std::nullopt;
  auto nonce = std::from_chars(number.ptr + 1, end, boot.nonce);
  if (nonce.ec != std::errc() || nonce.ptr != end) return std::nullopt;
  return boot;
}

}  // namespace

void Registry::open(NodeId self, Boots boots, std::string founding) {
  founding_ = std::move(founding);
  client_ = host_.random("registry").next() | 1;
  heard(self, std::move(boots));
}

void Registry::heard(NodeId node, Boots boots) {
  Boots& known = heard_[node];
  if (!known.empty() && boots.back().number <= known.back().number) return;
  known = std::move(boots);
  update();
}

Result<> Registry::judge(NodeId node, const std::string& name, const Boots& boots) const {
  auto met = heard_.find(node);
  auto known = recorded(node);
  if (!known)
    return fail(ErrorCode::kUnavailable,
                "what is on record of node '" + name + "' cannot be read: " + known.error().text);
  const bool stale = (met != heard_.end() && !can_have_been(boots, met->second.back())) ||
                     (*known && !can_have_been(boots, **known)) || contradicts_log(node, boots);
  if (!stale || MUTANT(earlier_boot_accepted)) return {};
  SOMETIMES(earlier_boot_refused);
  return fail(
      ErrorCode::kRolledBack,
      "node '" + name +
          "' does not know of the boot in which the cluster has last met it: its data directory "
          "was rolled back or copied; start it on an empty directory, as a new node");
}

bool Registry::contradicts_log(NodeId node, const Boots& boots) const {
  if (MUTANT(unapplied_boots_unknown)) return false;
  const std::string key = boot_key(node);
  bool contradicted = false;
  hooks_.visit_unapplied_meta([&](const raft::Entry& entry) {
    if (entry.kind != raft::EntryKind::kCommand) return;
    auto command = partition::decode(entry.payload.view());
    if (!command || command->key != key) return;
    auto boot = decode_boot(command->value);
    contradicted |= boot && !can_have_been(boots, *boot);
  });
  if (contradicted) SOMETIMES(unapplied_boot_contradicts);
  return contradicted;
}

// A read that fails is no record's absence.
Result<std::optional<partition::Record>> Registry::read(const std::string& key) const {
  partition::StateMachine* meta = hooks_.meta();
  if (!meta) return std::nullopt;
  auto record = meta->get(key);
  if (record) return record;
  hooks_.meta_failed(record.error());
  if (MUTANT(failed_read_is_no_record)) return std::nullopt;
  return record;
}

Result<std::optional<Boot>> Registry::recorded(NodeId node) const {
  ASSIGN_OR_RETURN(std::optional<partition::Record> record, read(boot_key(node)));
  return record ? decode_boot(record->value) : std::nullopt;
}

// The first thing that meta does not say yet.
Result<std::optional<partition::Command>> Registry::missing() {
  ASSIGN_OR_RETURN(std::optional<partition::Record> founding, read(kFoundingKey));
  if (!founding) {
    partition::Command command;
    command.key = kFoundingKey;
    command.value = founding_;
    command.conditions.if_absent = true;
    return command;
  }
  for (const auto& [node, boots] : heard_) {
    ASSIGN_OR_RETURN(std::optional<partition::Command> command, missing_boot(node, boots));
    if (command) return command;
  }
  return std::nullopt;
}

// Who was met while this node's meta was behind may be known to be rolled back by now.
Result<std::optional<partition::Command>> Registry::missing_boot(NodeId node, const Boots& boots) {
  const Boot boot = boots.back();
  ASSIGN_OR_RETURN(std::optional<partition::Record> record, read(boot_key(node)));
  std::optional<Boot> known = record ? decode_boot(record->value) : std::nullopt;
  if (known && (known->number >= boot.number || !can_have_been(boots, *known))) return std::nullopt;
  partition::Command command;
  command.key = boot_key(node);
  command.value = encode_boot(boot);
  command.conditions.if_revision = record ? record->revision : Revision();
  return command;
}

void Registry::update() {
  if (proposing_ || client_ == 0 || !hooks_.leads_meta()) return;
  auto found = missing();
  if (!found) return try_again();
  if (!*found) return;
  partition::Command& command = **found;
  command.kind = partition::CommandKind::kSet;
  command.operation = {client_, ++sequence_, std::max(hooks_.watermark(), heard_stamp_)};
  proposing_ = true;
  if (hooks_.propose_to_meta(std::move(command))) return;
  proposing_ = false;
  try_again();
}

void Registry::try_again() {
  if (timer_) return;
  timer_ = host_.clock->call_at(host_.clock->now() + kRetry, [this] {
    timer_ = 0;
    update();
  });
}

void Registry::proposal_done(const Result<partition::Reply>& reply) {
  proposing_ = false;
  if (reply) {
    if (reply->outcome == partition::Outcome::kTooOld) SOMETIMES(registry_record_too_old);
    heard_stamp_ = std::max(heard_stamp_, reply->stamp);
  }
  update();
}

}  // namespace kahuna::node
