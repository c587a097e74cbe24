// SPDX-License-Identifier: Apache-2.0
#include "fairlead/formats/cdi.h"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <set>
#include <utility>

#include "fairlead/formats/json_tree.h"
#include "fairlead/formats/json_writer.h"
#include "fairlead/formats/strict_json.h"

namespace fairlead::cdi {
namespace {

using json_tree::quote;
using strict_json::Object;

/// Versions that carry something new, with whether the spec needs it; newest first. (CDI SPEC.md, "Released
/// versions"; specs-go/version.go of container-device-interface 1.1.0.) 0.8.0 and 1.0.0 added nothing that a
/// file can use.
constexpr std::string_view kOldestVersion = "0.3.0";
constexpr std::array<std::string_view, 11> kKnownVersions = {
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"};
constexpr std::array<std::string_view, 6> kHookNames = {"prestart",       "createRuntime", "createContainer",
                                                        "startContainer", "poststart",     "poststop"};
constexpr std::size_t kMaxItems = 4096;
constexpr std::size_t kMaxAnnotationBytes = std::size_t{256} << 10;  // as Kubernetes annotations

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alphanumeric(char c) { return is_letter(c) || is_digit(c); }

bool any_edits(const Spec& spec, const std::function<bool(const ContainerEdits&)>& test) {
  return test(spec.edits) ||
         std::ranges::any_of(spec.devices, [&](const Device& device) { return test(device.edits); });
}

bool needs_1_1_0(const Spec& spec) {
  return any_edits(spec, [](const ContainerEdits& edits) { return !edits.net_devices.empty(); });
}
bool needs_0_7_0(const Spec& spec) {
  return any_edits(spec, [](const ContainerEdits& edits) { return !edits.additional_gids.empty(); });
}
bool needs_0_6_0(const Spec& spec) {
  const auto slash = spec.kind.find('/');
  return !spec.annotations.empty() || std::ranges::any_of(spec.devices, [](const Device& device) {
    return !device.annotations.empty();
  }) || (slash != std::string::npos && spec.kind.find('.', slash) != std::string::npos);
}
bool needs_0_5_0(const Spec& spec) {
  return std::ranges::any_of(
             spec.devices,
             [](const Device& device) { return !device.name.empty() && !is_letter(device.name[0]); }) ||
         any_edits(spec, [](const ContainerEdits& edits) {
           return std::ranges::any_of(edits.device_nodes,
                                      [](const DeviceNode& node) { return !node.host_path.empty(); });
         });
}
bool needs_0_4_0(const Spec& spec) {
  return any_edits(spec, [](const ContainerEdits& edits) {
    return std::ranges::any_of(edits.mounts, [](const Mount& mount) { return !mount.type.empty(); });
  });
}

Error invalid(const std::string& path, std::string why) {
  return Error(Code::kInvalid, std::move(why)).with(path);
}

/// The grammar of a vendor, a class and a device name: they differ in the first character and in ':'.
Result<> check_word(std::string_view what, std::string_view word, bool digit_first, std::string_view inner) {
  const std::string shown = std::string(what) + " " + quote(word);
  if (word.empty()) {
    return Error(Code::kInvalid, "the " + std::string(what) + " is empty");
  }
  if (!is_letter(word.front()) && !(digit_first && is_digit(word.front()))) {
    return Error(Code::kInvalid, shown + " must begin with a letter" + (digit_first ? " or a digit" : ""));
  }
  if (!is_alphanumeric(word.back())) {
    return Error(Code::kInvalid, shown + " must end with a letter or a digit");
  }
  if (!std::ranges::all_of(word, [&](char c) { return is_alphanumeric(c) || inner.contains(c); })) {
    return Error(Code::kInvalid, shown + " may hold only letters, digits and \"" + std::string(inner) + "\"");
  }
  return {};
}

Result<> check_env(const std::vector<std::string>& env, const std::string& path) {
  for (std::size_t i = 0; i < env.size(); ++i) {
    if (const auto at = env[i].find('='); at == std::string::npos || at == 0) {
      return invalid(json_tree::join_path(path, i), quote(env[i]) + " is not of the form NAME=VALUE");
    }
  }
  return {};
}

Result<> check_node(const DeviceNode& node, const std::string& path) {
  constexpr std::array<std::string_view, 5> kTypes = {"", "b", "c", "u", "p"};
  if (node.path.empty()) {
    return invalid(path + ".path", "this field is required");
  }
  if (std::ranges::find(kTypes, node.type) == kTypes.end()) {
    return invalid(path + ".type", R"(must be "b", "c", "u" or "p", not )" + quote(node.type));
  }
  if (node.permissions.find_first_not_of("rwm") != std::string::npos) {
    return invalid(path + ".permissions",
                   R"(may hold only "r", "w" and "m", not )" + quote(node.permissions));
  }
  return {};
}

Result<> check_hook(const Hook& hook, const std::string& path) {
  if (std::ranges::find(kHookNames, hook.hook_name) == kHookNames.end()) {
    return invalid(path + ".hookName", quote(hook.hook_name) + " is not a hook of the OCI runtime");
  }
  if (hook.path.empty()) {
    return invalid(path + ".path", "this field is required");
  }
  return check_env(hook.env, path + ".env");
}

Result<> check_mount(const Mount& mount, const std::string& path) {
  if (mount.host_path.empty()) {
    return invalid(path + ".hostPath", "this field is required");
  }
  if (mount.container_path.empty()) {
    return invalid(path + ".containerPath", "this field is required");
  }
  return {};
}

Result<> check_net_devices(const std::vector<NetDevice>& devices, const std::string& path) {
  std::set<std::string_view> host_names;
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const std::string at = json_tree::join_path(path, i);
    if (devices[i].host_interface_name.empty()) {
      return invalid(at + ".hostInterfaceName", "this field is required");
    }
    if (devices[i].name.empty()) {
      return invalid(at + ".name", "this field is required");
    }
    if (!host_names.insert(devices[i].host_interface_name).second) {
      return invalid(at + ".hostInterfaceName", quote(devices[i].host_interface_name) + " is there twice");
    }
    if (!names.insert(devices[i].name).second) {
      return invalid(at + ".name", quote(devices[i].name) + " is there twice");
    }
  }
  return {};
}

template <class T>
Result<> check_each(const std::vector<T>& items, const std::string& path,
                    Result<> (*check)(const T&, const std::string&)) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    FL_TRY(check(items[i], json_tree::join_path(path, i)));
  }
  return {};
}

Result<> check_edits(const ContainerEdits& edits, const std::string& path) {
  FL_TRY(check_env(edits.env, path + ".env"));
  FL_TRY(check_each(edits.device_nodes, path + ".deviceNodes", check_node));
  FL_TRY(check_net_devices(edits.net_devices, path + ".netDevices"));
  FL_TRY(check_each(edits.hooks, path + ".hooks", check_hook));
  return check_each(edits.mounts, path + ".mounts", check_mount);
}

/// A Kubernetes qualified name, as the reference reader wants annotation keys: [dns.subdomain/]name.
bool is_annotation_key(std::string_view key) {
  const auto slash = key.find('/');
  if (slash != std::string_view::npos) {
    const std::string_view prefix = key.substr(0, slash);
    if (prefix.empty() || prefix.size() > 253 || !is_alphanumeric(prefix.front()) ||
        !is_alphanumeric(prefix.back()) ||
        !std::ranges::all_of(prefix, [](char c) { return is_alphanumeric(c) || c == '.' || c == '-'; })) {
      return false;
    }
    key.remove_prefix(slash + 1);
  }
  return !key.empty() && key.size() <= 63 && is_alphanumeric(key.front()) && is_alphanumeric(key.back()) &&
         std::ranges::all_of(key,
                             [](char c) { return is_alphanumeric(c) || c == '.' || c == '-' || c == '_'; });
}

Result<> check_annotations(const std::map<std::string, std::string>& annotations, const std::string& path) {
  std::size_t bytes = 0;
  for (const auto& [key, value] : annotations) {
    if (!is_annotation_key(key)) {
      return invalid(json_tree::join_path(path, key), "is not a valid annotation name");
    }
    bytes += key.size() + value.size();
  }
  if (bytes > kMaxAnnotationBytes) {
    return invalid(path, "longer than " + std::to_string(kMaxAnnotationBytes) + " bytes together");
  }
  return {};
}

Result<> check_devices(const Spec& spec) {
  if (spec.devices.empty()) {
    return invalid("devices", "at least one device is required");
  }
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < spec.devices.size(); ++i) {
    const Device& device = spec.devices[i];
    const std::string path = json_tree::join_path("devices", i);
    FL_TRY(validate_device_name(device.name), path + ".name");
    if (!names.insert(device.name).second) {
      return invalid(path + ".name", quote(device.name) + " is there twice");
    }
    FL_TRY(check_annotations(device.annotations, path + ".annotations"));
    if (device.edits.empty()) {
      return invalid(path + ".containerEdits", "must not be empty");
    }
    FL_TRY(check_edits(device.edits, path + ".containerEdits"));
  }
  return {};
}

// ---- writing ----

template <class T>
void put(JsonWriter& out, const char* key, const T& value) {
  if (!value.empty()) {
    out.member(key, value);
  }
}
void write_node(JsonWriter& out, const DeviceNode& node) {
  out.member("path", node.path);
  put(out, "hostPath", node.host_path);
  put(out, "type", node.type);
  out.member("major", node.major);
  out.member("minor", node.minor);
  out.member("fileMode", node.file_mode);
  put(out, "permissions", node.permissions);
  out.member("uid", node.uid);
  out.member("gid", node.gid);
}

void write_net_device(JsonWriter& out, const NetDevice& device) {
  out.member("hostInterfaceName", device.host_interface_name).member("name", device.name);
}

void write_hook(JsonWriter& out, const Hook& hook) {
  out.member("hookName", hook.hook_name).member("path", hook.path);
  put(out, "args", hook.args);
  put(out, "env", hook.env);
  out.member("timeout", hook.timeout_seconds);
}

void write_mount(JsonWriter& out, const Mount& mount) {
  out.member("hostPath", mount.host_path).member("containerPath", mount.container_path);
  put(out, "options", mount.options);
  put(out, "type", mount.type);
}

void write_edits(JsonWriter& out, const ContainerEdits& edits) {
  out.begin_object();
  put(out, "env", edits.env);
  out.objects("deviceNodes", edits.device_nodes, write_node);
  out.objects("netDevices", edits.net_devices, write_net_device);
  out.objects("hooks", edits.hooks, write_hook);
  out.objects("mounts", edits.mounts, write_mount);
  put(out, "additionalGids", edits.additional_gids);
  out.end_object();
}

void write_device(JsonWriter& out, const Device& device) {
  out.member("name", device.name);
  put(out, "annotations", device.annotations);
  write_edits(out.key("containerEdits"), device.edits);
}

// ---- reading ----

constexpr std::int64_t kMaxU32 = std::numeric_limits<std::uint32_t>::max();
constexpr std::int64_t kMaxI64 = std::numeric_limits<std::int64_t>::max();

std::optional<std::uint32_t> read_u32(const Object& in, std::string_view key) {
  const auto value = in.optional_integer(key, 0, kMaxU32);
  return value ? std::optional(static_cast<std::uint32_t>(*value)) : std::nullopt;
}

template <class T>
std::vector<T> read_each(const Object& in, std::string_view key, T (*read)(const Object&)) {
  std::vector<T> out;
  for (const Object& item : in.optional_objects(key, kMaxItems)) {
    out.push_back(read(item));
  }
  return out;
}

DeviceNode read_node(const Object& in) {
  return {.path = in.required_string("path"),
          .host_path = in.optional_string("hostPath").value_or(""),
          .type = in.optional_string("type").value_or(""),
          .major = in.optional_integer("major", 0, kMaxI64),
          .minor = in.optional_integer("minor", 0, kMaxI64),
          .file_mode = read_u32(in, "fileMode"),
          .permissions = in.optional_string("permissions").value_or(""),
          .uid = read_u32(in, "uid"),
          .gid = read_u32(in, "gid")};
}

NetDevice read_net_device(const Object& in) {
  return {.host_interface_name = in.required_string("hostInterfaceName"), .name = in.required_string("name")};
}

Hook read_hook(const Object& in) {
  const auto timeout = in.optional_integer("timeout", 0, std::numeric_limits<int>::max());
  return {.hook_name = in.required_string("hookName"),
          .path = in.required_string("path"),
          .args = in.optional_strings("args", kMaxItems),
          .env = in.optional_strings("env", kMaxItems),
          .timeout_seconds = timeout ? std::optional(static_cast<int>(*timeout)) : std::nullopt};
}

Mount read_mount(const Object& in) {
  return {.host_path = in.required_string("hostPath"),
          .container_path = in.required_string("containerPath"),
          .options = in.optional_strings("options", kMaxItems),
          .type = in.optional_string("type").value_or("")};
}

ContainerEdits read_edits(const Object& in) {
  ContainerEdits out{.env = in.optional_strings("env", kMaxItems),
                     .device_nodes = read_each(in, "deviceNodes", read_node),
                     .net_devices = read_each(in, "netDevices", read_net_device),
                     .hooks = read_each(in, "hooks", read_hook),
                     .mounts = read_each(in, "mounts", read_mount),
                     .additional_gids = {}};
  for (const std::int64_t gid : in.optional_integers("additionalGids", 0, kMaxU32, kMaxItems)) {
    out.additional_gids.push_back(static_cast<std::uint32_t>(gid));
  }
  if (in.has("intelRdt")) {
    in.fail("intelRdt", "Intel RDT settings are not supported");
  }
  return out;
}

Device read_device(const Object& in) {
  return {.name = in.required_string("name"),
          .annotations = in.optional_string_map("annotations", kMaxItems),
          .edits = read_edits(in.required_object("containerEdits"))};
}

/// The position of a version among the known ones; -1 if it is unknown.
int version_rank(std::string_view version) {
  if (version.starts_with('v')) {
    version.remove_prefix(1);
  }
  const auto* const at = std::ranges::find(kKnownVersions, version);
  return at == kKnownVersions.end() ? -1 : static_cast<int>(at - kKnownVersions.begin());
}

Result<> check_version(const Spec& spec) {
  const int declared = version_rank(spec.version);
  if (declared < 0) {
    return invalid("cdiVersion", quote(spec.version) + " is not a known CDI version");
  }
  if (const std::string needed = minimum_version(spec); declared < version_rank(needed)) {
    return invalid("cdiVersion", quote(spec.version) + " is too old: the file uses what came with " + needed);
  }
  return {};
}

}  // namespace

bool ContainerEdits::empty() const {
  return env.empty() && device_nodes.empty() && net_devices.empty() && hooks.empty() && mounts.empty() &&
         additional_gids.empty();
}

std::string minimum_version(const Spec& spec) {
  struct Rule {
    std::string_view version;
    bool (*needed)(const Spec&);
  };
  constexpr std::array<Rule, 5> kRules = {{{.version = "1.1.0", .needed = needs_1_1_0},
                                           {.version = "0.7.0", .needed = needs_0_7_0},
                                           {.version = "0.6.0", .needed = needs_0_6_0},
                                           {.version = "0.5.0", .needed = needs_0_5_0},
                                           {.version = "0.4.0", .needed = needs_0_4_0}}};
  for (const Rule& rule : kRules) {
    if (rule.needed(spec)) {
      return std::string(rule.version);
    }
  }
  return std::string(kOldestVersion);
}

Result<> validate(const Spec& spec) {
  FL_TRY(validate_kind(spec.kind), "kind");
  FL_TRY(check_annotations(spec.annotations, "annotations"));
  FL_TRY(check_devices(spec));
  return check_edits(spec.edits, "containerEdits");
}

Result<std::string> to_json(const Spec& spec) {
  FL_TRY(validate(spec), "CDI spec");
  JsonWriter out(2);
  out.begin_object();
  out.member("cdiVersion", minimum_version(spec)).member("kind", spec.kind);
  put(out, "annotations", spec.annotations);
  out.objects("devices", spec.devices, write_device);
  if (!spec.edits.empty()) {
    write_edits(out.key("containerEdits"), spec.edits);
  }
  out.end_object();
  if (!out.is_utf8()) {
    return Error(Code::kInvalid, "CDI spec: a text is not valid UTF-8");
  }
  return std::move(out).take() + "\n";
}

Result<Spec> parse(std::string_view json) {
  constexpr strict_json::Limits kLimits{.bytes = std::size_t{4} << 20, .depth = 16};
  FL_ASSIGN(const auto document, strict_json::Document::parse(json, "", kLimits), "CDI spec");
  const Object in = document.root();
  Spec out{.version = in.required_string("cdiVersion"),
           .kind = in.required_string("kind"),
           .annotations = in.optional_string_map("annotations", kMaxItems),
           .devices = read_each(in, "devices", read_device),
           .edits = {}};
  if (const auto edits = in.optional_object("containerEdits")) {
    out.edits = read_edits(*edits);
  }
  FL_TRY(document.finish(), "CDI spec");
  FL_TRY(validate(out), "CDI spec");
  FL_TRY(check_version(out), "CDI spec");
  return out;
}

Result<std::string> qualified_name(std::string_view kind, std::string_view device) {
  FL_TRY(validate_kind(kind), "CDI kind");
  FL_TRY(validate_device_name(device), "CDI device");
  return std::string(kind) + "=" + std::string(device);
}

Result<> validate_kind(std::string_view kind) {
  const auto slash = kind.find('/');
  if (slash == std::string_view::npos) {
    return Error(Code::kInvalid, quote(kind) + " is not of the form vendor/class");
  }
  FL_TRY(check_word("vendor", kind.substr(0, slash), false, "_-."));
  return check_word("class", kind.substr(slash + 1), false, "_-.");
}

Result<> validate_device_name(std::string_view name) { return check_word("device name", name, true, "_-.:"); }

}  // namespace fairlead::cdi
