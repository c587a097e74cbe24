// SPDX-License-Identifier: Apache-2.0
// Recursive-descent parser. Grammar: cel-spec doc/langdef.md, without map and message literals.
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "drydock/cluster/cel_ast.h"
#include "drydock/cluster/cel_lex.h"

namespace drydock::cel {
namespace {

using fairlead::Error;
using fairlead::Result;

constexpr int kMaxDepth = 100;

NodePtr make(Node::Op op, std::size_t offset, std::string name = "") {
  auto node = std::make_unique<Node>();
  node->op = op;
  node->offset = offset;
  node->name = std::move(name);
  return node;
}

class Parser {
 public:
  Parser(std::string_view text, std::vector<Token> tokens) : text_(text), tokens_(std::move(tokens)) {}

  Result<NodePtr> parse() {
    FL_ASSIGN(NodePtr root, ternary());
    if (peek().type != Token::Type::kEnd) {
      return unexpected();
    }
    return root;
  }

 private:
  struct Level {
    std::vector<std::string_view> signs;
  };

  [[nodiscard]] const Token& peek() const { return tokens_[at_]; }
  [[nodiscard]] bool is(std::string_view sign) const {
    return peek().type == Token::Type::kSign && peek().text == sign;
  }
  bool take(std::string_view sign) {
    if (!is(sign)) {
      return false;
    }
    ++at_;
    return true;
  }
  Error unexpected() const {
    if (peek().type == Token::Type::kEnd) {
      return error_at(text_, text_.size(), "unexpected end of the expression");
    }
    return error_at(text_, peek().offset, "unexpected \"" + peek().text + "\"");
  }
  Result<> expect(std::string_view sign) {
    if (take(sign)) {
      return {};
    }
    const std::string found = peek().type == Token::Type::kEnd ? "the end" : "\"" + peek().text + "\"";
    return error_at(text_, peek().offset, "expected \"" + std::string(sign) + "\", found " + found);
  }

  Result<NodePtr> ternary() {
    if (++depth_ > kMaxDepth) {
      return error_at(text_, peek().offset, "nested too deeply");
    }
    FL_ASSIGN(NodePtr condition, binary(0));
    if (is("?")) {
      NodePtr node = make(Node::Op::kTernary, peek().offset);
      ++at_;
      node->children.push_back(std::move(condition));
      FL_ASSIGN(NodePtr yes, ternary());
      node->children.push_back(std::move(yes));
      FL_TRY(expect(":"));
      FL_ASSIGN(NodePtr no, ternary());
      node->children.push_back(std::move(no));
      condition = std::move(node);
    }
    --depth_;
    return condition;
  }

  [[nodiscard]] bool at_operator(std::size_t level) const {
    static const std::array<std::vector<std::string_view>, 5> levels{
        {{"||"}, {"&&"}, {"==", "!=", "<=", ">=", "<", ">", "in"}, {"+", "-"}, {"*", "/", "%"}}};
    const bool word = peek().type == Token::Type::kIdent && peek().text == "in";
    return (word || peek().type == Token::Type::kSign) &&
           std::ranges::find(levels.at(level), peek().text) != levels.at(level).end();
  }

  Result<NodePtr> binary(std::size_t level) {
    constexpr std::size_t kLevelCount = 5;
    if (level == kLevelCount) {
      return unary();
    }
    FL_ASSIGN(NodePtr left, binary(level + 1));
    int chained = 0;
    while (at_operator(level)) {
      if (++chained > kMaxDepth) {
        return error_at(text_, peek().offset, "too many operators in a row");
      }
      NodePtr node = make(Node::Op::kBinary, peek().offset, peek().text);
      ++at_;
      FL_ASSIGN(NodePtr right, binary(level + 1));
      node->children.push_back(std::move(left));
      node->children.push_back(std::move(right));
      left = std::move(node);
    }
    return left;
  }

  Result<NodePtr> unary() {
    if (!is("!") && !is("-")) {
      return postfix();
    }
    if (++depth_ > kMaxDepth) {
      return error_at(text_, peek().offset, "nested too deeply");
    }
    NodePtr node = make(is("!") ? Node::Op::kNot : Node::Op::kNegate, peek().offset);
    ++at_;
    FL_ASSIGN(NodePtr operand, unary());
    node->children.push_back(std::move(operand));
    --depth_;
    return node;
  }

  Result<NodePtr> postfix() {
    FL_ASSIGN(NodePtr node, primary());
    int chained = 0;
    while (is(".") || is("[")) {
      if (++chained > kMaxDepth) {
        return error_at(text_, peek().offset, "nested too deeply");
      }
      FL_ASSIGN(NodePtr outer, is(".") ? member(std::move(node)) : index(std::move(node)));
      node = std::move(outer);
    }
    return node;
  }

  Result<NodePtr> index(NodePtr target) {
    NodePtr node = make(Node::Op::kIndex, peek().offset);
    ++at_;
    node->optional = take("?");
    FL_ASSIGN(NodePtr key, ternary());
    FL_TRY(expect("]"));
    node->children.push_back(std::move(target));
    node->children.push_back(std::move(key));
    return node;
  }

  Result<NodePtr> member(NodePtr target) {
    ++at_;
    const bool optional = take("?");
    if (peek().type != Token::Type::kIdent) {
      return unexpected();
    }
    const Token name = peek();
    ++at_;
    if (!is("(") || optional) {
      NodePtr node = make(Node::Op::kSelect, name.offset, name.text);
      node->optional = optional;
      node->children.push_back(std::move(target));
      return node;
    }
    ++at_;
    if (target->op == Node::Op::kIdent && target->name == "cel" && name.text == "bind") {
      return bind(name.offset);
    }
    constexpr std::array<std::string_view, 5> kMacros{"all", "exists", "exists_one", "filter", "map"};
    if (std::ranges::find(kMacros, name.text) != kMacros.end()) {
      return macro(std::move(target), name);
    }
    NodePtr node = make(Node::Op::kMethod, name.offset, name.text);
    node->children.push_back(std::move(target));
    FL_TRY(arguments(*node, ")"));
    return node;
  }

  /// `variable,` of a macro.
  Result<> variable(Node& node) {
    if (peek().type != Token::Type::kIdent) {
      return unexpected();
    }
    node.variable = peek().text;
    ++at_;
    return expect(",");
  }

  Result<NodePtr> macro(NodePtr target, const Token& name) {
    NodePtr node = make(Node::Op::kMacro, name.offset, name.text);
    node->children.push_back(std::move(target));
    FL_TRY(variable(*node));
    FL_TRY(arguments(*node, ")"));
    if (node->children.size() != 2) {
      return error_at(text_, name.offset, name.text + "() takes a variable and one expression");
    }
    return node;
  }

  Result<NodePtr> bind(std::size_t offset) {
    NodePtr node = make(Node::Op::kBind, offset);
    FL_TRY(variable(*node));
    FL_TRY(arguments(*node, ")"));
    if (node->children.size() != 2) {
      return error_at(text_, offset, "cel.bind() takes a variable, its value and an expression");
    }
    return node;
  }

  Result<> arguments(Node& node, std::string_view end) {
    if (take(end)) {
      return {};
    }
    while (true) {
      FL_ASSIGN(NodePtr argument, ternary());
      node.children.push_back(std::move(argument));
      if (take(end)) {
        return {};
      }
      FL_TRY(expect(","));
      if (end == "]" && take(end)) {
        return {};
      }
    }
  }

  Result<NodePtr> primary() {
    const Token token = peek();
    switch (token.type) {
      case Token::Type::kInt:
      case Token::Type::kDouble:
        return number(token);
      case Token::Type::kString: {
        ++at_;
        NodePtr node = make(Node::Op::kLiteral, token.offset);
        node->literal = token.text;
        return node;
      }
      case Token::Type::kIdent:
        return word(token);
      default:
        break;
    }
    if (take("(")) {
      FL_ASSIGN(NodePtr inner, ternary());
      FL_TRY(expect(")"));
      return inner;
    }
    if (take("[")) {
      NodePtr node = make(Node::Op::kList, token.offset);
      FL_TRY(arguments(*node, "]"));
      return node;
    }
    return unexpected();
  }

  Result<NodePtr> number(const Token& token) {
    ++at_;
    NodePtr node = make(Node::Op::kLiteral, token.offset);
    if (token.type == Token::Type::kDouble) {
      double value = 0;
      (void)std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
      node->literal = value;
      return node;
    }
    const bool hex = token.text.starts_with("0x") || token.text.starts_with("0X");
    std::int64_t value = 0;
    const char* const end = token.text.data() + token.text.size();
    const auto parsed = std::from_chars(token.text.data() + (hex ? 2 : 0), end, value, hex ? 16 : 10);
    if (parsed.ec != std::errc() || parsed.ptr != end) {
      return error_at(text_, token.offset, "the number " + token.text + " is out of range");
    }
    node->literal = value;
    return node;
  }

  Result<NodePtr> word(const Token& token) {
    ++at_;
    if (token.text == "true" || token.text == "false" || token.text == "null") {
      NodePtr node = make(Node::Op::kLiteral, token.offset);
      if (token.text != "null") {
        node->literal = token.text == "true";
      }
      return node;
    }
    if (token.text == "in") {
      --at_;
      return unexpected();
    }
    if (!take("(")) {
      return make(Node::Op::kIdent, token.offset, token.text);
    }
    NodePtr node = make(Node::Op::kCall, token.offset, token.text);
    FL_TRY(arguments(*node, ")"));
    if (token.text == "has") {
      if (node->children.size() != 1 || node->children[0]->op != Node::Op::kSelect) {
        return error_at(text_, token.offset,
                        "has() takes one field, such as has(device.attributes[\"d\"].x)");
      }
      node->op = Node::Op::kHas;
    }
    return node;
  }

  std::string_view text_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

Result<NodePtr> parse(std::string_view expression) {
  FL_ASSIGN(std::vector<Token> tokens, tokens_of(expression));
  return Parser(expression, std::move(tokens)).parse();
}

}  // namespace drydock::cel
