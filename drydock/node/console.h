// SPDX-License-Identifier: Apache-2.0
// What a person sees of a run: short steps with ticks and times, tables, and the containers' own lines.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "fairlead/core/mutex.h"

namespace drydock {

/// "340 us", "12.4 ms", "3.2 s".
std::string to_text(std::chrono::microseconds duration);

/// Any thread; lines never mix.
class Console {
 public:
  enum class Colour : std::uint8_t { kNever, kOnTerminal };
  enum class Amount : std::uint8_t { kNothing, kNormal, kVerbose };
  /// Writes to the descriptor, which must outlive it. kNothing is for --json.
  Console(int fd, Colour colour, Amount amount);

  [[nodiscard]] bool verbose() const { return amount_ == Amount::kVerbose; }

  void title(const std::string& text);
  void blank();
  void step(const std::string& text);  // ✓
  void step(const std::string& text, std::chrono::microseconds took);
  void fail(const std::string& text);    // ✗
  void note(const std::string& text);    // an indented plain line
  void detail(const std::string& text);  // only when verbose
  /// A line of a container or a driver, after a bar.
  void output(const std::string& who, const std::string& text);

  struct Table {
    std::vector<std::string> header;
    std::vector<std::vector<std::string>> rows;
  };
  void table(const Table& table);

 private:
  void print(const std::string& text);
  [[nodiscard]] std::string paint(const char* code, const std::string& text) const;

  const int fd_;
  const Amount amount_;
  const bool colours_;
  fairlead::Mutex mutex_;
};

}  // namespace drydock
