// SPDX-License-Identifier: Apache-2.0
// Field numbers: k8s.io/api resource/v1/generated.proto, k8s.io/apimachinery pkg/runtime/generated.proto and
// pkg/apis/meta/v1/generated.proto. Wire format: protobuf.dev/programming-guides/encoding.
#include "fairlead/kube/resources/claim_proto.h"

#include <cstdint>
#include <ctime>
#include <optional>

namespace fairlead::kube {
namespace {

constexpr std::string_view kMagic{"k8s\0", 4};  // runtime/serializer/protobuf

namespace unknown_fields {
constexpr unsigned kTypeMeta = 1, kRaw = 2;
}
namespace type_meta_fields {
constexpr unsigned kApiVersion = 1, kKind = 2;
}
namespace refusal_fields {  // metav1.Status
constexpr unsigned kMessage = 3, kReason = 4;
}
namespace claim_fields {
constexpr unsigned kMetadata = 1, kStatus = 3;
}
namespace meta_fields {
constexpr unsigned kUid = 5;
}
namespace status_fields {
constexpr unsigned kDevices = 4;
}
namespace device_fields {
constexpr unsigned kDriver = 1, kPool = 2, kDevice = 3, kConditions = 4, kData = 5, kNetwork = 6,
                   kShareId = 7;
}
namespace condition_fields {
constexpr unsigned kType = 1, kStatus = 2, kTransition = 4, kReason = 5, kMessage = 6;
}
namespace network_fields {
constexpr unsigned kInterface = 1, kIps = 2, kHardware = 3;
}

enum class Wire : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Field {
  unsigned number = 0;
  std::string_view whole;    // tag included
  std::string_view payload;  // of kBytes
};

std::optional<std::uint64_t> take_varint(std::string_view& text) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !text.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(text.front());
    text.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
    if ((byte & 0x80U) == 0) {
      return value;
    }
  }
  return std::nullopt;
}

std::optional<Field> take_field(std::string_view& text) {
  const std::string_view start = text;
  const auto tag = take_varint(text);
  if (!tag) {
    return std::nullopt;
  }
  Field field{.number = static_cast<unsigned>(*tag >> 3U), .whole = {}, .payload = {}};
  std::uint64_t size = 0;
  switch (static_cast<Wire>(*tag & 7U)) {
    case Wire::kVarint:
      if (!take_varint(text)) {
        return std::nullopt;
      }
      break;
    case Wire::kFixed64:
      size = 8;
      break;
    case Wire::kFixed32:
      size = 4;
      break;
    case Wire::kBytes: {
      const auto length = take_varint(text);
      if (!length) {
        return std::nullopt;
      }
      size = *length;
      break;
    }
    default:
      return std::nullopt;
  }
  if (size > text.size()) {
    return std::nullopt;
  }
  field.payload = text.substr(0, size);
  text.remove_prefix(size);
  field.whole = start.substr(0, start.size() - text.size());
  return field;
}

Result<std::vector<Field>> fields_of(std::string_view text) {
  std::vector<Field> fields;
  while (!text.empty()) {
    const auto field = take_field(text);
    if (!field) {
      return Error(Code::kCorrupt, "the object is no protobuf message");
    }
    fields.push_back(*field);
  }
  return fields;
}

/// The last of that number, as protobuf wants it; empty when there is none.
std::string_view payload_of(const std::vector<Field>& fields, unsigned number) {
  std::string_view found;
  for (const Field& field : fields) {
    found = field.number == number ? field.payload : found;
  }
  return found;
}

Result<std::string> text_at(std::string_view message, unsigned number) {
  FL_ASSIGN(const auto fields, fields_of(message));
  return std::string(payload_of(fields, number));
}

void put_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80U) {
    out += static_cast<char>((value & 0x7FU) | 0x80U);
    value >>= 7U;
  }
  out += static_cast<char>(value);
}

void put_bytes(std::string& out, unsigned number, std::string_view bytes) {
  put_varint(out, (std::uint64_t{number} << 3U) | static_cast<unsigned>(Wire::kBytes));
  put_varint(out, bytes.size());
  out += bytes;
}

void put_text(std::string& out, unsigned number, std::string_view text) {
  if (!text.empty()) {
    put_bytes(out, number, text);
  }
}

/// metav1.Time{seconds = 1}; empty for a text that is no time.
std::string time_message(const std::string& rfc3339) {
  std::tm parts = {};
  std::string out;
  if (::strptime(rfc3339.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts) != nullptr) {
    put_varint(out, (1U << 3U) | static_cast<unsigned>(Wire::kVarint));
    put_varint(out, static_cast<std::uint64_t>(::timegm(&parts)));
  }
  return out;
}

std::string condition_message(const Condition& condition) {
  std::string out;
  put_text(out, condition_fields::kType, condition.type);
  put_text(out, condition_fields::kStatus, condition.status);
  put_bytes(out, condition_fields::kTransition, time_message(condition.last_transition_time));
  put_text(out, condition_fields::kReason, condition.reason);
  put_text(out, condition_fields::kMessage, condition.message);
  return out;
}

std::string device_message(const DeviceStatus& device) {
  std::string out;
  put_text(out, device_fields::kDriver, device.driver);
  put_text(out, device_fields::kPool, device.pool);
  put_text(out, device_fields::kDevice, device.device);
  for (const Condition& condition : device.conditions) {
    put_bytes(out, device_fields::kConditions, condition_message(condition));
  }
  if (!device.data.empty()) {
    std::string raw;
    put_bytes(raw, 1, device.data);  // runtime.RawExtension{raw}
    put_bytes(out, device_fields::kData, raw);
  }
  std::string network;
  put_text(network, network_fields::kInterface, device.interface_name);
  for (const std::string& ip : device.ips) {
    put_bytes(network, network_fields::kIps, ip);
  }
  put_text(network, network_fields::kHardware, device.hardware_address);
  put_text(out, device_fields::kNetwork, network);
  put_text(out, device_fields::kShareId, device.share_id);
  return out;
}

Result<std::string> replace_in_status(std::string_view status, std::string_view driver,
                                      const std::vector<DeviceStatus>& devices) {
  FL_ASSIGN(const auto fields, fields_of(status), "status");
  std::string out;
  for (const Field& field : fields) {
    if (field.number == status_fields::kDevices) {
      FL_ASSIGN(const std::string theirs, text_at(field.payload, device_fields::kDriver), "status.devices");
      if (theirs == driver) {
        continue;
      }
    }
    out += field.whole;
  }
  for (const DeviceStatus& device : devices) {
    put_bytes(out, status_fields::kDevices, device_message(device));
  }
  return out;
}

Result<std::string> replace_in_claim(std::string_view claim, std::string_view uid, std::string_view driver,
                                     const std::vector<DeviceStatus>& devices) {
  FL_ASSIGN(const auto fields, fields_of(claim));
  FL_ASSIGN(const std::string found, text_at(payload_of(fields, claim_fields::kMetadata), meta_fields::kUid),
            "metadata");
  if (found != uid) {
    return Error(Code::kNotFound, "the claim was deleted and made again (uid " + found + ")");
  }
  std::string out;
  for (const Field& field : fields) {
    if (field.number != claim_fields::kStatus) {
      out += field.whole;
    }
  }
  FL_ASSIGN(const std::string status,
            replace_in_status(payload_of(fields, claim_fields::kStatus), driver, devices));
  put_bytes(out, claim_fields::kStatus, status);
  return out;
}

}  // namespace

Result<std::string> replace_claim_devices(std::string_view object, std::string_view uid,
                                          std::string_view driver, const std::vector<DeviceStatus>& devices) {
  if (!object.starts_with(kMagic)) {
    return Error(Code::kCorrupt, "the answer is not in Kubernetes' protobuf form");
  }
  FL_ASSIGN(const auto fields, fields_of(object.substr(kMagic.size())));
  const auto type = payload_of(fields, unknown_fields::kTypeMeta);
  FL_ASSIGN(const std::string version, text_at(type, type_meta_fields::kApiVersion));
  FL_ASSIGN(const std::string kind, text_at(type, type_meta_fields::kKind));
  if (version != "resource.k8s.io/v1" || kind != "ResourceClaim") {
    return Error(Code::kCorrupt, "the answer is a " + kind + " of " + version + ", not a ResourceClaim");
  }
  std::string out(kMagic);
  for (const Field& field : fields) {
    if (field.number != unknown_fields::kRaw) {
      out += field.whole;
    }
  }
  FL_ASSIGN(const std::string claim,
            replace_in_claim(payload_of(fields, unknown_fields::kRaw), uid, driver, devices));
  put_bytes(out, unknown_fields::kRaw, claim);
  return out;
}

std::optional<ProtoStatus> read_proto_status(std::string_view body) {
  if (!body.starts_with(kMagic)) {
    return std::nullopt;
  }
  const auto status = [&]() -> Result<ProtoStatus> {
    FL_ASSIGN(const auto unknown, fields_of(body.substr(kMagic.size())));
    FL_ASSIGN(const std::string kind,
              text_at(payload_of(unknown, unknown_fields::kTypeMeta), type_meta_fields::kKind));
    if (kind != "Status") {
      return Error(Code::kCorrupt, "the object is a " + kind);
    }
    FL_ASSIGN(const auto fields, fields_of(payload_of(unknown, unknown_fields::kRaw)));
    return ProtoStatus{.reason = std::string(payload_of(fields, refusal_fields::kReason)),
                       .message = std::string(payload_of(fields, refusal_fields::kMessage))};
  }();
  return status ? std::optional(*status) : std::nullopt;
}

}  // namespace fairlead::kube
