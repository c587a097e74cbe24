// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/api_codec.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "fairlead/formats/json_text.h"

namespace fairlead::kube {
namespace {

using Json = nlohmann::json;

/// Reads one JSON object field by field. null counts as absent, as in Go. The first field of a wrong type is
/// noted in `error`, shared by all readers of one document, and reads as empty.
class Reader {
 public:
  Reader(const Json* node, std::string path, std::string* error)
      : node_(node), path_(std::move(path)), error_(error) {
    if (node_ != nullptr && !node_->is_object()) {
      fail("", "an object");
      node_ = nullptr;
    }
  }

  [[nodiscard]] bool present() const { return node_ != nullptr; }

  [[nodiscard]] std::string string(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr) {
      return {};
    }
    if (!value->is_string()) {
      fail(key, "a string");
      return {};
    }
    return value->get<std::string>();
  }

  /// The JSON text of a value of any type.
  [[nodiscard]] std::string text(const char* key) const {
    const Json* value = find(key);
    return value == nullptr ? std::string() : value->dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  /// A quantity is a string; the server takes bare numbers too.
  [[nodiscard]] std::string quantity(const char* key) const {
    const Json* value = find(key);
    return value != nullptr && value->is_number() ? value->dump() : string(key);
  }
  [[nodiscard]] std::optional<std::string> optional_quantity(const char* key) const {
    return find(key) == nullptr ? std::nullopt : std::optional(quantity(key));
  }

  [[nodiscard]] std::int64_t integer(const char* key, std::int64_t absent = 0) const {
    const Json* value = find(key);
    if (value == nullptr) {
      return absent;
    }
    const bool fits =
        value->is_number_integer() &&
        (!value->is_number_unsigned() ||
         value->get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
    if (!fits) {
      fail(key, "a 64-bit integer");
      return absent;
    }
    return value->get<std::int64_t>();
  }

  [[nodiscard]] bool boolean(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr) {
      return false;
    }
    if (!value->is_boolean()) {
      fail(key, "true or false");
      return false;
    }
    return value->get<bool>();
  }

  [[nodiscard]] bool has(const char* key) const { return find(key) != nullptr; }

  /// A reader that is not present() when the field is absent.
  [[nodiscard]] Reader object(const char* key) const { return {find(key), path_of(key), error_}; }

  [[nodiscard]] std::vector<Reader> objects(const char* key) const {
    std::vector<Reader> found;
    const Json* value = array(key);
    for (std::size_t i = 0; value != nullptr && i < value->size(); ++i) {
      found.emplace_back(&(*value)[i], path_of(key) + "[" + std::to_string(i) + "]", error_);
    }
    return found;
  }

  [[nodiscard]] std::vector<std::string> strings(const char* key) const {
    std::vector<std::string> found;
    const Json* value = array(key);
    for (std::size_t i = 0; value != nullptr && i < value->size(); ++i) {
      if (!(*value)[i].is_string()) {
        fail(key, "an array of strings");
        return {};
      }
      found.push_back((*value)[i].get<std::string>());
    }
    return found;
  }

  /// The members of the object `key`, each name with its own reader.
  [[nodiscard]] std::vector<std::pair<std::string, Reader>> members(const char* key) const {
    std::vector<std::pair<std::string, Reader>> found;
    const Reader inner = object(key);
    if (inner.present()) {
      for (const auto& [name, value] : inner.node_->items()) {
        found.emplace_back(name, Reader(&value, inner.path_of(name), error_));
      }
    }
    return found;
  }

  [[nodiscard]] std::map<std::string, std::string> string_map(const char* key) const {
    return map_of(key, [](const Reader& inner, const char* name) { return inner.string(name); });
  }
  [[nodiscard]] std::map<std::string, std::string> quantity_map(const char* key) const {
    return map_of(key, [](const Reader& inner, const char* name) { return inner.quantity(name); });
  }

 private:
  [[nodiscard]] std::string path_of(const std::string& key) const {
    if (path_.empty() || key.empty()) {
      return path_ + key;
    }
    return path_ + "." + key;
  }
  void fail(const char* key, const char* expected) const {
    if (error_->empty()) {
      const std::string path = path_of(key);
      *error_ = (path.empty() ? "the document" : path) + " is not " + expected;
    }
  }
  [[nodiscard]] const Json* find(const char* key) const {
    if (node_ == nullptr) {
      return nullptr;
    }
    const auto it = node_->find(key);
    return it == node_->end() || it->is_null() ? nullptr : &*it;
  }
  [[nodiscard]] const Json* array(const char* key) const {
    const Json* value = find(key);
    if (value != nullptr && !value->is_array()) {
      fail(key, "an array");
      return nullptr;
    }
    return value;
  }
  template <class Read>
  [[nodiscard]] std::map<std::string, std::string> map_of(const char* key, Read read) const {
    std::map<std::string, std::string> found;
    const Reader inner = object(key);
    if (inner.present()) {
      for (const auto& [name, value] : inner.node_->items()) {
        found.emplace(name, read(inner, name.c_str()));
      }
    }
    return found;
  }

  const Json* node_;
  std::string path_;
  std::string* error_;
};

Result<Json> parse_text(std::string_view text) {
  Json document = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) {
    return Error(Code::kCorrupt, "this is not JSON (" + std::to_string(text.size()) + " bytes)");
  }
  return document;
}

ObjectMeta read_meta(const Reader& in) {
  ObjectMeta meta{.name = in.string("name"),
                  .generate_name = in.string("generateName"),
                  .namespace_ = in.string("namespace"),
                  .uid = in.string("uid"),
                  .resource_version = in.string("resourceVersion"),
                  .annotations = in.string_map("annotations"),
                  .labels = in.string_map("labels"),
                  .owner_references = {}};
  for (const Reader& owner : in.objects("ownerReferences")) {
    meta.owner_references.push_back({.api_version = owner.string("apiVersion"),
                                     .kind = owner.string("kind"),
                                     .name = owner.string("name"),
                                     .uid = owner.string("uid"),
                                     .controller = owner.boolean("controller")});
  }
  return meta;
}

std::optional<AttributeValue> read_attribute(const Reader& in) {
  if (in.has("int")) {
    return in.integer("int");
  }
  if (in.has("bool")) {
    return in.boolean("bool");
  }
  if (in.has("string")) {
    return in.string("string");
  }
  if (in.has("version")) {
    return Version{in.string("version")};
  }
  return std::nullopt;  // a list type (KEP-5491) or one still to come
}

RequestPolicy read_policy(const Reader& in) {
  RequestPolicy policy{.default_value = in.quantity("default"),
                       .valid_values = in.strings("validValues"),
                       .range_min = {},
                       .range_max = {},
                       .range_step = {}};
  if (const Reader range = in.object("validRange"); range.present()) {
    policy.range_min = range.optional_quantity("min");
    policy.range_max = range.optional_quantity("max");
    policy.range_step = range.optional_quantity("step");
  }
  return policy;
}

Device read_device(const Reader& in) {
  Device device;
  device.name = in.string("name");
  device.allow_multiple_allocations = in.boolean("allowMultipleAllocations");
  for (const auto& [name, value] : in.members("attributes")) {
    if (auto attribute = read_attribute(value)) {
      device.attributes.emplace(name, *std::move(attribute));
    }
  }
  for (const auto& [name, value] : in.members("capacity")) {
    Capacity capacity{.value = value.quantity("value"), .request_policy = {}};
    if (const Reader policy = value.object("requestPolicy"); policy.present()) {
      capacity.request_policy = read_policy(policy);
    }
    device.capacity.emplace(name, std::move(capacity));
  }
  for (const Reader& taint : in.objects("taints")) {
    device.taints.push_back({.key = taint.string("key"),
                             .value = taint.string("value"),
                             .effect = taint.string("effect"),
                             .time_added = taint.string("timeAdded")});
  }
  return device;
}

ResourceSlice read_slice(const Reader& in) {
  const Reader spec = in.object("spec");
  const Reader pool = spec.object("pool");
  ResourceSlice slice;
  slice.meta = read_meta(in.object("metadata"));
  slice.driver = spec.string("driver");
  slice.pool_name = pool.string("name");
  slice.pool_generation = pool.integer("generation");
  slice.pool_slice_count = pool.integer("resourceSliceCount");
  slice.node_name = spec.string("nodeName");
  for (const Reader& device : spec.objects("devices")) {
    slice.devices.push_back(read_device(device));
  }
  return slice;
}

/// The node that the allocator writes for node-local devices: one term, one field requirement, one value.
std::string node_of(const Reader& selector) {
  const auto terms = selector.objects("nodeSelectorTerms");
  if (terms.size() != 1 || !terms[0].objects("matchExpressions").empty()) {
    return {};
  }
  const auto fields = terms[0].objects("matchFields");
  if (fields.size() != 1 || fields[0].string("key") != "metadata.name" ||
      fields[0].string("operator") != "In") {
    return {};
  }
  auto values = fields[0].strings("values");
  return values.size() == 1 ? std::move(values[0]) : std::string{};
}

/// `raw_list` is the list's JSON text, from which the parameters are cut out unchanged.
std::vector<AllocationConfig> read_config(const Reader& devices, std::string_view raw_list) {
  const auto raw = json_text::elements(raw_list);
  std::vector<AllocationConfig> config;
  const auto entries = devices.objects("config");
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const Reader opaque = entries[i].object("opaque");
    AllocationConfig entry{.from_class = entries[i].string("source") == "FromClass",
                           .requests = entries[i].strings("requests"),
                           .driver = opaque.string("driver"),
                           .parameters = {}};
    if (i < raw.size()) {
      entry.parameters = json_text::member_path(raw[i], {"opaque", "parameters"}).value_or("");
    }
    config.push_back(std::move(entry));
  }
  return config;
}

Allocation read_allocation(const Reader& in, std::string_view text) {
  const Reader devices = in.object("devices");
  Allocation allocation;
  for (const Reader& result : devices.objects("results")) {
    allocation.results.push_back({.request = result.string("request"),
                                  .driver = result.string("driver"),
                                  .pool = result.string("pool"),
                                  .device = result.string("device"),
                                  .share_id = result.string("shareID"),
                                  .admin_access = result.boolean("adminAccess"),
                                  .consumed_capacity = result.quantity_map("consumedCapacity")});
  }
  allocation.config = read_config(
      devices, json_text::member_path(text, {"status", "allocation", "devices", "config"}).value_or(""));
  allocation.node_name = node_of(in.object("nodeSelector"));
  return allocation;
}

std::vector<std::string> read_request_names(const Reader& spec) {
  std::vector<std::string> names;
  for (const Reader& request : spec.object("devices").objects("requests")) {
    const std::string name = request.string("name");
    names.push_back(name);
    for (const Reader& sub : request.objects("firstAvailable")) {
      names.push_back(name + "/" + sub.string("name"));
    }
  }
  return names;
}

std::map<std::string, std::string> read_request_classes(const Reader& spec) {
  std::map<std::string, std::string> classes;
  const auto add = [&](std::string name, std::string device_class) {
    if (!device_class.empty()) {
      classes.emplace(std::move(name), std::move(device_class));
    }
  };
  for (const Reader& request : spec.object("devices").objects("requests")) {
    const std::string name = request.string("name");
    add(name, request.object("exactly").string("deviceClassName"));
    for (const Reader& sub : request.objects("firstAvailable")) {
      add(name + "/" + sub.string("name"), sub.string("deviceClassName"));
    }
  }
  return classes;
}

ResourceClaim read_claim(const Reader& in, std::string_view text) {
  ResourceClaim claim;
  claim.meta = read_meta(in.object("metadata"));
  const Reader spec = in.object("spec");
  claim.request_names = read_request_names(spec);
  claim.request_classes = read_request_classes(spec);
  claim.config = read_config(spec.object("devices"),
                             json_text::member_path(text, {"spec", "devices", "config"}).value_or(""));
  const Reader status = in.object("status");
  if (const Reader allocation = status.object("allocation"); allocation.present()) {
    claim.allocation = read_allocation(allocation, text);
  }
  for (const Reader& consumer : status.objects("reservedFor")) {
    claim.reserved_for.push_back({.api_group = consumer.string("apiGroup"),
                                  .resource = consumer.string("resource"),
                                  .name = consumer.string("name"),
                                  .uid = consumer.string("uid")});
  }
  for (const Reader& device : status.objects("devices")) {
    claim.reporting_drivers.push_back(device.string("driver"));
    if (std::string data = device.text("data"); !data.empty()) {
      claim.reported.push_back({.driver = device.string("driver"),
                                .pool = device.string("pool"),
                                .device = device.string("device"),
                                .share_id = device.string("shareID"),
                                .data = std::move(data)});
    }
  }
  return claim;
}

/// Parses `text` and gives a reader of it to `read`; what the readers noted becomes the error.
template <class Read>
auto decode(std::string_view text, const char* what, Read read)
    -> Result<decltype(read(std::declval<const Reader&>()))> {
  FL_ASSIGN(const Json document, parse_text(text), what);
  std::string error;
  auto value = read(Reader(&document, "", &error));
  if (!error.empty()) {
    return Error(Code::kCorrupt, std::string(what) + ": " + error);
  }
  return value;
}

template <class T, class ReadItem>
Result<ListOf<T>> decode_list(std::string_view text, const char* what, ReadItem read_item) {
  return decode(text, what, [&](const Reader& in) {
    const Reader meta = in.object("metadata");
    ListOf<T> list{.resource_version = meta.string("resourceVersion"),
                   .continue_token = meta.string("continue"),
                   .items = {}};
    const auto items = in.objects("items");
    list.items.reserve(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
      list.items.push_back(read_item(items[i], i));
    }
    return list;
  });
}

void put(Json& object, const char* key, const std::string& value) {
  if (!value.empty()) {
    object[key] = value;
  }
}

Json meta_to_json(const ObjectMeta& meta) {
  Json out = Json::object();
  put(out, "name", meta.name);
  put(out, "generateName", meta.generate_name);
  put(out, "namespace", meta.namespace_);
  put(out, "uid", meta.uid);
  put(out, "resourceVersion", meta.resource_version);
  if (!meta.annotations.empty()) {
    out["annotations"] = meta.annotations;
  }
  if (!meta.labels.empty()) {
    out["labels"] = meta.labels;
  }
  for (const OwnerReference& owner : meta.owner_references) {
    Json entry = {
        {"apiVersion", owner.api_version}, {"kind", owner.kind}, {"name", owner.name}, {"uid", owner.uid}};
    if (owner.controller) {
      entry["controller"] = true;
    }
    out["ownerReferences"].push_back(std::move(entry));
  }
  return out;
}

Json attribute_to_json(const AttributeValue& value) {
  struct Writer {
    Json operator()(std::int64_t number) const { return {{"int", number}}; }
    Json operator()(bool truth) const { return {{"bool", truth}}; }
    Json operator()(const std::string& text) const { return {{"string", text}}; }
    Json operator()(const Version& version) const { return {{"version", version.text}}; }
  };
  return std::visit(Writer{}, value);
}

Json policy_to_json(const RequestPolicy& policy) {
  Json out = Json::object();
  put(out, "default", policy.default_value);
  if (!policy.valid_values.empty()) {
    out["validValues"] = policy.valid_values;
  }
  const std::pair<const char*, const std::optional<std::string>&> ends[] = {
      {"min", policy.range_min}, {"max", policy.range_max}, {"step", policy.range_step}};
  for (const auto& [key, value] : ends) {
    if (value) {
      out["validRange"][key] = *value;
    }
  }
  return out;
}

Json device_to_json(const Device& device) {
  Json out = {{"name", device.name}};
  for (const auto& [name, value] : device.attributes) {
    out["attributes"][name] = attribute_to_json(value);
  }
  for (const auto& [name, capacity] : device.capacity) {
    Json entry = {{"value", capacity.value}};
    if (capacity.request_policy) {
      entry["requestPolicy"] = policy_to_json(*capacity.request_policy);
    }
    out["capacity"][name] = std::move(entry);
  }
  if (device.allow_multiple_allocations) {
    out["allowMultipleAllocations"] = true;
  }
  for (const Taint& taint : device.taints) {
    Json entry = {{"key", taint.key}, {"effect", taint.effect}};
    put(entry, "value", taint.value);
    put(entry, "timeAdded", taint.time_added);
    out["taints"].push_back(std::move(entry));
  }
  return out;
}

Json condition_to_json(const Condition& condition) {
  return {{"type", condition.type},
          {"status", condition.status},
          {"reason", condition.reason},
          {"message", condition.message},
          {"lastTransitionTime", condition.last_transition_time}};
}

DeviceStatus read_device_status(const Reader& in) {
  DeviceStatus out{.driver = in.string("driver"),
                   .pool = in.string("pool"),
                   .device = in.string("device"),
                   .share_id = in.string("shareID"),
                   .conditions = {},
                   .data = in.text("data"),
                   .interface_name = in.object("networkData").string("interfaceName"),
                   .ips = in.object("networkData").strings("ips"),
                   .hardware_address = in.object("networkData").string("hardwareAddress")};
  for (const Reader& condition : in.objects("conditions")) {
    out.conditions.push_back({.type = condition.string("type"),
                              .status = condition.string("status"),
                              .reason = condition.string("reason"),
                              .message = condition.string("message"),
                              .last_transition_time = condition.string("lastTransitionTime")});
  }
  return out;
}

Result<Json> status_entry_to_json(const DeviceStatus& device) {
  Json out = {{"driver", device.driver}, {"pool", device.pool}, {"device", device.device}};
  put(out, "shareID", device.share_id);
  for (const Condition& condition : device.conditions) {
    out["conditions"].push_back(condition_to_json(condition));
  }
  if (!device.data.empty()) {
    Json data = Json::parse(device.data, nullptr, /*allow_exceptions=*/false);
    if (!data.is_object()) {
      return Error(Code::kInvalid, "status data of device " + device.device + " is not a JSON object");
    }
    out["data"] = std::move(data);
  }
  Json network = Json::object();
  put(network, "interfaceName", device.interface_name);
  put(network, "hardwareAddress", device.hardware_address);
  if (!device.ips.empty()) {
    network["ips"] = device.ips;
  }
  if (!network.empty()) {
    out["networkData"] = std::move(network);
  }
  return out;
}

/// Text that came from the kernel may be no UTF-8: it must not make dump() throw.
std::string dump(const Json& document) {
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

Result<ResourceClaim> parse_claim(std::string_view json) {
  return decode(json, "ResourceClaim", [&](const Reader& in) { return read_claim(in, json); });
}

Result<ResourceSlice> parse_slice(std::string_view json) {
  return decode(json, "ResourceSlice", [](const Reader& in) { return read_slice(in); });
}

Result<ObjectMeta> parse_meta(std::string_view json) {
  return decode(json, "object", [](const Reader& in) { return read_meta(in.object("metadata")); });
}

Result<std::vector<std::string>> parse_internal_addresses(std::string_view json) {
  return decode(json, "Node", [](const Reader& in) {
    std::vector<std::string> addresses;
    for (const Reader& entry : in.object("status").objects("addresses")) {
      if (entry.string("type") == "InternalIP") {
        addresses.push_back(entry.string("address"));
      }
    }
    return addresses;
  });
}

Result<ClaimStatus> parse_claim_status(std::string_view json) {
  return decode(json, "ResourceClaim", [](const Reader& in) {
    ClaimStatus status{.uid = in.object("metadata").string("uid"), .devices = {}};
    for (const Reader& entry : in.object("status").objects("devices")) {
      status.devices.push_back(read_device_status(entry));
    }
    return status;
  });
}

Result<ListOf<ResourceClaim>> parse_claim_list(std::string_view json) {
  const auto raw = json_text::elements(json_text::member(json, "items").value_or(""));
  return decode_list<ResourceClaim>(json, "ResourceClaimList", [&](const Reader& in, std::size_t i) {
    return read_claim(in, i < raw.size() ? raw[i] : std::string_view{});
  });
}

Result<ListOf<ResourceSlice>> parse_slice_list(std::string_view json) {
  return decode_list<ResourceSlice>(json, "ResourceSliceList",
                                    [](const Reader& in, std::size_t) { return read_slice(in); });
}

std::string slice_to_json(const ResourceSlice& slice) {
  Json devices = Json::array();
  for (const Device& device : slice.devices) {
    devices.push_back(device_to_json(device));
  }
  Json spec = {{"driver", slice.driver},
               {"pool",
                {{"name", slice.pool_name},
                 {"generation", slice.pool_generation},
                 {"resourceSliceCount", slice.pool_slice_count}}},
               {"devices", std::move(devices)}};
  put(spec, "nodeName", slice.node_name);
  return dump({{"apiVersion", "resource.k8s.io/v1"},
               {"kind", "ResourceSlice"},
               {"metadata", meta_to_json(slice.meta)},
               {"spec", std::move(spec)}});
}

std::string event_to_json(const Event& event) {
  return dump({{"apiVersion", "v1"},
               {"kind", "Event"},
               {"metadata", {{"name", event.meta.name}, {"namespace", event.meta.namespace_}}},
               {"involvedObject",
                {{"apiVersion", event.about.api_version},
                 {"kind", event.about.kind},
                 {"namespace", event.about.namespace_},
                 {"name", event.about.name},
                 {"uid", event.about.uid}}},
               {"type", event.type},
               {"reason", event.reason},
               {"message", event.message},
               {"source", {{"component", event.component}, {"host", event.host}}},
               {"reportingComponent", event.component},
               {"reportingInstance", event.host},
               {"firstTimestamp", event.first_seen},
               {"lastTimestamp", event.last_seen},
               {"count", event.count}});
}

std::string event_patch(const Event& event) {
  return dump({{"count", event.count}, {"lastTimestamp", event.last_seen}});
}

Result<std::string> claim_status_to_json(std::string_view namespace_, std::string_view name,
                                         std::string_view uid, const std::vector<DeviceStatus>& devices) {
  Json metadata = {{"name", name}, {"namespace", namespace_}};
  put(metadata, "uid", std::string(uid));
  Json status = Json::object();
  for (const DeviceStatus& device : devices) {
    FL_ASSIGN(Json entry, status_entry_to_json(device));
    status["devices"].push_back(std::move(entry));
  }
  return dump({{"apiVersion", "resource.k8s.io/v1"},
               {"kind", "ResourceClaim"},
               {"metadata", std::move(metadata)},
               {"status", std::move(status)}});
}

}  // namespace fairlead::kube
