// SPDX-License-Identifier: Apache-2.0
// A whole DRA driver: it publishes one file of the node as a device that any number of pods may share, mounts
// it into them, writes a pod's name into the file when the pod's claim is prepared and takes exactly that
// line out again when it is unprepared.
#include <fairlead/core/log.h>
#include <fairlead/dra/plugin/plugin.h>
#include <fairlead/sys/files.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

using fairlead::Result;
namespace dra = fairlead::dra;
namespace sys = fairlead::sys;

namespace {

/// A file of lines that several calls may change at once. It is rewritten in place, because it is mounted
/// into containers: a new file under the old name would not be seen by those that run.
class SharedFile {
 public:
  explicit SharedFile(std::string path) : path_(std::move(path)) {}
  const std::string& path() const { return path_; }

  /// Adds `line` unless it is there: the same Prepare may come twice.
  Result<> add(const std::string& line) {
    return change([&](std::vector<std::string>& lines) {
      if (std::ranges::find(lines, line) == lines.end()) {
        lines.push_back(line);
      }
    });
  }

  Result<> remove(const std::string& line) {
    return change([&](std::vector<std::string>& lines) { std::erase(lines, line); });
  }

 private:
  template <class F>
  Result<> change(F&& edit) {
    const std::lock_guard lock(mutex_);
    FL_ASSIGN(const auto old, sys::read_file_if_exists(path_));
    std::vector<std::string> lines;
    std::istringstream in(old.value_or(""));
    for (std::string line; std::getline(in, line);) {
      lines.push_back(line);
    }
    edit(lines);
    std::string body;
    for (const std::string& line : lines) {
      body += line + "\n";
    }
    return sys::rewrite_file(path_, body, 0644);
  }

  std::string path_;
  std::mutex mutex_;
};

class FileDriver : public dra::Driver {
 public:
  explicit FileDriver(const std::string& path) : file_(path) {}

  Result<std::vector<dra::Pool>> discover() override {
    dra::Device device{.name = "file1", .allow_multiple_allocations = true};
    device.attributes["path"] = file_.path();
    device.capacity["pods"] = {.value = "100", .request_policy = {{.default_value = "1"}}};
    return std::vector<dra::Pool>{{.devices = {device}}};
  }

  Result<dra::Prepared> prepare(const dra::Claim& claim, const std::string& /*plan*/,
                                const dra::CallContext& /*context*/) override {
    FL_TRY(file_.add(line_of(claim)), "write the pod's name");
    dra::Prepared prepared;
    prepared.device_edits.resize(claim.devices.size());
    for (auto& edits : prepared.device_edits) {
      edits.mounts = {{.host_path = file_.path(), .container_path = file_.path(), .options = {"ro", "bind"}}};
    }
    return prepared;
  }

  Result<> unprepare(const dra::ClaimRecord& record, const dra::CallContext& /*context*/) override {
    return file_.remove(line_of(record.claim));
  }

 private:
  /// The pod's name, and the claim's UID so that two pods of one name in two namespaces have a line each.
  static std::string line_of(const dra::Claim& claim) {
    return (claim.reserved_for.empty() ? claim.name : claim.reserved_for.front().name) + " " + claim.uid;
  }

  SharedFile file_;
};

}  // namespace

int main(int argc, char** argv) {
  const char* path = std::getenv("DRA_FILE");  // NOLINT(concurrency-mt-unsafe): no thread yet
  FileDriver driver(path != nullptr ? path : "/etc/dra/file1");
  dra::PluginOptions options{.driver_name = "file.dra.example.com"};
  CLI::App app("publishes one file of the node that pods may share");
  options.add_flags(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {  // --help too
    return app.exit(e) == 0 ? 0 : 2;
  }
  auto plugin = dra::Plugin::create(std::move(options), driver);
  if (!plugin) {
    fairlead::log::error(plugin.error().what());
    return 1;
  }
  return (*plugin)->run();
}
