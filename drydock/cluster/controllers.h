// SPDX-License-Identifier: Apache-2.0
// What kube-controller-manager and kube-scheduler do for pods with claims, on one thread: claims from
// templates, allocation and binding, release and clean-up, and the garbage of owners that are gone.
#pragma once

#include <map>
#include <string>
#include <thread>

#include "drydock/cluster/api_error.h"
#include "drydock/cluster/store.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"

namespace drydock {

struct EventText;

/// Writes an Event about an object; the same reason and message counts up.
void write_event(Store& store, const Json& object, const EventText& event);
/// The claim for an entry of spec.resourceClaims: its name, empty if it does not exist yet.
std::string claim_name_of(const Json& pod, const Json& entry);

class Controllers : private fairlead::Pinned {
 public:
  Controllers(Store& store, std::string node_name);
  ~Controllers();

 private:
  void run();
  void reconcile();
  void make_claims(const Json& pod);
  bool make_claim(const Json& pod, const Json& entry);
  void schedule(const Json& pod);
  void bind(const Json& pod, const std::vector<Json>& claims, const std::vector<Json>& allocations);
  void unschedulable(const Json& pod, const std::string& why);
  void release_claims(const std::vector<Json>& pods);
  void release(const Json& claim, const std::vector<Json>& pods);
  void collect_garbage();

  Store& store_;
  const std::string node_name_;
  std::map<std::string, std::string>
      last_reason_;  // pod uid -> why it is pending; the controllers' thread only
  mutable fairlead::Mutex mutex_;
  bool stopping_ FL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace drydock
