// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/seccomp_profile.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "fairlead/sys/files.h"

namespace drydock {
namespace {

using fairlead::Code;
using fairlead::Error;
using fairlead::Result;
using nlohmann::json;

struct Architecture {
  std::string go, scmp;  // "amd64" in conditions, "SCMP_ARCH_X86_64" in the map
};

std::optional<Architecture> architecture_of(const std::string& machine) {
  static const std::map<std::string, Architecture> known = {
      {"x86_64", {.go = "amd64", .scmp = "SCMP_ARCH_X86_64"}},
      {"aarch64", {.go = "arm64", .scmp = "SCMP_ARCH_AARCH64"}},
      {"ppc64le", {.go = "ppc64le", .scmp = "SCMP_ARCH_PPC64LE"}},
      {"s390x", {.go = "s390x", .scmp = "SCMP_ARCH_S390X"}},
      {"riscv64", {.go = "riscv64", .scmp = "SCMP_ARCH_RISCV64"}}};
  const auto found = known.find(machine);
  return found == known.end() ? std::nullopt : std::optional(found->second);
}

Error bad(const std::string& where, const std::string& why) {
  return {Code::kInvalid, "seccomp profile: " + where + ": " + why};
}

const json& field(const json& object, const char* key) {
  static const json nothing;
  const auto found = object.find(key);
  return found == object.end() ? nothing : *found;
}

std::vector<std::string> texts(const json& object, const char* key) {
  const auto& value = field(object, key);
  return value.is_null() ? std::vector<std::string>() : value.get<std::vector<std::string>>();
}

bool contains(const std::vector<std::string>& list, const std::string& word) {
  return std::ranges::find(list, word) != list.end();
}

/// "6.1.0-13-amd64" -> {6, 1}
std::pair<int, int> version_of(const std::string& text) {
  int major = 0;
  int minor = 0;
  (void)std::sscanf(text.c_str(), "%d.%d", &major, &minor);
  return {major, minor};
}

Result<int> errno_number(const std::string& name, const std::string& where) {
  constexpr int kMost = 200;
  for (int number = 1; number < kMost; ++number) {
    const char* known = ::strerrorname_np(number);
    if (known != nullptr && name == known) {
      return number;
    }
  }
  return bad(where, "there is no errno \"" + name + "\"");
}

/// The name wins over the number: it means the same on every architecture.
Result<std::optional<unsigned>> errno_of(const json& object, const char* name, const char* number,
                                         const std::string& where) {
  if (const auto& text = field(object, name); text.is_string() && !text.get<std::string>().empty()) {
    FL_ASSIGN(const int value, errno_number(text.get<std::string>(), where));
    return std::optional(static_cast<unsigned>(value));
  }
  const auto& value = field(object, number);
  return value.is_null() ? std::optional<unsigned>() : std::optional(value.get<unsigned>());
}

Result<> check_words(const json& object, const std::set<std::string>& known, const std::string& where) {
  for (const auto& [key, value] : object.items()) {
    if (!known.contains(key)) {
      return bad(where, "\"" + key + "\" is not known here");
    }
  }
  return {};
}

class Translator {
 public:
  Translator(const SeccompTarget& target, Architecture architecture)
      : target_(target), architecture_(std::move(architecture)) {}

  Result<json> translate(const json& profile) {
    FL_TRY(check_words(
        profile,
        {"defaultAction", "defaultErrno", "defaultErrnoRet", "archMap", "architectures", "flags", "syscalls"},
        "the document"));
    json out = {{"defaultAction", profile.at("defaultAction")}};
    FL_ASSIGN(const auto error, errno_of(profile, "defaultErrno", "defaultErrnoRet", "defaultErrno"));
    if (error) {
      out["defaultErrnoRet"] = *error;
    }
    out["architectures"] = architectures(profile);
    if (const auto flags = texts(profile, "flags"); !flags.empty()) {
      out["flags"] = flags;
    }
    out["syscalls"] = json::array();
    std::size_t index = 0;
    for (const auto& rule : field(profile, "syscalls")) {
      const std::string where = "syscalls[" + std::to_string(index++) + "]";
      FL_TRY(check_words(
          rule, {"name", "names", "action", "args", "comment", "includes", "excludes", "errno", "errnoRet"},
          where));
      FL_ASSIGN(const bool met, applies(rule, where));
      if (met) {
        FL_ASSIGN(auto one, rule_of(rule, where));
        out["syscalls"].push_back(std::move(one));
      }
    }
    return out;
  }

 private:
  [[nodiscard]] json architectures(const json& profile) const {
    json out = texts(profile, "architectures");
    for (const auto& entry : field(profile, "archMap")) {
      if (entry.at("architecture") == architecture_.scmp) {
        out.push_back(architecture_.scmp);
        for (const auto& sibling : texts(entry, "subArchitectures")) {
          out.push_back(sibling);
        }
      }
    }
    if (out.empty()) {
      out.push_back(architecture_.scmp);
    }
    return out;
  }

  Result<bool> applies(const json& rule, const std::string& where) const {
    for (const auto* part : {"includes", "excludes"}) {
      const auto& conditions = field(rule, part);
      if (!conditions.is_null()) {
        FL_TRY(check_words(conditions, {"arches", "caps", "minKernel"}, where + "." + part));
      }
    }
    const auto& needs = field(rule, "includes");
    const auto& shuns = field(rule, "excludes");
    const auto arches = texts(needs, "arches");
    const auto caps = texts(needs, "caps");
    const auto has = [&](const std::string& cap) { return contains(target_.capabilities, cap); };
    const bool right_machine = arches.empty() || contains(arches, architecture_.go);
    const bool right_caps = std::ranges::all_of(caps, has);
    const bool wrong = contains(texts(shuns, "arches"), architecture_.go) ||
                       std::ranges::any_of(texts(shuns, "caps"), has) || is_at_least(shuns, false);
    return right_machine && right_caps && is_at_least(needs, true) && !wrong;
  }

  /// `otherwise` when no kernel is named.
  [[nodiscard]] bool is_at_least(const json& conditions, bool otherwise) const {
    const auto& wanted = field(conditions, "minKernel");
    const auto version = wanted.is_string() ? wanted.get<std::string>() : "";
    return version.empty() ? otherwise : version_of(target_.kernel) >= version_of(version);
  }

  static Result<json> rule_of(const json& rule, const std::string& where) {
    auto names = texts(rule, "names");
    if (const auto& name = field(rule, "name"); !name.is_null()) {
      names.push_back(name.get<std::string>());
    }
    if (names.empty()) {
      return bad(where, "it names no system call");
    }
    json out = {{"names", names}, {"action", rule.at("action")}};
    FL_ASSIGN(const auto error, errno_of(rule, "errno", "errnoRet", where));
    if (error) {
      out["errnoRet"] = *error;
    }
    json args = json::array();
    for (const auto& arg : field(rule, "args")) {
      json one = {{"index", arg.at("index")}, {"value", arg.at("value")}, {"op", arg.at("op")}};
      if (arg.contains("valueTwo") && arg["valueTwo"] != 0) {
        one["valueTwo"] = arg["valueTwo"];
      }
      args.push_back(std::move(one));
    }
    if (!args.empty()) {
      out["args"] = std::move(args);
    }
    return out;
  }

  const SeccompTarget& target_;
  const Architecture architecture_;
};

}  // namespace

Result<std::string> translate_seccomp(std::string_view profile, const SeccompTarget& target) {
  const auto architecture = architecture_of(target.machine);
  if (!architecture) {
    return Error(Code::kUnsupported, "no seccomp architecture is known for a " + target.machine);
  }
  try {
    FL_ASSIGN(const auto out, Translator(target, *architecture).translate(json::parse(profile)));
    return out.dump();
  } catch (const json::exception& e) {
    return Error(Code::kInvalid, std::string("seccomp profile: ") + e.what());
  }
}

Result<std::string> default_seccomp(const std::vector<std::string>& capabilities, const std::string& file) {
  FL_ASSIGN(const auto text, fairlead::sys::read_file_if_exists(file));
  if (!text) {
    return Error(Code::kNotFound, "seccompProfile RuntimeDefault needs " + file + ", which the package " +
                                      std::string(kSeccompPackage) + " has: install that");
  }
  utsname machine{};
  if (::uname(&machine) != 0) {
    return Error::from_errno(errno, "uname");
  }
  FL_ASSIGN(auto out,
            translate_seccomp(
                *text, {.capabilities = capabilities, .machine = machine.machine, .kernel = machine.release}),
            file);
  return out;
}

}  // namespace drydock
