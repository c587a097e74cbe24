// SPDX-License-Identifier: Apache-2.0
// For tests: a DRA plugin in this process, on real sockets.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fairlead/core/pinned.h"

namespace drydock {

class FakePlugin : private fairlead::Pinned {
 public:
  struct Settings {
    std::string registration_socket, endpoint;
    std::string announced_endpoint;  // empty: endpoint
    std::string type = "DRAPlugin";
    std::string name = "test.example.com";
    std::vector<std::string> versions = {"v1.DRAPlugin"};
  };
  explicit FakePlugin(Settings settings);
  ~FakePlugin();

  /// Ends the DRA services only: registered, but not connected.
  void stop_serving();

  /// What claims are answered; the text is the claim's error. Empty: every claim gets one CDI device.
  void answer_with(const std::string& error);
  /// Omits the results, or adds one for a claim that was not asked for.
  void omit_answers();
  void add_unknown_answer();
  /// The next `count` registration notices are answered with an error.
  void refuse_notices(int count);

  /// "GetInfo", "Notify true", "Notify false: why", "prepare v1 a,b", "unprepare v1beta1 a".
  [[nodiscard]] std::vector<std::string> calls() const;
  /// Blocks until `done` holds for calls(); false after ten seconds.
  [[nodiscard]] bool wait_until(const std::function<bool(const std::vector<std::string>&)>& done) const;
  /// The :authority of the last call to the registration socket.
  [[nodiscard]] std::string authority() const;

 private:
  struct State;
  struct Servers;
  std::shared_ptr<State> state_;
  std::unique_ptr<Servers> servers_;
};

}  // namespace drydock
