// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/container_output.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <utility>

namespace drydock {
namespace {

/// A line longer than this is cut: it is shown on a terminal, not parsed.
constexpr std::size_t kLineLimit = 16384;

void pump(int fd, const LinePipe::Callback& callback) {
  std::string line;
  std::array<char, 4096> buffer{};
  while (true) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      break;
    }
    for (const char c : std::string_view(buffer.data(), static_cast<std::size_t>(n))) {
      if (c == '\n') {
        callback(line);
        line.clear();
      } else if (line.size() < kLineLimit) {
        line += c;
      }
    }
  }
  if (!line.empty()) {
    callback(line);
  }
}

}  // namespace

fairlead::Result<LinePipe> LinePipe::open(Callback callback) {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return fairlead::Error::from_errno(errno, "pipe");
  }
  LinePipe out;
  out.writer_.reset(ends[1]);
  out.reader_ = std::thread([reader = std::make_shared<fairlead::UniqueFd>(ends[0]),
                             callback = std::move(callback)] { pump(reader->get(), callback); });
  return out;
}

LinePipe& LinePipe::operator=(LinePipe&& other) noexcept {
  finish();
  writer_ = std::move(other.writer_);
  reader_ = std::move(other.reader_);
  return *this;
}

void LinePipe::finish() {
  writer_.reset();
  if (reader_.joinable()) {
    reader_.join();
  }
}

}  // namespace drydock
