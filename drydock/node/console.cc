// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/console.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace drydock {
namespace {

constexpr auto kGreen = "32";
constexpr auto kRed = "31";
constexpr auto kFaint = "2";
constexpr auto kBold = "1";
constexpr std::size_t kTextWidth = 70;

/// Columns that a UTF-8 text takes: its bytes without continuation bytes.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

std::string padded(std::string text, std::size_t columns) {
  text.append(columns - std::min(columns, width(text)), ' ');
  return text;
}

std::string one_decimal(double value, const char* unit) {
  char buffer[32];
  (void)std::snprintf(buffer, sizeof buffer, "%.1f %s", value, unit);
  return buffer;
}

/// Terminals obey control characters; a container's output must not.
std::string printable(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f)) {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string to_text(std::chrono::microseconds duration) {
  const auto us = static_cast<double>(duration.count());
  if (us < 1000) {
    return std::to_string(duration.count()) + " us";
  }
  return us < 1e6 ? one_decimal(us / 1e3, "ms") : one_decimal(us / 1e6, "s");
}

Console::Console(int fd, Colour colour, Amount amount)
    : fd_(fd), amount_(amount), colours_(colour == Colour::kOnTerminal && ::isatty(fd) == 1) {}

std::string Console::paint(const char* code, const std::string& text) const {
  return colours_ ? "\033[" + std::string(code) + "m" + text + "\033[0m" : text;
}

void Console::print(const std::string& text) {
  if (amount_ == Amount::kNothing) {
    return;
  }
  const std::string line = text + "\n";
  const fairlead::Lock lock(mutex_);
  for (std::size_t at = 0; at < line.size();) {
    const ssize_t n = ::write(fd_, line.data() + at, line.size() - at);
    if (n <= 0) {
      return;
    }
    at += static_cast<std::size_t>(n);
  }
}

void Console::title(const std::string& text) { print("\n" + paint(kBold, text)); }
void Console::blank() { print(""); }
void Console::step(const std::string& text) { print("  " + paint(kGreen, "✓") + " " + text); }
void Console::step(const std::string& text, std::chrono::microseconds took) {
  print("  " + paint(kGreen, "✓") + " " + padded(text, kTextWidth) + " " + paint(kFaint, to_text(took)));
}
void Console::fail(const std::string& text) { print("  " + paint(kRed, "✗") + " " + text); }
void Console::note(const std::string& text) { print("    " + text); }
void Console::detail(const std::string& text) {
  if (verbose()) {
    print("    " + paint(kFaint, text));
  }
}
void Console::output(const std::string& who, const std::string& text) {
  print("    " + paint(kFaint, "│ " + who + ":") + " " + printable(text));
}

void Console::table(const Table& table) {
  std::vector<std::size_t> widths;
  const auto measure = [&](const std::vector<std::string>& row) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], width(row[i]));
    }
  };
  measure(table.header);
  for (const auto& row : table.rows) {
    measure(row);
  }
  const auto line = [&](const std::vector<std::string>& row) {
    std::string out = "    ";
    for (std::size_t i = 0; i < row.size(); ++i) {
      out += i + 1 == row.size() ? row[i] : padded(row[i], widths[i] + 2);
    }
    return out;
  };
  print(paint(kFaint, line(table.header)));
  for (const auto& row : table.rows) {
    print(line(row));
  }
}

}  // namespace drydock
