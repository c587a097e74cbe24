// SPDX-License-Identifier: Apache-2.0
#include "app/cmd_probe.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "fairlead/dra/serve/admin_http.h"

namespace fairlead::app {
namespace {

struct ProbeFlags {
  std::string page;
  std::string http_listen;
};

}  // namespace

CLI::Option* add_page(CLI::App& app, const std::string& name, std::string& page) {
  return app
      .add_option(name, page, "healthz, readyz or metrics: the page of the agent's HTTP server to print")
      ->check(CLI::IsMember({"healthz", "readyz", "metrics"}));
}

int probe(const std::string& http_listen, const std::string& page) {
  const auto answer = dra::AdminHttp::ask(http_listen, "/" + page);
  if (!answer) {
    (void)std::fprintf(stderr, "fairlead: %s\n", answer.error().what().c_str());
    return 1;
  }
  const bool written = std::fwrite(answer->data(), 1, answer->size(), stdout) == answer->size();
  return written && std::fflush(stdout) == 0 ? 0 : 1;
}

std::function<int()> add_probe(CLI::App& app) {
  auto flags = std::make_shared<ProbeFlags>();
  app.footer("The exit status is 0 when the agent answers with HTTP status 200.");
  add_page(app, "page", flags->page)->required();
  app.add_option("--http-listen", flags->http_listen,
                 "the agent's --http-listen; the first of its addresses is asked")
      ->envname("HTTP_LISTEN")
      ->required();
  return [flags] { return probe(flags->http_listen, flags->page); };
}

}  // namespace fairlead::app
