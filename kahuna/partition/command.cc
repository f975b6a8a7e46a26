#include "kahuna/partition/command.h"

#include "kahuna/partition/position.h"
#include "runtime/check.h"
#include "schemas/command_generated.h"

namespace kahuna::partition {

namespace {

std::string_view text_of(const flatbuffers::Vector<uint8_t>* bytes) {
  if (!bytes) return {};
  return {reinterpret_cast<const char*>(bytes->data()), bytes->size()};
}

// Reserved keys included: the product writes them itself.
Result<> validate_any_key(std::string_view key) {
  if (key.empty()) return fail(ErrorCode::kInvalid, "the key is empty");
  if (key.size() > kKeyBytesMax)
    return fail(ErrorCode::kTooLarge,
                "key exceeds the limit of " + std::to_string(kKeyBytesMax) + " bytes");
  return {};
}

Result<> validate_view(const CommandView& command) {
  RETURN_IF_ERROR(validate_any_key(command.key));
  auto too_large = [](std::string_view what) {
    return fail(ErrorCode::kTooLarge, std::string(what) + " exceeds the limit of " +
                                          std::to_string(kValueBytesMax) + " bytes");
  };
  if (command.value.size() > kValueBytesMax) return too_large("value");
  if (command.if_value && command.if_value->size() > kValueBytesMax) return too_large("if_value");
  if (command.kind != CommandKind::kSet && command.kind != CommandKind::kDelete)
    return fail(ErrorCode::kInvalid, "unknown kind of command; send set or delete");
  if (command.kind == CommandKind::kDelete && !command.value.empty())
    return fail(ErrorCode::kInvalid, "a delete carries no value");
  if (command.operation.client == 0 || command.operation.sequence == 0)
    return fail(ErrorCode::kInvalid, "the operation id needs a client and a sequence above 0");
  if (command.operation.birth.value() >= kWatermarkMax)
    return fail(ErrorCode::kInvalid, "the operation's birth is above any watermark");
  if (command.watermark.value() >= 2 * kWatermarkMax)
    return fail(ErrorCode::kInvalid, "the watermark is above any watermark");
  if (command.log_time.value() >= kLogTimeMax)
    return fail(ErrorCode::kInvalid, "the log time is above any log time");
  if (command.if_revision && command.if_revision->value() < -1)
    return fail(ErrorCode::kInvalid, "revisions start at -1 (never written)");
  return {};
}

}  // namespace

Result<> validate_key(std::string_view key) {
  RETURN_IF_ERROR(validate_any_key(key));
  if (key.starts_with(kReservedPrefix))
    return fail(ErrorCode::kInvalid, "keys that begin with __kahuna: are reserved");
  return {};
}

Result<> validate(const Command& command) {
  RETURN_IF_ERROR(validate_key(command.key));
  CommandView view{.kind = command.kind,
                   .operation = command.operation,
                   .watermark = command.watermark,
                   .key = command.key,
                   .value = command.value,
                   .if_revision = command.conditions.if_revision};
  if (command.conditions.if_value) view.if_value = *command.conditions.if_value;
  return validate_view(view);
}

Payload encode(const Command& command, LogTime stamp) {
  const Conditions& conditions = command.conditions;
  size_t guess = 176 + command.key.size() + command.value.size() +
                 (conditions.if_value ? conditions.if_value->size() : 0);
  flatbuffers::FlatBufferBuilder builder(guess);
  auto bytes = [&](std::string_view text) {
    return builder.CreateVector(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  };
  auto key = bytes(command.key);
  flatbuffers::Offset<flatbuffers::Vector<uint8_t>> value, if_value;
  if (!command.value.empty()) value = bytes(command.value);
  if (conditions.if_value) if_value = bytes(*conditions.if_value);
  command::CommandBuilder fields(builder);
  fields.add_kind(uint8_t(command.kind));
  fields.add_client(command.operation.client);
  fields.add_sequence(command.operation.sequence);
  fields.add_birth(command.operation.birth.value());
  fields.add_watermark(command.watermark.value());
  fields.add_key(key);
  if (!value.IsNull()) fields.add_value(value);
  fields.add_if_exists(conditions.if_exists);
  fields.add_if_absent(conditions.if_absent);
  if (!if_value.IsNull()) fields.add_if_value(if_value);
  fields.add_has_if_revision(conditions.if_revision.has_value());
  if (conditions.if_revision) fields.add_if_revision(conditions.if_revision->value());
  fields.add_log_time(stamp.value());
  builder.Finish(fields.Finish());
  return Payload(
      ByteView(reinterpret_cast<const std::byte*>(builder.GetBufferPointer()), builder.GetSize()));
}

Result<CommandView> read_command(ByteView payload) {
  if (reinterpret_cast<uintptr_t>(payload.data()) % 8 != 0)
    return fail(ErrorCode::kInvalid, "the command is not aligned");
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(payload.data()), payload.size(),
                                 /*max_depth=*/4, /*max_tables=*/4);
  if (payload.empty() || !verifier.VerifyBuffer<command::Command>(nullptr))
    return fail(ErrorCode::kInvalid, "not a command");
  const auto* fields = flatbuffers::GetRoot<command::Command>(payload.data());
  if (fields->tenant() != 0) return fail(ErrorCode::kInvalid, "unknown tenant");
  CommandView view{.kind = CommandKind(fields->kind()),
                   .operation = {.client = fields->client(),
                                 .sequence = fields->sequence(),
                                 .birth = Watermark(fields->birth())},
                   .watermark = Watermark(fields->watermark()),
                   .log_time = LogTime(fields->log_time()),
                   .key = text_of(fields->key()),
                   .value = text_of(fields->value()),
                   .if_exists = fields->if_exists(),
                   .if_absent = fields->if_absent()};
  if (fields->if_value()) view.if_value = text_of(fields->if_value());
  if (fields->has_if_revision()) view.if_revision = Revision(fields->if_revision());
  RETURN_IF_ERROR(validate_view(view));
  return view;
}

Result<Command> decode(ByteView payload) {
  ASSIGN_OR_RETURN(CommandView view, read_command(payload));
  Command command{.kind = view.kind,
                  .operation = view.operation,
                  .watermark = view.watermark,
                  .key = std::string(view.key),
                  .value = std::string(view.value),
                  .conditions = {.if_exists = view.if_exists,
                                 .if_absent = view.if_absent,
                                 .if_revision = view.if_revision}};
  if (view.if_value) command.conditions.if_value = std::string(*view.if_value);
  return command;
}

}  // namespace kahuna::partition
