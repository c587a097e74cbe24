// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/testing/recorded_node.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <optional>
#include <utility>

#include "fairlead/core/fd.h"
#include "fairlead/sys/files.h"

namespace fairlead::sys::testing_support {
namespace {

namespace fs = std::filesystem;
using netlink::codec::Bytes;

/// Undoes the escapes of tools/node_fixture.py; nullopt for an invalid one.
std::optional<std::string> unescape(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  while (!text.empty()) {
    if (text[0] != '\\') {
      plain += text[0];
      text.remove_prefix(1);
    } else if (text.starts_with("\\n") || text.starts_with("\\\\")) {
      plain += text[1] == 'n' ? '\n' : '\\';
      text.remove_prefix(2);
    } else {
      unsigned code = 0;
      if (!text.starts_with("\\x") || text.size() < 4 ||
          std::from_chars(text.data() + 2, text.data() + 4, code, 16).ptr != text.data() + 4) {
        return std::nullopt;
      }
      plain += static_cast<char>(code);
      text.remove_prefix(4);
    }
  }
  return plain;
}

/// A path below the root that stays there.
bool is_below(const fs::path& path) {
  return !path.empty() && path.is_relative() && path.lexically_normal() == path && *path.begin() != "..";
}

struct Entry {
  std::string name;
  std::string mark;  // "=", ":", "->", "!"
  std::string value;
};

/// "vendor = 0x8086"; nullopt if it is not of that form.
std::optional<Entry> read_entry(std::string_view line) {
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos) {
    return std::nullopt;
  }
  const std::string_view rest = line.substr(space + 1);
  const std::size_t end = std::min(rest.find(' '), rest.size());
  auto name = unescape(line.substr(0, space));
  auto value = unescape(end == rest.size() ? std::string_view() : rest.substr(end + 1));
  if (!name || !value || name->contains('/') || !is_below(*name)) {
    return std::nullopt;
  }
  return Entry{
      .name = std::move(*name), .mark = std::string(rest.substr(0, end)), .value = std::move(*value)};
}

Result<> write_file(int folder, const std::string& name, std::string_view content) {
  const UniqueFd file(::openat(folder, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!file.valid()) {
    return Error::from_errno(errno, "create " + name);
  }
  if (::write(file.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size())) {
    return Error::from_errno(errno, "write " + name);
  }
  return {};
}

Result<> put(int folder, const Entry& entry) {
  if (entry.mark == "=") {
    return write_file(folder, entry.name, entry.value + '\n');
  }
  if (entry.mark == ":") {
    return write_file(folder, entry.name, entry.value);
  }
  const bool is_link = entry.mark == "->";
  if (!is_link && entry.mark != "!") {
    return Error(Code::kInvalid, "\"" + entry.mark + "\" is none of = : -> !");
  }
  const int failed = is_link ? ::symlinkat(entry.value.c_str(), folder, entry.name.c_str())
                             : ::mkdirat(folder, entry.name.c_str(), 0755);
  return failed != 0 ? Result<>(Error::from_errno(errno, "create " + entry.name)) : Result<>();
}

Result<UniqueFd> open_section(const fs::path& root, std::string_view line) {
  const auto folder = unescape(line.substr(1, line.size() - 2));
  if (!folder || !is_below(*folder)) {
    return Error(Code::kInvalid, "\"" + std::string(line) + "\" is no folder below /sys");
  }
  const std::string path = (root / *folder).string();
  FL_TRY(make_dirs(path));
  return open_file(path, O_RDONLY | O_DIRECTORY);
}

template <class T>
std::vector<T> read_all(netlink::codec::View dump, std::optional<T> (*read)(const netlink::codec::Message&)) {
  std::vector<T> values;
  while (const auto message = netlink::codec::next_message(dump)) {
    if (auto value = read(*message)) {
      values.push_back(std::move(*value));
    }
  }
  return values;
}

}  // namespace

std::string recorded_folder(std::string_view name) {
  return (fs::path(FAIRLEAD_RECORDED_NODES) / name).string();
}

Result<> RecordedNode::read_tree(const std::string& path) {
  FL_ASSIGN(const std::string text, read_file(path, std::size_t{256} << 20));
  UniqueFd folder;
  std::string section;
  std::size_t number = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    ++number;
    const auto where = [&] { return path + ":" + std::to_string(number); };
    if (line.starts_with('[') && line.ends_with(']')) {
      FL_ASSIGN(folder, open_section(sysfs_->root(), line), where());
      section = unescape(line.substr(1, line.size() - 2)).value_or("");
      continue;
    }
    const auto entry = read_entry(line);
    if (!entry || !folder.valid()) {
      return Error(Code::kInvalid,
                   where() + ": neither [folder] nor an entry such as \"name = value\" below one");
    }
    FL_TRY(put(folder.get(), *entry), where());
    if (entry->mark == "!") {
      unreadable_.emplace(fs::path(section) / entry->name, entry->value);
    }
  }
  return {};
}

Result<RecordedNode> RecordedNode::load(const std::string& folder) {
  RecordedNode node;
  FL_TRY(node.read_tree(folder + "/tree.txt"), "read a recorded machine");
  FL_ASSIGN(const auto names, list_dir(folder), "read a recorded machine");
  for (const std::string& name : names) {
    if (fs::path(name).extension() == ".nl") {
      FL_ASSIGN(const std::string content, read_file((fs::path(folder) / name).string()),
                "read a recorded machine");
      node.dumps_.emplace(fs::path(name).stem().string(), Bytes(content.begin(), content.end()));
    }
  }
  return node;
}

const Bytes& RecordedNode::dump(std::string_view name) const {
  static const Bytes none;
  const auto found = dumps_.find(name);
  return found == dumps_.end() ? none : found->second;
}

std::vector<netlink::Link> RecordedNode::links() const {
  return read_all(dump("links"), &netlink::codec::read_link);
}

std::vector<netlink::Address> RecordedNode::addresses() const {
  return read_all(dump("addresses"), &netlink::codec::read_address);
}

std::vector<netlink::Route> RecordedNode::routes() const {
  auto routes = read_all(dump("routes4"), &netlink::codec::read_route);
  auto six = read_all(dump("routes6"), &netlink::codec::read_route);
  routes.insert(routes.end(), std::make_move_iterator(six.begin()), std::make_move_iterator(six.end()));
  return routes;
}

Result<> generate_node(const std::string& folder, const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {"python3", FAIRLEAD_TOOLS "/generate_node.py", folder};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) {
    pointers.push_back(word.data());
  }
  pointers.push_back(nullptr);
  pid_t child = 0;
  if (const int error = ::posix_spawnp(&child, "python3", nullptr, nullptr, pointers.data(), environ);
      error != 0) {
    return error == ENOENT ? Error(Code::kUnsupported, "needs python3, which this machine does not have")
                           : Error::from_errno(error, "start python3");
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) {
      return Error::from_errno(errno, "wait for python3");
    }
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return Error(Code::kInternal, "tools/generate_node.py failed; its own words are on stderr");
  }
  return {};
}

}  // namespace fairlead::sys::testing_support
