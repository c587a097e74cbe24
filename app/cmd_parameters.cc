// SPDX-License-Identifier: Apache-2.0
#include "app/cmd_parameters.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "fairlead/devices/all_kinds.h"
#include "fairlead/devices/registry.h"
#include "fairlead/formats/fields_text.h"

namespace fairlead::app {
namespace {

enum class Form : bool { kMarkdown, kSchema };

int print(Form form) {
  const devices::Registry registry = devices::all_kinds();
  const std::string text = form == Form::kMarkdown ? fields::to_markdown(registry.fields())
                                                   : fields::to_json_schema(registry.fields());
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  return written && std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace

std::function<int()> add_parameters(CLI::App& app) {
  auto form = std::make_shared<Form>(Form::kMarkdown);
  app.add_flag_callback(
      "--markdown", [form] { *form = Form::kMarkdown; }, "the tables of docs/parameters.md");
  app.add_flag_callback("--schema", [form] { *form = Form::kSchema; }, "a JSON schema (draft 2020-12)");
  app.require_option(1);
  return [form] { return print(*form); };
}

}  // namespace fairlead::app
