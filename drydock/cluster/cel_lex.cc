// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/cel_lex.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include "drydock/cluster/cel_ast.h"

namespace drydock::cel {
namespace {

using fairlead::Code;
using fairlead::Error;
using fairlead::Result;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Result<std::vector<Token>> tokens() {
    std::vector<Token> out;
    while (true) {
      skip_blanks();
      FL_ASSIGN(Token token, next());
      out.push_back(std::move(token));
      if (out.back().type == Token::Type::kEnd) {
        return out;
      }
    }
  }

 private:
  [[nodiscard]] char peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  void skip_blanks() {
    while (at_ < text_.size()) {
      if (text_.substr(at_).starts_with("//")) {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (std::string_view(" \t\r\n\f").find(text_[at_]) != std::string_view::npos) {
        ++at_;
      } else {
        return;
      }
    }
  }
  Result<Token> next() {
    const std::size_t start = at_;
    if (at_ >= text_.size()) {
      return Token{.type = Token::Type::kEnd, .text = "", .offset = start};
    }
    if (is_digit(peek()) || (peek() == '.' && is_digit(peek(1)))) {
      return number();
    }
    const bool raw = (peek() == 'r' || peek() == 'R') && (peek(1) == '"' || peek(1) == '\'');
    if (raw || peek() == '"' || peek() == '\'') {
      return string(raw);
    }
    if (is_word(peek())) {
      while (is_word(peek())) {
        ++at_;
      }
      return Token{.type = Token::Type::kIdent,
                   .text = std::string(text_.substr(start, at_ - start)),
                   .offset = start};
    }
    constexpr std::array<std::string_view, 6> kLong{"&&", "||", "==", "!=", "<=", ">="};
    for (const std::string_view sign : kLong) {
      if (text_.substr(at_).starts_with(sign)) {
        at_ += sign.size();
        return Token{.type = Token::Type::kSign, .text = std::string(sign), .offset = start};
      }
    }
    const char c = text_[at_];
    if (std::string_view("()[]{}.,?:!<>+-*/%").find(c) == std::string_view::npos) {
      return error_at(text_, start, std::string("unexpected \"") + c + "\"");
    }
    ++at_;
    return Token{.type = Token::Type::kSign, .text = std::string(1, c), .offset = start};
  }
  Result<Token> number() {
    const std::size_t start = at_;
    if (peek() == '0' && (peek(1) == 'x' || peek(1) == 'X')) {
      at_ += 2;
      while (std::isxdigit(static_cast<unsigned char>(peek())) != 0) {
        ++at_;
      }
      return Token{
          .type = Token::Type::kInt, .text = std::string(text_.substr(start, at_ - start)), .offset = start};
    }
    bool fraction = false;
    while (is_digit(peek()) || (peek() == '.' && is_digit(peek(1)) && !fraction)) {
      fraction = fraction || peek() == '.';
      ++at_;
    }
    if (peek() == 'e' || peek() == 'E') {
      fraction = true;
      at_ += peek(1) == '+' || peek(1) == '-' ? 2 : 1;
      while (is_digit(peek())) {
        ++at_;
      }
    }
    Token token{.type = fraction ? Token::Type::kDouble : Token::Type::kInt,
                .text = std::string(text_.substr(start, at_ - start)),
                .offset = start};
    if (!fraction && (peek() == 'u' || peek() == 'U')) {
      ++at_;
    }
    return token;
  }
  Result<Token> string(bool raw) {
    const std::size_t start = at_;
    at_ += raw ? 1 : 0;
    std::string quote(1, peek());
    if (peek(1) == quote[0] && peek(2) == quote[0]) {
      quote.append(2, quote[0]);
    }
    at_ += quote.size();
    Token token{.type = Token::Type::kString, .text = "", .offset = start};
    while (!text_.substr(std::min(at_, text_.size())).starts_with(quote)) {
      if (at_ >= text_.size() || (quote.size() == 1 && peek() == '\n')) {
        return error_at(text_, start, "the string that starts here has no end");
      }
      if (peek() == '\\' && !raw) {
        FL_TRY(escape(token.text));
        continue;
      }
      token.text.push_back(text_[at_++]);
    }
    at_ += quote.size();
    return token;
  }
  Result<> escape(std::string& out) {
    constexpr std::string_view kLetters = "abfnrtv\\'\"`?";
    constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\'\"`?";
    const std::size_t start = at_;
    const auto known = kLetters.find(peek(1));
    if (at_ + 1 < text_.size() && known != std::string_view::npos) {
      out.push_back(kMeanings[known]);
      at_ += 2;
      return {};
    }
    const bool hex = peek(1) == 'x' || peek(1) == 'u';
    if (!hex) {
      return error_at(text_, start, "unknown escape sequence in a string");
    }
    const std::size_t digits = peek(1) == 'x' ? 2 : 4;
    const std::string_view code = text_.substr(std::min(at_ + 2, text_.size()), digits);
    unsigned value = 0;
    const auto parsed = std::from_chars(code.data(), code.data() + code.size(), value, 16);
    if (code.size() != digits || parsed.ptr != code.data() + code.size()) {
      return error_at(text_, start, "unknown escape sequence in a string");
    }
    append_utf8(out, value);
    at_ += 2 + digits;
    return {};
  }
  static void append_utf8(std::string& out, unsigned code) {
    if (code < 0x80) {
      out.push_back(static_cast<char>(code));
    } else if (code < 0x800) {
      out.push_back(static_cast<char>(0xC0U | (code >> 6U)));
      out.push_back(static_cast<char>(0x80U | (code & 0x3FU)));
    } else {
      out.push_back(static_cast<char>(0xE0U | (code >> 12U)));
      out.push_back(static_cast<char>(0x80U | ((code >> 6U) & 0x3FU)));
      out.push_back(static_cast<char>(0x80U | (code & 0x3FU)));
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

Error error_at(std::string_view expression, std::size_t offset, std::string_view what) {
  const std::string_view before = expression.substr(0, offset);
  const auto line = std::ranges::count(before, '\n');
  const auto newline = before.rfind('\n');
  const std::size_t column = newline == std::string_view::npos ? offset + 1 : offset - newline;
  const std::string where = line == 0 ? "" : "line " + std::to_string(line + 1) + ", ";
  return {Code::kInvalid, where + "column " + std::to_string(column) + ": " + std::string(what)};
}

Result<std::vector<Token>> tokens_of(std::string_view expression) { return Lexer(expression).tokens(); }

}  // namespace drydock::cel
