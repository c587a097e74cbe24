// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/runtime.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cctype>
#include <charconv>
#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "fairlead/sys/files.h"

namespace drydock {
namespace {

namespace sys = fairlead::sys;
using nlohmann::json;
using std::chrono::seconds;

constexpr seconds kCallTimeout(60);
// The CRI's own deadline for a container start is two minutes.
constexpr seconds kCreateTimeout(120);

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) {
    text.pop_back();
  }
  return text;
}

std::string read_or_empty(const std::string& path) {
  auto text = sys::read_file_if_exists(path);
  return text && *text ? **text : std::string();
}

Result<pid_t> read_pid(const std::string& path) {
  FL_ASSIGN(const auto text, sys::read_file(path));
  pid_t pid = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), pid).ec != std::errc() || pid <= 0) {
    return Error(Code::kCorrupt, path + " holds no process id");
  }
  return pid;
}

}  // namespace

std::string runtime_errors(const std::string& log_text) {
  std::string out;
  std::istringstream lines(log_text);
  for (std::string line; std::getline(lines, line);) {
    const auto entry = json::parse(line, nullptr, false);
    const std::string level = entry.is_object() ? entry.value("level", "error") : "error";
    if (level == "debug" || level == "info" || level == "warning") {
      continue;
    }
    const std::string message = entry.is_object() ? entry.value("msg", "") : line;
    if (!message.empty()) {
      out += (out.empty() ? "" : "; ") + trimmed(message);
    }
  }
  return out;
}

RuntimeFeatures parse_features(const std::string& json_text) {
  const auto document = json::parse(json_text, nullptr, false);
  RuntimeFeatures out;
  const json::json_pointer where("/linux/netDevices/enabled");
  if (document.is_object() && document.contains(where) && document[where].is_boolean()) {
    out.net_devices = document[where].get<bool>();
  }
  return out;
}

Result<Runtime> Runtime::find(const std::string& program, const std::string& root,
                              const std::string& cgroup) {
  const auto found = find_program(program.empty() ? std::vector<std::string>{"crun", "runc"}
                                                  : std::vector<std::string>{program});
  if (!found) {
    return Error(Code::kNotFound,
                 program.empty() ? "neither crun nor runc is installed; either one will do, or --runtime PATH"
                                 : "--runtime " + program + ": there is no such program");
  }
  Runtime out;
  out.program_ = *found;
  out.root_ = root;
  FL_ASSIGN(const auto version, run({.argv = {*found, "--version"}}, seconds(10)), *found);
  out.name_ = version.out.starts_with("crun") ? "crun" : "runc";
  // "crun version 1.8.1" and "runc version 1.1.5+ds1"
  std::istringstream words(first_line(version.out));
  std::string word;
  while (words >> word && (std::isdigit(static_cast<unsigned char>(word[0])) == 0)) {
  }
  out.version_ = out.name_ + " " + word;
  if (auto features = run({.argv = {*found, "features"}}, seconds(10)); features && features->status.ok()) {
    out.features_ = parse_features(features->out);
  }
  if (out.name_ == "runc") {
    out.cgroup_ = "/" + cgroup;
  }
  FL_TRY(sys::make_dirs(root));
  return out;
}

std::vector<std::string> Runtime::base_command(const std::string& log) const {
  std::vector<std::string> out = {program_, "--root", root_, "--log", log, "--log-format", "json"};
  if (name_ == "crun") {
    out.emplace_back("--cgroup-manager=disabled");
  }
  return out;
}

Result<> Runtime::call(const std::string& id, std::vector<std::string> words) {
  const std::string log = root_ + "/" + id + ".log";
  (void)::unlink(log.c_str());
  auto argv = base_command(log);
  const std::string verb = words[0];
  argv.insert(argv.end(), std::make_move_iterator(words.begin()), std::make_move_iterator(words.end()));
  FL_ASSIGN(const auto output, run({.argv = argv}, kCallTimeout), name_ + " " + verb);
  const auto errors = runtime_errors(read_or_empty(log));
  (void)::unlink(log.c_str());
  if (!output.status.ok()) {
    return Error(Code::kInternal,
                 name_ + " " + verb + ": " +
                     (errors.empty() ? trimmed(output.out) + to_string(output.status) : errors));
  }
  return {};
}

Result<pid_t> Runtime::create(const std::string& id, const std::string& bundle, OciSpec spec,
                              const Streams& streams) {
  const std::string hook_errors = bundle + "/hooks.stderr";
  if (name_ == "crun" && !spec.hooks.empty()) {
    // crun does not pass on a hook's output; it can be configured to write it to a file.
    spec.annotations.emplace("run.oci.hooks.stderr", hook_errors);
  }
  if (!cgroup_.empty()) {
    spec.cgroups_path = cgroup_ + "/" + id;
  }
  FL_TRY(sys::replace_file(bundle, "config.json", to_json(spec)));
  const std::string log = bundle + "/runtime.log";
  const std::string pid_file = bundle + "/pid";
  auto argv = base_command(log);
  for (const auto& word :
       {std::string("create"), std::string("--bundle"), bundle, std::string("--pid-file"), pid_file, id}) {
    argv.push_back(word);
  }
  FL_ASSIGN(const auto process, spawn({.argv = argv, .out = streams.out, .err = streams.err}));
  FL_ASSIGN(auto status, wait_for_exit(process, kCreateTimeout));
  if (!status) {
    (void)::kill(process, SIGKILL);
    (void)wait_for_exit(process);
    (void)remove(id);
    return Error(Code::kTimeout, name_ + " create did not finish in two minutes");
  }
  if (status->ok()) {
    return read_pid(pid_file);
  }
  (void)remove(id);
  auto text = runtime_errors(read_or_empty(log));
  if (const auto said = trimmed(read_or_empty(hook_errors)); !said.empty()) {
    text += (text.empty() ? "" : ": ") + said;
  }
  return Error(Code::kInternal, name_ + " create: " + (text.empty() ? to_string(*status) : text));
}

Result<> Runtime::start(const std::string& id) { return call(id, {"start", id}); }

Result<> Runtime::kill(const std::string& id, int signal) {
  struct stat info{};
  if (::stat((root_ + "/" + id).c_str(), &info) != 0) {
    return {};
  }
  return call(id, {"kill", id, std::to_string(signal)});
}

Result<> Runtime::remove(const std::string& id) {
  struct stat info{};
  if (::stat((root_ + "/" + id).c_str(), &info) == 0) {
    FL_TRY(call(id, {"delete", "--force", id}));
  }
  if (!cgroup_.empty()) {
    (void)::rmdir(("/sys/fs/cgroup" + cgroup_).c_str());  // succeeds with the last container
  }
  return {};
}

}  // namespace drydock
