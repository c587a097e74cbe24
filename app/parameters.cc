// SPDX-License-Identifier: Apache-2.0
#include "app/parameters.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "fairlead/formats/fields_text.h"

namespace fairlead::app {

int print_parameters(const devices::Registry& registry, int argc, const char* const* argv) {
  CLI::App app("prints what may be written in the opaque parameters of a claim", "fairlead parameters");
  bool markdown = false;
  bool schema = false;
  app.add_flag("--markdown", markdown, "the tables of docs/parameters.md");
  app.add_flag("--schema", schema, "a JSON schema (draft 2020-12)");
  app.require_option(1);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  const std::string text =
      markdown ? fields::to_markdown(registry.fields()) : fields::to_json_schema(registry.fields());
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  return written && std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace fairlead::app
